//! The embedded store: two redb files in the data directory.
//!
//! - `journal.redb` takes every commit, keyed by one growing position, and is the only thing that an
//!   append waits for. It is kept short.
//! - `tables.redb` holds the same by stream: events, heads and marks, and what only it has: bases and their entries. A thread, the applier, fills it
//!   from the journal in sorted batches, with `applied_to` in the same transaction; only below that the
//!   journal is trimmed.
//!
//! What the applier has not reached is also in memory (the tail). Every question is answered from the
//! tail first and then from the tables: an event leaves the tail only after the tables have it, so in
//! this order nothing is missed.

mod applier;
mod backup;
mod codec;
mod copy;
mod disk;
mod file;
mod journal;
mod pending;
mod regions;
mod sessions;
mod tables;
mod tail;
mod turns;

#[cfg(any(test, feature = "fuzzing"))]
pub(in crate::store) mod fuzzing;

#[cfg(any(test, feature = "simulation"))]
pub(in crate::store) mod simulated;

#[cfg(test)]
mod backup_tests;
#[cfg(test)]
mod cost_tests;
#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod failure_tests;
#[cfg(test)]
mod migration_tests;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use syncline_protocol::{DeviceId, Seq, StreamId, SyncId, UnixMillis};

use super::piece::Piece;
use super::sessions::SessionStore;
use super::{
    Append, Appended, Base, Committed, Conflict, Erased, EventStore, Fold, Folded, Kept, Mark,
    Planted, ReadLimit, Receipt, StoreError, StoredEntry, StreamHead, Tell, Watch,
};
use applier::Applier;
pub use backup::{Compacted, Restored};
use disk::{Directory, Media};
use journal::Journal;
use pending::Pending;
use tables::{ReadEnd, Tables};
use tail::Tail;

/// The limits of a [`RedbStore`].
#[derive(Debug, Clone)]
pub struct RedbOptions {
    /// W of EVENT-10.
    pub mark_window: usize,
    /// Memory for pages of `tables.redb`.
    pub cache_bytes: usize,
    /// Records that the applier may lag behind; appends wait beyond.
    pub lag_events_max: usize,
    /// Payload bytes that the applier may lag behind; appends wait beyond.
    pub lag_bytes_max: usize,
    /// How long the applier gathers records before it writes them, unless many come.
    pub apply_interval: Duration,
    /// Appends are refused while less than this is free where the files are. 0: they never are.
    pub min_free_bytes: u64,
}

impl Default for RedbOptions {
    fn default() -> RedbOptions {
        RedbOptions {
            mark_window: 256,
            cache_bytes: 64 << 20,
            lag_events_max: 32_768,
            lag_bytes_max: 64 << 20,
            apply_interval: Duration::from_millis(50),
            min_free_bytes: 64 << 20,
        }
    }
}

/// A store on disk. Dropping it applies what is left and closes both files.
#[derive(Debug)]
pub struct RedbStore {
    journal: Mutex<Journal>,
    /// An append failed: what it should have written may be in the journal.
    in_doubt: AtomicBool,
    tables: Arc<Tables>,
    applier: Applier,
    media: Box<dyn Media>,
    mark_window: usize,
    min_free_bytes: u64,
}

impl RedbStore {
    /// Opens the store in a directory that exists; creates its files if there are none, migrates those of an older format.
    pub fn open(directory: &Path, options: &RedbOptions) -> Result<RedbStore, StoreError> {
        RedbStore::open_on(&Directory::new(directory), options, Applier::start)
    }

