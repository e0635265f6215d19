use std::sync::Arc;

use syncline_protocol::{Clock, DeviceId, Epoch, Event, Intent, Schema, Seq, StreamId, UnixMillis};

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
