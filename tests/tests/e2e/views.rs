//! Prefixes of a filter, and what arrives under them.

use syncline_protocol::{Event, Snapshot};
use syncline_tests::broker::Broker;
use syncline_tests::star::Star;
use syncline_tests::wire::{Connect, Version, Wire};

use crate::scene::{PHONE, device, guest, number, seqs, star, stars, watcher};

const NOT_SERVED_5: u8 = 0x8f;
const NOT_SERVED_3: u8 = 0x80;

#[test]
fn view_2_json_and_messagepack_say_the_same() {
    let broker = Broker::start();
    let mut text = watcher(&broker, "$json/sync/home/events");
    let mut binary = watcher(&broker, "sync/home/events");
    stars(&broker, "sync/home", 1);
    let as_text = Event::decode(&text.message().unwrap().payload).unwrap();
    let message = binary.message().unwrap();
    assert_eq!(as_text, Event::decode(&message.payload).unwrap());
    assert_eq!(message.topic, "sync/home/events");
    // EVENT-1: every name, canonical.
    assert_eq!(as_text.encode(), message.payload);
}

#[test]
fn view_3_since_replays_and_goes_on_without_gap_or_repeat() {
    let broker = Broker::start();
    let mut author = guest(&broker);
    stars(&broker, "sync/home", 20);
    let mut all = watcher(&broker, "$json/$since/0/sync/home/events");
    let mut some = watcher(&broker, "$json/$since/17/sync/home/events");
    let mut none = watcher(&broker, "$json/$since/99/sync/home/events");
    for at in 21..=25 {
        star(&mut author, "sync/home", &format!("later-{at}"));
    }
    assert_eq!(seqs(&mut all, 25), (1..=25).collect::<Vec<_>>());
    assert_eq!(seqs(&mut some, 8), (18..=25).collect::<Vec<_>>());
    assert_eq!(seqs(&mut none, 5), (21..=25).collect::<Vec<_>>());
}

#[test]
fn view_3_a_replay_meets_the_live_stream_while_events_keep_coming() {
    const COUNT: u64 = 1500;
    let broker = Broker::start();
    let mut author = guest(&broker);
    stars(&broker, "sync/home", 500);
    let mut watchers = Vec::new();
    for at in 501..=COUNT {
        star(&mut author, "sync/home", &format!("album-{at}"));
        if at % 250 == 0 {
            watchers.push(watcher(&broker, "$json/$since/0/sync/home/events"));
        }
    }
    for watcher in &mut watchers {
        assert_eq!(
            seqs(watcher, COUNT as usize),
            (1..=COUNT).collect::<Vec<_>>()
        );
    }
}

#[test]
fn view_3_since_zero_takes_wildcards_and_other_numbers_do_not() {
    let broker = Broker::start();
    stars(&broker, "sync/home", 3);
    stars(&broker, "sync/home/side", 2);
    stars(&broker, "sync/office", 1);
    let mut every = watcher(&broker, "$json/$since/0/sync/home/#");
    let mut found = Vec::new();
    while found.len() < 5 {
        let message = every.message().unwrap();
        if message.topic.ends_with("/events") {
            found.push((message.topic.clone(), number(&message.json(), "seq")));
        }
    }
    found.sort();
    let expected = [
        ("sync/home/events", 1),
        ("sync/home/events", 2),
        ("sync/home/events", 3),
    ];
    let side = [("sync/home/side/events", 1), ("sync/home/side/events", 2)];
    let expected: Vec<_> = expected
        .into_iter()
        .chain(side)
        .map(|(topic, seq)| (topic.to_owned(), seq))
        .collect();
    assert_eq!(found, expected);
    let mut guest = guest(&broker);
    assert_eq!(
        guest.subscribe("$since/3/sync/+/events").unwrap(),
        NOT_SERVED_5
    );
}

