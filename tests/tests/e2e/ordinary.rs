//! Ordinary topics end to end: at both versions, with stock clients, and over `kill -9`.

mod agreeing;
mod details;
mod exactly_once;
mod malformed;
mod retained;
mod waiting;
mod wills;

use std::net::SocketAddr;
use std::process::Command;

use syncline_tests::broker::Broker;
use syncline_tests::mosquitto::{self, Subscriber};
use syncline_tests::wait;
use syncline_tests::wire::{Connect, Outgoing, Version, Wire};

fn client(broker: &Broker, version: Version, id: &str) -> Wire {
    Wire::connect(broker.mqtt(), &Connect::new(version, id)).unwrap()
}

/// A client whose session is kept for an hour; `back`: it goes on with it.
fn kept(address: SocketAddr, version: Version, id: &str, back: bool) -> Wire {
    let connect = Connect::new(version, id);
    let connect = match version {
        Version::V5 => connect.expiry(3_600),
        // A clean session of 3.1.1 is never kept.
        Version::V311 => connect.clone().back(),
    };
    let connect = if back { connect.back() } else { connect };
    Wire::connect(address, &connect).unwrap()
}

fn message(payload: &str) -> Outgoing {
    Outgoing::new("home/lamp", payload)
}

#[test]
fn mosquitto_pub_and_sub_talk_on_ordinary_topics_at_every_qos() {
    let broker = Broker::start();
    for version in Version::BOTH {
        let sub = Subscriber::start(broker.mqtt(), version, "home/#");
        for qos in ["0", "1", "2"] {
            let text = format!("on-{qos}");
            let arguments = ["-t", "home/lamp", "-m", &text, "-q", qos];
            let output = mosquitto::publish_with(broker.mqtt(), version, &arguments);
            assert!(output.status.success(), "{output:?}");
            let line = sub.message("the message", |line| line.ends_with(&text));
            assert_eq!(line, format!("home/lamp {text}"));
        }
    }
}

#[test]
fn a_message_is_delivered_at_the_lower_qos() {
    let broker = Broker::start();
    for version in Version::BOTH {
        let mut publisher = client(&broker, version, "publisher");
        for asked in 0..=2 {
            let mut subscriber = client(&broker, version, "subscriber");
            let granted = subscriber.subscribe_all(&[("home/+", asked)]).unwrap();
            assert_eq!(granted, [asked]);
            for sent in 0..=2 {
                let answer = publisher.publish_message(&message("x").qos(sent)).unwrap();
                assert_eq!(answer.code, 0);
                let got = subscriber.take().unwrap();
                assert_eq!(
                    (got.qos, got.dup, got.retain),
                    (sent.min(asked), false, false)
                );
                assert_eq!(
                    (got.topic.as_str(), &got.payload[..]),
                    ("home/lamp", &b"x"[..])
                );
            }
        }
    }
}

#[test]
fn mqtt_3_3_2_v5_properties_are_passed_on_with_the_remaining_expiry() {
    let broker = Broker::start();
    let mut subscriber = client(&broker, Version::V5, "subscriber");
    subscriber.subscribe_as(7, &[("home/#", 1)]).unwrap();
    subscriber.subscribe_as(9, &[("+/lamp", 0)]).unwrap();
    let mut old = client(&broker, Version::V311, "old");
    old.subscribe("home/#").unwrap();
    let sent = message("x").qos(1).expiry(60);
    let sent = sent
        .property(b"\x01\x01\x03\x00\x04text\x08\x00\x05reply\x09\x00\x01c\x26\x00\x01k\x00\x01v");
    client(&broker, Version::V5, "publisher")
        .publish_message(&sent)
        .unwrap();
    let got = subscriber.take().unwrap();
    let mut identifiers = got.properties.all_numbers(0x0b);
    identifiers.sort_unstable();
    assert_eq!((got.qos, &identifiers[..]), (1, &[7, 9][..]), "one copy");
    assert_eq!(got.properties.number(0x01), Some(1));
    assert!(
        got.properties
            .number(0x02)
            .is_some_and(|left| (50..=60).contains(&left))
    );
    let texts = [0x03, 0x08, 0x09].map(|it| got.properties.text(it));
    assert_eq!(texts, [Some("text"), Some("reply"), Some("c")]);
    assert_eq!(got.properties.user("k"), Some("v"));
    assert_eq!(old.take().unwrap().payload, b"x");
    subscriber.ping().unwrap();
    assert_eq!(subscriber.waiting(), 0);
}

#[test]
fn mqtt_3_8_3_no_local_and_retain_as_published_are_kept() {
    let broker = Broker::start();
    let mut both = client(&broker, Version::V5, "both");
    both.subscribe_all(&[("a", 0b0000_0101), ("b", 0b0000_1001)])
        .unwrap();
    both.publish_message(&Outgoing::new("a", "own").qos(1))
        .unwrap();
    both.publish_message(&Outgoing::new("b", "flag").qos(1).retain())
        .unwrap();
    let got = both.take().unwrap();
    assert_eq!((got.topic.as_str(), got.retain), ("b", true));
    both.ping().unwrap();
    assert_eq!(both.waiting(), 0, "its own message on a");
}

