//! A slow state that keeps every event and finds what is open from the definitions: which acts no later event saw.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use syncline_protocol::schema::{After, CollectionSchema, Conflict, Kind};
use syncline_protocol::state::Position;
use syncline_protocol::{Action, Clock, DeviceId, Event, Schema, Value};

/// What an event said, with the place that it had when it was applied.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) seq: u64,
    base_seq: u64,
    device: DeviceId,
    clock: Clock,
    action: Action,
    pub(crate) place: Option<(Option<String>, Position)>,
    /// Of a counter: the sum after it.
    pub(crate) value: Option<Value>,
}

/// The events of one key.
#[derive(Debug, Clone, Default)]
struct Key {
    said: Vec<Said>,
}

/// What stands for a key.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    pub(crate) shown: Said,
    /// The seqs of all open acts, the shown one first, then the highest first.
    pub(crate) open: Vec<u64>,
    pub(crate) changed: u64,
}

pub(crate) struct Model {
    schema: Arc<Schema>,
    keys: BTreeMap<(String, String), Key>,
}

impl Said {
    fn saw(&self, other: &Self) -> bool {
        other.seq <= self.base_seq || (other.device == self.device && other.seq < self.seq)
    }

    fn rank(&self) -> (Clock, DeviceId, u64) {
        (self.clock, self.device, self.seq)
    }

    pub(crate) fn is_live(&self) -> bool {
        self.value.is_some()
    }
}

impl Model {
    pub(crate) fn new(schema: Arc<Schema>) -> Self {
        let keys = BTreeMap::new();
        Self { schema, keys }
    }

    pub(crate) fn apply(&mut self, event: &Event) {
        let operation = self
            .schema
            .operation(&event.event_type, &event.event_data)
            .unwrap()
            .unwrap();
        let (collection, key) = (operation.collection, operation.key);
        let mut said = Said {
            seq: event.seq.get(),
            base_seq: event.base_seq.get(),
            device: event.device,
            clock: event.clock,
            place: None,
            value: None,
            action: operation.action,
        };
        match said.action.clone() {
            Action::Put(value) => said.value = Some(value),
            Action::Remove => said.place = self.kept_place(&collection, &key, &said),
            Action::Count(amount) => match self.sum(&collection, &key, amount) {
                Some(sum) => said.value = Some(sum),
                None => return,
            },
            Action::Place { value, list, after } => {
                said.value = Some(value);
                let position = self.position(&collection, &key, list.as_deref(), &after, &said);
                said.place = Some((list, position));
            }
        }
        self.keys
            .entry((collection, key))
            .or_default()
            .said
            .push(said);
    }

    pub(crate) fn standing(&self, collection: &str, key: &str) -> Option<Standing> {
        let definition = &self.schema.collections()[collection];
        let key = self.keys.get(&(collection.to_owned(), key.to_owned()))?;
        let open = open(definition, &key.said);
        let shown = open.first()?.clone();
        let seqs = |said: &[Said]| said.iter().map(|it| it.seq).collect::<Vec<_>>();
        // The first event from which on nothing changed any more.
        let lengths = (1..=key.said.len()).rev();
        let same =
            lengths.take_while(|n| seqs(&self::open(definition, &key.said[..*n])) == seqs(&open));
        let changed = key.said[same.last().unwrap() - 1].seq;
        Some(Standing {
            shown,
            open: seqs(&open),
            changed,
        })
    }

