//! The sequencer's thread: takes what is queued, decides it, has it kept in one commit, then answers.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use syncline_protocol::planted::{Planted, planted};
use syncline_protocol::{Epoch, Refused, Schema, Seq, StreamId, TransientName, UnixMillis};

use super::decide::{Circumstances, Decision, Rules, Sequenced};
use super::streams::Streams;
use super::unpublished::Unpublished;
use super::weight::weight;
use super::{Hooks, Job, Options, Outcome};
use crate::store::{Append, Appended, Committed, EventStore, Receipt, StoreError};

/// How often a batch is decided anew because somebody else appended to its streams.
const ROUNDS_MAX: usize = 8;

/// How soon the store is asked again what became of a failed commit when nobody submits anything.
const UNPUBLISHED_RETRY: Duration = Duration::from_millis(100);

/// The thread's state.
pub(crate) struct Worker {
    queue: Receiver<Job>,
    store: Arc<dyn EventStore>,
    streams: Streams,
    unpublished: Unpublished,
    rules: Rules,
    batch_events_max: usize,
    batch_bytes_max: usize,
    hooks: Hooks,
}

/// The jobs of one stream in one round, decided on one head of it.
struct Lineup {
    stream: StreamId,
    expected_head: Seq,
    sequenced: Vec<Sequenced>,
    decided: Vec<(usize, Promise)>,
}

/// What a job will be told if its lineup is kept.
enum Promise {
    Saved(Seq),
    Repeat(Seq),
    Refused(Refused),
}

/// One batch on its way: its jobs, what they will be told, and what the sink will get.
struct Batch {
    jobs: Vec<Job>,
    outcomes: Vec<Option<Outcome>>,
    committed: Vec<Committed>,
    now: UnixMillis,
}

impl Worker {
    pub(crate) fn new(
        options: &Options,
        queue: Receiver<Job>,
        store: Arc<dyn EventStore>,
        schema: Arc<Schema>,
        hooks: Hooks,
    ) -> Worker {
        let rules = Rules {
            schema,
            max_clock_skew_ms: options.max_clock_skew_ms,
            mark_window: store.mark_window(),
        };
        Worker {
            queue,
            streams: Streams::new(Arc::clone(&store), options.active_streams_max),
            store,
            unpublished: Unpublished::default(),
            rules,
            batch_events_max: options.batch_events_max,
            batch_bytes_max: options.batch_bytes_max,
            hooks,
        }
    }

    /// Until the intake is closed and the queue is empty.
    pub(crate) fn run(mut self) {
        while let Some(jobs) = self.next_jobs() {
            self.settle(jobs);
        }
    }

    /// One turn of [`Worker::run`] that does not wait. Whether there was a job.
    #[cfg(feature = "simulation")]
    pub(super) fn step(&mut self) -> bool {
        let first = self.queue.try_recv();
        let jobs = first.map(|job| self.batch(job)).unwrap_or_default();
        let found = !jobs.is_empty();
        self.settle(jobs);
        found
    }

    /// Waits for one job and takes what stands behind it, within the bounds of a batch. Empty if it is
    /// time to look after a failed commit instead.
    fn next_jobs(&self) -> Option<Vec<Job>> {
        let first = match self.next_job() {
            Ok(first) => first,
            Err(RecvTimeoutError::Timeout) => return Some(Vec::new()),
            Err(RecvTimeoutError::Disconnected) => return None,
        };
        Some(self.batch(first))
    }

    fn batch(&self, first: Job) -> Vec<Job> {
        let mut bytes = weight(first.submission.intent());
        let mut jobs = vec![first];
        while jobs.len() < self.batch_events_max && bytes < self.batch_bytes_max {
            let Ok(job) = self.queue.try_recv() else {
                break;
            };
            bytes += weight(job.submission.intent());
            jobs.push(job);
        }
        jobs
    }

    fn next_job(&self) -> Result<Job, RecvTimeoutError> {
        if self.unpublished.is_empty() {
            self.queue
                .recv()
                .map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            self.queue.recv_timeout(UNPUBLISHED_RETRY)
        }
    }

    /// Decides, commits, answers. Streams that met a conflict are decided anew.
    pub(super) fn settle(&mut self, jobs: Vec<Job>) {
        self.unpublished.publish(&*self.store, &self.hooks.sink);
        let mut batch = Batch::new(jobs, (self.hooks.now)());
        for _ in 0..ROUNDS_MAX {
            let lineups = self.decide(&mut batch);
            if lineups.is_empty() {
                break;
            }
            self.commit(lineups, &mut batch);
        }
        let committed = batch.answer();
        if !committed.is_empty() {
            (self.hooks.sink)(committed);
        }
        self.streams.trim();
    }

    /// Decides every job that has no outcome yet.
    fn decide(&mut self, batch: &mut Batch) -> Vec<Lineup> {
        let mut lineups: Vec<Lineup> = Vec::new();
        let mut places: HashMap<StreamId, usize> = HashMap::new();
        for index in batch.open() {
            match self.decide_one(batch, index, &mut lineups, &mut places) {
                Ok(()) => {}
                Err(cause) => batch.fail(index, &cause),
            }
        }
        lineups
    }

