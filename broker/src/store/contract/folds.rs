//! The contract of folds: a base takes the place of events.

use super::history::one;
use super::*;
use crate::store::{Base, Folded, StoreError};

pub(crate) fn a_stream_without_events_has_an_empty_base(harness: &mut dyn Harness) {
    let (store, home) = (harness.store(), stream("home"));
    assert_eq!(entries(store, &home), (Base::EMPTY, vec![]));
    assert_eq!(
        store.fold(fold_of(&home, 0, 4)).unwrap(),
        Folded::Moved,
        "a stream that is not there"
    );
}

pub(crate) fn a_fold_takes_events_and_leaves_entries(harness: &mut dyn Harness) {
    let home = stream("home");
    append(harness.store(), batch(&home, 1, 9));
    raise(harness.store(), &home, 6);
    let head = harness.store().head(&home).unwrap();
    let step = fold_of(&home, 0, 4);
    assert_eq!(fold(harness.store(), &step), Folded::Done);
    for _ in 0..2 {
        let store = harness.store();
        let (base, found) = entries(store, &home);
        assert_eq!(base, step.base);
        assert_eq!(store.base(&home).unwrap(), step.base);
        assert_eq!(found, pairs([("00004", "x"), ("last", "4")]));
        assert_eq!(store.head(&home).unwrap(), head);
        for after in [0, 3] {
            let error = store.read(&home, at(after), ALL).unwrap_err();
            let kept_after = at(4);
            assert!(
                matches!(error, StoreError::Folded { kept_after: it } if it == kept_after),
                "{error}"
            );
        }
        assert_eq!(
            seqs(&store.read(&home, at(4), ALL).unwrap()),
            [5, 6, 7, 8, 9]
        );
        harness.reopen();
    }
    append(harness.store(), batch(&home, 10, 10));
    let tail = harness.store().read(&home, at(8), ALL).unwrap();
    assert_eq!(seqs(&tail), [9, 10]);
}

pub(super) fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
    let pair = |(key, entry): (&str, &str)| (format!("albums/{key}"), entry.to_owned());
    pairs.map(pair).to_vec()
}

pub(crate) fn folds_go_on_where_the_last_one_ended(harness: &mut dyn Harness) {
    let home = stream("home");
    append(harness.store(), batch(&home, 1, 9));
    raise(harness.store(), &home, 9);
    for (from, to) in [(0, 2), (2, 3), (3, 9)] {
        assert_eq!(
            fold(harness.store(), &fold_of(&home, from, to)),
            Folded::Done
        );
        harness.reopen();
    }
    let store = harness.store();
    let (base, found) = entries(store, &home);
    assert_eq!(base.seq, at(9));
    assert_eq!(found, pairs([("00009", "x"), ("last", "9")]));
    assert!(store.read(&home, at(9), ALL).unwrap().is_empty());
    append(store, batch(&home, 10, 10));
    assert_eq!(seqs(&store.read(&home, at(9), ALL).unwrap()), [10]);
}

pub(crate) fn a_fold_from_another_base_changes_nothing(harness: &mut dyn Harness) {
    let (store, home) = (harness.store(), stream("home"));
    append(store, batch(&home, 1, 9));
    raise(store, &home, 9);
    assert_eq!(fold(store, &fold_of(&home, 0, 4)), Folded::Done);
    let before = entries(store, &home);
    for (from, to) in [(0, 4), (3, 9), (5, 9)] {
        assert_eq!(fold(store, &fold_of(&home, from, to)), Folded::Moved);
    }
    assert_eq!(entries(store, &home), before);
}

pub(crate) fn a_fold_above_the_horizon_waits(harness: &mut dyn Harness) {
    let (store, home) = (harness.store(), stream("home"));
    append(store, batch(&home, 1, 9));
    raise(store, &home, 5);
    assert_eq!(fold(store, &fold_of(&home, 0, 5)), Folded::Done);
    for _ in 0..3 {
        assert_eq!(store.fold(fold_of(&home, 5, 6)).unwrap(), Folded::NotYet);
    }
    assert_eq!(store.base(&home).unwrap().seq, at(5));
    raise(store, &home, 6);
    assert_eq!(fold(store, &fold_of(&home, 5, 6)), Folded::Done);
}

