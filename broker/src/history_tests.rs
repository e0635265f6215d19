//! Histories that are kept short, with every room behind the edge: what was said stays true, and nothing comes back.

mod property;
mod rig;
mod steady;

use std::collections::BTreeMap;
use std::sync::Arc;

use syncline_protocol::{RefusalName, Seq, StreamId};

use crate::compactor::{Limits, StatesError, Want};
use crate::sequencer::Outcome;
use crate::store::contract::{at, device, stream};
use crate::store::faults::{Faults, FaultyStore};
use crate::store::memory::MemoryStore;
use crate::store::{EventStore, RedbOptions, RedbStore};
use rig::{Rig, about, intent, options};

fn rig() -> Rig {
    Rig::new(Arc::new(MemoryStore::new(8)), options())
}

fn saved(outcome: &Outcome) -> Seq {
    match outcome {
        Outcome::Saved { seq, .. } => *seq,
        other => panic!("{other:?}"),
    }
}

/// So many adds of different keys, a millisecond apart.
fn fill(rig: &mut Rig, stream: &StreamId, count: usize) {
    for n in 0..count {
        rig.pass(1);
        let event = about("last_add", &format!("filler-{n}"));
        saved(&rig.say(stream, device(9), event));
    }
}

#[test]
fn horizon_1_each_limit_lets_history_go_and_a_full_state_stands_for_it() {
    let (mut rig, home) = (rig(), stream("home"));
    fill(&mut rig, &home, 24);
    rig.pass(100);
    rig.compact();
    assert_eq!(
        (rig.head(&home).horizon, rig.kept(&home)),
        (Seq::ZERO, (false, 24))
    );
    fill(&mut rig, &home, 1);
    let before = rig.digest(&home);
    rig.pass(100);
    rig.compact();
    assert_eq!(
        (rig.head(&home).horizon, rig.kept(&home)),
        (at(4), (true, 21))
    );
    assert_eq!(rig.base(&home).seq, at(4));
    // Age, without anybody writing.
    rig.pass(2_000);
    rig.compact();
    assert_eq!(
        (rig.head(&home).horizon, rig.kept(&home)),
        (at(25), (true, 0))
    );
    assert_eq!(rig.digest(&home), before);
    assert_eq!(rig.rows(&home).len(), 24);
    rig = rig.restart();
    assert_eq!(rig.digest(&home), before);
}

#[test]
fn horizon_1_the_youngest_stay_and_a_channel_has_limits_of_its_own() {
    let mut options = options();
    let own = Limits {
        max_events: 8,
        min_age_ms: 1,
        ..options.history.limits
    };
    let room = "room".parse().unwrap();
    options.history.channels = BTreeMap::from([(room, own)]);
    let mut rig = Rig::new(Arc::new(MemoryStore::new(8)), options);
    let (library, room) = (stream("home"), stream("home/room"));
    fill(&mut rig, &library, 40);
    rig.compact();
    assert_eq!(
        rig.head(&library).horizon,
        Seq::ZERO,
        "all are younger than 50 ms"
    );
    fill(&mut rig, &room, 40);
    rig.compact();
    assert_eq!(
        (rig.head(&room).horizon, rig.kept(&room)),
        (at(33), (true, 7))
    );
    assert_eq!(
        (rig.head(&library).horizon, rig.kept(&library)),
        (at(19), (true, 21))
    );
}

/// A store of each kind.
fn stores() -> Vec<(Arc<dyn EventStore>, tempfile::TempDir)> {
    let folder = || tempfile::tempdir().unwrap();
    let on_disk = folder();
    let redb = RedbOptions {
        mark_window: 8,
        min_free_bytes: 0,
        ..RedbOptions::default()
    };
    let redb = RedbStore::open(on_disk.path(), &redb).unwrap();
    vec![
        (Arc::new(MemoryStore::new(8)), folder()),
        (Arc::new(redb), on_disk),
    ]
}

