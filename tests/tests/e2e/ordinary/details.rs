//! Small statements of MQTT, each shown by itself.

use syncline_tests::broker::{Broker, Setup};
use syncline_tests::wait;
use syncline_tests::wire::{Connect, Outgoing, Packet, Version, Wire};

use super::{client, kept, message};
use crate::scene::watcher;

/// A broker ends whoever says this after a CONNECT.
fn is_ended_by(broker: &Broker, version: Version, what: &str, bytes: &[u8]) {
    let mut wire = client(broker, version, "wrong");
    wire.send_bytes(bytes).unwrap();
    let ended = wire.until_closed();
    assert!(ended.is_ok(), "{what} at {version:?}: {ended:?}");
}

/// The CONNECT of a client `c`, with these flags, and what follows its client id.
fn raw_connect(version: Version, flags: u8, rest: &[u8]) -> Vec<u8> {
    let (level, properties): (u8, &[u8]) = match version {
        Version::V311 => (4, b""),
        Version::V5 => (5, b"\0"),
    };
    let head = [b"\0\x04MQTT", &[level, flags, 0, 0][..]].concat();
    let body = [&head, properties, b"\0\x01c", rest].concat();
    [&[0x10, body.len() as u8][..], &body].concat()
}

#[test]
fn mqtt_1_5_4_3_a_byte_order_mark_is_kept() {
    let broker = Broker::start();
    for version in Version::BOTH {
        let mut wire = client(&broker, version, "bom");
        wire.subscribe("\u{feff}home/#").unwrap();
        wire.publish("\u{feff}home/x", "\u{feff}text").unwrap();
        let message = wire.message().unwrap();
        assert_eq!(message.topic, "\u{feff}home/x");
        assert_eq!(message.payload, "\u{feff}text".as_bytes());
    }
}

#[test]
fn mqtt_3_1_2_14_a_will_without_retain_is_not_retained() {
    let broker = Broker::start();
    for version in Version::BOTH {
        let mut witness = watcher(&broker, "home/will");
        let will = Outgoing::new("home/will", "gone").qos(1);
        let connect = Connect::new(version, "mortal").will_of(will);
        drop(Wire::connect(broker.mqtt(), &connect).unwrap());
        assert_eq!(witness.message().unwrap().payload, b"gone");
        let mut later = client(&broker, version, "later");
        later.subscribe("home/will").unwrap();
        later.publish("home/will", "next").unwrap();
        assert_eq!(later.message().unwrap().payload, b"next");
        assert_eq!(witness.message().unwrap().payload, b"next");
    }
}

#[test]
fn mqtt_3_1_2_16_a_user_or_password_needs_its_flag_and_is_text() {
    let broker = Broker::start();
    let wrong: [(&str, u8, &[u8]); 3] = [
        ("a user without its flag", 2, b"\0\x01u"),
        ("a password without its flag", 0x82, b"\0\x01u\0\x01p"),
        ("a user that is not UTF-8", 0x82, b"\0\x02\xc3\x28"),
    ];
    for version in Version::BOTH {
        for (what, flags, rest) in wrong {
            let mut wire = Wire::open(broker.mqtt(), version).unwrap();
            wire.send_bytes(&raw_connect(version, flags, rest)).unwrap();
            let said = wire.until_closed().unwrap();
            let accepted = said
                .iter()
                .any(|it| matches!(it, Packet::ConnAck { code: 0, .. }));
            assert!(!accepted, "{what} at {version:?}: {said:?}");
        }
    }
}

#[test]
fn mqtt_3_1_3_10_user_properties_of_a_will_keep_their_order() {
    let broker = Broker::start();
    let mut witness = watcher(&broker, "home/will");
    let will = Outgoing::new("home/will", "gone").qos(1);
    let will = ["b2", "a1", "b1"].iter().fold(will, |will, pair| {
        let (name, value) = (pair.as_bytes()[0], pair.as_bytes()[1]);
        will.property(&[0x26, 0, 1, name, 0, 1, value])
    });
    let connect = Connect::new(Version::V5, "mortal").will_of(will);
    drop(Wire::connect(broker.mqtt(), &connect).unwrap());
    let users = witness.message().unwrap().properties.users;
    let users: Vec<String> = users.iter().map(|it| format!("{}{}", it.0, it.1)).collect();
    assert_eq!(users, ["b2", "a1", "b1"]);
}

#[test]
fn mqtt_3_2_2_18_no_alias_is_taken_where_none_is_announced() {
    let setup = Setup::new().variable("SYNCLINE__LIMITS__TOPIC_ALIAS_MAX", "0");
    let broker = setup.start();
    let connect = Connect::new(Version::V5, "c");
    let (mut wire, answer) = Wire::connect_raw(broker.mqtt(), &connect).unwrap();
    let Packet::ConnAck { properties, .. } = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(properties.number(0x22).unwrap_or(0), 0);
    wire.send_bytes(b"\x30\x07\0\x01t\x03\x23\0\x01").unwrap();
    wire.until_closed().unwrap();
}

