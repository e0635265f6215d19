//! What the app sees: the replica, and over it this client's intents that the replica does not have yet (OVERLAY-1).
//!
//! An intent that is shown stands in a **scope**: the key that it acts on, or in a list the whole collection, because
//! there one item's place follows from another's. A scope whose ground or intents changed is stale until the end of
//! the input; then its intents act again, all of them. What costs little is the usual course of things: an intent
//! more, and the next one's own event.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use syncline_protocol::planted::{Planted, planted};
use syncline_protocol::schema::{After, BadData, CollectionSchema, Conflict, Kind};
use syncline_protocol::state::{Act, Content, NotNext, OpenAct, Overlay, Place, SnapshotError};
use syncline_protocol::{
    Clock, DeviceId, Entry, Epoch, Event, EventType, Intent, Operation, Schema, SchemaHash, Seq,
    Snapshot, State, StreamId, Value,
};

use crate::output::Output;
use crate::rows::{IntentId, Saw};
use crate::undo::Standing;

/// One of the values that stand for a key until somebody settles them (OVERLAY-5).
#[derive(Debug, Clone, PartialEq)]
pub struct OpenValue {
    /// What it says: a value, or that the key was removed.
    pub content: Content,
    /// Who said it.
    pub device: DeviceId,
    /// And when.
    pub clock: Clock,
}

/// A collection and a key in it.
pub(crate) type Key = (String, String);

/// A collection and a key in it; `None`: all of it.
type Scope = (String, Option<String>);

/// What the app sees of a key (OVERLAY-3).
#[derive(Debug, Default, PartialEq)]
struct Seen {
    value: Option<Value>,
    place: Option<Place>,
    open: Vec<OpenValue>,
}

/// The intents of a scope in their order.
#[derive(Debug, Default)]
struct Pending {
    intents: VecDeque<Shown>,
    /// The seq as which the last one acted.
    last: Seq,
}

/// What an intent of the overlay does.
#[derive(Debug)]
struct Shown {
    id: IntentId,
    operation: Operation,
    device: DeviceId,
    clock: Clock,
    base_seq: Seq,
    epoch: Option<Epoch>,
}

/// See the module. Without a schema nothing can be shown.
#[derive(Debug, Default)]
pub(crate) struct View {
    confirmed: Option<State>,
    /// Whether `confirmed` came from a broker or is only the empty one to start with.
    has_replica: bool,
    over: Overlay,
    pending: BTreeMap<Scope, Pending>,
    stale: BTreeSet<Scope>,
    /// From before this input, of the keys that it touched.
    before: BTreeMap<Key, Seen>,
}

impl View {
    /// Gives up the replica and the overlay for an empty replica under a schema.
    pub(crate) fn start_over(&mut self, schema: Arc<Schema>) {
        self.remember_all();
        *self = Self {
            confirmed: Some(State::new(schema)),
            before: std::mem::take(&mut self.before),
            ..Self::default()
        };
    }

    pub(crate) fn schema(&self) -> Option<&Arc<Schema>> {
        self.confirmed.as_ref().map(State::schema)
    }

    pub(crate) fn schema_hash(&self) -> Option<SchemaHash> {
        self.schema().map(|schema| schema.hash())
    }

    /// What an intent would do; `None` if the schema is not known or does not name its type.
    pub(crate) fn operation(
        &self,
        event_type: &EventType,
        data: &Value,
    ) -> Result<Option<Operation>, BadData> {
        self.schema()
            .map_or(Ok(None), |schema| schema.operation(event_type, data))
    }

    fn operation_of(&self, intent: &Intent) -> Option<Operation> {
        let operation = self.operation(&intent.event_type, &intent.event_data);
        operation.ok().flatten()
    }

    pub(crate) fn definition(&self, collection: &str) -> Option<&CollectionSchema> {
        self.schema()?.collections().get(collection)
    }

    /// The cursor.
    pub(crate) fn seq(&self) -> Seq {
        self.confirmed.as_ref().map_or(Seq::ZERO, State::seq)
    }

    /// The cursor's epoch; `NONE` while nothing was applied.
    pub(crate) fn epoch(&self) -> Epoch {
        self.confirmed.as_ref().map_or(Epoch::NONE, State::epoch)
    }

    pub(crate) fn has_replica(&self) -> bool {
        self.has_replica
    }

    pub(crate) fn snapshot(&self, stream: &StreamId) -> Option<Snapshot> {
        let state = self.confirmed.as_ref().filter(|_| self.has_replica)?;
        Some(Snapshot::of(state, stream.clone(), Seq::ZERO))
    }

