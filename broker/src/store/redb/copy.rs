//! Copies of whole files, row by row: what they hold arrives, what they once held does not.

use std::ops::Bound;

use redb::{
    Database, Durability, Key, ReadTransaction, TableDefinition, TableError, Value,
    WriteTransaction,
};

use super::disk::{Disk, Media, SyncWatch};
use super::file::{META, io};
use super::journal;
use super::regions;
use super::tables::COPIED;
use crate::store::{Stop, StoreError};

/// Rows in one commit. No commit but the last is waited for.
const STEP_ROWS: usize = 4096;

/// What failed: where the rows come from, or where they go.
pub(super) enum CopyError {
    From(redb::Error),
    To(redb::Error),
    /// Nobody wants it any more.
    Stopped(StoreError),
}

impl CopyError {
    /// For within a transaction of the file that the rows come from: its own errors are that file's.
    pub(super) fn sort(
        copied: Result<(), CopyError>,
        target: &Target,
    ) -> Result<Result<(), StoreError>, redb::Error> {
        match copied {
            Ok(()) => Ok(Ok(())),
            Err(CopyError::From(error)) => Err(error),
            Err(CopyError::To(error)) => Ok(Err(target.explain(&error))),
            Err(CopyError::Stopped(error)) => Ok(Err(error)),
        }
    }
}

/// A new file under way. It has its name only when it is finished.
pub(super) struct Target {
    db: Database,
    name: String,
    media: Box<dyn Media>,
    syncs: SyncWatch,
    stop: Stop,
}

impl Target {
    /// Begins a file in place of one that was never finished.
    pub(super) fn create(media: &dyn Media, name: &str) -> Result<Target, StoreError> {
        Self::create_unless(media, name, Stop::default())
    }

    /// One whose copying ends when it is ordered to.
    pub(super) fn create_unless(
        media: &dyn Media,
        name: &str,
        stop: Stop,
    ) -> Result<Target, StoreError> {
        let unfinished = unfinished(name);
        let path = media.path(&unfinished);
        if media.exists(&unfinished) {
            let removed = media.remove(&unfinished);
            removed.map_err(|error| io(&path, &error))?;
        }
        let backend = media.open(&unfinished);
        let backend = backend.map_err(|error| io(&path, &error))?;
        let syncs = SyncWatch::default();
        let opened = Database::builder().create_with_backend(Disk::making(backend, syncs.clone()));
        Ok(Target {
            db: opened.map_err(|error| io(&path, &error))?,
            name: name.to_owned(),
            media: media.share(),
            syncs,
            stop,
        })
    }

    /// One commit that is waited for, with all before it.
    pub(super) fn commit(
        &self,
        change: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), StoreError> {
        let committed = self.db.begin_write().map_err(redb::Error::from);
        let committed = committed.and_then(|txn| {
            change(&txn)?;
            Ok(txn.commit()?)
        });
        committed.map_err(|error| self.explain(&error))
    }

    /// Gives the file its name. Durable with the media's names.
    pub(super) fn finish(self) -> Result<(), StoreError> {
        let Target {
            db, name, media, ..
        } = self;
        drop(db);
        let renamed = media.rename(&unfinished(&name), &name);
        renamed.map_err(|error| io(&media.path(&name), &error))
    }

    /// Removes what there is of the file. What cannot be removed is in nobody's way: it has not its name.
    pub(super) fn abandon(self) {
        let Target {
            db, name, media, ..
        } = self;
        drop(db);
        if let Err(error) = media.remove(&unfinished(&name)) {
            tracing::debug!(%error, "an unfinished copy was not removed");
        }
    }

    /// Gives free pages back to the file system.
    pub(super) fn shrink(&mut self) -> Result<(), StoreError> {
        loop {
            match self.db.compact() {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(error) => return Err(io(&self.media.path(&self.name), &error)),
            }
        }
    }

    pub(super) fn explain(&self, error: &redb::Error) -> StoreError {
        let file = self.media.path(&self.name);
        let cause = error.to_string();
        match self.syncs.has_failed() {
            true => StoreError::SyncFailed { file, cause },
            false => StoreError::Io { file, cause },
        }
    }

    /// Copies what the tables' file holds, in the state of one transaction.
    pub(super) fn take_tables(&self, from: &ReadTransaction) -> Result<(), CopyError> {
        self.take(from, META)?;
        COPIED.iter().try_for_each(|copy| copy(self, from))
    }

    /// Copies the journal's records after a position.
    pub(super) fn take_records(&self, from: &ReadTransaction, after: u64) -> Result<(), CopyError> {
        self.take_range(from, journal::RECORDS, |table| table.range(after + 1..))
    }

    /// Copies a table, if it is there.
    pub(super) fn take<K: Key + 'static, V: Value + 'static>(
        &self,
        from: &ReadTransaction,
        table: TableDefinition<'_, K, V>,
    ) -> Result<(), CopyError> {
        self.take_range(from, table, redb::ReadableTable::iter)
    }

    fn take_range<K: Key + 'static, V: Value + 'static>(
        &self,
        from: &ReadTransaction,
        table: TableDefinition<'_, K, V>,
        rows: impl FnOnce(
            &redb::ReadOnlyTable<K, V>,
        ) -> Result<redb::Range<'_, K, V>, redb::StorageError>,
    ) -> Result<(), CopyError> {
        let source = match from.open_table(table) {
            Ok(source) => source,
            Err(TableError::TableDoesNotExist(_)) => return Ok(()),
            Err(error) => return Err(CopyError::From(error.into())),
        };
        let mut rows = rows(&source).map_err(|error| CopyError::From(error.into()))?;
        while self.take_step(table, &mut rows)? {}
        Ok(())
    }

    /// Says whether there may be more.
    fn take_step<K: Key + 'static, V: Value + 'static>(
        &self,
        table: TableDefinition<'_, K, V>,
        rows: &mut redb::Range<'_, K, V>,
    ) -> Result<bool, CopyError> {
        let mut txn = self.db.begin_write().map_err(to)?;
        txn.set_durability(Durability::None).map_err(to)?;
        let mut copied = 0;
        {
            // Rows come in order: a run at the end fills its pages.
            let mut target = txn.open_table(table).map_err(to)?;
            let end = target.upper_bound_mut(Bound::<K::SelfType<'_>>::Unbounded);
            let mut end = end.map_err(to)?;
            for row in rows.take(STEP_ROWS) {
                self.stop.check().map_err(CopyError::Stopped)?;
                let (key, value) = row.map_err(|error| CopyError::From(error.into()))?;
                let value = value.value();
                regions::check_row(V::as_bytes(&value).as_ref().len()).map_err(to)?;
                end.insert_before(key.value(), value).map_err(to)?;
                copied += 1;
            }
            end.close().map_err(to)?;
        }
        txn.commit().map_err(to)?;
        Ok(copied == STEP_ROWS)
    }
}

fn to<E: Into<redb::Error>>(error: E) -> CopyError {
    CopyError::To(error.into())
}

fn unfinished(name: &str) -> String {
    format!("{name}.new")
}
