//! Which stream is compacted next, and what becomes of it. No thread and no clock: [`Compactor::step`] does a bounded piece.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use syncline_protocol::{Seq, State, StreamId, UnixMillis};

use super::fold::{Folding, ONE, Stepped};
use super::policy::History;
use super::profile::{self, Profiles};
use super::replay::READ;
use super::{States, StatesError, Written, moves};
use crate::store::{Base, EventStore, StoreError, StreamHead};

/// Streams of a round that are taken up at a time.
const ROUND_STREAMS: usize = 256;

/// States at their bases that are kept for the next fold, in bytes.
const STATES_BYTES_MAX: usize = 32 << 20;

/// How much is kept, and how often it is looked at.
#[derive(Debug, Clone)]
pub struct Options {
    /// How much history, by channel.
    pub history: History,
    /// How long a deletion is remembered below the horizon (HORIZON-5).
    pub tombstone_retention_ms: u64,
    /// How long a device is remembered after its last event (HORIZON-3).
    pub device_retention_ms: u64,
    /// How soon a stream is looked at after it was written to.
    pub interval_ms: u64,
    /// How often every stream is looked at.
    pub round_ms: u64,
}

/// Raises a horizon in order with the stream's events, and tells the head once that is on disk.
pub type Raise =
    Box<dyn Fn(StreamId, Seq, Box<dyn FnOnce(Result<StreamHead, String>) + Send>) + Send>;

/// How a step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Something was done; there may be more.
    Worked,
    /// Nothing can be done before the sequencer or the store has done its part.
    Waiting,
    /// Nothing is to be done before the next interval.
    Idle,
}

/// Keeps histories short.
pub struct Compactor {
    options: Options,
    store: Arc<dyn EventStore>,
    states: Arc<States>,
    written: Written,
    raise: Raise,
    on_fatal: Box<dyn Fn(&StoreError) + Send>,
    raising: HashSet<StreamId>,
    raised: Arc<Mutex<Vec<Raised>>>,
    queue: VecDeque<Look>,
    folding: Option<Folding>,
    profiles: Profiles,
    at_base: AtBase,
    next_look: UnixMillis,
    round: Round,
}

/// A stream to be looked at.
struct Look {
    stream: StreamId,
    /// In a round: what passes with time alone is looked at, too.
    in_round: bool,
}

/// The slow walk over all streams.
#[derive(Debug)]
enum Round {
    /// The next one begins then.
    Waits(UnixMillis),
    /// It goes on after this stream.
    GoesOn(Option<StreamId>),
}

/// The states of the last folds, for the next ones.
#[derive(Default)]
struct AtBase {
    states: VecDeque<(StreamId, State)>,
}

/// A horizon that was asked for, and what became of it.
type Raised = (StreamId, Result<StreamHead, String>);

/// What failed, and for which stream.
type Failed = (StreamId, StatesError);

impl Compactor {
    /// Over a store and the states made of it. Streams are looked at that `written` notes; horizons go through `raise`; a
    /// failed sync is told to `on_fatal`, which should end the process.
    pub fn new(
        options: Options,
        store: Arc<dyn EventStore>,
        states: Arc<States>,
        written: Written,
        raise: Raise,
        on_fatal: Box<dyn Fn(&StoreError) + Send>,
    ) -> Compactor {
        Compactor {
            options,
            store,
            states,
            written,
            raise,
            on_fatal,
            raising: HashSet::new(),
            raised: Arc::default(),
            queue: VecDeque::new(),
            folding: None,
            profiles: Profiles::default(),
            at_base: AtBase::default(),
            next_look: UnixMillis::new(0),
            round: Round::Waits(UnixMillis::new(0)),
        }
    }

    /// How long nothing needs to be done when it is idle.
    pub fn interval_ms(&self) -> u64 {
        self.options.interval_ms
    }

    /// Does one bounded piece of work: some reads, or one commit of the store.
    pub fn step(&mut self, now: UnixMillis) -> Progress {
        match self.try_step(now) {
            Ok(progress) => progress,
            Err((stream, error)) => {
                if let StatesError::Store(error) = &error
                    && error.is_failed_sync()
                {
                    (self.on_fatal)(error);
                }
                tracing::warn!(%stream, %error, "not compacted; tried again");
                self.written.note_again(stream);
                Progress::Waiting
            }
        }
    }

