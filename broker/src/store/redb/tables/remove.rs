//! Changes of the tables that do not come from the journal: folds, forgotten marks, erased groups.

use redb::{ReadableTable, WriteTransaction};
use syncline_protocol::{DeviceId, StreamId, SyncId, UnixMillis};

use super::super::regions;
use super::Tables;
use super::marks::{MarkTables, accepted_at};
use super::rows::{
    BASES, BaseRow, ENTRIES, EVENTS, MARKS, RECENT, STREAMS, StreamRow, corrupted, entries_of, key,
    load_base, load_row, stream_id,
};
use crate::store::{Erased, Fold, Folded, StoreError};

/// Marks that one commit forgets at most, so that it does not hold up the applier.
const FORGET_STEP: usize = 1024;

impl Tables {
    pub(in crate::store::redb) fn fold(&self, fold: &Fold) -> Result<Folded, StoreError> {
        let checked = self.file.view(|txn| {
            let row = load_row(&txn.open_table(STREAMS)?, &fold.stream)?;
            check(fold, row, &txn.open_table(BASES)?)
        })?;
        match checked {
            // Only a writer's answer is final; this one spares a commit.
            Checked::Fits(..) => self.file.change(|txn| fold_in(txn, fold)),
            Checked::Refused(folded) => Ok(folded),
        }
    }

    /// Forgets marks whose last event is older than a time, but not those of `spared` devices.
    pub(in crate::store::redb) fn forget_marks(
        &self,
        stream: &StreamId,
        before: UnixMillis,
        spared: &[DeviceId],
    ) -> Result<usize, StoreError> {
        let mut forgotten = 0;
        loop {
            let old = self.old_marks(stream, before, spared)?;
            if old.is_empty() {
                return Ok(forgotten);
            }
            forgotten += self.file.change(|txn| forget_in(txn, &old, before))?;
        }
    }

    /// The first marks that are due.
    fn old_marks(
        &self,
        stream: &StreamId,
        before: UnixMillis,
        spared: &[DeviceId],
    ) -> Result<Vec<(u64, [u8; 16])>, StoreError> {
        self.file.view(|txn| {
            let Some(row) = load_row(&txn.open_table(STREAMS)?, stream)? else {
                return Ok(Vec::new());
            };
            let mut old = Vec::new();
            let marks = txn.open_table(MARKS)?;
            for mark in marks.range((row.number, [0; 16])..=(row.number, [u8::MAX; 16]))? {
                let (key, columns) = mark?;
                let is_old = accepted_at(columns.value()) < before;
                let is_spared = |device: &DeviceId| *device.as_bytes() == key.value().1;
                if is_old && !spared.iter().any(is_spared) {
                    old.push(key.value());
                }
                if old.len() == FORGET_STEP {
                    break;
                }
            }
            Ok(old)
        })
    }

    /// Removes a group in one commit.
    pub(in crate::store::redb) fn erase(&self, sync_id: &SyncId) -> Result<Erased, StoreError> {
        self.file.change(|txn| {
            let mut erased = Erased::default();
            for (stream, number) in streams_of(txn, sync_id)? {
                txn.open_table(STREAMS)?.remove(key(&stream))?;
                erased.streams += 1;
                erase_in(txn, number, &mut erased)?;
            }
            Ok(erased)
        })
    }
}

enum Checked {
    Fits(StreamRow, BaseRow),
    Refused(Folded),
}

fn check(
    fold: &Fold,
    row: Option<StreamRow>,
    bases: &impl ReadableTable<u64, super::rows::BaseColumns<'static>>,
) -> Result<Checked, redb::Error> {
    let Some(row) = row else {
        // Either it never was, or the tables do not have it yet.
        return Ok(Checked::Refused(Folded::NotYet));
    };
    let base = load_base(bases, row.number)?;
    if base.base.seq != fold.from {
        return Ok(Checked::Refused(Folded::Moved));
    }
    // The applied horizon covers applied events alone.
    if fold.base.seq > row.head.horizon {
        return Ok(Checked::Refused(Folded::NotYet));
    }
    Ok(Checked::Fits(row, base))
}

