//! What both files have in common: a format version, reopening in place, and errors that name the file.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError, RwLock};
use std::time::Duration;

use redb::{
    Database, DatabaseError, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition,
    TableError, WriteTransaction,
};

use super::copy::Target;
use super::disk::{Disk, Media, SyncWatch};
use super::turns::Turns;
use super::{journal, tables};
use crate::store::StoreError;

/// In both files, in every version of their formats, for ever.
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
pub(super) const FORMAT: &str = "format";

/// The version that this program writes. 1: the first. 2: positions, horizons, bases, control records.
pub(super) const FORMAT_VERSION: u64 = 2;

const PROBE_CACHE_BYTES: usize = 4 << 20;

/// How often, and how far apart, a reader looks whether a file that failed serves again: two seconds in all.
const READ_TRIES: u32 = 20;
const READ_PAUSE: Duration = Duration::from_millis(100);

/// One open file.
///
/// redb refuses a file after an error of reading or writing until it is opened anew. That is done here, in place, before the
/// next use: a disk that was full serves again once it has room. Until then whoever reads does so from the file as it is.
/// Only a failed sync is final.
#[derive(Debug)]
pub(in crate::store) struct DbFile {
    /// Shared by every use, exclusive for opening anew.
    db: RwLock<Open>,
    refuses: AtomicBool,
    media: Box<dyn Media>,
    name: &'static str,
    settings: Settings,
    path: PathBuf,
    syncs: SyncWatch,
    turns: Turns,
    /// For readers between two tries.
    reopened: (Mutex<()>, Condvar),
}

/// How a file is used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) cache_bytes: usize,
    /// Every commit leaves the file so that it opens quickly after a crash, at a price.
    pub(super) quick_repair: bool,
}

#[derive(Debug)]
enum Open {
    Closed,
    Serving(Database),
    /// What it would take to write failed; changes are kept away from the disk and nobody makes any.
    ReadOnly(Database),
}

/// Changes a file of an older format within the transaction that stamps it with the new one.
pub(super) type Migrate = fn(&WriteTransaction, from: u64) -> Result<(), redb::Error>;

impl DbFile {
    /// Opens or creates a file whose version was checked; brings it to the present format.
    pub(super) fn open(
        media: &dyn Media,
        name: &'static str,
        settings: Settings,
        migrate: Migrate,
    ) -> Result<DbFile, StoreError> {
        if !media.exists(name) {
            create(media, name)?;
        }
        let file = DbFile {
            db: RwLock::new(Open::Closed),
            refuses: AtomicBool::new(true),
            media: media.share(),
            name,
            settings,
            path: media.path(name),
            syncs: SyncWatch::default(),
            turns: Turns::default(),
            reopened: Default::default(),
        };
        file.reopen_to_write()?;
        file.stamp(migrate)?;
        Ok(file)
    }

    /// Writes the version into a file that has none or an older one.
    fn stamp(&self, migrate: Migrate) -> Result<(), StoreError> {
        match self.view(|txn| meta(txn, FORMAT))? {
            Some(FORMAT_VERSION) => Ok(()),
            None => self.change(|txn| set_meta(txn, FORMAT, FORMAT_VERSION)),
            Some(from) => {
                tracing::info!(file = %self.path.display(), from, to = FORMAT_VERSION, "migrating");
                self.change(|txn| {
                    migrate(txn, from)?;
                    set_meta(txn, FORMAT, FORMAT_VERSION)
                })
            }
        }
    }

