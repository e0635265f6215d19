//! Random programs against a naive model of what a server owes: bytes of a client in any chunks, right ones and wrong ones,
//! answers of the driver at any time and in any order, and the clock.
//!
//! The model knows MQTT and nothing of the session: it encodes and decodes by itself, and is told which bytes the session has
//! taken and what its driver did. `PROPTEST_CASES` says how many programs; the test run does a few thousand.

use super::*;

use std::collections::{BTreeMap, BTreeSet};

use crate::edge::ordinary::Slip;
use crate::store::sessions::QueueNumber;

const CASES: u32 = 2_000;
const RECEIVE_MAXIMUM: usize = 3;
/// One and a half of what the CONNECT says.
const SILENCE_MS: u64 = 15_000;

const PUBACK: u8 = 4;
const PUBREC: u8 = 5;
const PUBREL: u8 = 6;
const PUBCOMP: u8 = 7;

#[derive(Debug, Clone)]
enum Step {
    Publish {
        qos: u8,
        id: u16,
        event: bool,
        valid: bool,
    },
    /// An acknowledgement of an id that may or may not be open.
    Acknowledge {
        kind: u8,
        id: u16,
    },
    /// The one that is due of a delivery that is open.
    Proceed {
        which: usize,
        refuses: bool,
    },
    Subscribe {
        id: u16,
        filters: usize,
    },
    Unsubscribe {
        id: u16,
        filters: usize,
    },
    Ping,
    Disconnect,
    ConnectAgain,
    Nonsense(&'static [u8]),
    /// The driver: an answer to one of the open messages.
    Answer {
        which: usize,
        good: bool,
    },
    /// The driver: what else it owes.
    Serve,
    Deliver {
        qos: u8,
    },
    Pass {
        ms: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let id = 1u16..5;
    prop_oneof![
        10 => (0u8..3, id.clone(), any::<bool>(), prop::bool::weighted(0.8)).prop_map(
            |(qos, id, event, valid)| Step::Publish { qos, id, event, valid }),
        3 => (id.clone()).prop_map(|id| Step::Acknowledge { kind: PUBREL, id }),
        1 => (PUBACK..=PUBCOMP, id.clone()).prop_map(|(kind, id)| Step::Acknowledge { kind, id }),
        8 => (0usize..8, prop::bool::weighted(0.2)).prop_map(
            |(which, refuses)| Step::Proceed { which, refuses }),
        2 => (id.clone(), 1usize..4).prop_map(|(id, filters)| Step::Subscribe { id, filters }),
        2 => (id, 1usize..4).prop_map(|(id, filters)| Step::Unsubscribe { id, filters }),
        2 => Just(Step::Ping),
        8 => (0usize..8, prop::bool::weighted(0.8)).prop_map(
            |(which, good)| Step::Answer { which, good }),
        6 => Just(Step::Serve),
        6 => (0u8..3).prop_map(|qos| Step::Deliver { qos }),
        1 => (0u64..9_000).prop_map(|ms| Step::Pass { ms }),
    ]
}

/// Most programs end somewhere; a few go on to the last step.
fn last() -> impl Strategy<Value = Option<Step>> {
    let nonsense: [&[u8]; 4] = [
        b"\0\0",
        b"\x60\x02\0\x01",
        b"\x36\x05\0\x01t\0\x01",
        b"\xff\xff",
    ];
    prop_oneof![
        Just(None),
        Just(Some(Step::Disconnect)),
        Just(Some(Step::ConnectAgain)),
        Just(Some(Step::Pass { ms: 20_000 })),
        prop::sample::select(nonsense.to_vec()).prop_map(|it| Some(Step::Nonsense(it))),
    ]
}

/// What the client has said, as far as the model cares.
#[derive(Debug, Clone)]
enum Said {
    Publish {
        qos: u8,
        id: u16,
        /// It is refused as soon as it is read.
        refused: bool,
    },
    Acknowledge {
        kind: u8,
        id: u16,
        refuses: bool,
    },
    Subscribe(u16, usize),
    Unsubscribe(u16, usize),
    Ping,
    Disconnect,
    Wrong,
}

/// Where a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delivery {
    Once,
    Twice,
    /// The client has it; the driver writes that down.
    Noting,
    Released,
}

/// How it has to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Course {
    Goes,
    /// It may have ended: what was said has no place, and MQTT leaves open what comes of it.
    MayEnd,
    MustEnd,
}