    /// STORE-5.
    pub(crate) fn saw(&self, operation: &Operation) -> Saw {
        Saw::of(self.confirmed_entry(operation))
    }

    /// STORE-5: whether the replica's entry is what the intent's author saw.
    pub(crate) fn is_as_seen(&self, intent: &Intent, saw: Option<Saw>) -> bool {
        let Some((saw, operation)) = saw.zip(self.operation_of(intent)) else {
            return false;
        };
        planted(Planted::RenewedUnseen) || saw.is_as_seen(self.confirmed_entry(&operation))
    }

    fn confirmed_entry(&self, operation: &Operation) -> Option<&Entry> {
        let state = self.confirmed.as_ref()?;
        state.entry(&operation.collection, &operation.key)
    }

    /// Whether the broker never finds events of an intent's type `overtaken` (HORIZON-2).
    pub(crate) fn is_never_overtaken(&self, intent: &Intent) -> bool {
        let Some(operation) = self.operation_of(intent) else {
            return true;
        };
        let definition = self.definition(&operation.collection);
        definition.is_none_or(|it| it.kind == Kind::Counter)
    }

    /// Takes a snapshot whole or not at all (REPLICA-1, REPLICA-2).
    pub(crate) fn take(&mut self, snapshot: &Snapshot) -> Result<(), SnapshotError> {
        if snapshot.since == Seq::ZERO {
            self.remember_all();
        }
        for (collection, entries) in &snapshot.collections {
            entries
                .keys()
                .for_each(|key| self.remember(collection, key));
        }
        let scopes: Vec<Scope> = self.pending.keys().cloned().collect();
        scopes.into_iter().for_each(|scope| self.touch(scope));
        if let Some(state) = self.confirmed.as_mut() {
            state.take(snapshot)?;
            self.has_replica = true;
        }
        Ok(())
    }

    /// Applies the next event, of the intent `own` if it is one of the outbox (REPLICA-3).
    pub(crate) fn apply(&mut self, event: &Event, own: Option<IntentId>) -> Result<(), NotNext> {
        let operation = self.operation(&event.event_type, &event.event_data);
        let operation = operation.ok().flatten();
        let scope = operation.as_ref().map(|it| self.scope_of(it));
        let expected = scope
            .as_ref()
            .is_some_and(|it| self.expects(it, event, own));
        if let Some(operation) = &operation {
            self.remember(&operation.collection, &operation.key);
        }
        if let Some(scope) = scope.clone().filter(|_| !expected) {
            self.touch(scope);
        }
        let Some(state) = self.confirmed.as_mut() else {
            return Ok(());
        };
        state.apply(event)?;
        if let Some((scope, operation)) = scope.zip(operation).filter(|_| expected) {
            self.confirm(&scope, &operation);
        }
        Ok(())
    }

    /// Whether an event does to the replica just what the first intent of a scope did to the view.
    fn expects(&self, scope: &Scope, event: &Event, own: Option<IntentId>) -> bool {
        let pending = self
            .pending
            .get(scope)
            .filter(|_| !self.stale.contains(scope));
        let first = pending.and_then(|it| it.intents.front());
        first.is_some_and(|shown| {
            let act = shown.act(event.seq, self.epoch());
            Some(shown.id) == own && act == Act::of(event)
        })
    }

    fn confirm(&mut self, scope: &Scope, operation: &Operation) {
        let Some(pending) = self.pending.get_mut(scope) else {
            return;
        };
        pending.intents.pop_front();
        let on_the_key = |shown: &Shown| shown.operation.key == operation.key;
        if !pending.intents.iter().any(on_the_key) {
            self.over.take_out(&operation.collection, &operation.key);
        }
        if pending.intents.is_empty() {
            self.pending.remove(scope);
        }
    }

    /// Puts an intent into the overlay, behind all others.
    pub(crate) fn show(&mut self, id: IntentId, intent: &Intent) {
        let Some(shown) = self.shown(id, intent) else {
            return;
        };
        let scope = self.scope_of(&shown.operation);
        self.remember(&shown.operation.collection, &shown.operation.key);
        let (cursor, epoch) = (self.seq(), self.epoch());
        let pending = self.pending.entry(scope.clone()).or_default();
        pending.last = pending.last.max(cursor).next();
        if let (false, Some(state)) = (self.stale.contains(&scope), &self.confirmed) {
            let act = shown.act(pending.last, epoch);
            self.over.act(state, &shown.operation, &act);
        }
        pending.intents.push_back(shown);
    }

    /// Takes an intent's new `base_seq` and `epoch`.
    pub(crate) fn update(&mut self, id: IntentId, intent: &Intent) {
        let Some(shown) = self.shown(id, intent) else {
            return;
        };
        if let Some((pending, at)) = self.find(id, &shown.operation) {
            pending.intents[at] = shown;
        }
    }

