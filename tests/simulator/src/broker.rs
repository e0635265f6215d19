//! One process of the broker: the real rooms, without their threads, sockets and clock.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use syncline_broker::compactor::{self, Compactor, History, Limits, Progress, States, Written};
use syncline_broker::edge::simulation::SimulatedEdge;
use syncline_broker::edge::{
    CrowdOptions, Edge, EdgeOptions, OrdinaryOptions, Ports, PublishOptions, SessionsOptions,
};
use syncline_broker::router::{BusMessage, Consumer};
use syncline_broker::sequencer::{Hooks, Options, Sequencer, Stepper};
use syncline_broker::store::sessions::{QueueLimit, SessionStore};
use syncline_broker::store::{Committed, EventStore, StreamHead};
use syncline_protocol::{Schema, Seq, StreamId, UnixMillis};

use crate::dice::Dice;

/// The Receive Maximum that clients are told.
pub(crate) const RECEIVE_MAXIMUM: u16 = 16;

/// CLOCK-3.
pub(crate) const CLOCK_SKEW_MS_MAX: u64 = 60_000;

/// How long a device is remembered: much shorter than in life, as everything here is.
pub(crate) const DEVICE_RETENTION_MS: u64 = 200_000;

/// How long a deletion is remembered: also much shorter than the history, so that HORIZON-5's other condition stands alone.
const TOMBSTONE_RETENTIONS_MS: [u64; 3] = [0, 20_000, 60_000];

/// How long a session is kept at most.
pub(crate) const SESSION_EXPIRY_S_MAX: u32 = 100;

/// How much of a stream is kept.
const LIMITS: Limits = Limits {
    max_age_ms: 50_000,
    max_events: 60,
    max_bytes: 1 << 20,
    min_age_ms: 4_000,
};

/// The broker's wall clock.
pub(crate) type WallClock = Arc<AtomicU64>;

type Bus = Arc<Mutex<VecDeque<Committed>>>;

/// A running process.
pub(crate) struct Broker {
    pub(crate) edge: SimulatedEdge,
    stepper: Arc<Mutex<Stepper>>,
    consumer: Consumer,
    bus: Bus,
    dead: Arc<AtomicBool>,
    compactor: Compactor,
    promised: Promised,
}

/// Horizons that were told to be on disk (HORIZON-1).
type Promised = Arc<Mutex<Vec<(StreamId, Seq)>>>;

impl Broker {
    /// Starts on what the disk holds.
    pub(crate) fn start(
        (store, sessions): (&Arc<dyn EventStore>, Arc<dyn SessionStore>),
        schema: &Arc<Schema>,
        clock: &WallClock,
        dice: &mut Dice,
    ) -> Result<Self, String> {
        let (bus, dead) = (Bus::default(), Arc::<AtomicBool>::default());
        let wall = Arc::clone(clock);
        let now = Arc::new(move || UnixMillis::new(wall.load(Ordering::Relaxed)));
        let states = States::new(Arc::clone(store), Arc::clone(schema), 1 << 20);
        let (states, written) = (Arc::new(states), Written::default());
        let hooks = Hooks {
            sink: sink(&bus, &written),
            ..hooks(Arc::clone(&now) as _, &states, &dead, dice.next_u64())
        };
        let options = sequencer_options(dice);
        let (store, schema) = (Arc::clone(store), Arc::clone(schema));
        let sequencer =
            Sequencer::by_hand(&options, Arc::clone(&store), Arc::clone(&schema), hooks);
        let (sequencer, stepper) = sequencer.map_err(|error| error.to_string())?;
        let (sequencer, promised) = (Arc::new(sequencer), Promised::default());
        let stepper = Arc::new(Mutex::new(stepper));
        let by_waiting = Arc::clone(&stepper);
        let before_waiting = Arc::new(move || while lock(&by_waiting).step() > 0 {});
        let fatal = Arc::clone(&dead);
        let compactor = Compactor::new(
            compactor_options(dice),
            Arc::clone(&store),
            Arc::clone(&states),
            written,
            raise(&sequencer, &promised),
            Box::new(move |_| fatal.store(true, Ordering::Relaxed)),
        );
        let prepared = Edge::prepare(edge_options(dice), store, sessions, &schema);
        let prepared = prepared.map_err(|error| error.to_string())?;
        let mut consumer = prepared.consumer();
        consumer(BusMessage::Resync);
        let edge = prepared.simulated(sequencer, states, now, before_waiting);
        Ok(Self {
            edge: edge.map_err(|error| error.to_string())?,
            stepper,
            consumer,
            bus,
            dead,
            compactor,
            promised,
        })
    }

    /// One batch of the sequencer. Whether there was one.
    pub(crate) fn sequence(&mut self) -> bool {
        lock(&self.stepper).step() > 0
    }

    /// Whether something waits for its moment.
    pub(crate) fn has_work(&self) -> bool {
        self.edge.reads() > 0 || self.in_bus() > 0
    }

    /// One bounded piece of compacting.
    pub(crate) fn compact(&mut self, now: u64) -> Progress {
        self.compactor.step(UnixMillis::new(now))
    }

    /// What the compactor was told of horizons since it was asked last.
    pub(crate) fn promised(&mut self) -> Vec<(StreamId, Seq)> {
        std::mem::take(&mut *lock(&self.promised))
    }

