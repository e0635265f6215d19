//! Which schema a store is read by: what it was, since when each collection is, and what would change (SCHEMA-4 … SCHEMA-6).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use syncline_protocol::schema::{CollectionSchema, Kind};
use syncline_protocol::{Schema, UnixMillis};

use super::{HistoryError, Stop, each_stream};
use crate::store::EventStore;

/// The note in the store.
const NOTE: &str = "schema";

/// What the store says of its schema.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    /// SCHEMA-3.
    pub(super) document: String,
    /// Since when a collection is, in Unix milliseconds; from the beginning if it is not named (STATE-12).
    pub(super) adopted: BTreeMap<String, u64>,
    /// What was migrated, oldest first.
    pub(super) migrations: Vec<Migration>,
    /// A migration that has begun.
    pub(super) under_way: Option<Migration>,
}

/// A named migration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Migration {
    pub(super) name: String,
    /// The schemas' hashes.
    pub(super) from: String,
    pub(super) to: String,
    /// Unix milliseconds.
    pub(super) at: u64,
}

/// What becomes of a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It is new.
    Added,
    /// It is defined otherwise; what it holds goes on.
    Carried,
    /// It is defined otherwise, and what it holds has no sense any more.
    Emptied,
    /// It is gone.
    Dropped,
}

impl Record {
    pub(super) fn read(store: &dyn EventStore) -> Result<Option<Self>, HistoryError> {
        let garbled = |error: serde_json::Error| {
            HistoryError::Request(format!(
                "the store's note of its schema cannot be read: {error}"
            ))
        };
        let note = store.note(NOTE)?;
        note.map(|bytes| serde_json::from_slice(&bytes).map_err(garbled))
            .transpose()
    }

    pub(super) fn write(&self, store: &dyn EventStore) -> Result<(), HistoryError> {
        let bytes = serde_json::to_vec(self).map_err(|error| HistoryError::Output(error.into()))?;
        Ok(store.set_note(NOTE, &bytes)?)
    }

    pub(super) fn schema(&self) -> Result<Schema, HistoryError> {
        let schema = Schema::from_document(&self.document).map_err(|error| {
            HistoryError::Request(format!(
                "the store's note of its schema cannot be read: {error}"
            ))
        })?;
        Ok(schema.with_adopted(self.adopted()))
    }

    pub(super) fn adopted(&self) -> BTreeMap<String, UnixMillis> {
        let adopted = self.adopted.iter();
        adopted
            .map(|(name, at)| (name.clone(), UnixMillis::new(*at)))
            .collect()
    }

    /// The first note of a store. One with streams and without a note was written when there were only sets, so other
    /// collections are new to it.
    fn first(
        store: &dyn EventStore,
        schema: &Schema,
        now: UnixMillis,
    ) -> Result<Self, HistoryError> {
        let is_used = !store.streams(None, 1)?.is_empty();
        let now = after_everything(store, now)?;
        let newer = schema
            .collections()
            .iter()
            .filter(|(_, collection)| is_used && collection.kind != Kind::Set);
        Ok(Self {
            document: schema.document(),
            adopted: newer.map(|(name, _)| (name.clone(), now.get())).collect(),
            migrations: Vec::new(),
            under_way: None,
        })
    }

    /// Of a schema that knows since when its collections are, with the migrations that there were.
    pub(super) fn of(schema: &Schema, store: &dyn EventStore) -> Result<Self, HistoryError> {
        let migrations = Self::read(store)?.map(|record| record.migrations);
        let names = schema.collections().keys();
        Ok(Self {
            document: schema.document(),
            adopted: names
                .map(|name| (name.clone(), schema.adopted(name).get()))
                .collect(),
            migrations: migrations.unwrap_or_default(),
            under_way: None,
        })
    }

    /// Takes another schema.
    pub(super) fn extend(
        &mut self,
        schema: &Schema,
        changes: &BTreeMap<String, Change>,
        now: UnixMillis,
    ) {
        self.document = schema.document();
        for (name, change) in changes {
            match change {
                Change::Dropped => drop(self.adopted.remove(name)),
                // Its new definition may name types that the old one did not; their events are carried only (SCHEMA-4).
                _ => drop(self.adopted.insert(name.clone(), now.get())),
            }
        }
    }
}

/// Gives the schema that a store is to be read by: the one given, with the times since when its collections are. Notes in the
/// store what is new. A collection that is defined otherwise or gone needs a migration first (SCHEMA-6).
pub fn adopt(
    store: &dyn EventStore,
    schema: Schema,
    now: UnixMillis,
) -> Result<Schema, HistoryError> {
    Adoption::plan(store, schema, now)?.make(store, now)
}

