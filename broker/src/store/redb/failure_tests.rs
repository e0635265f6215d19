//! Failing disks, and what reads cost, on files in memory.

use std::time::Instant;

use syncline_protocol::Seq;

use super::simulated::{Failure, SimDisk};
use super::tests::{eager, lazy, options};
use super::*;
use crate::store::contract::{
    ALL, append, at, batch, device, entries, fold, fold_of, raise, read_all, seqs, stream,
};

fn open(media: &SimDisk, options: &RedbOptions) -> Result<RedbStore, StoreError> {
    RedbStore::open_on(media, options, Applier::start)
}

#[test]
fn g1_an_append_costs_one_sync() {
    let media = SimDisk::new();
    let store = open(&media, &lazy()).unwrap();
    append(&store, batch(&stream("home"), 1, 1));
    let before = media.syncs();
    for seq in 2..=11 {
        append(&store, batch(&stream("home"), seq, seq));
    }
    assert_eq!(media.syncs() - before, 10);
}

#[test]
fn g1_a_failed_sync_of_the_journal_is_named_and_shows_nothing() {
    let (media, home) = (SimDisk::new(), stream("home"));
    let store = open(&media, &lazy()).unwrap();
    append(&store, batch(&home, 1, 2));
    media.fail(journal::FILE, Failure::Sync);
    for _ in 0..2 {
        let error = store.append(vec![batch(&home, 3, 3)]).unwrap_err();
        assert!(error.is_failed_sync(), "{error}");
        assert!(error.to_string().contains(journal::FILE), "{error}");
        assert_eq!(store.head(&home).unwrap().seq, at(2));
        assert_eq!(read_all(&store, &home), [1, 2]);
    }
}

#[test]
fn a_full_disk_fails_appends_and_loses_nothing_that_was_acknowledged() {
    let (media, home) = (SimDisk::new(), stream("home"));
    let store = open(&media, &lazy()).unwrap();
    append(&store, batch(&home, 1, 2));
    media.fail(journal::FILE, Failure::Write);
    let error = store.append(vec![batch(&home, 3, 500)]).unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
    assert_eq!(read_all(&store, &home), [1, 2]);
    media.heal();
    // Opened anew in place, once there is room again.
    let appended = store.append(vec![batch(&home, 3, 3)]).unwrap();
    let head = store.head(&home).unwrap().seq.get();
    match &appended[0] {
        Ok(_) => assert_eq!(head, 3),
        Err(_) => assert_eq!(head, 500, "the failed append had reached the disk"),
    }
    append(&store, batch(&home, head + 1, head + 1));
    assert_eq!(read_all(&store, &home), (1..=head + 1).collect::<Vec<_>>());
    drop(store);
    let store = open(&media, &lazy()).unwrap();
    assert_eq!(read_all(&store, &home), (1..=head + 1).collect::<Vec<_>>());
}

#[test]
fn a_failed_append_that_reached_the_disk_is_found_by_whoever_asks_next() {
    let head = |store: &RedbStore| {
        assert_eq!(store.head(&stream("home")).unwrap().seq, at(4));
    };
    // What the sequencer asks before it publishes what a failed commit may have kept (G3).
    let position = |store: &RedbStore| assert_eq!(store.position().unwrap(), 4);
    check_a_failed_append_that_reached_the_disk(Some(&head));
    check_a_failed_append_that_reached_the_disk(Some(&position));
    check_a_failed_append_that_reached_the_disk(None);
}

/// `ask`: somebody does before the next append.
fn check_a_failed_append_that_reached_the_disk(ask: Option<&dyn Fn(&RedbStore)>) {
    let (media, home) = (SimDisk::new(), stream("home"));
    let store = open(&media, &lazy()).unwrap();
    append(&store, batch(&home, 1, 2));
    // The outcome that the journal cannot tell from a failure.
    {
        let mut journal = store.journal.lock().unwrap();
        let prepared = store
            .prepare(vec![batch(&home, 3, 4)], journal.next())
            .unwrap();
        journal.append(&prepared.records).unwrap();
        journal.forget_last(2);
    }
    assert_eq!(read_all(&store, &home), [1, 2]);
    if let Some(ask) = ask {
        store.in_doubt.store(true, Ordering::Release);
        ask(&store);
        assert_eq!(read_all(&store, &home), [1, 2, 3, 4]);
    }
    let appended = store.append(vec![batch(&home, 3, 3)]).unwrap();
    assert_eq!(seqs(&appended[0].as_ref().unwrap_err().tail), [3, 4]);
    append(&store, batch(&home, 5, 5));
    assert_eq!(read_all(&store, &home), [1, 2, 3, 4, 5]);
    drop(store);
    assert_eq!(
        read_all(&open(&media, &lazy()).unwrap(), &home),
        [1, 2, 3, 4, 5]
    );
}

