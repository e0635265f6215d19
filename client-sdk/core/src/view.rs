//! What the app sees: the replica, and over it this client's intents that the replica does not have yet (OVERLAY-1).

use std::collections::BTreeMap;
use std::sync::Arc;

use syncline_protocol::schema::BadData;
use syncline_protocol::state::{Act, NotNext, SnapshotError};
use syncline_protocol::{
    Clock, DeviceId, Entry, Epoch, Event, EventType, Intent, Operation, Overlay, Schema,
    SchemaHash, Seq, Snapshot, State, StreamId, Value,
};

use crate::output::Output;
use crate::rows::IntentId;

/// A collection and a key in it.
type Place = (String, String);

/// What an intent of the overlay does.
#[derive(Debug, Clone)]
struct Shown {
    operation: Operation,
    device: DeviceId,
    clock: Clock,
    base_seq: Seq,
    epoch: Option<Epoch>,
}

/// The intents over one key.
type Intents = BTreeMap<IntentId, Shown>;

/// See the module. Without a schema nothing can be shown.
#[derive(Debug, Default)]
pub(crate) struct View {
    confirmed: Option<State>,
    /// Whether `confirmed` came from a broker or is only the empty one to start with.
    has_replica: bool,
    intents: BTreeMap<Place, Intents>,
    /// What they make of their keys.
    overlay: Overlay,
    /// Live values from before this input, of the keys that it touched.
    before: BTreeMap<Place, Option<Value>>,
}

impl View {
    /// Gives up the replica and the overlay for an empty replica under a schema.
    pub(crate) fn start_over(&mut self, schema: Arc<Schema>) {
        self.remember_all();
        *self = Self {
            confirmed: Some(State::new(schema)),
            has_replica: false,
            intents: BTreeMap::new(),
            overlay: Overlay::default(),
            before: std::mem::take(&mut self.before),
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

    /// Takes a snapshot whole or not at all (REPLICA-1, REPLICA-2).
    pub(crate) fn take(&mut self, snapshot: &Snapshot) -> Result<(), SnapshotError> {
        let Some(mut next) = self.confirmed.clone() else {
            return Ok(());
        };
        next.take(snapshot)?;
        if snapshot.since == Seq::ZERO {
            self.remember_all();
        }
        for (collection, entries) in &snapshot.collections {
            entries
                .keys()
                .for_each(|key| self.remember(collection, key));
        }
        self.confirmed = Some(next);
        self.has_replica = true;
        self.refresh_all();
        Ok(())
    }

    /// Applies the next event (REPLICA-3).
    pub(crate) fn apply(&mut self, event: &Event) -> Result<(), NotNext> {
        if let Ok(Some(operation)) = self.operation(&event.event_type, &event.event_data) {
            self.remember(&operation.collection, &operation.key);
        }
        let Some(state) = self.confirmed.as_mut() else {
            return Ok(());
        };
        if let Some(operation) = state.apply(event)? {
            self.refresh(&(operation.collection, operation.key));
        }
        Ok(())
    }

    /// Puts an intent into the overlay, or replaces it there.
    pub(crate) fn show(&mut self, id: IntentId, intent: &Intent) {
        let Ok(Some(operation)) = self.operation(&intent.event_type, &intent.event_data) else {
            return;
        };
        let Some(device) = intent.device else { return };
        self.remember(&operation.collection, &operation.key);
        let place = (operation.collection.clone(), operation.key.clone());
        let shown = Shown {
            operation,
            device,
            clock: intent.clock.unwrap_or_default(),
            base_seq: intent.base_seq.unwrap_or_default(),
            epoch: intent.epoch,
        };
        let intents = self.intents.entry(place.clone()).or_default();
        intents.insert(id, shown);
        self.refresh(&place);
    }

    /// Takes an intent out of the overlay.
    pub(crate) fn hide(&mut self, id: IntentId, intent: &Intent) {
        let Ok(Some(operation)) = self.operation(&intent.event_type, &intent.event_data) else {
            return;
        };
        self.remember(&operation.collection, &operation.key);
        let place = (operation.collection, operation.key);
        let Some(intents) = self.intents.get_mut(&place) else {
            return;
        };
        intents.remove(&id);
        if intents.is_empty() {
            self.intents.remove(&place);
        }
        self.refresh(&place);
    }

    fn refresh_all(&mut self) {
        let places: Vec<Place> = self.intents.keys().cloned().collect();
        places.iter().for_each(|place| self.refresh(place));
    }

    fn refresh(&mut self, place: &Place) {
        self.overlay.take_out(&place.0, &place.1);
        let Some(state) = &self.confirmed else { return };
        let mut seq = state.seq();
        for shown in self
            .intents
            .get(place)
            .into_iter()
            .flat_map(Intents::values)
        {
            seq = seq.next();
            let act = shown.act(seq, state.epoch());
            self.overlay.act(state, &shown.operation, &act);
        }
    }

    /// The live value of a key.
    pub(crate) fn value(&self, collection: &str, key: &str) -> Option<&Value> {
        let state = self.confirmed.as_ref()?;
        self.overlay.entry(state, collection, key)?.value()
    }

    /// All live keys of a collection and their values, by the keys' order.
    pub(crate) fn entries(&self, collection: &str) -> BTreeMap<String, Value> {
        let mut live = BTreeMap::new();
        let mut put = |key: &str, entry: Option<&Entry>| match entry.and_then(Entry::value) {
            Some(value) => drop(live.insert(key.to_owned(), value.clone())),
            None => drop(live.remove(key)),
        };
        if let Some(state) = &self.confirmed {
            state
                .entries(collection)
                .for_each(|(key, entry)| put(key, Some(entry)));
        }
        let over = self.overlay.over(collection);
        over.for_each(|(key, entry)| put(key, Some(entry)));
        live
    }

    fn remember(&mut self, collection: &str, key: &str) {
        let place = (collection.to_owned(), key.to_owned());
        if !self.before.contains_key(&place) {
            let value = self.value(collection, key).cloned();
            self.before.insert(place, value);
        }
    }

    fn remember_all(&mut self) {
        let Some(state) = &self.confirmed else { return };
        let of_state = state.schema().collections().keys().flat_map(|name| {
            state
                .entries(name)
                .map(|(key, _)| (name.clone(), key.to_owned()))
        });
        let places: Vec<Place> = of_state.chain(self.intents.keys().cloned()).collect();
        places
            .iter()
            .for_each(|(collection, key)| self.remember(collection, key));
    }

    /// What differs since the last call (OVERLAY-3).
    pub(crate) fn take_changes(&mut self) -> Vec<Output> {
        let mut changed: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for ((collection, key), before) in std::mem::take(&mut self.before) {
            if self.value(&collection, &key) != before.as_ref() {
                changed.entry(collection).or_default().push(key);
            }
        }
        let output = |(collection, keys)| Output::Changed { collection, keys };
        changed.into_iter().map(output).collect()
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