#[test]
fn g7_star_unstar_star_is_star_to_the_byte() {
    for ((churned, _a), (plain, _b)) in stores().into_iter().zip(stores()) {
        let home = stream("home");
        let mut rigs = [Rig::new(churned, options()), Rig::new(plain, options())];
        let [churned, plain] = [
            ["last_add", "last_remove", "last_add"],
            ["unnamed", "unnamed", "last_add"],
        ];
        for (rig, said) in rigs.iter_mut().zip([churned, plain]) {
            for event_type in said {
                rig.pass(1);
                saved(&rig.say(&home, device(1), about(event_type, "album")));
            }
            rig.pass(3_000);
            rig.compact();
            assert_eq!(rig.base(&home).seq, at(3));
            assert_eq!(rig.kept(&home), (true, 0), "no row of an event is left");
        }
        let [churned, plain] = rigs;
        assert_eq!(churned.rows(&home), plain.rows(&home));
        assert_eq!(churned.rows(&home).len(), 1);
        assert_eq!(churned.base(&home), plain.base(&home));
        assert_eq!(churned.store.streams(None, 9).unwrap().len(), 1);
        let full = |rig: &Rig| rig.states.snapshot(&home, Want::Full).unwrap().msgpack();
        assert_eq!(full(&churned), full(&plain));
        let since = Want::Since {
            seq: at(1),
            epoch: churned.head(&home).epoch,
        };
        let delta = churned.states.snapshot(&home, since).unwrap();
        assert_eq!(delta.snapshot().collections["last"].len(), 1);
    }
}

#[test]
fn horizon_1_a_crash_between_declaring_and_folding_loses_nothing() {
    let faults = Faults::default();
    let store = FaultyStore::new(MemoryStore::new(8), faults.clone());
    let mut rig = Rig::new(Arc::new(store), options());
    let home = stream("home");
    // More than a step takes.
    fill(&mut rig, &home, 1_300);
    let before = rig.digest(&home);
    rig.raise(&home, at(1_250)).unwrap();
    assert_eq!(rig.base(&home).seq, Seq::ZERO);
    for crash in 0..6 {
        rig = rig.restart();
        assert_eq!(rig.digest(&home), before);
        faults.fail_folds(crash % 2);
        for _ in 0..6 {
            rig.step();
            rig.pass(1);
        }
    }
    rig.compact();
    assert!(rig.base(&home).seq >= at(1_250));
    assert_eq!(rig.digest(&home), before);
    assert_eq!(rig.restart().digest(&home), before);
}

#[test]
fn horizon_5_tombstones_go_when_nobody_can_have_missed_them() {
    let (mut rig, home) = (rig(), stream("home"));
    saved(&rig.say(&home, device(1), about("last_add", "a")));
    saved(&rig.say(&home, device(1), about("last_remove", "a")));
    fill(&mut rig, &home, 3);
    let epoch = rig.head(&home).epoch;
    rig.pass(2_100);
    rig.compact();
    assert_eq!(rig.base(&home).seq, at(5));
    assert_eq!(rig.rows(&home).len(), 4, "the tombstone is remembered");
    rig.pass(1_000);
    rig.compact();
    assert_eq!(rig.rows(&home).len(), 3);
    assert_eq!(rig.base(&home).removed_floor, at(2));
    assert!(rig.base(&home).moves.is_empty());
    // Who could have missed it gets everything.
    let since = |seq| {
        let want = Want::Since { seq, epoch };
        let opening = rig.states.snapshot(&home, want).unwrap();
        opening.snapshot().since
    };
    assert_eq!(since(at(1)), Seq::ZERO);
    assert_eq!(
        since(at(2)),
        Seq::ZERO,
        "everything there is changed after 2"
    );
    assert_eq!(since(at(3)), at(3));
}

#[test]
fn snap_3_a_state_in_memory_follows_what_is_collected() {
    let (mut rig, home) = (rig(), stream("home"));
    for n in 0..10 {
        saved(&rig.say(&home, device(1), about("last_add", &format!("k{n}"))));
    }
    saved(&rig.say(&home, device(1), about("last_remove", "k0")));
    saved(&rig.say(&home, device(1), about("last_add", "k1")));
    let entries = |rig: &Rig, seq: u64| {
        let epoch = rig.head(&home).epoch;
        let want = Want::Since {
            seq: at(seq),
            epoch,
        };
        let opening = rig.states.snapshot(&home, want).unwrap();
        let snapshot = opening.snapshot();
        (snapshot.since.get(), snapshot.collections["last"].len())
    };
    assert_eq!(entries(&rig, 10), (10, 2));
    rig.pass(5_100);
    rig.compact();
    assert_eq!(rig.rows(&home).len(), 9);
    assert_eq!(entries(&rig, 10), (0, 9));
    assert_eq!(entries(&rig, 11), (11, 1));
    rig = rig.restart();
    assert_eq!(entries(&rig, 10), (0, 9));
    assert_eq!(entries(&rig, 11), (11, 1));
}

