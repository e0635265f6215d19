//! The journal: what an acknowledgement waits for.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use redb::{Durability, ReadTransaction, ReadableTable, TableDefinition, TableError};

use super::codec::{Garbled, read_record, write_record};
use super::disk::Media;
use super::file::{DbFile, Settings, meta, set_meta};
use super::pending::Pending;
use super::tables;
use crate::store::StoreError;

pub(super) const FILE: &str = "journal.redb";

/// Position to record ([`write_record`]); positions are 1, 2, 3 … over all streams.
pub(super) const RECORDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("records");

/// Up to here records were removed: the tables had them.
const TRIMMED_TO: &str = "trimmed_to";

/// It is short and written at its end: few pages are worth keeping.
const CACHE_BYTES: usize = 16 << 20;

/// Records that one trim removes at most, so that appends never wait long for it.
const TRIM_STEP: u64 = 1024;

/// The end of the journal. There is one.
#[derive(Debug)]
pub(super) struct Journal {
    file: Arc<DbFile>,
    holds: Arc<Holds>,
    next: u64,
    /// The last append failed: what it should have written may be there.
    in_doubt: bool,
    /// The tables may have taken a position that was never here.
    doubts_tables: bool,
}

/// The beginning of the journal, in the applier's hands.
#[derive(Debug)]
pub(super) struct Trimmer {
    file: Arc<DbFile>,
    holds: Arc<Holds>,
}

impl Journal {
    pub(super) fn open(media: &dyn Media) -> Result<Journal, StoreError> {
        let settings = Settings {
            cache_bytes: CACHE_BYTES,
            // It is short, and waited for.
            quick_repair: false,
        };
        // Format 2 added a kind of record: what format 1 wrote reads the same.
        let file = DbFile::open(media, FILE, settings, |_, _| Ok(()))?;
        Ok(Journal {
            file: Arc::new(file),
            holds: Arc::default(),
            next: 1,
            in_doubt: false,
            doubts_tables: false,
        })
    }

    /// Goes on behind what is there, and behind what the tables have up to `applied_to`.
    pub(super) fn resume_after(mut self, applied_to: u64) -> Result<Journal, StoreError> {
        let (last, trimmed_to) = self.file.view(|txn| {
            let last = match txn.open_table(RECORDS) {
                Ok(table) => table.last()?.map_or(0, |(position, _)| position.value()),
                Err(TableError::TableDoesNotExist(_)) => 0,
                Err(error) => return Err(error.into()),
            };
            Ok((last, meta(txn, TRIMMED_TO)?.unwrap_or(0)))
        })?;
        if trimmed_to > applied_to {
            let what = format!(
                "it goes on after record {trimmed_to}, {} ends at {applied_to}",
                tables::FILE
            );
            return Err(self.file.damaged(what));
        }
        self.next = last.max(applied_to) + 1;
        Ok(self)
    }

    /// The position of the next record.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Makes records, whose positions go on from [`Journal::next`], durable in one commit.
    pub(super) fn append(&mut self, records: &[Arc<Pending>]) -> Result<(), StoreError> {
        let written = self.file.change(|txn| {
            let mut table = txn.open_table(RECORDS)?;
            for record in records {
                table.insert(record.position, write_record(record).as_slice())?;
            }
            Ok(())
        });
        self.in_doubt = written.is_err();
        written?;
        self.next += records.len() as u64;
        Ok(())
    }

    /// What a failed append has left here after all. To be asked before the next one, until [`Journal::settle`].
    pub(super) fn in_doubt(&self) -> Result<Vec<Pending>, StoreError> {
        match self.in_doubt {
            true => self.read(self.next - 1, usize::MAX),
            false => Ok(Vec::new()),
        }
    }

    /// Goes on behind `found` records that were in doubt.
    pub(super) fn settle(&mut self, found: usize) {
        self.next += found as u64;
        self.in_doubt = false;
    }

    /// Before the tables take the next position for themselves, with nothing unapplied here. Nothing is appended before
    /// [`Journal::go_on_behind`].
    pub(super) fn doubt_tables(&mut self) {
        self.doubts_tables = true;
    }

    pub(super) fn doubts_tables(&self) -> bool {
        self.doubts_tables
    }

    /// Goes on behind what the tables have.
    pub(super) fn go_on_behind(&mut self, applied_to: u64) {
        self.next = self.next.max(applied_to + 1);
        self.doubts_tables = false;
    }