    /// Every key that an event named.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (&str, &str)> {
        let keys = self.keys.keys();
        keys.map(|(collection, key)| (collection.as_str(), key.as_str()))
    }

    /// The live items of a list in their order, with their positions.
    pub(crate) fn list(&self, collection: &str, list: Option<&str>) -> Vec<(Position, String)> {
        let keys = self.keys().filter(|(name, _)| *name == collection);
        let mut items: Vec<_> = keys
            .filter_map(|(_, key)| Some((self.standing(collection, key)?.shown, key)))
            .filter(|(shown, _)| shown.is_live())
            .filter_map(|(shown, key)| Some((shown.place?, key)))
            .filter(|((of, _), _)| of.as_deref() == list)
            .map(|((_, position), key)| (position, key.to_owned()))
            .collect();
        items.sort();
        items
    }

    /// LIST-3 and LIST-5, read aloud.
    fn position(
        &self,
        collection: &str,
        key: &str,
        list: Option<&str>,
        after: &After,
        said: &Said,
    ) -> Position {
        let mut others = self.list(collection, list);
        others.retain(|(_, other)| other != key);
        let end = others.last().map(|(position, _)| position.clone());
        let lower = match after {
            After::Beginning => None,
            After::End => end,
            After::Item(item) => match self.standing(collection, item) {
                Some(neighbour) if item != key => {
                    let shown = neighbour.shown;
                    let counts = shown.is_live() || !said.saw(&shown);
                    let place = shown.place.filter(|_| counts);
                    let place = place.filter(|(of, _)| of.as_deref() == list);
                    place.map(|(_, position)| position).or(end)
                }
                _ => end,
            },
        };
        let above = |position: &Position| lower.as_ref().is_none_or(|lower| position > lower);
        let upper = others
            .iter()
            .map(|(position, _)| position)
            .find(|it| above(it));
        Position::between(lower.as_ref(), upper)
    }

    /// LIST-4.
    fn kept_place(
        &self,
        collection: &str,
        key: &str,
        said: &Said,
    ) -> Option<(Option<String>, Position)> {
        let shown = self.standing(collection, key)?.shown;
        let is_settled = !shown.is_live() && said.saw(&shown);
        shown.place.filter(|_| !is_settled)
    }

    fn sum(&self, collection: &str, key: &str, amount: i64) -> Option<Value> {
        let counted = self.standing(collection, key);
        let counted = counted.and_then(|it| it.shown.value?.as_i64()).unwrap_or(0);
        Value::integer(counted.checked_add(amount)?)
    }
}

/// The open acts of a key after its events, the shown one first.
fn open(definition: &CollectionSchema, said: &[Said]) -> Vec<Said> {
    let mut open = match definition.conflict {
        _ if definition.kind == Kind::Counter => said.last().into_iter().cloned().collect(),
        None | Some(Conflict::LastWriteWins) => winner(said).into_iter().collect(),
        Some(Conflict::AddWins) => add_wins(said),
        Some(Conflict::RemoveWins) => remove_wins(said),
        Some(Conflict::KeepBoth) => keep_both(said, definition.open_values_max.unwrap()),
    };
    open.sort_by_key(|it| Reverse(it.rank()));
    if let Some(at) = open.iter().position(Said::is_live) {
        let shown = open.remove(at);
        open.insert(0, shown);
    }
    open
}

/// Those of a sort that no later event saw.
fn unseen(said: &[Said], sort: impl Fn(&Said) -> bool) -> Vec<Said> {
    let unseen = said
        .iter()
        .enumerate()
        .filter(|(at, it)| sort(it) && !said[at + 1..].iter().any(|later| later.saw(it)));
    unseen.map(|(_, it)| it.clone()).collect()
}

/// STATE-4: replaced by whoever saw it, or by a higher one.
fn winner(said: &[Said]) -> Option<Said> {
    let (last, before) = said.split_last()?;
    match winner(before) {
        Some(winner) if !last.saw(&winner) && winner.rank() > last.rank() => Some(winner),
        _ => Some(last.clone()),
    }
}

/// STATE-6: if none is open, the removal that took the last one.
fn add_wins(said: &[Said]) -> Vec<Said> {
    let open = unseen(said, Said::is_live);
    if !open.is_empty() {
        return open;
    }
    let first_add = said.iter().position(Said::is_live).unwrap_or(said.len());
    let lengths = (first_add + 1..=said.len()).rev();
    let empty = lengths.take_while(|n| unseen(&said[..*n], Said::is_live).is_empty());
    empty
        .last()
        .map(|n| said[n - 1].clone())
        .into_iter()
        .collect()
}

/// STATE-7: if no removal is open, the winner of the adds since then.
fn remove_wins(said: &[Said]) -> Vec<Said> {
    let removals = |said: &[Said]| unseen(said, |it| !it.is_live());
    let open = removals(said);
    if !open.is_empty() {
        return open;
    }
    let lengths = (1..=said.len()).rev();
    let since = lengths
        .take_while(|n| removals(&said[..*n]).is_empty())
        .last();
    since
        .and_then(|n| winner(&said[n - 1..]))
        .into_iter()
        .collect()
}

/// STATE-8: whoever was the lowest of too many is gone for good.
fn keep_both(said: &[Said], values_max: usize) -> Vec<Said> {
    let mut dropped: Vec<u64> = Vec::new();
    let mut open = Vec::new();
    for n in 1..=said.len() {
        open = unseen(&said[..n], |it| !dropped.contains(&it.seq));
        open.sort_by_key(|it| Reverse(it.rank()));
        dropped.extend(open.drain(values_max.min(open.len())..).map(|it| it.seq));
    }
    open
}
