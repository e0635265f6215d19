//! The sequencer's work: takes what is queued, decides it, has it kept in one commit, then answers.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use syncline_protocol::planted::{Planted, planted};
use syncline_protocol::schema::Action;
use syncline_protocol::{Epoch, Intent, RefusalName, Schema, StreamId, UnixMillis};

use super::batch::{Batch, Lineup};
use super::counters::Ask;
use super::decide::{Circumstances, Decision, Rules, Stream};
use super::doubts::Doubts;
use super::founding::Founding;
use super::holding::{Full, Kept, StreamOptions};
use super::job::{Adopting, Erasing, Job, Order, Submitted, Wish};
use super::refusals::Tally;
use super::streams::Streams;
use super::unpublished::Unpublished;
use super::{Hooks, Options};
use crate::store::{Appended, EventStore, ReadLimit, StoreError};

/// How often a batch is decided anew because somebody else appended to its streams.
const ROUNDS_MAX: usize = 8;

/// Streams in one page of the store's list.
const STREAMS_PAGE: usize = 1_024;

/// Read of a stream at a time to learn what it holds.
const READ: ReadLimit = ReadLimit {
    events: 512,
    bytes: 1 << 20,
};

/// How soon the store is asked again what became of a failed commit when nobody submits anything.
const UNPUBLISHED_RETRY: Duration = Duration::from_millis(100);

/// The thread's state.
pub(crate) struct Worker {
    queue: Receiver<Job>,
    store: Arc<dyn EventStore>,
    streams: Streams,
    unpublished: Unpublished,
    doubts: Doubts,
    founding: Founding,
    limits: StreamOptions,
    tally: Arc<Tally>,
    rules: Rules,
    /// The latest moment at which a batch was decided.
    latest: UnixMillis,
    batch_events_max: usize,
    batch_bytes_max: usize,
    hooks: Hooks,
}

/// The lineups of one round, and which one a stream is in now.
#[derive(Default)]
struct Round {
    lineups: Vec<Lineup>,
    places: HashMap<StreamId, usize>,
}

impl Round {
    fn lineup(&mut self, stream: &Stream) -> &mut Lineup {
        let place = *self.places.entry(stream.id().clone()).or_insert_with(|| {
            self.lineups
                .push(Lineup::new(stream.id().clone(), &stream.head()));
            self.lineups.len() - 1
        });
        &mut self.lineups[place]
    }

    /// The stream's epoch has just begun.
    fn begin(&mut self, stream: &Stream) -> &mut Lineup {
        let place = self.lineups.len();
        self.places.insert(stream.id().clone(), place);
        self.lineups
            .push(Lineup::beginning(stream.id().clone(), &stream.head()));
        &mut self.lineups[place]
    }
}

impl Worker {
    pub(crate) fn new(
        options: &Options,
        queue: Receiver<Job>,
        store: Arc<dyn EventStore>,
        schema: Arc<Schema>,
        hooks: Hooks,
    ) -> Worker {
        let mut founding = Founding::new(options.founding, 0);
        recount(&mut founding, &*store);
        let rules = Rules {
            adopted: adopted(&schema),
            schema,
            max_clock_skew_ms: options.max_clock_skew_ms,
            mark_window: store.mark_window(),
            device_retention_ms: options.device_retention_ms,
        };
        Worker {
            queue,
            streams: Streams::new(Arc::clone(&store), options.active_streams_max),
            store,
            unpublished: Unpublished::default(),
            doubts: Doubts::default(),
            founding,
            limits: options.stream,
            tally: Arc::default(),
            rules,
            latest: UnixMillis::new(0),
            batch_events_max: options.batch_events_max,
            batch_bytes_max: options.batch_bytes_max,
            hooks,
        }
    }