/// A CONNACK still fits, and most reasons do not.
const TINY: u32 = 40;

/// The reasons in a PUBACK, a PUBREC, a SUBACK and a DISCONNECT, each of which refuses something.
fn reasons(broker: &Broker, connect: &Connect) -> [Option<String>; 4] {
    let mut wire = Wire::connect(broker.mqtt(), connect).unwrap();
    let once = wire.publish("sync/home/events", "no event").unwrap();
    let twice = Outgoing::new("sync/home/events", "no event").qos(2);
    let twice = wire.publish_message(&twice).unwrap();
    assert!(once.code >= 0x80 && twice.code >= 0x80);
    let filters = [("$share/g/sync/home/events", 1)];
    let (codes, subscribed) = wire.subscribe_told(&filters).unwrap();
    assert!(codes[0] >= 0x80);
    let _successor = client(broker, Version::V5, "c");
    let said = wire.until_closed().unwrap();
    let ended = said.into_iter().find_map(|it| match it {
        Packet::Disconnect { code, properties } => Some((code, properties.reason)),
        _ => None,
    });
    let (code, ended) = ended.unwrap();
    assert_eq!(code, 0x8e);
    [
        once.properties.reason,
        twice.properties.reason,
        subscribed,
        ended,
    ]
}

#[test]
fn mqtt_3_5_2_2_a_reason_is_left_out_where_it_does_not_fit() {
    let broker = Broker::start();
    let connect = Connect::new(Version::V5, "c");
    let told = reasons(&broker, &connect);
    // A SUBACK and the DISCONNECT of a takeover say nothing anyhow.
    assert!(told[0].is_some() && told[1].is_some(), "{told:?}");
    let tiny = reasons(&broker, &connect.maximum_packet_size(TINY));
    assert_eq!(tiny, [const { None }; 4], "of {told:?}");
}

#[test]
fn mqtt_3_8_3_1_filters_and_texts_in_properties_are_utf_8() {
    let broker = Broker::start();
    let at_5: [(&str, &[u8]); 5] = [
        ("a filter to subscribe", b"\x82\x08\0\x01\0\0\x02\xc3\x28\0"),
        ("a filter to unsubscribe", b"\xa2\x07\0\x01\0\0\x02\xc3\x28"),
        ("a response topic", b"\x30\x09\0\x01t\x05\x08\0\x02\xc3\x28"),
        ("a content type", b"\x30\x09\0\x01t\x05\x03\0\x02\xc3\x28"),
        (
            "a user property",
            b"\x30\x0c\0\x01t\x08\x26\0\x01a\0\x02\xc3\x28",
        ),
    ];
    let at_3: [(&str, &[u8]); 2] = [
        ("a filter to subscribe", b"\x82\x07\0\x01\0\x02\xc3\x28\0"),
        ("a filter to unsubscribe", b"\xa2\x06\0\x01\0\x02\xc3\x28"),
    ];
    for (what, bytes) in at_5 {
        is_ended_by(&broker, Version::V5, what, bytes);
    }
    for (what, bytes) in at_3 {
        is_ended_by(&broker, Version::V311, what, bytes);
    }
}

#[test]
fn mqtt_3_10_4_3_an_exchange_that_was_begun_is_completed_after_unsubscribe() {
    let broker = Broker::start();
    for version in Version::BOTH {
        let mut wire = client(&broker, version, "c");
        wire.subscribe_all(&[("home/lamp", 2)]).unwrap();
        wire.publish_message(&message("x").qos(2)).unwrap();
        let id = wire.message_unacknowledged().unwrap().id.unwrap();
        wire.unsubscribe("home/lamp").unwrap();
        wire.send_ack(0x50, id).unwrap();
        wire.pubrel(id).unwrap();
        wire.send_ack(0x70, id).unwrap();
        wire.ping().unwrap();
    }
}

#[test]
fn mqtt_3_15_1_1_an_auth_with_flags_ends_its_connection() {
    let broker = Broker::start();
    is_ended_by(&broker, Version::V5, "AUTH with flags", b"\xf1\x02\0\0");
    is_ended_by(&broker, Version::V311, "AUTH at 3.1.1", b"\xf0\0");
}

