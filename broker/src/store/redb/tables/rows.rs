//! What the rows of the tables look like.

use redb::{ReadTransaction, ReadableTable, TableDefinition};
use syncline_protocol::{Channel, Clock, Epoch, Seq, StreamId, UnixMillis};

use super::super::codec::{read_moves, write_moves};
use crate::store::{Base, StreamHead};

/// Sync id and channel ("" is the default one) to number, epoch, seq, accepted_at, timestamp, counter, horizon, position.
/// The order of the keys is that of `StreamId`.
pub(super) const STREAMS: TableDefinition<'_, StreamKey<'_>, StreamColumns> =
    TableDefinition::new("streams");
/// Stream number and seq to epoch, position and payload.
pub(super) const EVENTS: TableDefinition<'_, (u64, u64), EventColumns<'_>> =
    TableDefinition::new("events");
/// Stream number and device to [`MarkColumns`].
pub(super) const MARKS: TableDefinition<'_, MarkKey, MarkColumns> = TableDefinition::new("marks");
/// Stream number, device and seq to device_seq and hash: the recent events of marks, a row each, so that one more costs
/// one more row.
pub(super) const RECENT: TableDefinition<'_, RecentKey, (u64, [u8; 16])> =
    TableDefinition::new("recent");
/// Stream number to epoch, seq, removed_floor, position of the event at seq, and moves.
pub(super) const BASES: TableDefinition<'_, u64, BaseColumns<'_>> = TableDefinition::new("bases");
/// Stream number, collection and key to the entry.
pub(super) const ENTRIES: TableDefinition<'_, EntryKey<'_>, &[u8]> =
    TableDefinition::new("entries");

/// Name to what whoever opens the store has noted.
pub(super) const NOTES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("notes");

pub(in crate::store::redb) type StreamKey<'a> = (&'a str, &'a str);
pub(super) type StreamColumns = (u64, u64, u64, u64, u64, u32, u64, u64);
pub(super) type MarkKey = (u64, [u8; 16]);
/// Epoch, position and payload.
pub(super) type EventColumns<'a> = (u64, u64, &'a [u8]);
/// Seq up to which it has absorbed, device_seq (0: none), base_seq, timestamp, counter, accepted_at, rows of recent events.
pub(super) type MarkColumns = (u64, u64, u64, u64, u32, u64, u64);
pub(super) type RecentKey = (u64, [u8; 16], u64);
pub(super) type BaseColumns<'a> = (u64, u64, u64, u64, &'a [u8]);
pub(super) type EntryKey<'a> = (u64, &'a str, &'a str);

/// What the tables know of a stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct StreamRow {
    pub(super) number: u64,
    pub(super) head: StreamHead,
}

impl StreamRow {
    pub(super) fn read(columns: StreamColumns) -> Result<StreamRow, redb::Error> {
        let (number, epoch, seq, accepted_at, timestamp, counter, horizon, position) = columns;
        let head = StreamHead {
            epoch: Epoch::new(epoch),
            seq: Seq::new(seq).ok_or_else(|| corrupted("a stream's head"))?,
            accepted_at: UnixMillis::new(accepted_at),
            clock: Clock {
                timestamp: UnixMillis::new(timestamp),
                counter,
            },
            horizon: Seq::new(horizon).ok_or_else(|| corrupted("a stream's horizon"))?,
            position,
        };
        Ok(StreamRow { number, head })
    }

    pub(super) fn columns(&self) -> StreamColumns {
        let StreamHead {
            epoch,
            seq,
            accepted_at,
            clock,
            horizon,
            position,
        } = self.head;
        (
            self.number,
            epoch.get(),
            seq.get(),
            accepted_at.get(),
            clock.timestamp.get(),
            clock.counter,
            horizon.get(),
            position,
        )
    }
}

/// A base and where the event at its seq stood.
#[derive(Debug, Clone)]
pub(super) struct BaseRow {
    pub(super) base: Base,
    pub(super) position: u64,
}

impl BaseRow {
    pub(super) const EMPTY: BaseRow = BaseRow {
        base: Base::EMPTY,
        position: 0,
    };

    pub(super) fn read(columns: BaseColumns<'_>) -> Result<BaseRow, redb::Error> {
        let (epoch, seq, removed_floor, position, moves) = columns;
        let place = |n| Seq::new(n).ok_or_else(|| corrupted("a base"));
        let base = Base {
            epoch: Epoch::new(epoch),
            seq: place(seq)?,
            removed_floor: place(removed_floor)?,
            moves: read_moves(moves).map_err(|_| corrupted("a base's moves"))?,
        };
        Ok(BaseRow { base, position })
    }

    pub(super) fn write(
        &self,
        table: &mut redb::Table<'_, u64, BaseColumns<'static>>,
        number: u64,
    ) -> Result<(), redb::Error> {
        let (epoch, seq, removed_floor, position, moves) = self.columns();
        table.insert(number, (epoch, seq, removed_floor, position, &*moves))?;
        Ok(())
    }

    pub(super) fn columns(&self) -> (u64, u64, u64, u64, Vec<u8>) {
        (
            self.base.epoch.get(),
            self.base.seq.get(),
            self.base.removed_floor.get(),
            self.position,
            write_moves(&self.base.moves),
        )
    }
}

pub(super) fn load_base(
    table: &impl ReadableTable<u64, BaseColumns<'static>>,
    number: u64,
) -> Result<BaseRow, redb::Error> {
    match table.get(number)? {
        None => Ok(BaseRow::EMPTY),
        Some(row) => BaseRow::read(row.value()),
    }
}

pub(super) fn stream_row(
    txn: &ReadTransaction,
    stream: &StreamId,
) -> Result<Option<StreamRow>, redb::Error> {
    load_row(&txn.open_table(STREAMS)?, stream)
}

pub(super) fn load_row(
    table: &impl ReadableTable<StreamKey<'static>, StreamColumns>,
    stream: &StreamId,
) -> Result<Option<StreamRow>, redb::Error> {
    table
        .get(key(stream))?
        .map(|row| StreamRow::read(row.value()))
        .transpose()
}

pub(in crate::store::redb) fn key(stream: &StreamId) -> StreamKey<'_> {
    (
        stream.sync_id.as_str(),
        stream.channel.as_ref().map_or("", Channel::as_str),
    )
}

pub(in crate::store::redb) fn stream_id((sync_id, channel): StreamKey<'_>) -> Option<StreamId> {
    let channel = match channel {
        "" => None,
        name => Some(name.parse().ok()?),
    };
    Some(StreamId {
        sync_id: sync_id.parse().ok()?,
        channel,
    })
}

/// All entries of a stream.
pub(super) fn entries_of(number: u64) -> std::ops::Range<EntryKey<'static>> {
    (number, "", "")..(number + 1, "", "")
}

/// For what the checksums of redb let through although this program never wrote it.
pub(in crate::store::redb) fn corrupted(what: &str) -> redb::Error {
    redb::Error::Corrupted(format!("{what} is garbled"))
}
