//! A store without a disk, for tests and simulators.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use syncline_protocol::{DeviceId, Seq, StreamId, SyncId, UnixMillis};

use super::piece::Piece;
use super::{
    Append, Appended, Base, Committed, Conflict, Erased, EventStore, Fold, Folded, Footprint, Kept,
    Mark, Planted, ReadLimit, Receipt, Record, StoreError, StoredEntry, StreamHead, Watch,
};

/// Keeps everything in memory. What a disk would hold can be frozen and opened again.
#[derive(Debug)]
pub struct MemoryStore {
    disk: Arc<Mutex<Disk>>,
    mark_window: usize,
}

#[derive(Debug, Default)]
struct Disk {
    now: Image,
    frozen: Option<Image>,
}

#[derive(Debug, Clone, Default)]
struct Image {
    position: u64,
    streams: BTreeMap<StreamId, Log>,
    notes: BTreeMap<String, Bytes>,
}

#[derive(Debug, Clone)]
struct Log {
    head: StreamHead,
    base: Base,
    /// Of the event at the base's seq.
    base_position: u64,
    entries: BTreeMap<(String, String), Bytes>,
    /// Those after the base.
    events: VecDeque<Committed>,
    marks: HashMap<DeviceId, Mark>,
}

impl MemoryStore {
    /// An empty store whose marks keep `mark_window` hashes.
    pub fn new(mark_window: usize) -> MemoryStore {
        MemoryStore {
            disk: Arc::default(),
            mark_window,
        }
    }

    /// From now on nothing reaches the disk although appends succeed: a disk that lies, or one that
    /// is rolled back later. [`MemoryStore::reopen`] shows what was there at this moment.
    pub fn freeze_durability(&self) {
        let mut disk = self.disk();
        disk.frozen = Some(disk.now.clone());
    }

    /// What a new process would find on the disk.
    pub fn reopen(&self) -> MemoryStore {
        let mut disk = self.disk();
        if let Some(frozen) = disk.frozen.take() {
            disk.now = frozen;
        }
        MemoryStore {
            disk: Arc::clone(&self.disk),
            mark_window: self.mark_window,
        }
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks a stream's log, if there is one.
    fn ask<T>(&self, stream: &StreamId, ask: impl FnOnce(&Log) -> T) -> Option<T> {
        self.disk().now.streams.get(stream).map(ask)
    }
}

impl EventStore for MemoryStore {
    fn append(&self, batches: Vec<Append>) -> Result<Vec<Appended>, StoreError> {
        batches.iter().try_for_each(Append::check)?;
        let mut disk = self.disk();
        Ok(batches
            .into_iter()
            .map(|batch| disk.now.append(batch, self.mark_window))
            .collect())
    }

    fn head(&self, stream: &StreamId) -> Result<StreamHead, StoreError> {
        let head = self.ask(stream, |log| log.head);
        Ok(head.unwrap_or(StreamHead::EMPTY))
    }

    fn mark(&self, stream: &StreamId, device: DeviceId) -> Result<Option<Mark>, StoreError> {
        let mark = self.ask(stream, |log| log.marks.get(&device).cloned());
        Ok(mark.flatten())
    }

    fn read(
        &self,
        stream: &StreamId,
        after: Seq,
        limit: ReadLimit,
    ) -> Result<Vec<Committed>, StoreError> {
        let read = self.ask(stream, |log| log.read(after, limit));
        read.unwrap_or_else(|| Ok(Vec::new()))
    }

    fn streams(
        &self,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<(StreamId, StreamHead)>, StoreError> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let disk = self.disk();
        let found = disk
            .now
            .streams
            .range::<StreamId, _>((start, Bound::Unbounded))
            .take(limit);
        Ok(found
            .map(|(stream, log)| (stream.clone(), log.head))
            .collect())
    }

    fn position(&self) -> Result<u64, StoreError> {
        Ok(self.disk().now.position)
    }

