//! The tables: everything by stream, as of `applied_to`.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use redb::{ReadTransaction, ReadableTable, TableDefinition, TableError, WriteTransaction};
use syncline_protocol::{Channel, Clock, DeviceId, Epoch, Seq, StreamId, UnixMillis};

use super::applier::Pending;
use super::codec::{read_mark, write_mark};
use super::disk::Media;
use super::file::{DbFile, meta, meta_of, set_meta};
use crate::store::piece::Piece;
use crate::store::{Committed, Footprint, Mark, StoreError, StreamHead};

pub(super) const FILE: &str = "tables.redb";

const APPLIED_TO: &str = "applied_to";
const LAST_NUMBER: &str = "last_stream_number";

/// Sync id and channel ("" is the default one) to number, epoch, seq, accepted_at, timestamp, counter.
/// The order of the keys is that of `StreamId`.
const STREAMS: TableDefinition<'_, StreamKey<'_>, StreamColumns> = TableDefinition::new("streams");
/// Stream number and seq to epoch and payload.
const EVENTS: TableDefinition<'_, (u64, u64), (u64, &[u8])> = TableDefinition::new("events");
/// Stream number and device to [`write_mark`].
const MARKS: TableDefinition<'_, MarkKey, &[u8]> = TableDefinition::new("marks");

pub(super) type StreamKey<'a> = (&'a str, &'a str);
type StreamColumns = (u64, u64, u64, u64, u64, u32);
type MarkKey = (u64, [u8; 16]);

/// A mark and the seq up to which it has absorbed its stream's events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AppliedMark {
    pub(super) through: Seq,
    pub(super) mark: Mark,
}

impl Default for AppliedMark {
    fn default() -> AppliedMark {
        AppliedMark {
            through: Seq::ZERO,
            mark: Mark::new(),
        }
    }
}

impl AppliedMark {
    /// Skips what it has absorbed before.
    pub(super) fn absorb(&mut self, event: &Footprint, window: usize) {
        if event.seq > self.through {
            self.through = event.seq;
            self.mark.absorb(event, window);
        }
    }
}

#[derive(Debug)]
pub(super) struct Tables {
    file: DbFile,
    mark_window: usize,
}

impl Tables {
    pub(super) fn open(
        media: &dyn Media,
        cache_bytes: usize,
        mark_window: usize,
    ) -> Result<Tables, StoreError> {
        let file = DbFile::open(media, FILE, cache_bytes)?;
        let tables = Tables { file, mark_window };
        if !tables.are_made()? {
            tables.make()?;
        }
        Ok(tables)
    }

    fn are_made(&self) -> Result<bool, StoreError> {
        self.file.view(|txn| match txn.open_table(MARKS) {
            Ok(_) => Ok(true),
            Err(TableError::TableDoesNotExist(_)) => Ok(false),
            Err(error) => Err(error.into()),
        })
    }

    fn make(&self) -> Result<(), StoreError> {
        self.file.change(|txn| {
            txn.open_table(STREAMS)?;
            txn.open_table(EVENTS)?;
            txn.open_table(MARKS)?;
            Ok(())
        })
    }

    /// For other tables in the same file.
    pub(super) fn file(&self) -> &DbFile {
        &self.file
    }

    /// The journal's position up to which everything is here.
    pub(super) fn applied_to(&self) -> Result<u64, StoreError> {
        Ok(self.file.view(|txn| meta(txn, APPLIED_TO))?.unwrap_or(0))
    }

    pub(super) fn head(&self, stream: &StreamId) -> Result<StreamHead, StoreError> {
        self.file
            .view(|txn| Ok(stream_row(txn, stream)?.map_or(StreamHead::EMPTY, |row| row.head)))
    }

    pub(super) fn mark(
        &self,
        stream: &StreamId,
        device: DeviceId,
    ) -> Result<Option<AppliedMark>, StoreError> {
        self.file.view(|txn| {
            let Some(row) = stream_row(txn, stream)? else {
                return Ok(None);
            };
            load_mark(&txn.open_table(MARKS)?, (row.number, *device.as_bytes()))
        })
    }

