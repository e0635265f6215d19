//! Redefining collections (SCHEMA-6): says what it will do before it does it.
//!
//! Every step can be repeated: the note of the old schema stays until all streams are through, and what was carried over once
//! is carried over again unchanged.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::Arc;

use clap::Args;
use syncline_protocol::schema::Kind;
use syncline_protocol::state::Content;
use syncline_protocol::{Entry, Epoch, Schema, Snapshot, StreamId, UnixMillis, Value};

use super::adoption::{Change, Migration, Record, after_everything, changes};
use super::{HistoryError, Stop, StreamName, each_stream};
use crate::compactor::States;
use crate::store::{Append, Base, EventStore, Fold, Folded, StoredEntry};

/// How a migration is run.
#[derive(Debug, Clone, Args)]
pub struct MigrateRequest {
    /// What the migration is called, for the record.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Do it; without this, it only says what it would do.
    #[arg(long, requires = "name")]
    pub yes: bool,
}

/// Says what a new schema would do to a store, and does it if asked to. `random` gives bits for epochs.
pub fn migrate(
    store: &Arc<dyn EventStore>,
    schema: &Schema,
    request: &MigrateRequest,
    now: UnixMillis,
    random: &mut dyn FnMut() -> u64,
    out: &mut dyn Write,
) -> Result<(), HistoryError> {
    let Some(mut record) = Record::read(&**store)? else {
        writeln!(
            out,
            "no broker has used this data directory yet; there is nothing to migrate"
        )?;
        return Ok(());
    };
    let before = record.schema()?;
    let changes = changes(&before, schema);
    let migration = Migration {
        name: request.name.clone().unwrap_or_default(),
        from: before.hash().to_string(),
        to: schema.hash().to_string(),
        at: now.get(),
    };
    check_under_way(&record, &migration)?;
    // Nothing is kept of them: every stream is looked at once.
    let states = States::new(Arc::clone(store), Arc::new(before), 0);
    let store = &**store;
    let plan = Plan::make(store, &states, changes)?;
    plan.tell(out)?;
    if !request.yes {
        writeln!(out, "nothing was changed; add --name NAME --yes to do it")?;
        return Ok(());
    }
    record.under_way = Some(migration.clone());
    record.write(store)?;
    for stream in &plan.streams {
        carry_over(store, &states, schema, &plan.changes, stream, random)?;
        writeln!(
            out,
            "{}: migrated, a new epoch begins",
            StreamName(stream.clone())
        )?;
    }
    record.extend(schema, &plan.changes, after_everything(store, now)?);
    record.migrations.push(migration);
    record.under_way = None;
    record.write(store)?;
    writeln!(out, "done; the schema is {}", schema.hash())?;
    Ok(())
}

/// One migration at a time, and to its end.
fn check_under_way(record: &Record, migration: &Migration) -> Result<(), HistoryError> {
    match &record.under_way {
        Some(other) if (&other.name, &other.to) != (&migration.name, &migration.to) => {
            let (name, to) = (&other.name, &other.to);
            Err(HistoryError::Request(format!(
                "the migration {name:?} to the schema {to} has begun and must be finished first: give its --schema and --name"
            )))
        }
        _ => Ok(()),
    }
}

/// What will be done.
struct Plan {
    changes: BTreeMap<String, Change>,
    /// Live entries by collection, in those that are not only added.
    entries: BTreeMap<String, u64>,
    /// The streams whose state is altered.
    streams: Vec<StreamId>,
}

impl Plan {
    fn make(
        store: &dyn EventStore,
        states: &States,
        changes: BTreeMap<String, Change>,
    ) -> Result<Self, HistoryError> {
        let mut plan = Self {
            changes,
            entries: BTreeMap::new(),
            streams: Vec::new(),
        };
        let altered: Vec<String> = plan.altered().cloned().collect();
        if altered.is_empty() {
            return Ok(plan);
        }
        each_stream(store, &Stop::default(), |stream, head| {
            let state = states.at(stream, head.seq)?;
            let mut is_altered = false;
            for name in &altered {
                let entries = state.snapshot().collections.get(name);
                let entries: Vec<_> = entries.into_iter().flat_map(BTreeMap::values).collect();
                is_altered |= !entries.is_empty();
                let live = entries.iter().filter(|entry| entry.is_live()).count();
                *plan.entries.entry(name.clone()).or_default() += live as u64;
            }
            if is_altered {
                plan.streams.push(stream.clone());
            }
            Ok(())
        })?;
        Ok(plan)
    }