    fn try_step(&mut self, now: UnixMillis) -> Result<Progress, Failed> {
        self.take_raised();
        if let Some(folding) = self.folding.take() {
            let stream = folding.stream().clone();
            return self.fold(folding, now).map_err(|error| (stream, error));
        }
        if let Some(look) = self.queue.pop_front() {
            let stream = look.stream.clone();
            self.look(look, now).map_err(|error| (stream, error))?;
            return Ok(Progress::Worked);
        }
        if now >= self.next_look {
            self.next_look = now.plus(self.options.interval_ms);
            self.gather(now);
        }
        Ok(match (self.queue.is_empty(), self.raising.is_empty()) {
            (false, _) => Progress::Worked,
            (true, false) => Progress::Waiting,
            (true, true) => Progress::Idle,
        })
    }

    /// Horizons that rose are folded to at once.
    fn take_raised(&mut self) {
        let raised = std::mem::take(&mut *lock(&self.raised));
        for (stream, raised) in raised {
            self.raising.remove(&stream);
            match raised {
                Ok(_) => self.queue.push_front(Look {
                    stream,
                    in_round: false,
                }),
                Err(cause) => {
                    tracing::debug!(%stream, cause, "the horizon was not raised; tried again");
                    self.written.note_again(stream);
                }
            }
        }
    }

    /// Fills the queue.
    fn gather(&mut self, now: UnixMillis) {
        let written = self.written.take().into_iter();
        self.queue.extend(written.map(|stream| Look {
            stream,
            in_round: false,
        }));
        let after = match &self.round {
            Round::Waits(until) if now < *until => return,
            Round::Waits(_) => None,
            Round::GoesOn(after) => after.clone(),
        };
        let page = match self.store.streams(after.as_ref(), ROUND_STREAMS) {
            Ok(page) => page,
            Err(error) => {
                tracing::warn!(%error, "the streams are not listed; tried again");
                return;
            }
        };
        self.round = match page.last() {
            Some((last, _)) if page.len() == ROUND_STREAMS => Round::GoesOn(Some(last.clone())),
            _ => Round::Waits(now.plus(self.options.round_ms)),
        };
        self.queue.extend(page.into_iter().map(|(stream, _)| Look {
            stream,
            in_round: true,
        }));
    }

    /// Looks at one stream: what is declared and not folded is folded, then what has become too much is declared.
    fn look(&mut self, look: Look, now: UnixMillis) -> Result<(), StatesError> {
        let Look { stream, in_round } = look;
        let head = self.store.head(&stream)?;
        let base = self.store.base(&stream)?;
        let tombstones_ripen =
            || moves::floor(&base, self.options.tombstone_retention_ms, now).is_some();
        if base.seq < head.horizon || (in_round && tombstones_ripen()) {
            // Asked for after the head: whatever is folded was accepted under this schema, or does not count for what is new in it.
            let schema = self.states.schema();
            let known = self.at_base.take(&stream);
            let known = known.filter(|state| Arc::ptr_eq(state.schema(), &schema));
            let at = (stream, head);
            self.folding = Some(Folding::begin(&*self.store, &schema, at, known)?);
            return Ok(());
        }
        if in_round {
            self.forget_marks(&stream, &head, &base, now)?;
        }
        let is_due = || self.may_be_due(&stream, &head, now);
        if self.raising.contains(&stream) || (in_round && !is_due()?) {
            return Ok(());
        }
        self.plan(stream, &head, in_round, now)
    }

    /// By what is known without reading all that is kept: age and number. Bytes come with writing.
    fn may_be_due(
        &self,
        stream: &StreamId,
        head: &StreamHead,
        now: UnixMillis,
    ) -> Result<bool, StatesError> {
        let limits = self.options.history.limits(stream.channel.as_ref());
        let kept = head.seq.get() - head.horizon.get();
        if kept > limits.max_events || self.profiles.knows(stream) {
            return Ok(true);
        }
        let first = self.first_kept(stream, head.horizon)?;
        Ok(first.is_some_and(|accepted_at| accepted_at.plus(limits.max_age_ms) < now))
    }