#[test]
fn view_4_an_sdk_opens_with_one_state_and_its_mark_then_events() {
    let broker = Broker::start();
    let mut phone = device(&broker, Version::V5, PHONE);
    for at in 1..=3 {
        let star = Star::album(&format!("album-{at}")).from_device(PHONE, at * 10);
        assert_eq!(
            phone
                .publish("sync/home/events", star.json())
                .unwrap()
                .seq(),
            Some(at)
        );
    }
    assert_eq!(phone.subscribe("$since/0-0/sync/home/events").unwrap(), 1);
    let opening = phone.message().unwrap();
    assert_eq!(
        (opening.topic.as_str(), opening.retain),
        ("sync/home/state", true)
    );
    let opening = Snapshot::decode(&opening.payload).unwrap();
    assert_eq!((opening.since.get(), opening.seq.get()), (0, 3));
    assert_eq!(opening.mark.unwrap().unwrap().get(), 30);
    assert_eq!(opening.collections["albums"].len(), 3);
    star(&mut guest(&broker), "sync/home", "album-4");
    let event = Event::decode(&phone.message_on("sync/home/events").unwrap().payload).unwrap();
    assert_eq!((event.seq.get(), event.epoch), (4, opening.epoch));

    // SNAP-7: another device resumes where this one is, and gets no more than what is new.
    let mut other = guest(&broker);
    let filter = format!("$since/3-{}/sync/home/events", opening.epoch);
    assert_eq!(other.subscribe(&filter).unwrap(), 1);
    let resumed = Snapshot::decode(&other.message().unwrap().payload).unwrap();
    assert_eq!((resumed.seq.get(), resumed.mark), (4, Some(None)));
    assert!(
        resumed.since.get() == 3 || resumed.collections["albums"].len() == 4,
        "{resumed:?}"
    );
}

#[test]
fn snap_7_an_empty_stream_opens_too() {
    let broker = Broker::start();
    let mut wire = watcher(&broker, "$json/$since/0-0/sync/empty/events");
    let opening = wire.message().unwrap().json();
    assert_eq!(opening["epoch"], "0000000000000000");
    assert_eq!((number(&opening, "seq"), number(&opening, "head")), (0, 0));
    assert!(opening["mark"].is_null());
    // SNAP-1
    assert!(
        opening["collections"]["albums"]
            .as_object()
            .unwrap()
            .is_empty()
    );
    assert!(opening["digests"]["tracks"].is_string());
}

#[test]
fn view_5_any_form_replaces_and_removes_a_subscription() {
    let broker = Broker::start();
    stars(&broker, "sync/home", 3);
    let mut wire = watcher(&broker, "$json/$since/0/sync/home/events");
    assert_eq!(seqs(&mut wire, 3), [1, 2, 3]);
    assert_eq!(
        wire.subscribe("$json/$since/1/sync/home/events").unwrap(),
        1
    );
    assert_eq!(seqs(&mut wire, 2), [2, 3], "the cursor was moved");
    wire.unsubscribe("sync/home/events").unwrap();
    assert_eq!(wire.subscribe("$json/sync/office/events").unwrap(), 1);
    stars(&broker, "sync/home", 1);
    stars(&broker, "sync/office", 1);
    assert_eq!(wire.message().unwrap().topic, "sync/office/events");
}

#[test]
fn view_6_overlapping_filters_bring_one_copy_per_encoding() {
    let broker = Broker::start();
    let mut wire = guest(&broker);
    let filters = [
        ("sync/home/events", 1),
        ("sync/+/events", 0),
        ("$json/sync/#", 1),
        ("$json/sync/home/#", 1),
    ];
    assert_eq!(wire.subscribe_all(&filters).unwrap(), [1, 0, 1, 1]);
    stars(&broker, "sync/home", 2);
    let (mut text, mut binary) = (Vec::new(), Vec::new());
    while text.last() != Some(&2) || binary.last() != Some(&2) {
        let message = wire.message().unwrap();
        if message.topic == "sync/home/events" {
            let copies = if message.payload[0] == b'{' {
                &mut text
            } else {
                &mut binary
            };
            copies.push(Event::decode(&message.payload).unwrap().seq.get());
            assert_eq!(message.qos, 1);
        }
    }
    assert_eq!((text, binary), (vec![1, 2], vec![1, 2]));
}

