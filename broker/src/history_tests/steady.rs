//! A store on disk in its steady state: events come, old ones go, and the files stay as long as they are.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use syncline_protocol::{Clock, DeviceId, Epoch, Event, Seq, StreamId, UnixMillis, Value};

use super::rig::{Rig, options};
use crate::store::contract::{ALL, stream};
use crate::store::{Append, Record, RedbOptions, RedbStore};

const VALUE_BYTES: usize = 2_000;
const STREAMS: u64 = 8;
const KEPT: u64 = 128;
const BATCH: u64 = 32;

/// Of entries and kept events.
fn logical(rig: &Rig, streams: &[StreamId]) -> u64 {
    let of = |stream: &StreamId| {
        let rows = rig.rows(stream);
        let rows: usize = rows
            .iter()
            .map(|(_, key, entry)| key.len() + entry.len())
            .sum();
        let base = rig.base(stream).seq;
        let kept = rig.store.read(stream, base, ALL).unwrap();
        rows + kept.iter().map(|it| it.payload().len()).sum::<usize>()
    };
    streams.iter().map(|stream| of(stream) as u64).sum()
}

fn files(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).unwrap();
    files
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum()
}

fn event(stream: &StreamId, seq: Seq, at: UnixMillis) -> Event {
    let n = seq.get();
    // Not all alike, so that rows move about.
    let text = format!("{n:x}").repeat(VALUE_BYTES / 8 * (1 + (n * 7 % 11) as usize) / 6);
    let data = [
        ("key".to_owned(), Value::text(format!("k{}", n * 31 % KEPT))),
        ("value".to_owned(), Value::text(text)),
    ];
    Event {
        stream: stream.clone(),
        epoch: Epoch::new(7),
        seq,
        accepted_at: at,
        event_type: "both_add".parse().unwrap(),
        event_data: Value::Map(data.into()),
        device: DeviceId::from_bytes([1; 16]),
        device_seq: None,
        clock: Clock::at(at),
        base_seq: seq.previous(),
        extra: Default::default(),
    }
}

fn append(rig: &Rig, stream: &StreamId) {
    let head = rig.head(stream);
    let mut seq = head.seq;
    let records = (0..BATCH).map(|_| {
        seq = seq.next();
        let event = event(stream, seq, rig.now());
        Record { event, hash: None }
    });
    let batch = Append::events(stream.clone(), head.seq, Epoch::new(7), records.collect());
    rig.store.append(vec![batch]).unwrap().remove(0).unwrap();
}

#[test]
fn freed_pages_are_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let redb = RedbOptions {
        min_free_bytes: 0,
        mark_window: 8,
        apply_interval: Duration::from_millis(5),
        ..RedbOptions::default()
    };
    let store = Arc::new(RedbStore::open(folder.path(), &redb).unwrap());
    let mut options = options();
    options.history.limits.max_events = KEPT;
    let mut rig = Rig::new(store, options);
    let streams: Vec<_> = (0..STREAMS).map(|n| stream(&format!("s{n}"))).collect();
    let mut lengths = Vec::new();
    for _ in 0..20 {
        for stream in &streams {
            append(&rig, stream);
        }
        rig.pass(100);
        rig.come_to_rest();
        lengths.push((logical(&rig, &streams), files(folder.path())));
    }
    // Full since the 13th turn; each of the others brings a quarter of what is kept.
    let (logical, grown) = lengths[14];
    let (_, last) = lengths[19];
    assert!(logical > 1_000_000, "{lengths:?}");
    assert!(last <= grown + grown / 4, "the files grow: {lengths:?}");
}
