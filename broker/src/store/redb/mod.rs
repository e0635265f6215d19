//! The embedded store: two redb files in the data directory.
//!
//! - `journal.redb` takes every commit, keyed by one growing position, and is the only thing that an
//!   append waits for. It is kept short.
//! - `tables.redb` holds the same by stream: events, heads and marks. A thread, the applier, fills it
//!   from the journal in sorted batches, with `applied_to` in the same transaction; only below that the
//!   journal is trimmed.
//!
//! What the applier has not reached is also in memory (the tail). Every question is answered from the
//! tail first and then from the tables: an event leaves the tail only after the tables have it, so in
//! this order nothing is missed.

mod applier;
mod codec;
mod disk;
mod file;
mod journal;
mod sessions;
mod tables;
mod tail;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod failing;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use syncline_protocol::{DeviceId, Seq, StreamId};

use super::piece::Piece;
use super::{
    Append, Appended, Committed, Conflict, EventStore, Footprint, Kept, Mark, ReadLimit, Receipt,
    StoreError, StreamHead, Watch,
};
use applier::{Applier, Pending};
use disk::{Directory, Media};
use journal::Journal;
use tables::Tables;

/// The limits of a [`RedbStore`].
#[derive(Debug, Clone)]
pub struct RedbOptions {
    /// W of EVENT-10.
    pub mark_window: usize,
    /// Memory for pages of `tables.redb`.
    pub cache_bytes: usize,
    /// Events that the applier may lag behind; appends wait beyond.
    pub lag_events_max: usize,
    /// Payload bytes that the applier may lag behind; appends wait beyond.
    pub lag_bytes_max: usize,
    /// How long the applier gathers events before it writes them, unless many come.
    pub apply_interval: Duration,
}

impl Default for RedbOptions {
    fn default() -> RedbOptions {
        RedbOptions {
            mark_window: 256,
            cache_bytes: 64 << 20,
            lag_events_max: 65_536,
            lag_bytes_max: 64 << 20,
            apply_interval: Duration::from_millis(50),
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
    mark_window: usize,
}

impl RedbStore {
    /// Opens the store in a directory that exists; creates its files if there are none.
    pub fn open(directory: &Path, options: &RedbOptions) -> Result<RedbStore, StoreError> {
        RedbStore::open_on(&Directory::new(directory), options)
    }

    fn open_on(media: &dyn Media, options: &RedbOptions) -> Result<RedbStore, StoreError> {
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
        let applier = Applier::start(Arc::clone(&tables), journal.trimmer(), options)?;
        let mark_window = options.mark_window;
        Ok(RedbStore {
            journal: Mutex::new(journal),
            in_doubt: AtomicBool::new(false),
            tables,
            applier,
            mark_window,
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
        let found = journal.in_doubt()?;
        let mut heads = BTreeMap::new();
        for Pending {
            event, footprint, ..
        } in &found
        {
            let stream = event.stream();
            if !heads.contains_key(stream) {
                heads.insert(stream.clone(), self.committed_head(stream)?);
            }
            heads
                .entry(stream.clone())
                .and_modify(|head| head.advance(footprint));
        }
        journal.settle(found.len());
        self.in_doubt.store(false, Ordering::Release);
        if let Some(first) = found.first().map(|event| event.position) {
            let events = found
                .into_iter()
                .map(|it| (it.event, it.footprint))
                .collect();
            self.applier.take(first, events, &heads);
        }
        Ok(())
    }

    fn conflict(&self, batch: &Append) -> Result<Conflict, StoreError> {
        let limit = ReadLimit {
            events: Conflict::TAIL_MAX,
            bytes: usize::MAX,
        };
        let tail = self.read(&batch.stream, batch.expected_head, limit)?;
        Ok(Conflict { tail })
    }

    /// Sorts batches into those that fit and conflicts; what fits is ready for the journal.
    fn prepare(&self, batches: Vec<Append>) -> Result<Prepared, StoreError> {
        let mut prepared = Prepared::default();
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
}

impl EventStore for RedbStore {
    fn append(&self, batches: Vec<Append>) -> Result<Vec<Appended>, StoreError> {
        batches.iter().try_for_each(Append::check)?;
        let mut journal = self.journal();
        self.applier.wait_for_room()?;
        self.settle_doubt(&mut journal)?;
        let prepared = self.prepare(batches)?;
        if !prepared.events.is_empty() {
            let appended = journal.append(&prepared.events);
            let doubtful = |error: &StoreError| !error.is_failed_sync();
            let in_doubt = appended.as_ref().is_err_and(doubtful);
            self.in_doubt.store(in_doubt, Ordering::Release);
            let first = appended?;
            self.applier.take(first, prepared.events, &prepared.heads);
        }
        Ok(prepared.answers)
    }

    fn head(&self, stream: &StreamId) -> Result<StreamHead, StoreError> {
        if self.in_doubt.load(Ordering::Acquire) {
            self.settle_doubt(&mut self.journal())?;
        }
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
            let had_room = self.tables.read(stream, &mut piece)?;
            if !had_room || piece.cursor() == cursor {
                break;
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
            if head.seq > known.seq {
                *known = head;
            }
        }
        Ok(streams.into_iter().take(limit).collect())
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
#[derive(Default)]
struct Prepared {
    events: Vec<(Committed, Footprint)>,
    heads: BTreeMap<StreamId, StreamHead>,
    answers: Vec<Appended>,
}

impl Prepared {
    /// Takes a batch that fits the head.
    fn take(&mut self, batch: Append, mut head: StreamHead) {
        let mut committed = Vec::with_capacity(batch.records.len());
        for record in &batch.records {
            let footprint = Footprint::of(&record.event, record.hash);
            let event = Committed::of(&record.event);
            head.advance(&footprint);
            committed.push(event.clone());
            self.events.push((event, footprint));
        }
        self.heads.insert(batch.stream, head);
        self.answers.push(Ok(Kept {
            receipt: Receipt::new(),
            committed,
        }));
    }
}

/// What a crash left in the journal goes into the tables before anything is served.
fn apply_remainder(journal: &Journal, tables: &Tables) -> Result<(), StoreError> {
    loop {
        let applied_to = tables.applied_to()?;
        let events = journal.read(applied_to, applier::BATCH_EVENTS_MAX)?;
        let Some(last) = events.last().map(|event| event.position) else {
            return journal.trimmer().trim(applied_to);
        };
        tracing::debug!(events = events.len(), last, "applied from the journal");
        let events: Vec<&Pending> = events.iter().collect();
        tables.apply(&events)?;
    }
}
