//! Tables of format 1: without positions, horizons and bases; a mark was one value with all its recent events.

use redb::{ReadableTable, TableDefinition, TableHandle, WriteTransaction};
use syncline_protocol::Seq;

use super::super::file::meta_of;
use super::rows::{EVENTS, MARKS, RECENT, STREAMS, StreamKey, StreamRow, corrupted};
use super::{APPLIED_TO, make};

/// To number, epoch, seq, accepted_at, timestamp, counter.
type StreamColumns1 = (u64, u64, u64, u64, u64, u32);

const STREAMS_1: TableDefinition<'_, StreamKey<'_>, StreamColumns1> =
    TableDefinition::new("streams of format 1");
const EVENTS_1: TableDefinition<'_, (u64, u64), (u64, &[u8])> =
    TableDefinition::new("events of format 1");
const MARKS_1: TableDefinition<'_, (u64, [u8; 16]), &[u8]> =
    TableDefinition::new("marks of format 1");

/// Within the transaction that stamps the new format.
pub(super) fn from(txn: &WriteTransaction, _one: u64) -> Result<(), redb::Error> {
    if !has(txn, STREAMS.name())? {
        // The first opening ended before there were tables.
        return Ok(());
    }
    txn.rename_table(STREAMS, STREAMS_1)?;
    txn.rename_table(EVENTS, EVENTS_1)?;
    txn.rename_table(MARKS, MARKS_1)?;
    make(txn)?;
    let position = meta_of(txn, APPLIED_TO)?.unwrap_or(0);
    let accepted_at = move_streams(txn, position)?;
    move_events(txn, position)?;
    move_marks(txn, &accepted_at)?;
    txn.delete_table(STREAMS_1)?;
    txn.delete_table(EVENTS_1)?;
    txn.delete_table(MARKS_1)?;
    Ok(())
}

fn has(txn: &WriteTransaction, name: &str) -> Result<bool, redb::Error> {
    Ok(txn.list_tables()?.any(|table| table.name() == name))
}

/// Everything applied stands at the last applied position: where exactly is not known, and nobody has asked before.
fn move_streams(
    txn: &WriteTransaction,
    position: u64,
) -> Result<std::collections::HashMap<u64, u64>, redb::Error> {
    let mut accepted = std::collections::HashMap::new();
    let mut streams = txn.open_table(STREAMS)?;
    for row in txn.open_table(STREAMS_1)?.iter()? {
        let (key, columns) = row?;
        let (number, epoch, seq, accepted_at, timestamp, counter) = columns.value();
        let columns = (
            number,
            epoch,
            seq,
            accepted_at,
            timestamp,
            counter,
            Seq::ZERO.get(),
            position,
        );
        accepted.insert(number, accepted_at);
        streams.insert(key.value(), StreamRow::read(columns)?.columns())?;
    }
    Ok(accepted)
}

fn move_events(txn: &WriteTransaction, position: u64) -> Result<(), redb::Error> {
    let mut events = txn.open_table(EVENTS)?;
    for row in txn.open_table(EVENTS_1)?.iter()? {
        let (key, value) = row?;
        let (epoch, payload) = value.value();
        events.insert(key.value(), (epoch, position, payload))?;
    }
    Ok(())
}

/// When a device was last heard is not known: not later than its stream's last event.
fn move_marks(
    txn: &WriteTransaction,
    accepted_at: &std::collections::HashMap<u64, u64>,
) -> Result<(), redb::Error> {
    let mut marks = txn.open_table(MARKS)?;
    let mut recent = txn.open_table(RECENT)?;
    for row in txn.open_table(MARKS_1)?.iter()? {
        let (key, value) = row?;
        let (number, device) = key.value();
        let old = Mark1::read(value.value()).ok_or_else(|| corrupted("a mark"))?;
        for (device_seq, hash, seq) in &old.recent {
            recent.insert((number, device, *seq), (*device_seq, *hash))?;
        }
        let accepted_at = accepted_at.get(&number).copied().unwrap_or(0);
        let [through, device_seq, base_seq, timestamp] = old.numbers;
        let columns = (
            through,
            device_seq,
            base_seq,
            timestamp,
            old.counter,
            accepted_at,
            old.recent.len() as u64,
        );
        marks.insert((number, device), columns)?;
    }
    Ok(())
}

/// Through, device_seq, base_seq and timestamp (8 each), counter (4), then device_seq (8), hash (16) and seq (8) of each
/// recent event; big endian.
pub(super) struct Mark1 {
    numbers: [u64; 4],
    counter: u32,
    recent: Vec<(u64, [u8; 16], u64)>,
}

impl Mark1 {
    pub(super) fn read(bytes: &[u8]) -> Option<Mark1> {
        let mut rest = bytes;
        let numbers = [
            take_u64(&mut rest)?,
            take_u64(&mut rest)?,
            take_u64(&mut rest)?,
            take_u64(&mut rest)?,
        ];
        let counter = u32::from_be_bytes(take(&mut rest)?);
        let mut recent = Vec::with_capacity(rest.len() / 32);
        while !rest.is_empty() {
            recent.push((take_u64(&mut rest)?, take(&mut rest)?, take_u64(&mut rest)?));
        }
        Some(Mark1 {
            numbers,
            counter,
            recent,
        })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk::<N>()?;
    *rest = left;
    Some(*taken)
}

fn take_u64(rest: &mut &[u8]) -> Option<u64> {
    take(rest).map(u64::from_be_bytes)
}
