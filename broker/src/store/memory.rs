//! A store without a disk, for tests and simulators.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use syncline_protocol::{DeviceId, Seq, StreamId};

use super::piece::Piece;
use super::{
    Append, Appended, Committed, Conflict, EventStore, Footprint, Kept, Mark, ReadLimit, Receipt,
    Record, StoreError, StreamHead, Watch,
};

/// Keeps everything in memory. What a disk would hold can be frozen and opened again.
#[derive(Debug)]
pub struct MemoryStore {
    disk: Arc<Mutex<Disk>>,
    mark_window: usize,
}

#[derive(Debug, Default)]
struct Disk {
    streams: Image,
    frozen: Option<Image>,
}

type Image = BTreeMap<StreamId, Log>;

#[derive(Debug, Clone)]
struct Log {
    head: StreamHead,
    events: Vec<Committed>,
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
        disk.frozen = Some(disk.streams.clone());
    }

    /// What a new process would find on the disk.
    pub fn reopen(&self) -> MemoryStore {
        let mut disk = self.disk();
        if let Some(frozen) = disk.frozen.take() {
            disk.streams = frozen;
        }
        MemoryStore {
            disk: Arc::clone(&self.disk),
            mark_window: self.mark_window,
        }
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventStore for MemoryStore {
    fn append(&self, batches: Vec<Append>) -> Result<Vec<Appended>, StoreError> {
        batches.iter().try_for_each(Append::check)?;
        let mut disk = self.disk();
        Ok(batches
            .into_iter()
            .map(|batch| disk.append(batch, self.mark_window))
            .collect())
    }

    fn head(&self, stream: &StreamId) -> Result<StreamHead, StoreError> {
        let disk = self.disk();
        Ok(disk
            .streams
            .get(stream)
            .map_or(StreamHead::EMPTY, |log| log.head))
    }

    fn mark(&self, stream: &StreamId, device: DeviceId) -> Result<Option<Mark>, StoreError> {
        let disk = self.disk();
        Ok(disk
            .streams
            .get(stream)
            .and_then(|log| log.marks.get(&device))
            .cloned())
    }

    fn read(
        &self,
        stream: &StreamId,
        after: Seq,
        limit: ReadLimit,
    ) -> Result<Vec<Committed>, StoreError> {
        Ok(self
            .disk()
            .streams
            .get(stream)
            .map_or_else(Vec::new, |log| log.read(after, limit)))
    }

    fn streams(
        &self,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<(StreamId, StreamHead)>, StoreError> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let disk = self.disk();
        let found = disk
            .streams
            .range::<StreamId, _>((start, Bound::Unbounded))
            .take(limit);
        Ok(found
            .map(|(stream, log)| (stream.clone(), log.head))
            .collect())
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

impl Disk {
    fn append(&mut self, batch: Append, mark_window: usize) -> Appended {
        let head = self
            .streams
            .get(&batch.stream)
            .map_or(StreamHead::EMPTY, |log| log.head);
        if !batch.fits(&head) {
            let limit = ReadLimit {
                events: Conflict::TAIL_MAX,
                bytes: usize::MAX,
            };
            let log = self
                .streams
                .get(&batch.stream)
                .filter(|_| head.seq > batch.expected_head);
            let tail = log.map_or_else(Vec::new, |log| log.read(batch.expected_head, limit));
            return Err(Conflict { tail });
        }
        let log = self.streams.entry(batch.stream).or_insert_with(Log::new);
        let before = log.events.len();
        for Record { event, hash } in &batch.records {
            let footprint = Footprint::of(event, *hash);
            log.head.advance(&footprint);
            log.events.push(Committed::of(event));
            let mark = log.marks.entry(event.device).or_insert_with(Mark::new);
            mark.absorb(&footprint, mark_window);
        }
        Ok(Kept {
            receipt: Receipt::new(),
            committed: log.events[before..].to_vec(),
        })
    }
}

impl Log {
    fn new() -> Log {
        Log {
            head: StreamHead::EMPTY,
            events: Vec::new(),
            marks: HashMap::new(),
        }
    }

    fn read(&self, after: Seq, limit: ReadLimit) -> Vec<Committed> {
        let end = self.events.len();
        let from = usize::try_from(after.get()).map_or(end, |after| after.min(end));
        let mut piece = Piece::new(after, limit);
        piece.extend(self.events[from..].iter());
        piece.into_events()
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
