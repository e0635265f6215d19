//! What a core asks its driver to do and to tell.

use std::fmt;

use syncline_protocol::{DeviceId, Event, Intent, SchemaHash, Seq, UnixMillis};

use crate::input::Refusal;
use crate::rows::{IntentId, Write};

/// Something to do or to tell. The table "Outputs" of the SPEC, in its order (ORDER-1).
#[derive(Debug, Clone)]
pub enum Output {
    /// Answer with `NewDevice` and a fresh random UUID.
    MintDevice,
    /// Close the connection, and report nothing more of it.
    Disconnect,
    /// Open a connection for this device.
    Connect(DeviceId),
    /// Subscribe at QoS 1.
    Subscribe(String),
    /// Make durable, then report `Persisted`.
    Write(Box<Write>),
    /// The `publish` that gave this id may return: its intent is durable.
    Stored(IntentId),
    /// Publish at QoS 1, then report `Acked`.
    Send {
        /// For which intent.
        id: IntentId,
        /// Where.
        topic: String,
        /// What.
        payload: Vec<u8>,
    },
    /// What became of an intent.
    Receipt {
        /// Which.
        id: IntentId,
        /// What.
        outcome: Outcome,
    },
    /// This intent will never be saved.
    SetAside {
        /// Which.
        id: IntentId,
        /// What it was.
        intent: Box<Intent>,
        /// Why.
        refusal: Refusal,
    },
    /// An event was applied.
    Event {
        /// The event.
        event: Box<Event>,
        /// Whether it is this client's own (REPLICA-6).
        own: bool,
    },
    /// Another schema is in force.
    SchemaChanged(SchemaHash),
    /// The broker, the storage or this client broke a rule.
    Fault {
        /// Which.
        kind: FaultKind,
        /// How, for people.
        detail: String,
    },
    /// The app sees these keys otherwise now (OVERLAY-3). In a list these are the items to move, too.
    Changed {
        /// Of which collection.
        collection: String,
        /// Ascending.
        keys: Vec<String>,
    },
    /// The status is another now.
    Status(Status),
}

impl Output {
    /// Its place among the outputs of one input (ORDER-1).
    pub(crate) fn rank(&self) -> u8 {
        match self {
            Self::MintDevice => 0,
            Self::Disconnect => 1,
            Self::Connect(_) => 2,
            Self::Subscribe(_) => 3,
            Self::Write(_) => 4,
            Self::Stored(_) => 5,
            Self::Send { .. } => 6,
            Self::Receipt { .. } => 7,
            Self::SetAside { .. } => 8,
            Self::Event { .. } => 9,
            Self::SchemaChanged(_) => 10,
            Self::Fault { .. } => 11,
            Self::Changed { .. } => 12,
            Self::Status(_) => 13,
        }
    }
}

/// What became of an intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// On the broker's disk; at which place, if that is known.
    Saved(Option<Seq>),
    /// Set aside.
    Refused(Refusal),
    /// Never sent, because this later one says what it said and more: what becomes of that is what becomes of it.
    Superseded(IntentId),
}

/// An intent that the broker has not acknowledged.
#[derive(Debug, Clone, PartialEq)]
pub struct Pending {
    /// Its number in the store.
    pub id: IntentId,
    /// What it says; its clock is when the user acted.
    pub intent: Intent,
    /// How far it is.
    pub stage: PendingStage,
}

/// How far an intent is that is not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PendingStage {
    /// In the outbox.
    Waiting,
    /// On its way.
    Sent,
    /// The history of the broker went past it: the next opening decides (REFUSE-5).
    Overtaken,
}

/// Which rule was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// A stored replica cannot be used (OPEN-2).
    Storage,
    /// A delta that does not follow the cursor (REPLICA-2).
    Delta,
    /// A state that is not what its digest says (REPLICA-2).
    Digest,
    /// A gap right after an opening (REPLICA-4).
    Gap,
    /// A message that cannot be read (REPLICA-5).
    BadMessage,
    /// A schema that does not follow from the state (SCHEMA-11).
    Schema,
}

impl FaultKind {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Storage => "storage",
            Self::Delta => "delta",
            Self::Digest => "digest",
            Self::Gap => "gap",
            Self::BadMessage => "bad_message",
            Self::Schema => "schema",
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How the connection stands (STATUS-1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Switched off, or waiting for the next try.
    Offline,
    /// From the try to the opening state.
    Connecting,
    /// Everything up to the opening state is here, and the rest comes live.
    Online,
}

/// What a person wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// What is done now stays here for the time being.
    Offline,
    /// Something is on its way.
    Saving,
    /// The broker has everything.
    Saved,
}

/// How things stand (STATUS-1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The connection.
    pub phase: Phase,
    /// Intents that the broker has not acknowledged.
    pub pending: usize,
    /// When the next try is, while waiting for one.
    pub next_retry_at: Option<UnixMillis>,
    /// Why it is offline, or was before this try.
    pub reason: Option<String>,
}

impl Status {
    /// In one word.
    pub fn label(&self) -> Label {
        match (self.phase, self.pending) {
            (Phase::Online, 0) => Label::Saved,
            (Phase::Online, _) => Label::Saving,
            _ => Label::Offline,
        }
    }
}
