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

mod decide;
mod streams;
mod unpublished;
mod weight;
mod worker;

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

use syncline_protocol::{Refused, Schema, Seq, TransientName, UnixMillis};

use crate::edge::Submission;
use crate::store::{Committed, EventStore, Receipt, StoreError};
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

/// One submission on its way.
struct Job {
    lane: Lane,
    submission: Submission,
    reply: Reply,
    /// Its place in the queue's memory.
    _room: Room,
}

/// Memory of the queue, given back when it is dropped.
struct Room {
    queued: Arc<AtomicUsize>,
    bytes: usize,
}

impl Room {
    fn take(queued: &Arc<AtomicUsize>, bytes: usize) -> (Room, usize) {
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

/// What the thread would do, step by step, for a simulator.
#[cfg(feature = "simulation")]
pub struct Stepper(Worker);

#[cfg(feature = "simulation")]
impl Stepper {
    /// One batch of what is queued: decided, kept, answered. Whether there was anything.
    pub fn step(&mut self) -> bool {
        self.0.step()
    }
}

/// Handle of the sequencer's thread.
pub struct Sequencer {
    intake: RwLock<Option<SyncSender<Job>>>,
    /// Bytes of memory that queued submissions hold.
    queued: Arc<AtomicUsize>,
    queued_max: usize,
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
        let (window, receive_maximum) = (store.mark_window(), options.receive_maximum);
        if window < receive_maximum {
            return Err(StartError::WindowTooSmall {
                window,
                receive_maximum,
            });
        }
        let (intake, queue) = sync_channel(options.queue_len_max);
        let worker = Worker::new(options, queue, store, schema, hooks);
        let thread = std::thread::Builder::new()
            .name("sequencer".to_owned())
            .spawn(|| worker.run())?;
        Ok(Sequencer {
            intake: RwLock::new(Some(intake)),
            queued: Arc::default(),
            queued_max: options.batch_bytes_max.saturating_mul(QUEUED_BATCHES_MAX),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// A sequencer without a thread: the caller takes the steps.
    #[cfg(feature = "simulation")]
    pub fn stepped(
        options: &Options,
        store: Arc<dyn EventStore>,
        schema: Arc<Schema>,
        hooks: Hooks,
    ) -> (Sequencer, Stepper) {
        let (intake, queue) = sync_channel(options.queue_len_max);
        let worker = Worker::new(options, queue, store, schema, hooks);
        let sequencer = Sequencer {
            intake: RwLock::new(Some(intake)),
            queued: Arc::default(),
            queued_max: options.batch_bytes_max.saturating_mul(QUEUED_BATCHES_MAX),
            thread: Mutex::new(None),
        };
        (sequencer, Stepper(worker))
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
        let job = Job {
            lane: lane.clone(),
            submission,
            reply,
            _room: room,
        };
        let intake = self.intake.read().unwrap_or_else(PoisonError::into_inner);
        let sent = match intake.as_ref() {
            Some(intake) => intake.try_send(job),
            None => Err(TrySendError::Disconnected(job)),
        };
        drop(intake);
        match sent {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => {
                lane.close();
                Err(QueueFull)
            }
            Err(TrySendError::Disconnected(job)) => {
                lane.break_off();
                (job.reply)(Outcome::Failed(
                    TransientName::Draining,
                    "shutting down".to_owned(),
                ));
                Ok(())
            }
        }
    }

    /// Whether the thread works.
    pub fn is_running(&self) -> bool {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Takes nothing new, finishes what is queued, and ends the thread. Idempotent.
    pub fn drain(&self) {
        self.intake
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the sequencer's thread panicked");
        }
    }
}

impl Drop for Sequencer {
    fn drop(&mut self) {
        self.drain();
    }
}
