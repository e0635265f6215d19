//! Backups, restorations and offline compaction, also cut at every step.

use std::fs;

use syncline_protocol::Epoch;
use tempfile::TempDir;

use super::backup::{compact_on, restore_on};
use super::simulated::SimDisk;
use super::tests::{eager, options};
use super::*;
use crate::store::Stop;
use crate::store::contract::{
    ALL, append, at, batch, device, entries, fold, fold_of, number, of_epoch, raise, read_all,
    seqs, stream,
};

const BACKUP: &str = "store.backup";

/// Epochs that no test else has.
fn epochs() -> impl FnMut() -> Epoch {
    let mut next = 1000;
    move || {
        next += 1;
        Epoch::new(next)
    }
}

/// A store with a folded stream, one that the tables know and one that only the journal has.
fn fill(store: &RedbStore) {
    let (home, work) = (stream("home"), stream("work/x"));
    append(store, batch(&home, 1, 9));
    append(store, batch(&work, 1, 3));
    raise(store, &home, 5);
    assert_eq!(fold(store, &fold_of(&home, 0, 5)), Folded::Done);
    append(store, batch(&work, 4, 6));
    append(store, batch(&stream("new"), 1, 2));
}

fn check_restored(store: &RedbStore) {
    let heads = store.streams(None, 9).unwrap();
    let found: Vec<_> = heads
        .iter()
        .map(|(stream, head)| (stream.to_string(), head.seq.get(), head.horizon.get()))
        .collect();
    let expected = [
        ("sync/home", 9, 5),
        ("sync/new", 2, 0),
        ("sync/work/x", 6, 0),
    ];
    assert_eq!(
        found,
        expected.map(|(name, seq, horizon)| (name.to_owned(), seq, horizon))
    );
    let epochs: Vec<_> = heads.iter().map(|(_, head)| head.epoch.get()).collect();
    assert_eq!(epochs, [1001, 1002, 1003]);
    assert_eq!(entries(store, &stream("home")).0.seq, at(5));
    let kept = store.read(&stream("home"), at(5), ALL).unwrap();
    assert_eq!(seqs(&kept), [6, 7, 8, 9]);
    assert_eq!(read_all(store, &stream("work/x")), [1, 2, 3, 4, 5, 6]);
    let mark = store.mark(&stream("new"), device(1)).unwrap().unwrap();
    assert_eq!(mark.device_seq, Some(number(2)));
    assert!(store.append(vec![batch(&stream("new"), 3, 3)]).unwrap()[0].is_err());
    append(store, of_epoch(1002, batch(&stream("new"), 3, 3)));
    assert!(
        heads
            .iter()
            .all(|(_, head)| head.position <= store.position().unwrap())
    );
}

#[test]
fn epoch_1_a_restored_backup_has_everything_in_new_epochs() {
    let (data, elsewhere, restored) = (TempDir::new(), TempDir::new(), TempDir::new());
    let [data, elsewhere, restored] = [data, elsewhere, restored].map(Result::unwrap);
    let store = RedbStore::open(data.path(), &options()).unwrap();
    fill(&store);
    let file = elsewhere.path().join(BACKUP);
    store.backup(&file, &Stop::default()).unwrap();
    // What comes after is not in it.
    append(&store, batch(&stream("new"), 3, 5));
    let done = RedbStore::restore(&file, restored.path(), epochs()).unwrap();
    assert_eq!(done, Restored { streams: 3 });
    let copy = RedbStore::open(restored.path(), &options()).unwrap();
    check_restored(&copy);
    drop(copy);
    let again = RedbStore::restore(&file, restored.path(), epochs()).unwrap_err();
    assert!(matches!(again, StoreError::Occupied { .. }), "{again}");
    let left = fs::read_dir(elsewhere.path()).unwrap().count();
    assert_eq!(left, 1, "nothing but the backup");
}

#[test]
fn a_backup_takes_the_place_of_an_older_one() {
    let (store_disk, backups) = (SimDisk::new(), SimDisk::new());
    let store = store_disk.open_store(&options()).unwrap();
    append(&store, batch(&stream("old"), 1, 2));
    store.backup_on(&backups, BACKUP, &Stop::default()).unwrap();
    store.erase(&"old".parse().unwrap()).unwrap();
    fill(&store);
    store.backup_on(&backups, BACKUP, &Stop::default()).unwrap();
    let restored = SimDisk::new();
    restore_on(&backups, BACKUP, &restored, epochs()).unwrap();
    check_restored(&restored.open_store(&options()).unwrap());
}

