//! One owner of order: gives every event its seq and has it kept before anybody hears of it.
//!
//! # Calling contract
//!
//! - [`Sequencer::submit`] never waits: it takes the submission into a bounded queue or says that it is full.
//! - Every [`Reply`] of a queued submission is called exactly once, on the sequencer's thread (on the
//!   caller's after a drain), in the order of the submissions. It must not block.
//! - A success is only ever told with the store's receipt in hand (G1), and events go to the sink after their
//!   replies, in the order of their seq.
//! - A [`Lane`] is one connection. Once one of its submissions ended in a transient failure, all later ones
//!   do (ANSWER-4): an event must not overtake one that its device will send again. Those before it go on, so that a
//!   device that sends too much at once gets further with every attempt.
//! - A failed commit fails everything decided with it, and what was assumed is forgotten. A failed sync is
//!   told to [`Hooks::on_fatal`], which ends the process.

mod batch;
mod checks;
mod counters;
mod decide;
mod doubts;
mod founding;
mod holding;
mod job;
mod refusals;
mod stepper;
mod streams;
mod unpublished;
mod weight;
mod worker;

#[cfg(test)]
mod horizon_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;

use syncline_protocol::{Epoch, Refused, Schema, Seq, StreamId, SyncId, TransientName, UnixMillis};

use crate::edge::Submission;
use crate::store::{Committed, Erased, EventStore, Receipt, StoreError, StreamHead};
pub use founding::FoundingOptions;
pub use holding::{StateSize, StreamOptions};
use job::{Adopting, Erasing, Job, Order, Room, Submitted, Wish};
pub use refusals::Refusals;
use refusals::Tally;
pub use stepper::Stepper;
use worker::Worker;

/// What became of a submission.
#[derive(Debug)]
pub enum Outcome {
    /// A new event, on disk.
    Saved {
        /// Its place.
        seq: Seq,
        /// Proof that it is on disk.
        receipt: Receipt,
    },
    /// The same event was accepted before, and is on disk.
    Repeat {
        /// The first copy's place.
        seq: Seq,
        /// Proof that the first copy is on disk.
        receipt: Receipt,
    },
    /// Never to be accepted.
    Refused(Refused),
    /// Not known whether it was kept; never to be acknowledged.
    Failed(TransientName, String),
}

/// Hears the outcome. Must not block.
pub type Reply = Box<dyn FnOnce(Outcome) + Send>;

/// Hears what became of an order to change a stream's history: the stream's head once the change is on disk, or why it
/// is not known to be; then it may be ordered again. Must not block.
pub type Told = Box<dyn FnOnce(Result<StreamHead, String>) + Send>;

/// Hears what was erased, or why nothing was. Must not block.
pub type ToldErased = Box<dyn FnOnce(Result<Erased, String>) + Send>;

/// Makes a schema that adds to the one before, and has everybody read by it. What is new in it counts from the moment given, or
/// from a later one. Called between two batches, which wait for it.
pub type MakeSchema = Box<dyn FnOnce(UnixMillis) -> Result<Arc<Schema>, String> + Send>;

/// Hears whether a schema counts now. Must not block.
pub type ToldAdopted = Box<dyn FnOnce(Result<(), String>) + Send>;

/// Where a counter stands at the store's head, by collection and key; 0 if it was never counted.
pub type AskCounter = Box<dyn Fn(&StreamId, &str, &str) -> Result<i64, String> + Send>;

/// How far a stream's farthest counter is from 0 at the store's head.
pub type AskFarthestCounter = Box<dyn Fn(&StreamId) -> Result<u64, String> + Send>;

/// What a stream's state takes at the store's head, and whether there is an entry, by collection and key.
pub type AskState =
    Box<dyn Fn(&StreamId, Option<(&str, &str)>) -> Result<StateSize, String> + Send>;

/// The limits of a sequencer.
#[derive(Debug, Clone)]
pub struct Options {
    /// Submissions waiting at most.
    pub queue_len_max: usize,
    /// Events in one commit at most.
    pub batch_events_max: usize,
    /// Roughly the bytes in one commit at most.
    pub batch_bytes_max: usize,
    /// The highest Receive Maximum that is announced to clients; the store's marks must reach as far.
    pub receive_maximum: usize,
    /// How far a device's clock may run ahead (CLOCK-3).
    pub max_clock_skew_ms: u64,
    /// Streams whose heads and marks are kept at hand.
    pub active_streams_max: usize,
    /// How long after its last event a device's mark counts (HORIZON-3).
    pub device_retention_ms: u64,
    /// Streams that may begin.
    pub founding: FoundingOptions,
    /// What each may hold.
    pub stream: StreamOptions,
}

