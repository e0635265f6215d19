//! The `state` topic, the schema, and agreement between holders.

use std::sync::Arc;

use syncline_protocol::{Event, Schema, Snapshot, State};
use syncline_tests::broker::{Broker, Setup};
use syncline_tests::http;
use syncline_tests::star::Star;
use syncline_tests::wire::Version;

use crate::scene::{LAPTOP, PHONE, device, guest, number, star, stars, watcher};

#[test]
fn snap_4_g8_a_state_answered_on_subscribe_has_everything_acknowledged_before() {
    let broker = Broker::start();
    let mut author = guest(&broker);
    for at in 1..=50 {
        let seq = star(&mut author, "sync/home", &format!("album-{at}"));
        let message = watcher(&broker, "$json/sync/home/state").message().unwrap();
        assert!(message.retain);
        assert_eq!(number(&message.json(), "seq"), seq);
    }
}

#[test]
fn snap_5_snap_6_an_empty_stream_has_no_state_and_the_last_of_many_is_always_sent() {
    let broker = Broker::start();
    let mut watcher = watcher(&broker, "$json/sync/home/state");
    stars(&broker, "sync/home", 200);
    let first = watcher.message().unwrap();
    assert!(!first.retain, "no retained state before the first event");
    let (mut states, mut last) = (1, number(&first.json(), "seq"));
    while last < 200 {
        let message = watcher.message().unwrap();
        assert!(!message.retain);
        let seq = number(&message.json(), "seq");
        assert!(seq > last, "{seq} after {last}");
        (states, last) = (states + 1, seq);
    }
    assert!(states < 200, "coalesced");
}

#[test]
fn state_2_state_4_g5_events_and_state_amount_to_the_same_digest() {
    let broker = Broker::start();
    let (mut phone, mut laptop) = (
        device(&broker, Version::V5, PHONE),
        device(&broker, Version::V311, LAPTOP),
    );
    let events = "sync/home/events";
    let now = 1_700_000_000_000;
    phone
        .publish(events, Star::album("a").at(now + 1000, 0).json())
        .unwrap();
    // A slow clock that did not see the star loses, one that saw it wins.
    let unseen = Star::no_album("a").at(now, 0).with("base_seq", 0.into());
    laptop.publish(events, unseen.json()).unwrap();
    laptop
        .publish(events, Star::album("b").at(now, 1).json())
        .unwrap();
    let seen = Star::no_album("b")
        .at(now - 5000, 0)
        .with("base_seq", 3.into());
    phone.publish(events, seen.json()).unwrap();

    let message = watcher(&broker, "sync/home/state").message().unwrap();
    let snapshot = Snapshot::decode(&message.payload).unwrap();
    let schema = Schema::parse(include_str!("../../../config/schemas/music.toml")).unwrap();
    let mut state = State::new(Arc::new(schema));
    let mut replay = watcher(&broker, "$since/0/sync/home/events");
    for _ in 0..4 {
        let event = Event::decode(&replay.message().unwrap().payload).unwrap();
        state.apply(&event).unwrap();
    }
    assert_eq!(
        (snapshot.digest, snapshot.digests),
        (state.digest(), state.digests())
    );
    assert!(
        state.entry("albums", "a").unwrap().value().is_some(),
        "the star of a stays"
    );
    assert!(
        state.entry("albums", "b").unwrap().value().is_none(),
        "the star of b is gone"
    );
}

#[test]
fn schema_3_topic_and_http_say_the_same_schema() {
    let broker = Broker::start();
    let message = watcher(&broker, "$SYS/broker/schema").message().unwrap();
    let page = http::get(broker.http(), "/schema").unwrap();
    assert_eq!(page.status, 200);
    assert_eq!(page.body.as_bytes(), message.payload);
    let schema = message.json();
    assert_eq!(
        schema["schema"]["collections"]["albums"]["add"],
        "star_album"
    );
    stars(&broker, "sync/home", 1);
    let state = watcher(&broker, "$json/sync/home/state")
        .message()
        .unwrap()
        .json();
    assert_eq!(state["schema"], schema["hash"]);
}

#[test]
fn channels_are_streams_of_their_own() {
    let broker = Broker::start();
    stars(&broker, "sync/home", 3);
    let mut guest = guest(&broker);
    assert_eq!(star(&mut guest, "sync/home/living-room", "album-1"), 1);
    let state = watcher(&broker, "$json/sync/home/living-room/state")
        .message()
        .unwrap()
        .json();
    assert_eq!(
        (state["channel"].as_str(), number(&state, "head")),
        (Some("living-room"), 1)
    );
}

#[test]
fn digest_3_collections_defined_identically_compare_whatever_else_a_schema_has() {
    let music = include_str!("../../../config/schemas/music.toml");
    let more = r#"
        [collections.artists]
        kind = "set"
        conflict = "last_write_wins"
        key = "artist_id"
        add = "follow_artist"
        remove = "leave_artist"
    "#;
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("schema.toml");
    std::fs::write(&path, format!("{music}{more}")).unwrap();
    let brokers = [
        Setup::new(),
        Setup::new().arguments(&["--schema", path.to_str().unwrap()]),
    ]
    .map(Setup::start);
    let states = brokers.each_ref().map(|broker| {
        let mut phone = device(broker, Version::V5, PHONE);
        let follow = Star::of("follow_artist", serde_json::json!({ "artist_id": "x" }));
        for star in [Star::album("a"), follow, Star::album("b")] {
            phone
                .publish("sync/home/events", star.at(1_700_000_000_000, 0).json())
                .unwrap();
        }
        watcher(broker, "$json/sync/home/state")
            .message()
            .unwrap()
            .json()
    });
    assert_eq!(
        states[0]["digests"]["albums"],
        states[1]["digests"]["albums"]
    );
    assert_ne!(
        states[0]["digest"], states[1]["digest"],
        "one of them follows an artist"
    );
    assert_ne!(states[0]["schema"], states[1]["schema"]);
}
