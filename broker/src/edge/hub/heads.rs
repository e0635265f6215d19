//! How far the bus has brought the streams: those that moved of late one by one, all others by one position in the
//! store. So memory follows the active streams.

use std::collections::HashMap;
use std::sync::Arc;

use syncline_protocol::{Epoch, Seq, StreamId};

use crate::store::StreamHead;

/// Up to where a stream was brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) epoch: Epoch,
    pub(super) seq: Seq,
    /// Of the event at `seq`.
    pub(super) position: u64,
}

/// When something was read of the store: it says nothing about streams that were forgotten since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading(u64);

/// The heads. Of the streams that moved, the last ones are known by name; they come and go by generations.
#[derive(Debug)]
pub(super) struct Heads {
    young: HashMap<Arc<StreamId>, Known>,
    old: HashMap<Arc<StreamId>, Known>,
    /// How many make a generation.
    generation_max: usize,
    /// How many generations were forgotten.
    forgotten: u64,
    /// Every event at or below it was brought.
    brought: u64,
    /// Every event at or below it was told by comparing with the store, so that the bus may bring it once more.
    compared: u64,
}

impl Heads {
    /// Everything up to a position counts as brought. About `streams_max` streams are known by name.
    pub(super) fn new(position: u64, streams_max: usize) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            generation_max: (streams_max / 2).max(1),
            forgotten: 0,
            brought: position,
            compared: position,
        }
    }

    pub(super) fn brought(&self) -> u64 {
        self.brought
    }

    /// Whether an event was told already, as far as its position says.
    pub(super) fn was_compared(&self, position: u64) -> bool {
        position <= self.compared
    }

    /// The bus has brought every event up to a position.
    pub(super) fn bring(&mut self, position: u64) {
        self.brought = self.brought.max(position);
    }

    /// Every event up to a position has been told by comparing with the store.
    pub(super) fn compare(&mut self, position: u64) {
        self.compared = self.compared.max(position);
        self.bring(position);
    }

    pub(super) fn reading(&self) -> Reading {
        Reading(self.forgotten)
    }

    pub(super) fn get(&self, stream: &StreamId) -> Option<Known> {
        self.young
            .get(stream)
            .or_else(|| self.old.get(stream))
            .copied()
    }

    /// How far a stream was brought whose head was read after `reading`; `None` if it cannot be told from that.
    pub(super) fn of(&self, stream: &StreamId, head: &StreamHead, reading: Reading) -> Option<Seq> {
        match self.get(stream) {
            Some(known) => Some(known.seq),
            // Nothing came of it since, or it would be known.
            None if head.position <= self.brought && reading == self.reading() => Some(head.seq),
            None => None,
        }
    }

    /// A stream was brought further. Gives its name as it is shared.
    pub(super) fn set(&mut self, stream: &StreamId, known: Known) -> Arc<StreamId> {
        let before = self.young.get_key_value(stream);
        let name = match before.or_else(|| self.old.get_key_value(stream)) {
            Some((name, _)) => Arc::clone(name),
            None => Arc::new(stream.clone()),
        };
        self.old.remove(stream);
        self.young.insert(Arc::clone(&name), known);
        if self.young.len() >= self.generation_max {
            self.next_generation();
        }
        name
    }

    /// Forgets what did not move in the last two generations, as far as the position speaks for it.
    fn next_generation(&mut self) {
        let brought = self.brought;
        let mut leaving = std::mem::replace(&mut self.old, std::mem::take(&mut self.young));
        leaving.retain(|_, known| known.position > brought);
        // So many that no position speaks for yet, and so many more before the next generation.
        self.generation_max = self.generation_max.max(2 * leaving.len());
        self.young = leaving;
        self.forgotten += 1;
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}
