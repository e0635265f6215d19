//! What the client says in bytes, and what it hears.

use super::super::{DEVICE, event};
use super::RECEIVE_MAXIMUM;

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
pub(super) fn connect_bytes(v5: bool) -> Vec<u8> {
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

pub(super) fn publish_bytes(v5: bool, qos: u8, id: u16, event_topic: bool, valid: bool) -> Vec<u8> {
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

pub(super) fn filters_bytes(v5: bool, first: u8, id: u16, filters: usize) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    body.extend(v5.then_some(0));
    for n in 0..filters {
        body.extend(string(format!("home/{n}").as_bytes()));
        body.extend((first == 0x82).then_some(1));
    }
    packet(first, &body)
}

/// Whole packets: type, flags, body.
pub(super) fn heard(mut bytes: &[u8]) -> Vec<(u8, u8, Vec<u8>)> {
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

pub(super) fn id_of(body: &[u8]) -> u16 {
    u16::from_be_bytes([body[0], body[1]])
}
