//! The cache of states: per stream one, brought up to the head when asked, forgotten by least use over a budget.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use syncline_protocol::event::Event;
use syncline_protocol::{Schema, Seq, Snapshot, State, StreamId};

use super::{EncodedSnapshot, Want};
use crate::store::{Committed, EventStore, ReadLimit, StoreError};

/// How much of the log is read at a time.
const READ: ReadLimit = ReadLimit {
    events: 1_024,
    bytes: 1 << 20,
};

/// What a state is taken to cost in memory beside its entries.
const STATE_BYTES: usize = 256;

/// Why a state could not be made.
#[derive(Debug, thiserror::Error)]
pub enum StatesError {
    /// The log could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log holds what is no event, or not the next one: it is damaged.
    #[error("{stream}: the event after {seq} cannot be applied: {reason}")]
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
    schema: Arc<Schema>,
    bytes_max: usize,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    streams: HashMap<StreamId, Cached>,
    bytes: usize,
    uses: u64,
}

struct Cached {
    held: Arc<Mutex<Held>>,
    bytes: usize,
    last_use: u64,
}

struct Held {
    state: State,
    full: Option<Arc<EncodedSnapshot>>,
}

impl States {
    /// Of the streams of a store, as a schema reads them. Keeps about `bytes_max` bytes of them in memory.
    pub fn new(store: Arc<dyn EventStore>, schema: Arc<Schema>, bytes_max: usize) -> Self {
        Self {
            store,
            schema,
            bytes_max,
            cache: Mutex::default(),
        }
    }

    /// The state at the store's head. An empty stream has one too, at seq 0.
    pub fn snapshot(
        &self,
        stream: &StreamId,
        want: Want,
    ) -> Result<Arc<EncodedSnapshot>, StatesError> {
        let held = self.held(stream);
        let (snapshot, bytes) = {
            let mut held = lock(&held);
            self.catch_up(stream, &mut held)?;
            (held.snapshot(stream, want), held.bytes())
        };
        self.weigh(stream, bytes);
        Ok(snapshot)
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
        let cached = cache.streams.entry(stream.clone()).or_insert_with(|| {
            let state = State::new(Arc::clone(&self.schema));
            Cached {
                held: Arc::new(Mutex::new(Held { state, full: None })),
                bytes: 0,
                last_use,
            }
        });
        cached.last_use = last_use;
        Arc::clone(&cached.held)
    }

    fn catch_up(&self, stream: &StreamId, held: &mut Held) -> Result<(), StatesError> {
        let head = self.store.head(stream)?;
        if held.state.seq() > Seq::ZERO && held.state.epoch() != head.epoch {
            held.state = State::new(Arc::clone(&self.schema));
        }
        while held.state.seq() < head.seq {
            let after = held.state.seq();
            let events = self.store.read(stream, after, READ)?;
            if events.is_empty() {
                return Err(damaged(stream, after, "it is missing"));
            }
            events
                .iter()
                .try_for_each(|committed| held.apply(stream, committed))?;
        }
        Ok(())
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

impl Held {
    /// What it weighs. Nothing while its stream is empty: such a state is made in no time, and anybody can name a million
    /// streams that do not exist.
    fn bytes(&self) -> usize {
        if self.state.seq() == Seq::ZERO {
            return 0;
        }
        let state = STATE_BYTES + self.state.bytes();
        // A full snapshot holds everything once more, and so do its encodings together.
        match self.full {
            None => state,
            Some(_) => 3 * state,
        }
    }

    fn apply(&mut self, stream: &StreamId, committed: &Committed) -> Result<(), StatesError> {
        let after = self.state.seq();
        let event = Event::decode(committed.payload())
            .map_err(|error| damaged(stream, after, &error.to_string()))?;
        self.state
            .apply(&event)
            .map_err(|error| damaged(stream, after, &error.to_string()))?;
        Ok(())
    }

    fn snapshot(&mut self, stream: &StreamId, want: Want) -> Arc<EncodedSnapshot> {
        let delta = match want {
            Want::Since { seq, epoch }
                if epoch == self.state.epoch() && seq <= self.state.seq() =>
            {
                seq
            }
            _ => Seq::ZERO,
        };
        if delta > Seq::ZERO {
            return Arc::new(EncodedSnapshot::new(Snapshot::of(
                &self.state,
                stream.clone(),
                delta,
            )));
        }
        let current = self
            .full
            .take()
            .filter(|full| full.snapshot().seq == self.state.seq());
        let full = current
            .filter(|full| full.snapshot().epoch == self.state.epoch())
            .unwrap_or_else(|| {
                Arc::new(EncodedSnapshot::new(Snapshot::of(
                    &self.state,
                    stream.clone(),
                    Seq::ZERO,
                )))
            });
        self.full = Some(Arc::clone(&full));
        full
    }
}

fn damaged(stream: &StreamId, seq: Seq, reason: &str) -> StatesError {
    StatesError::Damaged {
        stream: stream.clone(),
        seq,
        reason: reason.to_owned(),
    }
}

/// A panic while a lock was held leaves a cache that is at worst behind: the next pull brings it up.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