    /// What it counts.
    pub(super) fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.tally)
    }

    /// Until the intake is closed and the queue is empty.
    pub(crate) fn run(mut self) {
        while let Some(jobs) = self.next_jobs() {
            self.settle(jobs);
        }
    }

    /// Waits for one job and takes what stands behind it, within the bounds of a batch. Empty if it is
    /// time to look after a failed commit instead.
    fn next_jobs(&self) -> Option<Vec<Job>> {
        match self.next_job() {
            Ok(first) => Some(self.batch_from(first)),
            Err(RecvTimeoutError::Timeout) => Some(Vec::new()),
            Err(RecvTimeoutError::Disconnected) => None,
        }
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

    /// What is queued now, within the bounds of a batch; does not wait.
    pub(super) fn queued_jobs(&self) -> Vec<Job> {
        let first = self.queue.try_recv();
        first.map_or_else(|_| Vec::new(), |first| self.batch_from(first))
    }

    fn batch_from(&self, first: Job) -> Vec<Job> {
        let mut bytes = first.weight();
        let mut jobs = vec![first];
        while jobs.len() < self.batch_events_max && bytes < self.batch_bytes_max {
            let Ok(job) = self.queue.try_recv() else {
                break;
            };
            bytes += job.weight();
            jobs.push(job);
        }
        jobs
    }

    /// Decides, commits, answers. Streams that met a conflict are decided anew.
    pub(super) fn settle(&mut self, jobs: Vec<Job>) {
        let mut batch = Vec::with_capacity(jobs.len());
        for job in jobs {
            // What was decided before these is kept before them.
            match job {
                Job::Erasing(erasing) => {
                    self.settle_batch(std::mem::take(&mut batch));
                    self.erase(erasing);
                }
                Job::Adopting(adopting) => {
                    self.settle_batch(std::mem::take(&mut batch));
                    self.adopt(adopting);
                }
                job => batch.push(job),
            }
        }
        self.settle_batch(batch);
    }

    /// From the next event on another schema counts.
    fn adopt(&mut self, Adopting { make, done }: Adopting) {
        // No event of this process was accepted later, unless its stream's clock was ahead when it was opened.
        let latest = self.latest.max((self.hooks.now)());
        let made = make(latest.max(self.rules.adopted).plus(1));
        done(made.map(|schema| {
            self.rules.adopted = adopted(&schema);
            self.rules.schema = schema;
            self.streams.forget_states();
        }));
    }

    fn erase(&mut self, Erasing { sync_id, done }: Erasing) {
        self.streams.forget_group(&sync_id);
        self.unpublished.forget_group(&sync_id);
        let erased = self.store.erase(&sync_id);
        recount(&mut self.founding, &*self.store);
        if let Err(error) = &erased
            && error.is_failed_sync()
        {
            (self.hooks.on_fatal)(error);
        }
        done(erased.map_err(|error| error.to_string()));
    }

    fn settle_batch(&mut self, jobs: Vec<Job>) {
        let mut batch = Batch::new(jobs, (self.hooks.now)());
        self.latest = self.latest.max(batch.now);
        for _ in 0..ROUNDS_MAX {
            let lineups = self.decide(&mut batch);
            if lineups.is_empty() {
                break;
            }
            self.commit(lineups, &mut batch);
        }
        let committed = batch.answer();
        self.unpublished
            .publish(committed, &*self.store, &self.hooks.sink);
        self.streams.trim();
    }

    /// Decides every job that is not settled yet.
    fn decide(&mut self, batch: &mut Batch) -> Vec<Lineup> {
        let mut round = Round::default();
        for index in batch.open() {
            let decided = match &batch.jobs[index] {
                Job::Submitted(submitted) => self.place(batch, index, submitted, &mut round),
                Job::Ordered(order) => self.obey(batch, index, order, &mut round),
                Job::Erasing(_) | Job::Adopting(_) => Err("it is done between batches".to_owned()),
            };
            if let Err(cause) = decided {
                batch.fail(index, &cause);
            }
        }
        round.lineups
    }

    fn place(
        &mut self,
        batch: &Batch,
        index: usize,
        submitted: &Submitted,
        round: &mut Round,
    ) -> Result<(), String> {
        if submitted.lane.is_broken() && !planted(Planted::LaneNotBroken) {
            return Err("an earlier event of this connection failed".to_owned());
        }
        let submission = &submitted.submission;
        let (id, device) = (submission.stream(), submission.author());
        let stream = self
            .streams
            .load_for(id, device)
            .map_err(|error| error.to_string())?;
        learn_counters(stream, &self.rules, &self.hooks, submitted)?;
        let intent = submission.intent();
        let full = fullness(
            stream,
            self.limits,
            &self.rules,
            &*self.store,
            &self.hooks,
            (intent, batch.now),
        )?;
        let lineup = round.lineup(stream);
        let fresh_epoch = match stream.head().is_empty() {
            true => another_epoch(Epoch::NONE, &mut self.hooks.random),
            false => stream.head().epoch,
        };
        let at = Circumstances {
            device,
            now: batch.now,
            fresh_epoch,
            full,
        };
        let (is_first, user) = (stream.head().is_empty(), submission.principal().name());
        if is_first && let Err(refused) = self.founding.admits(user, batch.now) {
            self.tally.founding();
            lineup.take(index, Decision::Refused(refused));
            return Ok(());
        }
        let decision = stream.decide(&self.rules, at, intent);
        match &decision {
            Decision::Append(_) => {
                stream.holding().absorb(intent);
                if is_first {
                    self.founding.begun(user, batch.now);
                }
            }
            Decision::Refused(refused) if refused.name == RefusalName::QuotaExceeded => {
                self.tally.full();
                (self.hooks.full)(id);
            }
            _ => {}
        }
        lineup.take(index, decision);
        Ok(())
    }

    fn obey(
        &mut self,
        batch: &Batch,
        index: usize,
        order: &Order,
        round: &mut Round,
    ) -> Result<(), String> {
        let stream = self
            .streams
            .load(&order.stream)
            .map_err(|error| error.to_string())?;
        let head = stream.head();
        let begins = match order.wish {
            Wish::Raise(_) => false,
            Wish::Begin => !head.is_empty(),
            Wish::Doubt { seq, epoch } => {
                let is_founded = epoch == head.epoch && seq > head.seq && !head.is_empty();
                is_founded
                    && !planted(Planted::EpochKept)
                    && self.doubts.may_begin(&order.stream, batch.now)
            }
        };
        if begins {
            stream.begin(another_epoch(head.epoch, &mut self.hooks.random));
            round.begin(stream).is_doubt = matches!(order.wish, Wish::Doubt { .. });
        }
        let lineup = round.lineup(stream);
        if let Wish::Raise(to) = order.wish
            && let Some(horizon) = stream.raise(to)
        {
            lineup.raise(horizon);
        }
        lineup.promise(index, stream.head());
        Ok(())
    }

    /// One commit for all that is new, then promises become answers.
    fn commit(&mut self, mut lineups: Vec<Lineup>, batch: &mut Batch) {
        let appends: Vec<_> = lineups.iter_mut().map(Lineup::take_append).collect();
        let is_sent: Vec<bool> = appends.iter().map(Option::is_some).collect();
        let appends: Vec<_> = appends.into_iter().flatten().collect();
        let appended = if appends.is_empty() {
            Ok(Vec::new())
        } else {
            self.store.append(appends)
        };
        match appended {
            Ok(appended) => {
                self.founding.settled();
                let mut answers = appended.into_iter();
                for (lineup, is_sent) in lineups.into_iter().zip(is_sent) {
                    let answer = if is_sent { answers.next() } else { None };
                    self.conclude(lineup, answer, batch);
                }
            }
            Err(error) => {
                self.founding.undo();
                self.give_up(lineups, &error, batch);
            }
        }
    }

    fn conclude(&mut self, lineup: Lineup, answer: Option<Appended>, batch: &mut Batch) {
        match answer {
            None => batch.keep(lineup.decided, self.store.durable()),
            Some(Ok(kept)) => {
                self.streams
                    .settled(&lineup.stream, &kept.committed, &self.limits);
                if lineup.is_doubt {
                    tracing::warn!(
                        stream = %lineup.stream,
                        head = %lineup.expected_head,
                        "somebody has seen events that are not there: was the disk rolled back? A new epoch begins"
                    );
                    self.doubts.begun(lineup.stream.clone(), batch.now);
                }
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
            batch.keep(lineup.planted_promises(), self.store.durable());
            lineup
                .decided
                .iter()
                .for_each(|(index, _)| batch.fail(*index, &cause));
            self.unpublished
                .suspect(lineup.stream, lineup.expected_head);
        }
    }
}

/// Since when the newest of a schema's collections is.
fn adopted(schema: &Schema) -> UnixMillis {
    let names = schema.collections().keys();
    names
        .map(|name| schema.adopted(name))
        .max()
        .unwrap_or_default()
}

/// Counts the streams of the store, if that is needed. Where it cannot be read, what was counted before stays.
fn recount(founding: &mut Founding, store: &dyn EventStore) {
    if !founding.counts_all() {
        return;
    }
    let (mut count, mut after) = (0, None);
    loop {
        let page = match store.streams(after.as_ref(), STREAMS_PAGE) {
            Ok(page) => page,
            Err(error) => return tracing::warn!(%error, "the streams were not counted"),
        };
        count += page.len() as u64;
        match page.into_iter().last() {
            Some((last, _)) => after = Some(last),
            None => return founding.recount(count),
        }
    }
}

/// Asks what an add needs to know, until it needs nothing more (STATE-10).
fn learn_counters(
    stream: &mut Stream,
    rules: &Rules,
    hooks: &Hooks,
    submitted: &Submitted,
) -> Result<(), String> {
    let intent = submitted.submission.intent();
    while let Some((ask, key)) = stream.asks(rules, intent) {
        match ask {
            Ask::Farthest => {
                let farthest = (hooks.farthest_counter)(stream.id())?;
                stream.counters_mut().learn_farthest(farthest);
            }
            Ask::Value => {
                let value = (hooks.counter)(stream.id(), &key.0, &key.1)?;
                stream.counters_mut().learn_value(key, value);
            }
        }
    }
    Ok(())
}

/// Of what the stream holds too much already for this to be taken, if it is new. Asks what must be known for that.
fn fullness(
    stream: &mut Stream,
    limits: StreamOptions,
    rules: &Rules,
    store: &dyn EventStore,
    hooks: &Hooks,
    (intent, now): (&Intent, UnixMillis),
) -> Result<Option<Full>, String> {
    if limits == StreamOptions::default() {
        return Ok(None);
    }
    if stream.holding().must_read(&limits) {
        let kept = kept(stream, limits, store).map_err(|error| error.to_string())?;
        stream.holding().learn_kept(kept);
    }
    let head = stream.head();
    match stream.holding().full(&limits, &head, intent) {
        None if limits.state_bytes_max > 0 => {
            state_fullness(stream, limits.state_bytes_max, rules, hooks, (intent, now))
        }
        full => Ok(full),
    }
}

/// All of a stream above its horizon. Nothing that was decided waits to be kept.
fn kept(
    stream: &Stream,
    limits: StreamOptions,
    store: &dyn EventStore,
) -> Result<Kept, StoreError> {
    let (head, mut kept) = (stream.head(), Kept::default());
    let mut after = head.horizon;
    while after < head.seq {
        let events = store.read(stream.id(), after, READ)?;
        let Some(last) = events.last() else { break };
        after = last.seq();
        kept.extend(&events, &limits);
    }
    Ok(kept)
}

/// What has no meaning changes no state, and to remove what is there makes it smaller.
fn state_fullness(
    stream: &mut Stream,
    max: u64,
    rules: &Rules,
    hooks: &Hooks,
    (intent, now): (&Intent, UnixMillis),
) -> Result<Option<Full>, String> {
    let schema = &rules.schema;
    let operation = schema.operation(&intent.event_type, &intent.event_data);
    let Some(operation) = operation.ok().flatten() else {
        return Ok(None);
    };
    if !stream.holding().may_exceed(max) {
        return Ok(None);
    }
    let removes = operation.action == Action::Remove;
    if removes || stream.holding().must_ask(now) {
        let entry = removes.then_some((&*operation.collection, &*operation.key));
        let size = (hooks.state)(stream.id(), entry)?;
        stream.holding().learn_state(size.bytes, now);
        if removes && size.is_live {
            return Ok(None);
        }
    }
    Ok(stream.holding().exceeds(max).then_some(Full::State))
}

/// Zeros name no history.
fn another_epoch(than: Epoch, random: &mut dyn FnMut() -> u64) -> Epoch {
    let mut epoch = Epoch::new(random().max(1));
    while epoch == than {
        epoch = Epoch::new(epoch.get().wrapping_add(1).max(1));
    }
    epoch
}