#[test]
fn mqtt_4_3_3_7_what_was_sent_does_not_expire_in_mid_exchange() {
    let broker = Broker::start();
    let mut wire = kept(broker.mqtt(), Version::V5, "c", false);
    wire.subscribe_all(&[("home/lamp", 2)]).unwrap();
    let mut publisher = client(&broker, Version::V5, "p");
    let short = message("x").qos(2).expiry(1);
    publisher.publish_message(&short).unwrap();
    let id = wire.message_unacknowledged().unwrap().id.unwrap();
    wait::let_pass(std::time::Duration::from_millis(1_500));
    wire.send_ack(0x50, id).unwrap();
    wire.pubrel(id).unwrap();
    drop(wire);
    let mut back = kept(broker.mqtt(), Version::V5, "c", true);
    back.pubrel(id).unwrap();
    back.send_ack(0x70, id).unwrap();
    back.ping().unwrap();
}

#[test]
fn mqtt_4_6_0_4_pubrels_leave_in_the_order_of_the_pubrecs() {
    let broker = Broker::start();
    for version in Version::BOTH {
        let mut wire = client(&broker, version, "c");
        wire.subscribe_all(&[("home/lamp", 2)]).unwrap();
        let mut publisher = client(&broker, version, "p");
        for text in ["a", "b", "c"] {
            publisher.publish_message(&message(text).qos(2)).unwrap();
        }
        let ids = [(); 3].map(|()| wire.message_unacknowledged().unwrap().id.unwrap());
        let order = [ids[1], ids[2], ids[0]];
        order
            .iter()
            .for_each(|id| wire.send_ack(0x50, *id).unwrap());
        for id in order {
            let packet = wire.receive().unwrap();
            assert_eq!(packet, Packet::PubRel { id });
        }
    }
}

/// Two members, the first of whom is sent a message at QoS 2; its packet id.
fn shared(broker: &Broker) -> (Wire, Wire, u16) {
    let filters = [("$share/g/home/lamp", 2)];
    let mut first = kept(broker.mqtt(), Version::V5, "first", false);
    first.subscribe_all(&filters).unwrap();
    let mut publisher = client(broker, Version::V5, "p");
    publisher.publish_message(&message("x").qos(2)).unwrap();
    let id = first.message_unacknowledged().unwrap().id.unwrap();
    let mut second = client(broker, Version::V5, "second");
    second.subscribe_all(&filters).unwrap();
    second.subscribe("home/mark").unwrap();
    (first, second, id)
}

/// What comes next to a client that follows `home/mark` is a message there, so nothing came before it.
fn has_nothing(broker: &Broker, wire: &mut Wire) {
    let mut publisher = client(broker, Version::V5, "marker");
    publisher.publish("home/mark", "mark").unwrap();
    assert_eq!(wire.message().unwrap().topic, "home/mark");
}

#[test]
fn mqtt_4_8_2_4_qos_2_is_completed_with_the_member_that_it_was_begun_with() {
    let broker = Broker::start();
    let (first, mut second, id) = shared(&broker);
    drop(first);
    has_nothing(&broker, &mut second);
    let mut back = kept(broker.mqtt(), Version::V5, "first", true);
    let again = back.message_unacknowledged().unwrap();
    assert_eq!((again.id, again.dup), (Some(id), true));
    back.send_ack(0x50, id).unwrap();
    back.pubrel(id).unwrap();
    back.send_ack(0x70, id).unwrap();
    has_nothing(&broker, &mut second);
}

#[test]
fn mqtt_4_8_2_5_qos_2_goes_to_nobody_else_when_the_session_ends() {
    let broker = Broker::start();
    let (first, mut second, _) = shared(&broker);
    first.disconnect_with_expiry(0).unwrap();
    has_nothing(&broker, &mut second);
    // The session is gone for certain once its successor is there.
    drop(client(&broker, Version::V5, "first"));
    has_nothing(&broker, &mut second);
}

#[test]
fn mqtt_4_8_2_6_what_a_member_refuses_goes_to_nobody_else() {
    let broker = Broker::start();
    let (mut first, mut second, id) = shared(&broker);
    let [high, low] = id.to_be_bytes();
    first.send_bytes(&[0x50, 3, high, low, 0x83]).unwrap();
    first.ping().unwrap();
    has_nothing(&broker, &mut second);
    drop(first);
    has_nothing(&broker, &mut second);
}

#[test]
fn mqtt_3_2_2_1_the_flags_of_a_connack_are_0_but_for_the_session() {
    use std::io::{Read, Write};
    let broker = Broker::start();
    for version in Version::BOTH {
        let mut stream = std::net::TcpStream::connect(broker.mqtt()).unwrap();
        stream.write_all(&raw_connect(version, 2, b"")).unwrap();
        let mut head = [0; 4];
        stream.read_exact(&mut head).unwrap();
        // At 5 the length comes before, in one byte as well.
        assert_eq!((head[0], head[2], head[3]), (0x20, 0, 0), "{version:?}");
    }
}
