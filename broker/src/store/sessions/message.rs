//! Messages on ordinary topics.

use bytes::Bytes;
use syncline_protocol::UnixMillis;

/// A message that is retained or waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where it was published.
    pub topic: String,
    /// What was.
    pub payload: Bytes,
    /// 0, 1 or 2.
    pub qos: u8,
    /// The RETAIN flag that it is delivered with.
    pub retain: bool,
    /// v5 properties that go with it, as their bytes on the wire; empty without any.
    pub properties: Bytes,
    /// After this moment it is not delivered any more.
    pub expires_at: Option<UnixMillis>,
}

/// The place of a message in its session's queue: 1, 2, 3 …, never used again; 0 is before the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueueNumber(pub u64);

/// A message that waits for a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// Its place.
    pub number: QueueNumber,
    /// What waits.
    pub message: Message,
}

/// How much may wait for one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimit {
    /// Messages at most.
    pub messages_max: u64,
    /// Bytes of topics, payloads and properties at most.
    pub bytes_max: u64,
}

/// What waits for one session, in sums.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct QueueSum {
    /// The last number given.
    pub(crate) last: u64,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

impl Message {
    /// What it counts against a limit.
    #[must_use]
    pub(crate) fn weight(&self) -> u64 {
        (self.topic.len() + self.payload.len() + self.properties.len()) as u64
    }
}

impl QueueSum {
    /// Takes a message in; its number, or `None` if there is no room.
    pub(crate) fn take(&mut self, message: &Message, limit: &QueueLimit) -> Option<QueueNumber> {
        let bytes = self.bytes + message.weight();
        if self.messages >= limit.messages_max || bytes > limit.bytes_max {
            return None;
        }
        self.last += 1;
        self.messages += 1;
        self.bytes = bytes;
        Some(QueueNumber(self.last))
    }

    /// Lets a message go.
    pub(crate) fn give(&mut self, message: &Message) {
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(message.weight());
    }
}
