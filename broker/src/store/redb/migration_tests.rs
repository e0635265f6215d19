//! Files of format 1, as the program of that format wrote them.

use redb::{Database, TableDefinition};

use super::disk::{Disk, SyncWatch};
use super::simulated::SimDisk;
use super::tests::options;
use super::*;
use crate::store::contract::{
    ALL, WINDOW, append, at, batch, device, entries, fold, fold_of, number, raise, record, seqs,
    stream,
};

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const RECORDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("records");
type Heads = TableDefinition<'static, (&'static str, &'static str), (u64, u64, u64, u64, u64, u32)>;
const STREAMS: Heads = TableDefinition::new("streams");
const EVENTS: TableDefinition<'_, (u64, u64), (u64, &[u8])> = TableDefinition::new("events");
const MARKS: TableDefinition<'_, (u64, [u8; 16]), &[u8]> = TableDefinition::new("marks");

/// Events of each stream in the tables, and in the journal alone.
const APPLIED: u64 = 6;
const ALL_EVENTS: u64 = 9;

fn streams() -> [StreamId; 2] {
    ["home", "home/albums"].map(stream)
}

fn create(disk: &SimDisk, name: &str) -> Database {
    let backend = disk.open(name).unwrap();
    let disk = Disk::new(backend, SyncWatch::default());
    Database::builder().create_with_backend(disk).unwrap()
}

/// 1 and hash, epoch, seq, lengths and texts of the stream, payload.
fn record_1(stream: &StreamId, seq: u64) -> Vec<u8> {
    let said = record(stream, seq);
    let mut bytes = vec![1];
    bytes.extend(said.hash.unwrap().0);
    bytes.extend(7_u64.to_be_bytes());
    bytes.extend(seq.to_be_bytes());
    let channel = stream.channel.as_ref().map_or("", |it| it.as_str());
    for text in [stream.sync_id.as_str(), channel] {
        bytes.push(text.len() as u8);
        bytes.extend(text.as_bytes());
    }
    bytes.extend(said.event.encode());
    bytes
}

/// Through, device_seq, base_seq, timestamp, counter, and the last W events.
fn mark_1(stream: &StreamId) -> Vec<u8> {
    let mut bytes = Vec::new();
    for it in [APPLIED, APPLIED, APPLIED - 1, 1000 + APPLIED] {
        bytes.extend(it.to_be_bytes());
    }
    bytes.extend(0_u32.to_be_bytes());
    for seq in APPLIED - WINDOW as u64 + 1..=APPLIED {
        bytes.extend(seq.to_be_bytes());
        bytes.extend(record(stream, seq).hash.unwrap().0);
        bytes.extend(seq.to_be_bytes());
    }
    bytes
}

/// The streams' events alternate; the first half of what is applied is trimmed.
fn write_journal_1(disk: &SimDisk) {
    let journal = create(disk, journal::FILE);
    let txn = journal.begin_write().unwrap();
    {
        let mut meta = txn.open_table(META).unwrap();
        meta.insert("format", 1).unwrap();
        meta.insert("trimmed_to", APPLIED).unwrap();
        let mut records = txn.open_table(RECORDS).unwrap();
        for position in APPLIED + 1..=2 * ALL_EVENTS {
            let stream = &streams()[(position % 2) as usize];
            let bytes = record_1(stream, position.div_ceil(2));
            records.insert(position, bytes.as_slice()).unwrap();
        }
    }
    txn.commit().unwrap();
}

fn write_tables_1(disk: &SimDisk) {
    let tables = create(disk, tables::FILE);
    let txn = tables.begin_write().unwrap();
    {
        let mut meta = txn.open_table(META).unwrap();
        meta.insert("format", 1).unwrap();
        meta.insert("applied_to", 2 * APPLIED).unwrap();
        meta.insert("last_stream_number", 2).unwrap();
        let mut heads = txn.open_table(STREAMS).unwrap();
        let mut events = txn.open_table(EVENTS).unwrap();
        let mut marks = txn.open_table(MARKS).unwrap();
        for (number, stream) in (1..).zip(streams()) {
            let channel = stream.channel.as_ref().map_or("", |it| it.as_str());
            let key = (stream.sync_id.as_str(), channel);
            let columns = (number, 7, APPLIED, 1000 + APPLIED, 1000 + APPLIED, 0);
            heads.insert(key, columns).unwrap();
            for seq in 1..=APPLIED {
                let payload = record(&stream, seq).event.encode();
                let value = (7, payload.as_slice());
                events.insert((number, seq), value).unwrap();
            }
            let key = (number, *device(1).as_bytes());
            marks.insert(key, mark_1(&stream).as_slice()).unwrap();
        }
    }
    txn.commit().unwrap();
}

