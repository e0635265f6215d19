//! What an app holds: a handle to the driver's task.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use syncline_client_core::{NotUndone, OpenValue, Pending, Rejected, Status};
use syncline_protocol::ids::IdError;
use syncline_protocol::schema::CannotSay;
use syncline_protocol::state::Content;
use syncline_protocol::{Action, DeviceId, Event, EventType, Operation, Value};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::ambient::NoRandomness;
use crate::aside::{SetAside, SetAsideId};
use crate::devices::Device;
use crate::driver::{self, Command, Step, Tellers};
use crate::options::Options;
use crate::receipt::Receipt;
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
    /// The schema has no event for that.
    #[error(transparent)]
    CannotSay(#[from] CannotSay),
    /// What a change of a collection is called, is not known yet.
    #[error("no schema is known yet: connect once, or open with `Options::schema`")]
    NoSchema,
    /// There is no client any more. What it had not made durable is lost.
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// Why nothing was undone.
#[derive(Debug, thiserror::Error)]
pub enum UndoError {
    /// There is nothing, or somebody else changed it since, or the schema cannot say the opposite.
    #[error(transparent)]
    NotUndone(#[from] NotUndone),
    /// There is no client any more.
    #[error(transparent)]
    Closed(#[from] Closed),
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

/// What [`Client::wipe`] took away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wiped {
    /// How many changes the broker had not acknowledged. They are gone.
    pub pending: usize,
}

/// Why something may be left of a store.
#[derive(Debug, thiserror::Error)]
pub enum WipeError {
    /// There was no client any more.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// The file stays.
    #[error("{path} could not be removed: {error}")]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

/// A key with several open values, and what they are.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenConflict {
    /// The key.
    pub key: String,
    /// At least two, the one that is shown first.
    pub values: Vec<Side>,
}

/// One side of a conflict.
#[derive(Debug, Clone, PartialEq)]
pub struct Side {
    /// What it says, who said it and when.
    pub open: OpenValue,
    /// What people call that device, if it was seen in this group.
    pub device_name: Option<String>,
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
    devices: watch::Receiver<Arc<[Device]>>,
    needs_auth: watch::Receiver<bool>,
    end: End,
    options: Arc<Options>,
}

impl Client {
    /// Opens the store and starts to connect. The view of what is stored is there at once.
    pub async fn open(options: Options) -> Result<Self, OpenError> {
        let (tellers, end) = (Tellers::new(), End::default());
        let kept = Arc::new(options.clone());
        let started = driver::start(options, tellers.clone(), end.clone()).await?;
        Ok(Self {
            commands: started.commands,
            tellers,
            status: started.status,
            devices: started.devices,
            needs_auth: started.needs_auth,
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
    ///
    /// ```no_run
    /// # async fn example(client: &syncline_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use syncline_client::map;
    ///
    /// let receipt = client.publish("star_album", map([("album_id", "lantern-year")])).await?;
    /// # let _ = receipt; Ok(()) }
    /// ```
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
        self.ask(publish).await?
    }

    /// Makes a change of an entry by the event that the schema has for it. [`Set`](crate::Set), [`Map`](crate::Map),
    /// [`Counter`](crate::Counter) and [`List`](crate::List) say it more briefly.
    pub async fn act(
        &self,
        collection: &str,
        key: &str,
        action: Action,
    ) -> Result<Receipt, PublishError> {
        let operation = Operation {
            collection: collection.to_owned(),
            key: key.to_owned(),
            action,
        };
        self.ask(|reply| Command::Act { operation, reply }).await?
    }

    /// Settles a conflict: one of its open values, another one, or that it is removed. Whoever sees them all may do so.
    pub async fn settle(
        &self,
        collection: &str,
        key: &str,
        choice: Content,
    ) -> Result<Receipt, PublishError> {
        let action = match choice {
            Content::Live(value) => Action::Put(value),
            Content::Removed => Action::Remove,
        };
        self.act(collection, key, action).await
    }

    /// Takes back the last change that this client made and has not taken back yet, by publishing the opposite; works offline,
    /// too. What somebody else changed since stays as it is (UNDO-3).
    pub async fn undo(&self) -> Result<Receipt, UndoError> {
        let undo = |reply| Command::Undo {
            which: Step::Undo,
            reply,
        };
        self.ask(undo).await?
    }

    /// Does again what was undone last.
    pub async fn redo(&self) -> Result<Receipt, UndoError> {
        let redo = |reply| Command::Undo {
            which: Step::Redo,
            reply,
        };
        self.ask(redo).await?
    }

    /// The changes that the broker has not acknowledged, in their order.
    pub async fn pending_events(&self) -> Result<Vec<Pending>, Closed> {
        self.ask(|reply| Command::Pending { reply }).await
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

    /// All conflicts of a collection, by their keys.
    pub async fn conflicts(&self, collection: &str) -> Result<Vec<OpenConflict>, Closed> {
        let collection = collection.to_owned();
        let conflicts = self.ask(|reply| Command::Conflicts { collection, reply });
        let conflicts = conflicts.await?;
        let devices = self.devices();
        let devices = devices.borrow();
        let name = |id: DeviceId| devices.iter().find(|it| it.id == id)?.name.clone();
        let side = |open: OpenValue| Side {
            device_name: name(open.device),
            open,
        };
        let conflict = |(key, values): (String, Vec<OpenValue>)| OpenConflict {
            key,
            values: values.into_iter().map(side).collect(),
        };
        Ok(conflicts.into_iter().map(conflict).collect())
    }

    /// The devices of the group that the broker tells of, this one included, now and from now on. None while offline.
    pub fn devices(&self) -> watch::Receiver<Arc<[Device]>> {
        self.devices.clone()
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

    /// Whether the user has to log in again: the broker refused the user, the password or the token, or [`Options::token`](crate::Options::token)
    /// had none to give. What is published meanwhile is kept. It is tried again like after every connection that failed, so a
    /// source of tokens that has one again is enough; `set_online(true)` tries at once.
    pub fn needs_auth(&self) -> watch::Receiver<bool> {
        self.needs_auth.clone()
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

    /// All that is set aside and was not dismissed, oldest first; also from earlier runs on the same store. The last 1,000 are kept.
    pub async fn all_set_aside(&self) -> Result<Vec<SetAside>, Closed> {
        self.ask(|reply| Command::SetAside { reply }).await
    }

    /// Forgets an intent that was set aside, once its user knows. Whether it was there.
    pub async fn dismiss(&self, id: SetAsideId) -> Result<bool, Closed> {
        self.ask(|reply| Command::Dismiss { id, reply }).await
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

    /// For a user who leaves this installation: disconnects, and removes the stream's file with everything in it. To lose
    /// nothing, wait for `status` to say that nothing is pending first. Other clones of this client are closed with it.
    pub async fn wipe(self) -> Result<Wiped, WipeError> {
        let pending = self.status.borrow().pending;
        self.ask(|reply| Command::Wipe { reply }).await??;
        Ok(Wiped { pending })
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
