//! The order of a list's items, and where a new one goes (LIST-1 … LIST-4).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::act::{Act, OpenAct, Place};
use super::collection::Layers;
use super::entry::Entry;
use super::position::Position;
use crate::schema::After;

/// The live items of a collection's lists, each list in its order.
#[derive(Debug, Clone, Default)]
pub(super) struct Lists {
    unnamed: Items,
    named: BTreeMap<String, Items>,
}

type Items = BTreeSet<(Position, Arc<str>)>;

impl Lists {
    pub(super) fn insert(&mut self, key: &Arc<str>, entry: &Entry) {
        if let Some(place) = place_of_live(entry) {
            let items = match &place.list {
                Some(list) => self.named.entry(list.clone()).or_default(),
                None => &mut self.unnamed,
            };
            items.insert((place.position.clone(), Arc::clone(key)));
        }
    }

    pub(super) fn remove(&mut self, key: &Arc<str>, entry: &Entry) {
        let Some(place) = place_of_live(entry) else {
            return;
        };
        let item = (place.position.clone(), Arc::clone(key));
        let Some(list) = &place.list else {
            self.unnamed.remove(&item);
            return;
        };
        if let Some(items) = self.named.get_mut(list) {
            items.remove(&item);
            if items.is_empty() {
                self.named.remove(list);
            }
        }
    }

    /// The items of a list above a position, or all, in their order.
    pub(super) fn items(
        &self,
        list: Option<&str>,
        above: Option<&Position>,
    ) -> impl DoubleEndedIterator<Item = (&Position, &str)> {
        let items = match list {
            Some(list) => self.named.get(list),
            None => Some(&self.unnamed),
        };
        let from = match above {
            Some(position) => Bound::Included((position.above(), Arc::from(""))),
            None => Bound::Unbounded,
        };
        let items = items.into_iter();
        items.flat_map(move |items| {
            let range = items.range((from.clone(), Bound::Unbounded));
            range.map(|(position, key)| (position, &**key))
        })
    }
}

fn place_of_live(entry: &Entry) -> Option<&Place> {
    entry.shown.place.as_ref().filter(|_| entry.is_live())
}

/// LIST-3: where an event puts the item `key` of `list`.
pub(super) fn place(
    layers: &Layers<'_>,
    key: &str,
    list: Option<&str>,
    after: &After,
    by: &Act,
) -> Place {
    let lower = match after {
        After::Beginning => None,
        After::End => layers.last(list, key),
        After::Item(item) => {
            let neighbour = neighbour(layers, key, list, item, by);
            neighbour.or_else(|| layers.last(list, key))
        }
    };
    let upper = layers.first_above(list, lower, key);
    Place {
        list: list.map(str::to_owned),
        position: Position::between(lower, upper),
    }
}

/// The position of the neighbour that an event names, if it counts.
fn neighbour<'a>(
    layers: &Layers<'a>,
    key: &str,
    list: Option<&str>,
    item: &str,
    by: &Act,
) -> Option<&'a Position> {
    let shown = &layers.entry(item).filter(|_| item != key)?.shown;
    let counts = shown.is_live() || !by.saw(shown);
    let place = shown.place.as_ref().filter(|_| counts)?;
    (place.list.as_deref() == list).then_some(&place.position)
}

/// LIST-4: what a removal keeps of the act that was shown before it.
pub(super) fn kept_place(shown: &OpenAct, by: &Act) -> Option<Place> {
    let is_settled = !shown.is_live() && by.saw(shown);
    shown.place.clone().filter(|_| !is_settled)
}
