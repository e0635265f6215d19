//! Another history begins while people follow (EPOCH-1 … EPOCH-3).

use syncline_protocol::{Event, Snapshot};
use syncline_tests::broker::Broker;
use syncline_tests::wire::Wire;

use crate::follower::Follower;
use crate::horizon::{act, now};
use crate::scene::{guest, star, watcher};

fn state(wire: &mut Wire) -> (Snapshot, bool) {
    let message = wire.message().unwrap();
    assert_eq!(message.topic, "sync/home/state");
    (Snapshot::decode(&message.payload).unwrap(), message.retain)
}

#[test]
fn epoch_1_epoch_3_a_cursor_beyond_the_head_begins_an_epoch_and_everybody_hears_of_it() {
    let broker = Broker::start();
    let mut author = guest(&broker);
    act(&mut author, "sync/home", 1, 5);
    let before = now(&broker, "sync/home");
    let filters = [
        "sync/home/events",
        "$json/$since/0/sync/home/events",
        "$since/0-0/sync/home/events",
        "sync/+/events",
    ];
    let mut followers: Vec<_> = filters
        .map(|filter| (watcher(&broker, filter), filter))
        .into();
    for (wire, filter) in &mut followers {
        match filter.contains("$since") {
            true => Follower::new().until(wire, 5),
            false => wire.ping().unwrap(),
        }
    }
    let filter = format!("$since/9-{}/sync/home/events", before.epoch);
    let mut restored = watcher(&broker, &filter);
    let (opening, retain) = state(&mut restored);
    assert_ne!(opening.epoch, before.epoch);
    assert_eq!(
        (opening.seq.get(), opening.since.get(), retain),
        (5, 0, true)
    );
    assert_eq!(opening.digest, before.digest, "EPOCH-2");
    assert!(broker.log().contains("epoch"), "logged");

    assert_eq!(
        star(&mut author, "sync/home", "after"),
        6,
        "seq goes on (EPOCH-2)"
    );
    for (wire, filter) in &mut followers {
        let (bridge, retain) = state(wire);
        assert_eq!(
            (bridge.epoch, retain, bridge.since.get()),
            (opening.epoch, false, 0),
            "{filter}"
        );
        if bridge.seq.get() == 5 {
            let event = Event::decode(&wire.message().unwrap().payload).unwrap();
            assert_eq!(
                (event.seq.get(), event.epoch),
                (6, opening.epoch),
                "{filter}"
            );
        }
    }
    let event = Event::decode(&restored.message().unwrap().payload).unwrap();
    assert_eq!((event.seq.get(), event.epoch), (6, opening.epoch));
}

#[test]
fn epoch_1_once_an_hour_at_most_and_nobody_else_is_disturbed() {
    let broker = Broker::start();
    act(&mut guest(&broker), "sync/home", 1, 3);
    let epoch = now(&broker, "sync/home").epoch;
    let sign = |epoch| format!("$since/7-{epoch}/sync/home/events");
    let second = state(&mut watcher(&broker, &sign(epoch))).0.epoch;
    assert_ne!(second, epoch);
    let mut follower = watcher(&broker, "sync/home/events");
    for epoch in [second, epoch] {
        let (full, _) = state(&mut watcher(&broker, &sign(epoch)));
        assert_eq!(
            (full.epoch, full.since.get(), full.seq.get()),
            (second, 0, 3)
        );
    }
    follower.ping().unwrap();
    assert_eq!(follower.waiting(), 0);
    // An empty stream has no epoch to be rolled back from.
    let mut empty = watcher(&broker, &sign(epoch).replace("home", "nobody"));
    assert_eq!(
        Snapshot::decode(&empty.message().unwrap().payload)
            .unwrap()
            .seq
            .get(),
        0
    );
}
