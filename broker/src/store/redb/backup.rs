//! Copies of a store: taken while it serves, and made a data directory again.

use std::path::Path;
use std::sync::Arc;

use redb::{Database, ReadTransaction, ReadableDatabase};
use syncline_protocol::Epoch;

use super::copy::{CopyError, Target};
use super::disk::{Directory, Disk, Media};
use super::file::{DbFile, FORMAT, FORMAT_VERSION, check_versions, io, meta, set_meta};
use super::journal::{self, Journal};
use super::pending::{Pending, What};
use super::tables::{self, Tables};
use super::{RedbOptions, RedbStore, applier};
use crate::store::{Control, Stop, StoreError};

/// In the `meta` table of a backup: it is one, and has the journal's records beside the tables.
const COPY: &str = "copy";

/// A file of this name says that the directory holds a restoration that was not finished.
const MARKER: &str = "restoring";

/// What a restored directory holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// Streams, each at the beginning of a new epoch.
    pub streams: u64,
}

impl RedbStore {
    /// Writes a consistent copy of everything that was acknowledged into one new file, which takes the place of an older one only
    /// when it is complete and on disk. Meanwhile the store serves; its journal and the pages that the copy reads
    /// are kept, so its files may grow. Ordered to `stop`, it leaves nothing behind; killed, only a file of another name, which
    /// nobody takes for a backup.
    pub fn backup(&self, path: &Path, stop: &Stop) -> Result<(), StoreError> {
        let refused = || StoreError::BadBackup {
            file: path.to_owned(),
            why: "it does not name a file of its own",
        };
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(refused)?;
        if [journal::FILE, tables::FILE, MARKER].contains(&name) {
            return Err(refused());
        }
        let directory = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        self.backup_on(&Directory::new(directory), name, stop)
    }

    pub(super) fn backup_on(
        &self,
        media: &dyn Media,
        name: &str,
        stop: &Stop,
    ) -> Result<(), StoreError> {
        // Before the hold: who erases keeps the journal and waits for holds.
        let journal = Arc::clone(self.journal().file());
        let _hold = self.applier.trimmer().hold();
        let target = Target::create_unless(media, name, stop.clone())?;
        if let Err(error) = self.fill_backup(&target, &journal) {
            target.abandon();
            return Err(error);
        }
        target.finish()?;
        media.sync_names()
    }

    fn fill_backup(&self, target: &Target, journal: &DbFile) -> Result<(), StoreError> {
        let mut applied_to = 0;
        self.tables.file().look(|txn| {
            applied_to = tables::applied_to(txn)?;
            CopyError::sort(target.take_tables(txn), target)
        })??;
        journal.look(|txn| CopyError::sort(target.take_records(txn, applied_to), target))??;
        target.commit(|txn| {
            set_meta(txn, FORMAT, FORMAT_VERSION)?;
            set_meta(txn, COPY, 1)
        })
    }

    /// Makes a data directory of a backup: the directory exists and holds no store. Every stream begins an epoch there (EPOCH-1), each
    /// with one of `epochs`, which gives random ones. A restoration that was cut is begun again by the same call; until it is
    /// finished, no store opens there.
    pub fn restore(
        backup: &Path,
        directory: &Path,
        epochs: impl FnMut() -> Epoch,
    ) -> Result<Restored, StoreError> {
        let source = Directory::new(backup.parent().unwrap_or(Path::new("")));
        let name = backup.file_name().and_then(|name| name.to_str());
        let name = name.filter(|_| backup.is_file());
        let name = name.ok_or_else(|| StoreError::BadBackup {
            file: backup.to_owned(),
            why: "there is no such file",
        })?;
        restore_on(&source, name, &Directory::new(directory), epochs)
    }
}

/// No store opens in a directory that is being restored.
pub(super) fn check_finished(media: &dyn Media) -> Result<(), StoreError> {
    match media.exists(MARKER) {
        false => Ok(()),
        true => Err(StoreError::Unfinished {
            directory: media.path(""),
        }),
    }
}

pub(super) fn restore_on(
    source: &dyn Media,
    name: &str,
    media: &dyn Media,
    epochs: impl FnMut() -> Epoch,
) -> Result<Restored, StoreError> {
    let backup = Backup::open(source, name)?;
    clear(media)?;
    backup.copy_tables(media)?;
    let journal = Journal::open(media)?;
    let tables = Tables::open(media, RedbOptions::default().cache_bytes, usize::MAX)?;
    backup.apply_records(&tables)?;
    let restored = begin_epochs(&tables, epochs)?;
    drop((journal, tables));
    media.sync_names()?;
    remove(media, MARKER)?;
    media.sync_names()?;
    Ok(restored)
}

/// Leaves a directory with the marker and no store, unless somebody else's is there.
fn clear(media: &dyn Media) -> Result<(), StoreError> {
    let files = [journal::FILE, tables::FILE];
    if media.exists(MARKER) {
        for file in files.into_iter().filter(|file| media.exists(file)) {
            remove(media, file)?;
        }
        return Ok(());
    }
    if files.into_iter().any(|file| media.exists(file)) {
        return Err(StoreError::Occupied {
            directory: media.path(""),
        });
    }
    let marked = media.open(MARKER);
    marked.map_err(|error| io(&media.path(MARKER), &error))?;
    media.sync_names()
}

fn remove(media: &dyn Media, name: &str) -> Result<(), StoreError> {
    let removed = media.remove(name);
    removed.map_err(|error| io(&media.path(name), &error))
}

/// A backup, open for reading; the file stays as it is.
struct Backup {
    db: Database,
    file: std::path::PathBuf,
}

