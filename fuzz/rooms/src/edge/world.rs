//! A broker that is moved by hand, one client of which nobody knows what it says, and one who follows everything.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use syncline_broker::compactor::States;
use syncline_broker::config::MUSIC_SCHEMA;
use syncline_broker::edge::simulation::{Connection, SimulatedEdge};
use syncline_broker::edge::{
    CrowdOptions, Edge, EdgeOptions, OrdinaryOptions, Ports, PublishOptions, SessionsOptions,
};
use syncline_broker::router::{BusMessage, Consumer};
use syncline_broker::sequencer::{Hooks, Options, Sequencer, Stepper};
use syncline_broker::store::memory::MemoryStore;
use syncline_broker::store::sessions::QueueLimit;
use syncline_broker::store::sessions::memory::MemorySessions;
use syncline_broker::store::{Committed, EventStore};
use syncline_protocol::{Schema, UnixMillis};

use super::wire;

/// Much more than any conversation of 4 KiB needs: beyond it the edge is talking to itself.
const ROUNDS_MAX: usize = 100_000;

/// When it is.
const BEGIN: u64 = 1_700_000_000_000;

static SCHEMA: LazyLock<Arc<Schema>> =
    LazyLock::new(|| Arc::new(Schema::parse(MUSIC_SCHEMA).expect("the built-in schema")));

type Bus = Arc<Mutex<VecDeque<Committed>>>;

pub(super) struct World {
    edge: SimulatedEdge,
    stepper: Arc<Mutex<Stepper>>,
    consumer: Consumer,
    bus: Bus,
    now: Instant,
    client: Client,
    observer: Client,
}

struct Client {
    connection: Connection,
    /// Whether its messages are of version 5; `None`: it was not said which.
    v5: Option<bool>,
}

impl World {
    /// A broker that has just begun, and its observer.
    pub(super) fn new() -> Self {
        let store: Arc<dyn EventStore> = Arc::new(MemoryStore::new(8));
        let (bus, schema) = (Bus::default(), Arc::clone(&SCHEMA));
        let states = Arc::new(States::new(
            Arc::clone(&store),
            Arc::clone(&schema),
            1 << 20,
        ));
        let hooks = hooks(&states, &bus);
        let made = Sequencer::by_hand(&limits(), Arc::clone(&store), Arc::clone(&schema), hooks);
        let (sequencer, stepper) = made.expect("the window is as large as the Receive Maximum");
        let stepper = Arc::new(Mutex::new(stepper));
        let by_waiting = Arc::clone(&stepper);
        let before_waiting = Arc::new(move || while lock(&by_waiting).step() > 0 {});
        let sessions = Arc::new(MemorySessions::default());
        let prepared = Edge::prepare(options(), store, sessions, &schema).expect("memory is read");
        let mut consumer = prepared.consumer();
        consumer(BusMessage::Resync);
        let clock = Arc::new(|| UnixMillis::new(BEGIN));
        let edge = prepared.simulated(Arc::new(sequencer), states, clock, before_waiting);
        let (edge, now) = (edge.expect("memory is read"), Instant::now());
        let [client, observer] = ["auto-1", "auto-2"].map(|id| edge.connect(id.to_owned(), now));
        let mut world = Self {
            edge,
            stepper,
            consumer,
            bus,
            now,
            client: Client {
                connection: client,
                v5: None,
            },
            observer: Client {
                connection: observer,
                v5: Some(true),
            },
        };
        world.observer.connection.receive(wire::CONNECT_OBSERVER);
        world
            .observer
            .connection
            .receive(&wire::subscribe(true, 1, "sync/#"));
        world.settle();
        assert!(world.observer.connection.ended().is_none());
        world
    }

