//! The attacks. Each is a function from the number of a blow to the blow, so that every run strikes alike.

use super::packets::{
    acknowledgement, catalogue, connect, connect_with, publish, publish_with, subscribe,
    unsubscribe,
};
use super::{Blow, Manner};
use crate::dice::Dice;
use crate::wire::{Version, frame};

/// Subscribers that never read.
const DEAF: u64 = 1_000;

/// An attack of one kind.
#[derive(Debug, Clone, Copy)]
pub struct Attack {
    /// What the table calls it.
    pub name: &'static str,
    /// How many connections a second.
    pub(super) per_s: u32,
    /// Its n-th connection; none when there are no more.
    pub(super) blow: fn(u64) -> Option<Blow>,
}

/// Every attack.
pub const ATTACKS: [Attack; 18] = [
    attack("malformed: every type", 300, |n| Some(mangled(n))),
    attack("malformed: every truncation", 300, |n| Some(truncated(n))),
    attack("noise", 300, |n| Some(noise(n))),
    attack("half-open", 100, |_| {
        Some(Blow::mqtt(Vec::new()).in_manner(Manner::Stays))
    }),
    attack("slow-loris, TCP", 100, |n| Some(slow_connect(n))),
    attack("slow-loris, WebSocket", 100, |_| Some(slow_upgrade())),
    attack("CONNECT flood", 400, |n| Some(Blow::mqtt(greeting(n)))),
    attack("oversized everything", 60, |n| Some(oversized(n))),
    attack("invalid UTF-8", 300, |n| Some(not_text(n))),
    attack("first character not ASCII", 300, |n| Some(strange(n))),
    attack("$share tricks", 200, |n| Some(shared(n))),
    attack("deep filters", 100, |n| Some(deep(n))),
    attack("alias abuse", 200, |n| Some(aliased(n))),
    attack("takeover races", 300, |n| Some(takeover(n))),
    attack("acks of unknown ids", 200, |n| Some(unknown_ids(n))),
    attack("acks out of order", 200, |n| Some(out_of_order(n))),
    attack("1,000 never read", 1_000, never_read),
    attack(CHURN, 20, |n| Some(churn(n))),
];

/// The one that goes on for minutes.
const CHURN: &str = "subscribe/unsubscribe churn";

impl Attack {
    /// Whether it shows its harm only after a long time.
    #[must_use]
    pub fn is_churn(&self) -> bool {
        self.name == CHURN
    }
}

const fn attack(name: &'static str, per_s: u32, blow: fn(u64) -> Option<Blow>) -> Attack {
    Attack { name, per_s, blow }
}

fn version(n: u64) -> Version {
    Version::BOTH[n as usize % 2]
}

/// Of a client that was not here before.
fn greeting(n: u64) -> Vec<u8> {
    connect(version(n), format!("hostile-{n}").as_bytes())
}

/// After a CONNECT that is in order.
fn greeted(n: u64, more: impl IntoIterator<Item = Vec<u8>>) -> Blow {
    let packets = [greeting(n)].into_iter().chain(more);
    Blow::mqtt(packets.flatten().collect())
}

/// The n-th of these, over and over; each twice in a row, for both versions.
fn turn<T: Clone>(n: u64, all: &[T]) -> T {
    all[(n / 2) as usize % all.len()].clone()
}

/// A packet of any kind with wrong flags, or with one byte that is another.
fn mangled(n: u64) -> Blow {
    let mut dice = Dice::new(n);
    let mut packet = turn(n, &catalogue(version(n)));
    if n % 4 < 2 {
        packet[0] ^= 1 + dice.below(15) as u8;
    } else {
        let at = dice.below(packet.len() as u64) as usize;
        packet[at] = dice.next_u64() as u8;
    }
    greeted(n, [packet])
}

/// A packet that ends too early: by its own length, or because nothing more comes.
fn truncated(n: u64) -> Blow {
    let kinds = catalogue(version(n));
    let (packet, round) = (turn(n, &kinds), n as usize / 2 / kinds.len());
    // Every packet of the catalogue has a length of one byte.
    let at = round / 2 % packet.len();
    match round % 2 {
        0 => greeted(n, [packet[..at].to_vec()]),
        _ => greeted(n, [frame(packet[0], &packet[2..at.max(2)])]),
    }
}

fn noise(n: u64) -> Blow {
    let mut dice = Dice::new(n);
    let len = dice.below(2_000);
    let bytes: Vec<u8> = (0..len).map(|_| dice.next_u64() as u8).collect();
    match n % 4 {
        0 => Blow::http(&bytes),
        1 => Blow::mqtt(bytes),
        _ => greeted(n, [bytes]),
    }
}

fn slow_connect(n: u64) -> Blow {
    let long = connect(version(n), &[b'a'; 500]);
    Blow::mqtt(long).in_manner(Manner::ByteByByte)
}

