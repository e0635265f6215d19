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

fn seq(n: u64) -> Seq {
    Seq::new(n).unwrap()
}

fn filter(text: &str) -> Filter {
    text.parse().unwrap()
}

#[test]
fn a_step_tells_from_where_to_where_and_only_those_it_concerns() {
    let rig = rig(&["a", "a", "b"]);
    assert_eq!(
        rig.hub.subscribe(rig.peer, &filter("sync/a/events")).1,
        seq(2)
    );
    for name in ["a", "a", "b"] {
        rig.hub
            .hear(BusMessage::Event(commit(&rig.store, &stream(name))));
    }
    let advances = rig.mailbox.take().advances;
    let expected = Advance::new(seq(2), seq(4));
    assert_eq!(advances, HashMap::from([(Arc::new(stream("a")), expected)]));
}

#[test]
fn a_resync_finds_in_the_store_what_the_bus_lost() {
    let rig = rig(&["a"]);
    rig.hub.subscribe(rig.peer, &filter("sync/#"));
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
    rig.hub.subscribe(rig.peer, &filter("sync/a/events"));
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
    filters
        .iter()
        .for_each(|it| drop(rig.hub.subscribe(rig.peer, it)));
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
