//! What survives of MQTT sessions: who they are, what they follow and how far they are, what waits for them, the
//! retained messages of ordinary topics, and whose devices are and when they were here.
//!
//! # Calling contract
//!
//! - Every call may block.
//! - [`SessionStore::write`] makes all its changes in **one** durable commit, in their order: when it returns `Ok` they
//!   are on disk, when it returns `Err` none of them or all of them are.
//! - A change to a session or subscription that is not there changes nothing: it comes from a connection that did not
//!   hear of the end yet.
//! - What a session follows on `sync/` is never copied here. A session has everything up to one **position** of the
//!   store's log ([`StoredSession::position`]); only streams that lag behind it have a [`Cursor`] of their own. So a
//!   subscription to a hundred thousand streams costs a row.

pub(crate) mod codec;
mod devices;
pub(crate) mod message;
mod reach;

#[cfg(test)]
pub(crate) mod contract;

pub mod memory;

use syncline_protocol::{Epoch, Filter, Seq, StreamId, SyncId, UnixMillis};

use super::{ReadLimit, StoreError};

pub use devices::{DeviceKey, StoredOwner, StoredPresence};
pub use message::{Message, QueueLimit, QueueNumber, Queued};
pub use reach::Reach;

/// Whose session: one per principal and client id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionKey {
    /// The principal's name; empty for the anonymous one.
    pub principal: String,
    /// The client id.
    pub client_id: String,
}

/// The version of MQTT in which a session was last used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MqttVersion {
    /// 3.1.1.
    V3,
    /// 5.
    V5,
}

/// A session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSession {
    /// Whose.
    pub key: SessionKey,
    /// In which version it was last used.
    pub version: MqttVersion,
    /// How long it is kept once its connection is gone.
    pub expiry_ms: u64,
    /// When its connection went; `None` while there is one.
    pub left_at: Option<UnixMillis>,
    /// Every subscription has everything up to here, but for cursors, unfinished scans, and what lies before
    /// its own beginning.
    pub position: u64,
}

impl StoredSession {
    /// When it ends; `None` while it is connected.
    pub fn ends_at(&self) -> Option<UnixMillis> {
        Some(self.left_at?.plus(self.expiry_ms))
    }
}

/// What a session follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSubscription {
    /// Without views.
    pub filter: Filter,
    /// Whether messages are JSON text.
    pub json: bool,
    /// 0, 1 or 2.
    pub qos: u8,
    /// The v5 option No Local.
    pub no_local: bool,
    /// The v5 option Retain As Published.
    pub retain_as_published: bool,
    /// The v5 Subscription Identifier.
    pub identifier: Option<u32>,
    /// The store's position when it began.
    pub began: u64,
    /// How far its unfinished scans are.
    pub scans: Reaches,
}

/// Up to where something has gone through all streams. `None`: there is nothing to go through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reaches {
    /// For events.
    pub events: Option<Reach>,
    /// For states.
    pub states: Option<Reach>,
}

/// A stream that lags behind its session's position for one subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The subscription.
    pub filter: Filter,
    /// The stream.
    pub stream: StreamId,
    /// Where its events go on.
    pub events: Lag,
    /// A state is due, too.
    pub state: bool,
}

/// Where the events of a stream go on for a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lag {
    /// At the session's position: they do not lag.
    None,
    /// After a seq, up to which the subscription has everything.
    After {
        /// Of which history; [`Epoch::NONE`] if that is not known.
        epoch: Epoch,
        /// Up to here it has everything.
        seq: Seq,
        /// Up to here it was sent; what is above `seq` was not acknowledged.
        sent: Seq,
    },
    /// After a state that comes first.
    State,
}

/// A session with all that is read at once when its client comes again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedSession {
    /// The session.
    pub session: StoredSession,
    /// By filter.
    pub subscriptions: Vec<StoredSubscription>,
    /// By filter and stream.
    pub cursors: Vec<Cursor>,
    /// Open exchanges, by side and id.
    pub packets: Vec<PacketId>,
    /// The last place that was given in its queue.
    pub queued_to: QueueNumber,
}

/// An open exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PacketId {
    /// Who sent the PUBLISH.
    pub side: Side,
    /// Its packet id.
    pub id: u16,
}