    fn open_on(
        media: &dyn Media,
        options: &RedbOptions,
        applier: impl FnOnce(Arc<Tables>, &Journal, &RedbOptions) -> Result<Applier, StoreError>,
    ) -> Result<RedbStore, StoreError> {
        backup::check_finished(media)?;
        file::check_versions(media)?;
        let journal = Journal::open(media)?;
        // Before the tables: tables without their journal are refused.
        media.sync_names()?;
        let tables = Arc::new(Tables::open(
            media,
            options.cache_bytes,
            options.mark_window,
        )?);
        sessions::make(tables.file())?;
        media.sync_names()?;
        let journal = journal.resume_after(tables.applied_to()?)?;
        apply_remainder(&journal, &tables)?;
        Ok(RedbStore {
            applier: applier(Arc::clone(&tables), &journal, options)?,
            journal: Mutex::new(journal),
            in_doubt: AtomicBool::new(false),
            tables,
            media: media.share(),
            mark_window: options.mark_window,
            min_free_bytes: options.min_free_bytes,
        })
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The committed head of a stream; the tail knows it if the applier lags.
    fn committed_head(&self, stream: &StreamId) -> Result<StreamHead, StoreError> {
        let unapplied = self.applier.tail(|tail| tail.head(stream));
        match unapplied {
            Some(head) => Ok(head),
            None => self.tables.head(stream),
        }
    }

    /// Takes what a failed append has left in the journal after all.
    fn settle_doubt(&self, journal: &mut Journal) -> Result<(), StoreError> {
        if journal.doubts_tables() {
            let applied_to = self.tables.applied_to()?;
            journal.go_on_behind(applied_to);
            self.applier.skip_to(applied_to);
        }
        let found: Vec<_> = journal.in_doubt()?.into_iter().map(Arc::new).collect();
        let mut heads = BTreeMap::new();
        for record in &found {
            let stream = record.stream();
            if !heads.contains_key(stream) {
                heads.insert(stream.clone(), self.committed_head(stream)?);
            }
            heads
                .entry(stream.clone())
                .and_modify(|head| record.advance(head));
        }
        journal.settle(found.len());
        self.in_doubt.store(false, Ordering::Release);
        if !found.is_empty() {
            self.applier.take(found, &heads);
        }
        Ok(())
    }

    fn look_for_doubt(&self) -> Result<(), StoreError> {
        match self.in_doubt.load(Ordering::Acquire) {
            true => self.settle_doubt(&mut self.journal()),
            false => Ok(()),
        }
    }

    fn conflict(&self, batch: &Append) -> Result<Conflict, StoreError> {
        let limit = ReadLimit {
            events: Conflict::TAIL_MAX,
            bytes: usize::MAX,
        };
        match self.read(&batch.stream, batch.expected_head, limit) {
            Ok(tail) => Ok(Conflict { tail }),
            Err(StoreError::Folded { .. }) => Ok(Conflict { tail: Vec::new() }),
            Err(error) => Err(error),
        }
    }

    /// Sorts batches into those that fit and conflicts; what fits is ready for the journal.
    fn prepare(&self, batches: Vec<Append>, next: u64) -> Result<Prepared, StoreError> {
        let mut prepared = Prepared::at(next);
        for batch in batches {
            let head = match prepared.heads.get(&batch.stream) {
                Some(head) => *head,
                None => self.committed_head(&batch.stream)?,
            };
            if !batch.fits(&head) {
                prepared.answers.push(Err(self.conflict(&batch)?));
                continue;
            }
            prepared.take(batch, head);
        }
        Ok(prepared)
    }

    /// One statvfs a commit, a few microseconds beside a sync.
    fn check_space(&self) -> Result<(), StoreError> {
        if self.min_free_bytes == 0 {
            return Ok(());
        }
        let free = self.media.free_bytes()?;
        if free >= self.min_free_bytes {
            return Ok(());
        }
        Err(StoreError::LowSpace {
            directory: self.media.path(""),
            free,
            needed: self.min_free_bytes,
        })
    }
}

impl EventStore for RedbStore {
    fn append(&self, batches: Vec<Append>) -> Result<Vec<Appended>, StoreError> {
        batches.iter().try_for_each(Append::check)?;
        let mut journal = self.journal();
        self.check_space()?;
        self.applier.wait_for_room()?;
        self.settle_doubt(&mut journal)?;
        let prepared = self.prepare(batches, journal.next())?;
        if !prepared.records.is_empty() {
            let appended = journal.append(&prepared.records);
            let doubtful = |error: &StoreError| !error.is_failed_sync();
            let in_doubt = appended.as_ref().is_err_and(doubtful);
            self.in_doubt.store(in_doubt, Ordering::Release);
            appended?;
            self.applier.take(prepared.records, &prepared.heads);
        }
        Ok(prepared.answers)
    }

