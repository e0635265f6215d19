//! Random histories, kept short at random, beside a twin that keeps everything: the same decisions and the same states.

use std::sync::Arc;

use proptest::prelude::*;
use syncline_protocol::{Intent, State, StreamId};

use super::rig::{Rig, intent, numbered, options};
use crate::sequencer::Outcome;
use crate::store::contract::{at, device, stream};
use crate::store::memory::MemoryStore;

const DEVICES: usize = 4;

/// What happens next.
#[derive(Debug, Clone, Copy)]
enum Happening {
    /// A device says something.
    Says {
        device: usize,
        kind: usize,
        key: u8,
        neighbour: Option<u8>,
        behind: u64,
        clock: u64,
    },
    /// A device says its last thing again.
    Repeats {
        device: usize,
    },
    /// A device hears everything.
    Hears {
        device: usize,
    },
    Passes {
        ms: u64,
    },
    /// The compactor takes some steps.
    Compacts {
        steps: usize,
    },
    Raises {
        below_head: u64,
    },
    BeginsEpoch,
    Restarts,
}

fn any_happening() -> impl Strategy<Value = Happening> {
    let says = (
        0..DEVICES,
        0..TYPES.len(),
        0..4u8,
        any::<Option<u8>>(),
        0..12u64,
        0..3_000u64,
    );
    let says = says.prop_map(
        |(device, kind, key, neighbour, behind, clock)| Happening::Says {
            device,
            kind,
            key,
            neighbour: neighbour.map(|it| it % 4),
            behind,
            clock,
        },
    );
    prop_oneof![
        60 => says,
        3 => (0..DEVICES).prop_map(|device| Happening::Repeats { device }),
        10 => (0..DEVICES).prop_map(|device| Happening::Hears { device }),
        8 => (0..1_500u64).prop_map(|ms| Happening::Passes { ms }),
        20 => (1..30usize).prop_map(|steps| Happening::Compacts { steps }),
        4 => (0..20u64).prop_map(|below_head| Happening::Raises { below_head }),
        1 => Just(Happening::BeginsEpoch),
        1 => Just(Happening::Restarts),
    ]
}

const TYPES: [&str; 12] = [
    "last_add",
    "last_remove",
    "adds_add",
    "adds_remove",
    "removes_add",
    "removes_remove",
    "both_add",
    "both_remove",
    "count_add",
    "list_add",
    "list_remove",
    "unnamed",
];

/// A device as the protocol wants it: numbers its events, and says what it has seen.
struct Device {
    replica: State,
    last: Option<Intent>,
    number: u64,
}

struct Play {
    home: StreamId,
    compacted: Option<Rig>,
    twin: Rig,
    devices: Vec<Device>,
}

impl Play {
    fn new() -> Play {
        let rig = || Rig::new(Arc::new(MemoryStore::new(8)), options());
        let (compacted, twin) = (rig(), rig());
        let device = || Device {
            replica: compacted.replica(),
            last: None,
            number: 0,
        };
        Play {
            home: stream("home"),
            devices: (0..DEVICES).map(|_| device()).collect(),
            compacted: Some(compacted),
            twin,
        }
    }

    fn compacted(&mut self) -> &mut Rig {
        self.compacted.as_mut().unwrap()
    }

    fn happens(&mut self, happening: Happening) {
        match happening {
            Happening::Says {
                device,
                kind,
                key,
                neighbour,
                behind,
                clock,
            } => {
                let after = match neighbour {
                    Some(it) => format!(r#","after":"k{it}""#),
                    None => String::new(),
                };
                let data = format!(r#"{{"key":"k{key}","value":{clock}{after}}}"#);
                let intent = intent(TYPES[kind], &data);
                self.says(device, intent, behind, clock);
            }
            Happening::Repeats { device } => self.repeats(device),
            Happening::Hears { device } => self.hears(device),
            Happening::Passes { ms } => {
                self.compacted().pass(ms);
                self.twin.pass(ms);
            }
            Happening::Compacts { steps } => {
                for _ in 0..steps {
                    self.compacted().step();
                }
                self.follow();
            }
            Happening::Raises { below_head } => {
                let home = self.home.clone();
                let head = self.twin.head(&home).seq.get();
                let to = at(head.saturating_sub(below_head));
                self.compacted().raise(&home, to).unwrap();
                self.follow();
            }
            Happening::BeginsEpoch => {
                let home = self.home.clone();
                self.compacted().begin_epoch(&home);
                self.twin.begin_epoch(&home);
            }
            Happening::Restarts => self.compacted = self.compacted.take().map(Rig::restart),
        }
    }

    fn says(&mut self, author: usize, mut intent: Intent, behind: u64, clock: u64) {
        let who = &mut self.devices[author];
        let seen = who.replica.seq().get().saturating_sub(behind);
        intent.base_seq = Some(at(seen));
        intent.epoch = Some(who.replica.epoch());
        who.number += 1;
        let ms = 999_000 + clock;
        let intent = numbered(intent, device(author as u128), who.number, ms);
        who.last = Some(intent.clone());
        self.both(author, intent);
    }

    fn repeats(&mut self, author: usize) {
        if let Some(last) = self.devices[author].last.clone() {
            self.both(author, last);
        }
    }

    /// Both decide alike.
    fn both(&mut self, author: usize, intent: Intent) {
        let (home, author) = (self.home.clone(), device(author as u128));
        let one = self.compacted().say(&home, author, intent.clone());
        let other = self.twin.say(&home, author, intent);
        assert_eq!(told(&one), told(&other));
    }

    fn hears(&mut self, device: usize) {
        let home = self.home.clone();
        let mut replica = self.devices[device].replica.clone();
        self.compacted().bring_up(&home, &mut replica);
        assert_eq!(replica.digest(), self.twin.digest(&home));
        assert_eq!(replica.seq(), self.twin.head(&home).seq);
        self.devices[device].replica = replica;
    }

    /// The twin has the same horizon and keeps what is below it.
    fn follow(&mut self) {
        let home = self.home.clone();
        let horizon = self.compacted().head(&home).horizon;
        self.twin.raise(&home, horizon).unwrap();
        assert_eq!(self.twin.head(&home).horizon, horizon);
    }

    fn agree(&mut self) {
        let home = self.home.clone();
        let twin = self.twin.digest(&home);
        assert_eq!(self.compacted().digest(&home), twin);
        (0..DEVICES).for_each(|device| self.hears(device));
        self.compacted = self.compacted.take().map(Rig::restart);
        assert_eq!(self.compacted().digest(&home), twin);
    }
}

fn told(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Saved { seq, .. } => format!("saved {seq}"),
        Outcome::Repeat { seq, .. } => format!("repeat {seq}"),
        Outcome::Refused(refused) => format!("refused {}", refused.name),
        Outcome::Failed(name, cause) => format!("failed {name} {cause}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn g5_g7_horizon_4_histories_kept_short_decide_and_amount_to_what_whole_ones_do(
        happenings in prop::collection::vec(any_happening(), 1..160)
    ) {
        let mut play = Play::new();
        for happening in happenings {
            play.happens(happening);
        }
        play.agree();
    }
}
