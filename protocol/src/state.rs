//! What the events of a stream amount to (STATE-1 … STATE-12, LIST-1 … LIST-5, DIGEST-1, DIGEST-2).
//!
//! Every holder applies the same events in seq order, so agreement needs only determinism: nothing here reads a
//! clock, and every map has one order. Whatever is kept beside the entries (digests, weights, orders) follows each
//! entry as it changes and is never made anew.

mod act;
mod collection;
mod digest;
mod entry;
mod list;
mod overlay;
mod policy;
mod position;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::Event;
use crate::ids::{Epoch, Seq};
use crate::schema::{Action, Operation, Schema};
use crate::snapshot::Snapshot;
use crate::value::Value;

use collection::{Collection, Layers};

pub use act::{Act, Content, OpenAct, Place};
pub use digest::Digest;
pub use entry::Entry;
pub use overlay::Overlay;
pub use position::Position;

/// The state of one stream at a seq.
#[derive(Debug, Clone)]
pub struct State {
    schema: Arc<Schema>,
    epoch: Epoch,
    seq: Seq,
    collections: BTreeMap<String, Collection>,
}

/// An event that is not the next one of this state's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotNext {
    /// It was applied before.
    #[error("the event at {0} was applied before")]
    Applied(Seq),
    /// Events before it are missing.
    #[error("the events before {0} are missing")]
    Gap(Seq),
    /// It belongs to another history.
    #[error("the event belongs to the epoch {0}")]
    Epoch(Epoch),
}

/// Why a snapshot was not taken. The state is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// A delta for another epoch, or from a seq that this state has not reached.
    #[error("the delta since {since} does not continue this state")]
    DoesNotFit {
        /// From where it goes on.
        since: Seq,
    },
    /// It does not add up to its own digest.
    #[error("the digest is {computed}, the snapshot says {said}")]
    Digest {
        /// Of what it amounts to here.
        computed: Digest,
        /// What it says.
        said: Digest,
    },
}

impl State {
    /// The state of an empty stream.
    pub fn new(schema: Arc<Schema>) -> Self {
        let collections = schema
            .collections()
            .keys()
            .map(|name| (name.clone(), Collection::default()))
            .collect();
        Self {
            schema,
            epoch: Epoch::NONE,
            seq: Seq::ZERO,
            collections,
        }
    }

    /// What it is defined by.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// Of which history; `NONE` while nothing was applied.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Up to where.
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// A state as it was put away: of its entries, by collection and key.
    pub fn restore(
        schema: Arc<Schema>,
        epoch: Epoch,
        seq: Seq,
        entries: impl Iterator<Item = (String, String, Entry)>,
    ) -> Self {
        let mut state = Self {
            epoch,
            seq,
            ..Self::new(schema)
        };
        entries.for_each(|(name, key, entry)| drop(state.put(&name, &key, entry)));
        state
    }

    /// EPOCH-2: the same entries at the same seq, in a new history.
    pub fn begin_epoch(&mut self, epoch: Epoch) {
        self.epoch = epoch;
    }

    /// Applies the next event; says what it did if that changed an entry.
    pub fn apply(&mut self, event: &Event) -> Result<Option<Operation>, NotNext> {
        self.check_next(event)?;
        self.seq = event.seq;
        self.epoch = event.epoch;
        let operation = self.schema.operation(&event.event_type, &event.event_data);
        // STATE-11: an event that is no operation changes nothing.
        let operation = operation.ok().flatten();
        let is_old = |name: &str| event.accepted_at < self.schema.adopted(name);
        let operation = operation.filter(|operation| !is_old(&operation.collection));
        Ok(operation.filter(|operation| self.act(operation, &Act::of(event))))
    }

    fn check_next(&self, event: &Event) -> Result<(), NotNext> {
        if self.seq > Seq::ZERO && event.epoch != self.epoch {
            return Err(NotNext::Epoch(event.epoch));
        }
        if event.seq <= self.seq {
            return Err(NotNext::Applied(event.seq));
        }
        if event.seq != self.seq.next() {
            Err(NotNext::Gap(event.seq))
        } else {
            Ok(())
        }
    }

    fn act(&mut self, operation: &Operation, act: &Act) -> bool {
        let Operation {
            collection: name,
            key,
            action,
        } = operation;
        let Some(definition) = self.schema.collections().get(name) else {
            return false;
        };
        let layers = self.layers(name);
        let entry = policy::after(definition, &layers, key, action, act);
        let changed = entry.is_some();
        if let Some(entry) = entry {
            self.put(name, key, entry);
        }
        changed
    }

