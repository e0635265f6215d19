//! Messages that wait for sessions that are away or slow.

use syncline_tests::broker::{Broker, Setup};
use syncline_tests::wire::{Connect, Outgoing, Version, Wire};

use super::{client, kept, message};

#[test]
fn g12_what_waits_for_an_absent_session_survives_kill_9_in_order() {
    for version in Version::BOTH {
        let mut broker = Broker::start();
        let mut away = kept(broker.mqtt(), version, "away", false);
        away.subscribe_all(&[("home/#", 2)]).unwrap();
        away.disconnect().unwrap();
        let mut publisher = client(&broker, version, "publisher");
        for n in 0..200 {
            let sent = message(&n.to_string()).qos(1 + n % 2);
            assert_eq!(
                publisher.publish_message(&sent).unwrap().code,
                0,
                "somebody gets it"
            );
        }
        publisher.publish_message(&message("not kept")).unwrap();
        broker.kill().unwrap();
        broker.start_again();
        let mut back = kept(broker.mqtt(), version, "away", true);
        for n in 0..200 {
            let got = back.take().unwrap();
            assert_eq!(
                (got.payload, got.qos),
                (n.to_string().into_bytes(), 1 + n % 2)
            );
        }
        back.ping().unwrap();
        assert_eq!(back.waiting(), 0);
    }
}

#[test]
fn session_5_what_was_not_acknowledged_comes_again_with_dup_and_its_packet_id() {
    for version in Version::BOTH {
        for killed in [false, true] {
            let mut broker = Broker::start();
            let mut subscriber = kept(broker.mqtt(), version, "s", false);
            subscriber.subscribe("home/#").unwrap();
            let mut publisher = client(&broker, version, "publisher");
            for text in ["a", "b", "c"] {
                publisher.publish_message(&message(text).qos(1)).unwrap();
            }
            let sent = [(); 3].map(|()| subscriber.message_unacknowledged().unwrap());
            subscriber.acknowledge(sent[1].id.unwrap()).unwrap();
            subscriber.ping().unwrap();
            if killed {
                broker.kill().unwrap();
                broker.start_again();
            } else {
                drop(subscriber);
            }
            let mut back = kept(broker.mqtt(), version, "s", true);
            let expected = [&sent[0], &sent[2]];
            let again = if killed {
                // Nobody knows any more that the second was acknowledged, unless that was written in time.
                let all: Vec<_> = (0..2)
                    .map(|_| back.message_unacknowledged().unwrap())
                    .collect();
                assert_eq!(all[0].id, sent[0].id);
                all
            } else {
                expected
                    .map(|_| back.message_unacknowledged().unwrap())
                    .to_vec()
            };
            assert!(again.iter().all(|it| it.dup), "{again:?}");
            if !killed {
                let ids = |all: &[&syncline_tests::wire::Publish]| {
                    all.iter().map(|it| it.id).collect::<Vec<_>>()
                };
                assert_eq!(ids(&again.iter().collect::<Vec<_>>()), ids(&expected));
            }
        }
    }
}

#[test]
fn topic_8_g10_a_full_queue_refuses_and_tells_the_publisher() {
    let setup = Setup::new().config("[sessions]\nqueue_messages_max = 3\n");
    let broker = setup.start();
    for version in Version::BOTH {
        let mut away = kept(broker.mqtt(), version, "away", false);
        away.subscribe("home/#").unwrap();
        away.disconnect().unwrap();
        let mut publisher = client(&broker, version, "publisher");
        let full = if version == Version::V5 { 0x97 } else { 0 };
        for code in [0, 0, 0, full, full] {
            let answer = publisher.publish_message(&message("x").qos(1)).unwrap();
            assert_eq!(answer.code, code);
        }
        let mut back = kept(broker.mqtt(), version, "away", true);
        (0..3).for_each(|_| drop(back.take().unwrap()));
        back.ping().unwrap();
        assert_eq!(back.waiting(), 0);
        assert!(
            broker.log().contains("has no room for ordinary messages"),
            "it is logged"
        );
        back.unsubscribe("home/#").unwrap();
    }
}

#[test]
fn g10_a_subscriber_that_reads_nothing_holds_nobody_up() {
    let setup =
        Setup::new().config("[limits]\npending_messages_max = 50\npending_bytes_max = 1_048_576\n");
    let broker = setup.start();
    let mut deaf = client(&broker, Version::V5, "deaf");
    deaf.subscribe_all(&[("flood/#", 0)]).unwrap();
    let mut publisher = client(&broker, Version::V5, "publisher");
    let before = broker.resident_bytes();
    let payload = vec![0; 10_000];
    for _ in 0..5_000 {
        publisher
            .publish_message(&Outgoing::new("flood/x", &payload))
            .unwrap();
    }
    publisher.publish_message(&message("last").qos(1)).unwrap();
    let grown = broker.resident_bytes().saturating_sub(before);
    assert!(
        grown < 30 << 20,
        "50 MB were published, memory grew by {grown}"
    );
    assert!(broker.log().contains("has no room for ordinary messages"));
    let mut other = client(&broker, Version::V5, "other");
    other.subscribe("home/#").unwrap();
    publisher.publish_message(&message("still").qos(1)).unwrap();
    assert_eq!(other.take().unwrap().payload, b"still");
}

#[test]
fn a_session_that_ends_takes_what_waits_with_it() {
    let broker = Broker::start();
    for version in Version::BOTH {
        let mut away = kept(broker.mqtt(), version, "away", false);
        away.subscribe("home/#").unwrap();
        away.disconnect().unwrap();
        let mut publisher = client(&broker, version, "publisher");
        publisher.publish_message(&message("x").qos(1)).unwrap();
        let clean = client(&broker, version, "away");
        clean.disconnect().unwrap();
        let mut back = kept(broker.mqtt(), version, "away", true);
        back.ping().unwrap();
        assert_eq!(back.waiting(), 0);
        let nobody = if version == Version::V5 { 0x10 } else { 0 };
        assert_eq!(
            publisher
                .publish_message(&message("x").qos(1))
                .unwrap()
                .code,
            nobody
        );
    }
}

#[test]
fn mqtt_3_3_2_a_message_that_waited_too_long_is_not_delivered() {
    let broker = Broker::start();
    let mut away = kept(broker.mqtt(), Version::V5, "away", false);
    away.subscribe("home/#").unwrap();
    away.disconnect().unwrap();
    let mut publisher = client(&broker, Version::V5, "publisher");
    publisher
        .publish_message(&message("brief").qos(1).expiry(0))
        .unwrap();
    publisher
        .publish_message(&message("long").qos(1).expiry(100))
        .unwrap();
    let mut back = kept(broker.mqtt(), Version::V5, "away", true);
    let got = back.take().unwrap();
    assert_eq!(got.payload, b"long");
    assert!(got.properties.number(0x02).is_some_and(|left| left <= 100));
}

#[test]
fn what_waits_comes_also_to_a_session_that_ends_with_its_connection() {
    let broker = Broker::start();
    let mut away = kept(broker.mqtt(), Version::V5, "away", false);
    away.subscribe("home/#").unwrap();
    away.disconnect().unwrap();
    let mut publisher = client(&broker, Version::V5, "publisher");
    publisher.publish_message(&message("1").qos(1)).unwrap();
    let last = Connect::new(Version::V5, "away").back();
    let mut last = Wire::connect(broker.mqtt(), &last).unwrap();
    assert_eq!(last.take().unwrap().payload, b"1");
    publisher.publish_message(&message("2").qos(1)).unwrap();
    assert_eq!(last.take().unwrap().payload, b"2");
}
