use std::sync::Arc;

use syncline_protocol::snapshot::Assembler;
use syncline_protocol::{
    Clock, DeviceId, Epoch, Event, Intent, Schema, Seq, Snapshot, StreamId, UnixMillis,
};

use super::fold::{Folding, Stepped};
use super::{States, Want};
use crate::store::memory::MemoryStore;
use crate::store::{Append, EventStore, Record};

const EPOCH: Epoch = Epoch::new(7);

fn stream(name: &str) -> StreamId {
    StreamId {
        sync_id: name.parse().unwrap(),
        channel: None,
    }
}

fn star(stream: &StreamId, seq: u64, album: &str) -> Event {
    let json = format!(r#"{{"event_type":"star_album","event_data":{{"album_id":"{album}"}}}}"#);
    let intent = Intent::decode(json.as_bytes()).unwrap();
    Event {
        stream: stream.clone(),
        epoch: EPOCH,
        seq: Seq::new(seq).unwrap(),
        accepted_at: UnixMillis::new(seq),
        event_type: intent.event_type,
        event_data: intent.event_data,
        device: DeviceId::from_bytes([1; 16]),
        device_seq: None,
        clock: Clock::at(UnixMillis::new(seq)),
        base_seq: Seq::new(seq - 1).unwrap(),
        extra: intent.extra,
    }
}

fn append(store: &dyn EventStore, event: Event) {
    let (stream, epoch) = (event.stream.clone(), event.epoch);
    let expected_head = event.seq.previous();
    let records = vec![Record { event, hash: None }];
    let batch = Append::events(stream, expected_head, epoch, records);
    store.append(vec![batch]).unwrap().remove(0).unwrap();
}

fn states(bytes_max: usize) -> (Arc<MemoryStore>, States) {
    let store = Arc::new(MemoryStore::new(8));
    let schema = Schema::parse(include_str!("../../../config/schemas/music.toml")).unwrap();
    (
        Arc::clone(&store),
        States::new(store, Arc::new(schema), bytes_max),
    )
}

fn since(seq: u64, epoch: Epoch) -> Want {
    Want::Since {
        seq: Seq::new(seq).unwrap(),
        epoch,
    }
}

#[test]
fn g8_a_snapshot_includes_everything_that_the_store_has() {
    let (store, states) = states(1 << 20);
    let a = stream("a");
    for seq in 1..=3 {
        append(&*store, star(&a, seq, &format!("k{seq}")));
        let snapshot = states.snapshot(&a, Want::Full).unwrap();
        assert_eq!(snapshot.snapshot().seq.get(), seq);
        assert_eq!(snapshot.snapshot().collections["albums"].len() as u64, seq);
    }
}

#[test]
fn snap_7_a_delta_only_for_this_history_and_up_to_its_head() {
    let (store, states) = states(1 << 20);
    let a = stream("a");
    (1..=3).for_each(|seq| append(&*store, star(&a, seq, &format!("k{seq}"))));
    let entries = |want| {
        let snapshot = states.snapshot(&a, want).unwrap();
        (
            snapshot.snapshot().since.get(),
            snapshot.snapshot().collections["albums"].len(),
        )
    };
    assert_eq!(entries(since(2, EPOCH)), (2, 1));
    assert_eq!(entries(since(3, EPOCH)), (3, 0));
    assert_eq!(entries(since(4, EPOCH)), (0, 3));
    assert_eq!(entries(since(2, Epoch::new(8))), (0, 3));
    assert_eq!(entries(since(0, Epoch::NONE)), (0, 3));
}

#[test]
fn snap_7_an_empty_stream_has_an_opening_too() {
    let (_, states) = states(1 << 20);
    let snapshot = states
        .snapshot(&stream("a"), since(0, Epoch::NONE))
        .unwrap();
    let opening = snapshot.opening(None);
    assert_eq!(opening.snapshot().epoch, Epoch::NONE);
    assert_eq!(opening.snapshot().mark, Some(None));
}

#[test]
fn a_full_snapshot_is_encoded_once_for_all_subscribers() {
    let (store, states) = states(1 << 20);
    let a = stream("a");
    append(&*store, star(&a, 1, "k"));
    let first = states.snapshot(&a, Want::Full).unwrap();
    let second = states.snapshot(&a, Want::Full).unwrap();
    assert!(Arc::ptr_eq(&first, &second));
    assert_eq!(first.msgpack(), first.snapshot().encode());
}

#[test]
fn what_was_forgotten_for_the_budget_is_made_again() {
    let (store, states) = states(1);
    let names: Vec<_> = (0..5).map(|n| stream(&format!("s{n}"))).collect();
    for name in &names {
        append(&*store, star(name, 1, "k"));
    }
    for name in names.iter().chain(&names) {
        assert_eq!(
            states
                .snapshot(name, Want::Full)
                .unwrap()
                .snapshot()
                .seq
                .get(),
            1
        );
    }
}

#[test]
fn g10_a_stream_that_does_not_exist_is_not_kept() {
    let (_, states) = states(1 << 20);
    for n in 0..100 {
        let name = stream(&format!("s{n}"));
        states.snapshot(&name, Want::Full).unwrap();
    }
    assert_eq!(states.cached(), (0, 0));
}

#[test]
fn g10_long_keys_count_against_the_budget() {
    let budget = 1 << 20;
    let (store, states) = states(budget);
    for n in 0..20 {
        let name = stream(&format!("s{n}"));
        append(&*store, star(&name, 1, &"k".repeat(100_000)));
        states.snapshot(&name, Want::Full).unwrap();
        let (_, bytes) = states.cached();
        assert!(bytes <= budget, "{bytes}");
    }
    assert!(states.cached().0 <= 3, "{:?}", states.cached());
}

/// Device `author` writes a note on an album, having seen nothing of the others.
fn note(stream: &StreamId, seq: u64, author: u8, text: &str) -> Event {
    let data = format!(r#"{{"album_id":"a","text":"{text}"}}"#);
    let json = format!(r#"{{"event_type":"write_note","event_data":{data}}}"#);
    let intent = Intent::decode(json.as_bytes()).unwrap();
    Event {
        event_type: intent.event_type,
        event_data: intent.event_data,
        device: DeviceId::from_bytes([author; 16]),
        base_seq: Seq::ZERO,
        ..star(stream, seq, "a")
    }
}

fn raise(store: &dyn EventStore, stream: &StreamId, to: u64) {
    let head = store.head(stream).unwrap();
    let raise = Append::raise(stream.clone(), head.seq, head.epoch, Seq::new(to).unwrap());
    store.append(vec![raise]).unwrap().remove(0).unwrap();
}

#[test]
fn snap_7_the_events_are_sent_where_they_cost_less_than_what_they_changed() {
    let (store, states) = states(1 << 20);
    let a = stream("a");
    let long = "long ".repeat(500);
    for seq in 1..=5 {
        append(&*store, star(&a, seq, &format!("k{seq}")));
    }
    append(&*store, note(&a, 6, 1, &long));
    append(&*store, note(&a, 7, 2, &long));
    let before = states.snapshot(&a, Want::Full).unwrap();
    append(&*store, note(&a, 8, 3, "short"));
    append(&*store, star(&a, 9, "k9"));
    let opening = states.snapshot(&a, since(7, EPOCH)).unwrap();
    let opening = opening.snapshot();
    assert_eq!((opening.seq.get(), opening.since.get()), (7, 7));
    assert_eq!(opening.head.get(), 9);
    assert!(
        opening
            .collections
            .values()
            .all(std::collections::BTreeMap::is_empty)
    );
    assert_eq!(opening.digest, before.snapshot().digest);
    assert_eq!(opening.digests, before.snapshot().digests);
    // Two long events cost as much as what they changed, with their envelopes more.
    let opening = states.snapshot(&a, since(5, EPOCH)).unwrap();
    assert_eq!(opening.snapshot().since.get(), 5);
    assert_eq!(opening.snapshot().seq.get(), 9);
    // What the horizon covers cannot be sent as events.
    raise(&*store, &a, 8);
    let opening = states.snapshot(&a, since(7, EPOCH)).unwrap();
    assert_eq!(opening.snapshot().seq.get(), 9);
    assert_eq!(opening.snapshot().since.get(), 7);
}

#[test]
fn snap_7_the_digest_at_the_clients_own_seq_is_that_of_the_state_there() {
    let (store, states) = states(8 << 20);
    let a = stream("a");
    let long = "long ".repeat(2_000);
    for seq in (1..=400).step_by(2) {
        append(&*store, note(&a, seq, (seq % 7) as u8, &long));
        append(&*store, star(&a, seq + 1, &format!("k{}", seq % 9)));
    }
    let mut own = 0;
    for seq in 100..=400 {
        let opening = states.snapshot(&a, since(seq, EPOCH)).unwrap();
        let opening = opening.snapshot();
        if opening.seq.get() == seq {
            let there = states.at(&a, opening.seq).unwrap();
            assert_eq!(opening.digest, there.snapshot().digest, "{seq}");
            assert_eq!(opening.digests, there.snapshot().digests, "{seq}");
            own += 1;
        }
    }
    assert!(own > 3, "{own}");
}

#[test]
fn g10_what_entries_say_counts_against_the_budget() {
    let budget = 1 << 20;
    let (store, states) = states(budget);
    for n in 0..20 {
        let name = stream(&format!("s{n}"));
        append(&*store, note(&name, 1, 1, &"x".repeat(100_000)));
        let full = states.snapshot(&name, Want::Full).unwrap();
        full.msgpack();
        states.snapshot(&name, Want::Full).unwrap();
        let (_, bytes) = states.cached();
        assert!(bytes <= budget, "{bytes}");
    }
    assert!(states.cached().0 <= 4, "{:?}", states.cached());
}

#[test]
fn snap_8_parts_are_made_once_per_size_and_hold_everything_once() {
    let (store, states) = states(8 << 20);
    let a = stream("a");
    for seq in 1..=200 {
        append(&*store, star(&a, seq, &format!("album-{seq}")));
    }
    let full = states.snapshot(&a, Want::Full).unwrap();
    let whole = full.msgpack();
    assert_eq!(full.msgpack_parts(whole.len())[..], [whole]);
    for (parts, again) in [
        (full.msgpack_parts(4_096), full.msgpack_parts(4_096)),
        (full.json_parts(4_096), full.json_parts(4_096)),
    ] {
        assert!(Arc::ptr_eq(&parts, &again));
        assert!(parts.len() > 2);
        let mut assembler = Assembler::default();
        let mut whole = None;
        for part in parts.iter() {
            assert!(part.len() <= 4_096, "{}", part.len());
            let part = Snapshot::decode(part).unwrap();
            whole = assembler.push(part).unwrap();
        }
        assert_eq!(whole.as_ref(), Some(full.snapshot()));
    }
}

#[test]
fn g8_many_who_ask_at_once_get_what_is_there() {
    let (store, states) = states(1 << 20);
    let a = stream("a");
    append(&*store, star(&a, 1, "k"));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let before = store.head(&a).unwrap().seq;
                    let full = states.snapshot(&a, Want::Full).unwrap();
                    assert!(full.snapshot().seq >= before);
                }
            });
        }
        for seq in 2..=200 {
            append(&*store, star(&a, seq, &format!("k{}", seq % 9)));
        }
    });
}

