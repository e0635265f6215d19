//! The packets of attackers. Texts are bytes here, because they need not be UTF-8.

use crate::wire::{Version, frame, push_length, push_text};

/// A CONNECT of a clean session.
pub(super) fn connect(version: Version, client_id: &[u8]) -> Vec<u8> {
    connect_with(version, 0b10, &[], &[client_id])
}

/// A CONNECT with these flags, v5 properties and texts: client id, will topic, will payload, user, password.
pub(super) fn connect_with(
    version: Version,
    flags: u8,
    properties: &[u8],
    texts: &[&[u8]],
) -> Vec<u8> {
    let is_v5 = version == Version::V5;
    let mut body = vec![
        0,
        4,
        b'M',
        b'Q',
        b'T',
        b'T',
        if is_v5 { 5 } else { 4 },
        flags,
        0,
        0,
    ];
    push_properties(&mut body, version, properties);
    for (at, text) in texts.iter().enumerate() {
        // A will has properties of its own before its topic.
        if at == 1 && flags & 0b100 != 0 {
            push_properties(&mut body, version, &[]);
        }
        push_text(&mut body, text);
    }
    frame(0x10, &body)
}

/// A PUBLISH; the packet id is left out at QoS 0.
pub(super) fn publish(version: Version, qos: u8, id: u16, topic: &[u8], payload: &[u8]) -> Vec<u8> {
    publish_with(version, qos, id, topic, &[], payload)
}

/// The same with v5 properties.
pub(super) fn publish_with(
    version: Version,
    qos: u8,
    id: u16,
    topic: &[u8],
    properties: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let mut body = Vec::new();
    push_text(&mut body, topic);
    if qos > 0 {
        body.extend(id.to_be_bytes());
    }
    push_properties(&mut body, version, properties);
    body.extend(payload);
    frame(0x30 | qos << 1, &body)
}

/// A SUBSCRIBE at QoS 1 to each.
pub(super) fn subscribe(version: Version, id: u16, filters: &[&[u8]]) -> Vec<u8> {
    let mut body = numbered(version, id);
    for filter in filters {
        push_text(&mut body, filter);
        body.push(1);
    }
    frame(0x82, &body)
}

/// An UNSUBSCRIBE of each.
pub(super) fn unsubscribe(version: Version, id: u16, filters: &[&[u8]]) -> Vec<u8> {
    let mut body = numbered(version, id);
    filters.iter().for_each(|it| push_text(&mut body, it));
    frame(0xa2, &body)
}

/// PUBACK 0x40, PUBREC 0x50, PUBREL 0x62, PUBCOMP 0x70.
pub(super) fn acknowledgement(first: u8, id: u16) -> Vec<u8> {
    frame(first, &id.to_be_bytes())
}

/// One of every kind that a client may send, and one of every kind that it may not.
pub(super) fn catalogue(version: Version) -> Vec<Vec<u8>> {
    let mut all = vec![
        connect(version, b"again"),
        frame(0x20, &[0, 0]),
        publish(version, 0, 0, b"hostile/a", b"payload"),
        publish(version, 1, 7, b"hostile/a", b"payload"),
        publish(version, 2, 8, b"hostile/a", b"payload"),
        publish(
            version,
            1,
            9,
            b"sync/hostile/events",
            br#"{"event_type":"x"}"#,
        ),
        subscribe(version, 10, &[b"hostile/#", b"sync/hostile/events"]),
        frame(0x90, &[0, 10, 0]),
        unsubscribe(version, 11, &[b"hostile/#"]),
        frame(0xb0, &[0, 11]),
        frame(0xc0, &[]),
        frame(0xd0, &[]),
        frame(0xe0, if version == Version::V5 { &[4, 0] } else { &[] }),
        frame(0xf0, &[0x18, 6, 0x15, 0, 3, b'a', b'b', b'c']),
    ];
    all.extend([0x40, 0x50, 0x62, 0x70].map(|first| acknowledgement(first, 12)));
    all
}

fn numbered(version: Version, id: u16) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    push_properties(&mut body, version, &[]);
    body
}

fn push_properties(body: &mut Vec<u8>, version: Version, properties: &[u8]) {
    if version == Version::V5 {
        push_length(body, properties.len());
        body.extend(properties);
    }
}
