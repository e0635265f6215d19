//! What the hub tells whom.

use super::*;
use crate::store::memory::MemoryStore;
use crate::store::{Append, Record};
use syncline_protocol::{Clock, DeviceId, Epoch, Event, UnixMillis, Value};

fn stream(name: &str) -> StreamId {
    StreamId {
        sync_id: name.parse().unwrap(),
        channel: None,
    }
}

fn event(stream: &StreamId, seq: Seq) -> Event {
    Event {
        stream: stream.clone(),
        epoch: Epoch::new(1),
        seq,
        accepted_at: UnixMillis::new(1),
        event_type: "star".parse().unwrap(),
        event_data: Value::Nil,
        device: DeviceId::from_bytes([1; 16]),
        device_seq: None,
        clock: Clock::default(),
        base_seq: Seq::ZERO,
        extra: BTreeMap::new(),
    }
}

/// Commits the next event of a stream.
fn commit(store: &MemoryStore, stream: &StreamId) -> Committed {
    let expected_head = store.head(stream).unwrap().seq;
    let event = event(stream, expected_head.next());
    let records = vec![Record { event, hash: None }];
    let epoch = Epoch::new(1);
    let append = Append::events(stream.clone(), expected_head, epoch, records);
    store
        .append(vec![append])
        .unwrap()
        .remove(0)
        .unwrap()
        .committed
        .remove(0)
}

struct Rig {
    store: Arc<MemoryStore>,
    hub: Hub,
    mailbox: Arc<Mailbox>,
    peer: PeerId,
}

fn rig(before: &[&str]) -> Rig {
    let store = Arc::new(MemoryStore::new(8));
    before
        .iter()
        .for_each(|name| drop(commit(&store, &stream(name))));
    let tail = ReadLimit {
        events: 4,
        bytes: 1 << 20,
    };
    let hub = Hub::new(Arc::clone(&store) as Arc<dyn EventStore>, tail, 4).unwrap();
    let mailbox = Arc::new(Mailbox::default());
    let peer = hub.join(Arc::clone(&mailbox));
    Rig {
        store,
        hub,
        mailbox,
        peer,
    }
}

impl Rig {
    /// Subscribes as a connection does; where the filter's stream is.
    fn follow(&self, text: &str) -> Seq {
        let filter = filter(text);
        let stream = match filter.exact() {
            Some(Topic::Events(stream)) => Some(stream),
            _ => None,
        };
        let reading = self.hub.reading();
        let head = |stream: StreamId| {
            let head = self.store.head(&stream).unwrap();
            if !self.hub.tells(&stream, &head, reading) {
                self.hub.settle(&stream).unwrap();
            }
            (stream, head)
        };
        let named = stream.map(head);
        let named: Vec<_> = named.iter().map(|(stream, head)| (stream, head)).collect();
        let (_, heads) = self
            .hub
            .subscribe(self.peer, &[&filter], &named, reading)
            .unwrap();
        heads.first().copied().unwrap_or_default()
    }

    fn commit(&self, name: &str) -> Committed {
        commit(&self.store, &stream(name))
    }

    fn publish(&self, name: &str) {
        self.hub.hear(BusMessage::Event(self.commit(name)));
    }

    fn advances(&self) -> Advances {
        self.mailbox.take().advances
    }
}

fn seq(n: u64) -> Seq {
    Seq::new(n).unwrap()
}

fn filter(text: &str) -> Filter {
    text.parse().unwrap()
}

#[test]
fn a_step_tells_from_where_to_where_and_only_those_it_concerns() {
    let rig = rig(&["a", "a", "b"]);
    assert_eq!(rig.follow("sync/a/events"), seq(2));
    for name in ["a", "a", "b"] {
        rig.hub
            .hear(BusMessage::Event(commit(&rig.store, &stream(name))));
    }
    let advances = rig.mailbox.take().advances;
    let expected = Advance::new(seq(2), seq(4));
    assert_eq!(
        advances,
        BTreeMap::from([(Arc::new(stream("a")), expected)])
    );
}

