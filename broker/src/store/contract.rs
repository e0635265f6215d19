//! The contract suite: what every [`EventStore`](super::EventStore) must do. An implementation calls
//! `contract_suite!(harness)` with a function that makes an empty [`Harness`].

use std::collections::BTreeMap;

use syncline_protocol::{
    Clock, DeviceId, DeviceSeq, Epoch, Event, IntentHash, Seq, StreamId, UnixMillis, Value,
};

use super::{Append, Committed, EventStore, Kept, ReadLimit, Record, StreamHead};

mod folds;
pub(crate) mod history;
pub(crate) use folds::*;
pub(crate) use history::*;

/// W in the suite.
pub(crate) const WINDOW: usize = 4;

pub(crate) const ALL: ReadLimit = ReadLimit {
    events: usize::MAX,
    bytes: usize::MAX,
};

/// A store that can be closed and opened again.
pub(crate) trait Harness {
    fn store(&self) -> &dyn EventStore;
    fn reopen(&mut self);
}

macro_rules! contract_suite {
    ($harness:expr) => {
        $crate::store::contract::contract_suite!(@tests $harness,
            an_unknown_stream_is_empty,
            an_append_moves_the_head,
            g1_what_append_kept_is_there_after_reopening,
            one_commit_takes_many_streams,
            a_wrong_head_is_a_conflict_with_the_tail_and_keeps_nothing,
            another_epoch_is_a_conflict,
            a_conflict_spares_the_other_batches,
            a_batch_that_contradicts_itself_is_refused,
            reads_are_ascending_and_bounded_by_events,
            reads_are_bounded_by_bytes_and_give_at_least_one_event,
            a_read_past_the_head_is_empty,
            event_10_marks_keep_the_last_hashes,
            event_6_marks_follow_unnumbered_events_too,
            streams_are_listed_in_order_and_in_pieces,
            clock_2_the_head_keeps_the_highest_clock,
            nobody_else_writes_here,
            readers_see_whole_batches_while_a_writer_appends,
            positions_grow_over_all_streams,
            seq_at_is_what_somebody_had_at_a_position,
            seq_at_does_not_take_folded_events_for_had,
            horizon_1_a_raised_horizon_is_in_the_head_and_stays,
            horizon_1_a_horizon_above_the_expected_head_is_refused,
            horizon_1_a_lower_horizon_changes_nothing,
            a_horizon_and_events_come_in_one_batch,
            a_horizon_decided_on_another_head_is_a_conflict,
            epoch_2_an_epoch_begins_at_the_head_and_marks_stay,
            epoch_2_events_of_the_old_epoch_are_a_conflict,
            an_epoch_that_does_not_begin_is_refused,
            an_epoch_begins_once,
            marks_are_listed_by_device,
            a_stream_is_planted_once_and_goes_on,
            notes_are_kept,
            a_stream_without_events_has_an_empty_base,
            a_fold_takes_events_and_leaves_entries,
            folds_go_on_where_the_last_one_ended,
            a_fold_from_another_base_changes_nothing,
            a_fold_above_the_horizon_waits,
            a_fold_at_its_place_takes_entries_alone,
            a_fold_that_leads_backwards_is_refused,
            a_conflict_below_the_base_has_no_tail,
            entries_are_of_one_stream_and_in_order,
            a_read_beside_folds_is_whole_or_folded,
            horizon_3_marks_are_forgotten_by_the_last_event,
            erase_removes_a_group_and_nothing_else,
            an_erased_stream_can_begin_anew,
        );
    };
    (@tests $harness:expr, $($name:ident,)+) => {
        $(#[test]
        fn $name() {
            $crate::store::contract::$name(&mut $harness);
        })+
    };
}
pub(crate) use contract_suite;

pub(crate) fn stream(name: &str) -> StreamId {
    match name.split_once('/') {
        None => StreamId {
            sync_id: name.parse().unwrap(),
            channel: None,
        },
        Some((sync_id, channel)) => StreamId {
            sync_id: sync_id.parse().unwrap(),
            channel: Some(channel.parse().unwrap()),
        },
    }
}

pub(crate) fn device(number: u128) -> DeviceId {
    DeviceId::from_bytes(number.to_be_bytes())
}

/// The place `n`.
pub(crate) fn at(n: u64) -> Seq {
    Seq::new(n).unwrap()
}