#[test]
fn tables_that_refuse_stop_appends_with_their_error() {
    for (failure, fatal) in [(Failure::Sync, true), (Failure::Write, false)] {
        let (media, home) = (SimDisk::new(), stream("home"));
        let store = open(
            &media,
            &RedbOptions {
                lag_events_max: 2,
                ..eager()
            },
        )
        .unwrap();
        media.fail(tables::FILE, failure);
        let mut seq = 0;
        let error = loop {
            seq += 1;
            match store.append(vec![batch(&home, seq, seq)]) {
                Ok(_) => assert!(seq < 100, "appends go on although the tables refuse"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.is_failed_sync(), fatal, "{error}");
        assert!(error.to_string().contains(tables::FILE), "{error}");
        assert_eq!(read_all(&store, &home), (1..seq).collect::<Vec<_>>());
        media.heal();
        if !fatal {
            // Tables that take events again are noticed without a restart.
            let deadline = Instant::now() + Duration::from_secs(20);
            while store.append(vec![batch(&home, seq, seq)]).is_err() {
                assert!(Instant::now() < deadline, "the tables stay refused");
                std::thread::yield_now();
            }
            seq += 1;
        }
        drop(store);
        let store = open(&media, &options()).unwrap();
        assert_eq!(read_all(&store, &home), (1..seq).collect::<Vec<_>>());
    }
}

#[test]
fn a_failed_sync_of_either_file_is_told_although_nobody_asks() {
    for name in [journal::FILE, tables::FILE] {
        let (media, told) = (SimDisk::new(), Arc::new(Mutex::new(None)));
        let store = open(&media, &eager()).unwrap();
        let hears = Arc::clone(&told);
        store.when_dead(Arc::new(move |error| {
            *hears.lock().unwrap() = Some(error.to_string());
        }));
        append(&store, batch(&stream("home"), 1, 1));
        assert_eq!(*told.lock().unwrap(), None);
        media.fail(name, Failure::Sync);
        // The journal's tells the caller, too; the tables' nobody.
        let _ = store.append(vec![batch(&stream("home"), 2, 2)]);
        let deadline = Instant::now() + Duration::from_secs(20);
        while told.lock().unwrap().is_none() {
            assert!(Instant::now() < deadline, "nobody was told of {name}");
            std::thread::yield_now();
        }
        let told = told.lock().unwrap().clone().unwrap();
        assert!(told.contains(name), "{told}");
    }
}

/// Everything in the tables, and no page of them in memory.
fn applied(media: &SimDisk) -> RedbStore {
    let uncached = RedbOptions {
        cache_bytes: 0,
        ..options()
    };
    let store = media.open_store(&uncached).unwrap();
    let home = stream("home");
    append(&store, batch(&home, 1, 500));
    raise(&store, &home, 400);
    assert_eq!(fold(&store, &fold_of(&home, 0, 400)), Folded::Done);
    drop(store);
    media.open_store(&uncached).unwrap()
}

fn check_reads(store: &RedbStore) {
    let home = stream("home");
    assert_eq!(store.head(&home).unwrap().seq, at(500));
    let events = store.read(&home, at(400), ALL).unwrap();
    assert_eq!(seqs(&events), (401..=500).collect::<Vec<_>>());
    assert_eq!(entries(store, &home).1.len(), 2);
    assert!(store.mark(&home, device(1)).unwrap().is_some());
    assert_eq!(store.streams(None, 9).unwrap().len(), 1);
}

#[test]
fn readers_wait_while_a_file_cannot_be_read() {
    let media = SimDisk::new();
    let store = applied(&media);
    media.fail(tables::FILE, Failure::Read);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| check_reads(&store));
        let deadline = Instant::now() + Duration::from_secs(20);
        while media.refusals() < 2 {
            assert!(Instant::now() < deadline, "nothing was refused");
            std::thread::yield_now();
        }
        media.heal();
        reader.join().unwrap();
    });
}