#[test]
fn a_resync_finds_in_the_store_what_the_bus_lost() {
    let rig = rig(&["a"]);
    rig.follow("sync/#");
    let lost = ["a", "b", "b"].map(|name| commit(&rig.store, &stream(name)));
    assert!(rig.mailbox.take().advances.is_empty());
    rig.hub.hear(BusMessage::Resync);
    let advances = rig.mailbox.take().advances;
    assert_eq!(advances[&stream("a")], Advance::new(seq(1), seq(2)));
    assert_eq!(advances[&stream("b")], Advance::new(seq(0), seq(2)));
    lost.into_iter()
        .for_each(|event| rig.hub.hear(BusMessage::Event(event)));
    assert!(
        rig.mailbox.take().advances.is_empty(),
        "what is known does not come again"
    );
}

#[test]
fn the_tail_has_no_holes_and_a_budget() {
    let rig = rig(&[]);
    rig.follow("sync/a/events");
    let hear = |n| {
        for _ in 0..n {
            rig.hub
                .hear(BusMessage::Event(commit(&rig.store, &stream("a"))));
        }
    };
    let tail = |after| {
        let limit = ReadLimit {
            events: 9,
            bytes: 1 << 20,
        };
        let events = rig.hub.tail(&stream("a"), seq(after), limit);
        events.map(|events| events.iter().map(|it| it.seq().get()).collect::<Vec<_>>())
    };
    hear(6);
    assert_eq!(tail(1), None, "the budget is 4 events");
    assert_eq!(tail(2), Some(vec![3, 4, 5, 6]));
    assert_eq!(tail(6), None);
    drop(commit(&rig.store, &stream("a")));
    hear(1);
    assert_eq!(tail(2), None, "7 was lost on the bus");
    assert_eq!(tail(7), Some(vec![8]));
}

#[test]
fn a_peer_that_left_hears_nothing_and_leaves_nothing() {
    let rig = rig(&[]);
    let filters = [filter("sync/#"), filter("sync/a/events")];
    for filter in &filters {
        rig.follow(filter.as_str());
    }
    rig.hub.leave(rig.peer, filters.iter());
    rig.hub
        .hear(BusMessage::Event(commit(&rig.store, &stream("a"))));
    assert!(rig.mailbox.take().advances.is_empty());
    assert!(rig.hub.lock().index.is_empty() && rig.hub.lock().peers.is_empty());
}

#[test]
fn retained_messages_are_found_by_their_filters() {
    let rig = rig(&[]);
    let device = DeviceId::from_bytes([1; 16]);
    let topic = Topic::Presence("a".parse().unwrap(), device);
    rig.hub.retain(Ephemeral::text(&topic, "here"));
    rig.hub.retain(Ephemeral::text(&Topic::Schema, "{}"));
    let count = |text: &str| rig.hub.retained_topics(&filter(text)).len();
    let counts = ["#", "sync/a/#", "sync/+/presence/+", "sync/b/#", "$SYS/#"].map(count);
    assert_eq!(counts, [1, 1, 1, 0, 1]);
    assert_eq!(count(&topic.to_string()), 1);
    rig.hub.retain(Ephemeral::cleared(topic.to_string().into()));
    assert_eq!(count("#"), 0);
}

#[test]
fn memory_follows_the_streams_that_move() {
    let rig = rig(&[]);
    for n in 0..1_000 {
        rig.publish(&format!("s{n}"));
    }
    let known = rig.hub.lock().heads.len();
    assert!(known <= 4, "{known} are known by name");
}

#[test]
fn a_stream_that_was_forgotten_goes_on_where_it_was() {
    let rig = rig(&["a", "a"]);
    rig.follow("sync/+/events");
    let mut expected = 2;
    for n in 0..20 {
        rig.publish("a");
        let step = Advance::new(seq(expected), seq(expected + 1));
        assert_eq!(rig.advances()[&stream("a")], step);
        expected += 1;
        (0..n).for_each(|n| rig.publish(&format!("s{n}")));
        assert_eq!(rig.follow("sync/a/events"), seq(expected));
        rig.advances();
    }
}

