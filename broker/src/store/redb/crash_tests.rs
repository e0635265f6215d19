//! Power loss at every step of a workload, on files in memory under the real redb: each write, change of length, sync and change of
//! a name is a crash point. What is found must be what was acknowledged, or that and all of the call under way; nothing between.
//! The store in memory says what that is.

use std::collections::BTreeMap;

use syncline_protocol::{Epoch, Seq, UnixMillis};

use super::simulated::SimDisk;
use super::tests::options;
use super::*;
use crate::store::contract::{
    ALL, WINDOW, append, at, batch, device, fold, fold_of, of_epoch, stream,
};
use crate::store::memory::MemoryStore;

/// A call on a store.
#[derive(Debug, Clone)]
enum Call {
    Append(Vec<Append>),
    Fold(Fold),
    Forget(&'static str, u64),
    Erase(&'static str),
    Plant(Planted),
    Note(&'static str, &'static str),
    /// Only the real store has these two.
    Apply,
    Reopen,
}

fn by(number: u128, mut append: Append) -> Append {
    for record in &mut append.records {
        record.event.device = device(number);
    }
    append
}

/// A stream from elsewhere, folded up to 2.
fn planted(name: &str) -> Planted {
    let other = MemoryStore::new(WINDOW);
    let stream = stream(name);
    append(&other, batch(&stream, 1, 5));
    Planted {
        stream: stream.clone(),
        head: other.head(&stream).unwrap(),
        base: fold_of(&stream, 0, 2).base,
        entries: fold_of(&stream, 0, 2).puts,
        marks: vec![(device(1), other.mark(&stream, device(1)).unwrap().unwrap())],
        events: batch(&stream, 3, 5).records,
    }
}

/// One of everything, with the tables behind, in step and ahead of what is asked.
fn workload() -> Vec<Call> {
    let (home, albums, work) = (stream("home"), stream("home/albums"), stream("work"));
    let one = |append| Call::Append(vec![append]);
    vec![
        Call::Append(vec![batch(&home, 1, 3), batch(&albums, 1, 3)]),
        Call::Apply,
        one(by(2, batch(&home, 4, 6))),
        one(Append::raise(home.clone(), at(6), Epoch::new(7), at(5))),
        one(batch(&albums, 4, 4)),
        Call::Apply,
        Call::Fold(fold_of(&home, 0, 3)),
        Call::Fold(fold_of(&home, 3, 5)),
        one(batch(&work, 1, 6)),
        one(Append::begin(home.clone(), at(6), Epoch::new(8))),
        one(of_epoch(8, batch(&home, 7, 8))),
        Call::Apply,
        one(Append::raise(work.clone(), at(6), Epoch::new(7), at(4))),
        Call::Reopen,
        Call::Fold(fold_of(&work, 0, 4)),
        Call::Forget("home", 1005),
        Call::Forget("home", 1007),
        one(batch(&work, 7, 8)),
        Call::Erase("home"),
        Call::Plant(planted("planted")),
        Call::Note("schema", "1"),
        one(of_epoch(9, batch(&home, 1, 2))),
        one(batch(&work, 9, 9)),
        Call::Apply,
        Call::Reopen,
        one(batch(&work, 10, 10)),
    ]
}

impl Call {
    fn on(&self, store: &dyn EventStore) {
        match self {
            Call::Append(batches) => {
                let answers = store.append(batches.clone()).unwrap();
                assert!(answers.iter().all(Result::is_ok), "{self:?}");
            }
            Call::Fold(step) => assert_eq!(fold(store, step), Folded::Done, "{self:?}"),
            Call::Forget(name, before) => {
                let before = UnixMillis::new(*before);
                store.forget_marks(&stream(name), before).unwrap();
            }
            Call::Erase(group) => drop(store.erase(&group.parse().unwrap()).unwrap()),
            Call::Plant(planted) => assert!(store.plant(planted.clone()).unwrap()),
            Call::Note(name, note) => store.set_note(name, note.as_bytes()).unwrap(),
            Call::Apply | Call::Reopen => {}
        }
    }

    fn on_redb(&self, disk: &SimDisk, store: RedbStore) -> RedbStore {
        self.on(&store);
        match self {
            Call::Apply => assert!(store.apply_now().unwrap() > 0),
            Call::Reopen => {
                drop(store);
                return disk.open_store(&options()).unwrap();
            }
            _ => {}
        }
        store
    }
}

/// All that a store answers about streams, in text that can be compared.
fn everything(store: &dyn EventStore) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let last = store.position().unwrap();
    found.insert("position".to_owned(), last.to_string());
    let note = store.note("schema").unwrap();
    found.insert("note".to_owned(), format!("{note:?}"));
    for (stream, head) in store.streams(None, 99).unwrap() {
        assert_eq!(store.head(&stream).unwrap(), head);
        let mut entries = Vec::new();
        let base = store.entries(&stream, &mut |it| entries.push(it)).unwrap();
        let events = store.read(&stream, base.seq, ALL).unwrap();
        assert_eq!(base.seq.get() + events.len() as u64, head.seq.get());
        let marks: Vec<_> = (1..=2)
            .map(|it| store.mark(&stream, device(it)).unwrap())
            .collect();
        let had: Vec<_> = (0..=last + 1)
            .map(|it| store.seq_at(&stream, it).unwrap().get())
            .collect();
        let said = format!("{head:?} {base:?} {entries:?} {events:?} {marks:?} {had:?}");
        found.insert(stream.to_string(), said);
    }
    found
}

/// What is there after 0, 1, 2 … calls.
fn expected(calls: &[Call]) -> Vec<BTreeMap<String, String>> {
    let model = MemoryStore::new(WINDOW);
    let mut expected = vec![everything(&model)];
    for call in calls {
        call.on(&model);
        expected.push(everything(&model));
    }
    expected
}

/// Which of [`survivals`] is the last.
const BY_CHANCE: usize = 2;

/// Ways to lose what was not synced: all of it, nothing of it, and by chance.
fn survivals(seed: u64) -> Vec<Box<dyn FnMut() -> bool>> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let chance = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.is_multiple_of(2)
    };
    vec![Box::new(|| false), Box::new(|| true), Box::new(chance)]
}

