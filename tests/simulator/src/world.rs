//! The whole of one run: broker, devices, observers, the network between them, and trouble.
//!
//! Everything that happens is a [`Happening`] of the agenda; what decides is the dice, in an order that follows from the
//! seed alone.

mod devices;
mod network;
mod observers;
mod quiet;
mod server;
mod trouble;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use syncline_broker::store::EventStore;
use syncline_protocol::{DeviceId, Schema, StreamId};

use crate::agenda::{Agenda, START_MS};
use crate::broker::{Broker, WallClock};
use crate::device::Device;
use crate::dice::Dice;
use crate::disk::Disk;
use crate::link::{Link, LinkId};
use crate::observer::{Observer, View};
use crate::oracle::Oracle;
use crate::session::Clock;
use crate::tally::Tally;
use crate::trace::Trace;
use crate::workload;

/// What a run consists of at least.
#[derive(Debug, Clone)]
pub struct Size {
    /// Installations, copies not counted.
    pub devices: usize,
    /// Events in the logs.
    pub events: u64,
    /// Faults injected.
    pub faults: u64,
}

impl Default for Size {
    fn default() -> Self {
        Self {
            devices: 6,
            events: 500,
            faults: 20,
        }
    }
}

/// What happens.
#[derive(Debug, Clone, Copy, Hash)]
enum Happening {
    /// Bytes reach the broker's end of a connection.
    ArriveUp(LinkId),
    /// Bytes reach the client's end.
    ArriveDown(LinkId),
    /// A client notices that a connection is gone.
    ClientNotices(LinkId),
    /// The broker notices that a connection is gone.
    ServerNotices(LinkId),
    /// The broker's end of a connection has something to do.
    Turn(LinkId),
    /// A blocking read of the edge is carried out.
    Read,
    /// The sequencer takes a batch.
    Sequence,
    /// The bus brings something.
    Bus,
    /// The compactor does a piece.
    Compact,
    /// What the broker does from time to time.
    Tick,
    /// A new process of the broker starts.
    Start,
    /// A device's core wants to be woken.
    Alarm(usize),
    /// A write of a device is durable.
    Written(usize),
    /// A device is switched off.
    PowerOff(usize),
    /// A device is switched on.
    PowerOn(usize),
    /// A device wants to be connected again.
    Online(usize),
    /// A user does something.
    Act,
    /// An observer connects.
    Observe(usize),
    /// Something goes wrong.
    Trouble,
    /// Is everything quiet?
    Look,
}

/// See the module.
pub(crate) struct World {
    dice: Dice,
    agenda: Agenda<Happening>,
    size: Size,
    schema: Arc<Schema>,
    disk: Disk,
    store: Option<Arc<dyn EventStore>>,
    broker: Option<Broker>,
    /// The broker's clock is as wrong as anybody's.
    broker_skew_ms: i64,
    broker_clock: Clock,
    wall: WallClock,
    origin: Instant,
    links: BTreeMap<LinkId, Link>,
    next_link: LinkId,
    devices: Vec<Device>,
    observers: Vec<Observer>,
    minted: u64,
    said: u64,
    pub(crate) oracle: Oracle,
    trace: Trace,
    scheduled: Scheduled,
    /// The broker's disk answers no commit before.
    stalled_until: u64,
    /// When the last trouble was over, once it is.
    healed_at: Option<u64>,
    quiet: bool,
}

/// What the broker has on the agenda already.
#[derive(Debug, Default)]
struct Scheduled {
    read: bool,
    sequence: bool,
    bus: bool,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) violation: Option<String>,
    pub(crate) tally: Tally,
    pub(crate) fingerprint: u64,
}

impl World {
    pub(crate) fn new(seed: u64, size: Size, trace: Trace) -> Self {
        let schema = Schema::parse(&workload::schema_toml());
        let schema = Arc::new(schema.expect("the table's schema is one"));
        let mut world = Self {
            dice: Dice::new(seed),
            agenda: Agenda::new(),
            size,
            disk: Disk::new(seed),
            store: None,
            broker: None,
            broker_skew_ms: 0,
            broker_clock: Clock::default(),
            wall: Arc::new(AtomicU64::new(START_MS)),
            origin: Instant::now(),
            links: BTreeMap::new(),
            next_link: 0,
            devices: Vec::new(),
            observers: Vec::new(),
            minted: 0,
            said: 0,
            oracle: Oracle::new(Arc::clone(&schema)),
            schema,
            trace,
            scheduled: Scheduled::default(),
            stalled_until: 0,
            healed_at: None,
            quiet: false,
        };
        world.populate();
        world
    }

