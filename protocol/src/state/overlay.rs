//! Entries over a state's own: what a client shows of intents that are not confirmed yet.

use std::collections::BTreeMap;

use super::act::Act;
use super::collection::{Collection, Layers};
use super::entry::Entry;
use super::{State, policy};
use crate::schema::Operation;
use crate::value::Value;

/// What acts beyond a state's seq make of it, without touching it. Every call is given that same state; once it
/// changes under an entry, or an act goes, take the entry out and act again. In a list the order of acts on different
/// keys counts: there, clear the collection and act all of them again.
#[derive(Debug, Clone, Default)]
pub struct Overlay {
    collections: BTreeMap<String, Collection>,
}

impl Overlay {
    /// Does what an event would do at `act.seq`; says whether that changed the entry.
    pub fn act(&mut self, under: &State, operation: &Operation, act: &Act) -> bool {
        let Operation {
            collection: name,
            key,
            action,
        } = operation;
        let Some(definition) = under.schema.collections().get(name) else {
            return false;
        };
        let layers = self.layers(under, name);
        let entry = policy::after(definition, &layers, key, action, act);
        let changed = entry.is_some();
        if let Some(entry) = entry {
            let over = self.collections.entry(name.clone()).or_default();
            over.put(name, key, entry);
        }
        changed
    }

    /// Takes out what stands over one entry.
    pub fn take_out(&mut self, collection: &str, key: &str) {
        if let Some(over) = self.collections.get_mut(collection) {
            over.take_out(collection, key);
        }
    }

    /// Takes out what stands over a collection.
    pub fn clear(&mut self, collection: &str) {
        self.collections.remove(collection);
    }

    /// The entry that is seen.
    pub fn entry<'a>(&'a self, under: &'a State, collection: &str, key: &str) -> Option<&'a Entry> {
        self.layers(under, collection).entry(key)
    }

    /// What stands over a collection, live and removed.
    pub fn over(&self, collection: &str) -> impl Iterator<Item = (&str, &Entry)> {
        let over = self.collections.get(collection).into_iter();
        over.flat_map(Collection::entries)
    }

    /// The live items of a list that are seen, in its order.
    pub fn list<'a>(
        &'a self,
        under: &'a State,
        collection: &str,
        list: Option<&str>,
    ) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let items = self.layers(under, collection).list(list).into_iter();
        items.filter_map(|(key, entry)| Some((key, entry.value()?)))
    }

    fn layers<'a>(&'a self, under: &'a State, collection: &str) -> Layers<'a> {
        Layers {
            over: self.collections.get(collection),
            under: under.collections.get(collection),
        }
    }
}
