//! Cores and a model of the broker under random delays, lost connections and crashes. A failing seed is printed.
#![allow(clippy::unwrap_used)] // helpers of tests are tests, too

mod model;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use model::Broker;
use proptest::prelude::*;
use syncline_client_core::{
    Answer, Core, DeviceRow, Input, IntentId, OpenOptions, Outcome, Output, Phase, Row, Stored,
    Write,
};
use syncline_protocol::{
    DeviceId, DeviceSeq, Epoch, Schema, Seq, Snapshot, Start, StreamId, Subscription, Topic,
    UnixMillis, Value,
};

/// Chance with a seed: xorshift64*, Vigna 2016.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(drawn).unwrap() % n
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// What a client's disk holds.
#[derive(Debug, Clone, Default)]
struct Disk {
    device: Option<DeviceRow>,
    intents: BTreeMap<IntentId, Row>,
    replica: Option<Snapshot>,
    schema: Option<Arc<Schema>>,
}

impl Disk {
    fn write(&mut self, write: Write) {
        for id in write.delete {
            self.intents.remove(&id);
        }
        let rows = write.intents.into_iter();
        self.intents.extend(rows.map(|row| (row.id, row)));
        self.device = write.device.or(self.device);
        self.replica = write.replica.or(self.replica.take());
        self.schema = write.schema.or(self.schema.take());
    }

    fn stored(&self) -> Option<Stored> {
        Some(Stored {
            device: self.device?,
            intents: self.intents.values().cloned().collect(),
            replica: self.replica.clone(),
            schema: self.schema.clone(),
        })
    }
}

/// A connection: what is on its way in both directions.
#[derive(Default)]
struct Wire {
    up: VecDeque<Output>,
    down: VecDeque<Input>,
    /// Up to where events were put on the way, once subscribed.
    cursor: Option<Seq>,
    unanswered: usize,
}

struct Client {
    core: Core,
    disk: Disk,
    unwritten: VecDeque<Write>,
    wire: Option<Wire>,
    /// Intents told durable, by what they say.
    stored: BTreeSet<String>,
    published: BTreeMap<IntentId, String>,
    set_aside: BTreeSet<String>,
    /// What stands for another since.
    superseded: BTreeMap<String, String>,
}

struct World {
    chance: Chance,
    now: u64,
    broker: Broker,
    clients: Vec<Client>,
    devices: u8,
    said: u32,
    faults: usize,
}

fn stream() -> StreamId {
    StreamId {
        sync_id: "music".parse().unwrap(),
        channel: None,
    }
}

impl World {
    fn new(seed: u64, clients: usize) -> Self {
        let broker = Broker::new(stream());
        let chance = Chance(seed | 1);
        let now = 1_700_000_000_000;
        let mut world = Self {
            chance,
            now,
            broker,
            clients: Vec::new(),
            devices: 0,
            said: 0,
            faults: 0,
        };
        for _ in 0..clients {
            world.add_client(Disk::default());
        }
        world
    }

    fn now(&self) -> UnixMillis {
        UnixMillis::new(self.now)
    }

    fn mint(&mut self) -> DeviceId {
        self.devices += 1;
        DeviceId::from_bytes([self.devices; 16])
    }

    fn add_client(&mut self, disk: Disk) {
        let mut options = OpenOptions::new(stream(), self.mint());
        options.stored = disk.stored();
        let (core, outputs) = Core::open(self.now(), options);
        self.clients.push(Client {
            core,
            disk,
            unwritten: VecDeque::new(),
            wire: None,
            stored: BTreeSet::new(),
            published: BTreeMap::new(),
            set_aside: BTreeSet::new(),
            superseded: BTreeMap::new(),
        });
        self.carry_out(self.clients.len() - 1, outputs);
    }

    fn crash(&mut self, n: usize) {
        let mut options = OpenOptions::new(stream(), self.mint());
        let client = &mut self.clients[n];
        options.stored = client.disk.stored();
        client.unwritten.clear();
        client.wire = None;
        let (core, outputs) = Core::open(UnixMillis::new(self.now), options);
        client.core = core;
        // Ids of what was not stored are given again.
        client
            .published
            .retain(|_, said| client.stored.contains(said));
        self.carry_out(n, outputs);
    }

    fn input(&mut self, n: usize, input: Input) {
        let random = self.chance.below(1_000) as f64 / 1_000.0;
        let outputs = self.clients[n]
            .core
            .handle(UnixMillis::new(self.now), random, input);
        self.carry_out(n, outputs);
    }

