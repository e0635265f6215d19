//! Cores and a model of the broker under random delays, lost connections, crashes, moving horizons and new epochs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use syncline_client_core::{
    Answer, Core, Input, IntentId, OpenOptions, Outcome, Output, Phase, Write,
};
use syncline_protocol::{
    DeviceId, Epoch, EventType, Intent, Seq, Snapshot, Start, StreamId, Subscription, Topic,
    UnixMillis, Value,
};

use crate::model::{Broker, How, Next};

mod checks;
mod parts;
mod takeover;

use parts::{Chance, Disk};

/// A connection: what is on its way in both directions.
#[derive(Default)]
struct Wire {
    device: Option<DeviceId>,
    up: VecDeque<Output>,
    down: VecDeque<Input>,
    /// Up to where messages were put on the way, once subscribed.
    cursor: Option<(Seq, Epoch)>,
    unanswered: usize,
}

pub(crate) struct Client {
    pub(crate) core: Core,
    pub(crate) disk: Disk,
    unwritten: VecDeque<Write>,
    wire: Option<Wire>,
    /// Intents told durable, by what they say.
    pub(crate) stored: BTreeSet<String>,
    published: BTreeMap<IntentId, String>,
    pub(crate) set_aside: BTreeSet<String>,
    /// What stands for another since.
    superseded: BTreeMap<String, String>,
    /// The highest cursor that an intent from here says to have seen.
    seen: Seq,
}

/// What may go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Nothing more, so that all comes to rest.
    None,
    /// Connections and clients end, and people act.
    Clients,
    /// The broker's history moves, too.
    History,
}

pub(crate) struct World {
    pub(crate) chance: Chance,
    now: u64,
    pub(crate) broker: Broker,
    pub(crate) clients: Vec<Client>,
    devices: u8,
    pub(crate) said: u32,
    /// Who said it, having seen how much.
    acted: BTreeMap<String, (usize, Seq)>,
    pub(crate) faults: usize,
    /// What the broker had read of connections that were taken over, and accepts before it reads anything else.
    late: VecDeque<Vec<u8>>,
    pub(crate) takeovers: usize,
    /// Whether each device is one client's, in one history; else EVENT-6 lets one say what another has seen.
    pub(crate) is_honest: bool,
}

pub(crate) fn stream() -> StreamId {
    StreamId {
        sync_id: "music".parse().unwrap(),
        channel: None,
    }
}