    /// Whether the process has ended itself.
    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    /// Events that the bus carries.
    pub(crate) fn in_bus(&self) -> usize {
        self.bus().len()
    }

    /// The bus brings up to `count` events.
    pub(crate) fn carry(&mut self, count: usize) {
        for _ in 0..count {
            let Some(event) = self.bus().pop_front() else {
                return;
            };
            (self.consumer)(BusMessage::Event(event));
        }
    }

    /// The bus dies with what it carries and is rebuilt.
    pub(crate) fn lose_bus(&mut self) {
        self.bus().clear();
        (self.consumer)(BusMessage::Resync);
    }

    fn bus(&self) -> MutexGuard<'_, VecDeque<Committed>> {
        lock(&self.bus)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn sink(bus: &Bus, written: &Written) -> Box<dyn Fn(Vec<Committed>) + Send> {
    let (bus, written) = (Arc::clone(bus), written.clone());
    Box::new(move |events| {
        written.note(&events);
        lock(&bus).extend(events);
    })
}

/// Raises horizons, and remembers what was said of them.
fn raise(sequencer: &Arc<Sequencer>, promised: &Promised) -> compactor::Raise {
    let (sequencer, promised) = (Arc::clone(sequencer), Arc::clone(promised));
    Box::new(move |stream, to, done| {
        let (told, promised) = (stream.clone(), Arc::clone(&promised));
        let overheard = Box::new(move |head: Result<StreamHead, String>| {
            if let Ok(head) = &head {
                lock(&promised).push((told, head.horizon));
            }
            done(head);
        });
        sequencer.raise_horizon(stream, to, overheard);
    })
}

fn compactor_options(dice: &mut Dice) -> compactor::Options {
    compactor::Options {
        history: History {
            limits: LIMITS,
            channels: std::collections::BTreeMap::new(),
        },
        tombstone_retention_ms: TOMBSTONE_RETENTIONS_MS[dice.below(3) as usize],
        device_retention_ms: DEVICE_RETENTION_MS,
        interval_ms: 1_000,
        round_ms: 10_000,
    }
}

fn hooks(
    now: Arc<dyn Fn() -> UnixMillis + Send + Sync>,
    states: &Arc<States>,
    dead: &Arc<AtomicBool>,
    seed: u64,
) -> Hooks {
    let (mut dice, dead) = (Dice::new(seed), Arc::clone(dead));
    let (counters, farthest) = (Arc::clone(states), Arc::clone(states));
    Hooks {
        now,
        random: Box::new(move || dice.next_u64()),
        sink: Box::new(drop),
        on_fatal: Box::new(move |_| dead.store(true, Ordering::Relaxed)),
        counter: Box::new(move |stream, collection, key| {
            let value = counters.counter(stream, collection, key);
            value.map_err(|error| error.to_string())
        }),
        farthest_counter: Box::new(move |stream| {
            let value = farthest.farthest_counter(stream);
            value.map_err(|error| error.to_string())
        }),
        state: Box::new(|_, _| Err("nobody is to ask".to_owned())),
        full: Box::new(|_| ()),
    }
}

fn sequencer_options(dice: &mut Dice) -> Options {
    Options {
        queue_len_max: 256,
        batch_events_max: 1 + dice.below(32) as usize,
        batch_bytes_max: 1 << 20,
        receive_maximum: usize::from(RECEIVE_MAXIMUM),
        max_clock_skew_ms: CLOCK_SKEW_MS_MAX,
        active_streams_max: 1 + dice.below(3) as usize,
        device_retention_ms: DEVICE_RETENTION_MS,
        founding: syncline_broker::sequencer::FoundingOptions::default(),
        stream: syncline_broker::sequencer::StreamOptions::default(),
    }
}

fn edge_options(dice: &mut Dice) -> EdgeOptions {
    EdgeOptions {
        connections_max: 1_000,
        connect_timeout: Duration::from_secs(30),
        packet_bytes_max: 1 << 20,
        event_bytes_max: 64 << 10,
        receive_maximum: RECEIVE_MAXIMUM,
        inflight_max: 64,
        subscriptions_max: 64,
        tail_events_max: [1, 8, 1_000][dice.below(3) as usize],
        tail_bytes_max: 1 << 20,
        state_bytes_per_s: [16 << 10, 64 << 10, 1 << 20][dice.below(3) as usize],
        state_part_bytes: [1_000, 4_000, 16_000, 1 << 20][dice.below(4) as usize],
        sessions: SessionsOptions {
            sessions_max: 1_000,
            expiry_max: Duration::from_secs(SESSION_EXPIRY_S_MAX.into()),
            save_interval: Duration::from_secs(1),
            queue: QueueLimit {
                messages_max: 100,
                bytes_max: 1 << 20,
            },
        },
        active_streams_max: 64 + dice.below(3) as usize,
        presence_retention: Duration::from_secs(60),
        presence_devices_max: 1_000,
        device_retention: Duration::from_secs(3_600),
        crowd: CrowdOptions::default(),
        publish: PublishOptions::default(),
        ports: Ports::new(),
        load_lag_max: Duration::ZERO,
        ordinary: OrdinaryOptions::default(),
    }
}
