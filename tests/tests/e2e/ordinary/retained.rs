//! Retained messages.

use syncline_tests::broker::{Broker, Setup};
use syncline_tests::wait;
use syncline_tests::wire::{Outgoing, Version};

use super::{client, kept, message, mosquitto_sub_once};

#[test]
fn g12_a_retained_message_survives_kill_9_and_an_empty_one_clears_it() {
    let mut broker = Broker::start();
    let mut publisher = client(&broker, Version::V5, "publisher");
    let sent = message("on").qos(1).retain().property(b"\x03\x00\x04text");
    publisher.publish_message(&sent).unwrap();
    publisher
        .publish_message(&Outgoing::new("home/door", "shut").qos(1).retain())
        .unwrap();
    broker.kill().unwrap();
    broker.start_again();
    assert_eq!(
        mosquitto_sub_once(broker.mqtt(), "home/lamp"),
        "home/lamp on"
    );
    let mut subscriber = client(&broker, Version::V5, "subscriber");
    subscriber.subscribe("home/#").unwrap();
    let got = [(); 2].map(|()| subscriber.take().unwrap());
    assert_eq!(
        got.each_ref().map(|it| it.topic.as_str()),
        ["home/door", "home/lamp"]
    );
    assert!(got.iter().all(|it| it.retain && it.qos == 1));
    assert_eq!(got[1].properties.text(0x03), Some("text"));
    let mut publisher = client(&broker, Version::V5, "publisher");
    publisher
        .publish_message(&message("").qos(1).retain())
        .unwrap();
    let cleared = subscriber.take().unwrap();
    assert_eq!((cleared.payload.len(), cleared.retain), (0, false));
    broker.kill().unwrap();
    broker.start_again();
    let mut subscriber = client(&broker, Version::V311, "subscriber");
    subscriber.subscribe("home/#").unwrap();
    assert_eq!(subscriber.take().unwrap().topic, "home/door");
    subscriber.ping().unwrap();
    assert_eq!(subscriber.waiting(), 0);
}

#[test]
fn mqtt_3_3_1_retain_handling_says_when_retained_messages_come() {
    let broker = Broker::start();
    let mut publisher = client(&broker, Version::V5, "publisher");
    publisher
        .publish_message(&message("on").qos(1).retain())
        .unwrap();
    let mut subscriber = client(&broker, Version::V5, "subscriber");
    for (handling, expected) in [(2, 0), (1, 0), (0, 1), (1, 0), (0, 1)] {
        subscriber
            .subscribe_all(&[("home/+", (handling << 4) | 1)])
            .unwrap();
        if expected == 1 {
            assert!(subscriber.take().unwrap().retain);
        }
        subscriber.ping().unwrap();
        assert_eq!(subscriber.waiting(), 0, "retain handling {handling}");
    }
    subscriber.unsubscribe("home/+").unwrap();
    subscriber
        .subscribe_all(&[("home/+", 0b0001_0001)])
        .unwrap();
    assert!(subscriber.take().unwrap().retain, "it is new again");
    let shared = subscriber.subscribe_all(&[("$share/g/home/#", 1)]).unwrap();
    subscriber.ping().unwrap();
    assert_eq!(
        (shared, subscriber.waiting()),
        (vec![1], 0),
        "a share gets none"
    );
}

#[test]
fn a_wildcard_brings_thousands_of_retained_messages_to_a_slow_reader() {
    let broker = Broker::start();
    let mut publisher = client(&broker, Version::V5, "publisher");
    for n in 0..3_000 {
        let sent = Outgoing::new(&format!("many/{n:04}"), "x").retain();
        publisher.publish_message(&sent).unwrap();
    }
    publisher
        .publish_message(&Outgoing::new("many/end", "x").qos(1).retain())
        .unwrap();
    for version in Version::BOTH {
        let mut plain = client(&broker, version, "plain");
        plain.subscribe("many/#").unwrap();
        let mut away = kept(broker.mqtt(), version, "kept", false);
        away.subscribe("many/#").unwrap();
        for n in 0..3_000 {
            let topic = format!("many/{n:04}");
            assert_eq!(plain.take().unwrap().topic, topic);
            assert_eq!(away.take().unwrap().topic, topic);
        }
        let last = [plain.take().unwrap(), away.take().unwrap()];
        assert_eq!(
            last.map(|it| (it.topic, it.qos)),
            [(); 2].map(|()| ("many/end".to_owned(), 1))
        );
    }
}

#[test]
fn mqtt_3_3_2_a_retained_message_expires() {
    let broker = Broker::start();
    let mut publisher = client(&broker, Version::V5, "publisher");
    publisher
        .publish_message(&message("brief").qos(1).retain().expiry(1))
        .unwrap();
    wait::until("it to be gone", || {
        let mut subscriber = client(&broker, Version::V5, "subscriber");
        subscriber.subscribe("home/#").unwrap();
        subscriber.ping().unwrap();
        (subscriber.waiting() == 0).then_some(())
    });
}

#[test]
fn g10_no_more_is_retained_than_the_limit_and_the_publisher_hears_it() {
    let setup = Setup::new().config("[limits]\nretained_messages_max = 2\n");
    let broker = setup.start();
    let mut subscriber = client(&broker, Version::V5, "subscriber");
    subscriber.subscribe("t/#").unwrap();
    let mut publisher = client(&broker, Version::V5, "publisher");
    for (topic, code) in [("t/1", 0), ("t/2", 0), ("t/3", 0x97), ("t/2", 0)] {
        let sent = Outgoing::new(topic, "x").qos(1).retain();
        assert_eq!(
            publisher.publish_message(&sent).unwrap().code,
            code,
            "{topic}"
        );
        assert_eq!(
            subscriber.take().unwrap().topic,
            topic,
            "passed on all the same"
        );
    }
}