struct Model {
    v5: bool,
    /// PUBLISHes in the order in which they came: QoS, packet id, and whether it was taken once that is known.
    open: VecDeque<(u8, u16, Option<bool>)>,
    received: BTreeSet<u16>,
    releasing: BTreeSet<u16>,
    deliveries: BTreeMap<u16, Delivery>,
    asked: Option<Said>,
    /// What is due, by type of packet: (first byte's upper half, packet id).
    due: Vec<(u8, u16)>,
    /// PUBRECs that are due once more: those wait for nothing.
    repeats: Vec<u16>,
    pings: usize,
    silent_ms: u64,
    /// It was not read for a while since it was heard last.
    stood: bool,
    goodbye: bool,
    course: Course,
}

impl Model {
    fn new(v5: bool) -> Self {
        Self {
            v5,
            open: VecDeque::new(),
            received: BTreeSet::new(),
            releasing: BTreeSet::new(),
            deliveries: BTreeMap::new(),
            asked: None,
            due: Vec::new(),
            repeats: Vec::new(),
            pings: 0,
            silent_ms: 0,
            stood: false,
            goodbye: false,
            course: Course::Goes,
        }
    }

    /// The session has taken a packet.
    fn hears(&mut self, said: Said) {
        (self.silent_ms, self.stood) = (0, false);
        match said {
            Said::Publish { qos, id, refused } => self.publish(qos, id, refused),
            Said::Acknowledge { kind, id, refuses } => self.acknowledge(kind, id, refuses),
            said @ (Said::Subscribe(..) | Said::Unsubscribe(..)) => {
                assert!(self.asked.is_none(), "read on before it was answered");
                self.asked = Some(said);
            }
            Said::Ping => self.pings += 1,
            Said::Disconnect => {
                self.goodbye = true;
                self.course = Course::MustEnd;
            }
            Said::Wrong => self.course = Course::MustEnd,
        }
    }

    fn publish(&mut self, qos: u8, id: u16, refused: bool) {
        let is_open = |it: &(u8, u16, _)| (it.0, it.1) == (2, id);
        if qos == 2 && self.received.contains(&id) {
            return self.repeats.push(id);
        }
        if qos == 2 && self.open.iter().any(is_open) {
            return;
        }
        self.open.push_back((qos, id, refused.then_some(false)));
        self.settle();
    }

    fn answered(&mut self, at: usize, good: bool) {
        self.open[at].2 = Some(good);
        self.settle();
    }

    /// MQTT-4.6.0-2 and its like: acknowledgements in the order of the PUBLISHes.
    fn settle(&mut self) {
        while let Some((qos, id, Some(taken))) = self.open.front().copied() {
            self.open.pop_front();
            match qos {
                0 => {}
                1 => self.due.push((PUBACK, id)),
                _ => {
                    // At version 5 a failure ends the exchange; 3.1.1 has no word for one.
                    if taken || !self.v5 {
                        self.received.insert(id);
                    }
                    self.due.push((PUBREC, id));
                }
            }
        }
    }

    fn acknowledge(&mut self, kind: u8, id: u16, refuses: bool) {
        if kind == PUBREL {
            if !self.received.contains(&id) {
                self.due.push((PUBCOMP, id));
            } else {
                self.releasing.insert(id);
            }
            return;
        }
        let before = self.deliveries.get(&id).copied();
        let after = match (before, kind) {
            (Some(Delivery::Once), PUBACK) | (Some(Delivery::Released), PUBCOMP) => None,
            (Some(Delivery::Twice), PUBREC) if refuses && self.v5 => None,
            (Some(Delivery::Twice), PUBREC) => Some(Delivery::Noting),
            _ => {
                self.course = Course::MayEnd;
                return;
            }
        };
        match after {
            Some(after) => drop(self.deliveries.insert(id, after)),
            None => drop(self.deliveries.remove(&id)),
        }
    }
}