#[test]
fn a_file_that_cannot_be_read_for_long_is_named() {
    let media = SimDisk::new();
    let store = applied(&media);
    media.fail(tables::FILE, Failure::Read);
    let error = store.read(&stream("home"), at(400), ALL).unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
    assert!(error.to_string().contains(tables::FILE), "{error}");
    media.heal();
    check_reads(&store);
}

#[test]
fn readers_go_on_while_nothing_can_be_written() {
    for name in [journal::FILE, tables::FILE] {
        let media = SimDisk::new();
        let store = applied(&media);
        let home = stream("home");
        media.fail(name, Failure::Write);
        let before = Instant::now();
        for _ in 0..3 {
            let seq = store.head(&home).unwrap().seq.get() + 1;
            let appended = store.append(vec![batch(&home, seq, seq)]);
            let applied = appended.and_then(|_| store.apply_now());
            assert!(applied.is_err(), "{name} takes everything");
            let events = store.read(&home, at(400), ALL).unwrap();
            assert!(events.len() >= 100);
            assert_eq!(entries(&store, &home).1.len(), 2);
        }
        assert!(before.elapsed() < Duration::from_secs(2), "readers waited");
        media.heal();
        store.apply_now().unwrap();
        let head = store.head(&home).unwrap().seq.get();
        append(&store, batch(&home, head + 1, head + 1));
        store.apply_now().unwrap();
        assert_eq!(store.read(&home, at(head), ALL).unwrap().len(), 1);
    }
}

#[test]
fn little_space_refuses_writers_and_ends_by_itself() {
    let (media, home) = (SimDisk::new(), stream("home"));
    let careful = RedbOptions {
        min_free_bytes: 1000,
        ..options()
    };
    let store = media.open_store(&careful).unwrap();
    append(&store, batch(&home, 1, 9));
    raise(&store, &home, 9);
    media.set_free_bytes(999);
    let refused = store.append(vec![batch(&home, 10, 10)]).unwrap_err();
    assert!(
        matches!(
            refused,
            StoreError::LowSpace {
                free: 999,
                needed: 1000,
                ..
            }
        ),
        "{refused}"
    );
    assert!(!refused.is_failed_sync());
    assert_eq!(read_all(&store, &home), (1..=9).collect::<Vec<_>>());
    // What makes room goes on.
    assert!(store.apply_now().unwrap() > 0);
    assert_eq!(fold(&store, &fold_of(&home, 0, 9)), Folded::Done);
    assert_eq!(store.forget_marks(&home, UnixMillis::new(9999)).unwrap(), 1);
    media.set_free_bytes(1000);
    append(&store, batch(&home, 10, 10));
    media.set_free_bytes(0);
    let unlimited = RedbOptions {
        min_free_bytes: 0,
        ..options()
    };
    drop(store);
    append(&media.open_store(&unlimited).unwrap(), batch(&home, 11, 11));
}

#[test]
fn a_directory_knows_what_is_free_in_it() {
    let directory = tempfile::TempDir::new().unwrap();
    let all = RedbOptions {
        min_free_bytes: u64::MAX,
        ..options()
    };
    let store = RedbStore::open(directory.path(), &all).unwrap();
    let refused = store
        .append(vec![batch(&stream("home"), 1, 1)])
        .unwrap_err();
    let text = refused.to_string();
    assert!(text.contains(directory.path().to_str().unwrap()), "{text}");
    assert!(
        matches!(refused, StoreError::LowSpace { free, .. } if free > 0),
        "{text}"
    );
}

#[test]
fn g6_reading_a_tail_costs_what_it_returns() {
    let (media, home) = (SimDisk::new(), stream("home"));
    let store = open(&media, &eager()).unwrap();
    let mut head = 0;
    while head < 20_000 {
        append(&store, batch(&home, head + 1, head + 1000));
        append(&store, batch(&stream("other"), head + 1, head + 1000));
        head += 1000;
    }
    drop(store);
    let store = open(&media, &options()).unwrap();
    let before = media.bytes_read();
    let tail = store.read(&home, at(head - 10), ALL).unwrap();
    assert_eq!(seqs(&tail), (head - 9..=head).collect::<Vec<_>>());
    let cost = media.bytes_read() - before;
    assert!(cost < 64 << 10, "{cost} bytes read for ten events");
    let before = media.bytes_read();
    assert_eq!(
        store.read(&home, Seq::ZERO, ALL).unwrap().len() as u64,
        head
    );
    let whole = media.bytes_read() - before;
    assert!(whole > 1 << 20, "the measurement sees reads: {whole}");
}
