//! As much of MQTT as is needed to begin a conversation and to check what is answered.

use syncline_protocol::{Event, Notice, Presence, Snapshot, Topic};

/// 3.1.1, a session that is kept, the client id a UUID.
pub(crate) const CONNECT_3: &[u8] =
    b"\x10\x30\x00\x04MQTT\x04\x00\x00\x3c\x00\x246a3b0c52-8d64-4d5e-9f39-2f1f2a3b4c5d";

/// 5, a session that is kept for a minute, Receive Maximum 2, the client id a UUID.
pub(crate) const CONNECT_5: &[u8] = b"\x10\x39\x00\x04MQTT\x05\x00\x00\x3c\x08\x11\x00\x00\x00\x3c\x21\x00\x02\x00\x246a3b0c52-8d64-4d5e-9f39-2f1f2a3b4c5d";

/// 5, of somebody who is new.
pub(crate) const CONNECT_OBSERVER: &[u8] = b"\x10\x10\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x03eye";

/// The kinds that a server sends in a conversation without QoS 2.
const SENT: [u8; 7] = [2, 3, 4, 9, 11, 13, 14];

/// A packet with its fixed header.
pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut left = body.len();
    loop {
        let more = if left > 127 { 0x80 } else { 0 };
        packet.push((left % 128) as u8 | more);
        left /= 128;
        if left == 0 {
            break;
        }
    }
    packet.extend(body);
    packet
}

/// A SUBSCRIBE at QoS 1.
pub(crate) fn subscribe(v5: bool, id: u8, filter: &str) -> Vec<u8> {
    packet(0x82, &[&numbered(v5, id), &text(filter)[..], &[1]].concat())
}

/// An UNSUBSCRIBE.
pub(crate) fn unsubscribe(v5: bool, id: u8, filter: &str) -> Vec<u8> {
    packet(0xa2, &[numbered(v5, id), text(filter)].concat())
}

/// A PUBLISH at QoS 1.
pub(crate) fn publish(v5: bool, id: u8, topic: &str, payload: &[u8]) -> Vec<u8> {
    let body = [&text(topic), &numbered(v5, id), payload].concat();
    packet(0x32, &body)
}

fn numbered(v5: bool, id: u8) -> Vec<u8> {
    if v5 { vec![0, id, 0] } else { vec![0, id] }
}

fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes();
    [&length, text.as_bytes()].concat()
}

/// The first answer tells the version: only a CONNACK of 3.1.1 has two bytes.
pub(crate) fn is_of_5(output: &[u8]) -> bool {
    !output.starts_with(&[0x20, 2])
}

/// Whole packets, of kinds that a server sends, whose messages can be read. Gives back the ids to acknowledge.
pub(crate) fn check(v5: bool, output: &[u8]) -> Vec<[u8; 2]> {
    let mut ids = Vec::new();
    let mut rest = output;
    while let Some((first, after)) = rest.split_first() {
        let (length, after) = number(after);
        assert!(length <= after.len(), "an answer is cut off");
        assert!(
            SENT.contains(&(first >> 4)),
            "an answer of kind {}",
            first >> 4
        );
        let (body, after) = after.split_at(length);
        if first >> 4 == 3 {
            ids.extend(check_publish(v5, first & 6, body));
        }
        rest = after;
    }
    ids
}

fn check_publish(v5: bool, qos: u8, body: &[u8]) -> Option<[u8; 2]> {
    let (length, rest) = body.split_first_chunk::<2>().expect("a topic");
    let (topic, mut rest) = rest.split_at(usize::from(u16::from_be_bytes(*length)));
    let mut id = None;
    if qos > 0 {
        let (taken, after) = rest.split_first_chunk::<2>().expect("a packet id");
        (id, rest) = (Some(*taken), after);
    }
    if v5 {
        let (length, after) = number(rest);
        rest = &after[length..];
    }
    check_message(std::str::from_utf8(topic).expect("a topic is text"), rest);
    id
}

fn check_message(topic: &str, payload: &[u8]) {
    // Without `$json/` in front the same decoders read it: both encodings begin otherwise.
    let topic = topic.strip_prefix("$json/").unwrap_or(topic);
    let read = match topic.parse() {
        Ok(Topic::Events(_)) => Event::decode(payload).is_ok(),
        Ok(Topic::State(_)) => Snapshot::decode(payload).is_ok(),
        Ok(Topic::Errors(..)) => Notice::decode(payload).is_ok(),
        Ok(Topic::Presence(..)) => payload.is_empty() || Presence::decode(payload).is_ok(),
        _ => true,
    };
    assert!(read, "nobody can read what is sent on {topic}");
}

/// A number of one to four bytes.
fn number(bytes: &[u8]) -> (usize, &[u8]) {
    let mut value = 0;
    for (at, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return (value, &bytes[at + 1..]);
        }
    }
    panic!("a length of more than four bytes");
}