/// Who sent a PUBLISH.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The client: the message was taken and must not be taken again.
    Client,
    /// The broker: the client has it, and its PUBCOMP is awaited.
    Broker,
    /// The broker: it was sent, and is not acknowledged. Id 0: whatever waits may have been sent, because the broker died.
    Sent,
}

/// How far a session is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// See [`StoredSession::position`].
    pub position: u64,
    /// Subscriptions whose scans changed.
    pub scans: Vec<(Filter, Reaches)>,
    /// Cursors to keep, in place of the same ones before.
    pub put: Vec<Cursor>,
    /// Cursors that do not lag any more.
    pub drop: Vec<(Filter, StreamId)>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionChange {
    /// The session is there from now on. If it was before, it keeps what it follows and its position.
    Begin(StoredSession),
    /// Nothing of the session is left.
    End(SessionKey),
    /// Its connection is gone (`left_at`), after an expiry that may have changed.
    Leave {
        /// Whose.
        key: SessionKey,
        /// From now on.
        expiry_ms: u64,
        /// When.
        left_at: UnixMillis,
    },
    /// It follows this, in place of what it followed under the same filter, whose cursors go.
    Subscribe(SessionKey, StoredSubscription),
    /// It does not follow this any more.
    Unsubscribe(SessionKey, Filter),
    /// It is further.
    Progress(SessionKey, Progress),
    /// This message waits for it, unless as many wait as the limit allows.
    Enqueue(SessionKey, Message, QueueLimit),
    /// It has this message.
    Dequeue(SessionKey, QueueNumber),
    /// An exchange is open.
    Open(SessionKey, PacketId),
    /// It is not.
    Close(SessionKey, PacketId),
    /// This is retained on its topic.
    Retain(Message),
    /// Nothing is retained on this topic.
    Clear(String),
    /// From now on, or still, a device is somebody's.
    Own(StoredOwner),
    /// It is nobody's.
    Disown(DeviceKey),
    /// This is what is shown of a device.
    Attend(StoredPresence),
    /// Nothing is shown of it.
    Depart(DeviceKey),
}

/// What came of a write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// Which of the changes, counted from 0, are messages that were not enqueued because their queue was full.
    pub refused: Vec<usize>,
}

/// Where sessions live. See the module for the calling contract.
pub trait SessionStore: Send + Sync + 'static {
    /// Makes all changes durable in one commit.
    fn write(&self, changes: &[SessionChange]) -> Result<Written, StoreError>;

    /// Up to `limit` sessions, ascending by key, those after `after`.
    fn sessions(
        &self,
        after: Option<&SessionKey>,
        limit: usize,
    ) -> Result<Vec<StoredSession>, StoreError>;

    /// A session and what it follows.
    fn load(&self, key: &SessionKey) -> Result<Option<LoadedSession>, StoreError>;

    /// What waits for a session after `after`, in the order in which it came.
    fn queued(
        &self,
        key: &SessionKey,
        after: QueueNumber,
        limit: ReadLimit,
    ) -> Result<Vec<Queued>, StoreError>;

    /// How many messages wait, for all sessions together.
    fn waiting(&self) -> Result<u64, StoreError>;

    /// What is retained on a topic.
    fn retained(&self, topic: &str) -> Result<Option<Message>, StoreError>;

    /// Up to `limit` retained messages, ascending by topic, those after `after`.
    fn retained_after(&self, after: Option<&str>, limit: usize)
    -> Result<Vec<Message>, StoreError>;

    /// Up to `limit` devices with an owner, ascending by key, those after `after`.
    fn owners(
        &self,
        after: Option<&DeviceKey>,
        limit: usize,
    ) -> Result<Vec<StoredOwner>, StoreError>;

    /// Up to `limit` devices of which something is shown, ascending by key, those after `after`.
    fn presences(
        &self,
        after: Option<&DeviceKey>,
        limit: usize,
    ) -> Result<Vec<StoredPresence>, StoreError>;

    /// Forgets every cursor in a group's streams, every subscription whose filter names the group, and its devices; how many.
    fn erase_group(&self, group: &SyncId) -> Result<usize, StoreError>;
}

/// Whether a filter names this group, not only matches it.
pub(crate) fn names_group(filter: &Filter, group: &SyncId) -> bool {
    let mut levels = filter.levels();
    levels.next() == Some("sync") && levels.next() == Some(group.as_str())
}