#[test]
fn topic_8_a_publisher_hears_that_nobody_gets_it() {
    let broker = Broker::start();
    for (version, code) in [(Version::V5, 0x10), (Version::V311, 0)] {
        let mut publisher = client(&broker, version, "publisher");
        for qos in [1, 2] {
            let answer = publisher.publish_message(&message("x").qos(qos)).unwrap();
            assert_eq!(answer.code, code);
        }
    }
}

#[test]
fn mqtt_4_7_2_wildcards_do_not_match_topics_under_dollar() {
    let broker = Broker::start();
    let mut subscriber = client(&broker, Version::V5, "subscriber");
    assert_eq!(
        subscriber
            .subscribe_all(&[("#", 2), ("+/broker/#", 2)])
            .unwrap(),
        [2, 2]
    );
    let mut publisher = client(&broker, Version::V5, "publisher");
    let refused = publisher.publish("$SYS/broker/uptime", "x").unwrap();
    assert_eq!((refused.code, refused.refusal()), (0x90, Some("bad_topic")));
    publisher.publish_message(&message("x").qos(1)).unwrap();
    assert_eq!(subscriber.take().unwrap().topic, "home/lamp");
    subscriber.ping().unwrap();
    assert_eq!(subscriber.waiting(), 0);
}

#[test]
fn an_unsubscribed_filter_brings_nothing_more() {
    let broker = Broker::start();
    for version in Version::BOTH {
        let mut both = client(&broker, version, "both");
        both.subscribe("home/#").unwrap();
        both.subscribe("other").unwrap();
        both.unsubscribe("home/#").unwrap();
        both.publish_message(&message("x").qos(1)).unwrap();
        both.publish_message(&Outgoing::new("other", "y").qos(1))
            .unwrap();
        assert_eq!(both.take().unwrap().topic, "other");
    }
}

#[test]
fn shares_take_turns_and_sync_is_not_shared() {
    let broker = Broker::start();
    for version in Version::BOTH {
        let mut members = ["one", "two"].map(|id| client(&broker, version, id));
        for member in &mut members {
            let filters = [("$share/g/home/#", 1), ("$share/g/sync/#", 1)];
            let refused = if version == Version::V5 { 0x8f } else { 0x80 };
            assert_eq!(member.subscribe_all(&filters).unwrap(), [1, refused]);
        }
        let mut publisher = client(&broker, version, "publisher");
        for n in 0..4 {
            publisher
                .publish_message(&message(&n.to_string()).qos(1))
                .unwrap();
        }
        for member in &mut members {
            assert_eq!([(); 2].map(|()| member.take().unwrap().qos), [1; 2]);
            member.ping().unwrap();
            assert_eq!(member.waiting(), 0);
        }
    }
}

#[test]
fn what_a_member_leaves_unacknowledged_goes_to_another() {
    let broker = Broker::start();
    let mut publisher = client(&broker, Version::V5, "publisher");
    let mut first = client(&broker, Version::V5, "first");
    first.subscribe("$share/g/home/#").unwrap();
    publisher.publish_message(&message("x").qos(1)).unwrap();
    assert_eq!(first.message_unacknowledged().unwrap().payload, b"x");
    let mut second = client(&broker, Version::V5, "second");
    second.subscribe("$share/g/home/#").unwrap();
    drop(first);
    assert_eq!(second.take().unwrap().payload, b"x");
}

#[test]
fn mosquitto_sub_reads_the_figures_of_the_broker() {
    let broker = Broker::start();
    let _someone = client(&broker, Version::V5, "someone");
    let connected = wait::until("the figures", || {
        let line = mosquitto_sub_once(broker.mqtt(), "$SYS/broker/uptime");
        line.starts_with("$SYS/broker/uptime ").then_some(line)
    });
    assert!(connected.ends_with(" seconds"), "{connected}");
    let version = mosquitto_sub_once(broker.mqtt(), "$SYS/broker/version");
    assert!(
        version.starts_with("$SYS/broker/version syncline version "),
        "{version}"
    );
    let mut subscriber = client(&broker, Version::V5, "subscriber");
    subscriber.subscribe("$SYS/#").unwrap();
    for topic in [
        "bytes/received",
        "clients/total",
        "retained messages/count",
        "schema",
    ] {
        let topic = format!("$SYS/broker/{topic}");
        assert!(subscriber.message_on(&topic).unwrap().retain);
    }
}

fn mosquitto_sub_once(address: SocketAddr, filter: &str) -> String {
    let port = address.port().to_string();
    let output = Command::new("mosquitto_sub")
        .args([
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-t",
            filter,
            "-v",
            "-C",
            "1",
            "-W",
            "20",
        ])
        .output()
        .expect("mosquitto_sub runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
