//! The contract of what becomes of events: positions, horizons, epochs, bases, forgetting.

use std::time::{Duration, Instant};

use bytes::Bytes;
use syncline_protocol::{Epoch, Seq, StreamId, UnixMillis};

use super::folds::pairs;
use super::{ALL, Harness, append, at, batch, device, number, read_all, seqs, stream};
use crate::store::{
    Append, Appended, Base, Committed, Erased, EventStore, Fold, Folded, Move, Planted,
    StoredEntry, StreamHead,
};

pub(crate) fn raise(store: &dyn EventStore, stream: &StreamId, horizon: u64) {
    let head = store.head(stream).unwrap();
    let raise = Append::raise(stream.clone(), head.seq, head.epoch, at(horizon));
    assert!(one(store, raise).is_ok());
}

pub(super) fn one(store: &dyn EventStore, append: Append) -> Appended {
    store.append(vec![append]).unwrap().remove(0)
}

pub(crate) fn entry(key: &str, entry: &str) -> StoredEntry {
    StoredEntry {
        collection: "albums".to_owned(),
        key: key.to_owned(),
        entry: Bytes::copy_from_slice(entry.as_bytes()),
    }
}

/// A fold that leaves an entry that says so.
pub(crate) fn fold_of(stream: &StreamId, from: u64, to: u64) -> Fold {
    let base = Base {
        epoch: Epoch::new(7),
        seq: at(to),
        removed_floor: at(from),
        moves: vec![Move {
            horizon: at(to),
            at: at(to),
            accepted_at: UnixMillis::new(1000 + to),
        }],
    };
    Fold {
        stream: stream.clone(),
        from: at(from),
        base,
        puts: vec![
            entry("last", &to.to_string()),
            entry(&format!("{to:05}"), "x"),
        ],
        removes: vec![("albums".to_owned(), format!("{from:05}"))],
    }
}

/// Asks until the store has caught up.
pub(crate) fn fold(store: &dyn EventStore, fold: &Fold) -> Folded {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match store.fold(fold.clone()).unwrap() {
            Folded::NotYet => assert!(Instant::now() < deadline, "the tables do not catch up"),
            folded => return folded,
        }
        std::thread::yield_now();
    }
}

pub(crate) fn entries(store: &dyn EventStore, stream: &StreamId) -> (Base, Vec<(String, String)>) {
    let mut found = Vec::new();
    let base = store
        .entries(stream, &mut |it| {
            let entry = String::from_utf8(it.entry.to_vec()).unwrap();
            found.push((format!("{}/{}", it.collection, it.key), entry));
        })
        .unwrap();
    (base, found)
}

pub(crate) fn positions_grow_over_all_streams(harness: &mut dyn Harness) {
    let (store, home, work) = (harness.store(), stream("home"), stream("work"));
    assert_eq!(store.position().unwrap(), 0);
    let first = append(store, batch(&home, 1, 2)).committed;
    let second = append(store, batch(&work, 1, 1)).committed;
    raise(store, &work, 1);
    let third = append(store, batch(&home, 3, 3)).committed;
    let all: Vec<_> = [first, second, third].concat();
    let positions: Vec<_> = all.iter().map(Committed::position).collect();
    assert!(positions.is_sorted() && positions[0] > 0, "{positions:?}");
    assert_eq!(store.position().unwrap(), positions[3]);
    harness.reopen();
    let store = harness.store();
    assert_eq!(store.position().unwrap(), positions[3]);
    let read: Vec<_> = store.read(&home, Seq::ZERO, ALL).unwrap();
    assert_eq!(read, [all[0].clone(), all[1].clone(), all[3].clone()]);
    let heads = [&home, &work].map(|stream| store.head(stream).unwrap().position);
    assert_eq!(heads[0], positions[3]);
    assert!(positions[2] < heads[1] && heads[1] < positions[3]);
    let next = append(store, batch(&work, 2, 2)).committed[0].position();
    assert!(next > positions[3]);
}

pub(crate) fn seq_at_is_what_somebody_had_at_a_position(harness: &mut dyn Harness) {
    let (home, work) = (stream("home"), stream("work"));
    let mut had = vec![(0, [0, 0])];
    for round in 1..=6 {
        let store = harness.store();
        append(store, batch(&home, round * 3 - 2, round * 3));
        had.push((store.position().unwrap(), [round * 3, round - 1]));
        append(store, batch(&work, round, round));
        had.push((store.position().unwrap(), [round * 3, round]));
        // Takes a position, and nobody has anything more by it.
        raise(store, &home, round);
        had.push((store.position().unwrap(), [round * 3, round]));
        if round == 3 {
            harness.reopen();
        }
    }
    for _ in 0..2 {
        for (position, expected) in &had {
            let found = [&home, &work].map(|it| harness.store().seq_at(it, *position).unwrap());
            assert_eq!(found.map(Seq::get), *expected, "{position}");
        }
        harness.reopen();
    }
    let nowhere = harness.store().seq_at(&stream("nowhere"), 9).unwrap();
    assert_eq!(nowhere, Seq::ZERO);
}