    fn carry_out(&mut self, n: usize, outputs: Vec<Output>) {
        let minting = outputs.iter().any(|it| matches!(it, Output::MintDevice));
        for output in outputs {
            let client = &mut self.clients[n];
            match output {
                Output::Disconnect => client.wire = None,
                Output::Connect(_) => {
                    let mut wire = Wire::default();
                    let receive_maximum = 3;
                    let connected = Input::Connected {
                        receive_maximum,
                        maximum_packet_size: None,
                    };
                    wire.down.push_back(connected);
                    client.wire = Some(wire);
                }
                Output::Subscribe(_) | Output::Send { .. } => {
                    client.wire.as_mut().unwrap().up.push_back(output);
                }
                Output::Write(write) => client.unwritten.push_back(*write),
                Output::Stored(id) => {
                    let said = client.published[&id].clone();
                    client.stored.insert(said);
                }
                Output::Receipt {
                    id,
                    outcome: Outcome::Superseded(by),
                } => {
                    let said = client.published[&id].clone();
                    let by = client.published[&by].clone();
                    client.superseded.insert(said, by);
                }
                Output::SetAside { intent, .. } => {
                    client.set_aside.insert(saying(&intent.event_data));
                }
                Output::Fault { kind, detail } => {
                    eprintln!("fault {kind}: {detail}");
                    self.faults += 1;
                }
                _ => {}
            }
        }
        if minting {
            let device = self.mint();
            self.input(n, Input::NewDevice(device));
        }
    }

    fn publish(&mut self, n: usize) {
        self.said += 1;
        let said = format!("s{}", self.said);
        let album = format!("a{}", self.chance.below(4));
        let types = ["star_album", "unstar_album", "played", "forbidden"];
        let event_type = types[self.chance.below(types.len())].parse().unwrap();
        let data = [("album_id", album), ("said", said.clone())];
        let data = data.map(|(name, text)| (name.to_owned(), Value::text(text)));
        let client = &mut self.clients[n];
        let data = Value::Map(data.into_iter().collect());
        let (id, outputs) = client
            .core
            .publish(UnixMillis::new(self.now), event_type, data)
            .unwrap();
        client.published.insert(id, said);
        self.carry_out(n, outputs);
    }

    /// The broker takes the next packet of a client.
    fn serve(&mut self, n: usize) {
        let now = self.now();
        let client = &mut self.clients[n];
        let device = client.core.device();
        let Some(wire) = client.wire.as_mut() else {
            return;
        };
        match wire.up.pop_front() {
            Some(Output::Subscribe(filter)) => subscribe(&self.broker, wire, device, &filter),
            Some(Output::Send { id, payload, .. }) => {
                wire.unanswered += 1;
                assert!(
                    wire.unanswered <= 3,
                    "more on the way than the broker takes"
                );
                let answer = self.broker.submit(now, &payload);
                wire.down.push_back(Input::Acked { id, answer });
            }
            _ => {}
        }
    }

    /// The broker puts the next event on the way to a client.
    fn deliver(&mut self, n: usize) {
        let Some(wire) = self.clients[n].wire.as_mut() else {
            return;
        };
        let Some(cursor) = wire.cursor else { return };
        if let Some(event) = self.broker.event_after(cursor) {
            wire.cursor = Some(cursor.next());
            let topic = Topic::Events(stream()).to_string();
            wire.down.push_back(Input::Message {
                topic,
                payload: event.encode(),
            });
        }
    }

    fn receive(&mut self, n: usize) {
        let Some(wire) = self.clients[n].wire.as_mut() else {
            return;
        };
        if let Some(input) = wire.down.pop_front() {
            if matches!(input, Input::Acked { .. }) {
                wire.unanswered -= 1;
            }
            self.input(n, input);
        }
    }

    fn persist(&mut self, n: usize) {
        if let Some(write) = self.clients[n].unwritten.pop_front() {
            let id = write.id;
            self.clients[n].disk.write(write);
            self.input(n, Input::Persisted(id));
        }
    }

    fn cut(&mut self, n: usize) {
        if self.clients[n].wire.take().is_some() {
            self.input(
                n,
                Input::Disconnected {
                    reason: "cut".to_owned(),
                },
            );
        }
    }

    fn wake(&mut self, n: usize) {
        if let Some(at) = self.clients[n].core.next_timeout() {
            self.now = self.now.max(at.get());
            self.input(n, Input::Timeout);
        }
    }

    fn step(&mut self, trouble: bool) {
        let n = self.chance.below(self.clients.len());
        self.now += self.chance.below(20) as u64;
        match self.chance.below(10) {
            0 | 1 => self.serve(n),
            2 | 3 => self.receive(n),
            4 | 5 => self.deliver(n),
            6 => self.persist(n),
            7 if trouble => self.publish(n),
            8 if trouble && self.chance.one_in(6) => self.cut(n),
            8 if trouble && self.chance.one_in(12) => self.crash(n),
            9 if self.chance.one_in(4) => self.wake(n),
            _ => {}
        }
    }

    fn is_quiet(&self) -> bool {
        self.clients.iter().all(|client| {
            let status = client.core.status();
            let wire = client.wire.as_ref();
            let settled = wire.is_some_and(|wire| wire.up.is_empty() && wire.down.is_empty());
            let caught_up = wire.is_some_and(|wire| wire.cursor == Some(self.broker.head()));
            status.phase == Phase::Online && status.pending == 0 && settled && caught_up
        })
    }

