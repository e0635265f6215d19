//! One collection's entries, with what is kept up beside them: digest, weight, and the orders in which they are asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::digest::Digest;
use super::entry::Entry;
use super::list::Lists;
use super::position::Position;
use crate::ids::Seq;
use crate::planted::{Planted, planted};

/// What an entry takes in memory beside itself and its key: its part of the maps. An estimate.
const ENTRY_BYTES: usize = 128;

#[derive(Debug, Clone, Default)]
pub(super) struct Collection {
    entries: BTreeMap<Arc<str>, Entry>,
    /// By the seq of their last change.
    changes: BTreeSet<(Seq, Arc<str>)>,
    /// Which of them are removed.
    tombstones: BTreeSet<Arc<str>>,
    lists: Lists,
    digest: Digest,
    bytes: usize,
}

impl Collection {
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(key, entry)| (&**key, entry))
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn digest(&self) -> Digest {
        self.digest
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Puts an entry and gives the one that stood there before.
    pub(super) fn put(&mut self, name: &str, key: &str, entry: Entry) -> Option<Entry> {
        let old = self.take_out(name, key);
        let stale = planted(Planted::DigestNotUpdatedOnRemoval) && !entry.is_live();
        let left = old.iter().filter(|_| stale);
        left.for_each(|old| self.digest.add(old.digest(name, key)));
        let key: Arc<str> = key.into();
        self.digest.add(entry.digest(name, &key));
        self.bytes += weight(&key, &entry);
        self.changes.insert((entry.changed, Arc::clone(&key)));
        if !entry.is_live() {
            self.tombstones.insert(Arc::clone(&key));
        }
        self.lists.insert(&key, &entry);
        self.entries.insert(key, entry);
        old
    }

    pub(super) fn take_out(&mut self, name: &str, key: &str) -> Option<Entry> {
        let (key, entry) = self.entries.remove_entry(key)?;
        self.digest.remove(entry.digest(name, &key));
        self.bytes -= weight(&key, &entry);
        self.lists.remove(&key, &entry);
        self.tombstones.remove(&key);
        self.changes.remove(&(entry.changed, key));
        Some(entry)
    }

    /// The entries that changed after `since`.
    pub(super) fn changed_since(&self, since: Seq) -> BTreeMap<String, Entry> {
        if since == Seq::ZERO {
            let all = self.entries();
            return all
                .map(|(key, entry)| (key.to_owned(), entry.clone()))
                .collect();
        }
        let from = Bound::Included((since.next(), Arc::from("")));
        let changed = self.changes.range((from, Bound::Unbounded));
        changed
            .map(|(_, key)| (key.to_string(), self.entries[key].clone()))
            .collect()
    }

    /// The keys of removed entries all of whose acts are at or below `floor`, and when they changed.
    pub(super) fn tombstones(&self, floor: Seq) -> Vec<(String, Seq)> {
        let removed = self.tombstones.iter().map(|key| (key, &self.entries[key]));
        removed
            .filter(|(_, entry)| entry.acts().all(|act| act.seq <= floor))
            .map(|(key, entry)| (key.to_string(), entry.changed))
            .collect()
    }
}

fn weight(key: &str, entry: &Entry) -> usize {
    ENTRY_BYTES + key.len() + entry.weight()
}

/// A collection, and entries that stand over its own.
#[derive(Clone, Copy)]
pub(super) struct Layers<'a> {
    pub(super) over: Option<&'a Collection>,
    pub(super) under: Option<&'a Collection>,
}

impl<'a> Layers<'a> {
    pub(super) fn entry(&self, key: &str) -> Option<&'a Entry> {
        let over = self.over.and_then(|it| it.entry(key));
        over.or_else(|| self.under?.entry(key))
    }

    /// The position of a list's last item, other than `except`.
    pub(super) fn last(&self, list: Option<&str>, except: &str) -> Option<&'a Position> {
        let over = self.over.and_then(|it| {
            let mut items = it.lists.items(list, None).rev();
            items.find(|(_, key)| *key != except)
        });
        let under = self.under.and_then(|it| {
            let mut items = it.lists.items(list, None).rev();
            items.find(|(_, key)| *key != except && !self.hides(key))
        });
        let last = over.into_iter().chain(under).map(|(position, _)| position);
        last.max()
    }

    /// The lowest position above another (`None`: of all) in a list, other than that of `except`.
    pub(super) fn first_above(
        &self,
        list: Option<&str>,
        above: Option<&Position>,
        except: &str,
    ) -> Option<&'a Position> {
        let over = self.over.and_then(|it| {
            let mut items = it.lists.items(list, above);
            items.find(|(_, key)| *key != except)
        });
        let under = self.under.and_then(|it| {
            let mut items = it.lists.items(list, above);
            items.find(|(_, key)| *key != except && !self.hides(key))
        });
        let first = over.into_iter().chain(under).map(|(position, _)| position);
        first.min()
    }

    /// The live items of a list, in its order.
    pub(super) fn list(&self, list: Option<&str>) -> Vec<(&'a str, &'a Entry)> {
        let over = self.over.into_iter();
        let over = over.flat_map(|it| it.lists.items(list, None));
        let under = self.under.into_iter();
        let under = under.flat_map(|it| it.lists.items(list, None));
        let under = under.filter(|(_, key)| !self.hides(key));
        let mut items: Vec<_> = under.chain(over).collect();
        // Already in order where nothing stands over it.
        items.sort();
        let entries = items.into_iter().map(|(_, key)| (key, self.entry(key)));
        entries
            .filter_map(|(key, entry)| Some((key, entry?)))
            .collect()
    }

    fn hides(&self, key: &str) -> bool {
        self.over.is_some_and(|it| it.entry(key).is_some())
    }
}
