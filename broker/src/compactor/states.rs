//! The cache of states: per stream one, brought up to the head when asked, forgotten by least use over a budget.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use syncline_protocol::{Schema, Seq, StreamId};

use super::held::Held;
use super::replay::damaged;
use super::{EncodedSnapshot, Want};
use crate::store::{EventStore, StoreError, StreamHead};

/// How often a head is read again because the base has overtaken it.
const ATTEMPTS_MAX: usize = 8;

/// Why a state could not be made.
#[derive(Debug, thiserror::Error)]
pub enum StatesError {
    /// The log could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The state as of this seq cannot be made any more, or not yet (VIEW-7).
    #[error("the states of {stream} are kept from seq {first} to seq {last}")]
    NotKept {
        /// Of which stream.
        stream: StreamId,
        /// The horizon.
        first: Seq,
        /// The head.
        last: Seq,
    },
    /// The store holds what is no entry, no event, or not the next one: it is damaged.
    #[error("{stream}: what is stored after seq {seq} cannot be applied: {reason}")]
    Damaged {
        /// In which stream.
        stream: StreamId,
        /// After which place.
        seq: Seq,
        /// What is wrong with it.
        reason: String,
    },
}

/// The states of all streams, as far as somebody asks for them.
pub struct States {
    store: Arc<dyn EventStore>,
    bytes_max: usize,
    cache: Mutex<Cache>,
}

struct Cache {
    /// What the streams are read by.
    schema: Arc<Schema>,
    streams: HashMap<StreamId, Cached>,
    bytes: usize,
    uses: u64,
}

struct Cached {
    held: Arc<Mutex<Held>>,
    bytes: usize,
    last_use: u64,
}

impl States {
    /// Of the streams of a store, as a schema reads them. Keeps about `bytes_max` bytes of them in memory.
    pub fn new(store: Arc<dyn EventStore>, schema: Arc<Schema>, bytes_max: usize) -> Self {
        Self {
            store,
            bytes_max,
            cache: Mutex::new(Cache {
                schema,
                streams: HashMap::new(),
                bytes: 0,
                uses: 0,
            }),
        }
    }

    /// By what the streams are read.
    pub fn schema(&self) -> Arc<Schema> {
        Arc::clone(&lock(&self.cache).schema)
    }

    /// From now on they are read by another schema, which adds to the one before. To be called before the first event that
    /// counts for what is new.
    pub fn adopt(&self, schema: Arc<Schema>) {
        let mut cache = lock(&self.cache);
        cache.schema = schema;
        cache.streams.clear();
        cache.bytes = 0;
    }

    /// The state at the store's head; for [`Want::Since`] the cheapest opening, which can be at the seq that is known.
    /// An empty stream has one too, at seq 0.
    pub fn snapshot(
        &self,
        stream: &StreamId,
        want: Want,
    ) -> Result<Arc<EncodedSnapshot>, StatesError> {
        self.at_head(stream, |held, head| held.snapshot(stream, head, want))
    }

    /// The full state as of a seq from the horizon to the head (VIEW-7).
    pub fn at(&self, stream: &StreamId, seq: Seq) -> Result<Arc<EncodedSnapshot>, StatesError> {
        let head = self.store.head(stream)?;
        if seq < head.horizon || seq > head.seq {
            return Err(not_kept(stream, &head));
        }
        // Of its own, so that whoever looks at the past does not throw the present out.
        let mut held = Held::new(self.schema());
        held.bring_to(&*self.store, stream, &head, seq)?;
        if held.at_seq() != seq {
            // The horizon overtook it meanwhile.
            return Err(not_kept(stream, &self.store.head(stream)?));
        }
        Ok(held.snapshot(stream, &head, Want::Full))
    }

    /// The full state at the horizon: what stands for the events that may be gone (VIEW-3).
    pub fn horizon_state(&self, stream: &StreamId) -> Result<Arc<EncodedSnapshot>, StatesError> {
        let head = self.store.head(stream)?;
        match self.at(stream, head.horizon) {
            // It rose in between, or the stream was erased.
            Err(StatesError::NotKept { first, .. }) => self.at(stream, first),
            other => other,
        }
    }

    /// Where a counter stands at the store's head; 0 if it was never counted (STATE-10).
    pub fn counter(
        &self,
        stream: &StreamId,
        collection: &str,
        key: &str,
    ) -> Result<i64, StatesError> {
        self.at_head(stream, |held, _| held.counter(collection, key))
    }

    /// How far a stream's farthest counter is from 0 at the store's head.
    pub fn farthest_counter(&self, stream: &StreamId) -> Result<u64, StatesError> {
        self.at_head(stream, |held, _| held.farthest_counter())
    }

    /// Roughly the bytes of memory that a stream's state takes at the store's head, and whether there is an entry, by collection and
    /// key.
    pub fn size(
        &self,
        stream: &StreamId,
        entry: Option<(&str, &str)>,
    ) -> Result<(usize, bool), StatesError> {
        self.at_head(stream, |held, _| {
            let is_live = entry.is_some_and(|(collection, key)| held.has(collection, key));
            (held.state_bytes(), is_live)
        })
    }