/// A device's number `n`.
pub(crate) fn number(n: u64) -> DeviceSeq {
    DeviceSeq::new(n).unwrap()
}

fn hash(number: u64) -> IntentHash {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    IntentHash(bytes)
}

/// A numbered event of device 1 that says its own seq.
pub(crate) fn record(stream: &StreamId, seq: u64) -> Record {
    let event = Event {
        stream: stream.clone(),
        epoch: Epoch::new(7),
        seq: at(seq),
        accepted_at: UnixMillis::new(1000 + seq),
        event_type: "star_album".parse().unwrap(),
        event_data: Value::Map(BTreeMap::from([(
            "album_id".to_owned(),
            Value::Text(format!("album-{seq:05}")),
        )])),
        device: device(1),
        device_seq: Some(number(seq)),
        clock: Clock {
            timestamp: UnixMillis::new(1000 + seq),
            counter: 0,
        },
        base_seq: at(seq - 1),
        extra: BTreeMap::new(),
    };
    Record {
        event,
        hash: Some(hash(seq)),
    }
}

/// Events `first` to `last` of a stream.
pub(crate) fn batch(stream: &StreamId, first: u64, last: u64) -> Append {
    let records = (first..=last).map(|seq| record(stream, seq)).collect();
    Append::events(stream.clone(), at(first - 1), Epoch::new(7), records)
}

pub(crate) fn append(store: &dyn EventStore, append: Append) -> Kept {
    let mut answers = store.append(vec![append]).unwrap();
    assert_eq!(answers.len(), 1);
    answers.remove(0).unwrap()
}

pub(crate) fn seqs(events: &[Committed]) -> Vec<u64> {
    events.iter().map(|event| event.seq().get()).collect()
}

pub(crate) fn read_all(store: &dyn EventStore, stream: &StreamId) -> Vec<u64> {
    seqs(&store.read(stream, Seq::ZERO, ALL).unwrap())
}

pub(crate) fn an_unknown_stream_is_empty(harness: &mut dyn Harness) {
    let (store, home) = (harness.store(), stream("home"));
    assert_eq!(store.head(&home).unwrap(), StreamHead::EMPTY);
    assert_eq!(store.mark(&home, device(1)).unwrap(), None);
    assert!(read_all(store, &home).is_empty());
    assert!(store.streams(None, 10).unwrap().is_empty());
}

pub(crate) fn an_append_moves_the_head(harness: &mut dyn Harness) {
    let (store, home) = (harness.store(), stream("home"));
    let kept = append(store, batch(&home, 1, 3));
    assert_eq!(seqs(&kept.committed), [1, 2, 3]);
    assert_eq!(kept.committed[0].stream(), &home);
    assert_eq!(kept.committed[0].epoch(), Epoch::new(7));
    let said = record(&home, 1).event;
    assert_eq!(Event::decode(kept.committed[0].payload()).unwrap(), said);
    let head = store.head(&home).unwrap();
    assert_eq!(
        (head.epoch, head.seq, head.accepted_at),
        (Epoch::new(7), at(3), UnixMillis::new(1003))
    );
    assert_eq!(store.read(&home, Seq::ZERO, ALL).unwrap(), kept.committed);
}

pub(crate) fn g1_what_append_kept_is_there_after_reopening(harness: &mut dyn Harness) {
    let streams = [stream("home"), stream("home/albums"), stream("work")];
    for round in 0..4 {
        let store = harness.store();
        for stream in &streams {
            append(store, batch(stream, round * 5 + 1, round * 5 + 5));
        }
        let before: Vec<_> = streams
            .iter()
            .map(|stream| store.head(stream).unwrap())
            .collect();
        let marks: Vec<_> = streams
            .iter()
            .map(|stream| store.mark(stream, device(1)).unwrap())
            .collect();
        harness.reopen();
        for (place, stream) in streams.iter().enumerate() {
            let store = harness.store();
            assert_eq!(store.head(stream).unwrap(), before[place]);
            assert_eq!(store.mark(stream, device(1)).unwrap(), marks[place]);
            assert_eq!(
                read_all(store, stream),
                (1..=round * 5 + 5).collect::<Vec<_>>()
            );
        }
    }
}