    /// Takes an intent out of the overlay, if it is there.
    pub(crate) fn hide(&mut self, id: IntentId, intent: &Intent) {
        let Some(operation) = self.operation_of(intent) else {
            return;
        };
        if let Some((pending, at)) = self.find(id, &operation) {
            pending.intents.remove(at);
        }
    }

    /// Takes all intents out of the overlay.
    pub(crate) fn hide_all(&mut self) {
        let scopes: Vec<Scope> = self.pending.keys().cloned().collect();
        scopes.into_iter().for_each(|scope| self.touch(scope));
        self.pending.values_mut().for_each(|it| it.intents.clear());
    }

    /// An intent that is to be changed, and where it is.
    fn find(&mut self, id: IntentId, operation: &Operation) -> Option<(&mut Pending, usize)> {
        let scope = self.scope_of(operation);
        let at = |pending: &Pending| pending.intents.iter().position(|shown| shown.id == id);
        let at = self.pending.get(&scope).and_then(at)?;
        self.touch(scope.clone());
        Some((self.pending.get_mut(&scope)?, at))
    }

    fn shown(&self, id: IntentId, intent: &Intent) -> Option<Shown> {
        Some(Shown {
            id,
            operation: self.operation_of(intent)?,
            device: intent.device?,
            clock: intent.clock.unwrap_or_default(),
            base_seq: intent.base_seq.unwrap_or_default(),
            epoch: intent.epoch,
        })
    }

    /// The intents of the overlay on an entry, in their order.
    pub(crate) fn shown_on(&self, operation: &Operation) -> Vec<IntentId> {
        let pending = self.pending.get(&self.scope_of(operation)).into_iter();
        let intents = pending.flat_map(|it| &it.intents);
        let same = intents.filter(|shown| shown.operation.key == operation.key);
        same.map(|shown| shown.id).collect()
    }

    /// The entry of an intent.
    pub(crate) fn key_of(&self, intent: &Intent) -> Option<Key> {
        let operation = self.operation_of(intent)?;
        Some((operation.collection, operation.key))
    }

    fn scope_of(&self, operation: &Operation) -> Scope {
        let definition = self.definition(&operation.collection);
        let is_list = definition.is_some_and(|it| it.kind == Kind::List);
        let key = (!is_list).then(|| operation.key.clone());
        (operation.collection.clone(), key)
    }

    /// Something is about to change in a scope, or under it.
    fn touch(&mut self, scope: Scope) {
        if self.stale.contains(&scope) {
            return;
        }
        if let Some(pending) = self.pending.get(&scope) {
            let keys = pending.intents.iter().map(|it| it.operation.key.clone());
            let keys: Vec<String> = keys.collect();
            keys.iter().for_each(|key| self.remember(&scope.0, key));
            self.stale.insert(scope);
        }
    }

    fn refresh(&mut self, scope: &Scope) {
        match &scope.1 {
            Some(key) => self.over.take_out(&scope.0, key),
            None => self.over.clear(&scope.0),
        }
        let (cursor, epoch) = (self.seq(), self.epoch());
        let (Some(pending), Some(state)) = (self.pending.get_mut(scope), &self.confirmed) else {
            return;
        };
        pending.last = cursor;
        for shown in &pending.intents {
            pending.last = pending.last.next();
            let act = shown.act(pending.last, epoch);
            self.over.act(state, &shown.operation, &act);
        }
        if pending.intents.is_empty() {
            self.pending.remove(scope);
        }
    }

    fn entry(&self, collection: &str, key: &str) -> Option<&Entry> {
        self.over.entry(self.confirmed.as_ref()?, collection, key)
    }

    /// The live value of a key.
    pub(crate) fn value(&self, collection: &str, key: &str) -> Option<&Value> {
        self.entry(collection, key).and_then(Entry::value)
    }

    /// All live keys of a collection and their values, by the keys' order.
    pub(crate) fn entries(&self, collection: &str) -> BTreeMap<String, Value> {
        let mut live = BTreeMap::new();
        let mut put = |key: &str, entry: &Entry| match entry.value() {
            Some(value) => drop(live.insert(key.to_owned(), value.clone())),
            None => drop(live.remove(key)),
        };
        let confirmed = self.confirmed.iter();
        let confirmed = confirmed.flat_map(|state| state.entries(collection));
        confirmed.for_each(|(key, entry)| put(key, entry));
        self.over
            .over(collection)
            .for_each(|(key, entry)| put(key, entry));
        live
    }