    /// The store has collected the tombstones up to `floor`; the last of them changed at `removed_floor`.
    pub(super) fn collect(&self, stream: &StreamId, floor: Seq, removed_floor: Seq) {
        let held = {
            let cache = lock(&self.cache);
            let cached = cache.streams.get(stream);
            cached.map(|cached| Arc::clone(&cached.held))
        };
        if let Some(held) = held {
            let bytes = {
                let mut held = lock(&held);
                held.collect(floor, removed_floor);
                held.bytes()
            };
            self.weigh(stream, bytes);
        }
    }

    /// The head is asked for under the lock, so that it is never behind what others brought the state to.
    fn at_head<T>(
        &self,
        stream: &StreamId,
        ask: impl FnOnce(&mut Held, &StreamHead) -> T,
    ) -> Result<T, StatesError> {
        loop {
            let held = self.held(stream);
            let (answer, bytes) = {
                let mut held = lock(&held);
                let head = self.bring_to_head(stream, &mut held);
                if !Arc::ptr_eq(held.schema(), &self.schema()) {
                    // Another schema was adopted meanwhile, and the head may be one that counts by it.
                    continue;
                }
                (head.map(|head| ask(&mut held, &head)), held.bytes())
            };
            self.weigh(stream, bytes);
            return answer;
        }
    }

    /// The head that it was brought to. A base that moves on meanwhile can begin it anew above the head that was read.
    fn bring_to_head(&self, stream: &StreamId, held: &mut Held) -> Result<StreamHead, StatesError> {
        for _ in 0..ATTEMPTS_MAX {
            let head = self.store.head(stream)?;
            held.bring_to(&*self.store, stream, &head, head.seq)?;
            if held.at_seq() <= head.seq {
                return Ok(head);
            }
        }
        Err(damaged(stream, held.at_seq(), "its base is above its head"))
    }

    #[cfg(test)]
    pub(super) fn cached(&self) -> (usize, usize) {
        let cache = lock(&self.cache);
        (cache.streams.len(), cache.bytes)
    }

    fn held(&self, stream: &StreamId) -> Arc<Mutex<Held>> {
        let mut cache = lock(&self.cache);
        cache.uses += 1;
        let last_use = cache.uses;
        let Cache {
            schema, streams, ..
        } = &mut *cache;
        let cached = streams.entry(stream.clone()).or_insert_with(|| {
            let held = Held::new(Arc::clone(schema));
            Cached {
                held: Arc::new(Mutex::new(held)),
                bytes: 0,
                last_use,
            }
        });
        cached.last_use = last_use;
        Arc::clone(&cached.held)
    }

    /// Accounts what a stream's state weighs now and forgets others until the budget holds.
    fn weigh(&self, stream: &StreamId, now: usize) {
        let mut cache = lock(&self.cache);
        if now == 0 {
            cache.forget(stream);
            return;
        }
        let Cache { streams, bytes, .. } = &mut *cache;
        if let Some(cached) = streams.get_mut(stream) {
            *bytes = *bytes + now - cached.bytes;
            cached.bytes = now;
        }
        if cache.bytes > self.bytes_max {
            cache.shrink(self.bytes_max - self.bytes_max / 8);
        }
    }
}

impl Cache {
    /// Forgets what was used least, but never the last one. Well below the budget, so that the sorting is paid once per
    /// many streams.
    fn shrink(&mut self, bytes_max: usize) {
        let by_use = self.streams.iter();
        let mut by_use: Vec<_> = by_use
            .map(|(stream, cached)| (cached.last_use, stream.clone()))
            .collect();
        by_use.sort_unstable_by_key(|(last_use, _)| *last_use);
        by_use.pop();
        for (_, stream) in by_use {
            if self.bytes <= bytes_max {
                break;
            }
            self.forget(&stream);
        }
    }

    fn forget(&mut self, stream: &StreamId) {
        if let Some(cached) = self.streams.remove(stream) {
            self.bytes -= cached.bytes;
        }
    }
}

fn not_kept(stream: &StreamId, head: &StreamHead) -> StatesError {
    StatesError::NotKept {
        stream: stream.clone(),
        first: head.horizon,
        last: head.seq,
    }
}

/// A panic while a lock was held leaves a cache that is at worst behind: the next pull brings it up.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;
    use std::thread;
    use std::time::{Duration, Instant};

    fn schema(toml: &str) -> Arc<Schema> {
        Arc::new(Schema::parse(toml).unwrap())
    }

    #[test]
    fn schema_5_who_waited_while_a_schema_was_adopted_is_answered_by_it() {
        let music = schema(include_str!("../../../config/schemas/music.toml"));
        let states = Arc::new(States::new(
            Arc::new(MemoryStore::new(8)),
            schema(""),
            1 << 20,
        ));
        let stream: StreamId = StreamId {
            sync_id: "home".parse().unwrap(),
            channel: None,
        };
        let held = states.held(&stream);
        let others = lock(&held);
        let asker = thread::spawn({
            let (states, stream) = (Arc::clone(&states), stream.clone());
            move || states.snapshot(&stream, Want::Full).unwrap()
        });
        let deadline = Instant::now() + Duration::from_secs(20);
        // Ours, the cache's, and the asker's.
        while Arc::strong_count(&held) < 3 {
            assert!(Instant::now() < deadline, "nobody asks");
            thread::yield_now();
        }
        states.adopt(Arc::clone(&music));
        drop(others);
        let answer = asker.join().unwrap();
        assert_eq!(answer.snapshot().schema, music.hash());
    }
}
