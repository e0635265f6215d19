//! Sessions that outlive their connections, and the broker (G12).

use std::time::Instant;

use syncline_tests::broker::{Broker, Setup};
use syncline_tests::mosquitto::Subscriber;
use syncline_tests::wait;
use syncline_tests::wire::{Connect, Packet, Version, Wire};

use crate::scene::{guest, number, seqs, star, stars};

const EVENTS: &str = "$json/sync/home/events";

/// How a client reaches the broker.
#[derive(Debug, Clone, Copy)]
enum Way {
    Tcp,
    WebSocket,
}

const WAYS: [Way; 2] = [Way::Tcp, Way::WebSocket];

fn returning(version: Version, id: &str) -> Connect {
    let connect = Connect::new(version, id).back();
    match version {
        Version::V311 => connect,
        Version::V5 => connect.expiry(600),
    }
}

/// A connection and whether its session was there.
fn connect(broker: &Broker, way: Way, connect: &Connect) -> (Wire, bool) {
    let (wire, answer) = match way {
        Way::Tcp => Wire::connect_raw(broker.mqtt(), connect),
        Way::WebSocket => Wire::connect_websocket(broker.http(), connect),
    }
    .expect("a CONNACK");
    match answer {
        Packet::ConnAck {
            code: 0,
            session_present,
            ..
        } => (wire, session_present),
        other => panic!("{other:?}"),
    }
}

fn back(broker: &Broker, version: Version, id: &str) -> (Wire, bool) {
    connect(broker, Way::Tcp, &returning(version, id))
}

/// Reads until `last`; what came is without holes and begins at or before `first`.
fn catches_up(wire: &mut Wire, first: u64, last: u64) {
    let mut seen = seqs(wire, 1);
    assert!(seen[0] <= first, "{} was missed, {} came", first, seen[0]);
    while *seen.last().unwrap() < last {
        seen.extend(seqs(wire, 1));
    }
    let expected: Vec<u64> = (seen[0]..=last).collect();
    assert_eq!(seen, expected);
}

#[test]
fn g12_a_client_that_was_away_gets_what_it_lacks_across_kill_9() {
    for (version, way) in Version::BOTH
        .into_iter()
        .flat_map(|version| WAYS.map(|way| (version, way)))
    {
        let mut broker = Broker::start();
        let again = returning(version, "kitchen");
        let (mut wire, present) = connect(&broker, way, &again);
        assert!(!present);
        assert_eq!(wire.subscribe(EVENTS).unwrap(), 1);
        stars(&broker, "sync/home", 3);
        assert_eq!(seqs(&mut wire, 3), [1, 2, 3]);
        wire.disconnect().unwrap();
        stars(&broker, "sync/home", 2);
        broker.kill().unwrap();
        broker.start_again();
        stars(&broker, "sync/home", 2);
        let (mut wire, present) = connect(&broker, way, &again);
        assert!(present, "{version:?} {way:?}");
        catches_up(&mut wire, 4, 7);
        wire.ping().unwrap();
        assert_eq!(wire.waiting(), 0);
        star(&mut guest(&broker), "sync/home", "live");
        assert_eq!(seqs(&mut wire, 1), [8]);
    }
}

#[test]
fn g12_a_client_that_was_connected_at_kill_9_misses_nothing() {
    for version in Version::BOTH {
        let mut broker = Broker::start();
        let (mut wire, _) = back(&broker, version, "kitchen");
        for filter in ["$json/sync/#", "sync/+/state"] {
            assert_eq!(wire.subscribe(filter).unwrap(), 1);
        }
        stars(&broker, "sync/home", 5);
        for _ in 0..3 {
            wire.message_on("sync/home/events").unwrap();
        }
        broker.kill().unwrap();
        broker.start_again();
        stars(&broker, "sync/home", 1);
        let (mut wire, present) = back(&broker, version, "kitchen");
        assert!(present);
        let mut seen = Vec::new();
        while seen.last() != Some(&6) {
            let message = wire.message_on("sync/home/events").unwrap();
            seen.push(number(&message.json(), "seq"));
        }
        assert!(seen[0] <= 4, "{seen:?}");
        assert_eq!(seen, (seen[0]..=6).collect::<Vec<_>>());
    }
}