    /// Asks within one read transaction, again after an error that opening the file anew can mend. Must not ask this
    /// file within it.
    pub(in crate::store) fn view<T>(
        &self,
        mut ask: impl FnMut(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let mut tries = 1;
        loop {
            let answer = self.look(&mut ask);
            match answer {
                Err(StoreError::Io { .. }) if tries < READ_TRIES => self.pause(),
                answer => return answer,
            }
            tries += 1;
        }
    }

    /// Asks once, whatever happens: for what takes long or cannot be asked again.
    pub(super) fn look<T>(
        &self,
        ask: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        self.serve_again()?;
        let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
        let asked = begin_read(&db).and_then(|txn| ask(&txn));
        asked.map_err(|error| self.explain(&error))
    }

    /// Changes within one write transaction; on disk when it returns, unless the change asks for less. Writers take turns.
    pub(in crate::store) fn change<T>(
        &self,
        change: impl FnOnce(&mut WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let _turn = self.turns.take();
        self.serve_again()?;
        self.reopen_to_write()?;
        let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
        self.try_change(&db, change)
            .map_err(|error| self.explain(&error))
    }

    fn try_change<T>(
        &self,
        db: &Open,
        change: impl FnOnce(&mut WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, redb::Error> {
        let Open::Serving(db) = db else {
            return Err(redb::Error::PreviousIo);
        };
        let mut txn = db.begin_write()?;
        txn.set_quick_repair(self.settings.quick_repair);
        let changed = change(&mut txn)?;
        txn.commit()?;
        Ok(changed)
    }

    /// Opens a file that refuses anew, at least for reading.
    fn serve_again(&self) -> Result<(), StoreError> {
        if !self.refuses.load(Ordering::Acquire) || self.syncs.has_failed() {
            return Ok(());
        }
        let mut db = self.db.write().unwrap_or_else(PoisonError::into_inner);
        if !self.refuses.load(Ordering::Acquire) {
            // Somebody else was faster.
            return Ok(());
        }
        // The old one holds the lock of the file.
        *db = Open::Closed;
        *db = match self.open_to_write() {
            Ok(opened) => Open::Serving(opened),
            Err(error) => {
                tracing::debug!(%error, "opened for reading alone");
                Open::ReadOnly(self.open_to_read()?)
            }
        };
        self.refuses.store(false, Ordering::Release);
        self.reopened.1.notify_all();
        Ok(())
    }

    /// Opens a file that serves readers alone, or nobody yet, for everybody.
    fn reopen_to_write(&self) -> Result<(), StoreError> {
        let serves = |db: &Open| matches!(db, Open::Serving(_));
        if self.syncs.has_failed()
            || serves(&self.db.read().unwrap_or_else(PoisonError::into_inner))
        {
            return Ok(());
        }
        let mut db = self.db.write().unwrap_or_else(PoisonError::into_inner);
        if serves(&db) {
            return Ok(());
        }
        *db = Open::Closed;
        self.refuses.store(true, Ordering::Release);
        *db = Open::Serving(self.open_to_write()?);
        self.refuses.store(false, Ordering::Release);
        self.reopened.1.notify_all();
        Ok(())
    }

    fn open_to_write(&self) -> Result<Database, StoreError> {
        let backend = self.media.open(self.name);
        let backend = backend.map_err(|error| io(&self.path, &error))?;
        self.open_on(Disk::new(backend, self.syncs.clone()))
    }

    fn open_to_read(&self) -> Result<Database, StoreError> {
        let backend = self.media.open(self.name).and_then(Disk::untouched);
        self.open_on(backend.map_err(|error| io(&self.path, &error))?)
    }

    fn open_on(&self, disk: Disk) -> Result<Database, StoreError> {
        let mut builder = Database::builder();
        builder.set_cache_size(self.settings.cache_bytes);
        let opened = builder.create_with_backend(disk);
        opened.map_err(|error| opening(&self.path, error))
    }

    /// Until somebody has opened the file, or for a moment.
    fn pause(&self) {
        let lock = self.reopened.0.lock();
        let lock = lock.unwrap_or_else(PoisonError::into_inner);
        let waited = self.reopened.1.wait_timeout(lock, READ_PAUSE);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
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

/// Makes a file under another name first: redb cannot open what a crash leaves of the making.
fn create(media: &dyn Media, name: &str) -> Result<(), StoreError> {
    let target = Target::create(media, name)?;
    target.commit(|txn| set_meta(txn, FORMAT, FORMAT_VERSION))?;
    target.finish()
}

fn begin_read(db: &Open) -> Result<ReadTransaction, redb::Error> {
    match db {
        Open::Closed => Err(redb::Error::PreviousIo),
        Open::Serving(db) | Open::ReadOnly(db) => Ok(db.begin_read()?),
    }
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

pub(super) fn io(file: &std::path::Path, error: &dyn std::error::Error) -> StoreError {
    StoreError::Io {
        file: file.to_owned(),
        cause: error.to_string(),
    }
}