fn disk_of_format_1() -> SimDisk {
    let disk = SimDisk::new();
    write_journal_1(&disk);
    write_tables_1(&disk);
    disk.sync_names().unwrap();
    disk
}

fn check_migrated(store: &RedbStore) {
    for stream in streams() {
        let head = store.head(&stream).unwrap();
        assert_eq!((head.seq, head.horizon), (at(ALL_EVENTS), Seq::ZERO));
        assert_eq!(head.clock.timestamp.get(), 1000 + ALL_EVENTS);
        let events = store.read(&stream, Seq::ZERO, ALL).unwrap();
        assert_eq!(seqs(&events), (1..=ALL_EVENTS).collect::<Vec<_>>());
        for event in &events {
            let said = record(&stream, event.seq().get()).event.encode();
            assert_eq!(event.payload().as_ref(), said);
        }
        let positions: Vec<_> = events.iter().map(|it| it.position()).collect();
        assert!(positions.is_sorted(), "{positions:?}");
        let mark = store.mark(&stream, device(1)).unwrap().unwrap();
        assert_eq!(mark.device_seq, Some(number(ALL_EVENTS)));
        let recent: Vec<_> = mark.recent.iter().map(|it| it.seq.get()).collect();
        assert_eq!(recent, [6, 7, 8, 9]);
        assert_eq!(
            mark.first_copy(record(&stream, 6).hash.unwrap()),
            Some(at(6))
        );
    }
    assert_eq!(store.position().unwrap(), 2 * ALL_EVENTS);
}

#[test]
fn files_of_format_1_are_migrated_and_serve() {
    let disk = disk_of_format_1();
    let store = disk.open_store(&options()).unwrap();
    check_migrated(&store);
    let home = stream("home");
    raise(&store, &home, 8);
    assert_eq!(fold(&store, &fold_of(&home, 0, 8)), Folded::Done);
    append(&store, batch(&home, 10, 12));
    drop(store);
    let store = disk.open_store(&options()).unwrap();
    assert_eq!(entries(&store, &home).0.seq, at(8));
    assert_eq!(
        seqs(&store.read(&home, at(8), ALL).unwrap()),
        [9, 10, 11, 12]
    );
    let had = store.seq_at(&stream("home/albums"), 2 * APPLIED).unwrap();
    assert_eq!(had, at(APPLIED));
}

#[test]
fn g12_a_migration_is_cut_at_every_step_and_begun_again() {
    let mut step = 0;
    loop {
        step += 1;
        for survive in [false, true] {
            let disk = disk_of_format_1();
            disk.lose_power_at(disk.steps() + step);
            // The process does not notice.
            drop(disk.open_store(&options()).unwrap());
            let was_lost = disk.power_is_lost();
            let disk = disk.crash(|| survive);
            let store = disk
                .open_store(&options())
                .unwrap_or_else(|error| panic!("step {step}: does not open: {error}"));
            check_migrated(&store);
            if !was_lost {
                assert!(step > 20, "only {step} steps");
                return;
            }
        }
    }
}

#[test]
fn a_first_opening_of_format_1_that_was_cut_is_gone_on_with() {
    let disk = SimDisk::new();
    for name in [journal::FILE, tables::FILE] {
        let file = create(&disk, name);
        let txn = file.begin_write().unwrap();
        txn.open_table(META).unwrap().insert("format", 1).unwrap();
        txn.commit().unwrap();
    }
    let store = disk.open_store(&options()).unwrap();
    append(&store, batch(&stream("home"), 1, 2));
}