pub(crate) fn seq_at_does_not_take_folded_events_for_had(harness: &mut dyn Harness) {
    let (store, home) = (harness.store(), stream("home"));
    let kept = append(store, batch(&home, 1, 9)).committed;
    raise(store, &home, 4);
    assert_eq!(fold(store, &fold_of(&home, 0, 4)), Folded::Done);
    let found: Vec<_> = kept
        .iter()
        .map(|event| store.seq_at(&home, event.position()).unwrap().get())
        .collect();
    assert_eq!(found, [0, 0, 0, 4, 5, 6, 7, 8, 9]);
}

pub(crate) fn horizon_1_a_raised_horizon_is_in_the_head_and_stays(harness: &mut dyn Harness) {
    let home = stream("home");
    append(harness.store(), batch(&home, 1, 5));
    let before = harness.store().head(&home).unwrap();
    assert_eq!(before.horizon, Seq::ZERO);
    raise(harness.store(), &home, 3);
    for _ in 0..2 {
        let store = harness.store();
        let head = store.head(&home).unwrap();
        let position = head.position;
        assert!(position > before.position);
        let expected = StreamHead {
            horizon: at(3),
            position,
            ..before
        };
        assert_eq!(head, expected);
        assert_eq!(read_all(store, &home), [1, 2, 3, 4, 5]);
        assert_eq!(store.streams(None, 9).unwrap(), [(home.clone(), expected)]);
        harness.reopen();
    }
}

pub(crate) fn horizon_1_a_horizon_above_the_expected_head_is_refused(harness: &mut dyn Harness) {
    let (store, home) = (harness.store(), stream("home"));
    append(store, batch(&home, 1, 5));
    let mut high = batch(&home, 6, 8);
    high.horizon = Some(at(6));
    assert!(store.append(vec![high]).is_err());
    assert_eq!(store.head(&home).unwrap().seq, at(5));
}

pub(crate) fn horizon_1_a_lower_horizon_changes_nothing(harness: &mut dyn Harness) {
    let (store, home) = (harness.store(), stream("home"));
    append(store, batch(&home, 1, 5));
    raise(store, &home, 4);
    let head = store.head(&home).unwrap();
    raise(store, &home, 3);
    raise(store, &home, 4);
    assert_eq!(store.head(&home).unwrap(), head);
}

pub(crate) fn a_horizon_and_events_come_in_one_batch(harness: &mut dyn Harness) {
    let (store, home) = (harness.store(), stream("home"));
    append(store, batch(&home, 1, 5));
    let mut both = batch(&home, 6, 8);
    both.horizon = Some(at(5));
    let kept = append(store, both);
    assert_eq!(seqs(&kept.committed), [6, 7, 8]);
    harness.reopen();
    let head = harness.store().head(&home).unwrap();
    assert_eq!((head.seq, head.horizon), (at(8), at(5)));
    assert_eq!(head.position, kept.committed[2].position());
}

pub(crate) fn a_horizon_decided_on_another_head_is_a_conflict(harness: &mut dyn Harness) {
    let (store, home) = (harness.store(), stream("home"));
    append(store, batch(&home, 1, 5));
    let late = Append::raise(home.clone(), at(3), Epoch::new(7), at(2));
    assert_eq!(seqs(&one(store, late).unwrap_err().tail), [4, 5]);
    let foreign = Append::raise(home.clone(), at(5), Epoch::new(9), at(2));
    assert!(one(store, foreign).is_err());
    assert_eq!(store.head(&home).unwrap().horizon, Seq::ZERO);
}

pub(crate) fn epoch_2_an_epoch_begins_at_the_head_and_marks_stay(harness: &mut dyn Harness) {
    let home = stream("home");
    append(harness.store(), batch(&home, 1, 5));
    let before = harness.store().head(&home).unwrap();
    let mark = harness.store().mark(&home, device(1)).unwrap();
    let begin = Append::begin(home.clone(), at(5), Epoch::new(8));
    assert!(one(harness.store(), begin).is_ok());
    for _ in 0..2 {
        let head = harness.store().head(&home).unwrap();
        assert_eq!((head.epoch, head.seq), (Epoch::new(8), at(5)));
        assert_eq!((head.horizon, head.clock), (Seq::ZERO, before.clock));
        assert!(head.position > before.position);
        assert_eq!(harness.store().mark(&home, device(1)).unwrap(), mark);
        harness.reopen();
    }
    let store = harness.store();
    append(store, of_epoch(8, batch(&home, 6, 7)));
    let epochs: Vec<_> = store.read(&home, at(4), ALL).unwrap();
    let epochs: Vec<_> = epochs.iter().map(|event| event.epoch().get()).collect();
    assert_eq!(epochs, [7, 8, 8]);
    let mark = store.mark(&home, device(1)).unwrap().unwrap();
    assert_eq!(mark.device_seq, Some(number(7)));
}