/// The session, its driver and the model.
struct Rig {
    session: Session,
    model: Model,
    v5: bool,
    now: Instant,
    input: BytesMut,
    /// What was said and not taken yet, with where it ends.
    said: VecDeque<(usize, Said)>,
    sent: usize,
    taken: usize,
    /// Open messages: the ticket of each that has one, in the order of the model's.
    tickets: Vec<(Ticket, bool)>,
    releases: Vec<u16>,
    notes: Vec<u16>,
    number: u64,
    wills: usize,
}

impl Rig {
    fn connected(v5: bool, chunk: usize) -> Self {
        let now = Instant::now() + Duration::from_secs(60);
        let options = SessionOptions {
            inflight_max: 9,
            ..options()
        };
        let mut rig = Self {
            session: Session::new(Arc::new(options), "auto-1".to_owned(), now),
            model: Model::new(v5),
            v5,
            now,
            input: BytesMut::new(),
            said: VecDeque::new(),
            sent: 0,
            taken: 0,
            tickets: Vec::new(),
            releases: Vec::new(),
            notes: Vec::new(),
            number: 0,
            wills: 0,
        };
        for part in connect_bytes(v5).chunks(chunk) {
            assert!(
                rig.session.output().is_empty(),
                "nothing before the CONNECT"
            );
            rig.session.receive(now, &mut BytesMut::from(part));
        }
        assert!(matches!(
            rig.session.next_action(),
            Some(Action::Authenticate(_))
        ));
        rig.session.authenticated(Ok(crate::auth::anybody()));
        assert!(matches!(
            rig.session.next_action(),
            Some(Action::Open { .. })
        ));
        rig.session.opened(now, false);
        let heard = heard(&rig.session.output().split());
        assert!(
            matches!(heard[..], [(2, 0, ref body)] if body[..2] == [0, 0]),
            "one CONNACK"
        );
        rig
    }

    fn say(&mut self, bytes: &[u8], said: Said, chunk: usize) {
        self.sent += bytes.len();
        self.said.push_back((self.sent, said));
        for part in bytes.chunks(chunk) {
            self.input.extend_from_slice(part);
            self.turn();
        }
    }

    /// Lets the session read, does what it asks for, and compares.
    fn turn(&mut self) {
        loop {
            let before = self.input.len();
            self.session.receive(self.now, &mut self.input);
            self.taken += before - self.input.len();
            while self.said.front().is_some_and(|(end, _)| *end <= self.taken)
                && let Some((_, said)) = self.said.pop_front()
            {
                if self.model.course != Course::MustEnd {
                    self.model.hears(said);
                }
            }
            // What is wrong from its first byte on is not taken whole.
            if self.session.ended().is_some()
                && let Some((_, Said::Wrong)) = self.said.front()
            {
                self.model.course = Course::MustEnd;
            }
            self.act();
            if self.input.len() == before {
                break;
            }
        }
        self.compare();
    }