    /// The live items of a list in their order (OVERLAY-4).
    pub(crate) fn list(&self, collection: &str, list: Option<&str>) -> Vec<(String, Value)> {
        let state = self.confirmed.iter();
        let items = state.flat_map(|state| self.over.list(state, collection, list));
        items
            .map(|(key, value)| (key.to_owned(), value.clone()))
            .collect()
    }

    /// OVERLAY-5.
    pub(crate) fn open_values(&self, collection: &str, key: &str) -> Vec<OpenValue> {
        let definition = self.definition(collection);
        let keeps = definition.is_some_and(|it| it.conflict == Some(Conflict::KeepBoth));
        let entry = self.entry(collection, key);
        match entry.filter(|it| keeps && !it.conflicts.is_empty()) {
            Some(entry) => entry.acts().map(OpenValue::of).collect(),
            None => Vec::new(),
        }
    }

    /// All keys of a collection that have open values.
    pub(crate) fn conflicts(&self, collection: &str) -> Vec<(String, Vec<OpenValue>)> {
        let confirmed = self.confirmed.iter();
        let confirmed = confirmed.flat_map(|state| state.entries(collection));
        let all = confirmed.chain(self.over.over(collection));
        let keys: BTreeSet<&str> = all.map(|(key, _)| key).collect();
        let open = keys
            .into_iter()
            .map(|key| (key.to_owned(), self.open_values(collection, key)));
        open.filter(|(_, values)| !values.is_empty()).collect()
    }

    /// Whose act stands for a key, also where that says it is removed.
    pub(crate) fn standing(&self, collection: &str, key: &str) -> Standing {
        match self.entry(collection, key) {
            None => Standing::Nothing,
            Some(it) if it.conflicts.is_empty() => Standing::One(it.shown.device, it.shown.clock),
            Some(_) => Standing::Several,
        }
    }

    /// In which list a live item stands, and behind what.
    pub(crate) fn place(&self, collection: &str, key: &str) -> Option<(Option<String>, After)> {
        let entry = self.entry(collection, key).filter(|it| it.is_live());
        let list = entry?.shown.place.as_ref()?.list.clone();
        let items = self
            .over
            .list(self.confirmed.as_ref()?, collection, list.as_deref());
        let mut behind = After::Beginning;
        for (item, _) in items {
            if item == key {
                break;
            }
            behind = After::Item(item.to_owned());
        }
        Some((list, behind))
    }

    fn seen(&self, collection: &str, key: &str) -> Seen {
        let live = self.entry(collection, key).filter(|it| it.is_live());
        Seen {
            value: live.and_then(Entry::value).cloned(),
            place: live.and_then(|it| it.shown.place.clone()),
            open: self.open_values(collection, key),
        }
    }

    fn remember(&mut self, collection: &str, key: &str) {
        let place = (collection.to_owned(), key.to_owned());
        if !self.before.contains_key(&place) {
            let seen = self.seen(collection, key);
            self.before.insert(place, seen);
        }
    }

    fn remember_all(&mut self) {
        let Some(state) = &self.confirmed else { return };
        let mut keys: Vec<Key> = Vec::new();
        for name in state.schema().collections().keys() {
            let over = self.over.over(name);
            let all = state.entries(name).chain(over).map(|(key, _)| key);
            keys.extend(all.map(|key| (name.clone(), key.to_owned())));
        }
        keys.iter()
            .for_each(|(collection, key)| self.remember(collection, key));
    }

    /// Ends an input: what is stale acts again. Returns what differs since the last call (OVERLAY-3).
    pub(crate) fn take_changes(&mut self) -> Vec<Output> {
        let stale = std::mem::take(&mut self.stale);
        stale.iter().for_each(|scope| self.refresh(scope));
        let mut changed: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for ((collection, key), before) in std::mem::take(&mut self.before) {
            if self.seen(&collection, &key) != before {
                changed.entry(collection).or_default().push(key);
            }
        }
        let output = |(collection, keys)| Output::Changed { collection, keys };
        changed.into_iter().map(output).collect()
    }
}

impl OpenValue {
    fn of(act: &OpenAct) -> Self {
        Self {
            content: act.content.clone(),
            device: act.device,
            clock: act.clock,
        }
    }
}

impl Shown {
    fn act(&self, seq: Seq, epoch: Epoch) -> Act {
        let other_history = self.epoch.is_some_and(|it| it != epoch);
        let base_seq = if other_history {
            Seq::ZERO
        } else {
            self.base_seq
        };
        Act {
            seq,
            base_seq,
            device: self.device,
            clock: self.clock,
        }
    }
}

#[cfg(test)]
mod tests;