    fn populate(&mut self) {
        self.start_broker();
        for n in 0..self.size.devices {
            let channel = if n % 4 == 3 { Some("room") } else { None };
            self.add_device(stream(channel));
        }
        let views = [
            View::Since { json: false },
            View::Since { json: true },
            View::Everything,
            View::Live,
            View::States,
            View::Kept { wild: false },
            View::Kept { wild: true },
            View::At,
        ];
        for view in views {
            let schema = Arc::clone(&self.schema);
            let mut observer = Observer::new(view, stream(None), schema);
            if matches!(view, View::Kept { .. }) {
                observer.session.expiry_s = [20, 60, 600][self.dice.below(3) as usize];
            }
            self.observers.push(observer);
            let delay = self.dice.below(5_000);
            let observe = Happening::Observe(self.observers.len() - 1);
            self.agenda.after(delay, observe);
        }
        self.agenda.after(10, Happening::Act);
        self.agenda.after(1_000, Happening::Trouble);
        self.agenda.after(1_000, Happening::Tick);
        self.agenda.after(1_000, Happening::Compact);
        self.agenda.after(500, Happening::Look);
    }

    fn add_device(&mut self, stream: StreamId) {
        let mut device = Device::new(stream);
        device.skew_ms = self.any_skew();
        device.maximum_packet_size = match self.dice.below(3) {
            0 => Some(2_000 + self.dice.below(6_000) as u32),
            _ => None,
        };
        device.write_ms = 1 + self.dice.below(60);
        self.devices.push(device);
        self.power_on(self.devices.len() - 1);
    }

    /// A clock that is right, a little wrong, or wrong by days.
    fn any_skew(&mut self) -> i64 {
        let sign = if self.dice.below(2) == 0 { 1 } else { -1 };
        let size = match self.dice.below(4) {
            0 => 0,
            1 => self.dice.below(2_000),
            2 => self.dice.below(100_000),
            _ => self.dice.below(200_000_000),
        };
        sign * i64::try_from(size).unwrap_or_default()
    }

    /// Goes on until everything is quiet, a promise is broken or too much time has passed.
    pub(crate) fn run(mut self) -> End {
        while self.oracle.violation().is_none() && !self.quiet {
            let Some(happening) = self.agenda.next() else {
                self.oracle.fail("nothing happens any more");
                break;
            };
            self.wall.store(self.broker_now(), Ordering::Relaxed);
            self.trace.step(self.agenda.now(), &happening);
            self.happen(happening);
        }
        if self.oracle.violation().is_none() {
            self.last_checks();
        }
        End {
            violation: self.oracle.violation().map(str::to_owned),
            tally: std::mem::take(&mut self.oracle.tally),
            fingerprint: self.trace.fingerprint(),
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::ArriveUp(link) => self.arrive_up(link),
            Happening::ArriveDown(link) => self.arrive_down(link),
            Happening::ClientNotices(link) => self.client_notices(link),
            Happening::ServerNotices(link) => self.server_notices(link),
            Happening::Turn(link) => self.turn_if_due(link),
            Happening::Read => self.read(),
            Happening::Sequence => self.sequence(),
            Happening::Bus => self.bus(),
            Happening::Compact => self.compact(),
            Happening::Tick => self.tick(),
            Happening::Start => self.start_broker(),
            Happening::Alarm(device) => self.alarm(device),
            Happening::Written(device) => self.written(device),
            Happening::PowerOff(device) => self.power_off(device),
            Happening::PowerOn(device) => self.power_on(device),
            Happening::Online(device) => self.go_online(device),
            Happening::Act => self.act(),
            Happening::Observe(observer) => self.observe(observer),
            Happening::Trouble => self.trouble(),
            Happening::Look => self.look(),
        }
    }

    fn now(&self) -> u64 {
        self.agenda.now()
    }

    /// What the broker's clock shows.
    fn broker_now(&self) -> u64 {
        self.now().saturating_add_signed(self.broker_skew_ms)
    }

    /// The moment as the edge's timers know it.
    fn instant(&self) -> Instant {
        self.origin + Duration::from_millis(self.now() - START_MS)
    }

    fn moment(&self, instant: Instant) -> u64 {
        let passed = instant.saturating_duration_since(self.origin);
        START_MS + u64::try_from(passed.as_millis()).unwrap_or_default() + 1
    }

    fn mint(&mut self) -> DeviceId {
        self.minted += 1;
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.dice.next_u64().to_be_bytes());
        bytes[8..].copy_from_slice(&self.minted.to_be_bytes());
        DeviceId::from_bytes(bytes)
    }

    fn random(&mut self) -> f64 {
        self.dice.below(1_000) as f64 / 1_000.0
    }

    fn is_healed(&self) -> bool {
        self.healed_at.is_some()
    }

    /// A user of some device does something.
    fn act(&mut self) {
        let on: Vec<usize> = (0..self.devices.len())
            .filter(|n| self.devices[*n].is_on())
            .collect();
        if !on.is_empty() {
            let device = on[self.dice.below(on.len() as u64) as usize];
            let burst = if self.dice.below(12) == 0 { 12 } else { 1 };
            (0..burst).for_each(|_| self.publish(device));
        }
        if !self.is_healed() {
            let delay = self.dice.below(1_800);
            self.agenda.after(delay, Happening::Act);
        }
    }
}

fn stream(channel: Option<&str>) -> StreamId {
    let channel = channel.map(|name| name.parse().expect("it is a channel's name"));
    StreamId {
        sync_id: "home".parse().expect("it is a group's name"),
        channel,
    }
}