    fn seq_at(&self, stream: &StreamId, position: u64) -> Result<Seq, StoreError> {
        let seq = self.ask(stream, |log| log.seq_at(position));
        Ok(seq.unwrap_or(Seq::ZERO))
    }

    fn base(&self, stream: &StreamId) -> Result<Base, StoreError> {
        let base = self.ask(stream, |log| log.base.clone());
        Ok(base.unwrap_or(Base::EMPTY))
    }

    fn entries(
        &self,
        stream: &StreamId,
        each: &mut dyn FnMut(StoredEntry),
    ) -> Result<Base, StoreError> {
        let read = self.ask(stream, |log| (log.base.clone(), log.entries.clone()));
        let (base, entries) = read.unwrap_or((Base::EMPTY, BTreeMap::new()));
        for ((collection, key), entry) in entries {
            each(StoredEntry {
                collection,
                key,
                entry,
            });
        }
        Ok(base)
    }

    fn fold(&self, fold: Fold) -> Result<Folded, StoreError> {
        fold.check()?;
        let mut disk = self.disk();
        let log = disk.now.streams.get_mut(&fold.stream);
        Ok(log.map_or(Folded::Moved, |log| log.fold(fold)))
    }

    fn marks(
        &self,
        stream: &StreamId,
        each: &mut dyn FnMut(DeviceId, Mark),
    ) -> Result<(), StoreError> {
        let marks = self
            .ask(stream, |log| log.marks.clone())
            .unwrap_or_default();
        let marks: BTreeMap<_, _> = marks.into_iter().collect();
        marks
            .into_iter()
            .for_each(|(device, mark)| each(device, mark));
        Ok(())
    }

    fn plant(&self, planted: Planted) -> Result<bool, StoreError> {
        Ok(self.disk().now.plant(planted))
    }

    fn note(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        Ok(self.disk().now.notes.get(name).cloned())
    }

    fn set_note(&self, name: &str, note: &[u8]) -> Result<(), StoreError> {
        let note = Bytes::copy_from_slice(note);
        self.disk().now.notes.insert(name.to_owned(), note);
        Ok(())
    }

    fn forget_marks(&self, stream: &StreamId, before: UnixMillis) -> Result<usize, StoreError> {
        let mut disk = self.disk();
        let Some(log) = disk.now.streams.get_mut(stream) else {
            return Ok(0);
        };
        let marks = log.marks.len();
        log.marks.retain(|_, mark| mark.accepted_at >= before);
        Ok(marks - log.marks.len())
    }