/// What a sequencer needs from outside: time, chance, and where things go.
pub struct Hooks {
    /// The wall clock.
    pub now: Arc<dyn Fn() -> UnixMillis + Send + Sync>,
    /// Random bits, for epochs.
    pub random: Box<dyn FnMut() -> u64 + Send>,
    /// Takes what is on disk, per stream in order; must not block.
    pub sink: Box<dyn Fn(Vec<Committed>) + Send>,
    /// Told of a failed sync; should end the process.
    pub on_fatal: Box<dyn Fn(&StoreError) + Send>,
    /// Asked where the end of the integers is near (STATE-10).
    pub counter: AskCounter,
    /// Asked once per stream, before its first count: most are so far from the end that nothing else need be asked.
    pub farthest_counter: AskFarthestCounter,
    /// Asked where a state may be larger than [`StreamOptions::state_bytes_max`].
    pub state: AskState,
    /// Told of a stream that takes no event until some are history; must not block.
    pub full: Box<dyn Fn(&StreamId) + Send>,
}

/// The queue holds this many times [`Options::batch_bytes_max`] in memory, give or take one submission.
const QUEUED_BATCHES_MAX: usize = 16;

/// The queue is full: `busy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many events wait")]
pub struct QueueFull;

/// Why a sequencer did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A repeat of an event in flight would not be recognised (EVENT-10).
    #[error(
        "the store remembers {window} events of a device, fewer than the Receive Maximum of {receive_maximum}"
    )]
    WindowTooSmall {
        /// The store's.
        window: usize,
        /// The announced one.
        receive_maximum: usize,
    },
    /// No thread.
    #[error("the sequencer's thread does not start: {0}")]
    Thread(#[from] std::io::Error),
}

/// The submissions of one connection, in their order. Clones are the same connection.
#[derive(Debug, Clone, Default)]
pub struct Lane {
    /// Nothing of it that is not decided yet may be.
    broken: Arc<AtomicBool>,
    /// Nothing of it is taken any more; what was taken goes on.
    closed: Arc<AtomicBool>,
}

impl Lane {
    /// A connection whose submissions have all been taken so far.
    pub fn new() -> Lane {
        Lane::default()
    }

    fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    fn break_off(&self) {
        self.broken.store(true, Ordering::Release);
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }
}

/// Whether a job stands in the queue now.
enum Queued {
    Taken,
    Full(Job),
    /// Nothing is taken any more.
    Closed(Job),
}