/// The same events in another epoch.
pub(crate) fn of_epoch(epoch: u64, mut batch: Append) -> Append {
    batch.epoch = Epoch::new(epoch);
    for record in &mut batch.records {
        record.event.epoch = Epoch::new(epoch);
    }
    batch
}

pub(crate) fn epoch_2_events_of_the_old_epoch_are_a_conflict(harness: &mut dyn Harness) {
    let (store, home) = (harness.store(), stream("home"));
    append(store, batch(&home, 1, 2));
    let mut begins = of_epoch(8, batch(&home, 3, 4));
    (begins.begins, begins.horizon) = (true, Some(at(2)));
    assert_eq!(seqs(&append(store, begins).committed), [3, 4]);
    assert!(one(store, batch(&home, 5, 5)).is_err());
    append(store, of_epoch(8, batch(&home, 5, 5)));
    let head = store.head(&home).unwrap();
    assert_eq!((head.horizon, head.seq), (at(2), at(5)));
}

pub(crate) fn an_epoch_that_does_not_begin_is_refused(harness: &mut dyn Harness) {
    let (store, home) = (harness.store(), stream("home"));
    append(store, batch(&home, 1, 5));
    let mut none = Append::begin(home.clone(), at(5), Epoch::new(8));
    none.epoch = Epoch::NONE;
    assert!(store.append(vec![none]).is_err());
    assert_eq!(store.head(&home).unwrap().epoch, Epoch::new(7));
}

pub(crate) fn marks_are_listed_by_device(harness: &mut dyn Harness) {
    let home = stream("home");
    append(harness.store(), batch(&home, 1, 5));
    for _ in 0..2 {
        let store = harness.store();
        let mut listed = Vec::new();
        store
            .marks(&home, &mut |device, mark| listed.push((device, mark)))
            .unwrap();
        let devices: Vec<_> = listed.iter().map(|(device, _)| *device).collect();
        assert!(!devices.is_empty() && devices.is_sorted(), "{devices:?}");
        for (device, mark) in listed {
            assert_eq!(store.mark(&home, device).unwrap(), Some(mark));
        }
        harness.reopen();
    }
}

pub(crate) fn a_stream_is_planted_once_and_goes_on(harness: &mut dyn Harness) {
    let (home, copy) = (stream("home"), stream("copy"));
    append(harness.store(), batch(&home, 1, 5));
    raise(harness.store(), &home, 3);
    fold(harness.store(), &fold_of(&home, 0, 3));
    let store = harness.store();
    let mut marks = Vec::new();
    store
        .marks(&home, &mut |device, mark| marks.push((device, mark)))
        .unwrap();
    let (base, _) = entries(store, &home);
    let planted = Planted {
        stream: copy.clone(),
        head: store.head(&home).unwrap(),
        base: base.clone(),
        entries: vec![entry("k", "x")],
        marks: marks.clone(),
        events: batch(&copy, 4, 5).records,
    };
    let before = store.position().unwrap();
    assert!(store.plant(planted.clone()).unwrap());
    let position = store.position().unwrap();
    assert!(position > before);
    assert_eq!(store.seq_at(&copy, before).unwrap(), Seq::ZERO);
    assert_eq!(store.seq_at(&copy, position).unwrap(), at(5));
    assert!(!store.plant(planted).unwrap());
    assert_eq!(store.position().unwrap(), position);
    for _ in 0..2 {
        let store = harness.store();
        let head = store.head(&copy).unwrap();
        assert_eq!((head.seq, head.horizon), (at(5), at(3)));
        assert_eq!(entries(store, &copy), (base.clone(), pairs([("k", "x")])));
        assert_eq!(seqs(&store.read(&copy, at(3), ALL).unwrap()), [4, 5]);
        for (device, mark) in &marks {
            assert_eq!(store.mark(&copy, *device).unwrap().as_ref(), Some(mark));
        }
        harness.reopen();
    }
    append(harness.store(), batch(&copy, 6, 6));
    assert_eq!(
        seqs(&harness.store().read(&copy, at(3), ALL).unwrap()),
        [4, 5, 6]
    );
}

pub(crate) fn notes_are_kept(harness: &mut dyn Harness) {
    assert_eq!(harness.store().note("a").unwrap(), None);
    harness.store().set_note("a", b"1").unwrap();
    harness.store().set_note("a", b"2").unwrap();
    harness.reopen();
    assert_eq!(
        harness.store().note("a").unwrap(),
        Some(Bytes::from_static(b"2"))
    );
    assert_eq!(harness.store().note("b").unwrap(), None);
}