fn slow_upgrade() -> Blow {
    let mut head = b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nX-Slow: ".to_vec();
    head.extend([b'x'; 500]);
    Blow::http(&head).in_manner(Manner::ByteByByte)
}

fn oversized(n: u64) -> Blow {
    const LONG: &[u8] = &[b'x'; 65_535];
    let v = version(n);
    let user: Vec<u8> = [&[0x26, 0xff, 0xff], LONG, &[0xff, 0xff], LONG].concat();
    match n / 2 % 9 {
        0 => Blow::mqtt(connect(v, LONG)),
        1 => Blow::mqtt(connect_with(v, 0b1100_0010, &[], &[b"big", LONG, LONG])),
        2 => Blow::mqtt(connect_with(v, 0b110, &[], &[b"big", LONG, LONG])),
        3 => greeted(n, [publish(v, 1, 1, LONG, b"x")]),
        4 => greeted(n, [publish(v, 1, 1, b"hostile/big", &vec![0; 3 << 20])]),
        5 => greeted(
            n,
            [publish_with(v, 0, 0, b"hostile/big", &user.repeat(4), b"x")],
        ),
        6 => greeted(n, [subscribe(v, 1, &[LONG; 20])]),
        7 => greeted(n, [vec![0x30, 0xff, 0xff, 0xff, 0x7f, 0, 1, b'a']]),
        _ => Blow::mqtt(vec![0x10, 0xff, 0xff, 0xff, 0x7f, 0, 4]),
    }
}

fn not_text(n: u64) -> Blow {
    const WRONG: [&[u8]; 5] = [
        b"\xff\xfe",
        b"a\0b",
        b"\xed\xa0\x80",
        b"\xc0\xaf",
        b"\xf4\x90\x80\x80",
    ];
    let v = version(n);
    let wrong = turn(n / 6, &WRONG);
    let user = [&[0x26, 0, wrong.len() as u8][..], wrong, &[0, 1, b'v']].concat();
    match n / 2 % 6 {
        0 => Blow::mqtt(connect(v, wrong)),
        1 => Blow::mqtt(connect_with(v, 0b110, &[], &[b"will", wrong, b"x"])),
        2 => greeted(n, [publish(v, 1, 1, wrong, b"x")]),
        3 => greeted(n, [subscribe(v, 1, &[wrong])]),
        4 => greeted(n, [unsubscribe(v, 1, &[wrong])]),
        _ => greeted(n, [publish_with(v, 1, 1, b"hostile/a", &user, b"x")]),
    }
}

fn strange(n: u64) -> Blow {
    const NAMES: [&str; 5] = [
        "\u{e9}mission",
        "\u{fc}/x",
        "\u{65e5}\u{672c}/x",
        "\u{1f3b5}",
        "\u{feff}sync/x",
    ];
    let (v, name) = (version(n), turn(n, &NAMES));
    let (shared, below) = (format!("$share/{name}/{name}"), format!("{name}/#"));
    let filters = [name.as_bytes(), shared.as_bytes(), below.as_bytes()];
    let will = connect_with(
        v,
        0b110,
        &[],
        &[format!("strange-{n}").as_bytes(), name.as_bytes(), b"x"],
    );
    let more = [
        subscribe(v, 1, &filters),
        publish(v, 1, 2, name.as_bytes(), b"x"),
        publish(v, 2, 3, name.as_bytes(), b"x"),
        unsubscribe(v, 4, &filters),
    ];
    Blow::mqtt([will].into_iter().chain(more).flatten().collect())
}

/// Filters that are none, and a member that leaves with something unacknowledged.
fn shared(n: u64) -> Blow {
    const FILTERS: [&[u8]; 10] = [
        b"$share",
        b"$share/",
        b"$share/g",
        b"$share//x",
        b"$share/g/",
        b"$share/g+/x",
        b"$share/#/x",
        b"$share/g/sync/#",
        b"$share/g/$share/g/x",
        b"$share/g/$SYS/#",
    ];
    let v = version(n);
    match n / 2 % 2 {
        0 => greeted(n, [subscribe(v, 1, &[turn(n / 2, &FILTERS)])]),
        _ => {
            let group = format!("$share/group-{}/hostile/shared", n % 7);
            let message = publish(v, 1, 2, b"hostile/shared", b"x");
            let leaving = [unsubscribe(v, 3, &[group.as_bytes()]), frame(0xe0, &[])].concat();
            greeted(
                n,
                [
                    subscribe(v, 1, &[group.as_bytes()]),
                    message.repeat(5),
                    leaving,
                ],
            )
        }
    }
}

fn deep(n: u64) -> Blow {
    let v = version(n);
    let filter = match n / 2 % 5 {
        0 => "/".repeat(60_000),
        1 => "+/".repeat(30_000) + "#",
        2 => format!("{}{n}", "a/".repeat(30_000)),
        3 => "+/".repeat(12) + &format!("{n}/#"),
        _ => format!("sync/{}#", "x/".repeat(20_000)),
    };
    let topic = "a/".repeat(30_000);
    let message = publish(v, 1, 2, topic.as_bytes(), b"x");
    greeted(n, [subscribe(v, 1, &[filter.as_bytes()]), message])
}