#[test]
fn what_was_not_acknowledged_comes_again_in_order_and_says_so() {
    for version in Version::BOTH {
        let broker = Broker::start();
        let (mut wire, _) = back(&broker, version, "kitchen");
        assert_eq!(wire.subscribe(EVENTS).unwrap(), 1);
        stars(&broker, "sync/home", 4);
        let first = wire.message().unwrap();
        assert!(!first.dup);
        let sent = [(); 3].map(|()| wire.message_unacknowledged().unwrap().id);
        assert!(sent[0].is_some());
        wire.ping().unwrap();
        wire.disconnect().unwrap();
        // Twice, as one that was sent again is not acknowledged either.
        let (mut wire, _) = back(&broker, version, "kitchen");
        assert_eq!(wire.message_unacknowledged().unwrap().id, sent[0]);
        wire.disconnect().unwrap();
        star(&mut guest(&broker), "sync/home", "later");
        let (mut wire, present) = back(&broker, version, "kitchen");
        assert!(present);
        let came: Vec<_> = (0..4).map(|_| wire.message().unwrap()).collect();
        let mut ids: Vec<_> = came.iter().map(|it| it.id).collect();
        assert!(!sent.contains(&ids.pop().unwrap()), "{version:?}");
        assert_eq!(ids, sent, "MQTT-4.4.0-1 at {version:?}");
        let seqs: Vec<u64> = came.iter().map(|it| number(&it.json(), "seq")).collect();
        assert_eq!(seqs, [2, 3, 4, 5]);
        let again: Vec<bool> = came.iter().map(|it| it.dup).collect();
        assert_eq!(again, [true, true, true, false], "{version:?}");
    }
}

#[test]
fn a_clean_start_removes_what_was_kept() {
    for version in Version::BOTH {
        let broker = Broker::start();
        let (mut wire, _) = back(&broker, version, "kitchen");
        wire.subscribe(EVENTS).unwrap();
        wire.disconnect().unwrap();
        let clean = Connect::new(version, "kitchen");
        let (wire, present) = connect(&broker, Way::Tcp, &clean);
        assert!(!present);
        wire.disconnect().unwrap();
        stars(&broker, "sync/home", 1);
        let (mut wire, present) = back(&broker, version, "kitchen");
        assert!(!present);
        wire.ping().unwrap();
        assert_eq!(wire.waiting(), 0);
    }
}

/// Connects until the session is gone.
fn until_gone(broker: &Broker, connect_again: &Connect) {
    wait::until("the end of the session", || {
        // Whoever connects takes the session up, so its time begins anew: only one look after it.
        let (wire, present) = connect(broker, Way::Tcp, connect_again);
        wire.disconnect_with_expiry(0).ok()?;
        (!present).then_some(())
    });
}

#[test]
fn a_session_ends_when_its_time_is_over_also_across_restarts() {
    let mut broker = Setup::new()
        .variable("SYNCLINE__SESSIONS__EXPIRY_MAX_MS", "1500")
        .variable("SYNCLINE__SESSIONS__SAVE_INTERVAL_MS", "100")
        .start();
    for restarts in [false, true] {
        for version in Version::BOTH {
            let (mut wire, _) = back(&broker, version, "short");
            wire.subscribe(EVENTS).unwrap();
            wire.disconnect().unwrap();
            if restarts {
                broker.kill().unwrap();
                broker.start_again();
            }
            let left = Instant::now();
            wait::until("1.5 seconds", || {
                (left.elapsed().as_millis() > 1_600).then_some(())
            });
            let (wire, present) = back(&broker, version, "short");
            assert!(!present, "{version:?} {restarts}");
            wire.disconnect().unwrap();
            let (_, present) = back(&broker, version, "short");
            assert!(present, "its time has begun anew");
            connect(&broker, Way::Tcp, &Connect::new(version, "short"));
        }
    }
}

#[test]
fn a_goodbye_may_end_the_session() {
    let broker = Broker::start();
    let (mut wire, _) = back(&broker, Version::V5, "kitchen");
    wire.subscribe(EVENTS).unwrap();
    wire.disconnect_with_expiry(0).unwrap();
    until_gone(&broker, &returning(Version::V5, "kitchen"));
}

