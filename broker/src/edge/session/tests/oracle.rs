//! Random programs against a naive model of what a server owes: bytes of a client in any chunks, right ones and wrong ones,
//! answers of the driver at any time and in any order, and the clock.
//!
//! The model knows MQTT and nothing of the session: it encodes and decodes by itself, and is told which bytes the session has
//! taken and what its driver did. `PROPTEST_CASES` says how many programs; the test run does a few thousand.

mod model;
mod packets;

use super::*;

use crate::edge::ordinary::Slip;
use crate::store::sessions::QueueNumber;
use model::{Course, Delivery, Model, Said};
use packets::{connect_bytes, filters_bytes, heard, id_of, publish_bytes};

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
                // What is said twice before it is read once is one exchange or two, as the reader likes.
                let same = |(_, said): &(usize, Said)| matches!(said, Said::Publish { qos: 2, id: it, .. } if *it == id);
                if qos == 2 && self.said.iter().any(same) {
                    return;
                }
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
                rig.is_over(&steps[at + 1..], chunk);
                break;
            }
        }
    }
}