    fn first_kept(&self, stream: &StreamId, after: Seq) -> Result<Option<UnixMillis>, StatesError> {
        let first = self.store.read(stream, after, ONE)?;
        profile::accepted_at(stream, &first)
    }

    /// Reads a piece of what is kept, and declares the next horizon when it was the last.
    fn plan(
        &mut self,
        stream: StreamId,
        head: &StreamHead,
        in_round: bool,
        now: UnixMillis,
    ) -> Result<(), StatesError> {
        let limits = self.options.history.limits(stream.channel.as_ref());
        let mut profile = self.profiles.take(&stream, head);
        if profile.through() < head.seq {
            let events = self.store.read(&stream, profile.through(), READ)?;
            profile.read(&stream, &events, limits)?;
        }
        if profile.through() < head.seq {
            let stream = stream.clone();
            self.queue.push_front(Look { stream, in_round });
        } else if let Some(to) = limits.plan(profile.runs(), now) {
            self.declare(&stream, to);
        }
        self.profiles.put(stream, profile);
        Ok(())
    }

    fn declare(&mut self, stream: &StreamId, to: Seq) {
        tracing::debug!(%stream, %to, "the horizon rises");
        self.raising.insert(stream.clone());
        let (raised, told) = (Arc::clone(&self.raised), stream.clone());
        let done = Box::new(move |head| lock(&raised).push((told, head)));
        (self.raise)(stream.clone(), to, done);
    }

    fn fold(&mut self, mut folding: Folding, now: UnixMillis) -> Result<Progress, StatesError> {
        let retention = self.options.tombstone_retention_ms;
        match folding.step(&*self.store, retention, now)? {
            Stepped::More => self.folding = Some(folding),
            Stepped::NotYet => {
                self.folding = Some(folding);
                return Ok(Progress::Waiting);
            }
            Stepped::Moved => {
                let (stream, _) = folding.into_state();
                self.written.note_again(stream);
            }
            Stepped::Done => self.folded(folding),
        }
        Ok(Progress::Worked)
    }

    fn folded(&mut self, folding: Folding) {
        let stream = folding.stream();
        if let Some((floor, removed_floor)) = folding.collected() {
            self.states.collect(stream, floor, removed_floor);
        }
        let (stream, state) = folding.into_state();
        self.at_base.put(stream, state);
    }

    /// HORIZON-3. Only marks of devices all of whose events are folded: while one is kept it can still come again with
    /// a `base_seq` above the horizon, and must be recognised.
    fn forget_marks(
        &self,
        stream: &StreamId,
        head: &StreamHead,
        base: &Base,
        now: UnixMillis,
    ) -> Result<(), StatesError> {
        let Some(long_ago) = now.get().checked_sub(self.options.device_retention_ms) else {
            return Ok(());
        };
        if base.seq == Seq::ZERO {
            return Ok(());
        }
        let long_ago = UnixMillis::new(long_ago);
        let before = match self.first_kept(stream, base.seq)? {
            Some(first) => first.min(long_ago),
            None if base.seq == head.seq => long_ago,
            None => return Ok(()),
        };
        let marks = self.store.forget_marks(stream, before)?;
        if marks > 0 {
            tracing::debug!(%stream, marks, "devices forgotten");
        }
        Ok(())
    }
}

impl AtBase {
    fn take(&mut self, stream: &StreamId) -> Option<State> {
        let place = self.states.iter().position(|(known, _)| known == stream)?;
        self.states.remove(place).map(|(_, state)| state)
    }

    fn put(&mut self, stream: StreamId, state: State) {
        self.states.push_back((stream, state));
        let mut bytes: usize = self.states.iter().map(|(_, state)| state.bytes()).sum();
        while bytes > STATES_BYTES_MAX
            && let Some((_, gone)) = self.states.pop_front()
        {
            bytes -= gone.bytes();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
