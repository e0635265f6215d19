//! What both files have in common: a format version, and errors that name the file.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use redb::{
    Database, DatabaseError, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition,
    TableError, WriteTransaction,
};

use super::disk::{Disk, Media, SyncWatch};
use super::{journal, tables};
use crate::store::StoreError;

/// In both files, in every version of their formats, for ever.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const FORMAT: &str = "format";

/// The version that this program writes. 1: the first.
pub(super) const FORMAT_VERSION: u64 = 1;

const PROBE_CACHE_BYTES: usize = 4 << 20;

/// One open file.
///
/// redb refuses a file after an error of reading or writing until it is opened anew. That is done here, in place, before the
/// next use: a disk that was full serves again once it has room. Only a failed sync is final.
#[derive(Debug)]
pub(super) struct DbFile {
    /// Shared by every use, exclusive for opening anew. `None` after a failed opening.
    db: RwLock<Option<Database>>,
    refuses: AtomicBool,
    media: Box<dyn Media>,
    name: &'static str,
    cache_bytes: usize,
    path: PathBuf,
    syncs: SyncWatch,
}

impl DbFile {
    /// Opens or creates a file whose version was checked.
    pub(super) fn open(
        media: &dyn Media,
        name: &'static str,
        cache_bytes: usize,
    ) -> Result<DbFile, StoreError> {
        let file = DbFile {
            db: RwLock::new(None),
            refuses: AtomicBool::new(true),
            media: media.share(),
            name,
            cache_bytes,
            path: media.path(name),
            syncs: SyncWatch::default(),
        };
        file.stamp()?;
        Ok(file)
    }

    /// The open database; opened anew if it refuses.
    fn db(&self) -> Result<RwLockReadGuard<'_, Option<Database>>, StoreError> {
        if self.refuses.load(Ordering::Acquire) && !self.syncs.has_failed() {
            self.reopen()?;
        }
        Ok(self.db.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn reopen(&self) -> Result<(), StoreError> {
        let mut db = self.db.write().unwrap_or_else(PoisonError::into_inner);
        if !self.refuses.load(Ordering::Acquire) {
            // Somebody else was faster.
            return Ok(());
        }
        // The old one holds the lock of the file.
        drop(db.take());
        let backend = self.media.open(self.name);
        let backend = backend.map_err(|error| io(&self.path, &error))?;
        let mut builder = Database::builder();
        builder.set_cache_size(self.cache_bytes);
        let opened = builder.create_with_backend(Disk::new(backend, self.syncs.clone()));
        *db = Some(opened.map_err(|error| opening(&self.path, error))?);
        self.refuses.store(false, Ordering::Release);
        Ok(())
    }

    /// Writes the version into a file that has none.
    fn stamp(&self) -> Result<(), StoreError> {
        let version = self.view(|txn| meta(txn, FORMAT))?;
        if version.is_some() {
            return Ok(());
        }
        self.change(|txn| set_meta(txn, FORMAT, FORMAT_VERSION))
    }

    /// Asks within one read transaction.
    pub(super) fn view<T>(
        &self,
        ask: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let db = self.db()?;
        let asked = begin_read(db.as_ref()).and_then(|txn| ask(&txn));
        asked.map_err(|error| self.explain(&error))
    }

    /// Changes within one write transaction; on disk when it returns, unless the change asks for less.
    pub(super) fn change<T>(
        &self,
        change: impl FnOnce(&mut WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let db = self.db()?;
        try_change(db.as_ref(), change).map_err(|error| self.explain(&error))
    }

    /// What this file holds does not add up.
    pub(super) fn damaged(&self, what: impl Into<String>) -> StoreError {
        StoreError::Damaged {
            file: self.path.clone(),
            what: what.into(),
        }
    }

    fn explain(&self, error: &redb::Error) -> StoreError {
        if matches!(error, redb::Error::Io(_) | redb::Error::PreviousIo) {
            self.refuses.store(true, Ordering::Release);
        }
        let (file, cause) = (self.path.clone(), error.to_string());
        match error {
            _ if self.syncs.has_failed() => StoreError::SyncFailed { file, cause },
            redb::Error::Corrupted(_) => StoreError::Damaged { file, what: cause },
            _ => StoreError::Io { file, cause },
        }
    }
}

fn begin_read(db: Option<&Database>) -> Result<ReadTransaction, redb::Error> {
    Ok(db.ok_or(redb::Error::PreviousIo)?.begin_read()?)
}

fn try_change<T>(
    db: Option<&Database>,
    change: impl FnOnce(&mut WriteTransaction) -> Result<T, redb::Error>,
) -> Result<T, redb::Error> {
    let mut txn = db.ok_or(redb::Error::PreviousIo)?.begin_write()?;
    let changed = change(&mut txn)?;
    txn.commit()?;
    Ok(changed)
}

/// A number of the file's `meta` table.
pub(super) fn meta(txn: &ReadTransaction, name: &str) -> Result<Option<u64>, redb::Error> {
    match txn.open_table(META) {
        Ok(table) => Ok(table.get(name)?.map(|number| number.value())),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The same within a write transaction.
pub(super) fn meta_of(txn: &WriteTransaction, name: &str) -> Result<Option<u64>, redb::Error> {
    Ok(txn
        .open_table(META)?
        .get(name)?
        .map(|number| number.value()))
}

/// Sets a number of the file's `meta` table.
pub(super) fn set_meta(txn: &WriteTransaction, name: &str, number: u64) -> Result<(), redb::Error> {
    txn.open_table(META)?.insert(name, number)?;
    Ok(())
}

/// Refuses what a newer version wrote, or one file without the other, before anything is written.
pub(super) fn check_versions(media: &dyn Media) -> Result<(), StoreError> {
    let journal = check_version(media, journal::FILE)?;
    let tables = check_version(media, tables::FILE)?;
    if tables && !journal {
        return Err(StoreError::Damaged {
            file: media.path(journal::FILE),
            what: format!("it is missing although {} is there", tables::FILE),
        });
    }
    Ok(())
}

/// Whether the file is there with a version that this program knows.
fn check_version(media: &dyn Media, name: &str) -> Result<bool, StoreError> {
    if !media.exists(name) {
        return Ok(false);
    }
    let file = media.path(name);
    let backend = media.open(name).map_err(|error| io(&file, &error))?;
    let disk = Disk::untouched(backend).map_err(|error| io(&file, &error))?;
    let mut builder = Database::builder();
    builder.set_cache_size(PROBE_CACHE_BYTES);
    let db = builder
        .create_with_backend(disk)
        .map_err(|error| opening(&file, error))?;
    let read = db.begin_read().map_err(redb::Error::from);
    let version = read.and_then(|txn| meta(&txn, FORMAT));
    match version.map_err(|error| io(&file, &error))? {
        Some(found) if found > FORMAT_VERSION => Err(StoreError::NewerFormat {
            file,
            found,
            known: FORMAT_VERSION,
        }),
        version => Ok(version.is_some()),
    }
}

fn opening(file: &std::path::Path, error: DatabaseError) -> StoreError {
    let file = file.to_owned();
    match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::InUse { file },
        error => StoreError::Io {
            file,
            cause: error.to_string(),
        },
    }
}

fn io(file: &std::path::Path, error: &dyn std::error::Error) -> StoreError {
    StoreError::Io {
        file: file.to_owned(),
        cause: error.to_string(),
    }
}
