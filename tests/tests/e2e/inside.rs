//! A broker inside this process, on a store that fails when it is told to, with its bus in reach.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use syncline_broker::config::{Flags, load};
use syncline_broker::router::RouterProbe;
use syncline_broker::run::{Broker, RunError};
use syncline_broker::store::faults::{Faults, FaultyStore};
use syncline_broker::store::memory::MemoryStore;
use syncline_broker::store::sessions::memory::MemorySessions;
use tokio::runtime::Runtime;

const MARK_WINDOW: usize = 1_024;

pub(crate) struct Inside {
    runtime: Runtime,
    broker: Option<Broker>,
    pub(crate) faults: Faults,
}

impl Inside {
    /// Free ports; settings by their environment variables.
    pub(crate) fn start(variables: &[(&str, &str)]) -> Self {
        let runtime = Runtime::new().unwrap();
        let any_port = Some("127.0.0.1:0".to_owned());
        let flags = Flags {
            mqtt: any_port.clone(),
            http: any_port,
            ..Flags::default()
        };
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()));
        let options = load(&flags, &variables.collect::<BTreeMap<_, _>>()).unwrap();
        let faults = Faults::default();
        let store = FaultyStore::new(MemoryStore::new(MARK_WINDOW), faults.clone());
        let sessions = Arc::new(MemorySessions::default());
        let broker = runtime
            .block_on(Broker::start_on(options, Arc::new(store), sessions))
            .unwrap();
        Self {
            runtime,
            broker: Some(broker),
            faults,
        }
    }

    pub(crate) fn mqtt(&self) -> SocketAddr {
        self.broker.as_ref().unwrap().mqtt_address()
    }

    pub(crate) fn router(&self) -> RouterProbe {
        self.broker.as_ref().unwrap().router_probe()
    }

    /// Waits until the broker says that it cannot go on.
    pub(crate) fn failed(&mut self) -> RunError {
        self.runtime
            .block_on(self.broker.as_mut().unwrap().failed())
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.faults.release();
        if let Some(broker) = self.broker.take() {
            self.runtime.block_on(broker.drain());
        }
    }
}
