//! What the events of a stream amount to (STATE-1 … STATE-5, DIGEST-1, DIGEST-2).
//!
//! Every holder applies the same events in seq order, so agreement needs only determinism: nothing here reads a
//! clock, and every map has one order.

mod digest;
mod entry;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::Event;
use crate::ids::{Epoch, Seq};
use crate::schema::{Operation, Schema};
use crate::snapshot::Snapshot;

pub use digest::Digest;
pub use entry::{Act, Content, Entry, OpenValue};

/// One collection's entries and their digest.
#[derive(Debug, Clone, Default)]
struct Collection {
    entries: BTreeMap<String, Entry>,
    digest: Digest,
    key_bytes: usize,
}

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

    /// Applies the next event; says which entry it named if that changed.
    pub fn apply(&mut self, event: &Event) -> Result<Option<Operation>, NotNext> {
        self.check_next(event)?;
        self.seq = event.seq;
        self.epoch = event.epoch;
        let operation = self
            .schema
            .operation(&event.event_type, &event.event_data)
            .ok()
            .flatten();
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
        let current = self.entry(&operation.collection, &operation.key);
        match Entry::after(current, operation.action, act) {
            Some(entry) => {
                self.put(&operation.collection, &operation.key, entry);
                true
            }
            None => false,
        }
    }

    fn put(&mut self, name: &str, key: &str, entry: Entry) {
        let collection = self.collections.entry(name.to_owned()).or_default();
        collection.digest.add(entry.digest(name, key));
        match collection.entries.insert(key.to_owned(), entry) {
            Some(old) => collection.digest.remove(old.digest(name, key)),
            None => collection.key_bytes += key.len(),
        }
    }

    /// One entry, live or removed.
    pub fn entry(&self, collection: &str, key: &str) -> Option<&Entry> {
        self.collections.get(collection)?.entries.get(key)
    }

    /// All entries of a collection, live and removed, by their keys' order.
    pub fn entries(&self, collection: &str) -> impl Iterator<Item = (&str, &Entry)> {
        let entries = self
            .collections
            .get(collection)
            .into_iter()
            .flat_map(|it| &it.entries);
        entries.map(|(key, entry)| (key.as_str(), entry))
    }

    /// How many entries it holds, live and removed.
    pub fn entry_count(&self) -> usize {
        self.collections
            .values()
            .map(|collection| collection.entries.len())
            .sum()
    }

    /// The bytes of all entries' keys: they may be as long as an event.
    pub fn key_bytes(&self) -> usize {
        self.collections.values().map(|it| it.key_bytes).sum()
    }

    /// DIGEST-2, of all of it.
    pub fn digest(&self) -> Digest {
        let mut sum = Digest::default();
        self.collections
            .values()
            .for_each(|collection| sum.add(collection.digest));
        sum
    }

    /// DIGEST-2, per collection.
    pub fn digests(&self) -> BTreeMap<String, Digest> {
        self.collections
            .iter()
            .map(|(name, it)| (name.clone(), it.digest))
            .collect()
    }

    /// The entries above `since` (`ZERO`: all), as a snapshot carries them (SNAP-2).
    pub fn changed_since(&self, since: Seq) -> BTreeMap<String, BTreeMap<String, Entry>> {
        let changed = |it: &Collection| {
            let entries = it.entries.iter().filter(|(_, entry)| entry.seq > since);
            entries
                .map(|(key, entry)| (key.clone(), entry.clone()))
                .collect()
        };
        self.collections
            .iter()
            .map(|(name, it)| (name.clone(), changed(it)))
            .collect()
    }

    /// Takes a snapshot: a full one replaces, a delta overwrites entry by entry. Checks its digest where both
    /// sides define the state alike (DIGEST-3); a snapshot that does not add up changes nothing.
    pub fn take(&mut self, snapshot: &Snapshot) -> Result<(), SnapshotError> {
        let mut next = self.base_for(snapshot)?;
        for (name, entries) in &snapshot.collections {
            entries
                .iter()
                .for_each(|(key, entry)| next.put(name, key, entry.clone()));
        }
        next.seq = snapshot.seq;
        next.epoch = snapshot.epoch;
        let (computed, said) = (next.digest(), snapshot.digest);
        if snapshot.schema == next.schema.hash() && computed != said {
            return Err(SnapshotError::Digest { computed, said });
        }
        *self = next;
        Ok(())
    }

    fn base_for(&self, snapshot: &Snapshot) -> Result<Self, SnapshotError> {
        if snapshot.since == Seq::ZERO {
            return Ok(Self::new(Arc::clone(&self.schema)));
        }
        let fits =
            snapshot.epoch == self.epoch && snapshot.since <= self.seq && self.seq <= snapshot.seq;
        let since = snapshot.since;
        if fits {
            Ok(self.clone())
        } else {
            Err(SnapshotError::DoesNotFit { since })
        }
    }
}

#[cfg(test)]
mod tests;
