//! What happens to a core.

use syncline_protocol::{DeviceId, Seq};

use crate::rows::{IntentId, WriteId};

/// Something that happened. The table "Inputs" of the SPEC; `open` and `publish` are methods.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// This write, and all before it, are durable.
    Persisted(WriteId),
    /// The connection that was asked for stands.
    Connected {
        /// How many unacknowledged messages the broker takes.
        receive_maximum: u16,
        /// How large a packet the broker takes; `None`: any.
        maximum_packet_size: Option<u32>,
    },
    /// A message of a subscription.
    Message {
        /// Its topic.
        topic: String,
        /// Its bytes.
        payload: Vec<u8>,
    },
    /// The broker answered what was sent for this intent.
    Acked {
        /// Which intent.
        id: IntentId,
        /// What it said.
        answer: Answer,
    },
    /// The connection is gone, or could not be made.
    Disconnected {
        /// Why, for people.
        reason: String,
        /// Whether the broker ended it because another connection came with this device's UUID (DISCONNECT 0x8E).
        taken_over: bool,
    },
    /// The moment of `next_timeout` has come.
    Timeout,
    /// The app's switch.
    SetOnline(bool),
    /// The answer to `MintDevice`.
    NewDevice(DeviceId),
}

/// How the broker answered an intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is on disk, at this place.
    Saved(Seq),
    /// Its first copy is on disk, at this place.
    Repeat(Seq),
    /// It or its first copy is on disk; MQTT 3.1.1 has no word for where.
    Taken,
    /// It will never be.
    Refused(Refusal),
}

/// A permanent refusal. The name is text, because a newer broker may know more names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Its name, one of the table of ANSWER-3.
    pub name: String,
    /// A sentence for people.
    pub reason: String,
}

impl Refusal {
    /// A refusal with its sentence.
    pub fn new(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            reason: reason.into(),
        }
    }
}
