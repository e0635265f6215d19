//! One stream's state in memory, with what was made of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use syncline_protocol::planted::{Planted, planted};
use syncline_protocol::schema::Kind;
use syncline_protocol::{Digest, Entry, Epoch, Schema, Seq, Snapshot, State, StreamId};

use super::recent::Recent;
use super::replay::{self, Follower};
use super::{EncodedSnapshot, StatesError, Want};
use crate::store::{Committed, EventStore, StreamHead};

/// What a collection takes besides its entries: its name, its maps, its digest. An estimate, held against the memory of a
/// process that has many small states (`cargo xtask bench log many`).
const COLLECTION_BYTES: usize = 768;

/// A state that follows its stream.
pub(super) struct Held {
    state: State,
    /// Of this state: tombstones that changed up to here may be missing in it (SNAP-3).
    removed_floor: Seq,
    recent: Recent,
    full: Option<Arc<EncodedSnapshot>>,
}

impl Follower for Held {
    fn seq(&self) -> Seq {
        self.state.seq()
    }

    fn take(&mut self, stream: &StreamId, committed: &Committed) -> Result<(), StatesError> {
        let operation = replay::apply(&mut self.state, stream, committed)?;
        let bytes = committed.payload().len();
        self.recent.push(&self.state, bytes, operation.as_ref());
        Ok(())
    }

    fn begin_anew(&mut self, store: &dyn EventStore, stream: &StreamId) -> Result<(), StatesError> {
        let (base, state) = replay::at_base(store, self.state.schema(), stream)?;
        *self = Held::at(state);
        self.removed_floor = base.removed_floor;
        Ok(())
    }
}

impl Held {
    /// Of a stream of which nothing was read yet.
    pub(super) fn new(schema: Arc<Schema>) -> Held {
        Held::at(State::new(schema))
    }

    fn at(state: State) -> Held {
        Held {
            removed_floor: Seq::ZERO,
            recent: Recent::of(&state),
            full: None,
            state,
        }
    }

    /// By what it is read.
    pub(super) fn schema(&self) -> &Arc<Schema> {
        self.state.schema()
    }

    /// Up to where it is.
    pub(super) fn at_seq(&self) -> Seq {
        self.state.seq()
    }

    /// Brings it to a seq that is kept: from the horizon to the head.
    pub(super) fn bring_to(
        &mut self,
        store: &dyn EventStore,
        stream: &StreamId,
        head: &StreamHead,
        to: Seq,
    ) -> Result<(), StatesError> {
        // Another epoch can be another history; and an erased stream begins again at 1.
        let is_other = self.state.seq() > Seq::ZERO && self.state.epoch() != head.epoch;
        if is_other || self.state.seq() > to {
            *self = Held::new(Arc::clone(self.state.schema()));
        }
        if self.state.seq() == Seq::ZERO && head.horizon > Seq::ZERO {
            self.begin_anew(store, stream)?;
        }
        replay::follow(store, stream, self, to)?;
        // EPOCH-2: an epoch may have begun here. A state as of a place before it is told as one of the present history, too.
        if self.state.seq() == to && self.state.epoch() != head.epoch {
            self.state.begin_epoch(head.epoch);
        }
        Ok(())
    }

    /// HORIZON-5: what the store has collected goes here, too.
    pub(super) fn collect(&mut self, floor: Seq, removed_floor: Seq) {
        if self.state.seq() < floor {
            return;
        }
        self.state.collect(floor);
        self.removed_floor = self.removed_floor.max(removed_floor);
        self.full = None;
    }

    /// What it weighs. Nothing while its stream is empty: such a state is made in no time, and anybody can name a million
    /// streams that do not exist.
    pub(super) fn bytes(&self) -> usize {
        if self.state.seq() == Seq::ZERO {
            return 0;
        }
        let collections = self.state.schema().collections().len();
        let state = self.state.bytes() + COLLECTION_BYTES * collections;
        // A full snapshot holds every entry once more, and its encodings, which come later, about as much.
        let full = self
            .full
            .as_ref()
            .map(|full| state + full.encoded_bytes().max(state));
        size_of::<Held>() + state + self.recent.bytes() + full.unwrap_or(0)
    }

