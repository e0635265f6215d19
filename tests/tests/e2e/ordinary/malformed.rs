//! Packets that break the protocol, byte by byte: each ends its connection, and v5 hears why.

use syncline_tests::broker::Broker;
use syncline_tests::wire::{Outgoing, Packet, Version, Wire};

use super::{client, message};

/// Packets after a CONNECT, at both versions the same.
const AT_BOTH: [(&str, &[u8]); 17] = [
    ("a PUBLISH at QoS 3", b"\x36\x06\0\x01t\0\x01\0"),
    (
        "DUP at QoS 0, and a length that is too short for its topic",
        b"\x38\x02\0\x05",
    ),
    ("a topic with a wildcard", b"\x30\x05\0\x02t#\0"),
    ("an empty topic", b"\x30\x03\0\0\0"),
    ("a topic with a null character", b"\x30\x04\0\x01\0\0"),
    ("a topic that is not UTF-8", b"\x30\x05\0\x02\xc3\x28\0"),
    ("a topic with a surrogate", b"\x30\x06\0\x03\xed\xa0\x80\0"),
    ("a packet id of 0", b"\x32\x06\0\x01t\0\0\0"),
    ("a PUBREL with wrong flags", b"\x60\x02\0\x01"),
    ("a SUBSCRIBE with wrong flags", b"\x80\x07\0\x01\0\0\x01t\0"),
    ("a SUBSCRIBE without a filter", b"\x82\x03\0\x01\0"),
    (
        "an UNSUBSCRIBE with wrong flags",
        b"\xa0\x06\0\x01\0\0\x01t",
    ),
    ("an UNSUBSCRIBE without a filter", b"\xa2\x03\0\x01\0"),
    ("a PINGREQ with flags", b"\xc1\0"),
    ("a DISCONNECT with flags", b"\xe1\0"),
    ("a packet of the type 0", b"\0\0"),
    ("a CONNACK", b"\x20\x02\0\0"),
];

/// Packets after a CONNECT of v5.
const AT_5: [(&str, &[u8]); 9] = [
    (
        "a Subscription Identifier from a client",
        b"\x30\x06\0\x01t\x02\x0b\x01",
    ),
    ("a topic alias of 0", b"\x30\x07\0\x01t\x03\x23\0\0"),
    (
        "a topic alias above the maximum",
        b"\x30\x07\0\x01t\x03\x23\0\x11",
    ),
    (
        "an alias that stands for nothing",
        b"\x30\x06\0\0\x03\x23\0\x01",
    ),
    ("a property twice", b"\x30\x08\0\x01t\x04\x01\0\x01\0"),
    (
        "a response topic with a wildcard",
        b"\x30\x08\0\x01t\x04\x08\0\x01#",
    ),
    (
        "reserved bits in subscription options",
        b"\x82\x07\0\x01\0\0\x01t\xc0",
    ),
    ("a Retain Handling of 3", b"\x82\x07\0\x01\0\0\x01t\x30"),
    (
        "a Session Expiry Interval in place of none",
        b"\xe0\x07\0\x05\x11\0\0\0\x01",
    ),
];

/// The code of the DISCONNECT before the end; `Err` if there is no end.
fn told(mut someone: Wire) -> Result<Option<u8>, String> {
    let packets = someone.until_closed().map_err(|error| error.to_string())?;
    Ok(packets.iter().find_map(|packet| match packet {
        Packet::Disconnect { code, .. } => Some(*code),
        _ => None,
    }))
}

#[test]
fn mqtt_4_13_1_a_malformed_packet_ends_its_connection_alone() {
    let broker = Broker::start();
    let mut witness = client(&broker, Version::V5, "witness");
    let mut wrong = Vec::new();
    let mut try_one = |version, what: &'static str, bytes: &[u8]| {
        let mut bad = client(&broker, version, "bad");
        bad.send_bytes(bytes).unwrap();
        match told(bad) {
            Ok(None) if version == Version::V311 => {}
            Ok(Some(code)) if version == Version::V5 && code >= 0x80 => {}
            other => wrong.push((version, what, other)),
        }
    };
    for (what, bytes) in AT_BOTH {
        for version in Version::BOTH {
            try_one(version, what, bytes);
        }
    }
    for (what, bytes) in AT_5 {
        try_one(Version::V5, what, bytes);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    witness.subscribe("home/#").unwrap();
    witness.publish_message(&message("x").qos(1)).unwrap();
    witness.take().unwrap();
}

/// First packets that are refused without a word, or with a CONNACK that says no.
const CONNECTS: [(&str, &[u8]); 8] = [
    ("another protocol", b"\x10\x0c\0\x04MQTX\x04\x02\0\0\0\0"),
    ("the reserved flag", b"\x10\x0c\0\x04MQTT\x04\x03\0\0\0\0"),
    (
        "a will at QoS 3",
        b"\x10\x12\0\x04MQTT\x04\x1e\0\0\0\0\0\x01t\0\x01x",
    ),
    (
        "a QoS without a will",
        b"\x10\x0c\0\x04MQTT\x04\x0a\0\0\0\0",
    ),
    (
        "RETAIN without a will",
        b"\x10\x0c\0\x04MQTT\x04\x22\0\0\0\0",
    ),
    (
        "a will that is not there",
        b"\x10\x0c\0\x04MQTT\x04\x06\0\0\0\0",
    ),
    (
        "a client id that is not UTF-8",
        b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01\xff",
    ),
    (
        "a password that is not there",
        b"\x10\x0c\0\x04MQTT\x04\xc2\0\0\0\0",
    ),
];

#[test]
fn mqtt_3_1_4_a_connect_that_is_wrong_is_not_accepted() {
    let broker = Broker::start();
    for (what, bytes) in CONNECTS {
        let mut bad = Wire::open(broker.mqtt(), Version::V311).unwrap();
        bad.send_bytes(bytes).unwrap();
        let packets = bad.until_closed().unwrap();
        let accepted = |it: &Packet| matches!(it, Packet::ConnAck { code: 0, .. });
        assert!(!packets.iter().any(accepted), "{what}: {packets:?}");
    }
    let mut twice = client(&broker, Version::V311, "twice");
    twice
        .send_bytes(b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01x")
        .unwrap();
    assert_eq!(twice.until_closed().unwrap(), []);
}

#[test]
fn g10_what_is_deeper_than_is_served_is_refused_and_hurts_nobody() {
    let broker = Broker::start();
    for version in Version::BOTH {
        let deep = |levels: usize, level: &str| vec![level; levels].join("/");
        let mut subscriber = client(&broker, version, "deep");
        assert!(subscriber.subscribe(&deep(128, "+")).unwrap() < 0x80);
        for filter in [
            deep(129, "+"),
            deep(30_000, "+"),
            format!("sync/{}", deep(200, "+")),
        ] {
            assert!(
                subscriber.subscribe(&filter).unwrap() >= 0x80,
                "{version:?}"
            );
        }
        let mut publisher = client(&broker, version, "publisher");
        let sent = Outgoing::new(&deep(128, "a"), "x").qos(1);
        publisher.publish_message(&sent).unwrap();
        assert_eq!(subscriber.take().unwrap().payload, b"x");
        let sent = Outgoing::new(&deep(30_000, "a"), "x").qos(1);
        assert!(publisher.publish_message(&sent).is_err(), "{version:?}");
        subscriber.ping().unwrap();
    }
}