#[test]
fn an_erased_stream_that_begins_again_is_read_again() {
    let (store, states) = states(1 << 20);
    let a = stream("a");
    (1..=9).for_each(|seq| append(&*store, star(&a, seq, &format!("k{seq}"))));
    states.snapshot(&a, Want::Full).unwrap();
    store.erase(&a.sync_id).unwrap();
    let none = states.snapshot(&a, Want::Full).unwrap();
    assert_eq!(
        (none.snapshot().seq, none.snapshot().epoch),
        (Seq::ZERO, Epoch::NONE)
    );
    for seq in 1..=3 {
        let event = Event {
            epoch: Epoch::new(8),
            ..star(&a, seq, "new")
        };
        append(&*store, event);
    }
    let full = states.snapshot(&a, Want::Full).unwrap();
    assert_eq!(full.snapshot().collections["albums"].len(), 1);
    assert_eq!(full.snapshot().epoch, Epoch::new(8));
}

#[test]
fn a_fold_of_a_stream_that_was_erased_and_begins_again_is_given_up() {
    let (store, _) = states(1 << 20);
    let schema = Schema::parse(include_str!("../../../config/schemas/music.toml")).unwrap();
    let a = stream("a");
    (1..=3).for_each(|seq| append(&*store, star(&a, seq, "k")));
    raise(&*store, &a, 2);
    let at = (a.clone(), store.head(&a).unwrap());
    let mut folding = Folding::begin(&*store, &Arc::new(schema), at, None).unwrap();
    store.erase(&a.sync_id).unwrap();
    let mut again = star(&a, 1, "other");
    again.epoch = Epoch::new(8);
    append(&*store, again);
    let stepped = folding.step(&*store, 0, UnixMillis::new(9)).unwrap();
    assert_eq!(stepped, Stepped::Moved);
}