fn fold_in(txn: &WriteTransaction, fold: &Fold) -> Result<Folded, redb::Error> {
    let row = load_row(&txn.open_table(STREAMS)?, &fold.stream)?;
    let mut bases = txn.open_table(BASES)?;
    let (row, before) = match check(fold, row, &bases)? {
        Checked::Fits(row, before) => (row, before),
        Checked::Refused(folded) => return Ok(folded),
    };
    let mut after = BaseRow {
        base: fold.base.clone(),
        position: before.position,
    };
    if fold.base.seq > fold.from {
        after.position = drop_events(txn, row.number, fold)?;
    }
    after.write(&mut bases, row.number)?;
    change_entries(txn, row.number, fold)?;
    Ok(Folded::Done)
}

/// Gives the position of the last one.
fn drop_events(txn: &WriteTransaction, number: u64, fold: &Fold) -> Result<u64, redb::Error> {
    let mut events = txn.open_table(EVENTS)?;
    let last = (number, fold.base.seq.get());
    let position = events.get(last)?.map(|event| event.value().1);
    let position = position.ok_or_else(|| corrupted("an event that is missing"))?;
    events.retain_in((number, fold.from.get() + 1)..=last, |_, _| false)?;
    Ok(position)
}

fn change_entries(txn: &WriteTransaction, number: u64, fold: &Fold) -> Result<(), redb::Error> {
    let mut entries = txn.open_table(ENTRIES)?;
    for (collection, key) in &fold.removes {
        entries.remove((number, collection.as_str(), key.as_str()))?;
    }
    for put in &fold.puts {
        regions::check_row(put.entry.len())?;
        let key = (number, put.collection.as_str(), put.key.as_str());
        entries.insert(key, put.entry.as_ref())?;
    }
    Ok(())
}

/// An event of the device may have come since they were found: those stay.
fn forget_in(
    txn: &WriteTransaction,
    old: &[(u64, [u8; 16])],
    before: UnixMillis,
) -> Result<usize, redb::Error> {
    let mut tables = MarkTables {
        marks: txn.open_table(MARKS)?,
        recent: txn.open_table(RECENT)?,
    };
    let mut forgotten = 0;
    for key in old {
        let columns = tables.marks.get(*key)?.map(|columns| columns.value());
        if columns.is_some_and(|columns| accepted_at(columns) < before) {
            tables.remove(*key)?;
            forgotten += 1;
        }
    }
    Ok(forgotten)
}

fn streams_of(
    txn: &WriteTransaction,
    sync_id: &SyncId,
) -> Result<Vec<(StreamId, u64)>, redb::Error> {
    let mut found = Vec::new();
    for row in txn.open_table(STREAMS)?.range((sync_id.as_str(), "")..)? {
        let (key, columns) = row?;
        let stream = stream_id(key.value()).ok_or_else(|| corrupted("a stream's name"))?;
        if stream.sync_id != *sync_id {
            break;
        }
        found.push((stream, columns.value().0));
    }
    Ok(found)
}

fn erase_in(txn: &WriteTransaction, number: u64, erased: &mut Erased) -> Result<(), redb::Error> {
    let count = |removed: &mut u64| {
        *removed += 1;
        false
    };
    let mut events = txn.open_table(EVENTS)?;
    events.retain_in((number, 0)..=(number, u64::MAX), |_, _| {
        count(&mut erased.events)
    })?;
    let mut entries = txn.open_table(ENTRIES)?;
    entries.retain_in(entries_of(number), |_, _| count(&mut erased.entries))?;
    let (first, last) = ([0; 16], [u8::MAX; 16]);
    let mut marks = txn.open_table(MARKS)?;
    marks.retain_in((number, first)..=(number, last), |_, _| {
        count(&mut erased.marks)
    })?;
    let mut recent = txn.open_table(RECENT)?;
    recent.retain_in((number, first, 0)..=(number, last, u64::MAX), |_, _| false)?;
    txn.open_table(BASES)?.remove(number)?;
    Ok(())
}
