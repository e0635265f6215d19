//! What the client says in bytes, and what it hears: written and read here by hand, so that no library is asked about itself.

use syncline_protocol::{Intent, Value};

use super::program::{Alias, Header, Said};

pub(super) const CONNACK: u8 = 2;
pub(super) const PUBLISH: u8 = 3;
pub(super) const PUBACK: u8 = 4;
pub(super) const PUBREC: u8 = 5;
pub(super) const PUBREL: u8 = 6;
pub(super) const PUBCOMP: u8 = 7;
pub(super) const SUBACK: u8 = 9;
pub(super) const UNSUBACK: u8 = 11;
pub(super) const PINGRESP: u8 = 13;
pub(super) const DISCONNECT: u8 = 14;
pub(super) const AUTH: u8 = 15;

pub(super) const DEVICE: &str = "6a3b0c52-8d64-4d5e-9f39-2f1f2a3b4c5d";

/// A packet as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) body: Vec<u8>,
    /// Of the whole packet.
    pub(super) size: usize,
}

pub(super) fn string(text: &[u8]) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("texts of the oracle are short");
    [&length.to_be_bytes()[..], text].concat()
}

pub(super) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    [&[first][..], &length(body.len()), body].concat()
}

/// A Variable Byte Integer.
pub(super) fn length(mut left: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = (left % 128) as u8;
        left /= 128;
        bytes.push(if left > 0 { byte | 0x80 } else { byte });
        if left == 0 {
            return bytes;
        }
    }
}

/// With its length before it, at version 5 alone.
pub(super) fn properties(v5: bool, properties: &[u8]) -> Vec<u8> {
    match v5 {
        true => [&length(properties.len())[..], properties].concat(),
        false => Vec::new(),
    }
}

pub(super) fn connect(header: &Header, client_id: &str, method: Option<&[u8]>) -> Vec<u8> {
    let v5 = header.v5;
    let mut flags = if header.clean { 0b10 } else { 0 };
    if let Some(will) = header.will {
        // An ordinary one is retained and at QoS 1.
        flags |= if will.event { 0b100 } else { 0b10_1100 };
    }
    let mut body = string(b"MQTT");
    body.extend([if v5 { 5 } else { 4 }, flags]);
    body.extend(header.keep_alive_s.to_be_bytes());
    body.extend(properties(v5, &connect_properties(header, method)));
    body.extend(string(client_id.as_bytes()));
    if let Some(will) = header.will {
        let delay = [&[0x18][..], &will.delay_s.to_be_bytes()].concat();
        body.extend(properties(v5, if will.delay_s > 0 { &delay } else { &[] }));
        match will.event {
            true => body.extend([string(b"sync/a/events"), string(&event())].concat()),
            false => body.extend([string(b"last/words"), string(b"gone")].concat()),
        }
    }
    packet(0x10, &body)
}

fn connect_properties(header: &Header, method: Option<&[u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(seconds) = header.expiry_s {
        bytes.extend([&[0x11][..], &seconds.to_be_bytes()].concat());
    }
    if let Some(most) = header.receive_maximum {
        bytes.extend([&[0x21][..], &most.to_be_bytes()].concat());
    }
    if let Some(most) = header.packet_bytes_max {
        bytes.extend([&[0x27][..], &most.to_be_bytes()].concat());
    }
    if header.topic_alias_max > 0 {
        bytes.extend([&[0x22][..], &header.topic_alias_max.to_be_bytes()].concat());
    }
    if header.quiet {
        bytes.extend([0x17, 0]);
    }
    if let Some(method) = method {
        bytes.extend([&[0x15][..], &string(method), &[0x16], &string(b"a token")].concat());
    }
    bytes
}

pub(super) fn event() -> Vec<u8> {
    let name = "star_album".parse().expect("a type's name");
    Intent::new(name, Value::Nil).encode()
}

/// The topics of a client's PUBLISHes, by their number in a program.
pub(super) const TOPICS: [&str; 9] = [
    "sync/a/events",
    "sync/a/events",
    "home/lamp",
    "sync/a/state",
    "sync/b/events",
    "sync/a/events",
    "$syncline/token",
    "sync//events",
    "$other/events",
];
pub(super) const NO_EVENT: u8 = 1;
pub(super) const ORDINARY: u8 = 2;
pub(super) const TOO_LARGE: u8 = 5;
pub(super) const TOKEN: u8 = 6;

pub(super) fn publish(v5: bool, said: &Said) -> Vec<u8> {
    let topic = TOPICS[usize::from(said.topic)];
    let mut body = match said.alias {
        Alias::Use(_) if v5 => string(b""),
        _ => string(topic.as_bytes()),
    };
    if said.qos > 0 {
        body.extend(said.id.to_be_bytes());
    }
    let alias = match said.alias {
        Alias::Set(alias) | Alias::Use(alias) => [&[0x23][..], &alias.to_be_bytes()].concat(),
        Alias::None => Vec::new(),
    };
    body.extend(properties(v5, &alias));
    body.extend(match said.topic {
        NO_EVENT => b"no event".to_vec(),
        ORDINARY => b"on".to_vec(),
        TOO_LARGE => vec![0; super::EVENT_BYTES_MAX + 1],
        TOKEN => b"a fresh token".to_vec(),
        _ => event(),
    });
    let again = if said.again && said.qos > 0 { 8 } else { 0 };
    packet(
        0x30 | again | (said.qos << 1) | u8::from(said.retain),
        &body,
    )
}

/// An acknowledgement; codes are for version 5, where one of success may be left out.
pub(super) fn acknowledgement(v5: bool, kind: u8, id: u16, code: u8) -> Vec<u8> {
    let first = (kind << 4) | if kind == PUBREL { 2 } else { 0 };
    let [high, low] = id.to_be_bytes();
    match (v5, code) {
        (true, 1..) => packet(first, &[high, low, code]),
        _ => packet(first, &[high, low]),
    }
}

/// The filters of SUBSCRIBEs, by their number in a program: whether one is in order, and for whom.
pub(super) const FILTERS: [&[u8]; 5] = [
    b"home/lamp",
    b"home/#/lamp",
    b"sync/a/events",
    b"a+b",
    b"home/#",
];

pub(super) fn subscribe(v5: bool, id: u16, filters: &[u8]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    body.extend(properties(v5, &[]));
    for filter in filters {
        body.extend(string(FILTERS[usize::from(*filter) % FILTERS.len()]));
        body.push((filter >> 4) % 3);
    }
    packet(0x82, &body)
}

pub(super) fn unsubscribe(v5: bool, id: u16, filters: u8) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    body.extend(properties(v5, &[]));
    for filter in &FILTERS[..usize::from(filters)] {
        body.extend(string(filter));
    }
    packet(0xa2, &body)
}