    fn head(&self, stream: &StreamId) -> Result<StreamHead, StoreError> {
        self.look_for_doubt()?;
        self.committed_head(stream)
    }

    fn mark(&self, stream: &StreamId, device: DeviceId) -> Result<Option<Mark>, StoreError> {
        let unapplied = self.applier.tail(|tail| tail.footprints(stream, device));
        let applied = self.tables.mark(stream, device)?;
        if applied.is_none() && unapplied.is_empty() {
            return Ok(None);
        }
        let mut mark = applied.unwrap_or_default();
        unapplied
            .iter()
            .for_each(|event| mark.absorb(event, self.mark_window));
        Ok(Some(mark.mark))
    }

    fn read(
        &self,
        stream: &StreamId,
        after: Seq,
        limit: ReadLimit,
    ) -> Result<Vec<Committed>, StoreError> {
        let mut piece = Piece::new(after, limit);
        // Ends: the tail reaches to the head; and where the tail does not reach back to the cursor, the
        // tables have something after the cursor or the cursor is the head.
        while !self.applier.tail(|tail| tail.read(stream, &mut piece)) {
            let cursor = piece.cursor();
            match self.tables.read(stream, &mut piece)? {
                ReadEnd::All if piece.cursor() > cursor => {}
                // What came before is whole: the base has moved on since.
                ReadEnd::Folded(kept_after) if cursor == after => {
                    return Err(StoreError::Folded { kept_after });
                }
                _ => break,
            }
        }
        Ok(piece.into_events())
    }

