//! What a client keeps in its own storage (STORE-1).

use std::sync::Arc;

use syncline_protocol::{Clock, DeviceId, DeviceSeq, Intent, Schema, Snapshot};

pub use crate::saw::Saw;

/// An intent's number in its store: never changes, whatever becomes of its device and `device_seq` (STORE-2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IntentId(u64);

impl IntentId {
    /// The first of a new store.
    pub const FIRST: Self = Self(1);

    /// From its number.
    pub const fn new(n: u64) -> Self {
        Self(n)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The next one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// A write's number in this run; `NONE` is before the first and always durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WriteId(u64);

impl WriteId {
    /// Before the first.
    pub const NONE: Self = Self(0);

    /// From its number.
    pub const fn new(n: u64) -> Self {
        Self(n)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The next one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Who this client is, and how far its numbers have gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceRow {
    /// The device.
    pub device: DeviceId,
    /// The `device_seq` of the next intent.
    pub next_device_seq: DeviceSeq,
    /// The highest `device_seq` that may ever have been sent (OUTBOX-5).
    pub offered: Option<DeviceSeq>,
    /// The highest clock known (OUTBOX-2).
    pub clock: Clock,
}

impl DeviceRow {
    /// A device that has done nothing yet.
    pub fn new(device: DeviceId) -> Self {
        Self {
            device,
            next_device_seq: DeviceSeq::FIRST,
            offered: None,
            clock: Clock::default(),
        }
    }

    /// The highest `device_seq` given to an intent.
    pub(crate) fn last_issued(&self) -> Option<DeviceSeq> {
        DeviceSeq::new(self.next_device_seq.get() - 1)
    }
}

/// An intent of the outbox.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Its key in the storage.
    pub id: IntentId,
    /// What is sent.
    pub intent: Intent,
    /// What its author saw of its entry; `None`: that is not known (STORE-5).
    pub saw: Option<Saw>,
    /// Whether it was refused as such, and not judged yet (REFUSE-5).
    pub overtaken: bool,
}

/// All that a storage holds.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The device.
    pub device: DeviceRow,
    /// The outbox, ascending.
    pub intents: Vec<Row>,
    /// A full snapshot: the replica.
    pub replica: Option<Snapshot>,
    /// The schema that the replica was made by.
    pub schema: Option<Arc<Schema>>,
}

/// One change of the storage, durable whole or not at all. First deletes, then puts; `None` leaves as it is.
#[derive(Debug, Clone)]
pub struct Write {
    /// Its number.
    pub id: WriteId,
    /// The device row.
    pub device: Option<DeviceRow>,
    /// Intents, new and changed.
    pub intents: Vec<Row>,
    /// The replica.
    pub replica: Option<Snapshot>,
    /// The schema.
    pub schema: Option<Arc<Schema>>,
    /// Intents to forget, ascending.
    pub delete: Vec<IntentId>,
}

impl Write {
    pub(crate) fn new(id: WriteId) -> Self {
        let (intents, delete) = (Vec::new(), Vec::new());
        Self {
            id,
            device: None,
            intents,
            replica: None,
            schema: None,
            delete,
        }
    }
}