#[test]
fn g12_a_backup_beside_appends_has_what_was_acknowledged_before_it() {
    let home = stream("home");
    let disk = SimDisk::new();
    let store = RedbStore::open_on(&disk, &eager(), Applier::start).unwrap();
    std::thread::scope(|scope| {
        let (done, is_done) = std::sync::mpsc::channel::<()>();
        let (store, home) = (&store, &home);
        scope.spawn(move || {
            for seq in 1.. {
                append(store, batch(home, seq, seq));
                if is_done.try_recv() == Err(std::sync::mpsc::TryRecvError::Disconnected) {
                    break;
                }
            }
        });
        for _ in 0..10 {
            let acknowledged = store.head(home).unwrap().seq.get();
            let (backups, restored) = (SimDisk::new(), SimDisk::new());
            store.backup_on(&backups, BACKUP, &Stop::default()).unwrap();
            restore_on(&backups, BACKUP, &restored, epochs()).unwrap();
            let copy = restored.open_store(&options()).unwrap();
            let head = copy.head(home).unwrap().seq.get();
            assert!(head >= acknowledged, "{head} of {acknowledged}");
            assert_eq!(read_all(&copy, home), (1..=head).collect::<Vec<_>>());
        }
        drop(done);
    });
}

#[test]
fn g12_a_backup_is_whole_or_not_there_wherever_it_is_cut() {
    for step in 1.. {
        let (store_disk, backups) = (SimDisk::new(), SimDisk::new());
        let store = store_disk.open_store(&options()).unwrap();
        fill(&store);
        backups.lose_power_at(step);
        store.backup_on(&backups, BACKUP, &Stop::default()).unwrap();
        for survive in [false, true] {
            let found = backups.crash(|| survive);
            if found.exists(BACKUP) {
                let restored = SimDisk::new();
                restore_on(&found, BACKUP, &restored, epochs()).unwrap();
                check_restored(&restored.open_store(&options()).unwrap());
            }
        }
        if !backups.power_is_lost() {
            assert!(step > 20 && backups.crash(|| false).exists(BACKUP));
            return;
        }
    }
}

#[test]
fn g12_a_restoration_that_was_cut_is_begun_again() {
    let (store_disk, backups) = (SimDisk::new(), SimDisk::new());
    let store = store_disk.open_store(&options()).unwrap();
    fill(&store);
    store.backup_on(&backups, BACKUP, &Stop::default()).unwrap();
    for step in 1.. {
        let disk = SimDisk::new();
        disk.lose_power_at(step);
        restore_on(&backups, BACKUP, &disk, epochs()).unwrap();
        for survive in [false, true] {
            let found = disk.crash(|| survive);
            match found.open_store(&options()) {
                Ok(store) if store.position().unwrap() == 0 => continue,
                Ok(_) => {}
                Err(error) => {
                    assert!(matches!(error, StoreError::Unfinished { .. }), "{error}");
                    restore_on(&backups, BACKUP, &found, epochs()).unwrap();
                }
            }
            check_restored(&found.open_store(&options()).unwrap());
        }
        if !disk.power_is_lost() {
            assert!(step > 40, "only {step} steps");
            return;
        }
    }
}

#[test]
fn what_is_no_backup_is_refused() {
    let (data, empty) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let store = RedbStore::open(data.path(), &options()).unwrap();
    fill(&store);
    for name in [journal::FILE, tables::FILE] {
        let error = store
            .backup(&data.path().join(name), &Stop::default())
            .unwrap_err();
        assert!(matches!(error, StoreError::BadBackup { .. }), "{error}");
    }
    drop(store);
    let text = empty.path().join("text");
    fs::write(&text, "no backup").unwrap();
    for file in [
        data.path().join(tables::FILE),
        text,
        empty.path().join("none"),
    ] {
        let target = TempDir::new().unwrap();
        let error = RedbStore::restore(&file, target.path(), epochs()).unwrap_err();
        assert!(matches!(error, StoreError::BadBackup { .. }), "{error}");
        assert_eq!(fs::read_dir(target.path()).unwrap().count(), 0);
    }
}

#[test]
fn an_epoch_that_is_none_is_refused() {
    let (store_disk, backups) = (SimDisk::new(), SimDisk::new());
    let store = store_disk.open_store(&options()).unwrap();
    fill(&store);
    store.backup_on(&backups, BACKUP, &Stop::default()).unwrap();
    for bad in [Epoch::NONE, Epoch::new(7)] {
        let disk = SimDisk::new();
        assert!(restore_on(&backups, BACKUP, &disk, || bad).is_err());
        assert!(disk.open_store(&options()).is_err());
    }
}