    fn altered(&self) -> impl Iterator<Item = &String> {
        let altered = self.changes.iter();
        altered
            .filter(|(_, change)| **change != Change::Added)
            .map(|(name, _)| name)
    }

    fn tell(&self, out: &mut dyn Write) -> Result<(), HistoryError> {
        if self.changes.is_empty() {
            writeln!(out, "the collections stay as they are")?;
        }
        for (name, change) in &self.changes {
            let live = self.entries.get(name).copied().unwrap_or_default();
            let what = match change {
                Change::Added => {
                    "is added; events of its types that are there already do not count".to_owned()
                }
                Change::Carried => format!(
                    "is redefined: {live} live entries go on, of open conflicts the value that is shown"
                ),
                Change::Emptied => {
                    format!("is redefined and begins empty: {live} live entries are dropped")
                }
                Change::Dropped => format!("is dropped with {live} live entries"),
            };
            writeln!(out, "{name} {what}")?;
        }
        let count = self.streams.len();
        writeln!(
            out,
            "{count} streams begin a new epoch; their events up to now are folded into their states"
        )?;
        Ok(())
    }
}

fn carry_over(
    store: &dyn EventStore,
    states: &States,
    after: &Schema,
    changes: &BTreeMap<String, Change>,
    stream: &StreamId,
    random: &mut dyn FnMut() -> u64,
) -> Result<(), HistoryError> {
    let head = store.head(stream)?;
    let state = states.at(stream, head.seq)?;
    let puts = converted(state.snapshot(), after, changes);
    let kept: BTreeSet<_> = puts
        .iter()
        .map(|it| (it.collection.clone(), it.key.clone()))
        .collect();
    let mut removes = Vec::new();
    let base = store.entries(stream, &mut |stored| {
        let key = (stored.collection, stored.key);
        if !kept.contains(&key) {
            removes.push(key);
        }
    })?;
    let epoch = Epoch::new(random().max(1));
    let begin = Append {
        horizon: Some(head.seq),
        ..Append::begin(stream.clone(), head.seq, epoch)
    };
    if store.append(vec![begin])?.into_iter().any(|it| it.is_err()) {
        return Err(in_use(stream));
    }
    let fold = Fold {
        stream: stream.clone(),
        from: base.seq,
        base: Base {
            epoch,
            seq: head.seq,
            // No cursor of this epoch is below it.
            removed_floor: head.seq,
            moves: Vec::new(),
        },
        puts,
        removes,
    };
    // The tables are told to hurry, and there is nothing else that they could wait for.
    loop {
        match store.fold(fold.clone())? {
            Folded::Done => return Ok(()),
            Folded::Moved => return Err(in_use(stream)),
            Folded::NotYet => std::thread::yield_now(),
        }
    }
}

fn in_use(stream: &StreamId) -> HistoryError {
    let name = StreamName(stream.clone());
    HistoryError::Request(format!(
        "{name} changed meanwhile; is a broker running on this data?"
    ))
}

fn converted(
    state: &Snapshot,
    after: &Schema,
    changes: &BTreeMap<String, Change>,
) -> Vec<StoredEntry> {
    let mut puts = Vec::new();
    for (name, collection) in after.collections() {
        let change = changes.get(name);
        if matches!(change, Some(Change::Added | Change::Emptied)) {
            continue;
        }
        for (key, entry) in state.collections.get(name).into_iter().flatten() {
            let entry = match change {
                None => Some(entry.clone()),
                Some(_) => carried(entry, collection.kind),
            };
            let stored = entry.map(|entry| StoredEntry {
                collection: name.clone(),
                key: key.clone(),
                entry: entry.encode().into(),
            });
            puts.extend(stored);
        }
    }
    puts
}

/// The act that is shown, as the only one; nothing of what is removed.
fn carried(entry: &Entry, kind: Kind) -> Option<Entry> {
    let mut shown = entry.shown.clone();
    match (&shown.content, kind) {
        (Content::Removed, _) => return None,
        (Content::Live(_), Kind::Set) => shown.content = Content::Live(Value::from(true)),
        (Content::Live(_), _) => {}
    }
    let changed = shown.seq;
    Some(Entry {
        shown,
        conflicts: Vec::new(),
        changed,
    })
}
