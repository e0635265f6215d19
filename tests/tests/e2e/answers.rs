//! What a PUBLISH is answered with.

use serde_json::json;
use syncline_tests::broker::Broker;
use syncline_tests::star::Star;
use syncline_tests::wire::{Connect, Packet, Version, Wire};

use crate::scene::{LAPTOP, PHONE, device, guest, number, seqs, stars, watcher};

const EVENTS: &str = "sync/home/events";

/// Payloads that are refused for good, with topic, name and v5 code.
fn refused() -> Vec<(&'static str, String, &'static str, u8)> {
    let star = |id: &str| Star::album(id);
    let event = |text: String, name, code| (EVENTS, text, name, code);
    vec![
        event("x".into(), "not_an_event", 0x99),
        event(json!({ "event_data": 1 }).to_string(), "not_an_event", 0x99),
        event(
            Star::of("x", json!({ "__proto__": 1 })).json(),
            "bad_value",
            0x99,
        ),
        event(
            Star::of("star_album", json!({ "other": 1 })).json(),
            "bad_data",
            0x99,
        ),
        event(
            star("a").with("device_seq", 1.into()).json(),
            "bad_device_seq",
            0x99,
        ),
        event(
            star("a").from_device(PHONE, 1 << 40).json(),
            "bad_device_seq",
            0x99,
        ),
        event(
            star("a").from_device(LAPTOP, 1).json(),
            "not_your_device",
            0x87,
        ),
        event(
            star("a")
                .with("base_seq", 1.into())
                .with("epoch", "00000000000000ff".into())
                .json(),
            "wrong_epoch",
            0x83,
        ),
        ("sync/home/state", star("a").json(), "bad_topic", 0x90),
    ]
}

#[test]
fn answer_3_at_5_a_refusal_has_its_code_and_name_and_the_connection_lives() {
    let broker = Broker::start();
    let mut phone = device(&broker, Version::V5, PHONE);
    assert_eq!(
        phone
            .publish(EVENTS, Star::album("first").json())
            .unwrap()
            .seq(),
        Some(1)
    );
    for (topic, payload, name, code) in refused() {
        let answer = phone.publish(topic, &payload).unwrap();
        assert_eq!(
            (answer.code, answer.refusal()),
            (code, Some(name)),
            "{payload}: {answer:?}"
        );
    }
    let answer = phone.publish("sync", "x").unwrap();
    assert_eq!(
        (answer.code, answer.refusal()),
        (0x90, Some("bad_topic")),
        "TOPIC-3"
    );
    let answer = phone.publish(EVENTS, Star::album("last").json()).unwrap();
    assert_eq!(answer.seq(), Some(2), "a refusal takes no seq");
}

#[test]
fn answer_3_answer_5_at_3_1_1_the_errors_topic_speaks_before_the_puback() {
    let broker = Broker::start();
    let mut phone = device(&broker, Version::V311, PHONE);
    phone.publish(EVENTS, Star::album("first").json()).unwrap();
    assert_eq!(
        phone
            .subscribe(&format!("$json/sync/home/errors/{PHONE}"))
            .unwrap(),
        1
    );
    for (topic, payload, name, _) in refused() {
        let sent = phone.send(topic, &payload).unwrap();
        let Packet::Publish(error) = phone.receive().unwrap() else {
            panic!("the PUBACK of {payload} came before the message");
        };
        phone.acknowledge(error.id.unwrap()).unwrap();
        assert_eq!(error.topic, format!("sync/home/errors/{PHONE}"));
        let error = error.json();
        assert_eq!(
            (error["error"].as_str(), error["sync_id"].as_str()),
            (Some(name), Some("home"))
        );
        assert_eq!(error["device_uuid"], PHONE);
        assert!(
            error["reason"].is_string() && error["channel"].is_null(),
            "{error}"
        );
        assert!(matches!(phone.receive().unwrap(), Packet::PubAck { id, .. } if id == sent));
    }
    // The connection lives.
    assert_eq!(
        phone
            .publish(EVENTS, Star::album("last").json())
            .unwrap()
            .code,
        0
    );
}

#[test]
fn answer_2_acknowledgements_leave_in_the_order_of_the_publishes() {
    let broker = Broker::start();
    for version in Version::BOTH {
        let mut phone = device(&broker, version, PHONE);
        let mut expected = Vec::new();
        for at in 0..30 {
            let (topic, payload) = match at % 3 {
                0 => (EVENTS, Star::album(&format!("album-{at}")).json()),
                1 => ("sync/home/state", "x".to_owned()),
                _ => (EVENTS, "x".to_owned()),
            };
            expected.push(phone.send(topic, payload).unwrap());
        }
        let mut acknowledged = Vec::new();
        while acknowledged.len() < expected.len() {
            if let Packet::PubAck { id, .. } = phone.receive().unwrap() {
                acknowledged.push(id);
            }
        }
        assert_eq!(acknowledged, expected, "{version:?}");
    }
}