    /// At the seq that it was brought to; `head` is the stream's.
    pub(super) fn snapshot(
        &mut self,
        stream: &StreamId,
        head: &StreamHead,
        want: Want,
    ) -> Arc<EncodedSnapshot> {
        let less = match want {
            _ if planted(Planted::OpeningAlwaysFull) => None,
            Want::Full => None,
            Want::Since { seq, epoch } => self.less_than_full(stream, head, seq, epoch),
        };
        match less {
            Some(less) => Arc::new(EncodedSnapshot::new(less)),
            None => self.full(stream, head.seq),
        }
    }

    /// SNAP-7: an empty delta or a delta, whichever is possible and costs fewer bytes.
    fn less_than_full(
        &self,
        stream: &StreamId,
        head: &StreamHead,
        seq: Seq,
        epoch: Epoch,
    ) -> Option<Snapshot> {
        let at = self.state.seq();
        if epoch != self.state.epoch() || seq > at || seq == Seq::ZERO {
            return None;
        }
        let is_kept = seq >= head.horizon;
        let events = is_kept.then(|| self.recent.bytes_after(seq, at)).flatten();
        if events == Some(0) {
            return self.empty_at(stream, seq);
        }
        if seq < self.removed_floor && !planted(Planted::DeltaBelowFloor) {
            return events.and_then(|_| self.empty_at(stream, seq));
        }
        let delta = Snapshot::of(&self.state, stream.clone(), seq);
        if events.is_some_and(|events| events < cost(&delta)) {
            return self.empty_at(stream, seq);
        }
        // One with everything in it is the full state, which is encoded once for all.
        let entries: usize = delta.collections.values().map(BTreeMap::len).sum();
        (entries < self.state.entry_count()).then_some(delta)
    }

    /// An opening at the client's own seq: the events follow.
    fn empty_at(&self, stream: &StreamId, seq: Seq) -> Option<Snapshot> {
        let head = self.state.seq();
        let digests = self.recent.digests_at(seq, head)?;
        let mut digest = Digest::default();
        digests.values().for_each(|of_one| digest.add(*of_one));
        let none = digests.keys().map(|name| (name.clone(), BTreeMap::new()));
        Some(Snapshot {
            stream: stream.clone(),
            epoch: self.state.epoch(),
            seq,
            since: seq,
            head,
            digest,
            schema: self.state.schema().hash(),
            part: 1,
            parts: 1,
            collections: none.collect(),
            digests,
            mark: None,
        })
    }

    fn full(&mut self, stream: &StreamId, head: Seq) -> Arc<EncodedSnapshot> {
        let at = (self.state.seq(), self.state.epoch());
        let known = self.full.take();
        let current = known.filter(|full| (full.snapshot().seq, full.snapshot().epoch) == at);
        let full = current.unwrap_or_else(|| {
            let full = Snapshot::of(&self.state, stream.clone(), Seq::ZERO);
            Arc::new(EncodedSnapshot::new(Snapshot { head, ..full }))
        });
        self.full = Some(Arc::clone(&full));
        full
    }

    /// STATE-10: where a counter stands; 0 if it was never counted.
    pub(super) fn counter(&self, collection: &str, key: &str) -> i64 {
        let entry = self.state.entry(collection, key);
        let value = entry.and_then(|entry| entry.value()?.as_i64());
        value.unwrap_or(0)
    }

    /// Whether there is an entry that was not removed.
    pub(super) fn has(&self, collection: &str, key: &str) -> bool {
        let entry = self.state.entry(collection, key);
        entry.is_some_and(Entry::is_live)
    }

    /// What the state alone takes.
    pub(super) fn state_bytes(&self) -> usize {
        self.state.bytes()
    }

    /// The distance from 0 of the farthest counter.
    pub(super) fn farthest_counter(&self) -> u64 {
        let collections = self.state.schema().collections().iter();
        let counters = collections.filter(|(_, it)| it.kind == Kind::Counter);
        let entries = counters.flat_map(|(name, _)| self.state.entries(name));
        let values = entries.filter_map(|(_, entry)| entry.value()?.as_i64());
        values.map(i64::unsigned_abs).max().unwrap_or(0)
    }
}

/// The bytes of a snapshot's entries; every `state` has the rest.
fn cost(snapshot: &Snapshot) -> usize {
    let entries = snapshot.collections.values().flatten();
    entries
        .map(|(key, entry)| key.len() + 3 + entry.encode().len())
        .sum()
}
