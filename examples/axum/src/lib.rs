//! A household's application, on axum, with a broker inside: one process, one login, one place for the data.
//!
//! - Devices reach the broker's own ports: MQTT, and MQTT over WebSocket at `/mqtt`. The application has routes on a third one.
//! - Who may come in is the application's word ([`House`] is its [`Authenticator`](syncline_broker::auth::Authenticator)): a device
//!   logs in at a route, gets a word, and shows that to the broker as its token.
//! - The application takes part like any device, by a client of its own: what it publishes is ordered, stored and delivered like
//!   everything else, and what it follows is the state after every acknowledged event. The client keeps nothing on disk, because
//!   the broker beside it does; a change that a route answers for is awaited until the broker has it.

mod house;
mod routes;

use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use parking_lot::Mutex;
use syncline_broker::config::{Environment, Flags, load};
use syncline_broker::run::Broker;
use syncline_client::{Client, Options};
use tokio::task::JoinHandle;

pub use house::House;

/// The one sync group of the household.
pub const GROUP: &str = "home";
/// The application itself, as its broker knows it.
const HOST: &str = "the application";
/// How many of the last events a page shows.
const LAST: usize = 100;

/// The running application.
pub struct App {
    broker: Broker,
    house: Arc<House>,
    client: Client,
    told: Arc<Mutex<Vec<String>>>,
    follower: JoinHandle<()>,
}

impl App {
    /// Starts the broker on its data, on two ports (`127.0.0.1:0`: a free one), for whoever knows the house's code.
    ///
    /// # Errors
    /// What the broker says that is wrong: an address that is taken, data that are in use.
    pub async fn start(
        data: &Path,
        ports: [&str; 2],
        code: &str,
    ) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let [mqtt, http] = ports.map(|it| Some(it.to_owned()));
        let flags = Flags {
            data: Some(data.to_path_buf()),
            mqtt,
            http,
            ..Flags::default()
        };
        let house = Arc::new(House::new(code));
        let mut options = load(&flags, &Environment::new())?;
        // The client's, too, so that it need not wait for its first connection to know how changes are said.
        let schema = options.schema.clone();
        options.authenticator = Some(Arc::clone(&house) as _);
        let broker = Broker::start(options).await?;

        let word = house.word_for(HOST)?;
        let options = Options::new(&broker.mqtt_address().to_string(), GROUP)?
            .device_name(HOST)
            .schema(schema)
            .credentials(HOST, word);
        let client = Client::open(options).await?;
        let told = Arc::new(Mutex::new(Vec::new()));
        let follower = tokio::spawn(follow(client.events(), Arc::clone(&told)));
        Ok(Self {
            broker,
            house,
            client,
            told,
            follower,
        })
    }

    /// Where devices speak MQTT.
    pub fn mqtt_address(&self) -> SocketAddr {
        self.broker.mqtt_address()
    }

    /// The application's own routes, to be served where it likes.
    pub fn routes(&self) -> Router {
        routes::of(routes::Shared {
            house: Arc::clone(&self.house),
            client: self.client.clone(),
            told: Arc::clone(&self.told),
        })
    }

    /// Forgets what a person has shown so far; the broker ends their connections.
    pub fn sign_out(&self, person: &str) {
        self.house.forget(person);
        self.broker.review();
    }

    /// Says goodbye to the devices and closes the data. Routes that are still served answer that the client is closed.
    pub async fn stop(self) {
        self.follower.abort();
        self.client.close().await;
        self.broker.drain().await;
    }
}

/// Writes down what happens, in order, as long as the client is there.
async fn follow(
    mut events: tokio::sync::broadcast::Receiver<syncline_client::Delivered>,
    told: Arc<Mutex<Vec<String>>>,
) {
    use tokio::sync::broadcast::error::RecvError;
    loop {
        let line = match events.recv().await {
            Ok(it) => format!("{} {}", it.event.seq, it.event.event_type),
            // Too busy to follow: the state has them, this list does not.
            Err(RecvError::Lagged(missed)) => format!("({missed} not listed)"),
            Err(RecvError::Closed) => return,
        };
        let mut told = told.lock();
        told.push(line);
        let surplus = told.len().saturating_sub(LAST);
        told.drain(..surplus);
    }
}
