//! What is handed to a store and what it answers.

use syncline_protocol::{Epoch, Event, IntentHash, Seq, StreamId};

use super::{Committed, Receipt, StoreError, StreamHead};

/// Events of one stream, decided on one head of it.
#[derive(Debug, Clone)]
pub struct Append {
    /// The stream of every record.
    pub stream: StreamId,
    /// The head that the records were decided on; the first one has the seq after it.
    pub expected_head: Seq,
    /// The epoch of every record; it becomes the stream's if the stream is empty.
    pub epoch: Epoch,
    /// At least one, with ascending seq and no holes.
    pub records: Vec<Record>,
}

/// One event to be kept.
#[derive(Debug, Clone)]
pub struct Record {
    /// Complete, as it will be delivered.
    pub event: Event,
    /// The intent's hash (EVENT-9), if the device numbers its events.
    pub hash: Option<IntentHash>,
}

/// The answer to one [`Append`].
pub type Appended = Result<Kept, Conflict>;

/// A batch that is on disk.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Proof of it.
    pub receipt: Receipt,
    /// The batch, in order.
    pub committed: Vec<Committed>,
}

/// The stream's head was not the expected one: nothing of the batch was kept.
#[derive(Debug, Clone)]
pub struct Conflict {
    /// What stands after the expected head, at most [`Conflict::TAIL_MAX`] events of it; empty if the
    /// head is not above the expected one.
    pub tail: Vec<Committed>,
}

impl Conflict {
    /// The most events that a conflict carries.
    pub const TAIL_MAX: usize = 256;
}

impl Append {
    /// Whether the batch was decided on this head.
    pub(crate) fn fits(&self, head: &StreamHead) -> bool {
        self.expected_head == head.seq && (head.is_empty() || self.epoch == head.epoch)
    }

    /// A batch that contradicts itself is its maker's mistake and must not reach the disk.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        if self.records.is_empty() || self.epoch == Epoch::NONE {
            return Err(StoreError::BadAppend("no records, or no epoch"));
        }
        let mut seq = self.expected_head;
        for Record { event, .. } in &self.records {
            seq = seq.next();
            if event.seq != seq || event.stream != self.stream || event.epoch != self.epoch {
                return Err(StoreError::BadAppend("seq, stream or epoch of a record"));
            }
        }
        Ok(())
    }
}