#[test]
fn a_drain_saves_the_sessions() {
    let mut broker = Setup::new()
        .variable("SYNCLINE__SESSIONS__SAVE_INTERVAL_MS", "3600000")
        .start();
    let mut wires: Vec<_> = Version::BOTH
        .into_iter()
        .map(|version| back(&broker, version, &format!("{version:?}")).0)
        .collect();
    for wire in &mut wires {
        wire.subscribe(EVENTS).unwrap();
    }
    stars(&broker, "sync/home", 3);
    for wire in &mut wires {
        assert_eq!(seqs(wire, 3), [1, 2, 3]);
        wire.ping().unwrap();
    }
    assert_eq!(broker.terminate().code(), Some(0), "{}", broker.log());
    broker.start_again();
    stars(&broker, "sync/home", 1);
    for version in Version::BOTH {
        let (mut wire, present) = back(&broker, version, &format!("{version:?}"));
        assert!(present);
        assert_eq!(seqs(&mut wire, 1), [4], "nothing comes twice");
    }
}

#[test]
fn a_wildcard_over_many_streams_goes_on_where_it_was() {
    const STREAMS: usize = 300;
    let mut broker = Broker::start();
    let mut author = guest(&broker);
    for n in 0..STREAMS {
        star(&mut author, &format!("sync/g{n:03}"), "before");
    }
    let (mut wire, _) = back(&broker, Version::V5, "all");
    assert_eq!(wire.subscribe("$json/sync/+/events").unwrap(), 1);
    wire.disconnect().unwrap();
    for n in [3, 150, 299] {
        star(&mut author, &format!("sync/g{n:03}"), "while away");
    }
    star(&mut author, "sync/new", "while away");
    broker.kill().unwrap();
    broker.start_again();
    let (mut wire, present) = back(&broker, Version::V5, "all");
    assert!(present);
    let mut came: Vec<_> = (0..4)
        .map(|_| {
            let message = wire.message().unwrap();
            (message.topic.clone(), number(&message.json(), "seq"))
        })
        .collect();
    came.sort();
    let expected = [("g003", 2), ("g150", 2), ("g299", 2), ("new", 1)];
    let expected = expected.map(|(group, seq)| (format!("sync/{group}/events"), seq));
    assert_eq!(came, expected);
    wire.ping().unwrap();
    assert_eq!(wire.waiting(), 0);
}

#[test]
fn view_5_a_resumed_replay_goes_on_where_it_was_not_where_it_began() {
    let broker = Broker::start();
    stars(&broker, "sync/home", 400);
    let (mut wire, _) = back(&broker, Version::V5, "replay");
    assert_eq!(wire.subscribe("$json/$since/0/sync/+/events").unwrap(), 1);
    let mut last = 0;
    for _ in 0..5 {
        let began = last;
        for _ in 0..60 {
            last = seqs(&mut wire, 1)[0].max(last);
        }
        wire.ping().unwrap();
        drop(wire);
        let (again, present) = back(&broker, Version::V5, "replay");
        assert!(present && last > began);
        wire = again;
    }
    assert!(last >= 250, "it does not begin anew each time: {last}");
    while last < 400 {
        last = seqs(&mut wire, 1)[0];
    }
}

#[test]
fn mosquitto_sub_with_a_session_gets_what_it_missed() {
    for version in Version::BOTH {
        let mut broker = Broker::start();
        let mut arguments = vec!["-c", "-i", "stock"];
        if version == Version::V5 {
            arguments.extend(["-x", "600"]);
        }
        let start =
            |broker: &Broker| Subscriber::come_back(broker.mqtt(), version, EVENTS, &arguments);
        let sub = start(&broker);
        sub.wait_for_suback();
        stars(&broker, "sync/home", 2);
        assert_eq!(sub.messages(2).len(), 2);
        drop(sub);
        stars(&broker, "sync/home", 3);
        broker.kill().unwrap();
        broker.start_again();
        let sub = start(&broker);
        let mut missed = vec![3, 4, 5];
        while let Some(next) = missed.first() {
            let line = sub.message("what it missed", |line| {
                line.starts_with("sync/home/events")
            });
            let is_next = line.contains(&format!("\"seq\":{next},"));
            missed.drain(..usize::from(is_next));
        }
    }
}
