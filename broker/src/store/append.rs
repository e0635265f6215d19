//! What is handed to a store and what it answers.

use syncline_protocol::{Epoch, Event, IntentHash, Seq, StreamId};

use super::head::Control;
use super::{Committed, Receipt, StoreError, StreamHead};

/// Records of one stream, decided on one head of it.
#[derive(Debug, Clone)]
pub struct Append {
    /// The stream of every record.
    pub stream: StreamId,
    /// The head that the records were decided on; the first one has the seq after it.
    pub expected_head: Seq,
    /// The epoch of every record; it becomes the stream's if the stream is empty or if it begins.
    pub epoch: Epoch,
    /// The epoch replaces the stream's (EPOCH-1): not the one that the stream has. The horizon stays, unless this raises it.
    pub begins: bool,
    /// Raises the horizon, before the records, to at most the expected head. One below the stream's changes nothing.
    pub horizon: Option<Seq>,
    /// With ascending seq and no holes. At least one, unless there is a horizon or an epoch begins.
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
    /// The batch's events, in order.
    pub committed: Vec<Committed>,
}

/// The stream's head or epoch was not the expected one: nothing of the batch was kept.
#[derive(Debug, Clone)]
pub struct Conflict {
    /// What stands after the expected head, at most [`Conflict::TAIL_MAX`] events of it; empty if the
    /// head is not above the expected one, or if what stood there is folded away.
    pub tail: Vec<Committed>,
}

impl Conflict {
    /// The most events that a conflict carries.
    pub const TAIL_MAX: usize = 256;
}

impl Append {
    /// Events alone.
    pub fn events(
        stream: StreamId,
        expected_head: Seq,
        epoch: Epoch,
        records: Vec<Record>,
    ) -> Append {
        Append {
            stream,
            expected_head,
            epoch,
            begins: false,
            horizon: None,
            records,
        }
    }

    /// A raised horizon alone.
    pub fn raise(stream: StreamId, expected_head: Seq, epoch: Epoch, horizon: Seq) -> Append {
        Append {
            horizon: Some(horizon),
            ..Append::events(stream, expected_head, epoch, Vec::new())
        }
    }

    /// The beginning of an epoch alone (EPOCH-2).
    pub fn begin(stream: StreamId, expected_head: Seq, epoch: Epoch) -> Append {
        Append {
            begins: true,
            ..Append::events(stream, expected_head, epoch, Vec::new())
        }
    }

    /// Whether the batch was decided on this head.
    pub(crate) fn fits(&self, head: &StreamHead) -> bool {
        let is_its_epoch = self.epoch == head.epoch;
        self.expected_head == head.seq && (head.is_empty() || is_its_epoch != self.begins)
    }

    /// What goes before the records; `None` if it would change nothing.
    pub(crate) fn control(&self, head: &StreamHead) -> Option<Control> {
        let horizon = self.horizon.unwrap_or_default().max(head.horizon);
        let changes = self.begins || horizon > head.horizon;
        (changes && !head.is_empty()).then(|| Control {
            stream: self.stream.clone(),
            epoch: self.epoch,
            horizon,
        })
    }

    /// A batch that contradicts itself is its maker's mistake and must not reach the disk.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let is_empty = self.records.is_empty() && self.horizon.is_none() && !self.begins;
        if self.epoch == Epoch::NONE || is_empty {
            return Err(StoreError::BadAppend("no epoch, or nothing to append"));
        }
        if self.horizon > Some(self.expected_head) {
            return Err(StoreError::BadAppend("a horizon above the expected head"));
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