/// Makes the calls until the power is lost at a step; gives how many were acknowledged before that.
fn work_until(disk: &SimDisk, step: u64, calls: &[Call]) -> usize {
    disk.lose_power_at(step);
    let mut store = disk.open_store(&options()).unwrap();
    for (done, call) in calls.iter().enumerate() {
        if disk.power_is_lost() {
            return done.saturating_sub(1);
        }
        store = call.on_redb(disk, store);
    }
    calls.len() - usize::from(disk.power_is_lost())
}

fn check_crash(step: u64, calls: &[Call], expected: &[BTreeMap<String, String>]) -> bool {
    let disk = SimDisk::new();
    let done = work_until(&disk, step, calls);
    for (way, survives) in survivals(step).into_iter().enumerate() {
        let disk = disk.crash(survives);
        let store = disk
            .open_store(&options())
            .unwrap_or_else(|error| panic!("step {step}, way {way}: does not open: {error}"));
        let found = everything(&store);
        let next = expected.get(done + 1).unwrap_or(&expected[done]);
        assert!(
            found == expected[done] || found == *next,
            "step {step}, way {way}, after call {done}: found {found:#?}, expected {:#?}, or {next:#?}",
            expected[done],
        );
        if way == BY_CHANCE {
            check_use(&disk, store);
        }
    }
    disk.power_is_lost()
}

/// The store goes on from what it found, also after it is closed again.
fn check_use(disk: &SimDisk, store: RedbStore) {
    let fresh = stream("fresh");
    append(&store, batch(&fresh, 1, 2));
    let before = everything(&store);
    drop(store);
    let store = disk.open_store(&options()).unwrap();
    assert_eq!(everything(&store), before);
}

#[test]
fn g1_g2_g12_every_crash_point_leaves_whole_calls() {
    let calls = workload();
    let expected = expected(&calls);
    let mut step = 1;
    while check_crash(step, &calls, &expected) {
        step += 1;
    }
    assert!(step > 300, "only {step} steps");
}

#[test]
fn the_workload_without_a_crash_is_what_the_store_in_memory_has() {
    let calls = workload();
    let expected = expected(&calls);
    let disk = SimDisk::new();
    let mut store = disk.open_store(&options()).unwrap();
    for (call, expected) in calls.iter().zip(&expected[1..]) {
        store = call.on_redb(&disk, store);
        assert_eq!(everything(&store), *expected, "{call:?}");
    }
    assert_eq!(store.head(&stream("home")).unwrap().horizon, Seq::ZERO);
}