fn aliased(n: u64) -> Blow {
    let v = Version::V5;
    let hello = connect(v, format!("alias-{n}").as_bytes());
    let send = |topic: &[u8], alias: u16| {
        let [high, low] = alias.to_be_bytes();
        publish_with(v, 0, 0, topic, &[0x23, high, low], b"x")
    };
    let more = match n % 6 {
        0 => send(b"hostile/alias", 0),
        1 => send(b"hostile/alias", u16::MAX),
        2 => send(b"", 3),
        3 => [send(b"hostile/alias", 1), send(b"", 2)].concat(),
        4 => (0..500)
            .flat_map(|at| send(format!("hostile/{at}").as_bytes(), 1 + at % 16))
            .collect(),
        _ => publish_with(v, 0, 0, b"hostile/alias", &[0x23, 0, 1, 0x23, 0, 2], b"x"),
    };
    Blow::mqtt([hello, more].concat())
}

/// A few client ids that everybody wants, some with a will.
fn takeover(n: u64) -> Blow {
    let (v, id) = (version(n), format!("wanted-{}", n % 3));
    let texts: [&[u8]; 3] = [id.as_bytes(), b"hostile/will", b"gone"];
    let hello = match n % 5 {
        0 => connect_with(v, 0b110, &[], &texts),
        _ => connect(v, id.as_bytes()),
    };
    let more = subscribe(v, 1, &[b"hostile/taken/#"]);
    Blow::mqtt([hello, more].concat())
}

fn unknown_ids(n: u64) -> Blow {
    let mut dice = Dice::new(n);
    let kinds = [0x40, 0x50, 0x62, 0x70];
    let acks = (0..50).map(|_| {
        let kind = kinds[dice.below(4) as usize];
        acknowledgement(kind, dice.next_u64() as u16)
    });
    greeted(n, acks.collect::<Vec<_>>())
}

/// To its own messages, from the last one to the first, some of them twice.
fn out_of_order(n: u64) -> Blow {
    let v = version(n);
    let event = br#"{"event_type":"star_album","event_data":{"album_id":"hostile"}}"#;
    let (topic, payload): (String, &[u8]) = match n / 2 % 2 {
        0 => (format!("hostile/order/{n}"), b"x"),
        _ => ("sync/hostile/events".to_owned(), event),
    };
    let messages = (10..18).flat_map(|id| publish(v, 1, id, topic.as_bytes(), payload));
    let acks = (1..12).rev().flat_map(|id| {
        let first = if id % 3 == 0 { 0x50 } else { 0x40 };
        acknowledgement(first, id).repeat(2)
    });
    let subscribed = subscribe(v, 1, &[topic.as_bytes()]);
    greeted(n, [subscribed, messages.collect(), acks.collect()])
}

fn never_read(n: u64) -> Option<Blow> {
    let v = version(n);
    let topic = b"hostile/flood";
    if n < DEAF {
        let filters: [&[u8]; 1] = [topic];
        return Some(greeted(n, [subscribe(v, 1, &filters)]).in_manner(Manner::Stays));
    }
    let flood = publish(v, 0, 0, topic, &[b'x'; 1_024]).repeat(16);
    (n == DEAF).then(|| greeted(n, []).in_manner(Manner::Repeats(flood)))
}

fn churn(n: u64) -> Blow {
    let v = version(n);
    let turns = (0..200).flat_map(|at| {
        let filter = format!("hostile/churn/{}/{at}/+", n % 50);
        let filters: [&[u8]; 2] = [filter.as_bytes(), b"sync/hostile-churn/#"];
        [
            subscribe(v, 1 + at, &filters),
            unsubscribe(v, 1_001 + at, &filters),
        ]
        .concat()
    });
    greeted(n, [turns.collect()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attack_has_blows_and_repeats_itself() {
        for attack in &ATTACKS {
            for n in 0..60 {
                let blow = (attack.blow)(n);
                assert!(blow.is_some(), "{} {n}", attack.name);
                assert_eq!(blow, (attack.blow)(n), "{} {n}", attack.name);
            }
        }
    }

    #[test]
    fn truncations_end_every_packet_at_every_place() {
        let kinds = catalogue(Version::V5);
        let longest = kinds.iter().map(Vec::len).max().unwrap_or(0);
        let blows: std::collections::HashSet<_> = (0..4 * (kinds.len() * longest) as u64)
            .filter(|n| n % 2 == 1)
            .map(|n| truncated(n).bytes[greeting(n).len()..].to_vec())
            .collect();
        for packet in kinds {
            for keep in 1..packet.len() {
                assert!(blows.contains(&packet[..keep]), "{packet:?} up to {keep}");
            }
        }
    }
}