    /// The client comes anew. The one before is lost, if it has not ended.
    pub(super) fn connect(&mut self, greeting: &[u8]) {
        self.client.connection.lost(self.now);
        self.client.connection = self.edge.connect("auto-3".to_owned(), self.now);
        self.client.v5 = match greeting {
            [] => None,
            greeting => Some(greeting == wire::CONNECT_5),
        };
        if !greeting.is_empty() {
            self.say(greeting);
            let connected = self.client.connection.ended().is_none();
            assert!(connected, "a CONNECT that is in order is refused");
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.client.connection.ended().is_some()
    }

    pub(super) fn say(&mut self, bytes: &[u8]) {
        self.client.connection.receive(bytes);
        self.settle();
    }

    pub(super) fn lose(&mut self) {
        self.client.connection.lost(self.now);
        self.settle();
    }

    /// What comes by itself: paced states, saves, and at last the end of who says nothing.
    pub(super) fn wait(&mut self) {
        for _ in 0..4 {
            let clients = [&mut self.client, &mut self.observer];
            let due = clients.map(|it| it.connection.next_timeout());
            let Some(next) = due.into_iter().flatten().min() else {
                return;
            };
            self.now = self.now.max(next);
            self.edge.tick();
            self.settle();
        }
    }

    /// Nobody is left, and the observer was not harmed by what the other one said.
    pub(super) fn leave(mut self) {
        assert!(self.observer.connection.ended().is_none());
        self.client.connection.lost(self.now);
        self.settle();
    }

    fn settle(&mut self) {
        self.client.connection.turn(self.now);
        self.observer.connection.turn(self.now);
        for _ in 0..ROUNDS_MAX {
            if !self.step() {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    /// Whether there was something to do.
    fn step(&mut self) -> bool {
        let mut moved = lock(&self.stepper).step() > 0;
        while let Some(event) = self.carried() {
            (self.consumer)(BusMessage::Event(event));
            moved = true;
        }
        while self.edge.reads() > 0 {
            self.edge.read(0);
            moved = true;
        }
        moved |= self.client.turn(self.now);
        self.observer.turn(self.now) || moved
    }

    fn carried(&self) -> Option<Committed> {
        lock(&self.bus).pop_front()
    }
}

impl Client {
    /// Does what is due, hears what is said to it and acknowledges it. Whether there was something.
    fn turn(&mut self, now: Instant) -> bool {
        let has_mail = self.connection.has_mail();
        if has_mail {
            self.connection.turn(now);
        }
        let output = self.connection.output(usize::MAX);
        if !output.is_empty() && self.v5.is_none() {
            self.v5 = Some(wire::is_of_5(&output));
        }
        let ids = wire::check(self.v5 == Some(true), &output);
        if self.connection.ended().is_none() && !ids.is_empty() {
            self.acknowledge(&ids, now);
        }
        has_mail || !output.is_empty()
    }

    fn acknowledge(&mut self, ids: &[[u8; 2]], now: Instant) {
        for id in ids {
            self.connection.receive(&wire::packet(0x40, id));
        }
        self.connection.turn(now);
    }
}

fn hooks(states: &Arc<States>, bus: &Bus) -> Hooks {
    let (counters, farthest) = (Arc::clone(states), Arc::clone(states));
    let (bus, random) = (Arc::clone(bus), AtomicU64::new(7));
    Hooks {
        now: Arc::new(|| UnixMillis::new(BEGIN)),
        random: Box::new(move || random.fetch_add(1, Ordering::Relaxed)),
        sink: Box::new(move |events| lock(&bus).extend(events)),
        on_fatal: Box::new(|error| panic!("memory does not fail: {error}")),
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

fn limits() -> Options {
    Options {
        queue_len_max: 64,
        batch_events_max: 8,
        batch_bytes_max: 1 << 16,
        receive_maximum: 4,
        max_clock_skew_ms: 60_000,
        active_streams_max: 2,
        device_retention_ms: 200_000,
        founding: syncline_broker::sequencer::FoundingOptions::default(),
        stream: syncline_broker::sequencer::StreamOptions::default(),
    }
}

/// Small, so that they are met.
fn options() -> EdgeOptions {
    EdgeOptions {
        connections_max: 8,
        connect_timeout: Duration::from_secs(30),
        packet_bytes_max: 4_096,
        event_bytes_max: 1_024,
        receive_maximum: 4,
        inflight_max: 4,
        subscriptions_max: 8,
        tail_events_max: 4,
        tail_bytes_max: 4_096,
        state_bytes_per_s: 1 << 20,
        state_part_bytes: 400,
        sessions: SessionsOptions {
            sessions_max: 4,
            expiry_max: Duration::from_secs(60),
            save_interval: Duration::from_secs(1),
            queue: QueueLimit {
                messages_max: 4,
                bytes_max: 4_096,
            },
        },
        active_streams_max: 64,
        presence_retention: Duration::from_secs(60),
        presence_devices_max: 1_000,
        device_retention: Duration::from_secs(200),
        crowd: CrowdOptions::default(),
        publish: PublishOptions::default(),
        ports: Ports::new(),
        load_lag_max: Duration::ZERO,
        ordinary: OrdinaryOptions::default(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
