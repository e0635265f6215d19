//! What things cost. Run with `cargo test --release -p syncline-broker --lib store::redb::measures -- --ignored --nocapture`.

use std::fs;
use std::path::Path;
use std::time::Instant;

use tempfile::TempDir;

use super::simulated::SimDisk;
use super::tests::{lazy, options};
use super::*;
use crate::store::contract::{append, batch, stream};

const STREAMS: u64 = 100_000;
const EVENTS_EACH: u64 = 10;
const STREAMS_AT_A_TIME: usize = 1_000;

/// Events that only the journal has, nearly as many as it may hold.
const LAG: u64 = 60_000;

fn names(streams: u64) -> Vec<StreamId> {
    (0..streams)
        .map(|it| stream(&format!("group-{it:06}")))
        .collect()
}

fn fill(store: &RedbStore, names: &[StreamId], first: u64, last: u64) {
    for some in names.chunks(STREAMS_AT_A_TIME) {
        let batches = some.iter().map(|it| batch(it, first, last));
        store.append(batches.collect()).unwrap();
    }
}

/// What `kill -9` leaves: the files as they are, not closed.
fn image(of: &Path) -> TempDir {
    let image = TempDir::new().unwrap();
    for name in [journal::FILE, tables::FILE] {
        fs::copy(of.join(name), image.path().join(name)).unwrap();
    }
    image
}

#[test]
#[ignore = "a measurement: a million events"]
fn opening_after_a_kill_costs_the_journal_and_not_the_history() {
    let directory = TempDir::new().unwrap();
    let gathering = RedbOptions {
        cache_bytes: 64 << 20,
        mark_window: 1024,
        ..lazy()
    };
    let store = RedbStore::open(directory.path(), &gathering).unwrap();
    fill(&store, &names(STREAMS), 1, EVENTS_EACH);
    store.applier.drain().unwrap();
    for lag in [0, LAG] {
        fill(&store, &names(lag), EVENTS_EACH + 1, EVENTS_EACH + 1);
        let image = image(directory.path());
        let before = Instant::now();
        let found = RedbStore::open(image.path(), &gathering).unwrap();
        let took = before.elapsed();
        assert_eq!(found.position().unwrap(), STREAMS * EVENTS_EACH + lag);
        println!("{STREAMS} streams of {EVENTS_EACH}, {lag} more in the journal alone: {took:?}");
        assert!(took < Duration::from_secs(2), "{took:?}");
    }
}

#[test]
#[ignore = "a measurement"]
fn bytes_written_for_an_event_of_a_device_that_has_said_much() {
    for window in [256, 1024] {
        for events in [1, 16, 256] {
            let disk = SimDisk::new();
            let wide = RedbOptions {
                mark_window: window,
                ..options()
            };
            let store = disk.open_store(&wide).unwrap();
            let home = stream("home");
            append(&store, batch(&home, 1, 2048));
            store.apply_now().unwrap();
            let (mut head, mut journal, mut tables) = (2048, 0, 0);
            for _ in 0..20 {
                let before = disk.bytes_written();
                append(&store, batch(&home, head + 1, head + events));
                let between = disk.bytes_written();
                store.apply_now().unwrap();
                journal += between - before;
                tables += disk.bytes_written() - between;
                head += events;
            }
            let each = 20 * events;
            println!(
                "W {window}, {events} a commit: journal {} tables {} bytes an event",
                journal / each,
                tables / each
            );
        }
    }
}

#[test]
#[ignore = "a measurement"]
fn asking_what_is_free_costs_little() {
    let directory = TempDir::new().unwrap();
    let media = Directory::new(directory.path());
    let before = Instant::now();
    for _ in 0..100_000 {
        media.free_bytes().unwrap();
    }
    println!("statvfs: {:?}", before.elapsed() / 100_000);
}