#[test]
fn answer_1_g1_a_success_names_the_seq_and_a_repeat_the_first_one() {
    let broker = Broker::start();
    let mut phone = device(&broker, Version::V5, PHONE);
    let star = Star::album("a")
        .from_device(PHONE, 1)
        .at(1_700_000_000_000, 0)
        .json();
    assert_eq!(phone.publish(EVENTS, &star).unwrap().seq(), Some(1));
    stars(&broker, "sync/home", 2);
    let again = phone.publish(EVENTS, &star).unwrap();
    assert_eq!(
        (again.code, again.repeat(), again.seq()),
        (0, Some(1), None)
    );
    // Also after the device came back, and with another base_seq (EVENT-9).
    let mut phone = device(&broker, Version::V5, PHONE);
    let rebased = Star::album("a")
        .from_device(PHONE, 1)
        .at(1_700_000_000_000, 0);
    let rebased = rebased.with("base_seq", 1.into()).json();
    assert_eq!(phone.publish(EVENTS, &rebased).unwrap().repeat(), Some(1));
    assert_eq!(
        seqs(&mut watcher(&broker, "$json/$since/0/sync/home/events"), 3),
        [1, 2, 3]
    );
}

#[test]
fn event_10_g4_another_event_at_the_mark_is_a_fork_and_a_later_one_goes_on() {
    let broker = Broker::start();
    let mut phone = device(&broker, Version::V5, PHONE);
    for at in 1..=3 {
        let star = Star::album(&format!("album-{at}"))
            .from_device(PHONE, at)
            .json();
        assert_eq!(phone.publish(EVENTS, star).unwrap().seq(), Some(at));
    }
    let other = Star::no_album("album-2").from_device(PHONE, 2).json();
    let answer = phone.publish(EVENTS, other).unwrap();
    assert_eq!(
        (answer.code, answer.refusal()),
        (0x83, Some("device_forked"))
    );
    let next = Star::album("album-4").from_device(PHONE, 4).json();
    assert_eq!(phone.publish(EVENTS, next).unwrap().seq(), Some(4));
}

#[test]
fn event_4_a_device_is_named_by_property_or_client_id() {
    let broker = Broker::start();
    let mut watcher = watcher(&broker, "$json/sync/home/events");
    let by_property = Connect::new(Version::V5, "any").user("device", PHONE);
    let mut wire = Wire::connect(broker.mqtt(), &by_property).unwrap();
    wire.publish(EVENTS, Star::album("a").json()).unwrap();
    assert_eq!(watcher.message().unwrap().json()["device_uuid"], PHONE);
    device(&broker, Version::V311, LAPTOP)
        .publish(EVENTS, Star::album("b").json())
        .unwrap();
    assert_eq!(watcher.message().unwrap().json()["device_uuid"], LAPTOP);
    // A plain client id has a device too, always the same one.
    let mut named = Vec::new();
    for album in ["c", "d"] {
        let mut wire =
            Wire::connect(broker.mqtt(), &Connect::new(Version::V311, "kitchen")).unwrap();
        wire.publish(EVENTS, Star::album(album).json()).unwrap();
        named.push(watcher.message().unwrap().json()["device_uuid"].clone());
    }
    assert_eq!(named[0], named[1]);
}

#[test]
fn event_5_event_6_clock_2_the_broker_fills_in_what_is_left_out() {
    let broker = Broker::start();
    let mut watcher = watcher(&broker, "$json/sync/home/events");
    stars(&broker, "sync/home", 3);
    let events: Vec<_> = (0..3).map(|_| watcher.message().unwrap().json()).collect();
    for pair in events.windows(2) {
        assert!(number(&pair[0], "accepted_at") <= number(&pair[1], "accepted_at"));
        let clock = |event| (number(event, "timestamp"), number(event, "counter"));
        assert!(clock(&pair[0]) < clock(&pair[1]), "{pair:?}");
    }
    let bases: Vec<u64> = events
        .iter()
        .map(|event| number(event, "base_seq"))
        .collect();
    assert_eq!(bases, [0, 1, 2], "the head at acceptance");
    assert!(events[0]["channel"].is_null() && events[0].get("device_seq").is_none());
}

#[test]
fn event_2_unknown_names_and_types_are_carried() {
    let broker = Broker::start();
    let mut watcher = watcher(&broker, "$json/sync/home/events");
    let event = Star::of("played", json!({ "seconds": 31.5, "where": ["car", null] }))
        .with("app_version", "4.2".into());
    guest(&broker).publish(EVENTS, event.json()).unwrap();
    let event = watcher.message().unwrap().json();
    assert_eq!(
        (event["app_version"].as_str(), event["event_type"].as_str()),
        (Some("4.2"), Some("played"))
    );
    assert_eq!(
        event["event_data"],
        json!({ "seconds": 31.5, "where": ["car", null] })
    );
}

#[test]
fn answer_3_at_qos_0_only_the_errors_topic_tells() {
    let broker = Broker::start();
    let mut phone = device(&broker, Version::V5, PHONE);
    phone
        .subscribe(&format!("$json/sync/home/errors/{PHONE}"))
        .unwrap();
    phone.send_qos0(EVENTS, "x").unwrap();
    assert_eq!(phone.message().unwrap().json()["error"], "not_an_event");
    let mut watcher = watcher(&broker, "$json/sync/home/events");
    phone.send_qos0(EVENTS, Star::album("a").json()).unwrap();
    assert_eq!(number(&watcher.message().unwrap().json(), "seq"), 1);
}

#[test]
fn clock_1_a_counter_fits_into_32_bits() {
    let broker = Broker::start();
    let mut phone = device(&broker, Version::V5, PHONE);
    let now = 1_700_000_000_000;
    let largest = Star::album("a").at(now, (1 << 32) - 1).json();
    assert_eq!(phone.publish(EVENTS, largest).unwrap().seq(), Some(1));
    let larger = Star::album("b").at(now, 1 << 32).json();
    assert_eq!(
        phone.publish(EVENTS, larger).unwrap().refusal(),
        Some("not_an_event")
    );
}
