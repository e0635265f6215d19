//! Failing disks, and what reads cost, on files in memory.

use std::time::Instant;

use syncline_protocol::Seq;

use super::simulated::{Failure, SimDisk};
use super::tests::{eager, lazy, options};
use super::*;
use crate::store::contract::{ALL, append, at, batch, read_all, seqs, stream};

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
    for asks_head in [true, false] {
        check_a_failed_append_that_reached_the_disk(asks_head);
    }
}

fn check_a_failed_append_that_reached_the_disk(asks_head: bool) {
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
    if asks_head {
        store.in_doubt.store(true, Ordering::Release);
        assert_eq!(store.head(&home).unwrap().seq, at(4));
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
