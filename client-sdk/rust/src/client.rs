//! What an app holds: a handle to the driver's task.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use syncline_client_core::{OpenValue, Outcome, Refusal, Rejected, Status};
use syncline_protocol::ids::IdError;
use syncline_protocol::{DeviceId, Event, EventType, Intent, Seq, Value};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::ambient::NoRandomness;
use crate::driver::{self, Command, Tellers};
use crate::options::Options;
use crate::store::StoreError;

/// Why no client was opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A new store needs a new device.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// The name of the channel is none (TOPIC-1, TOPIC-2).
    #[error(transparent)]
    Channel(#[from] IdError),
    /// The thread of the outbox did not start.
    #[error("no thread for the outbox: {0}")]
    Thread(std::io::Error),
}

/// Why a client ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Its store failed (STORE-4).
    #[error(transparent)]
    Store(Arc<StoreError>),
    /// It needed a new device and could not make one.
    #[error(transparent)]
    Randomness(NoRandomness),
}

/// The client was closed, or ended by itself.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the client is closed{}", .cause.as_ref().map(|it| format!(": {it}")).unwrap_or_default())]
pub struct Closed {
    /// Why it ended, if it was not closed by the app.
    pub cause: Option<Arc<Failure>>,
}

/// Why nothing was published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The type is none (1 to 64 characters).
    #[error(transparent)]
    EventType(#[from] IdError),
    /// The outbox is full, or the schema would not have it.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// There is no client any more. What it had not made durable is lost.
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// An intent on the broker's disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Saved {
    /// Its place in the stream, if the broker still knew it.
    pub seq: Option<Seq>,
}

/// Why an intent is not on the broker's disk.
#[derive(Debug, thiserror::Error)]
pub enum NotSaved {
    /// The broker refused it for good; it was set aside.
    #[error("{}: {}", .0.name, .0.reason)]
    Refused(Refusal),
    /// The client ended before. The intent is in the store and goes out with the next client on it.
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// Of an intent that is durable in the outbox.
#[derive(Debug)]
pub struct Receipt {
    outcome: oneshot::Receiver<Outcome>,
    end: End,
}

impl Receipt {
    pub(crate) fn new(outcome: oneshot::Receiver<Outcome>, end: End) -> Self {
        Self { outcome, end }
    }

    /// Waits for the broker's answer, however long that takes. A change that a later one replaced before it was ever
    /// sent (star, unstar, star) has the answer of that one.
    pub async fn saved(self) -> Result<Saved, NotSaved> {
        match self.outcome.await {
            Ok(Outcome::Saved(seq)) => Ok(Saved { seq }),
            Ok(Outcome::Refused(refusal)) => Err(NotSaved::Refused(refusal)),
            // The driver hands on the receipts of what was superseded, so this is the end of a driver.
            Ok(Outcome::Superseded(_)) | Err(_) => Err(self.end.closed().into()),
        }
    }
}

/// An event that came in.
#[derive(Debug, Clone)]
pub struct Delivered {
    /// The event.
    pub event: Arc<Event>,
    /// Whether this client published it.
    pub own: bool,
}

/// Keys that the app sees otherwise now: another value, another place in their list, other open values. After a change
/// of a list's items, read the list again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Of which collection.
    pub collection: String,
    /// Ascending.
    pub keys: Vec<String>,
}

/// An intent that will never be saved.
#[derive(Debug, Clone)]
pub struct SetAside {
    /// What it was.
    pub intent: Arc<Intent>,
    /// Why.
    pub refusal: Refusal,
}

/// Why the driver ended, once it has.
#[derive(Debug, Clone, Default)]
pub(crate) struct End(Arc<OnceLock<Arc<Failure>>>);

impl End {
    pub(crate) fn because(&self, failure: Failure) {
        // The first cause is the one that counts.
        let _ = self.0.set(Arc::new(failure));
    }

    pub(crate) fn closed(&self) -> Closed {
        Closed {
            cause: self.0.get().cloned(),
        }
    }
}

/// One stream, kept the same here and everywhere. Cheap to clone; the last clone's drop closes it.
#[derive(Debug, Clone)]
pub struct Client {
    commands: mpsc::Sender<Command>,
    tellers: Tellers,
    status: watch::Receiver<Status>,
    end: End,
    options: Arc<Options>,
}