#[test]
fn horizon_3_marks_go_with_the_events_of_their_device() {
    let (mut rig, home) = (rig(), stream("home"));
    let by = |n: u128, seq: u64, ms: u64| rig::numbered(about("last_add", "a"), device(n), seq, ms);
    let first = rig.now().get();
    let mut old = by(1, 1, first);
    old.base_seq = Some(Seq::ZERO);
    saved(&rig.say(&home, device(1), old.clone()));
    rig.pass(5_000);
    saved(&rig.say(&home, device(2), by(2, 1, first)));
    rig.pass(2_000);
    rig.compact();
    assert_eq!(rig.store.mark(&home, device(1)).unwrap(), None);
    assert!(rig.store.mark(&home, device(2)).unwrap().is_some());
    match rig.say(&home, device(1), old) {
        Outcome::Refused(refused) => assert_eq!(refused.name, RefusalName::Expired),
        other => panic!("{other:?}"),
    }
}

#[test]
fn epoch_2_a_fold_goes_through_the_beginning_of_an_epoch() {
    let (mut rig, home) = (rig(), stream("home"));
    fill(&mut rig, &home, 10);
    rig.begin_epoch(&home);
    fill(&mut rig, &home, 16);
    let (head, before) = (rig.head(&home), rig.digest(&home));
    assert_eq!(head.horizon, Seq::ZERO);
    rig.pass(60);
    rig.compact();
    // What is kept of the older epoch is folded in pieces as everything else, and what is left of it is applied.
    let base = rig.base(&home);
    assert!(base.seq > Seq::ZERO && base.seq < at(10), "{base:?}");
    assert_eq!((base.epoch, rig.digest(&home)), (head.epoch, before));
    rig.pass(3_000);
    rig.compact();
    let base = rig.base(&home);
    assert_eq!((base.seq, base.epoch), (at(26), head.epoch));
    rig = rig.restart();
    let full = rig.states.snapshot(&home, Want::Full).unwrap();
    assert_eq!(
        (full.snapshot().digest, full.snapshot().epoch),
        (before, head.epoch)
    );
}

#[test]
fn view_7_the_states_from_the_horizon_to_the_head_are_kept() {
    let (mut rig, home) = (rig(), stream("home"));
    let mut digests = vec![rig.digest(&home)];
    for n in 0..30 {
        rig.pass(10);
        saved(&rig.say(&home, device(1), about("last_add", &format!("k{n}"))));
        digests.push(rig.digest(&home));
    }
    rig.compact();
    let horizon = rig.head(&home).horizon;
    assert!(horizon > Seq::ZERO);
    for seq in horizon.get()..=30 {
        let state = rig.states.at(&home, at(seq)).unwrap();
        let state = state.snapshot();
        assert_eq!((state.seq, state.since), (at(seq), Seq::ZERO));
        assert_eq!(state.digest, digests[seq as usize]);
        assert_eq!(state.epoch, rig.head(&home).epoch);
    }
    for seq in [horizon.previous(), at(31)] {
        let error = rig.states.at(&home, seq).unwrap_err();
        assert!(matches!(error, StatesError::NotKept { first, last, .. }
            if (first, last) == (horizon, at(30))));
        assert!(
            error
                .to_string()
                .contains(&format!("from seq {horizon} to seq 30"))
        );
    }
    let there = rig.states.horizon_state(&home).unwrap();
    assert_eq!(there.snapshot().seq, horizon);
    assert_eq!(there.snapshot().digest, digests[horizon.get() as usize]);
}

#[test]
fn state_10_an_overflow_is_refused_across_folds_and_restarts() {
    let (mut rig, home) = (rig(), stream("home"));
    let count = |amount: i64| intent("count_add", &format!(r#"{{"key":"a","value":{amount}}}"#));
    saved(&rig.say(&home, device(1), count((1 << 53) - 2)));
    rig.pass(3_000);
    rig.compact();
    for _ in 0..2 {
        rig = rig.restart();
        assert!(matches!(rig.say(&home, device(1), count(2)),
            Outcome::Refused(refused) if refused.name == RefusalName::Overflow));
    }
    saved(&rig.say(&home, device(1), count(1)));
    saved(&rig.say(&home, device(1), count(-1)));
}
