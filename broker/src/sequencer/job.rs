//! What waits for the sequencer, and what each of it is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use syncline_protocol::{Epoch, Refused, Seq, StreamId, SyncId, TransientName};

use super::{Lane, MakeSchema, Outcome, Reply, Told, ToldAdopted, ToldErased};
use crate::edge::Submission;
use crate::sequencer::weight::weight;
use crate::store::{Receipt, StreamHead};

/// One thing to decide, in the order of the queue.
pub(super) enum Job {
    /// An intent of a device.
    Submitted(Submitted),
    /// A change of a stream's history.
    Ordered(Order),
    /// A group is to be forgotten.
    Erasing(Erasing),
    /// Another schema counts from now on.
    Adopting(Adopting),
}

/// One submission on its way.
pub(super) struct Submitted {
    pub(super) lane: Lane,
    pub(super) submission: Submission,
    pub(super) reply: Reply,
    /// Its place in the queue's memory.
    pub(super) _room: Room,
}

/// What somebody inside the broker asks of a stream.
pub(super) struct Order {
    pub(super) stream: StreamId,
    pub(super) wish: Wish,
    pub(super) done: Told,
}

/// What of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// Raise the horizon.
    Raise(Seq),
    /// Begin an epoch.
    Begin,
    /// Begin an epoch, if somebody has seen what is not there: this seq of this epoch.
    Doubt { seq: Seq, epoch: Epoch },
}

/// Which group, and who asked.
pub(super) struct Erasing {
    pub(super) sync_id: SyncId,
    pub(super) done: ToldErased,
}

/// What makes a schema, and who asked.
pub(super) struct Adopting {
    pub(super) make: MakeSchema,
    pub(super) done: ToldAdopted,
}

/// How a job ended.
pub(super) enum Settled {
    Saved { seq: Seq, receipt: Receipt },
    Repeat { seq: Seq, receipt: Receipt },
    Refused(Refused),
    Obeyed(StreamHead),
    Failed(String),
}

/// Memory of the queue, given back when it is dropped.
pub(super) struct Room {
    queued: Arc<AtomicUsize>,
    bytes: usize,
}

impl Room {
    pub(super) fn take(queued: &Arc<AtomicUsize>, bytes: usize) -> (Room, usize) {
        let before = queued.fetch_add(bytes, Ordering::AcqRel);
        let queued = Arc::clone(queued);
        (Room { queued, bytes }, before)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.queued.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

impl Job {
    /// Roughly its bytes in a commit.
    pub(super) fn weight(&self) -> usize {
        match self {
            Job::Submitted(it) => weight(it.submission.intent()),
            Job::Ordered(_) | Job::Erasing(_) | Job::Adopting(_) => 0,
        }
    }

    /// Nothing later of its connection may be accepted.
    pub(super) fn break_off(&self) {
        if let Job::Submitted(it) = self {
            it.lane.break_off();
        }
    }

    /// Tells whoever waits.
    pub(super) fn answer(self, settled: Settled) {
        match self {
            Job::Submitted(it) => (it.reply)(settled.into_outcome()),
            Job::Ordered(order) => (order.done)(settled.into_head()),
            Job::Erasing(erasing) => (erasing.done)(Err(settled.into_cause())),
            Job::Adopting(adopting) => (adopting.done)(Err(settled.into_cause())),
        }
    }

    /// Told at once, because nothing is taken any more.
    pub(super) fn turn_away(self) {
        self.break_off();
        match self {
            Job::Submitted(it) => {
                let reason = "shutting down".to_owned();
                (it.reply)(Outcome::Failed(TransientName::Draining, reason));
            }
            Job::Ordered(order) => (order.done)(Err("shutting down".to_owned())),
            Job::Erasing(erasing) => (erasing.done)(Err("shutting down".to_owned())),
            Job::Adopting(adopting) => (adopting.done)(Err("shutting down".to_owned())),
        }
    }
}

impl Settled {
    fn into_outcome(self) -> Outcome {
        match self {
            Settled::Saved { seq, receipt } => Outcome::Saved { seq, receipt },
            Settled::Repeat { seq, receipt } => Outcome::Repeat { seq, receipt },
            Settled::Refused(refused) => Outcome::Refused(refused),
            Settled::Failed(cause) => Outcome::Failed(TransientName::StorageFailed, cause),
            Settled::Obeyed(_) => unreachable!("only orders are obeyed"),
        }
    }

    fn into_head(self) -> Result<StreamHead, String> {
        match self {
            Settled::Obeyed(head) => Ok(head),
            Settled::Failed(cause) => Err(cause),
            _ => unreachable!("an order is obeyed or fails"),
        }
    }

    fn into_cause(self) -> String {
        match self {
            Settled::Failed(cause) => cause,
            _ => unreachable!("it is done apart from what is settled"),
        }
    }
}