impl Client {
    /// Opens the store and starts to connect. The view of what is stored is there at once.
    pub async fn open(options: Options) -> Result<Self, OpenError> {
        let (tellers, end) = (Tellers::new(), End::default());
        let kept = Arc::new(options.clone());
        let (commands, status) = driver::start(options, tellers.clone(), end.clone()).await?;
        Ok(Self {
            commands,
            tellers,
            status,
            end,
            options: kept,
        })
    }

    /// Opens another channel of the same group, with the same options. It is a client of its own: its own device, its own
    /// outbox, its own connection. So the options' store is a folder ([`Store::Folder`](crate::Store::Folder)) or memory.
    pub async fn channel(&self, channel: &str) -> Result<Self, OpenError> {
        let mut options = Options::clone(&self.options);
        options.stream.channel = Some(channel.parse()?);
        Self::open(options).await
    }

    /// Makes a change. Returns when it is durable in the outbox; the view shows it at once.
    pub async fn publish(
        &self,
        event_type: &str,
        event_data: impl Into<Value>,
    ) -> Result<Receipt, PublishError> {
        let event_type: EventType = event_type.parse()?;
        let event_data = event_data.into();
        let publish = |reply| Command::Publish {
            event_type,
            event_data,
            reply,
        };
        Ok(self.ask(publish).await??)
    }

    /// All live keys of a collection in the view, and their values.
    pub async fn entries(&self, collection: &str) -> Result<BTreeMap<String, Value>, Closed> {
        let collection = collection.to_owned();
        self.ask(|reply| Command::Entries { collection, reply })
            .await
    }

    /// Whether a key is live in the view.
    pub async fn contains(&self, collection: &str, key: &str) -> Result<bool, Closed> {
        Ok(self.value(collection, key).await?.is_some())
    }

    /// The live value of a key in the view.
    pub async fn value(&self, collection: &str, key: &str) -> Result<Option<Value>, Closed> {
        let (collection, key) = (collection.to_owned(), key.to_owned());
        self.ask(|reply| Command::Value {
            collection,
            key,
            reply,
        })
        .await
    }

    /// The items of a list in their order, in the view: keys and values. `list` is its name, `None` where the schema
    /// makes one list of the whole collection.
    pub async fn list(
        &self,
        collection: &str,
        list: Option<&str>,
    ) -> Result<Vec<(String, Value)>, Closed> {
        let (collection, list) = (collection.to_owned(), list.map(str::to_owned));
        self.ask(|reply| Command::List {
            collection,
            list,
            reply,
        })
        .await
    }

    /// What stands for a key until somebody settles it, the shown value first; nothing if there is no conflict. Only a
    /// collection with `keep_both` has conflicts. To settle one, publish what shall be.
    pub async fn open_values(&self, collection: &str, key: &str) -> Result<Vec<OpenValue>, Closed> {
        let (collection, key) = (collection.to_owned(), key.to_owned());
        self.ask(|reply| Command::OpenValues {
            collection,
            key,
            reply,
        })
        .await
    }

    /// The device that this client is. It changes when its UUID turns out to be another installation's, too.
    pub async fn device(&self) -> Result<DeviceId, Closed> {
        self.ask(|reply| Command::Device { reply }).await
    }

    /// How things stand, now and from now on. Clone out of `borrow` and `wait_for` what is needed longer: until what
    /// they give is dropped, the client waits, and everything on its thread with it.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// The events that come in from now on. What a state bridged is not among them.
    pub fn events(&self) -> broadcast::Receiver<Delivered> {
        self.tellers.events.subscribe()
    }

    /// What differs in the view, from now on.
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.tellers.changes.subscribe()
    }

    /// The intents that are set aside from now on.
    pub fn set_aside(&self) -> broadcast::Receiver<SetAside> {
        self.tellers.set_aside.subscribe()
    }

    /// The app's switch. On while waiting for a retry: tries at once.
    pub async fn set_online(&self, online: bool) -> Result<(), Closed> {
        self.ask(|reply| Command::SetOnline { online, reply }).await
    }

    /// Disconnects, and returns when everything published is durable and the store is free.
    pub async fn close(self) {
        // An error says that it is closed already.
        let _ = self.ask(|reply| Command::Close { reply }).await;
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, Closed> {
        let (reply, answer) = oneshot::channel();
        let closed = || self.end.closed();
        self.commands
            .send(command(reply))
            .await
            .map_err(|_| closed())?;
        answer.await.map_err(|_| closed())
    }
}