#[test]
fn where_the_bus_is_behind_the_store_says_how_far_it_is() {
    let rig = rig(&["a", "a"]);
    let late = [rig.commit("a"), rig.commit("b"), rig.commit("a")];
    assert_eq!(rig.follow("sync/a/events"), seq(2));
    assert_eq!(rig.follow("sync/b/events"), seq(0));
    late.into_iter()
        .for_each(|event| rig.hub.hear(BusMessage::Event(event)));
    let steps = rig.advances();
    assert_eq!(steps[&stream("a")], Advance::new(seq(2), seq(4)));
    assert_eq!(steps[&stream("b")], Advance::new(seq(0), seq(1)));
}

#[test]
fn a_reading_from_before_a_stream_was_forgotten_says_nothing() {
    let rig = rig(&["a"]);
    let reading = rig.hub.reading();
    let head = rig.store.head(&stream("a")).unwrap();
    assert!(rig.hub.tells(&stream("a"), &head, reading));
    rig.publish("a");
    (0..9).for_each(|n| rig.publish(&format!("s{n}")));
    assert!(!rig.hub.tells(&stream("a"), &head, reading));
    let filter = filter("sync/a/events");
    let named = [(&stream("a"), &head)];
    assert!(
        rig.hub
            .subscribe(rig.peer, &[&filter], &named, reading)
            .is_none()
    );
    rig.publish("a");
    assert!(rig.advances().is_empty(), "nothing was added");
}

#[test]
fn a_resync_tells_of_forgotten_streams_from_where_they_were_brought() {
    let rig = rig(&["a", "z"]);
    rig.follow("sync/+/events");
    rig.publish("a");
    (0..9).for_each(|n| rig.publish(&format!("s{n}")));
    rig.advances();
    let lost = ["a", "a", "z"].map(|name| rig.commit(name));
    rig.hub.hear(BusMessage::Resync);
    let steps = rig.advances();
    assert_eq!(steps[&stream("a")], Advance::new(seq(2), seq(4)));
    assert_eq!(steps[&stream("z")], Advance::new(seq(1), seq(2)));
    assert_eq!(steps.len(), 2);
    (0..9).for_each(|n| rig.publish(&format!("t{n}")));
    rig.advances();
    for event in lost {
        rig.hub.hear(BusMessage::Event(event));
    }
    assert!(
        rig.advances().is_empty(),
        "what the store told does not come again"
    );
}

#[test]
fn epoch_3_a_new_epoch_is_told_to_those_who_follow_the_stream() {
    let rig = rig(&["a", "a"]);
    rig.follow("sync/a/events");
    let head = StreamHead {
        epoch: Epoch::new(2),
        ..rig.store.head(&stream("a")).unwrap()
    };
    rig.hub.turn(&stream("a"), &head);
    let turn = Turn {
        at: seq(2),
        epoch: Epoch::new(2),
    };
    let step = rig.advances()[&stream("a")];
    assert_eq!(
        step,
        Advance {
            turn: Some(turn),
            ..Advance::new(seq(2), seq(2))
        }
    );
    rig.hub.turn(&stream("b"), &head);
    assert!(rig.advances().is_empty());
}

#[test]
fn epoch_3_an_event_of_another_epoch_tells_of_it_where_nobody_else_has() {
    let rig = rig(&[]);
    rig.follow("sync/a/events");
    rig.publish("a");
    rig.advances();
    let append = Append {
        begins: true,
        horizon: Some(seq(1)),
        ..Append::events(stream("a"), seq(1), Epoch::new(2), Vec::new())
    };
    rig.store.append(vec![append]).unwrap().remove(0).unwrap();
    let event = Event {
        epoch: Epoch::new(2),
        ..event(&stream("a"), seq(2))
    };
    let records = vec![Record { event, hash: None }];
    let append = Append::events(stream("a"), seq(1), Epoch::new(2), records);
    let kept = rig.store.append(vec![append]).unwrap().remove(0).unwrap();
    rig.hub.hear(BusMessage::Event(kept.committed[0].clone()));
    let turn = rig.advances()[&stream("a")].turn.unwrap();
    assert_eq!((turn.at, turn.epoch), (seq(1), Epoch::new(2)));
}

#[test]
fn an_epoch_that_is_known_is_not_told_again() {
    let rig = rig(&[]);
    rig.follow("sync/a/events");
    rig.publish("a");
    rig.advances();
    let head = rig.store.head(&stream("a")).unwrap();
    rig.hub.turn(&stream("a"), &head);
    assert!(rig.advances().is_empty());
}
