//! What things cost, in bytes of a simulated disk.

use super::simulated::SimDisk;
use super::tests::options;
use super::*;
use crate::store::contract::{append, batch, stream};

/// Bytes that an event of a device with a full window of hashes costs in the tables.
fn bytes_of_an_event(mark_window: usize, events_a_commit: u64) -> u64 {
    let disk = SimDisk::new();
    let wide = RedbOptions {
        mark_window,
        ..options()
    };
    let store = disk.open_store(&wide).unwrap();
    let (home, rounds) = (stream("home"), 10);
    append(&store, batch(&home, 1, 2048));
    store.apply_now().unwrap();
    let (mut head, mut bytes) = (2048, 0);
    for _ in 0..rounds {
        append(&store, batch(&home, head + 1, head + events_a_commit));
        let before = disk.bytes_written();
        store.apply_now().unwrap();
        bytes += disk.bytes_written() - before;
        head += events_a_commit;
    }
    bytes / (rounds * events_a_commit)
}

#[test]
fn event_10_remembering_more_hashes_does_not_make_an_event_dearer() {
    for events_a_commit in [1, 16, 256] {
        let (few, many) = (
            bytes_of_an_event(256, events_a_commit),
            bytes_of_an_event(1024, events_a_commit),
        );
        assert!(many <= few + few / 10, "{many} bytes against {few}");
    }
    let large = bytes_of_an_event(1024, 256);
    assert!(large < 1024, "{large} bytes an event");
}