    /// As if the last append had failed after its commit.
    #[cfg(test)]
    pub(super) fn forget_last(&mut self, records: u64) {
        self.next -= records;
        self.in_doubt = true;
    }

    /// Up to `limit` records after a position.
    pub(super) fn read(&self, after: u64, limit: usize) -> Result<Vec<Pending>, StoreError> {
        let rows = self.file.view(|txn| records_after(txn, after, limit))?;
        in_order(after, rows).map_err(|what| self.file.damaged(what))
    }

    pub(super) fn file(&self) -> &Arc<DbFile> {
        &self.file
    }

    pub(super) fn trimmer(&self) -> Trimmer {
        Trimmer {
            file: Arc::clone(&self.file),
            holds: Arc::clone(&self.holds),
        }
    }
}

/// A record as it was found at its position.
type Row = (u64, Result<Pending, Garbled>);

/// Up to `limit` records after a position.
pub(super) fn records_after(
    txn: &ReadTransaction,
    after: u64,
    limit: usize,
) -> Result<Vec<Row>, redb::Error> {
    let table = match txn.open_table(RECORDS) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut rows = Vec::new();
    for entry in table.range(after + 1..)?.take(limit) {
        let (position, record) = entry?;
        let position = position.value();
        rows.push((position, read_record(position, record.value())));
    }
    Ok(rows)
}

/// Records without holes; else what is wrong with them.
pub(super) fn in_order(after: u64, rows: Vec<Row>) -> Result<Vec<Pending>, String> {
    let expected = after + 1..;
    let read = expected.zip(rows).map(|(expected, (position, record))| {
        if position != expected {
            return Err(format!("record {expected} is missing"));
        }
        record.map_err(|_| format!("record {position} is garbled"))
    });
    read.collect()
}

impl Trimmer {
    /// Removes everything up to a position that the tables have on disk; nothing while it is held.
    ///
    /// Not synced by itself: the next append does that, and what comes back after a crash is skipped.
    pub(super) fn trim(&self, applied_to: u64) -> Result<(), StoreError> {
        let holds = self.holds.count();
        match *holds {
            0 => self.trim_now(applied_to),
            _ => Ok(()),
        }
    }

    /// The same, on disk when it returns; waits while it is held.
    pub(super) fn trim_durably(&self, applied_to: u64) -> Result<(), StoreError> {
        let holds = self
            .holds
            .released
            .wait_while(self.holds.count(), |count| *count > 0);
        let _none = holds.unwrap_or_else(PoisonError::into_inner);
        self.trim_now(applied_to)?;
        self.file
            .change(|txn| set_meta(txn, TRIMMED_TO, applied_to))
    }

    /// Nothing is trimmed until this is dropped.
    pub(super) fn hold(&self) -> Hold {
        *self.holds.count() += 1;
        Hold(Arc::clone(&self.holds))
    }

    fn trim_now(&self, applied_to: u64) -> Result<(), StoreError> {
        while self.trim_step(applied_to)? {}
        Ok(())
    }

    /// Says whether there may be more to remove.
    fn trim_step(&self, applied_to: u64) -> Result<bool, StoreError> {
        self.file.change(|txn| {
            txn.set_durability(Durability::None)?;
            let mut table = txn.open_table(RECORDS)?;
            let first = table.first()?.map(|(position, _)| position.value());
            let Some(first) = first.filter(|first| *first <= applied_to) else {
                return Ok(false);
            };
            let end = applied_to.min(first + TRIM_STEP - 1);
            table.retain_in(..=end, |_, _| false)?;
            drop(table);
            set_meta(txn, TRIMMED_TO, end)?;
            Ok(end < applied_to)
        })
    }

    /// How many records are there.
    #[cfg(test)]
    pub(super) fn len(&self) -> Result<u64, StoreError> {
        use redb::ReadableTableMetadata;
        self.file.view(|txn| Ok(txn.open_table(RECORDS)?.len()?))
    }
}

/// How many want the journal whole.
#[derive(Debug, Default)]
struct Holds {
    count: Mutex<u64>,
    released: Condvar,
}

impl Holds {
    fn count(&self) -> MutexGuard<'_, u64> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps the journal from being trimmed.
#[derive(Debug)]
pub(super) struct Hold(Arc<Holds>);

impl Drop for Hold {
    fn drop(&mut self) {
        *self.0.count() -= 1;
        self.0.released.notify_all();
    }
}