    fn layers(&self, collection: &str) -> Layers<'_> {
        Layers {
            over: None,
            under: self.collections.get(collection),
        }
    }

    fn put(&mut self, name: &str, key: &str, entry: Entry) -> Option<Entry> {
        if !self.collections.contains_key(name) {
            self.collections
                .insert(name.to_owned(), Collection::default());
        }
        let collection = self.collections.get_mut(name);
        collection.and_then(|it| it.put(name, key, entry))
    }

    /// Takes out the removed entries all of whose acts are at or below `floor`: collection, key, and when it changed.
    /// Right only where every later event has a `base_seq` at or above `floor` (HORIZON-4, HORIZON-5).
    pub fn collect(&mut self, floor: Seq) -> Vec<(String, String, Seq)> {
        let mut gone = Vec::new();
        for (name, collection) in &mut self.collections {
            for (key, changed) in collection.tombstones(floor) {
                collection.take_out(name, &key);
                gone.push((name.clone(), key, changed));
            }
        }
        gone
    }

    /// Whether an operation would leave the integers of VALUE-1 (STATE-10).
    pub fn would_overflow(&self, operation: &Operation) -> bool {
        let Action::Count(amount) = operation.action else {
            return false;
        };
        let current = self.entry(&operation.collection, &operation.key);
        policy::sum(current, amount).is_none()
    }

    /// One entry, live or removed.
    pub fn entry(&self, collection: &str, key: &str) -> Option<&Entry> {
        self.collections.get(collection)?.entry(key)
    }

    /// All entries of a collection, live and removed, by their keys' order.
    pub fn entries(&self, collection: &str) -> impl Iterator<Item = (&str, &Entry)> {
        let collection = self.collections.get(collection).into_iter();
        collection.flat_map(Collection::entries)
    }

    /// The live items of one list of a collection, in its order (LIST-1). `None`: of a collection that is one list.
    pub fn list(&self, collection: &str, list: Option<&str>) -> Vec<(&str, &Value)> {
        let items = self.layers(collection).list(list).into_iter();
        items
            .filter_map(|(key, entry)| Some((key, entry.value()?)))
            .collect()
    }

    /// How many entries it holds, live and removed.
    pub fn entry_count(&self) -> usize {
        self.collections.values().map(Collection::len).sum()
    }

    /// Roughly what its entries take in memory.
    pub fn bytes(&self) -> usize {
        self.collections.values().map(Collection::bytes).sum()
    }

    /// DIGEST-2, of all of it.
    pub fn digest(&self) -> Digest {
        let mut sum = Digest::default();
        self.collections
            .values()
            .for_each(|collection| sum.add(collection.digest()));
        sum
    }

    /// DIGEST-2, of one collection.
    pub fn digest_of(&self, collection: &str) -> Digest {
        let collection = self.collections.get(collection);
        collection.map_or(Digest::default(), Collection::digest)
    }

    /// DIGEST-2, per collection.
    pub fn digests(&self) -> BTreeMap<String, Digest> {
        self.collections
            .iter()
            .map(|(name, it)| (name.clone(), it.digest()))
            .collect()
    }

    /// The entries that changed after `since` (`ZERO`: all), as a snapshot carries them (SNAP-2).
    pub fn changed_since(&self, since: Seq) -> BTreeMap<String, BTreeMap<String, Entry>> {
        self.collections
            .iter()
            .map(|(name, it)| (name.clone(), it.changed_since(since)))
            .collect()
    }

    /// Takes a snapshot: a full one replaces, a delta overwrites entry by entry. Checks its digest where both
    /// sides define the state alike (DIGEST-3); a snapshot that does not add up changes nothing.
    pub fn take(&mut self, snapshot: &Snapshot) -> Result<(), SnapshotError> {
        if snapshot.since == Seq::ZERO {
            let mut next = Self::new(Arc::clone(&self.schema));
            next.overwrite(snapshot);
            next.check(snapshot)?;
            *self = next;
            return Ok(());
        }
        self.check_continues(snapshot)?;
        let (epoch, seq) = (self.epoch, self.seq);
        let replaced = self.overwrite(snapshot);
        self.check(snapshot).inspect_err(|_| {
            (self.epoch, self.seq) = (epoch, seq);
            replaced.into_iter().for_each(|it| self.put_back(it));
        })
    }

    fn check_continues(&self, snapshot: &Snapshot) -> Result<(), SnapshotError> {
        let since = snapshot.since;
        let continues = since <= self.seq && self.seq <= snapshot.seq;
        if continues && snapshot.epoch == self.epoch {
            Ok(())
        } else {
            Err(SnapshotError::DoesNotFit { since })
        }
    }

    /// What a snapshot's entries replaced.
    fn overwrite(&mut self, snapshot: &Snapshot) -> Vec<Replaced> {
        (self.epoch, self.seq) = (snapshot.epoch, snapshot.seq);
        let mut replaced = Vec::new();
        for (name, entries) in &snapshot.collections {
            for (key, entry) in entries {
                let old = self.put(name, key, entry.clone());
                replaced.push((name.clone(), key.clone(), old));
            }
        }
        replaced
    }

    fn put_back(&mut self, (name, key, old): Replaced) {
        if let Some(entry) = old {
            self.put(&name, &key, entry);
        } else if let Some(collection) = self.collections.get_mut(&name) {
            collection.take_out(&name, &key);
        }
    }

    fn check(&self, snapshot: &Snapshot) -> Result<(), SnapshotError> {
        let (computed, said) = (self.digest(), snapshot.digest);
        if snapshot.schema == self.schema.hash() && computed != said {
            return Err(SnapshotError::Digest { computed, said });
        }
        Ok(())
    }
}

/// A collection, a key, and what stood there.
type Replaced = (String, String, Option<Entry>);

#[cfg(test)]
mod tests;