    fn run(&mut self, steps: usize) {
        for _ in 0..steps {
            self.step(true);
        }
        self.settle();
    }

    fn settle(&mut self) {
        for _ in 0..200_000 {
            if self.is_quiet() {
                return;
            }
            self.step(false);
        }
        panic!(
            "no quiet: {:?}",
            self.clients
                .iter()
                .map(|it| it.core.status())
                .collect::<Vec<_>>()
        );
    }

    /// How often each saying is in the broker's log.
    fn heard(&self) -> BTreeMap<String, usize> {
        let mut heard = BTreeMap::new();
        for event in &self.broker.log {
            *heard.entry(saying(&event.event_data)).or_default() += 1;
        }
        heard
    }

    /// Whether an intent is rightly not in the log: set aside, or superseded by one that is there or let go.
    fn is_let_go(&self, client: &Client, said: &str, heard: &BTreeMap<String, usize>) -> bool {
        let by = client.superseded.get(said);
        client.set_aside.contains(said)
            || by.is_some_and(|by| heard.contains_key(by) || self.is_let_go(client, by, heard))
    }

    fn assert_agreement(&self) {
        let entries = self.broker.state().entries("albums");
        let live = entries.filter_map(|(key, it)| Some((key.to_owned(), it.value()?.clone())));
        let live: BTreeMap<String, Value> = live.collect();
        for client in &self.clients {
            assert_eq!(client.core.entries("albums"), live);
        }
    }
}

fn subscribe(broker: &Broker, wire: &mut Wire, device: DeviceId, filter: &str) {
    let subscription: Subscription = filter.parse().unwrap();
    let (topic, payload) = match (subscription.filter.exact(), subscription.start) {
        (Some(Topic::Schema), _) => (Topic::Schema, broker.schema.document().into_bytes()),
        (Some(Topic::Events(_)), Start::Resume { seq, epoch }) => {
            let opening = broker.opening(device, seq, epoch);
            wire.cursor = Some(opening.seq);
            (Topic::State(stream()), opening.encode())
        }
        _ => return,
    };
    wire.down.push_back(Input::Message {
        topic: topic.to_string(),
        payload,
    });
}

fn saying(data: &Value) -> String {
    data.as_map().unwrap()["said"].as_text().unwrap().to_owned()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn g11_nothing_stored_is_lost_or_repeated_and_all_agree(seed in any::<u64>()) {
        let mut world = World::new(seed, 3);
        world.run(1_500);
        let heard = world.heard();
        for client in &world.clients {
            for said in &client.stored {
                let times = heard.get(said).copied().unwrap_or_default();
                if times == 0 {
                    prop_assert!(world.is_let_go(client, said, &heard), "{} is lost", said);
                }
            }
        }
        prop_assert!(heard.values().all(|times| *times == 1));
        world.assert_agreement();
        prop_assert_eq!(world.faults, 0);
    }

    #[test]
    fn g3_a_devices_events_keep_their_order(seed in any::<u64>()) {
        let mut world = World::new(seed, 2);
        world.run(1_000);
        let mut last: BTreeMap<DeviceId, Option<DeviceSeq>> = BTreeMap::new();
        for event in &world.broker.log {
            let before = last.insert(event.device, event.device_seq);
            prop_assert!(before.is_none_or(|before| before < event.device_seq));
        }
    }

    #[test]
    fn fork_4_a_copied_disk_loses_nothing(seed in any::<u64>()) {
        let mut world = World::new(seed, 2);
        world.run(300);
        let copy = world.clients[0].disk.clone();
        world.add_client(copy);
        world.run(800);
        let heard = world.heard();
        for client in &world.clients {
            for said in client.stored.difference(&client.set_aside) {
                let let_go = world.is_let_go(client, said, &heard);
                prop_assert!(let_go || heard.contains_key(said), "{} is lost", said);
            }
        }
        world.assert_agreement();
    }

    #[test]
    fn replica_7_after_a_rolled_back_disk_all_agree_again(seed in any::<u64>()) {
        let mut world = World::new(seed, 3);
        world.run(400);
        let head = world.chance.below(world.broker.log.len() + 1);
        world.broker.roll_back(head);
        // The broker restarts: all connections are lost.
        (0..3).for_each(|n| world.cut(n));
        world.run(400);
        world.assert_agreement();
        prop_assert_eq!(world.faults, 0);
    }
}

#[test]
fn the_model_gives_the_epoch_of_zeros_for_an_empty_stream() {
    let broker = Broker::new(stream());
    let opening = broker.opening(DeviceId::from_bytes([1; 16]), Seq::ZERO, Epoch::NONE);
    assert_eq!((opening.epoch, opening.mark), (Epoch::NONE, Some(None)));
    assert!(matches!(Answer::Saved(Seq::ZERO), Answer::Saved(_)));
}