impl Backup {
    fn open(source: &dyn Media, name: &str) -> Result<Backup, StoreError> {
        let file = source.path(name);
        let backend = source.open(name).and_then(Disk::untouched);
        let backend = backend.map_err(|error| io(&file, &error))?;
        let opened = Database::builder().create_with_backend(backend);
        let db = opened.map_err(|_| not_a_backup(&file))?;
        let backup = Backup { db, file };
        backup.check()?;
        Ok(backup)
    }

    fn check(&self) -> Result<(), StoreError> {
        let numbers = |txn: &ReadTransaction| Ok((meta(txn, FORMAT)?, meta(txn, COPY)?));
        match self.look(numbers)? {
            (Some(found), _) if found > FORMAT_VERSION => Err(StoreError::NewerFormat {
                file: self.file.clone(),
                found,
                known: FORMAT_VERSION,
            }),
            (Some(FORMAT_VERSION), Some(_)) => Ok(()),
            _ => Err(not_a_backup(&self.file)),
        }
    }

    fn look<T>(
        &self,
        ask: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let asked = self.db.begin_read().map_err(redb::Error::from);
        let asked = asked.and_then(|txn| ask(&txn));
        asked.map_err(|error| io(&self.file, &error))
    }

    fn copy_tables(&self, media: &dyn Media) -> Result<(), StoreError> {
        let target = Target::create(media, tables::FILE)?;
        self.look(|txn| CopyError::sort(target.take_tables(txn), &target))??;
        target.commit(|txn| tables::remove_meta(txn, COPY))?;
        target.finish()
    }

    fn apply_records(&self, tables: &Tables) -> Result<(), StoreError> {
        loop {
            let applied_to = tables.applied_to()?;
            let rows = self
                .look(|txn| journal::records_after(txn, applied_to, applier::BATCH_RECORDS_MAX))?;
            let damaged = |what| StoreError::Damaged {
                file: self.file.clone(),
                what,
            };
            let records = journal::in_order(applied_to, rows).map_err(damaged)?;
            if records.is_empty() {
                return Ok(());
            }
            let records: Vec<_> = records.into_iter().map(Arc::new).collect();
            tables.apply(&records)?;
        }
    }
}

fn not_a_backup(file: &Path) -> StoreError {
    StoreError::BadBackup {
        file: file.to_owned(),
        why: "it is not a backup of a store",
    }
}

/// As if each stream's next record had begun an epoch (EPOCH-2).
fn begin_epochs(
    tables: &Tables,
    mut epochs: impl FnMut() -> Epoch,
) -> Result<Restored, StoreError> {
    let mut restored = Restored { streams: 0 };
    let mut last = None;
    loop {
        let streams = tables.streams(last.as_ref(), applier::BATCH_RECORDS_MAX)?;
        let Some((stream, _)) = streams.last() else {
            return Ok(restored);
        };
        last = Some(stream.clone());
        restored.streams += streams.len() as u64;
        let next = tables.applied_to()? + 1;
        let records = (next..).zip(streams).map(|(position, (stream, head))| {
            let epoch = epochs();
            let control = Control {
                stream,
                epoch,
                horizon: head.horizon,
            };
            match epoch == Epoch::NONE || epoch == head.epoch {
                true => Err(StoreError::BadAppend("an epoch that is none, or not new")),
                false => Ok(Arc::new(Pending {
                    position,
                    what: What::Control(control),
                })),
            }
        });
        tables.apply(&records.collect::<Result<Vec<_>, _>>()?)?;
    }
}

/// What became of the files of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compacted {
    /// Bytes of both files before.
    pub before: u64,
    /// Bytes of both files now.
    pub after: u64,
}

impl RedbStore {
    /// Writes the files of a directory that nobody serves anew: as short as they can be, and without a trace of what was removed from
    /// them. Needs room for a second copy.
    pub fn compact_files(directory: &Path, options: &RedbOptions) -> Result<Compacted, StoreError> {
        compact_on(&Directory::new(directory), options)
    }
}

pub(super) fn compact_on(
    media: &dyn Media,
    options: &RedbOptions,
) -> Result<Compacted, StoreError> {
    let before = bytes_of(media)?;
    // What the journal has goes into the tables.
    drop(RedbStore::open_on(media, options, applier::Applier::start)?);
    check_versions(media)?;
    rewrite(media, tables::FILE, Target::take_tables)?;
    rewrite(media, journal::FILE, |target, txn| {
        target.take(txn, super::file::META)?;
        target.take_records(txn, 0)
    })?;
    media.sync_names()?;
    let after = bytes_of(media)?;
    Ok(Compacted { before, after })
}

fn bytes_of(media: &dyn Media) -> Result<u64, StoreError> {
    let mut bytes = 0;
    for name in [journal::FILE, tables::FILE] {
        if media.exists(name) {
            let len = media.open(name).and_then(|file| file.len());
            bytes += len.map_err(|error| io(&media.path(name), &error))?;
        }
    }
    Ok(bytes)
}

fn rewrite(
    media: &dyn Media,
    name: &'static str,
    copy: impl FnOnce(&Target, &ReadTransaction) -> Result<(), CopyError>,
) -> Result<(), StoreError> {
    let settings = super::file::Settings {
        cache_bytes: RedbOptions::default().cache_bytes,
        quick_repair: false,
    };
    let source = super::file::DbFile::open(media, name, settings, |_, _| Ok(()))?;
    let mut target = Target::create(media, name)?;
    source.look(|txn| CopyError::sort(copy(&target, txn), &target))??;
    target.commit(|txn| set_meta(txn, FORMAT, FORMAT_VERSION))?;
    target.shrink()?;
    drop(source);
    target.finish()
}
