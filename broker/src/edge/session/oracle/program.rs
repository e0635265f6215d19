//! Bytes read as a program: any bytes are one, and what is missing is 0.

mod header;

use header::header;

pub(super) use header::{Before, Fate, Header, Will};

/// One thing that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Publish(Said),
    /// An acknowledgement of an id that may or may not be open.
    Acknowledge {
        kind: u8,
        id: u16,
        code: u8,
    },
    /// The one that is due of a delivery that is open.
    Proceed {
        which: u8,
        code: u8,
    },
    Subscribe {
        id: u16,
        filters: Vec<u8>,
    },
    Unsubscribe {
        id: u16,
        filters: u8,
    },
    Ping,
    /// A fresh token by AUTH, or an AUTH that has no place.
    Auth {
        shape: u8,
    },
    Disconnect {
        shape: u8,
    },
    /// What no client may say.
    Wrong(u8),
    /// The next packets of the client come together.
    Cork(u8),
    /// The driver: an answer to one of the open messages.
    Answer {
        which: u8,
        how: u8,
    },
    /// The driver: what else it owes.
    Serve {
        which: u8,
        how: u8,
    },
    Deliver {
        shape: u8,
        more: u8,
    },
    Pass {
        ms: u64,
    },
    /// What the client may do changes.
    Review {
        narrow: bool,
    },
    /// The driver ends it.
    End(u8),
    Drain,
}

/// A PUBLISH of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) qos: u8,
    pub(super) id: u16,
    pub(super) topic: u8,
    pub(super) again: bool,
    pub(super) retain: bool,
    pub(super) alias: Alias,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alias {
    None,
    Set(u16),
    Use(u16),
}

/// Steps of a program at most.
const STEPS_MAX: usize = 120;

/// How often each kind of step comes, of 256: the ones that end a session are few, or no program would go far.
const WEIGHTS: [(u8, u16); 17] = [
    (0, 50),
    (1, 15),
    (2, 1),
    (3, 40),
    (4, 10),
    (5, 8),
    (6, 9),
    (7, 2),
    (8, 1),
    (9, 1),
    (10, 8),
    (11, 42),
    (12, 34),
    (13, 28),
    (14, 4),
    (15, 1),
    (16, 2),
];

const PUBREL: u8 = 6;

struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn of<T: Copy, const N: usize>(&mut self, these: [T; N]) -> T {
        these[usize::from(self.next()) % N]
    }

    /// Mostly one of four, so that they meet; a few others.
    fn id(&mut self) -> u16 {
        let byte = u16::from(self.next());
        if byte < 240 { 1 + byte % 4 } else { byte - 235 }
    }
}

/// The program that these bytes are.
pub(super) fn program(bytes: &[u8]) -> (Header, Vec<Step>) {
    let mut bytes = Bytes(bytes);
    let header = header(&mut bytes);
    let last = last(bytes.next());
    let mut steps = Vec::new();
    while !bytes.0.is_empty() && steps.len() < STEPS_MAX {
        steps.push(step(&mut bytes));
    }
    steps.extend(last);
    (header, steps)
}

/// Most programs end somewhere; a few go on to the last step.
fn last(byte: u8) -> Option<Step> {
    match byte % 8 {
        0 | 1 => None,
        2 => Some(Step::Disconnect { shape: byte >> 3 }),
        3 => Some(Step::Pass { ms: 400_000 }),
        4 => Some(Step::End(byte >> 3)),
        5 => Some(Step::Drain),
        _ => Some(Step::Wrong(byte >> 3)),
    }
}

fn step(bytes: &mut Bytes<'_>) -> Step {
    let mut left = u16::from(bytes.next());
    let kind = WEIGHTS.iter().find(|(_, weight)| {
        let is_it = left < *weight;
        left = left.saturating_sub(*weight);
        is_it
    });
    match kind.map_or(6, |(kind, _)| *kind) {
        0 => Step::Publish(said(bytes)),
        1 => Step::Acknowledge {
            kind: PUBREL,
            id: bytes.id(),
            code: 0,
        },
        2 => acknowledgement(bytes),
        3 => Step::Proceed {
            which: bytes.next(),
            code: bytes.of([0, 0, 0, 0, 0, 0x10, 0x80, 0x97]),
        },
        4 => Step::Subscribe {
            id: bytes.id(),
            filters: filters(bytes),
        },
        5 => Step::Unsubscribe {
            id: bytes.id(),
            filters: 1 + bytes.next() % 3,
        },
        7 => Step::Auth {
            shape: bytes.next(),
        },
        8 => Step::Disconnect {
            shape: bytes.next(),
        },
        9 => Step::Wrong(bytes.next()),
        10 => Step::Cork(1 + bytes.next() % 4),
        11 => Step::Answer {
            which: bytes.next(),
            how: bytes.next(),
        },
        12 => Step::Serve {
            which: bytes.next(),
            how: bytes.next(),
        },
        13 => Step::Deliver {
            shape: bytes.next(),
            more: bytes.next(),
        },
        14 => Step::Pass {
            ms: u64::from(bytes.next()) * 36,
        },
        15 => match bytes.next() {
            byte @ 0..128 => Step::End(byte),
            _ => Step::Drain,
        },
        16 => Step::Review {
            narrow: bytes.next() < 100,
        },
        _ => Step::Ping,
    }
}

/// Any, with a code that its type may have.
fn acknowledgement(bytes: &mut Bytes<'_>) -> Step {
    let (kind, id) = (bytes.of([4, 5, PUBREL, 7]), bytes.id());
    let code = match kind < PUBREL {
        true => bytes.of([0, 0, 0x80, 0x97]),
        false => bytes.of([0, 0, 0, 0x92]),
    };
    Step::Acknowledge { kind, id, code }
}

fn filters(bytes: &mut Bytes<'_>) -> Vec<u8> {
    let many = 1 + bytes.next() % 3;
    (0..many).map(|_| bytes.next()).collect()
}

fn said(bytes: &mut Bytes<'_>) -> Said {
    let shape = bytes.next();
    let topics = [0, 0, 0, 0, 2, 2, 2, 2, 2, 1, 3, 4, 5, 6, 7, 8];
    let id = bytes.id();
    let alias = match bytes.next() {
        byte @ 200..220 => Alias::Set(1 + u16::from(byte) % 2),
        byte @ 220.. => Alias::Use(1 + u16::from(byte) % 2),
        _ => Alias::None,
    };
    Said {
        qos: [0, 1, 2, 1][usize::from(shape & 3)],
        id,
        topic: topics[usize::from(shape >> 2 & 15)],
        again: shape & 0x40 != 0,
        retain: shape & 0x80 != 0,
        alias,
    }
}