#[test]
fn view_7_view_8_what_is_not_served_is_refused_by_code() {
    let broker = Broker::start();
    let refused = [
        "$share/group/sync/home/events",
        "$at/3/sync/+/state",
        "$at/3/sync/home/events",
        "$since/x/sync/home/events",
        "$since/1-0/sync/+/events",
        "$since/0/$json/sync/home/events",
    ];
    let mut new = guest(&broker);
    let mut old = Wire::connect(broker.mqtt(), &Connect::new(Version::V311, "old")).unwrap();
    for filter in refused {
        assert_eq!(new.subscribe(filter).unwrap(), NOT_SERVED_5, "{filter}");
        assert_eq!(old.subscribe(filter).unwrap(), NOT_SERVED_3, "{filter}");
    }
    assert_eq!(
        new.subscribe("sync/home/events").unwrap(),
        1,
        "the connection lives"
    );
}

#[test]
fn topic_5_a_wildcard_does_not_reach_topics_that_begin_with_a_dollar() {
    let broker = Broker::start();
    let mut wire = watcher(&broker, "#");
    assert_eq!(wire.subscribe("$SYS/broker/schema").unwrap(), 1);
    let schema = wire.message().unwrap();
    assert_eq!(schema.topic, "$SYS/broker/schema");
    assert!(schema.retain);
    stars(&broker, "sync/home", 1);
    let next = wire.message().unwrap();
    assert!(next.topic.starts_with("sync/home/"), "{}", next.topic);
}

#[test]
fn snap_3_a_client_of_another_epoch_gets_the_full_state() {
    let broker = Broker::start();
    stars(&broker, "sync/home", 3);
    let mut wire = watcher(&broker, "$json/$since/2-00000000000000ff/sync/home/events");
    let opening = wire.message().unwrap().json();
    assert_eq!((number(&opening, "since"), number(&opening, "seq")), (0, 3));
    assert_eq!(
        opening["collections"]["albums"].as_object().unwrap().len(),
        3
    );
}

#[test]
fn g3_whoever_follows_events_and_states_gets_each_event_once() {
    const COUNT: u64 = 1_000;
    let broker = Broker::start();
    let mut wire = watcher(&broker, "$json/sync/#");
    stars(&broker, "sync/home", COUNT);
    let mut seqs = Vec::new();
    while seqs.last() != Some(&COUNT) {
        let message = wire.message().unwrap();
        if message.topic == "sync/home/events" {
            seqs.push(number(&message.json(), "seq"));
        }
    }
    assert_eq!(seqs, (1..=COUNT).collect::<Vec<_>>());
}

#[test]
fn view_6_overlapping_filters_bring_one_copy_of_a_refusal() {
    let broker = Broker::start();
    let mut phone = device(&broker, Version::V311, PHONE);
    let mut wire = guest(&broker);
    let filters = [
        ("$json/sync/+/errors/+", 1),
        ("$json/sync/home/#", 1),
        ("$json/sync/#", 1),
    ];
    assert_eq!(wire.subscribe_all(&filters).unwrap(), [1, 1, 1]);
    for at in 1..=3 {
        let refused = Star::of("star_album", serde_json::json!({})).from_device(PHONE, at);
        phone.publish("sync/home/events", refused.json()).unwrap();
    }
    let told = (0..3).map(|_| {
        let message = wire
            .message_on(&format!("sync/home/errors/{PHONE}"))
            .unwrap();
        number(&message.json(), "device_seq")
    });
    assert_eq!(told.collect::<Vec<_>>(), [1, 2, 3]);
}
