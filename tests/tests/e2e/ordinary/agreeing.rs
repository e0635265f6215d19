//! What client and broker agree on at CONNECT is kept: windows, sizes, aliases, keep-alive, words.

use syncline_tests::broker::{Broker, Setup};
use syncline_tests::wire::{Connect, Outgoing, Packet, Version, Wire};

use super::{client, message};

fn connect(broker: &Broker, connect: &Connect) -> Wire {
    Wire::connect(broker.mqtt(), connect).unwrap()
}

#[test]
fn mqtt_4_9_0_control_packets_are_answered_while_the_window_is_full() {
    let broker = Broker::start();
    let slow = Connect::new(Version::V5, "slow").receive_maximum(2);
    let mut slow = connect(&broker, &slow);
    slow.subscribe_all(&[("home/#", 2)]).unwrap();
    let mut publisher = client(&broker, Version::V5, "publisher");
    for n in 0..5 {
        publisher
            .publish_message(&message(&n.to_string()).qos(1 + n % 2))
            .unwrap();
    }
    let first = slow.message_unacknowledged().unwrap();
    let second = slow.message_unacknowledged().unwrap();
    slow.ping().unwrap();
    assert_eq!(slow.subscribe("other").unwrap(), 1);
    slow.unsubscribe("other").unwrap();
    assert_eq!((first.qos, second.qos, slow.waiting()), (1, 2, 0));
    slow.send_ack(0x50, second.id.unwrap()).unwrap();
    slow.pubrel(second.id.unwrap()).unwrap();
    slow.ping().unwrap();
    assert_eq!(
        slow.waiting(),
        0,
        "the second is not over before its PUBCOMP"
    );
    slow.send_ack(0x70, second.id.unwrap()).unwrap();
    assert_eq!(slow.message_unacknowledged().unwrap().payload, b"2");
    slow.ping().unwrap();
    assert_eq!(slow.waiting(), 0);
    slow.acknowledge(first.id.unwrap()).unwrap();
    assert_eq!(slow.message_unacknowledged().unwrap().payload, b"3");
}

#[test]
fn mqtt_3_1_2_24_what_is_larger_than_the_client_takes_counts_as_delivered() {
    let broker = Broker::start();
    let mut small = connect(
        &broker,
        &Connect::new(Version::V5, "small").maximum_packet_size(100),
    );
    small.subscribe("home/#").unwrap();
    let mut publisher = client(&broker, Version::V5, "publisher");
    for text in ["x".repeat(200), "fits".to_owned()] {
        publisher.publish_message(&message(&text).qos(1)).unwrap();
    }
    assert_eq!(small.take().unwrap().payload, b"fits");
    let answer = small.publish("sync/home/state", "x").unwrap();
    assert_eq!(answer.code, 0x90);
}

#[test]
fn mqtt_3_1_2_29_a_client_that_wants_no_words_gets_codes_alone() {
    let broker = Broker::start();
    let mut terse = connect(
        &broker,
        &Connect::new(Version::V5, "terse").property(&[0x17, 0]),
    );
    let refused = terse.publish("sync/home/state", "x").unwrap();
    assert_eq!((refused.code, refused.properties.reason), (0x90, None));
    let mut wordy = client(&broker, Version::V5, "wordy");
    let refused = wordy.publish("sync/home/state", "x").unwrap();
    assert_eq!(refused.refusal(), Some("bad_topic"));
}

