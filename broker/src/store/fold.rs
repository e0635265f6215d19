//! What stands for events that are gone: the base of a stream, and the steps that move it.

use bytes::Bytes;
use syncline_protocol::{Epoch, Seq, StreamId, UnixMillis};

use super::StoreError;

/// The state as of a seq, which stands for every event up to there. Its entries are kept beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// The epoch of that state.
    pub epoch: Epoch,
    /// Events up to here are gone; never above the horizon.
    pub seq: Seq,
    /// The highest `changed` of a collected tombstone (SNAP-3).
    pub removed_floor: Seq,
    /// What is known of past horizons, oldest first (HORIZON-5).
    pub moves: Vec<Move>,
}

impl Base {
    /// Of a stream whose events are all kept.
    pub const EMPTY: Base = Base {
        epoch: Epoch::NONE,
        seq: Seq::ZERO,
        removed_floor: Seq::ZERO,
        moves: Vec::new(),
    };
}

/// A horizon as it was declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// The new horizon.
    pub horizon: Seq,
    /// The head when it was journaled.
    pub at: Seq,
    /// Of the event at `horizon`.
    pub accepted_at: UnixMillis,
}

/// An entry of a base: the store knows its place, not its meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEntry {
    /// The collection's name.
    pub collection: String,
    /// The entry's key.
    pub key: String,
    /// The entry, encoded.
    pub entry: Bytes,
}

/// One step of a base: events go, and the entries that they changed come.
#[derive(Debug, Clone)]
pub struct Fold {
    /// Whose base.
    pub stream: StreamId,
    /// The seq of the base that this was computed from.
    pub from: Seq,
    /// The base afterwards. The same seq, if only tombstones or moves go.
    pub base: Base,
    /// Entries that are there afterwards, added or replaced.
    pub puts: Vec<StoredEntry>,
    /// Collections and keys of entries that are not there afterwards; applied before `puts`.
    pub removes: Vec<(String, String)>,
}

impl Fold {
    /// A fold that contradicts itself is its maker's mistake and must not reach the disk.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        if self.base.seq < self.from {
            return Err(StoreError::BadFold("it leads backwards"));
        }
        if self.base.seq > Seq::ZERO && self.base.epoch == Epoch::NONE {
            return Err(StoreError::BadFold("a base with events has no epoch"));
        }
        Ok(())
    }
}

/// What became of a [`Fold`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Folded {
    /// All of it is on disk.
    Done,
    /// Nothing was changed: the base is not at `from`, or the stream is gone.
    Moved,
    /// Nothing was changed: the tables do not have the events yet, or the horizon that covers them. To be asked again soon;
    /// they were told to hurry.
    NotYet,
}

/// What an erasure removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Erased {
    /// Streams.
    pub streams: u64,
    /// Kept events of them.
    pub events: u64,
    /// Entries of their bases.
    pub entries: u64,
    /// Marks of devices in them.
    pub marks: u64,
}