impl World {
    pub(crate) fn new(seed: u64, clients: usize) -> Self {
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
            acted: BTreeMap::new(),
            faults: 0,
            late: VecDeque::new(),
            takeovers: 0,
            is_honest: true,
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

    pub(crate) fn add_client(&mut self, disk: Disk) {
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
            seen: Seq::ZERO,
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
                Output::Connect(device) => {
                    let mut wire = Wire {
                        device: Some(device),
                        ..Wire::default()
                    };
                    let receive_maximum = 3;
                    let connected = Input::Connected {
                        receive_maximum,
                        maximum_packet_size: None,
                    };
                    wire.down.push_back(connected);
                    client.wire = Some(wire);
                    self.take_over(n, device);
                }
                Output::Subscribe(_) | Output::Send { .. } => {
                    client.wire.as_mut().unwrap().up.push_back(output);
                }
                Output::Write(write) => {
                    let claimed = write.intents.iter().filter_map(|row| row.intent.base_seq);
                    client.seen = claimed.max().unwrap_or_default().max(client.seen);
                    client.unwritten.push_back(*write);
                }
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
        let (event_type, data) = self.intent(&said);
        let client = &mut self.clients[n];
        let published = client
            .core
            .publish(UnixMillis::new(self.now), event_type, data);
        let (id, outputs) = published.unwrap();
        let base_seq = outputs.iter().find_map(|output| match output {
            Output::Write(write) => write.intents.iter().find(|row| row.id == id),
            _ => None,
        });
        let base_seq = base_seq.unwrap().intent.base_seq.unwrap();
        // After a crash a replica may be older than it was; who acts has seen the newer one nevertheless.
        let seen = client.seen.max(base_seq);
        self.acted.insert(said.clone(), (n, seen));
        client.published.insert(id, said);
        self.carry_out(n, outputs);
    }

    /// Something of every kind and policy, of a type without a collection, and what the broker refuses.
    fn intent(&mut self, said: &str) -> (EventType, Value) {
        let key = |n: usize| Value::text(format!("k{n}"));
        let (which, item) = (self.chance.below(13), key(self.chance.below(4)));
        let (event_type, name) = [
            ("star_album", "album_id"),
            ("unstar_album", "album_id"),
            ("rate_track", "track_id"),
            ("write_note", "album_id"),
            ("delete_note", "album_id"),
            ("play_track", "track_id"),
            ("put_in_playlist", "item_id"),
            ("take_from_playlist", "item_id"),
            ("add_tag", "tag"),
            ("drop_tag", "tag"),
            ("set_mood", "track_id"),
            ("clear_mood", "track_id"),
            ("played", "x"),
        ][which];
        let mut data = BTreeMap::from([("said".to_owned(), Value::text(said))]);
        data.insert(name.to_owned(), item);
        for value in ["rating", "text", "mood"] {
            data.insert(value.to_owned(), Value::text(said));
        }
        if event_type == "put_in_playlist" {
            data.insert("playlist_id".to_owned(), key(self.chance.below(2)));
            data.insert("track_id".to_owned(), Value::text(said));
            match self.chance.below(4) {
                0 => {}
                1 => drop(data.insert("after".to_owned(), Value::Nil)),
                _ => drop(data.insert("after".to_owned(), key(self.chance.below(4)))),
            }
        }
        let forbidden = self.chance.one_in(12);
        let event_type = if forbidden { "forbidden" } else { event_type };
        (event_type.parse().unwrap(), Value::Map(data))
    }

    /// The broker takes the next packet of a client.
    fn serve(&mut self, n: usize) {
        let client = &mut self.clients[n];
        let device = client.core.device();
        let Some(wire) = client.wire.as_mut() else {
            return;
        };
        match wire.up.pop_front() {
            Some(Output::Subscribe(filter)) => {
                let hows = [How::Empty, How::Delta, How::Delta, How::Full];
                let how = hows[self.chance.below(hows.len())];
                let part_bytes = 2_000 + self.chance.below(20_000);
                for input in answer(&self.broker, device, &filter, (how, part_bytes)) {
                    if let Message::Opening(cursor) = input.1 {
                        wire.cursor = Some(cursor);
                    }
                    wire.down.push_back(input.0);
                }
            }
            Some(Output::Send { id, payload, .. }) => {
                wire.unanswered += 1;
                assert!(
                    wire.unanswered <= 3,
                    "more on the way than the broker takes"
                );
                self.accept_late();
                let answer = self.submit(&payload);
                let wire = self.clients[n].wire.as_mut().unwrap();
                wire.down.push_back(Input::Acked { id, answer });
            }
            _ => {}
        }
    }

    fn submit(&mut self, payload: &[u8]) -> Answer {
        let before = self.acts(&Intent::decode(payload).unwrap());
        let answer = self.broker.submit(self.now(), payload);
        if self.is_honest && matches!(answer, Answer::Saved(_)) {
            self.assert_it_claims_no_more_than_was_seen(&before);
        }
        answer
    }

    /// The broker puts what follows on the way to a client.
    fn deliver(&mut self, n: usize) {
        let Some(wire) = self.clients[n].wire.as_mut() else {
            return;
        };
        let Some(cursor) = wire.cursor else { return };
        match self.broker.next_after(cursor) {
            Next::Nothing => {}
            Next::Event(event) => {
                wire.cursor = Some((event.seq, self.broker.end().1));
                let topic = Topic::Events(stream());
                wire.down.push_back(message(&topic, event.encode()));
            }
            Next::Bridge(bridge) => {
                wire.cursor = Some((bridge.seq, bridge.epoch));
                let part_bytes = 2_000 + self.chance.below(20_000);
                wire.down.extend(in_parts(*bridge, part_bytes));
            }
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

    pub(crate) fn cut(&mut self, n: usize) {
        if self.clients[n].wire.take().is_some() {
            self.input(
                n,
                Input::Disconnected {
                    reason: "cut".to_owned(),
                    taken_over: false,
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

    fn step(&mut self, trouble: Trouble) {
        let n = self.chance.below(self.clients.len());
        self.now += self.chance.below(20) as u64;
        let troubled = trouble != Trouble::None;
        match self.chance.below(11) {
            0 | 1 => self.serve(n),
            2 | 3 => self.receive(n),
            4 | 5 => self.deliver(n),
            6 => self.persist(n),
            7 if troubled => self.publish(n),
            8 if troubled && self.chance.one_in(6) => self.cut(n),
            8 if troubled && self.chance.one_in(12) => self.crash(n),
            9 if self.chance.one_in(4) => self.wake(n),
            9 if self.chance.one_in(40) => self.accept_late(),
            10 if trouble == Trouble::History && self.chance.one_in(6) => self.move_history(),
            _ => {}
        }
    }

    fn move_history(&mut self) {
        match self.chance.below(12) {
            0 => self.broker.begin_epoch(),
            1 | 2 => {
                // A device that waits for an answer for as long as marks are kept is beyond FORK-4.
                let waits = |it: &&Client| !it.disk.is_settled() || it.core.status().pending > 0;
                let waiting = self.clients.iter().filter(waits);
                let waiting: Vec<DeviceId> = waiting.map(|it| it.core.device()).collect();
                self.broker.forget_marks(&waiting);
            }
            _ => {
                let to = self.chance.below(self.broker.log.len() + 1);
                self.broker.raise_horizon(seq(to));
            }
        }
    }

    fn is_quiet(&self) -> bool {
        self.late.is_empty()
            && self.clients.iter().all(|client| {
                let status = client.core.status();
                let wire = client.wire.as_ref();
                let settled = wire.is_some_and(|wire| wire.up.is_empty() && wire.down.is_empty());
                let caught_up = wire.is_some_and(|wire| wire.cursor == Some(self.broker.end()));
                status.phase == Phase::Online && status.pending == 0 && settled && caught_up
            })
    }

    pub(crate) fn run(&mut self, steps: usize, trouble: Trouble) {
        for _ in 0..steps {
            self.step(trouble);
        }
        self.settle();
    }

    fn settle(&mut self) {
        for _ in 0..200_000 {
            if self.is_quiet() {
                return;
            }
            self.step(Trouble::None);
        }
        panic!(
            "no quiet: {:?}",
            self.clients
                .iter()
                .map(|it| it.core.status())
                .collect::<Vec<_>>()
        );
    }
}

/// What a message of the broker's means for the connection.
enum Message {
    Other,
    Opening((Seq, Epoch)),
}

fn answer(
    broker: &Broker,
    device: DeviceId,
    filter: &str,
    (how, part_bytes): (How, usize),
) -> Vec<(Input, Message)> {
    let subscription: Subscription = filter.parse().unwrap();
    match (subscription.filter.exact(), subscription.start) {
        (Some(Topic::Schema), _) => {
            let document = broker.schema.document().into_bytes();
            vec![(message(&Topic::Schema, document), Message::Other)]
        }
        (Some(Topic::Events(_)), Start::Resume { seq, epoch }) => {
            let opening = broker.opening(device, (seq, epoch), how);
            let cursor = (opening.seq, opening.epoch);
            let parts = in_parts(opening, part_bytes).into_iter();
            parts.map(|part| (part, Message::Opening(cursor))).collect()
        }
        _ => Vec::new(),
    }
}

fn in_parts(snapshot: Snapshot, part_bytes: usize) -> Vec<Input> {
    let parts = snapshot.parts(part_bytes).into_iter();
    let topic = Topic::State(stream());
    parts.map(|part| message(&topic, part.encode())).collect()
}

fn message(topic: &Topic, payload: Vec<u8>) -> Input {
    let topic = topic.to_string();
    Input::Message { topic, payload }
}

fn seq(n: usize) -> Seq {
    Seq::new(u64::try_from(n).unwrap()).unwrap()
}

fn saying(data: &Value) -> String {
    data.as_map().unwrap()["said"].as_text().unwrap().to_owned()
}