#[test]
fn mqtt_3_3_2_topic_aliases_are_kept_both_ways_and_end_with_the_connection() {
    let broker = Broker::start();
    let knows = Connect::new(Version::V5, "knows").property(&[0x22, 0, 1]);
    let mut knows = connect(&broker, &knows);
    knows.subscribe("#").unwrap();
    let mut publisher = client(&broker, Version::V5, "publisher");
    let alias = [0x23, 0, 5];
    publisher
        .publish_message(&Outgoing::new("a/b", "1").qos(1).property(&alias))
        .unwrap();
    publisher
        .publish_message(&Outgoing::new("", "2").qos(1).property(&alias))
        .unwrap();
    publisher
        .publish_message(&Outgoing::new("c", "3").qos(1))
        .unwrap();
    let got = [(); 3].map(|()| knows.take().unwrap());
    let said = got
        .each_ref()
        .map(|it| (it.topic.as_str(), it.properties.number(0x23)));
    assert_eq!(said, [("a/b", Some(1)), ("", Some(1)), ("c", None)]);
    drop(publisher);
    let mut again = client(&broker, Version::V5, "publisher");
    again
        .publish_as(1, &Outgoing::new("", "4").qos(1).property(&alias))
        .unwrap();
    let last = again.until_closed().unwrap();
    assert!(
        matches!(last[..], [Packet::Disconnect { code: 0x94, .. }]),
        "{last:?}"
    );
}

#[test]
fn mqtt_3_2_2_a_longer_keep_alive_is_replaced_by_the_brokers() {
    let broker = Setup::new()
        .config("[limits]\nkeep_alive_max_s = 60\n")
        .start();
    for (asked, told) in [(0, Some(60)), (61, Some(60)), (60, None), (5, None)] {
        let connect = Connect::new(Version::V5, "").keep_alive(asked);
        let (_, answer) = Wire::connect_raw(broker.mqtt(), &connect).unwrap();
        let Packet::ConnAck { properties, .. } = answer else {
            panic!("{answer:?}")
        };
        assert_eq!(properties.number(0x13), told, "asked for {asked}");
        assert!(
            properties.text(0x12).is_some_and(|id| !id.is_empty()),
            "a client id is given"
        );
        let not_said = [0x1a, 0x24, 0x25, 0x28, 0x29, 0x2a].map(|it| properties.number(it));
        assert_eq!(not_said, [None; 6], "everything is served");
    }
}

#[test]
fn mqtt_4_12_0_an_unknown_authentication_method_is_refused() {
    let broker = Broker::start();
    let connect = Connect::new(Version::V5, "x").property(b"\x15\0\x03abc");
    let (mut refused, answer) = Wire::connect_raw(broker.mqtt(), &connect).unwrap();
    assert!(
        matches!(answer, Packet::ConnAck { code: 0x8c, .. }),
        "{answer:?}"
    );
    assert_eq!(refused.until_closed().unwrap(), []);
    let mut plain = client(&broker, Version::V5, "plain");
    plain.send_bytes(b"\xf0\x02\x18\0").unwrap();
    let last = plain.until_closed().unwrap();
    assert!(
        matches!(last[..], [Packet::Disconnect { code: 0x82, .. }]),
        "{last:?}"
    );
}

#[test]
fn mqtt_3_10_4_one_unsuback_answers_all_filters_in_their_order() {
    let broker = Broker::start();
    for version in Version::BOTH {
        let mut someone = client(&broker, version, "someone");
        someone.subscribe("b").unwrap();
        let head: &[u8] = if version == Version::V5 {
            b"\x00\x09\x00"
        } else {
            b"\x00\x09"
        };
        let body = [head, b"\0\x01a\0\x01b\0\x03a/#"].concat();
        someone
            .send_bytes(&[&[0xa2, body.len() as u8][..], &body].concat())
            .unwrap();
        let answer = someone.receive().unwrap();
        let codes = if version == Version::V5 {
            vec![0x11, 0, 0x11]
        } else {
            vec![]
        };
        assert_eq!(answer, Packet::UnsubAck { id: 9, codes });
    }
}

#[test]
fn mqtt_4_6_0_messages_of_a_topic_keep_their_order() {
    let broker = Broker::start();
    for version in Version::BOTH {
        for qos in 0..=2 {
            let mut subscriber = client(&broker, version, "subscriber");
            subscriber.subscribe_all(&[("home/#", qos)]).unwrap();
            let mut publisher = client(&broker, version, "publisher");
            for n in 0..100 {
                publisher
                    .publish_as(n + 1, &message(&n.to_string()).qos(1))
                    .unwrap();
            }
            for n in 0..100 {
                assert_eq!(subscriber.take().unwrap().payload, n.to_string().as_bytes());
            }
        }
    }
}
