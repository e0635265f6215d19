//! What an act makes of an entry (STATE-4 … STATE-10).
//!
//! All policies are the same three steps: which open acts stay, whether the new one joins them, and which is shown.

use super::act::{Act, Content, OpenAct};
use super::collection::Layers;
use super::entry::Entry;
use super::list;
use crate::planted::{Planted, planted};
use crate::schema::{Action, CollectionSchema, Conflict};
use crate::value::Value;

/// The entry under a key after an act on it; `None` if it stays as it is.
pub(super) fn after(
    definition: &CollectionSchema,
    layers: &Layers<'_>,
    key: &str,
    action: &Action,
    by: &Act,
) -> Option<Entry> {
    let current = layers.entry(key);
    let new = match action {
        Action::Put(value) => by.says(Content::Live(value.clone()), None),
        Action::Remove => {
            let place = current.and_then(|entry| list::kept_place(&entry.shown, by));
            by.says(Content::Removed, place)
        }
        Action::Place { value, list, after } => {
            let place = list::place(layers, key, list.as_deref(), after, by);
            by.says(Content::Live(value.clone()), Some(place))
        }
        Action::Count(amount) => {
            let sum = Content::Live(sum(current, *amount)?);
            return Some(Entry::of_acts(vec![by.says(sum, None)], by.seq));
        }
    };
    let acts = settle(definition, current, new, by);
    let is_same = current.is_some_and(|entry| same_acts(entry, &acts));
    (!is_same && !acts.is_empty()).then(|| Entry::of_acts(acts, by.seq))
}

/// STATE-10: what a counter shows after an add; `None` if that leaves the integers of VALUE-1.
pub(super) fn sum(current: Option<&Entry>, amount: i64) -> Option<Value> {
    let counted = current.and_then(Entry::value).and_then(Value::as_i64);
    Value::integer(counted.unwrap_or(0).checked_add(amount)?)
}

/// The open acts after a new one.
fn settle(
    definition: &CollectionSchema,
    current: Option<&Entry>,
    new: OpenAct,
    by: &Act,
) -> Vec<OpenAct> {
    match definition.conflict {
        None | Some(Conflict::LastWriteWins) => last_write_wins(current, new, by),
        Some(Conflict::AddWins) => add_wins(current, new, by),
        Some(Conflict::RemoveWins) => remove_wins(current, new, by),
        Some(Conflict::KeepBoth) => {
            let values_max = definition.open_values_max;
            keep_both(
                current,
                new,
                by,
                values_max.unwrap_or(CollectionSchema::OPEN_VALUES),
            )
        }
    }
}

/// STATE-4.
fn last_write_wins(current: Option<&Entry>, new: OpenAct, by: &Act) -> Vec<OpenAct> {
    let shown = current.map(|entry| &entry.shown);
    let blind = planted(Planted::ClockBeforeCausality);
    match shown.filter(|shown| (blind || !by.saw(shown)) && shown.rank() > new.rank()) {
        Some(winner) => vec![winner.clone()],
        None => vec![new],
    }
}

/// STATE-6.
fn add_wins(current: Option<&Entry>, new: OpenAct, by: &Act) -> Vec<OpenAct> {
    let mut open = unseen(current, by, OpenAct::is_live);
    if new.is_live() {
        open.push(new);
    } else if !current.is_some_and(Entry::is_live) {
        // Nothing is there to remove.
        return current.into_iter().flat_map(Entry::acts).cloned().collect();
    } else if open.is_empty() {
        open.push(new);
    }
    open
}

/// STATE-7.
fn remove_wins(current: Option<&Entry>, new: OpenAct, by: &Act) -> Vec<OpenAct> {
    let mut removals = unseen(current, by, |act| !act.is_live());
    if !new.is_live() {
        removals.push(new);
        return removals;
    }
    if removals.is_empty() {
        return last_write_wins(current, new, by);
    }
    removals
}

/// STATE-8.
fn keep_both(current: Option<&Entry>, new: OpenAct, by: &Act, values_max: usize) -> Vec<OpenAct> {
    let mut open = unseen(current, by, |_| true);
    open.push(new);
    open.sort_unstable_by_key(|act| std::cmp::Reverse(act.rank()));
    open.truncate(values_max);
    open
}

/// The open acts of a sort that an act did not see.
fn unseen(current: Option<&Entry>, by: &Act, sort: impl Fn(&OpenAct) -> bool) -> Vec<OpenAct> {
    let open = current.into_iter().flat_map(Entry::acts);
    open.filter(|act| sort(act) && !by.saw(act))
        .cloned()
        .collect()
}

/// Acts are told apart by their seq.
fn same_acts(entry: &Entry, acts: &[OpenAct]) -> bool {
    let is_open = |act: &OpenAct| acts.iter().any(|other| other.seq == act.seq);
    entry.acts().count() == acts.len() && entry.acts().all(is_open)
}
