//! The truth: what has been accepted, in order, on disk.
//!
//! # Calling contract
//!
//! - Every call may block. Callers own a thread or use `spawn_blocking`.
//! - One writer: [`EventStore::append`] is called by the sequencer alone. All other calls may come
//!   from any thread at any time, also while an append is under way.
//! - `append` takes many batches and makes them durable in **one** commit. When it returns `Ok`, each
//!   batch is either kept whole and on disk, or refused whole with a [`Conflict`]. Nothing of a batch
//!   is shown by any call before it is on disk.
//! - When `append` returns `Err`, **nothing is known**: the batches may or may not be found later. The
//!   caller forgets what it assumed and asks [`EventStore::head`] and [`EventStore::mark`] again.
//!   Either outcome is whole per call.
//! - After an error that [`StoreError::is_failed_sync`] names, what the operating system still holds
//!   in memory is worth nothing: the process must end and open the store anew.
//! - `head` is linearizable: it includes every append that returned before it was asked.
//! - A horizon is declared by an append and is then in the head; a fold follows it in steps, and `base.seq <= head.horizon`
//!   always. Folds and appends do not wait for each other.
//! - `read` costs what it returns, not what the stream holds.
//! - [`Receipt`] and [`Committed`] are made here and nowhere else; they prove that something is on disk.

mod append;
mod committed;
mod error;
pub mod faults;
mod fold;
mod head;
pub mod memory;
mod piece;
mod planted;
mod redb;
pub mod sessions;
mod stop;

/// The store on a simulated disk.
#[cfg(any(test, feature = "simulation"))]
pub mod simulated {
    pub use super::redb::simulated::{Failure, SimDisk};
}

/// The decoders of rows, for the fuzzer.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing {
    pub(crate) use super::redb::fuzzing::{committed, journal_seeds, session_seeds, table_seeds};
    pub use super::redb::fuzzing::{journal_record, session_rows, table_rows};
}

#[cfg(test)]
pub(crate) mod contract;

pub use append::{Append, Appended, Conflict, Kept, Record};
pub use committed::{Committed, FrameError, Receipt};
pub use error::StoreError;
pub use fold::{Base, Erased, Fold, Folded, Move, StoredEntry};
pub(crate) use head::{Control, Footprint};
pub use head::{Mark, Recent, StreamHead};
pub use planted::Planted;
pub use redb::{Compacted, RedbOptions, RedbStore, Restored};
pub use stop::Stop;

use std::sync::Arc;

use bytes::Bytes;
use syncline_protocol::{DeviceId, Seq, StreamId, SyncId, UnixMillis};

/// How much one [`EventStore::read`] returns at most. At least one event is returned if there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimit {
    /// Events at most.
    pub events: usize,
    /// Payload bytes at most, unless the first event alone is larger.
    pub bytes: usize,
}

/// Whoever is told why a store is dead.
pub type Tell = Arc<dyn Fn(&StoreError) + Send + Sync>;

/// Commits of other writers, oldest first; blocks while there is none and ends when there never will
/// be one. The embedded stores have a single writer, so theirs ends at once.
pub type Watch = Box<dyn Iterator<Item = Committed> + Send>;

/// Where events live. See the module for the calling contract.
pub trait EventStore: Send + Sync + 'static {
    /// Makes all batches durable in one commit. One answer per batch, in their order.
    fn append(&self, batches: Vec<Append>) -> Result<Vec<Appended>, StoreError>;

    /// The head of a stream; [`StreamHead::EMPTY`] if nothing was ever accepted in it.
    fn head(&self, stream: &StreamId) -> Result<StreamHead, StoreError>;

    /// What is remembered of a device's events in a stream.
    fn mark(&self, stream: &StreamId, device: DeviceId) -> Result<Option<Mark>, StoreError>;

    /// The events after `after`, ascending and without holes. [`StoreError::Folded`] if the first of them is gone.
    fn read(
        &self,
        stream: &StreamId,
        after: Seq,
        limit: ReadLimit,
    ) -> Result<Vec<Committed>, StoreError>;

    /// Up to `limit` streams that have events, ascending by [`StreamId`], those after `after`.
    fn streams(
        &self,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<(StreamId, StreamHead)>, StoreError>;

    /// The position of the last record of all streams; 0 if there is none.
    fn position(&self) -> Result<u64, StoreError>;

    /// The stream's last seq at or below a position: what somebody had who had all streams up to there. 0 if
    /// nothing of the stream is that old, or if what is has been folded away, so that nobody takes it for had.
    fn seq_at(&self, stream: &StreamId, position: u64) -> Result<Seq, StoreError>;

    /// What stands for the events that are gone; [`Base::EMPTY`] if none are.
    fn base(&self, stream: &StreamId) -> Result<Base, StoreError>;

    /// The base and each of its entries, ordered by collection and key: one consistent read, before any `each`.
    fn entries(
        &self,
        stream: &StreamId,
        each: &mut dyn FnMut(StoredEntry),
    ) -> Result<Base, StoreError>;

    /// Moves a base in one commit: entries change, events up to it go. Costs what it changes.
    fn fold(&self, fold: Fold) -> Result<Folded, StoreError>;

    /// All marks of a stream, ascending by device.
    fn marks(
        &self,
        stream: &StreamId,
        each: &mut dyn FnMut(DeviceId, Mark),
    ) -> Result<(), StoreError>;

    /// Makes a stream that does not exist, in one durable commit; `false` if it does. Only while nothing is appended.
    fn plant(&self, planted: Planted) -> Result<bool, StoreError>;

    /// What was noted under a name, for whoever opens the store.
    fn note(&self, name: &str) -> Result<Option<Bytes>, StoreError>;

    /// Notes something under a name, durably, in place of what was noted there.
    fn set_note(&self, name: &str, note: &[u8]) -> Result<(), StoreError>;

    /// Forgets the marks of devices whose last event was accepted before a time (HORIZON-3). Gives their number.
    fn forget_marks(&self, stream: &StreamId, before: UnixMillis) -> Result<usize, StoreError>;

    /// Removes all streams of a sync group, in one commit. Whoever holds heads of them must forget these.
    fn erase(&self, sync_id: &SyncId) -> Result<Erased, StoreError>;

    /// Has somebody told, from whichever thread notices, that a sync failed ([`StoreError::is_failed_sync`]): the process must end, even
    /// if nobody appends. Stores that cannot fail so tell nothing.
    fn when_dead(&self, _tell: Tell) {}

    /// Commits of others.
    fn watch(&self) -> Watch;

    /// Proof that everything this store has shown so far is on disk.
    fn durable(&self) -> Receipt;

    /// W of EVENT-10: how many recent hashes a [`Mark`] keeps.
    fn mark_window(&self) -> usize;
}
