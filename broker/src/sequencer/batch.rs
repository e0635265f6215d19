//! One batch on its way: what was decided of each stream, and what its jobs will be told.

use syncline_protocol::planted::{Planted, planted};
use syncline_protocol::{Epoch, Refused, Seq, StreamId, UnixMillis};

use super::decide::{Decision, Sequenced};
use super::job::{Job, Settled};
use crate::store::{Append, Committed, Receipt, StreamHead};

/// The jobs of one stream in one round, decided on one head of it. Where an epoch begins, another lineup does.
pub(super) struct Lineup {
    pub(super) stream: StreamId,
    pub(super) expected_head: Seq,
    epoch: Epoch,
    begins: bool,
    /// It begins because the stream was doubted.
    pub(super) is_doubt: bool,
    horizon: Option<Seq>,
    sequenced: Vec<Sequenced>,
    pub(super) decided: Vec<(usize, Promise)>,
}

/// What a job will be told if its lineup is kept.
pub(super) enum Promise {
    Saved(Seq),
    Repeat(Seq),
    Refused(Refused),
    /// The head as the order leaves it.
    Obeyed(StreamHead),
}

impl Lineup {
    /// On the head as it is now.
    pub(super) fn new(stream: StreamId, head: &StreamHead) -> Lineup {
        Lineup {
            stream,
            expected_head: head.seq,
            epoch: head.epoch,
            begins: false,
            is_doubt: false,
            horizon: None,
            sequenced: Vec::new(),
            decided: Vec::new(),
        }
    }

    /// With this epoch, which is not the stream's.
    pub(super) fn beginning(stream: StreamId, head: &StreamHead) -> Lineup {
        Lineup {
            begins: true,
            ..Lineup::new(stream, head)
        }
    }

    pub(super) fn take(&mut self, job: usize, decision: Decision) {
        let promise = match decision {
            Decision::Append(sequenced) => {
                let seq = sequenced.event().seq;
                self.sequenced.push(sequenced);
                Promise::Saved(seq)
            }
            Decision::Repeat(seq) => Promise::Repeat(seq),
            Decision::Refused(refused) => Promise::Refused(refused),
        };
        self.decided.push((job, promise));
    }

    /// The horizon is raised with whatever else there is.
    pub(super) fn raise(&mut self, horizon: Seq) {
        self.horizon = self.horizon.max(Some(horizon));
    }

    pub(super) fn promise(&mut self, job: usize, head: StreamHead) {
        self.decided.push((job, Promise::Obeyed(head)));
    }

    /// Promises that are kept although they must not be.
    pub(super) fn planted_promises(&mut self) -> Vec<(usize, Promise)> {
        let all = planted(Planted::AckBeforeCommit);
        let repeats = planted(Planted::RepeatBeforeDurable);
        let is_repeat = |promise: &Promise| matches!(promise, Promise::Repeat(_));
        let kept = |promise: &Promise| all || (repeats && is_repeat(promise));
        self.decided
            .extract_if(.., |(_, promise)| kept(promise))
            .collect()
    }

    /// What is new, if anything is.
    pub(super) fn take_append(&mut self) -> Option<Append> {
        let sequenced = std::mem::take(&mut self.sequenced);
        if sequenced.is_empty() && self.horizon.is_none() && !self.begins {
            return None;
        }
        let first = sequenced.first();
        Some(Append {
            stream: self.stream.clone(),
            expected_head: self.expected_head,
            epoch: first.map_or(self.epoch, |first| first.event().epoch),
            begins: self.begins,
            horizon: self
                .horizon
                .filter(|_| !planted(Planted::HorizonNotJournaled)),
            records: sequenced.into_iter().map(Sequenced::into_record).collect(),
        })
    }
}

/// Jobs that are decided and kept together.
pub(super) struct Batch {
    pub(super) jobs: Vec<Job>,
    settled: Vec<Option<Settled>>,
    pub(super) committed: Vec<Committed>,
    pub(super) now: UnixMillis,
}

impl Batch {
    pub(super) fn new(jobs: Vec<Job>, now: UnixMillis) -> Batch {
        let settled = jobs.iter().map(|_| None).collect();
        Batch {
            jobs,
            settled,
            committed: Vec::new(),
            now,
        }
    }

    /// The jobs that are not settled, in their order.
    pub(super) fn open(&self) -> Vec<usize> {
        (0..self.jobs.len())
            .filter(|index| self.settled[*index].is_none())
            .collect()
    }

    pub(super) fn keep(&mut self, decided: Vec<(usize, Promise)>, receipt: Receipt) {
        for (index, promise) in decided {
            self.settled[index] = Some(match promise {
                Promise::Saved(seq) => Settled::Saved { seq, receipt },
                Promise::Repeat(seq) => Settled::Repeat { seq, receipt },
                Promise::Refused(refused) => Settled::Refused(refused),
                Promise::Obeyed(head) => Settled::Obeyed(head),
            });
        }
    }

    pub(super) fn fail(&mut self, index: usize, cause: &str) {
        self.jobs[index].break_off();
        self.settled[index] = Some(Settled::Failed(cause.to_owned()));
    }

    /// Tells every job, in order, and gives what the sink gets.
    pub(super) fn answer(self) -> Vec<Committed> {
        for (job, settled) in self.jobs.into_iter().zip(self.settled) {
            let settled = settled.unwrap_or_else(|| {
                job.break_off();
                Settled::Failed("others keep appending to the stream".to_owned())
            });
            job.answer(settled);
        }
        self.committed
    }
}