/// An AUTH that begins anew; `code`: 0x19 if it is one.
pub(super) fn auth(code: u8, method: &[u8], token: bool) -> Vec<u8> {
    let mut said = [&[0x15][..], &string(method)].concat();
    if token {
        said.extend([&[0x16][..], &string(b"a fresh token")].concat());
    }
    packet(0xf0, &[&[code][..], &properties(true, &said)].concat())
}

pub(super) fn disconnect(v5: bool, code: u8, expiry_s: Option<u32>) -> Vec<u8> {
    let expiry = expiry_s.map(|it| [&[0x11][..], &it.to_be_bytes()].concat());
    match (v5, expiry) {
        (false, _) => packet(0xe0, &[]),
        (true, None) if code == 0 => packet(0xe0, &[]),
        (true, expiry) => packet(
            0xe0,
            &[&[code][..], &properties(true, &expiry.unwrap_or_default())].concat(),
        ),
    }
}

/// What no client may say, and with which code version 5 is told.
pub(super) fn wrong(v5: bool, which: u8) -> (Vec<u8>, u8) {
    let of_5: [(&[u8], u8); 9] = [
        (b"\x30\x08\0\x01t\x03\x23\0\0x", 0x82),
        (b"\x30\x08\0\x01t\x03\x23\0\x03x", 0x94),
        (b"\x30\x06\0\0\x03\x23\0\x09", 0x94),
        (b"\x30\x06\0\x01t\x02\x0b\x01", 0x82),
        (b"\x30\x09\0\x01t\x04\x08\0\x01#x", 0x82),
        (b"\x82\x10\0\x01\0\0\x0a$share/g/t\x04", 0x82),
        (b"\xf0\0", 0x82),
        (b"\xf0\x02\x18\0", 0x82),
        (b"\xe0\x06\0\x05\x11\xff\xff\xff", 0x81),
    ];
    let of_both: [(&[u8], u8); 12] = [
        (b"\0\0", 0x81),
        (b"\x60\x02\0\x01", 0x81),
        (b"\x36\x06\0\x01t\0\x01\0", 0x81),
        (b"\xff\xff", 0x81),
        (b"\x20\x02\0\0", 0x82),
        (b"\x30\xff\x7f", 0x95),
        (b"\x30\xff\xff\xff\xff\x01", 0x81),
        (b"\x30\x06\0\x03a/+\0", 0x90),
        (b"\x32\x06\0\x01t\0\0\0", 0x82),
        (b"\x82\x07\0\0\0\0\x01t\0", 0x82),
        (b"\x30\x05\0\x02\xc3\x28\0", 0x81),
        (b"\xc0\x01\0", 0x81),
    ];
    let which = usize::from(which);
    let (bytes, code) = match v5 {
        true if which % 2 == 1 => of_5[which / 2 % of_5.len()],
        _ => of_both[which / 2 % of_both.len()],
    };
    (bytes.to_vec(), code)
}

/// Whole packets.
pub(super) fn heard(mut bytes: &[u8]) -> Vec<Packet> {
    let mut packets = Vec::new();
    while let [first, rest @ ..] = bytes {
        let (length, head) = varint(rest);
        let body = &rest[head..][..length];
        packets.push(Packet {
            kind: first >> 4,
            flags: first & 0xf,
            body: body.to_vec(),
            size: 1 + head + length,
        });
        bytes = &rest[head + length..];
    }
    packets
}

/// A Variable Byte Integer, and its bytes.
pub(super) fn varint(bytes: &[u8]) -> (usize, usize) {
    let ends = bytes.iter().position(|it| *it < 0x80);
    let ends = ends.expect("a length ends");
    let value = bytes[..=ends].iter().rev();
    let value = value.fold(0, |sum, it| sum << 7 | usize::from(it & 0x7f));
    (value, ends + 1)
}

pub(super) fn id_of(body: &[u8]) -> u16 {
    u16::from_be_bytes([body[0], body[1]])
}

/// Each property as its bytes.
pub(super) fn apart(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut properties = Vec::new();
    while let [name, rest @ ..] = bytes {
        let text = |at: usize| 2 + usize::from(u16::from_be_bytes([rest[at], rest[at + 1]]));
        let length = match name {
            0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2a => 1,
            0x13 | 0x21 | 0x22 | 0x23 => 2,
            0x02 | 0x11 | 0x18 | 0x27 => 4,
            0x0b => varint(rest).1,
            0x26 => text(0) + text(text(0)),
            _ => text(0),
        };
        properties.push(bytes[..=length].to_vec());
        bytes = &rest[length..];
    }
    properties.sort();
    properties
}