    fn act(&mut self) {
        while let Some(action) = self.session.next_action() {
            match action {
                Action::Submit { ticket, .. } => self.tickets.push((ticket, true)),
                Action::Post { ticket, .. } => self.tickets.push((ticket, false)),
                Action::Report(_) => self.session.reported(),
                Action::Release(id) => self.releases.push(id),
                Action::Received { packet_id, .. } => self.notes.push(packet_id),
                Action::Will(_) => self.wills += 1,
                Action::Subscribe {
                    packet_id,
                    requests,
                } => {
                    let asked = &self.model.asked;
                    assert!(
                        matches!(asked, Some(Said::Subscribe(id, n))
                        if (*id, *n) == (packet_id, requests.len())),
                        "{asked:?}"
                    );
                }
                Action::Unsubscribe { packet_id, filters } => {
                    let asked = &self.model.asked;
                    assert!(
                        matches!(asked, Some(Said::Unsubscribe(id, n))
                        if (*id, *n) == (packet_id, filters.len())),
                        "{asked:?}"
                    );
                }
                Action::Acked(_) | Action::Arrived(_) | Action::Completed(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// What went out is what was due, neither more nor less, and the end came where it had to.
    fn compare(&mut self) {
        let ended = self.session.ended().is_some();
        let due = std::mem::take(&mut self.model.due);
        let pings = std::mem::take(&mut self.model.pings);
        let repeats = std::mem::take(&mut self.model.repeats);
        let output = self.session.output().split();
        let mut acks = Vec::new();
        let mut pongs = 0;
        for (kind, _, body) in heard(&output) {
            match kind {
                PUBACK..=PUBCOMP => acks.push((kind, id_of(&body))),
                13 => pongs += 1,
                14 => assert!(
                    ended && self.v5,
                    "a DISCONNECT is the end, and of version 5"
                ),
                other => panic!("a packet of type {other} was not due"),
            }
        }
        match self.model.course {
            Course::Goes => assert!(!ended, "it ended: {:?}", self.session.ended()),
            Course::MayEnd => {}
            Course::MustEnd => assert!(ended, "it goes on"),
        }
        if !ended {
            self.model.course = Course::Goes;
            assert_eq!(pongs, pings);
            for id in repeats {
                let at = acks.iter().rposition(|it| *it == (PUBREC, id));
                acks.remove(at.expect("a PUBREC once more"));
            }
            // Of each exchange in its order; how they mix is the session's.
            for kind in PUBACK..=PUBCOMP {
                let of = |all: &[(u8, u16)]| -> Vec<_> {
                    let its = all.iter().filter(|it| it.0 == kind);
                    its.copied().collect()
                };
                assert_eq!(of(&acks), of(&due));
            }
            assert!(self.model.open.len() <= 4, "more are open than it takes");
        }
    }

    fn step(&mut self, step: &Step, chunk: usize) {
        match *step {
            Step::Publish {
                qos,
                id,
                event,
                valid,
            } => {
                // At 3.1.1 a refusal is told before the exchange goes on, by the driver.
                let valid = valid || (qos == 2 && !self.v5);
                let refused = event && !valid;
                let bytes = publish_bytes(self.v5, qos, id, event, valid);
                self.say(&bytes, Said::Publish { qos, id, refused }, chunk);
            }
            Step::Acknowledge { kind, id } => self.acknowledge(kind, id, false, chunk),
            Step::Proceed { which, refuses } => {
                let due = self
                    .model
                    .deliveries
                    .iter()
                    .filter_map(|(id, it)| match it {
                        Delivery::Once => Some((PUBACK, *id)),
                        Delivery::Twice => Some((PUBREC, *id)),
                        Delivery::Released => Some((PUBCOMP, *id)),
                        Delivery::Noting => None,
                    });
                if let Some((kind, id)) = due.cycle().nth(which).filter(|_| self.reads_all()) {
                    self.acknowledge(kind, id, refuses && kind == PUBREC, chunk);
                }
            }
            Step::Subscribe { id, filters } => {
                let bytes = filters_bytes(self.v5, 0x82, id, filters);
                self.say(&bytes, Said::Subscribe(id, filters), chunk);
            }
            Step::Unsubscribe { id, filters } => {
                let bytes = filters_bytes(self.v5, 0xa2, id, filters);
                self.say(&bytes, Said::Unsubscribe(id, filters), chunk);
            }
            Step::Ping => self.say(&[0xc0, 0], Said::Ping, chunk),
            Step::Disconnect => self.say(&[0xe0, 0], Said::Disconnect, chunk),
            Step::ConnectAgain => self.say(&connect_bytes(self.v5), Said::Wrong, chunk),
            Step::Nonsense(bytes) => self.say(bytes, Said::Wrong, chunk),
            Step::Answer { which, good } => self.answer(which, good),
            Step::Serve => self.serve(),
            Step::Deliver { qos } => self.deliver(qos),
            Step::Pass { ms } => self.pass(ms),
        }
    }

    fn reads_all(&self) -> bool {
        self.input.is_empty()
    }

    fn acknowledge(&mut self, kind: u8, id: u16, refuses: bool, chunk: usize) {
        // A PUBREL that comes together with its PUBLISH knows nothing of a PUBREC, and MQTT nothing of it.
        if kind == PUBREL && !(self.reads_all() && self.session.wants_input()) {
            return;
        }
        let first = (kind << 4) | if kind == PUBREL { 2 } else { 0 };
        let [high, low] = id.to_be_bytes();
        let bytes = match refuses && self.v5 {
            true => vec![first, 3, high, low, 0x80],
            false => vec![first, 2, high, low],
        };
        let refuses = refuses && self.v5;
        self.say(&bytes, Said::Acknowledge { kind, id, refuses }, chunk);
    }

    fn answer(&mut self, which: usize, good: bool) {
        if self.tickets.is_empty() {
            return;
        }
        let which = which % self.tickets.len();
        let (ticket, event) = self.tickets.remove(which);
        // The tickets are those of the model's that are not answered, in their order.
        let waiting = self.model.open.iter().enumerate();
        let mut waiting = waiting.filter(|(_, (_, _, taken))| taken.is_none());
        let Some((at, _)) = waiting.nth(which) else {
            panic!("an action for what nobody said")
        };
        let good = good || (event && !self.v5);
        self.model.answered(at, good);
        let answer = match (event, good) {
            (true, true) => saved(5),
            (true, false) => {
                let reason = "no".to_owned();
                Answer::Event(Outcome::Refused(Refused::new(
                    RefusalName::Overflow,
                    reason,
                )))
            }
            (false, true) => Answer::Taken { matched: false },
            (false, false) => Answer::Full("no room"),
        };
        self.session.answer(ticket, answer);
        self.act();
        self.turn();
    }

    /// The driver does one of the other things that it owes.
    fn serve(&mut self) {
        if let Some(id) = self.releases.pop() {
            self.model.received.remove(&id);
            assert!(self.model.releasing.remove(&id), "nobody is done with {id}");
            self.model.due.push((PUBCOMP, id));
            self.session.released(id);
        } else if let Some(id) = self.notes.pop() {
            let before = self.model.deliveries.insert(id, Delivery::Released);
            assert_eq!(before, Some(Delivery::Noting));
            self.model.due.push((PUBREL, id));
            self.session.release(id);
        } else if let Some(asked) = self.model.asked.take() {
            return self.grant(&asked);
        }
        self.turn();
    }

    fn grant(&mut self, asked: &Said) {
        let (kind, id, codes) = match *asked {
            Said::Subscribe(id, n) => {
                let verdicts = vec![Verdict::Granted { qos: 1 }; n];
                self.session.subscribed(id, &verdicts);
                (9, id, n)
            }
            Said::Unsubscribe(id, n) => {
                self.session.unsubscribed(id, &vec![true; n]);
                (11, id, if self.v5 { n } else { 0 })
            }
            ref other => panic!("{other:?}"),
        };
        if self.session.ended().is_none() {
            let output = self.session.output().split();
            let [(heard, _, body)] = &heard(&output)[..] else {
                panic!("one answer")
            };
            let head = if self.v5 { 3 } else { 2 };
            assert_eq!((*heard, id_of(body), body.len()), (kind, id, head + codes));
        }
        self.turn();
    }

    fn deliver(&mut self, qos: u8) {
        let open = self.model.deliveries.len();
        if self.session.ended().is_some() {
            return;
        }
        let most = if self.v5 { RECEIVE_MAXIMUM } else { 9 };
        assert_eq!(self.session.has_room(), open < most);
        if qos > 0 && open >= most {
            return;
        }
        self.number += 1;
        let sent = self.session.publish(Message {
            topic: "news",
            payload: b"x",
            qos,
            packet_id: None,
            retain: false,
            again: false,
            identifiers: &[],
            properties: &[],
            expiry_s: None,
            cargo: Some(Cargo::Ordinary(Slip::Queued(QueueNumber(self.number)))),
        });
        let id = sent.unwrap();
        let output = self.session.output().split();
        let [(3, flags, body)] = &heard(&output)[..] else {
            panic!("one PUBLISH")
        };
        assert_eq!(*flags, qos << 1);
        assert_eq!(id.is_some(), qos > 0);
        if let Some(id) = id {
            assert_eq!((id_of(&body[6..]), id > 0), (id, true));
            let delivery = if qos == 1 {
                Delivery::Once
            } else {
                Delivery::Twice
            };
            let before = self.model.deliveries.insert(id, delivery);
            assert_eq!(before, None, "a packet id is given twice");
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
        self.model.silent_ms += ms;
        self.model.stood |= !self.session.wants_input();
        let was_over = self.session.ended().is_some();
        self.session.tick(self.now);
        if !was_over && self.model.course == Course::Goes {
            let is_late = self.model.silent_ms >= SILENCE_MS;
            self.model.course = match (is_late, self.model.stood) {
                (false, _) => Course::Goes,
                (true, true) => Course::MayEnd,
                (true, false) => Course::MustEnd,
            };
        }
        self.act();
        self.compare();
    }

    /// Whatever is done after the end, nothing comes any more, and the will came once, or not at all.
    fn is_over(&mut self, rest: &[Step], chunk: usize) {
        assert_eq!(self.wills, usize::from(!self.model.goodbye), "wills");
        self.model.course = Course::MustEnd;
        self.tickets.clear();
        for step in rest {
            if !matches!(
                step,
                Step::Answer { .. } | Step::Serve | Step::Deliver { .. }
            ) {
                self.step(step, chunk);
            }
            assert!(self.session.output().is_empty());
            assert!(self.session.next_action().is_none());
        }
        assert_eq!(self.wills, usize::from(!self.model.goodbye), "wills");
    }
}

fn string(text: &[u8]) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap();
    [&length.to_be_bytes()[..], text].concat()
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    assert!(body.len() < 16_384);
    let mut bytes = vec![first];
    if body.len() > 127 {
        bytes.extend([(body.len() % 128) as u8 | 0x80, (body.len() / 128) as u8]);
    } else {
        bytes.push(body.len() as u8);
    }
    [&bytes[..], body].concat()
}

/// Clean, with a will, a Keep Alive of 10 s and, at version 5, a Receive Maximum.
fn connect_bytes(v5: bool) -> Vec<u8> {
    let mut body = string(b"MQTT");
    body.extend([if v5 { 5 } else { 4 }, 0b0000_0110, 0, 10]);
    if v5 {
        body.extend([3, 0x21, 0, RECEIVE_MAXIMUM as u8]);
    }
    body.extend(string(DEVICE.as_bytes()));
    body.extend(v5.then_some(0));
    body.extend(string(b"last/words"));
    body.extend(string(b"gone"));
    packet(0x10, &body)
}

fn publish_bytes(v5: bool, qos: u8, id: u16, event_topic: bool, valid: bool) -> Vec<u8> {
    let topic: &[u8] = if event_topic {
        b"sync/a/events"
    } else {
        b"home/lamp"
    };
    let mut body = string(topic);
    if qos > 0 {
        body.extend(id.to_be_bytes());
    }
    body.extend(v5.then_some(0));
    match valid {
        true => body.extend(event(None)),
        false => body.extend(b"no event"),
    }
    packet(0x30 | (qos << 1), &body)
}

fn filters_bytes(v5: bool, first: u8, id: u16, filters: usize) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    body.extend(v5.then_some(0));
    for n in 0..filters {
        body.extend(string(format!("home/{n}").as_bytes()));
        body.extend((first == 0x82).then_some(1));
    }
    packet(first, &body)
}

/// Whole packets: type, flags, body.
fn heard(mut bytes: &[u8]) -> Vec<(u8, u8, Vec<u8>)> {
    let mut packets = Vec::new();
    while let [first, rest @ ..] = bytes {
        let ends = rest.iter().position(|it| *it < 0x80).unwrap();
        let length = rest[..=ends]
            .iter()
            .rev()
            .fold(0, |sum, it| sum << 7 | usize::from(it & 0x7f));
        let body = &rest[ends + 1..][..length];
        packets.push((first >> 4, first & 0xf, body.to_vec()));
        bytes = &rest[ends + 1 + length..];
    }
    packets
}

fn id_of(body: &[u8]) -> u16 {
    u16::from_be_bytes([body[0], body[1]])
}

fn cases() -> ProptestConfig {
    let mut config = ProptestConfig::default();
    config.cases = config.cases.max(CASES);
    config
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn mqtt_a_session_owes_what_a_naive_model_says_whatever_comes(
        v5 in any::<bool>(),
        steps in prop::collection::vec(step(), 0..60),
        last in last(),
        chunk in prop::sample::select(vec![1usize, 2, 7, 1_000]),
    ) {
        let mut rig = Rig::connected(v5, chunk);
        let steps: Vec<_> = steps.into_iter().chain(last).collect();
        for (at, step) in steps.iter().enumerate() {
            rig.step(step, chunk);
            if rig.session.ended().is_some() {
                return Ok(rig.is_over(&steps[at + 1..], chunk));
            }
        }
    }
}
