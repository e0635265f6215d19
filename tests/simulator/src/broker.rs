//! One process of the broker: the real rooms, without their threads, sockets and clock.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use syncline_broker::compactor::States;
use syncline_broker::edge::simulation::SimulatedEdge;
use syncline_broker::edge::{Edge, EdgeOptions};
use syncline_broker::router::{BusMessage, Consumer};
use syncline_broker::sequencer::{Hooks, Options, Sequencer, Stepper};
use syncline_broker::store::{Committed, EventStore};
use syncline_protocol::{Schema, UnixMillis};

use crate::dice::Dice;

/// The Receive Maximum that clients are told.
pub(crate) const RECEIVE_MAXIMUM: u16 = 16;

/// CLOCK-3.
pub(crate) const CLOCK_SKEW_MS_MAX: u64 = 60_000;

/// The broker's wall clock.
pub(crate) type WallClock = Arc<AtomicU64>;

type Bus = Arc<Mutex<VecDeque<Committed>>>;

/// A running process.
pub(crate) struct Broker {
    pub(crate) edge: SimulatedEdge,
    stepper: Stepper,
    consumer: Consumer,
    bus: Bus,
    dead: Arc<AtomicBool>,
}

impl Broker {
    /// Starts on what the disk holds.
    pub(crate) fn start(
        store: &Arc<dyn EventStore>,
        schema: &Arc<Schema>,
        clock: &WallClock,
        dice: &mut Dice,
    ) -> Result<Self, String> {
        let (bus, dead) = (Bus::default(), Arc::<AtomicBool>::default());
        let wall = Arc::clone(clock);
        let now = Arc::new(move || UnixMillis::new(wall.load(Ordering::Relaxed)));
        let hooks = hooks(Arc::clone(&now) as _, &bus, &dead, dice.next_u64());
        let options = sequencer_options(dice);
        let (sequencer, stepper) =
            Sequencer::stepped(&options, Arc::clone(store), Arc::clone(schema), hooks);
        let states = States::new(Arc::clone(store), Arc::clone(schema), 1 << 20);
        let prepared = Edge::prepare(edge_options(dice), Arc::clone(store), schema);
        let prepared = prepared.map_err(|error| error.to_string())?;
        let mut consumer = prepared.consumer();
        consumer(BusMessage::Resync);
        Ok(Self {
            edge: prepared.simulated(Arc::new(sequencer), Arc::new(states), now),
            stepper,
            consumer,
            bus,
            dead,
        })
    }

    /// One batch of the sequencer. Whether there was one.
    pub(crate) fn sequence(&mut self) -> bool {
        self.stepper.step()
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

    fn bus(&self) -> std::sync::MutexGuard<'_, VecDeque<Committed>> {
        self.bus.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hooks(
    now: Arc<dyn Fn() -> UnixMillis + Send + Sync>,
    bus: &Bus,
    dead: &Arc<AtomicBool>,
    seed: u64,
) -> Hooks {
    let mut dice = Dice::new(seed);
    let (bus, dead) = (Arc::clone(bus), Arc::clone(dead));
    Hooks {
        now,
        random: Box::new(move || dice.next_u64()),
        sink: Box::new(move |events| {
            let mut bus = bus.lock().unwrap_or_else(PoisonError::into_inner);
            bus.extend(events);
        }),
        on_fatal: Box::new(move |_| dead.store(true, Ordering::Relaxed)),
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
        state_bytes_per_s: 1 << 20,
        presence_retention: Duration::from_secs(60),
    }
}
