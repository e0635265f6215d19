//! Who is here, and what a device leaves behind.

use serde_json::Value;
use syncline_tests::broker::Broker;
use syncline_tests::star::Star;
use syncline_tests::wire::{Connect, Version, Wire};

use crate::scene::{PHONE, number, star, watcher};

fn phone(broker: &Broker) -> Wire {
    let connect = Connect::new(Version::V5, "")
        .user("device", PHONE)
        .user("name", "Phone");
    Wire::connect(broker.mqtt(), &connect).unwrap()
}

/// The next presence that `wanted` accepts.
fn presence(watcher: &mut Wire, wanted: impl Fn(&Value) -> bool) -> Value {
    loop {
        let message = watcher.message().unwrap();
        assert_eq!(message.topic, format!("sync/home/presence/{PHONE}"));
        let presence = message.json();
        if wanted(&presence) {
            return presence;
        }
    }
}

#[test]
fn presence_1_presence_2_a_device_is_seen_to_come_and_to_go() {
    let broker = Broker::start();
    let mut watcher = watcher(&broker, "$json/sync/home/presence/+");
    // A connection without a UUID of its own is not a device that anybody looks for.
    let mut anonymous = Wire::connect(broker.mqtt(), &Connect::new(Version::V5, "x")).unwrap();
    star(&mut anonymous, "sync/home", "a");
    let mut phone = phone(&broker);
    star(&mut phone, "sync/home", "b");
    let here = presence(&mut watcher, |presence| presence["online"] == true);
    assert_eq!(
        (here["device_uuid"].as_str(), here["name"].as_str()),
        (Some(PHONE), Some("Phone"))
    );
    assert!(number(&here, "since") > 1_500_000_000_000 && here["acked"].is_object());
    phone.disconnect().unwrap();
    let gone = presence(&mut watcher, |presence| presence["online"] == false);
    assert!(number(&gone, "since") >= number(&here, "since"));
}

#[test]
fn presence_3_acked_follows_what_the_device_acknowledged() {
    let broker = Broker::start();
    let mut watcher = watcher(&broker, "$json/sync/home/presence/+");
    let mut phone = phone(&broker);
    phone.subscribe("$json/sync/home/events").unwrap();
    let mut other = Wire::connect(broker.mqtt(), &Connect::new(Version::V5, "x")).unwrap();
    for at in 1..=3 {
        star(&mut other, "sync/home", &format!("album-{at}"));
    }
    for _ in 0..3 {
        phone.message().unwrap();
    }
    presence(&mut watcher, |presence| presence["acked"][""] == 3);
}

#[test]
fn presence_is_retained() {
    let broker = Broker::start();
    let mut phone = phone(&broker);
    star(&mut phone, "sync/home", "a");
    let mut late = watcher(&broker, &format!("$json/sync/home/presence/{PHONE}"));
    let message = late.message().unwrap();
    assert!(message.retain);
    assert_eq!(message.json()["online"], true);
}

#[test]
fn presence_4_g12_after_a_kill_who_was_here_is_offline_and_who_was_away_as_before() {
    let mut broker = Broker::start();
    let mut seen = watcher(&broker, "$json/sync/home/presence/+");
    let tablet = "11111111-2222-4333-8444-555555555555";
    let connect = Connect::new(Version::V5, tablet);
    let mut tablet_wire = Wire::connect(broker.mqtt(), &connect).unwrap();
    star(&mut tablet_wire, "sync/home", "a");
    tablet_wire.disconnect().unwrap();
    let offline = |message: &Value| message["online"] == false;
    let away = loop {
        let presence = seen.message().unwrap().json();
        if offline(&presence) {
            break presence;
        }
    };
    let mut phone = phone(&broker);
    star(&mut phone, "sync/home", "b");
    let here = presence(&mut seen, |presence| presence["online"] == true);
    // Whatever was written is on disk behind a session's SUBACK.
    let kept = Connect::new(Version::V311, "kept").back();
    let mut kept = Wire::connect(broker.mqtt(), &kept).unwrap();
    kept.subscribe("sync/home/events").unwrap();
    broker.kill().unwrap();
    broker.start_again();
    let mut late = watcher(&broker, "$json/sync/home/presence/+");
    let mut both = [late.message().unwrap(), late.message().unwrap()];
    both.sort_by_key(|message| message.topic.ends_with(PHONE));
    let [tablet, phone] = both.map(|message| message.json());
    assert_eq!(tablet, away);
    assert!(offline(&phone) && phone["name"] == "Phone");
    assert!(number(&phone, "since") > number(&here, "since"));
    let erased = broker.ask(&["erase", "--sync", "home", "--yes"]);
    assert!(erased.status.success(), "{erased:?}");
    assert_eq!(late.message().unwrap().payload, b"");
    assert_eq!(late.message().unwrap().payload, b"");
}

#[test]
fn a_will_is_an_event_of_its_device() {
    let broker = Broker::start();
    let mut watcher = watcher(&broker, "$json/sync/home/events");
    let will = Star::of("left", Value::Null).json();
    let connect = Connect::new(Version::V5, PHONE).will("sync/home/events", &will);
    drop(Wire::connect(broker.mqtt(), &connect).unwrap());
    let event = watcher.message().unwrap().json();
    assert_eq!(
        (event["event_type"].as_str(), number(&event, "seq")),
        (Some("left"), 1)
    );
    assert_eq!(event["device_uuid"], PHONE);
}

#[test]
fn a_second_connection_of_a_client_id_takes_over() {
    let broker = Broker::start();
    let connect = Connect::new(Version::V5, "same");
    let mut first = Wire::connect(broker.mqtt(), &connect).unwrap();
    let mut second = Wire::connect(broker.mqtt(), &connect).unwrap();
    let last = first.until_closed().unwrap();
    assert!(
        format!("{last:?}").contains("code: 142"),
        "0x8E, session taken over: {last:?}"
    );
    star(&mut second, "sync/home", "a");
}