/// A schema that a store may be read by from now on.
#[derive(Debug)]
pub struct Adoption {
    record: Record,
    schema: Schema,
    changes: BTreeMap<String, Change>,
    is_other: bool,
    /// After everything that is in the store.
    moment: UnixMillis,
}

impl Adoption {
    /// Looks whether a schema only adds to the one that the store is read by. Changes nothing but a store without any.
    pub fn plan(
        store: &dyn EventStore,
        schema: Schema,
        now: UnixMillis,
    ) -> Result<Self, HistoryError> {
        let record = match Record::read(store)? {
            Some(record) => record,
            None => {
                let first = Record::first(store, &schema, now)?;
                first.write(store)?;
                first
            }
        };
        if let Some(migration) = &record.under_way {
            let name = &migration.name;
            return Err(HistoryError::Request(format!(
                "the migration {name:?} has begun and is not finished; run `syncline migrate` with the same --schema and --name again"
            )));
        }
        let before = record.schema()?;
        let changes = changes(&before, &schema);
        if let Some((name, change)) = changes.iter().find(|(_, it)| **it != Change::Added) {
            return Err(needs_migration(name, *change));
        }
        let is_other = before.hash() != schema.hash();
        let moment = match is_other {
            true => after_everything(store, now)?,
            false => now,
        };
        Ok(Self {
            record,
            schema,
            changes,
            is_other,
            moment,
        })
    }

    /// Whether it is another schema than before.
    pub fn is_other(&self) -> bool {
        self.is_other
    }

    /// The names of what is new.
    pub fn added(&self) -> impl Iterator<Item = &str> {
        self.changes.keys().map(String::as_str)
    }

    /// Notes it in the store. No event counts for what is new that was accepted before `after`, the caller's word that none
    /// later has been accepted since the plan was made.
    pub fn make(
        mut self,
        store: &dyn EventStore,
        after: UnixMillis,
    ) -> Result<Schema, HistoryError> {
        if self.is_other {
            let moment = self.moment.max(after);
            self.record.extend(&self.schema, &self.changes, moment);
            self.record.write(store)?;
            for name in self.changes.keys() {
                tracing::info!(collection = name, "the schema has a new collection");
            }
        }
        Ok(self.schema.with_adopted(self.record.adopted()))
    }
}

fn needs_migration(name: &str, change: Change) -> HistoryError {
    let what = match change {
        Change::Dropped => "drops",
        _ => "redefines",
    };
    HistoryError::Request(format!(
        "the schema {what} the collection {name:?}; `syncline migrate --schema FILE` says what that would do to the data, \
         and does it with --name NAME --yes"
    ))
}

/// The schema that a store is read by, changing nothing; the one given if no broker has used it yet.
pub fn schema_of(store: &dyn EventStore, or: Schema) -> Result<Schema, HistoryError> {
    match Record::read(store)? {
        Some(record) => record.schema(),
        None => Ok(or),
    }
}

/// A moment for what is new: now, or after the last event if the clock went back, so that none counts that was there before.
pub(super) fn after_everything(
    store: &dyn EventStore,
    now: UnixMillis,
) -> Result<UnixMillis, HistoryError> {
    let mut moment = now;
    each_stream(store, &Stop::default(), |_, head| {
        moment = moment.max(head.accepted_at.plus(1));
        Ok(())
    })?;
    Ok(moment)
}

/// What differs from one schema to the next, by collection.
pub(super) fn changes(before: &Schema, after: &Schema) -> BTreeMap<String, Change> {
    let (old, new) = (before.collections(), after.collections());
    let gone = old.keys().filter(|name| !new.contains_key(*name));
    let mut changes: BTreeMap<_, _> = gone.map(|name| (name.clone(), Change::Dropped)).collect();
    for (name, collection) in new {
        let change = match old.get(name) {
            None => Change::Added,
            Some(before) if before == collection => continue,
            Some(before) if carries_over(before, collection) => Change::Carried,
            Some(_) => Change::Emptied,
        };
        changes.insert(name.clone(), change);
    }
    changes
}

fn carries_over(before: &CollectionSchema, after: &CollectionSchema) -> bool {
    match (before.kind, after.kind) {
        (Kind::Set | Kind::Map, Kind::Set | Kind::Map) | (Kind::Counter, Kind::Counter) => true,
        (Kind::List, Kind::List) => before.list.is_some() == after.list.is_some(),
        _ => false,
    }
}