    fn erase(&self, sync_id: &SyncId) -> Result<Erased, StoreError> {
        Ok(self.disk().now.erase(sync_id))
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

impl Image {
    fn append(&mut self, batch: Append, mark_window: usize) -> Appended {
        let known = self.streams.get(&batch.stream);
        let head = known.map_or(StreamHead::EMPTY, |log| log.head);
        if !batch.fits(&head) {
            return Err(conflict(known, &batch));
        }
        if batch.records.is_empty() && head.is_empty() {
            return Ok(kept(Vec::new()));
        }
        let control = batch.control(&head);
        let log = self.streams.entry(batch.stream).or_insert_with(Log::new);
        if let Some(control) = control {
            self.position += 1;
            log.head.obey(&control);
            log.head.position = self.position;
        }
        let before = log.events.len();
        for record in &batch.records {
            self.position += 1;
            log.push(record, self.position, mark_window);
        }
        Ok(kept(log.events.range(before..).cloned().collect()))
    }

    fn plant(&mut self, planted: Planted) -> bool {
        if self.streams.contains_key(&planted.stream) {
            return false;
        }
        self.position += 1;
        let position = self.position;
        let events = planted.events.iter();
        let entries = planted.entries.into_iter();
        let log = Log {
            head: StreamHead {
                position,
                ..planted.head
            },
            base: planted.base,
            base_position: position,
            entries: entries
                .map(|it| ((it.collection, it.key), it.entry))
                .collect(),
            events: events
                .map(|record| Committed::of(&record.event, position))
                .collect(),
            marks: planted.marks.into_iter().collect(),
        };
        self.streams.insert(planted.stream, log);
        true
    }

    fn erase(&mut self, sync_id: &SyncId) -> Erased {
        let mut erased = Erased::default();
        self.streams.retain(|stream, log| {
            let goes = stream.sync_id == *sync_id;
            if goes {
                erased.streams += 1;
                erased.events += log.events.len() as u64;
                erased.entries += log.entries.len() as u64;
                erased.marks += log.marks.len() as u64;
            }
            !goes
        });
        erased
    }
}

fn kept(committed: Vec<Committed>) -> Kept {
    Kept {
        receipt: Receipt::new(),
        committed,
    }
}

fn conflict(log: Option<&Log>, batch: &Append) -> Conflict {
    let limit = ReadLimit {
        events: Conflict::TAIL_MAX,
        bytes: usize::MAX,
    };
    let tail = log.and_then(|log| log.read(batch.expected_head, limit).ok());
    Conflict {
        tail: tail.unwrap_or_default(),
    }
}

impl Log {
    fn new() -> Log {
        Log {
            head: StreamHead::EMPTY,
            base: Base::EMPTY,
            base_position: 0,
            entries: BTreeMap::new(),
            events: VecDeque::new(),
            marks: HashMap::new(),
        }
    }

    fn push(&mut self, Record { event, hash }: &Record, position: u64, mark_window: usize) {
        let footprint = Footprint::of(event, *hash);
        self.head.advance(&footprint);
        self.head.position = position;
        self.events.push_back(Committed::of(event, position));
        let mark = self.marks.entry(event.device).or_insert_with(Mark::new);
        mark.absorb(&footprint, mark_window);
    }

    fn read(&self, after: Seq, limit: ReadLimit) -> Result<Vec<Committed>, StoreError> {
        let kept_after = self.base.seq;
        if after < kept_after {
            return Err(StoreError::Folded { kept_after });
        }
        let end = self.events.len();
        let skip = after.get() - kept_after.get();
        let from = usize::try_from(skip).map_or(end, |skip| skip.min(end));
        let mut piece = Piece::new(after, limit);
        piece.extend(self.events.range(from..));
        Ok(piece.into_events())
    }

    fn seq_at(&self, position: u64) -> Seq {
        let had = self
            .events
            .partition_point(|event| event.position() <= position);
        match had.checked_sub(1) {
            Some(last) => self.events[last].seq(),
            None if position >= self.base_position => self.base.seq,
            None => Seq::ZERO,
        }
    }

    fn fold(&mut self, fold: Fold) -> Folded {
        if self.base.seq != fold.from {
            return Folded::Moved;
        }
        if fold.base.seq > self.head.horizon {
            return Folded::NotYet;
        }
        for key in &fold.removes {
            self.entries.remove(key);
        }
        for put in fold.puts {
            self.entries.insert((put.collection, put.key), put.entry);
        }
        while self
            .events
            .front()
            .is_some_and(|event| event.seq() <= fold.base.seq)
            && let Some(gone) = self.events.pop_front()
        {
            self.base_position = gone.position();
        }
        self.base = fold.base;
        Folded::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::{self, Harness, WINDOW, append, batch, contract_suite, stream};

    struct Memory(MemoryStore);

    impl Harness for Memory {
        fn store(&self) -> &dyn EventStore {
            &self.0
        }

        fn reopen(&mut self) {
            self.0 = self.0.reopen();
        }
    }

    contract_suite!(Memory(MemoryStore::new(WINDOW)));

    #[test]
    fn frozen_durability_loses_what_followed() {
        let (store, home) = (MemoryStore::new(WINDOW), stream("home"));
        append(&store, batch(&home, 1, 2));
        store.freeze_durability();
        append(&store, batch(&home, 3, 4));
        assert_eq!(contract::read_all(&store, &home), [1, 2, 3, 4]);
        assert_eq!(contract::read_all(&store.reopen(), &home), [1, 2]);
    }
}
