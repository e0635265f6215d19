//! The contract, three ways of lagging, and what only files can do.

use std::fs;

use tempfile::TempDir;

use super::tail::Tail;
use super::*;
use crate::store::contract::{
    ALL, Harness, WINDOW, append, at, batch, contract_suite, device, read_all, seqs, stream,
};

pub(super) fn options() -> RedbOptions {
    RedbOptions {
        mark_window: WINDOW,
        cache_bytes: 4 << 20,
        ..RedbOptions::default()
    }
}

/// Nothing is applied before closing.
pub(super) fn lazy() -> RedbOptions {
    RedbOptions {
        apply_interval: Duration::from_secs(3600),
        ..options()
    }
}

/// Everything is applied at once.
pub(super) fn eager() -> RedbOptions {
    RedbOptions {
        apply_interval: Duration::ZERO,
        ..options()
    }
}

/// Appends wait for the applier again and again.
fn cramped() -> RedbOptions {
    RedbOptions {
        lag_events_max: 3,
        ..lazy()
    }
}

struct OnDisk {
    directory: TempDir,
    options: RedbOptions,
    store: Option<RedbStore>,
}

impl OnDisk {
    fn new(options: RedbOptions) -> OnDisk {
        let directory = TempDir::new().unwrap();
        let store = Some(RedbStore::open(directory.path(), &options).unwrap());
        OnDisk {
            directory,
            options,
            store,
        }
    }

    fn redb(&self) -> &RedbStore {
        self.store.as_ref().unwrap()
    }
}

impl Harness for OnDisk {
    fn store(&self) -> &dyn EventStore {
        self.redb()
    }

    fn reopen(&mut self) {
        drop(self.store.take());
        self.store = Some(RedbStore::open(self.directory.path(), &self.options).unwrap());
    }
}

mod all_in_the_tail {
    use super::*;
    contract_suite!(OnDisk::new(lazy()));
}

mod all_in_the_tables {
    use super::*;
    contract_suite!(OnDisk::new(eager()));
}

mod with_backpressure {
    use super::*;
    contract_suite!(OnDisk::new(cramped()));
}

#[test]
fn what_is_applied_leaves_the_tail_and_the_journal() {
    let mut disk = OnDisk::new(lazy());
    let home = stream("home");
    append(disk.redb(), batch(&home, 1, 3000));
    assert_eq!(disk.redb().applier.tail(Tail::len), 3000);
    disk.reopen();
    assert_eq!(disk.redb().applier.tail(Tail::len), 0);
    assert_eq!(
        disk.redb().journal.lock().unwrap().trimmer().len().unwrap(),
        0
    );
    assert_eq!(disk.redb().tables.applied_to().unwrap(), 3000);
    append(disk.redb(), batch(&home, 3001, 3001));
    assert_eq!(
        seqs(&disk.redb().read(&home, at(2998), ALL).unwrap()),
        [2999, 3000, 3001]
    );
}

#[test]
fn a_read_goes_from_the_tables_on_into_the_tail() {
    let mut disk = OnDisk::new(lazy());
    let home = stream("home");
    append(disk.redb(), batch(&home, 1, 5));
    disk.reopen();
    append(disk.redb(), batch(&home, 6, 9));
    assert_eq!(read_all(disk.redb(), &home), (1..=9).collect::<Vec<_>>());
    let limit = ReadLimit {
        events: 4,
        bytes: usize::MAX,
    };
    for after in 0..9 {
        let expected: Vec<u64> = (after + 1..=(after + 4).min(9)).collect();
        assert_eq!(
            seqs(&disk.redb().read(&home, at(after), limit).unwrap()),
            expected
        );
    }
    let mark = disk.redb().mark(&home, device(1)).unwrap().unwrap();
    assert_eq!(
        mark.recent
            .iter()
            .map(|it| it.seq.get())
            .collect::<Vec<_>>(),
        [6, 7, 8, 9]
    );
}

fn contents(disk: &OnDisk) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(disk.directory.path())
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            (
                entry.file_name().into_string().unwrap(),
                fs::read(entry.path()).unwrap(),
            )
        })
        .collect();
    files.sort();
    files
}

#[test]
fn a_newer_format_is_refused_by_name_and_left_untouched() {
    for name in [journal::FILE, tables::FILE] {
        let mut disk = OnDisk::new(options());
        append(disk.redb(), batch(&stream("home"), 1, 3));
        drop(disk.store.take());
        let media = Directory::new(disk.directory.path());
        let settings = file::Settings {
            cache_bytes: 1 << 20,
            quick_repair: true,
        };
        let file = file::DbFile::open(&media, name, settings, |_, _| Ok(())).unwrap();
        file.change(|txn| file::set_meta(txn, "format", 3)).unwrap();
        drop(file);
        let before = contents(&disk);
        let error = RedbStore::open(disk.directory.path(), &options()).unwrap_err();
        let text = error.to_string();
        assert!(
            matches!(
                error,
                StoreError::NewerFormat {
                    found: 3,
                    known: 2,
                    ..
                }
            ),
            "{text}"
        );
        assert!(
            text.contains(name) && text.contains("newer program"),
            "{text}"
        );
        assert!(before == contents(&disk), "{name} was changed");
    }
}

#[test]
fn tables_without_their_journal_are_refused() {
    let mut disk = OnDisk::new(options());
    append(disk.redb(), batch(&stream("home"), 1, 3));
    drop(disk.store.take());
    fs::remove_file(disk.directory.path().join(journal::FILE)).unwrap();
    let error = RedbStore::open(disk.directory.path(), &options()).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert!(!disk.directory.path().join(journal::FILE).exists());
}

#[test]
fn a_journal_without_its_tables_is_refused_once_it_was_trimmed() {
    for more in [0, 4] {
        let mut disk = OnDisk::new(options());
        append(disk.redb(), batch(&stream("home"), 1, 3));
        disk.reopen();
        if more > 0 {
            append(disk.redb(), batch(&stream("home"), 4, more));
        }
        drop(disk.store.take());
        fs::remove_file(disk.directory.path().join(tables::FILE)).unwrap();
        let error = RedbStore::open(disk.directory.path(), &options()).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    }
}

#[test]
fn one_process_at_a_time() {
    let disk = OnDisk::new(options());
    let error = RedbStore::open(disk.directory.path(), &options()).unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
}