pub(crate) fn an_epoch_begins_once(harness: &mut dyn Harness) {
    let (store, home) = (harness.store(), stream("home"));
    append(store, batch(&home, 1, 5));
    let begin = Append::begin(home.clone(), at(5), Epoch::new(8));
    assert!(one(store, begin.clone()).is_ok());
    assert!(one(store, begin).is_err());
    let empty = Append::begin(stream("work"), Seq::ZERO, Epoch::new(8));
    assert!(one(store, empty).is_ok());
    assert_eq!(store.head(&stream("work")).unwrap(), StreamHead::EMPTY);
    assert_eq!(store.streams(None, 9).unwrap().len(), 1);
}

pub(crate) fn horizon_3_marks_are_forgotten_by_the_last_event(harness: &mut dyn Harness) {
    let home = stream("home");
    // Devices 0 to 4, last heard at 1001 to 1005.
    for seq in 1..=5 {
        let mut said = batch(&home, seq, seq);
        said.records[0].event.device = device(u128::from(seq - 1));
        append(harness.store(), said);
    }
    harness.reopen();
    // Not in the tables everywhere yet.
    let mut back = batch(&home, 6, 6);
    back.records[0].event.device = device(1);
    append(harness.store(), back);
    let store = harness.store();
    assert_eq!(
        store.forget_marks(&home, UnixMillis::new(1004)).unwrap(),
        2,
        "devices 0 and 2: device 1 has come back"
    );
    assert_eq!(store.forget_marks(&home, UnixMillis::new(1004)).unwrap(), 0);
    assert_eq!(
        store
            .forget_marks(&stream("work"), UnixMillis::new(9999))
            .unwrap(),
        0
    );
    for _ in 0..2 {
        let store = harness.store();
        let mark = |number| store.mark(&home, device(number)).unwrap();
        let known: Vec<_> = (0..5).filter(|it| mark(*it).is_some()).collect();
        assert_eq!(known, [1, 3, 4]);
        let recent: Vec<_> = mark(1)
            .unwrap()
            .recent
            .iter()
            .map(|it| it.seq.get())
            .collect();
        assert_eq!(recent, [2, 6]);
        assert_eq!(mark(1).unwrap().accepted_at, UnixMillis::new(1006));
        harness.reopen();
    }
}

pub(crate) fn erase_removes_a_group_and_nothing_else(harness: &mut dyn Harness) {
    let names = ["home", "home/x", "home-2", "hom", "work/home"].map(stream);
    for name in &names {
        append(harness.store(), batch(name, 1, 9));
        raise(harness.store(), name, 4);
        assert_eq!(fold(harness.store(), &fold_of(name, 0, 4)), Folded::Done);
        append(harness.store(), batch(name, 10, 11));
    }
    let position = harness.store().position().unwrap();
    let erased = harness.store().erase(&"home".parse().unwrap()).unwrap();
    let expected = Erased {
        streams: 2,
        events: 14,
        entries: 4,
        marks: 2,
    };
    assert_eq!(erased, expected);
    for _ in 0..2 {
        let store = harness.store();
        for name in &names[..2] {
            assert_eq!(store.head(name).unwrap(), StreamHead::EMPTY);
            assert!(read_all(store, name).is_empty());
            assert_eq!(entries(store, name), (Base::EMPTY, vec![]));
            assert_eq!(store.mark(name, device(1)).unwrap(), None);
        }
        for name in &names[2..] {
            assert_eq!(store.head(name).unwrap().seq, at(11));
            assert_eq!(seqs(&store.read(name, at(4), ALL).unwrap()).len(), 7);
            assert_eq!(entries(store, name).1.len(), 2);
            assert_eq!(
                store.mark(name, device(1)).unwrap().unwrap().recent.len(),
                4
            );
        }
        assert_eq!(store.streams(None, 9).unwrap().len(), 3);
        assert_eq!(store.position().unwrap(), position);
        harness.reopen();
    }
    let again = harness.store().erase(&"home".parse().unwrap()).unwrap();
    assert_eq!(again, Erased::default());
}

pub(crate) fn an_erased_stream_can_begin_anew(harness: &mut dyn Harness) {
    let home = stream("home");
    append(harness.store(), batch(&home, 1, 3));
    harness.store().erase(&home.sync_id).unwrap();
    let position = harness.store().position().unwrap();
    let kept = append(harness.store(), of_epoch(9, batch(&home, 1, 2)));
    assert!(kept.committed[0].position() > position);
    harness.reopen();
    assert_eq!(read_all(harness.store(), &home), [1, 2]);
    let mark = harness.store().mark(&home, device(1)).unwrap().unwrap();
    assert_eq!(mark.device_seq, Some(number(2)));
}