    fn decide_one(
        &mut self,
        batch: &Batch,
        index: usize,
        lineups: &mut Vec<Lineup>,
        places: &mut HashMap<StreamId, usize>,
    ) -> Result<(), String> {
        let Job {
            lane, submission, ..
        } = &batch.jobs[index];
        if lane.is_broken() && !planted(Planted::LaneNotBroken) {
            return Err("an earlier event of this connection failed".to_owned());
        }
        let (id, device) = (submission.stream(), submission.author());
        let stream = self
            .streams
            .load(id, device)
            .map_err(|error| error.to_string())?;
        let place = *places.entry(id.clone()).or_insert_with(|| {
            lineups.push(Lineup::new(id.clone(), stream.head().seq));
            lineups.len() - 1
        });
        let fresh_epoch = match stream.head().is_empty() {
            // Zeros name no history.
            true => Epoch::new((self.hooks.random)().max(1)),
            false => stream.head().epoch,
        };
        let at = Circumstances {
            device,
            now: batch.now,
            fresh_epoch,
        };
        lineups[place].take(index, stream.decide(&self.rules, at, submission.intent()));
        Ok(())
    }

    /// One commit for all that is new, then promises become outcomes.
    fn commit(&mut self, mut lineups: Vec<Lineup>, batch: &mut Batch) {
        let appends: Vec<Append> = lineups.iter_mut().filter_map(Lineup::take_append).collect();
        let expected: Vec<StreamId> = appends.iter().map(|append| append.stream.clone()).collect();
        let appended = if appends.is_empty() {
            Ok(Vec::new())
        } else {
            self.store.append(appends)
        };
        match appended {
            Ok(appended) => {
                let mut answers = expected.into_iter().zip(appended).collect();
                for lineup in lineups {
                    self.conclude(lineup, &mut answers, batch);
                }
            }
            Err(error) => self.give_up(lineups, &error, batch),
        }
    }

    fn conclude(
        &mut self,
        lineup: Lineup,
        answers: &mut HashMap<StreamId, Appended>,
        batch: &mut Batch,
    ) {
        match answers.remove(&lineup.stream) {
            None => batch.keep(lineup.decided, self.store.durable()),
            Some(Ok(kept)) => {
                batch.keep(lineup.decided, kept.receipt);
                batch.committed.extend(kept.committed);
            }
            Some(Err(conflict)) => {
                tracing::debug!(stream = %lineup.stream, tail = conflict.tail.len(), "decided anew");
                self.streams.forget(&lineup.stream);
            }
        }
    }

    /// The outcome of everything in this commit is unknown.
    fn give_up(&mut self, lineups: Vec<Lineup>, error: &StoreError, batch: &mut Batch) {
        if error.is_failed_sync() {
            (self.hooks.on_fatal)(error);
        }
        tracing::warn!(%error, "a commit failed");
        let cause = error.to_string();
        for mut lineup in lineups {
            self.streams.forget(&lineup.stream);
            lineup.plant_promises(batch, self.store.durable());
            lineup
                .decided
                .iter()
                .for_each(|(index, _)| batch.fail(*index, &cause));
            self.unpublished
                .suspect(lineup.stream, lineup.expected_head);
        }
    }
}

impl Lineup {
    fn new(stream: StreamId, expected_head: Seq) -> Lineup {
        Lineup {
            stream,
            expected_head,
            sequenced: Vec::new(),
            decided: Vec::new(),
        }
    }

    fn take(&mut self, job: usize, decision: Decision) {
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

    /// Keeps promises that must not be kept.
    fn plant_promises(&mut self, batch: &mut Batch, receipt: Receipt) {
        let is_repeat = |promise: &Promise| matches!(promise, Promise::Repeat(_));
        let kept = self.decided.extract_if(.., |(_, promise)| {
            planted(Planted::AckBeforeCommit)
                || planted(Planted::RepeatBeforeDurable) && is_repeat(promise)
        });
        batch.keep(kept.collect(), receipt);
    }

    /// What is new, if anything is.
    fn take_append(&mut self) -> Option<Append> {
        let sequenced = std::mem::take(&mut self.sequenced);
        let epoch = sequenced.first()?.event().epoch;
        let (stream, expected_head) = (self.stream.clone(), self.expected_head);
        let records = sequenced.into_iter().map(Sequenced::into_record).collect();
        Some(Append::events(stream, expected_head, epoch, records))
    }
}

impl Batch {
    fn new(jobs: Vec<Job>, now: UnixMillis) -> Batch {
        let outcomes = jobs.iter().map(|_| None).collect();
        Batch {
            jobs,
            outcomes,
            committed: Vec::new(),
            now,
        }
    }

    /// The jobs without an outcome, in their order.
    fn open(&self) -> Vec<usize> {
        (0..self.jobs.len())
            .filter(|index| self.outcomes[*index].is_none())
            .collect()
    }

    fn keep(&mut self, decided: Vec<(usize, Promise)>, receipt: Receipt) {
        for (index, promise) in decided {
            self.outcomes[index] = Some(match promise {
                Promise::Saved(seq) => Outcome::Saved { seq, receipt },
                Promise::Repeat(seq) => Outcome::Repeat { seq, receipt },
                Promise::Refused(refused) => Outcome::Refused(refused),
            });
        }
    }

    fn fail(&mut self, index: usize, cause: &str) {
        self.jobs[index].lane.break_off();
        self.outcomes[index] = Some(Outcome::Failed(
            TransientName::StorageFailed,
            cause.to_owned(),
        ));
    }

    /// Calls every reply, in order, and gives what the sink gets.
    fn answer(self) -> Vec<Committed> {
        for (job, outcome) in self.jobs.into_iter().zip(self.outcomes) {
            let outcome = outcome.unwrap_or_else(|| {
                job.lane.break_off();
                let cause = "others keep appending to the stream".to_owned();
                Outcome::Failed(TransientName::StorageFailed, cause)
            });
            (job.reply)(outcome);
        }
        self.committed
    }
}