    /// Gathers events after the piece's cursor; says whether there was room for all that are here.
    pub(super) fn read(&self, stream: &StreamId, piece: &mut Piece) -> Result<bool, StoreError> {
        self.file.view(|txn| {
            let Some(row) = stream_row(txn, stream)? else {
                return Ok(true);
            };
            let events = txn.open_table(EVENTS)?;
            let (first, last) = (
                (row.number, piece.cursor().get() + 1),
                (row.number, u64::MAX),
            );
            for entry in events.range(first..=last)? {
                let (key, value) = entry?;
                let (epoch, payload) = value.value();
                if !piece.has_room(payload.len()) {
                    return Ok(false);
                }
                let seq = Seq::new(key.value().1).ok_or_else(|| corrupted("a seq"))?;
                let payload = Bytes::copy_from_slice(payload);
                piece.push(Committed::new(
                    stream.clone(),
                    Epoch::new(epoch),
                    seq,
                    payload,
                ));
            }
            Ok(true)
        })
    }

    pub(super) fn streams(
        &self,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<(StreamId, StreamHead)>, StoreError> {
        self.file.view(|txn| {
            let table = txn.open_table(STREAMS)?;
            let start = after.map_or(Bound::Unbounded, |stream| Bound::Excluded(key(stream)));
            let mut found = Vec::new();
            for entry in table
                .range::<StreamKey<'_>>((start, Bound::Unbounded))?
                .take(limit)
            {
                let (key, value) = entry?;
                let stream = stream_id(key.value()).ok_or_else(|| corrupted("a stream's name"))?;
                found.push((stream, StreamRow::read(value.value())?.head));
            }
            Ok(found)
        })
    }

    /// Takes events of ascending positions, and `applied_to` with them, in one commit.
    pub(super) fn apply(&self, events: &[&Pending]) -> Result<(), StoreError> {
        let Some(last) = events.last() else {
            return Ok(());
        };
        self.file.change(|txn| {
            txn.set_quick_repair(true);
            Applying {
                txn,
                mark_window: self.mark_window,
            }
            .apply(events)?;
            set_meta(txn, APPLIED_TO, last.position)
        })
    }
}

/// What the tables know of a stream.
#[derive(Debug, Clone, Copy)]
struct StreamRow {
    number: u64,
    head: StreamHead,
}

impl StreamRow {
    fn read(columns: StreamColumns) -> Result<StreamRow, redb::Error> {
        let (number, epoch, seq, accepted_at, timestamp, counter) = columns;
        let head = StreamHead {
            epoch: Epoch::new(epoch),
            seq: Seq::new(seq).ok_or_else(|| corrupted("a stream's head"))?,
            accepted_at: UnixMillis::new(accepted_at),
            clock: Clock {
                timestamp: UnixMillis::new(timestamp),
                counter,
            },
        };
        Ok(StreamRow { number, head })
    }

    fn columns(&self) -> StreamColumns {
        let StreamHead {
            epoch,
            seq,
            accepted_at,
            clock,
        } = self.head;
        let timestamp = clock.timestamp.get();
        (
            self.number,
            epoch.get(),
            seq.get(),
            accepted_at.get(),
            timestamp,
            clock.counter,
        )
    }
}

fn stream_row(txn: &ReadTransaction, stream: &StreamId) -> Result<Option<StreamRow>, redb::Error> {
    load_row(&txn.open_table(STREAMS)?, stream)
}

fn load_row(
    table: &impl ReadableTable<StreamKey<'static>, StreamColumns>,
    stream: &StreamId,
) -> Result<Option<StreamRow>, redb::Error> {
    table
        .get(key(stream))?
        .map(|row| StreamRow::read(row.value()))
        .transpose()
}

fn load_mark(
    table: &impl ReadableTable<MarkKey, &'static [u8]>,
    key: MarkKey,
) -> Result<Option<AppliedMark>, redb::Error> {
    let bytes = table.get(key)?;
    let read = bytes.map(|bytes| read_mark(bytes.value())).transpose();
    read.map_err(|_| corrupted("a mark"))
}

pub(super) fn key(stream: &StreamId) -> StreamKey<'_> {
    (
        stream.sync_id.as_str(),
        stream.channel.as_ref().map_or("", Channel::as_str),
    )
}