fn holds(directory: &TempDir, text: &str) -> bool {
    [journal::FILE, tables::FILE].into_iter().any(|name| {
        let bytes = fs::read(directory.path().join(name)).unwrap();
        bytes.windows(text.len()).any(|it| it == text.as_bytes())
    })
}

#[test]
fn what_was_erased_is_not_in_compacted_files() {
    let data = TempDir::new().unwrap();
    let store = RedbStore::open(data.path(), &options()).unwrap();
    for seq in 1..=200 {
        append(&store, batch(&stream("person"), seq, seq));
        append(&store, batch(&stream("other"), seq, seq));
    }
    assert!(holds(&data, "album-00077") && holds(&data, "person"));
    store.erase(&"person".parse().unwrap()).unwrap();
    raise(&store, &stream("other"), 100);
    assert_eq!(
        fold(&store, &fold_of(&stream("other"), 0, 100)),
        Folded::Done
    );
    drop(store);
    let compacted = RedbStore::compact_files(data.path(), &options()).unwrap();
    assert!(compacted.after < compacted.before, "{compacted:?}");
    assert!(!holds(&data, "person") && !holds(&data, "album-00077"));
    let store = RedbStore::open(data.path(), &options()).unwrap();
    let kept = store.read(&stream("other"), at(100), ALL).unwrap();
    assert_eq!(seqs(&kept), (101..=200).collect::<Vec<_>>());
    append(&store, batch(&stream("other"), 201, 201));
}

#[test]
fn g12_a_compaction_that_was_cut_loses_nothing() {
    for step in 1.. {
        let disk = SimDisk::new();
        let store = disk.open_store(&options()).unwrap();
        fill(&store);
        drop(store);
        disk.lose_power_at(disk.steps() + step);
        compact_on(&disk, &options()).unwrap();
        for survive in [false, true] {
            let found = disk.crash(|| survive);
            let store = found.open_store(&options()).unwrap();
            assert_eq!(store.streams(None, 9).unwrap().len(), 3);
            assert_eq!(read_all(&store, &stream("work/x")), [1, 2, 3, 4, 5, 6]);
            assert_eq!(entries(&store, &stream("home")).1.len(), 2);
            append(&store, batch(&stream("new"), 3, 4));
        }
        if !disk.power_is_lost() {
            return;
        }
    }
}

#[test]
fn a_backup_that_is_stopped_leaves_nothing_and_the_older_one() {
    let (store_disk, backups) = (SimDisk::new(), SimDisk::new());
    let store = store_disk.open_store(&options()).unwrap();
    fill(&store);
    store.backup_on(&backups, BACKUP, &Stop::default()).unwrap();
    append(&store, batch(&stream("new"), 3, 5));
    let stop = Stop::default();
    stop.order();
    let stopped = store.backup_on(&backups, BACKUP, &stop).unwrap_err();
    assert!(matches!(stopped, StoreError::Stopped), "{stopped}");
    assert!(!backups.exists(&format!("{BACKUP}.new")));
    let restored = SimDisk::new();
    restore_on(&backups, BACKUP, &restored, epochs()).unwrap();
    check_restored(&restored.open_store(&options()).unwrap());
    store.backup_on(&backups, BACKUP, &Stop::default()).unwrap();
}

#[test]
fn a_backup_and_an_erasing_at_once_both_end() {
    let disk = SimDisk::new();
    let store = Arc::new(RedbStore::open_on(&disk, &eager(), Applier::start).unwrap());
    let (ended, is_ended) = std::sync::mpsc::channel();
    let deeds: [fn(&RedbStore); 2] = [
        |store| {
            store
                .backup_on(&SimDisk::new(), BACKUP, &Stop::default())
                .unwrap();
        },
        |store| {
            store.erase(&"home".parse().unwrap()).unwrap();
        },
    ];
    for deed in deeds {
        let (store, ended) = (Arc::clone(&store), ended.clone());
        std::thread::spawn(move || {
            (0..50).for_each(|_| deed(&store));
            ended.send(()).unwrap();
        });
    }
    for _ in deeds {
        let waited = is_ended.recv_timeout(Duration::from_secs(60));
        waited.expect("one waits for the other for ever, or failed");
    }
}
