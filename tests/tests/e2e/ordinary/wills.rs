//! Wills on ordinary topics.

use syncline_tests::broker::Broker;
use syncline_tests::wire::{Connect, Outgoing, Version, Wire};

use super::client;

fn will() -> Outgoing {
    Outgoing::new("home/will", "gone").qos(1)
}

#[test]
fn mqtt_3_1_2_a_lost_client_has_its_will_published_and_one_that_says_goodbye_not() {
    let broker = Broker::start();
    for version in Version::BOTH {
        let mut watcher = client(&broker, version, "watcher");
        watcher.subscribe("home/#").unwrap();
        let connect = Connect::new(version, "mortal").will_of(will().retain());
        let mortal = Wire::connect(broker.mqtt(), &connect).unwrap();
        drop(mortal);
        let got = watcher.take().unwrap();
        assert_eq!(
            (got.topic.as_str(), &got.payload[..], got.retain),
            ("home/will", &b"gone"[..], false)
        );
        let mut later = client(&broker, version, "later");
        later.subscribe("home/#").unwrap();
        assert!(later.take().unwrap().retain);
        let polite = Wire::connect(broker.mqtt(), &connect).unwrap();
        polite.disconnect().unwrap();
        let mut publisher = client(&broker, version, "publisher");
        publisher
            .publish_message(&Outgoing::new("home/next", "").qos(1))
            .unwrap();
        assert_eq!(watcher.take().unwrap().topic, "home/next");
        publisher
            .publish_message(&Outgoing::new("home/will", "").retain())
            .unwrap();
        assert_eq!(watcher.take().unwrap().payload, b"");
    }
}

#[test]
fn mqtt_3_1_3_9_a_will_waits_for_its_delay_and_is_cancelled_by_a_reconnect() {
    let broker = Broker::start();
    let mut watcher = client(&broker, Version::V5, "watcher");
    watcher.subscribe("home/#").unwrap();
    let connect = |delay| {
        let connect = Connect::new(Version::V5, "mortal").expiry(60);
        connect.will_of(will().delay(delay).property(b"\x03\x00\x04text"))
    };
    drop(Wire::connect(broker.mqtt(), &connect(1)).unwrap());
    let back = Wire::connect(broker.mqtt(), &connect(1).back()).unwrap();
    back.disconnect().unwrap();
    drop(Wire::connect(broker.mqtt(), &connect(30)).unwrap());
    // A clean start ends the session, and so the will's delay.
    let clean = Wire::connect(broker.mqtt(), &connect(1)).unwrap();
    let got = watcher.take().unwrap();
    assert_eq!(
        (&got.payload[..], got.properties.text(0x03)),
        (&b"gone"[..], Some("text"))
    );
    drop(clean);
    assert_eq!(
        watcher.take().unwrap().topic,
        "home/will",
        "after its delay"
    );
    watcher.ping().unwrap();
    assert_eq!(watcher.waiting(), 0);
}

#[test]
fn a_will_that_cannot_be_published_is_refused_at_once() {
    let broker = Broker::start();
    for (topic, code) in [("a/#", 0x90), ("$SYS/x", 0x90)] {
        let connect = Connect::new(Version::V5, "x").will_of(Outgoing::new(topic, ""));
        let (_, answer) = Wire::connect_raw(broker.mqtt(), &connect).unwrap();
        assert!(
            matches!(answer, syncline_tests::wire::Packet::ConnAck { code: it, .. } if it == code),
            "{answer:?}"
        );
    }
}