pub(super) fn stream_id((sync_id, channel): StreamKey<'_>) -> Option<StreamId> {
    let channel = match channel {
        "" => None,
        name => Some(name.parse().ok()?),
    };
    Some(StreamId {
        sync_id: sync_id.parse().ok()?,
        channel,
    })
}

/// For what the checksums of redb let through although this program never wrote it.
pub(super) fn corrupted(what: &str) -> redb::Error {
    redb::Error::Corrupted(format!("{what} is garbled"))
}

/// One commit of the applier. Keys are written in ascending order, which is what makes it cheap.
struct Applying<'a> {
    txn: &'a WriteTransaction,
    mark_window: usize,
}

impl Applying<'_> {
    fn apply(&self, events: &[&Pending]) -> Result<(), redb::Error> {
        let mut by_stream: BTreeMap<&StreamId, Vec<&Pending>> = BTreeMap::new();
        for event in events {
            by_stream
                .entry(event.event.stream())
                .or_default()
                .push(event);
        }
        let mut by_number = self.advance_heads(by_stream)?;
        by_number.sort_unstable_by_key(|(number, _)| *number);
        self.insert_events(&by_number)?;
        self.update_marks(&by_number)
    }

    /// Gives new streams their numbers, and every stream its new head.
    fn advance_heads<'e>(
        &self,
        by_stream: BTreeMap<&StreamId, Vec<&'e Pending>>,
    ) -> Result<Vec<(u64, Vec<&'e Pending>)>, redb::Error> {
        let mut numbered = last_number(self.txn)?;
        let mut streams = self.txn.open_table(STREAMS)?;
        let mut by_number = Vec::with_capacity(by_stream.len());
        for (stream, events) in by_stream {
            let mut row = load_row(&streams, stream)?.unwrap_or_else(|| {
                numbered += 1;
                StreamRow {
                    number: numbered,
                    head: StreamHead::EMPTY,
                }
            });
            events
                .iter()
                .for_each(|event| row.head.advance(&event.footprint));
            streams.insert(key(stream), row.columns())?;
            by_number.push((row.number, events));
        }
        set_meta(self.txn, LAST_NUMBER, numbered)?;
        Ok(by_number)
    }

    fn insert_events(&self, by_number: &[(u64, Vec<&Pending>)]) -> Result<(), redb::Error> {
        let mut table = self.txn.open_table(EVENTS)?;
        for (number, events) in by_number {
            for Pending { event, .. } in events {
                let value = (event.epoch().get(), event.payload().as_ref());
                table.insert((*number, event.seq().get()), value)?;
            }
        }
        Ok(())
    }

    fn update_marks(&self, by_number: &[(u64, Vec<&Pending>)]) -> Result<(), redb::Error> {
        let mut table = self.txn.open_table(MARKS)?;
        for (number, events) in by_number {
            let mut by_device: BTreeMap<DeviceId, Vec<&Pending>> = BTreeMap::new();
            for event in events {
                by_device
                    .entry(event.footprint.device)
                    .or_default()
                    .push(event);
            }
            for (device, events) in by_device {
                let key = (*number, *device.as_bytes());
                let mut mark = load_mark(&table, key)?.unwrap_or_default();
                events
                    .iter()
                    .for_each(|event| mark.absorb(&event.footprint, self.mark_window));
                table.insert(key, write_mark(&mark).as_slice())?;
            }
        }
        Ok(())
    }
}

fn last_number(txn: &WriteTransaction) -> Result<u64, redb::Error> {
    Ok(meta_of(txn, LAST_NUMBER)?.unwrap_or(0))
}