    fn streams(
        &self,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<(StreamId, StreamHead)>, StoreError> {
        let unapplied = self.applier.tail(|tail| tail.streams(after, limit));
        let mut streams: BTreeMap<_, _> = self.tables.streams(after, limit)?.into_iter().collect();
        for (stream, head) in unapplied {
            let known = streams.entry(stream).or_insert(head);
            if head.position > known.position {
                *known = head;
            }
        }
        Ok(streams.into_iter().take(limit).collect())
    }

    fn position(&self) -> Result<u64, StoreError> {
        self.look_for_doubt()?;
        Ok(self.applier.tail(Tail::position))
    }

    fn seq_at(&self, stream: &StreamId, position: u64) -> Result<Seq, StoreError> {
        let unapplied = self.applier.tail(|tail| tail.seq_at(stream, position));
        match unapplied {
            Some(seq) => Ok(seq),
            None => self.tables.seq_at(stream, position),
        }
    }

    fn base(&self, stream: &StreamId) -> Result<Base, StoreError> {
        self.tables.base(stream)
    }

    fn entries(
        &self,
        stream: &StreamId,
        each: &mut dyn FnMut(StoredEntry),
    ) -> Result<Base, StoreError> {
        let (base, entries) = self.tables.entries(stream)?;
        entries.into_iter().for_each(each);
        Ok(base)
    }

    fn fold(&self, fold: Fold) -> Result<Folded, StoreError> {
        fold.check()?;
        let folded = self.tables.fold(&fold)?;
        if folded != Folded::NotYet {
            return Ok(folded);
        }
        if self.committed_head(&fold.stream)?.is_empty() {
            return Ok(Folded::Moved);
        }
        self.applier.hurry()?;
        Ok(Folded::NotYet)
    }

    fn marks(
        &self,
        stream: &StreamId,
        each: &mut dyn FnMut(DeviceId, Mark),
    ) -> Result<(), StoreError> {
        let applied = self.tables.marks(stream)?;
        let unapplied = self.applier.tail(|tail| tail.devices(stream));
        let devices: BTreeSet<DeviceId> = applied.into_iter().chain(unapplied).collect();
        let mut marks = Vec::with_capacity(devices.len());
        for device in devices {
            if let Some(mark) = self.mark(stream, device)? {
                marks.push((device, mark));
            }
        }
        marks
            .into_iter()
            .for_each(|(device, mark)| each(device, mark));
        Ok(())
    }

    fn plant(&self, planted: Planted) -> Result<bool, StoreError> {
        // Nothing is appended meanwhile.
        let mut journal = self.journal();
        self.settle_doubt(&mut journal)?;
        self.applier.drain()?;
        journal.doubt_tables();
        let is_planted = self.tables.plant(&planted)?;
        self.settle_doubt(&mut journal)?;
        Ok(is_planted)
    }

    fn note(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        self.tables.note(name)
    }

    fn set_note(&self, name: &str, note: &[u8]) -> Result<(), StoreError> {
        self.tables.set_note(name, note)
    }

    fn forget_marks(&self, stream: &StreamId, before: UnixMillis) -> Result<usize, StoreError> {
        let spared = self.applier.tail(|tail| tail.devices_since(stream, before));
        self.tables.forget_marks(stream, before, &spared)
    }

    fn erase(&self, sync_id: &SyncId) -> Result<Erased, StoreError> {
        self.erase_group(sync_id)?;
        // Nothing is appended meanwhile.
        let mut journal = self.journal();
        self.settle_doubt(&mut journal)?;
        self.applier.drain()?;
        let trimmer = self.applier.trimmer();
        trimmer.trim_durably(self.tables.applied_to()?)?;
        self.tables.erase(sync_id)
    }

    fn when_dead(&self, tell: Tell) {
        self.journal().file().tell_of_failed_sync(Arc::clone(&tell));
        self.tables.file().tell_of_failed_sync(tell);
    }

    fn watch(&self) -> Watch {
        Box::new(std::iter::empty())
    }

    fn durable(&self) -> Receipt {
        Receipt::new()
    }

    fn mark_window(&self) -> usize {
        self.mark_window
    }
}

/// A commit that is ready but for the disk.
struct Prepared {
    next: u64,
    records: Vec<Arc<Pending>>,
    heads: BTreeMap<StreamId, StreamHead>,
    answers: Vec<Appended>,
}

impl Prepared {
    fn at(next: u64) -> Prepared {
        Prepared {
            next,
            records: Vec::new(),
            heads: BTreeMap::new(),
            answers: Vec::new(),
        }
    }

    /// Takes a batch that fits the head.
    fn take(&mut self, batch: Append, mut head: StreamHead) {
        if let Some(control) = batch.control(&head) {
            let what = pending::What::Control(control);
            self.push(
                Pending {
                    position: self.next,
                    what,
                },
                &mut head,
            );
        }
        let mut committed = Vec::with_capacity(batch.records.len());
        for record in &batch.records {
            let record = Pending::event(self.next, record);
            committed.extend(record.committed().cloned());
            self.push(record, &mut head);
        }
        self.heads.insert(batch.stream, head);
        self.answers.push(Ok(Kept {
            receipt: Receipt::new(),
            committed,
        }));
    }

    fn push(&mut self, record: Pending, head: &mut StreamHead) {
        record.advance(head);
        self.records.push(Arc::new(record));
        self.next += 1;
    }
}

/// What a crash left in the journal goes into the tables before anything is served.
fn apply_remainder(journal: &Journal, tables: &Tables) -> Result<(), StoreError> {
    loop {
        let applied_to = tables.applied_to()?;
        let records = journal.read(applied_to, applier::BATCH_RECORDS_MAX)?;
        let Some(last) = records.last().map(|record| record.position) else {
            return journal.trimmer().trim(applied_to);
        };
        tracing::debug!(records = records.len(), last, "applied from the journal");
        let records: Vec<_> = records.into_iter().map(Arc::new).collect();
        tables.apply(&records)?;
    }
}
