//! Views of a stream whose history is short, so that the horizon moves (VIEW-3, VIEW-7, VIEW-9, SNAP-7).

use syncline_protocol::Snapshot;
use syncline_tests::broker::{Broker, Setup};
use syncline_tests::star::Star;
use syncline_tests::wait;
use syncline_tests::wire::{Connect, Packet, Version, Wire};

use crate::follower::{Follower, Heard};
use crate::scene::{PHONE, device, guest, number, star, watcher};

const NOT_KEPT_5: u8 = 0x83;
const REFUSED_3: u8 = 0x80;

/// A broker that keeps about 16 events of a stream and hardly any in memory.
pub(crate) fn forgetful() -> Setup {
    Setup::new()
        .variable("SYNCLINE__HISTORY__MAX_EVENTS", "16")
        .variable("SYNCLINE__HISTORY__MIN_AGE_MS", "1")
        .variable("SYNCLINE__HISTORY__INTERVAL_MS", "5")
        .variable("SYNCLINE__LIMITS__TAIL_EVENTS_MAX", "1")
}

/// From where to where the states of a stream are kept: the horizon and the head.
pub(crate) fn kept(broker: &Broker, stream: &str) -> (u64, u64) {
    let filter = format!("$at/{}/{stream}/state", u32::MAX);
    let (codes, reason) = guest(broker).subscribe_told(&[(&filter, 1)]).unwrap();
    assert_eq!(codes, [NOT_KEPT_5]);
    let reason = reason.expect("a reason string (VIEW-7)");
    let mut numbers = reason.split_whitespace().filter_map(|it| it.parse().ok());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

/// Waits until the horizon of a stream is at least here.
pub(crate) fn raised(broker: &Broker, stream: &str, at_least: u64) -> u64 {
    wait::until("the horizon to move", || {
        Some(kept(broker, stream).0).filter(|horizon| *horizon >= at_least)
    })
}

/// Stars and takes back, so that there are tombstones and the state stays small.
pub(crate) fn act(wire: &mut Wire, stream: &str, from: u64, count: u64) {
    for at in from..from + count {
        let album = format!("album-{}", at % 7);
        let star = match at % 3 {
            0 => Star::no_album(&album),
            _ => Star::album(&album),
        };
        let answer = wire.publish(&format!("{stream}/events"), star.json());
        assert!(answer.unwrap().code < 0x80);
    }
}

/// The state as it is now.
pub(crate) fn now(broker: &Broker, stream: &str) -> Snapshot {
    let message = watcher(broker, &format!("{stream}/state")).message();
    Snapshot::decode(&message.unwrap().payload).unwrap()
}

fn connect(broker: &Broker, version: Version) -> Wire {
    Wire::connect(broker.mqtt(), &Connect::new(version, "")).unwrap()
}

#[test]
fn view_3_below_the_horizon_a_state_at_the_horizon_comes_and_then_every_kept_event() {
    let broker = forgetful().start();
    let mut author = guest(&broker);
    for stream in ["sync/home", "sync/home/side"] {
        act(&mut author, stream, 1, 60);
        raised(&broker, stream, 40);
    }
    let views = [
        (Version::V5, "sync/home", "$since/0/sync/home/events"),
        (
            Version::V311,
            "sync/home",
            "$json/$since/7/sync/home/events",
        ),
        (Version::V311, "sync/home", "$since/0/sync/+/events"),
        (
            Version::V5,
            "sync/home/side",
            "$json/$since/0/sync/home/+/events",
        ),
    ];
    for (version, stream, filter) in views {
        let horizon = kept(&broker, stream).0;
        let mut wire = connect(&broker, version);
        assert_eq!(wire.subscribe(filter).unwrap(), 1);
        let opening = wire.message().unwrap();
        let on = (opening.topic.as_str(), opening.retain);
        assert_eq!(on, (format!("{stream}/state").as_str(), true), "{filter}");
        let mut follower = Follower::new();
        let Heard::State(state) = follower.hear(&opening) else {
            panic!("{filter}: a whole state comes first")
        };
        let at = (state.seq.get(), state.since.get());
        assert_eq!(at, (horizon, 0), "{filter}");
        follower.until(&mut wire, 60);
        let kept: Vec<_> = (horizon + 1..=60).collect();
        assert_eq!(follower.events, kept, "{filter}");
        assert_eq!(follower.digest(), now(&broker, stream).digest);
    }
    let mut wire = watcher(&broker, "$since/59/sync/home/events");
    assert_eq!(
        wire.message().unwrap().topic,
        "sync/home/events",
        "above the horizon"
    );
}

/// A client that gets one message and then no more before it acknowledges.
fn slow(broker: &Broker, version: Version, filter: &str) -> Wire {
    let mut wire = connect(broker, version);
    assert_eq!(wire.subscribe(filter).unwrap(), 1);
    wire
}

/// Reads a message without acknowledging it.
fn unacknowledged(wire: &mut Wire) -> syncline_tests::wire::Publish {
    loop {
        if let Packet::Publish(publish) = wire.receive().unwrap() {
            return publish;
        }
    }
}

#[test]
fn view_9_g3_whom_the_horizon_overtakes_gets_a_state_and_goes_on() {
    let views = [
        (Version::V5, "sync/home/events"),
        (Version::V311, "$json/$since/0/sync/home/events"),
        (Version::V5, "$json/$since/0-0/sync/home/events"),
        (Version::V311, "$since/0-0/sync/home/events"),
        (Version::V5, "sync/+/events"),
        (Version::V311, "$json/$since/0/sync/+/events"),
    ];
    let broker = forgetful()
        .variable("SYNCLINE__LIMITS__INFLIGHT_MAX", "2")
        .start();
    let mut author = guest(&broker);
    let mut clients: Vec<_> = views
        .map(|(version, filter)| slow(&broker, version, filter))
        .into();
    act(&mut author, "sync/home", 1, 100);
    raised(&broker, "sync/home", 80);
    for (wire, (version, filter)) in clients.iter_mut().zip(views) {
        let mut follower = Follower::new();
        let mut bridges = 0;
        while follower.seq() < 100 {
            let message = unacknowledged(wire);
            let heard = follower.hear(&message);
            let bridge = matches!(heard, Heard::State(_)) && !message.retain;
            if let (Heard::State(state), true) = (&heard, bridge) {
                assert_eq!((state.since.get(), state.mark), (0, None), "{filter}");
            }
            bridges += usize::from(bridge);
            wire.acknowledge(message.id.unwrap()).unwrap();
        }
        assert_eq!(bridges, 1, "{version:?} {filter}: {:?}", follower.events);
        assert_eq!(
            follower.digest(),
            now(&broker, "sync/home").digest,
            "{filter}"
        );
    }
    act(&mut author, "sync/home", 101, 1);
    for (wire, (_, filter)) in clients.iter_mut().zip(views) {
        assert_eq!(
            wire.message().unwrap().topic,
            "sync/home/events",
            "{filter}"
        );
    }
}

#[test]
fn g3_g5_followers_agree_while_events_come_and_the_horizon_moves() {
    const COUNT: u64 = 1_200;
    let broker = forgetful()
        .variable("SYNCLINE__LIMITS__INFLIGHT_MAX", "8")
        .start();
    let mut author = guest(&broker);
    let filters = [
        "$since/0/sync/home/events",
        "$json/$since/0/sync/home/events",
        "$since/0-0/sync/home/events",
        "$json/$since/0/sync/+/events",
    ];
    let mut followers = Vec::new();
    for round in 0..6 {
        act(&mut author, "sync/home", round * 200 + 1, 200);
        for filter in filters {
            followers.push((watcher(&broker, filter), Follower::new()));
        }
        // They read a little and are slow again.
        for (wire, follower) in &mut followers {
            let head = (round + 1) * 200;
            let upto = (follower.seq() + 5).min(head);
            while follower.seq() < upto {
                follower.hear(&wire.message().unwrap());
            }
        }
    }
    let expected = now(&broker, "sync/home");
    assert_eq!(expected.seq.get(), COUNT);
    for (wire, follower) in &mut followers {
        follower.until(wire, COUNT);
        assert_eq!(follower.digest(), expected.digest);
    }
}

#[test]
fn presence_1_acked_follows_a_bridge() {
    let broker = forgetful()
        .variable("SYNCLINE__LIMITS__INFLIGHT_MAX", "2")
        .start();
    let mut phone = device(&broker, Version::V5, PHONE);
    assert_eq!(phone.subscribe("sync/home/events").unwrap(), 1);
    act(&mut guest(&broker), "sync/home", 1, 100);
    raised(&broker, "sync/home", 80);
    let mut follower = Follower::new();
    // It began at 0, so the first event that it has applies.
    follower.until(&mut phone, 100);
    phone.ping().unwrap();
    let topic = format!("$json/sync/home/presence/{PHONE}");
    let mut watcher = watcher(&broker, &topic);
    wait::until("acked to be 100", || {
        let presence = watcher.message().unwrap().json();
        (presence["acked"][""].as_u64() == Some(100)).then_some(())
    });
    assert_eq!(follower.states.len(), 1);
}

#[test]
fn view_7_a_state_of_long_ago_is_what_the_events_up_to_there_amount_to() {
    let broker = forgetful().start();
    act(&mut guest(&broker), "sync/home", 1, 60);
    let horizon = raised(&broker, "sync/home", 40);
    let mut replay = watcher(&broker, "$since/0/sync/home/events");
    let mut follower = Follower::new();
    follower.hear(&replay.message().unwrap());
    let mut wire = connect(&broker, Version::V5);
    for seq in horizon..=60 {
        follower.until(&mut replay, seq);
        let json = if seq % 2 == 0 { "$json/" } else { "" };
        let filter = format!("{json}$at/{seq}/sync/home/state");
        assert_eq!(wire.subscribe(&filter).unwrap(), 1);
        let state = wire.message().unwrap();
        assert!(state.retain && state.topic == "sync/home/state");
        let state = Snapshot::decode(&state.payload).unwrap();
        let expected = (seq, 0, follower.digest());
        assert_eq!((state.seq.get(), state.since.get(), state.digest), expected);
        assert_eq!(state.head.get(), 60);
    }
    act(&mut guest(&broker), "sync/home", 61, 1);
    wire.ping().unwrap();
    assert_eq!(wire.waiting(), 0, "nothing follows");
    wire.unsubscribe("sync/home/state").unwrap();
}

#[test]
fn view_7_what_is_not_kept_is_refused_with_what_is() {
    let broker = forgetful().start();
    act(&mut guest(&broker), "sync/home", 1, 60);
    let horizon = raised(&broker, "sync/home", 40);
    let mut new = connect(&broker, Version::V5);
    let mut old = connect(&broker, Version::V311);
    for seq in [0, horizon - 1, 61] {
        let filter = format!("$at/{seq}/sync/home/state");
        let (codes, reason) = new.subscribe_told(&[(&filter, 1)]).unwrap();
        assert_eq!(codes, [NOT_KEPT_5]);
        let reason = reason.unwrap();
        assert_eq!(
            reason,
            format!("the states of seq {horizon} to 60 are kept")
        );
        assert_eq!(old.subscribe(&filter).unwrap(), REFUSED_3);
    }
    let filter = format!("$at/{horizon}/sync/home/state");
    assert_eq!(old.subscribe(&filter).unwrap(), 1);
    let state = old.message().unwrap();
    assert!(state.retain);
    assert_eq!(Snapshot::decode(&state.payload).unwrap().seq.get(), horizon);
    // An empty stream has one state.
    assert_eq!(new.subscribe("$json/$at/0/sync/nobody/state").unwrap(), 1);
    assert_eq!(number(&new.message().unwrap().json(), "seq"), 0);
    assert_eq!(
        new.subscribe("$at/1/sync/nobody/state").unwrap(),
        NOT_KEPT_5
    );
}

#[test]
fn snap_7_whoever_comes_back_gets_what_is_missing_wherever_the_horizon_is() {
    let broker = forgetful().start();
    let mut author = guest(&broker);
    let mut first = watcher(&broker, "$since/0-0/sync/home/events");
    let mut follower = Follower::new();
    follower.hear(&first.message().unwrap());
    let mut head = 0;
    for step in [1, 2, 5, 10, 40, 3] {
        act(&mut author, "sync/home", head + 1, step);
        head += step;
        let epoch = now(&broker, "sync/home").epoch;
        let seq = follower.seq();
        let filter = format!(
            "$since/{seq}-{}/sync/home/events",
            match seq {
                0 => "0".to_owned(),
                _ => epoch.to_string(),
            }
        );
        let mut wire = watcher(&broker, &filter);
        let opening = wire.message().unwrap();
        assert_eq!(
            (opening.topic.as_str(), opening.retain),
            ("sync/home/state", true)
        );
        assert!(matches!(follower.hear(&opening), Heard::State(state) if state.mark.is_some()));
        follower.until(&mut wire, head);
        assert_eq!(follower.digest(), now(&broker, "sync/home").digest);
        raised(&broker, "sync/home", head.saturating_sub(16));
    }
}

#[test]
fn snap_7_a_little_that_is_new_costs_a_little() {
    let broker = Broker::start();
    let mut author = guest(&broker);
    for at in 0..2_000 {
        author
            .send(
                "sync/home/events",
                Star::album(&format!("album-{at}")).json(),
            )
            .unwrap();
        if at % 100 == 99 {
            author.ping().unwrap();
        }
    }
    star(&mut author, "sync/home", "the last one");
    let full = watcher(&broker, "sync/home/state")
        .message()
        .unwrap()
        .payload;
    let head = Snapshot::decode(&full).unwrap();
    let filter = format!(
        "$since/{}-{}/sync/home/events",
        head.seq.get() - 20,
        head.epoch
    );
    let mut wire = watcher(&broker, &filter);
    let mut bytes = 0;
    let mut seq = 0;
    while seq < head.seq.get() {
        let message = wire.message().unwrap();
        bytes += message.payload.len();
        seq = match message.topic.as_str() {
            "sync/home/state" => Snapshot::decode(&message.payload).unwrap().seq.get(),
            _ => syncline_protocol::Event::decode(&message.payload)
                .unwrap()
                .seq
                .get(),
        };
    }
    assert!(
        bytes * 100 <= full.len() * 3,
        "{bytes} of {} bytes for 1 %",
        full.len()
    );
}
