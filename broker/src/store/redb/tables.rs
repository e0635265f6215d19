//! The tables: everything by stream, as of `applied_to`.

mod apply;
#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzzing;
mod marks;
mod migrate;
mod notes;
mod plant;
mod remove;
mod rows;

use std::ops::Bound;

use bytes::Bytes;
use redb::{ReadTransaction, TableError, WriteTransaction};
use syncline_protocol::{DeviceId, Epoch, Seq, StreamId};

use super::copy::{CopyError, Target};
use super::disk::Media;
use super::file::{DbFile, META, Settings, meta};
use super::sessions;
use crate::store::piece::Piece;
use crate::store::{Base, Committed, StoreError, StoredEntry, StreamHead};
pub(super) use marks::AppliedMark;
use rows::{
    BASES, BaseRow, ENTRIES, EVENTS, MARKS, NOTES, RECENT, STREAMS, StreamRow, entries_of,
    load_base, stream_row,
};
pub(super) use rows::{corrupted, key, stream_id};

pub(super) const FILE: &str = "tables.redb";

const APPLIED_TO: &str = "applied_to";
const LAST_NUMBER: &str = "last_stream_number";

#[derive(Debug)]
pub(super) struct Tables {
    file: DbFile,
    mark_window: usize,
}

/// What a read of the tables came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadEnd {
    /// There was room for all that is here.
    All,
    /// There is more.
    Full,
    /// What follows the cursor is gone, up to this seq.
    Folded(Seq),
}

impl Tables {
    pub(super) fn open(
        media: &dyn Media,
        cache_bytes: usize,
        mark_window: usize,
    ) -> Result<Tables, StoreError> {
        let settings = Settings {
            cache_bytes,
            quick_repair: true,
        };
        let file = DbFile::open(media, FILE, settings, migrate::from)?;
        let tables = Tables { file, mark_window };
        if !tables.are_made()? {
            tables.file.change(|txn| make(txn))?;
        }
        Ok(tables)
    }

    /// The file, for whoever keeps tables of its own in it.
    pub(super) fn file(&self) -> &DbFile {
        &self.file
    }

    fn are_made(&self) -> Result<bool, StoreError> {
        self.file.view(|txn| match txn.open_table(MARKS) {
            Ok(_) => Ok(true),
            Err(TableError::TableDoesNotExist(_)) => Ok(false),
            Err(error) => Err(error.into()),
        })
    }

    /// The journal's position up to which everything is here.
    pub(super) fn applied_to(&self) -> Result<u64, StoreError> {
        self.file.view(applied_to)
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
        self.file.view(|txn| match stream_row(txn, stream)? {
            None => Ok(None),
            Some(row) => marks::load(
                &txn.open_table(MARKS)?,
                &txn.open_table(RECENT)?,
                (row.number, *device.as_bytes()),
                self.mark_window,
            ),
        })
    }

    /// Gathers events after the piece's cursor.
    pub(super) fn read(&self, stream: &StreamId, piece: &mut Piece) -> Result<ReadEnd, StoreError> {
        self.file.view(|txn| {
            let Some(row) = stream_row(txn, stream)? else {
                return Ok(ReadEnd::All);
            };
            let base = load_base(&txn.open_table(BASES)?, row.number)?;
            if piece.cursor() < base.base.seq {
                return Ok(ReadEnd::Folded(base.base.seq));
            }
            read_events(txn, row.number, stream, piece)
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
                .range::<rows::StreamKey<'_>>((start, Bound::Unbounded))?
                .take(limit)
            {
                let (key, value) = entry?;
                let stream = stream_id(key.value()).ok_or_else(|| corrupted("a stream's name"))?;
                found.push((stream, StreamRow::read(value.value())?.head));
            }
            Ok(found)
        })
    }

    /// The last seq at or below a position; 0 if that is folded away.
    pub(super) fn seq_at(&self, stream: &StreamId, position: u64) -> Result<Seq, StoreError> {
        self.file.view(|txn| {
            let Some(row) = stream_row(txn, stream)? else {
                return Ok(Seq::ZERO);
            };
            let base = load_base(&txn.open_table(BASES)?, row.number)?;
            match base.position <= position {
                true => last_until(txn, &row, base.base.seq, position),
                false => Ok(Seq::ZERO),
            }
        })
    }

    pub(super) fn base(&self, stream: &StreamId) -> Result<Base, StoreError> {
        self.file.view(|txn| Ok(base_of(txn, stream)?.1.base))
    }