pub(crate) fn one_commit_takes_many_streams(harness: &mut dyn Harness) {
    let store = harness.store();
    let streams: Vec<_> = (0..50)
        .map(|number| stream(&format!("group-{number:02}")))
        .collect();
    let answers = store
        .append(streams.iter().map(|stream| batch(stream, 1, 2)).collect())
        .unwrap();
    assert_eq!(answers.len(), 50);
    for (stream, answer) in streams.iter().zip(answers) {
        assert_eq!(answer.unwrap().committed[0].stream(), stream);
        assert_eq!(read_all(store, stream), [1, 2]);
    }
    let listed = store.streams(None, 100).unwrap();
    assert!(listed.iter().map(|(stream, _)| stream).eq(&streams));
}

pub(crate) fn a_wrong_head_is_a_conflict_with_the_tail_and_keeps_nothing(
    harness: &mut dyn Harness,
) {
    let (store, home) = (harness.store(), stream("home"));
    append(store, batch(&home, 1, 5));
    let late = store
        .append(vec![batch(&home, 3, 3)])
        .unwrap()
        .remove(0)
        .unwrap_err();
    assert_eq!(seqs(&late.tail), [3, 4, 5]);
    let early = store
        .append(vec![batch(&home, 9, 9)])
        .unwrap()
        .remove(0)
        .unwrap_err();
    assert!(early.tail.is_empty());
    assert_eq!(read_all(store, &home), [1, 2, 3, 4, 5]);
}

pub(crate) fn another_epoch_is_a_conflict(harness: &mut dyn Harness) {
    let (store, home) = (harness.store(), stream("home"));
    append(store, batch(&home, 1, 1));
    let mut other = batch(&home, 2, 2);
    other.epoch = Epoch::new(8);
    other.records[0].event.epoch = Epoch::new(8);
    assert!(store.append(vec![other]).unwrap().remove(0).is_err());
    assert_eq!(read_all(store, &home), [1]);
}

pub(crate) fn a_conflict_spares_the_other_batches(harness: &mut dyn Harness) {
    let store = harness.store();
    let (home, work) = (stream("home"), stream("work"));
    append(store, batch(&home, 1, 2));
    let answers = store
        .append(vec![batch(&home, 1, 1), batch(&work, 1, 2)])
        .unwrap();
    assert!(answers[0].is_err());
    assert!(answers[1].is_ok());
    assert_eq!(
        (read_all(store, &home), read_all(store, &work)),
        (vec![1, 2], vec![1, 2])
    );
}

pub(crate) fn a_batch_that_contradicts_itself_is_refused(harness: &mut dyn Harness) {
    let (store, home) = (harness.store(), stream("home"));
    let mut hole = batch(&home, 1, 3);
    hole.records.remove(1);
    let mut strange = batch(&home, 1, 1);
    strange.records[0].event.stream = stream("work");
    let mut bare = batch(&home, 1, 1);
    bare.records.clear();
    for bad in [hole, strange, bare] {
        assert!(
            store
                .append(vec![batch(&stream("work"), 1, 1), bad])
                .is_err()
        );
    }
    assert!(store.streams(None, 10).unwrap().is_empty());
}

pub(crate) fn reads_are_ascending_and_bounded_by_events(harness: &mut dyn Harness) {
    let (store, home) = (harness.store(), stream("home"));
    append(store, batch(&home, 1, 7));
    append(store, batch(&home, 8, 10));
    let limit = ReadLimit {
        events: 4,
        bytes: usize::MAX,
    };
    for (after, expected) in [
        (0, [1, 2, 3, 4].as_slice()),
        (5, &[6, 7, 8, 9]),
        (8, &[9, 10]),
    ] {
        assert_eq!(
            seqs(&store.read(&home, at(after), limit).unwrap()),
            expected
        );
    }
}

pub(crate) fn reads_are_bounded_by_bytes_and_give_at_least_one_event(harness: &mut dyn Harness) {
    let (store, home) = (harness.store(), stream("home"));
    let kept = append(store, batch(&home, 1, 5));
    let one = kept.committed[0].payload().len();
    for (bytes, expected) in [(0, [1].as_slice()), (one, &[1]), (2 * one + 1, &[1, 2])] {
        let limit = ReadLimit {
            events: usize::MAX,
            bytes,
        };
        assert_eq!(
            seqs(&store.read(&home, Seq::ZERO, limit).unwrap()),
            expected,
            "{bytes}"
        );
    }
}

