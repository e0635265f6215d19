//! What is left of an attack once its connections are gone.

use std::io;
use std::time::Duration;

use syncline_tests::broker::Broker;
use syncline_tests::process::Process;
use syncline_tests::{http, wait};

/// Memory is back when it is this much of what it was, in percent.
const BACK_PERCENT: u64 = 110;
const PATIENCE: Duration = Duration::from_secs(45);
/// Computing nothing for so long is rest.
const REST: Duration = Duration::from_millis(300);
/// Threads that the runtime starts and ends as it needs them.
const COMING_AND_GOING: &str = "tokio";

pub(crate) struct Before {
    process: Process,
    bytes: u64,
    threads: Vec<String>,
    panics: usize,
}

#[derive(Debug)]
pub(crate) struct After {
    pub(crate) before_bytes: u64,
    pub(crate) after_bytes: u64,
    pub(crate) missing_threads: Vec<String>,
    pub(crate) panics: usize,
    pub(crate) is_alive: bool,
}

impl Before {
    pub(crate) fn of(broker: &Broker) -> io::Result<Self> {
        settle(broker)?;
        Ok(Self {
            process: broker.process(),
            bytes: broker.resident_bytes(),
            threads: lasting_threads(broker),
            panics: panics(broker),
        })
    }

    /// Waits until memory is back and threads are there, or for long.
    pub(crate) fn compare(&self, broker: &Broker) -> io::Result<After> {
        let mut now = self.look(broker)?;
        wait::poll(PATIENCE, || {
            wait::let_pass(REST);
            now = self.look(broker).ok()?;
            now.is_memory_back().then_some(())
        });
        Ok(now)
    }

    fn look(&self, broker: &Broker) -> io::Result<After> {
        let bytes = self.process.resident_bytes();
        let mut missing = self.threads.clone();
        for thread in lasting_threads(broker) {
            if let Some(at) = missing.iter().position(|it| *it == thread) {
                missing.remove(at);
            }
        }
        Ok(After {
            before_bytes: self.bytes,
            after_bytes: bytes.ok_or_else(|| io::Error::other("the broker died"))?,
            missing_threads: missing,
            panics: panics(broker) - self.panics,
            is_alive: http::get(broker.http(), "/readyz").is_ok_and(|it| it.status == 200),
        })
    }
}

impl After {
    pub(crate) fn is_memory_back(&self) -> bool {
        self.after_bytes * 100 <= self.before_bytes * BACK_PERCENT
    }

    pub(crate) fn percent(&self) -> i64 {
        (self.after_bytes * 100 / self.before_bytes.max(1)) as i64 - 100
    }

    /// What must not be; nothing when all is well.
    pub(crate) fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        if !self.is_alive {
            wrong.push("the broker is not ready".to_owned());
        }
        if !self.missing_threads.is_empty() {
            wrong.push(format!(
                "threads are gone: {}",
                self.missing_threads.join(", ")
            ));
        }
        if self.panics > 0 {
            wrong.push(format!("{} panics in the log", self.panics));
        }
        if !self.is_memory_back() {
            wrong.push(format!(
                "{:+} % of memory after {PATIENCE:?}",
                self.percent()
            ));
        }
        wrong
    }
}

/// Waits until the broker computes nothing.
pub(crate) fn settle(broker: &Broker) -> io::Result<()> {
    let rested = wait::poll(PATIENCE, || {
        let before = broker.process().processor_time()?;
        wait::let_pass(REST);
        // The figures under $SYS are told now and then, so a little is nothing.
        let more = broker.process().processor_time()?.saturating_sub(before);
        (more * 10 < REST).then_some(())
    });
    rested.ok_or_else(|| io::Error::other("the broker does not come to rest"))
}

fn lasting_threads(broker: &Broker) -> Vec<String> {
    let mut threads = broker.process().threads();
    threads.retain(|name| !name.starts_with(COMING_AND_GOING));
    threads
}

fn panics(broker: &Broker) -> usize {
    broker.log().matches("panicked").count()
}