pub(crate) fn a_fold_at_its_place_takes_entries_alone(harness: &mut dyn Harness) {
    let (store, home) = (harness.store(), stream("home"));
    append(store, batch(&home, 1, 9));
    raise(store, &home, 5);
    assert_eq!(fold(store, &fold_of(&home, 0, 5)), Folded::Done);
    let mut again = fold_of(&home, 5, 5);
    again.base.removed_floor = at(3);
    again.puts.clear();
    assert_eq!(fold(store, &again), Folded::Done);
    let (base, found) = entries(store, &home);
    assert_eq!(base, again.base);
    assert_eq!(found, pairs([("last", "5")]));
    assert_eq!(seqs(&store.read(&home, at(5), ALL).unwrap()), [6, 7, 8, 9]);
    let position = store.read(&home, at(5), ALL).unwrap()[0].position();
    assert_eq!(store.seq_at(&home, position - 1).unwrap(), at(5));
}

pub(crate) fn a_fold_that_leads_backwards_is_refused(harness: &mut dyn Harness) {
    let (store, home) = (harness.store(), stream("home"));
    append(store, batch(&home, 1, 9));
    raise(store, &home, 5);
    assert_eq!(fold(store, &fold_of(&home, 0, 5)), Folded::Done);
    let back = store.fold(fold_of(&home, 5, 4));
    assert!(matches!(back, Err(StoreError::BadFold(_))));
}

pub(crate) fn a_conflict_below_the_base_has_no_tail(harness: &mut dyn Harness) {
    let (store, home) = (harness.store(), stream("home"));
    append(store, batch(&home, 1, 9));
    raise(store, &home, 9);
    assert_eq!(fold(store, &fold_of(&home, 0, 5)), Folded::Done);
    assert!(one(store, batch(&home, 3, 3)).unwrap_err().tail.is_empty());
    let late = one(store, batch(&home, 8, 8)).unwrap_err();
    assert_eq!(seqs(&late.tail), [8, 9]);
}

pub(crate) fn entries_are_of_one_stream_and_in_order(harness: &mut dyn Harness) {
    let store = harness.store();
    let streams = ["home", "home/x", "work"].map(stream);
    for name in &streams {
        append(store, batch(name, 1, 2));
        raise(store, name, 2);
    }
    for name in &streams {
        let mut step = fold_of(name, 0, 2);
        step.puts = ["b", "a", "", "a-", "é"]
            .map(|key| entry(key, &name.to_string()))
            .to_vec();
        step.puts[0].collection = "a".to_owned();
        assert_eq!(fold(store, &step), Folded::Done);
    }
    for name in &streams {
        let (_, found) = entries(store, name);
        let keys: Vec<_> = found.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(
            keys,
            ["a/b", "albums/", "albums/a", "albums/a-", "albums/é"]
        );
        assert!(found.iter().all(|(_, said)| *said == name.to_string()));
    }
}

pub(crate) fn a_read_beside_folds_is_whole_or_folded(harness: &mut dyn Harness) {
    let (store, home) = (harness.store(), stream("home"));
    append(store, batch(&home, 1, 200));
    raise(store, &home, 200);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for from in (0..200).step_by(5) {
                assert_eq!(fold(store, &fold_of(&home, from, from + 5)), Folded::Done);
            }
        });
        let mut kept_from = 0;
        while kept_from < 200 {
            let (base, found) = entries(store, &home);
            let said = found.last().map_or("0", |(_, said)| said.as_str());
            assert_eq!(
                base.seq.get().to_string(),
                said,
                "a base beside other entries"
            );
            match store.read(&home, at(kept_from), ALL) {
                Ok(events) => assert_eq!(seqs(&events), (kept_from + 1..=200).collect::<Vec<_>>()),
                Err(StoreError::Folded { kept_after }) => kept_from = kept_after.get(),
                Err(error) => panic!("{error}"),
            }
        }
    });
}