pub(crate) fn a_read_past_the_head_is_empty(harness: &mut dyn Harness) {
    let (store, home) = (harness.store(), stream("home"));
    append(store, batch(&home, 1, 2));
    for after in [2, 3, (1 << 53) - 1] {
        assert!(store.read(&home, at(after), ALL).unwrap().is_empty());
    }
}

pub(crate) fn event_10_marks_keep_the_last_hashes(harness: &mut dyn Harness) {
    let (store, home) = (harness.store(), stream("home"));
    append(store, batch(&home, 1, 2));
    append(store, batch(&home, 3, 6));
    let mark = store.mark(&home, device(1)).unwrap().unwrap();
    assert_eq!(mark.device_seq, Some(number(6)));
    assert_eq!(mark.recent.len(), WINDOW);
    assert_eq!(mark.first_copy(hash(2)), None);
    for seq in 3..=6 {
        assert_eq!(mark.first_copy(hash(seq)), Some(at(seq)));
    }
    assert_eq!(store.mark(&home, device(2)).unwrap(), None);
    assert_eq!(store.mark(&stream("work"), device(1)).unwrap(), None);
}

pub(crate) fn event_6_marks_follow_unnumbered_events_too(harness: &mut dyn Harness) {
    let (store, home) = (harness.store(), stream("home"));
    append(store, batch(&home, 1, 1));
    let mut plain = batch(&home, 2, 2);
    plain.records[0].hash = None;
    plain.records[0].event.device_seq = None;
    append(store, plain);
    harness.reopen();
    let mark = harness.store().mark(&home, device(1)).unwrap().unwrap();
    assert_eq!(mark.device_seq, Some(number(1)));
    assert_eq!(
        (mark.base_seq, mark.clock.timestamp),
        (at(1), UnixMillis::new(1002))
    );
    assert_eq!(mark.recent.len(), 1);
}

pub(crate) fn streams_are_listed_in_order_and_in_pieces(harness: &mut dyn Harness) {
    let store = harness.store();
    let mut names = ["a", "a/x", "a/y", "a-1", "b", "b/x"].map(stream);
    for name in names.iter().rev() {
        append(store, batch(name, 1, 1));
    }
    names.sort();
    let mut found: Vec<StreamId> = Vec::new();
    loop {
        let piece = store.streams(found.last(), 2).unwrap();
        assert!(piece.iter().all(|(_, head)| head.seq == at(1)));
        if piece.is_empty() {
            break;
        }
        found.extend(piece.into_iter().map(|(stream, _)| stream));
    }
    assert_eq!(found, names);
}

pub(crate) fn clock_2_the_head_keeps_the_highest_clock(harness: &mut dyn Harness) {
    let (store, home) = (harness.store(), stream("home"));
    append(store, batch(&home, 1, 3));
    let mut slow = batch(&home, 4, 4);
    slow.records[0].event.clock = Clock {
        timestamp: UnixMillis::new(5),
        counter: 5,
    };
    append(store, slow);
    harness.reopen();
    let head = harness.store().head(&home).unwrap();
    assert_eq!(
        head.clock,
        Clock {
            timestamp: UnixMillis::new(1003),
            counter: 0
        }
    );
}

pub(crate) fn nobody_else_writes_here(harness: &mut dyn Harness) {
    let store = harness.store();
    append(store, batch(&stream("home"), 1, 3));
    assert_eq!(store.watch().count(), 0);
}

pub(crate) fn readers_see_whole_batches_while_a_writer_appends(harness: &mut dyn Harness) {
    let (store, home) = (harness.store(), stream("home"));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for first in (1..=400).step_by(4) {
                append(store, batch(&home, first, first + 3));
            }
        });
        let mut seen = 0;
        while seen < 400 {
            let head = store.head(&home).unwrap().seq.get();
            assert_eq!(head % 4, 0);
            let tail = seqs(&store.read(&home, at(seen), ALL).unwrap());
            let end = tail.last().copied().unwrap_or(seen);
            assert!(end >= head && end % 4 == 0);
            assert_eq!(tail, (seen + 1..=end).collect::<Vec<_>>());
            seen = end;
        }
    });
}