    /// A base and its entries, of one moment.
    pub(super) fn entries(
        &self,
        stream: &StreamId,
    ) -> Result<(Base, Vec<StoredEntry>), StoreError> {
        self.file.view(|txn| {
            let (number, base) = base_of(txn, stream)?;
            let mut entries = Vec::new();
            let table = txn.open_table(ENTRIES)?;
            for entry in table.range(entries_of(number))? {
                let (key, value) = entry?;
                let (_, collection, key) = key.value();
                entries.push(StoredEntry {
                    collection: collection.to_owned(),
                    key: key.to_owned(),
                    entry: Bytes::copy_from_slice(value.value()),
                });
            }
            Ok((base.base, entries))
        })
    }
}

/// Copies one table of this file.
type Copy = fn(&Target, &ReadTransaction) -> Result<(), CopyError>;

/// Every table of this file but `meta`: what is not here is in no backup.
pub(super) const COPIED: [Copy; 16] = [
    |to, from| to.take(from, STREAMS),
    |to, from| to.take(from, EVENTS),
    |to, from| to.take(from, MARKS),
    |to, from| to.take(from, RECENT),
    |to, from| to.take(from, BASES),
    |to, from| to.take(from, ENTRIES),
    |to, from| to.take(from, NOTES),
    |to, from| to.take(from, sessions::SESSIONS),
    |to, from| to.take(from, sessions::SUBSCRIPTIONS),
    |to, from| to.take(from, sessions::CURSORS),
    |to, from| to.take(from, sessions::QUEUES),
    |to, from| to.take(from, sessions::SUMS),
    |to, from| to.take(from, sessions::PACKETS),
    |to, from| to.take(from, sessions::RETAINED),
    |to, from| to.take(from, sessions::OWNERS),
    |to, from| to.take(from, sessions::PRESENCES),
];

/// Makes all tables, so that nobody has to ask whether there are any.
fn make(txn: &WriteTransaction) -> Result<(), redb::Error> {
    txn.open_table(STREAMS)?;
    txn.open_table(EVENTS)?;
    txn.open_table(MARKS)?;
    txn.open_table(RECENT)?;
    txn.open_table(BASES)?;
    txn.open_table(ENTRIES)?;
    txn.open_table(NOTES)?;
    Ok(())
}

pub(super) fn remove_meta(txn: &WriteTransaction, name: &str) -> Result<(), redb::Error> {
    txn.open_table(META)?.remove(name)?;
    Ok(())
}

pub(super) fn applied_to(txn: &ReadTransaction) -> Result<u64, redb::Error> {
    Ok(meta(txn, APPLIED_TO)?.unwrap_or(0))
}

fn base_of(txn: &ReadTransaction, stream: &StreamId) -> Result<(u64, BaseRow), redb::Error> {
    match stream_row(txn, stream)? {
        // No stream has the number 0.
        None => Ok((0, BaseRow::EMPTY)),
        Some(row) => {
            let base = load_base(&txn.open_table(BASES)?, row.number)?;
            Ok((row.number, base))
        }
    }
}

fn read_events(
    txn: &ReadTransaction,
    number: u64,
    stream: &StreamId,
    piece: &mut Piece,
) -> Result<ReadEnd, redb::Error> {
    let events = txn.open_table(EVENTS)?;
    let (first, last) = ((number, piece.cursor().get() + 1), (number, u64::MAX));
    for entry in events.range(first..=last)? {
        let (key, value) = entry?;
        let (epoch, position, payload) = value.value();
        if !piece.has_room(payload.len()) {
            return Ok(ReadEnd::Full);
        }
        let seq = Seq::new(key.value().1).ok_or_else(|| corrupted("a seq"))?;
        let payload = Bytes::copy_from_slice(payload);
        let (stream, epoch) = (stream.clone(), Epoch::new(epoch));
        piece.push(Committed::new(stream, epoch, seq, position, payload));
    }
    Ok(ReadEnd::All)
}

/// Searches the kept events, whose positions ascend as their seqs do.
fn last_until(
    txn: &ReadTransaction,
    row: &StreamRow,
    kept_after: Seq,
    position: u64,
) -> Result<Seq, redb::Error> {
    let events = txn.open_table(EVENTS)?;
    let (mut had, mut end) = (kept_after.get(), row.head.seq.get());
    while had < end {
        let middle = had + (end - had).div_ceil(2);
        let event = events.get((row.number, middle))?;
        let event = event.ok_or_else(|| corrupted("a hole among events, which"))?;
        match event.value().1 <= position {
            true => had = middle,
            false => end = middle - 1,
        }
    }
    Seq::new(had).ok_or_else(|| corrupted("a seq"))
}