/// Handle of the sequencer's thread.
pub struct Sequencer {
    intake: RwLock<Option<SyncSender<Job>>>,
    /// Bytes of memory that queued submissions hold.
    queued: Arc<AtomicUsize>,
    queued_max: usize,
    tally: Arc<Tally>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Sequencer {
    /// Starts the thread.
    pub fn start(
        options: &Options,
        store: Arc<dyn EventStore>,
        schema: Arc<Schema>,
        hooks: Hooks,
    ) -> Result<Sequencer, StartError> {
        let (sequencer, worker) = Sequencer::prepare(options, store, schema, hooks)?;
        let thread = std::thread::Builder::new()
            .name("sequencer".to_owned())
            .spawn(|| worker.run())?;
        sequencer.thread().replace(thread);
        Ok(sequencer)
    }

    /// Without a thread: it works when the stepper is told to.
    pub fn by_hand(
        options: &Options,
        store: Arc<dyn EventStore>,
        schema: Arc<Schema>,
        hooks: Hooks,
    ) -> Result<(Sequencer, Stepper), StartError> {
        let (sequencer, worker) = Sequencer::prepare(options, store, schema, hooks)?;
        Ok((sequencer, Stepper::new(worker)))
    }

    fn prepare(
        options: &Options,
        store: Arc<dyn EventStore>,
        schema: Arc<Schema>,
        hooks: Hooks,
    ) -> Result<(Sequencer, Worker), StartError> {
        let (window, receive_maximum) = (store.mark_window(), options.receive_maximum);
        if window < receive_maximum {
            return Err(StartError::WindowTooSmall {
                window,
                receive_maximum,
            });
        }
        let (intake, queue) = sync_channel(options.queue_len_max);
        let worker = Worker::new(options, queue, store, schema, hooks);
        let sequencer = Sequencer {
            intake: RwLock::new(Some(intake)),
            queued: Arc::default(),
            queued_max: options.batch_bytes_max.saturating_mul(QUEUED_BATCHES_MAX),
            tally: worker.tally(),
            thread: Mutex::new(None),
        };
        Ok((sequencer, worker))
    }

    /// Queues a submission, unless the queue is full (`busy`); its lane is closed then and the reply is not called.
    /// After a drain the reply is told `draining` at once.
    pub fn submit(
        &self,
        lane: &Lane,
        submission: Submission,
        reply: Reply,
    ) -> Result<(), QueueFull> {
        let (room, before) = Room::take(&self.queued, weight::memory(submission.intent()));
        if lane.is_closed() || before >= self.queued_max {
            lane.close();
            return Err(QueueFull);
        }
        let submitted = Job::Submitted(Submitted {
            lane: lane.clone(),
            submission,
            reply,
            _room: room,
        });
        match self.queue(submitted) {
            Queued::Taken => Ok(()),
            Queued::Full(_) => {
                lane.close();
                Err(QueueFull)
            }
            Queued::Closed(job) => {
                job.turn_away();
                Ok(())
            }
        }
    }

    /// Raises a stream's horizon to at most its head, in order with its events. One that is not above it changes nothing.
    pub fn raise_horizon(&self, stream: StreamId, to: Seq, done: Told) {
        self.order(stream, Wish::Raise(to), done);
    }

    /// Begins an epoch of a stream that has events, in order with them (EPOCH-2).
    pub fn begin_epoch(&self, stream: StreamId, done: Told) {
        self.order(stream, Wish::Begin, done);
    }

    /// For a principal that may write and shows a cursor beyond the head of an epoch that it names (EPOCH-1): looks again,
    /// in order with the events, and begins another epoch unless one began so in the last hour. Told the head either way.
    pub fn doubt(&self, stream: StreamId, seq: Seq, epoch: Epoch, done: Told) {
        self.order(stream, Wish::Doubt { seq, epoch }, done);
    }

    /// Forgets all streams of a group, in order with their events; the next event of one of them begins it anew.
    pub fn erase(&self, sync_id: SyncId, done: ToldErased) {
        self.ask(Job::Erasing(Erasing { sync_id, done }));
    }

    /// Has events decided by another schema, in order with them: those after it count for what it adds, those before do not.
    pub fn adopt(&self, make: MakeSchema, done: ToldAdopted) {
        self.ask(Job::Adopting(Adopting { make, done }));
    }

    fn order(&self, stream: StreamId, wish: Wish, done: Told) {
        self.ask(Job::Ordered(Order { stream, wish, done }));
    }

    fn ask(&self, job: Job) {
        match self.queue(job) {
            Queued::Taken => {}
            Queued::Full(job) => job.answer(job::Settled::Failed(QueueFull.to_string())),
            Queued::Closed(job) => job.turn_away(),
        }
    }

    fn queue(&self, job: Job) -> Queued {
        let intake = self.intake.read().unwrap_or_else(PoisonError::into_inner);
        let Some(intake) = intake.as_ref() else {
            return Queued::Closed(job);
        };
        match intake.try_send(job) {
            Ok(()) => Queued::Taken,
            Err(TrySendError::Full(job)) => Queued::Full(job),
            Err(TrySendError::Disconnected(job)) => Queued::Closed(job),
        }
    }

    /// How many events were refused because of a limit on streams.
    pub fn refusals(&self) -> Refusals {
        self.tally.refusals()
    }

    /// Whether the thread works.
    pub fn is_running(&self) -> bool {
        self.thread()
            .as_ref()
            .is_some_and(|thread| !thread.is_finished())
    }

    /// Takes nothing new, finishes what is queued, and ends the thread. Idempotent.
    pub fn drain(&self) {
        self.intake
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let thread = self.thread().take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the sequencer's thread panicked");
        }
    }

    fn thread(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Sequencer {
    fn drop(&mut self) {
        self.drain();
    }
}
