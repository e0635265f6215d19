//! One stream's fold: from its base to its horizon, in bounded steps, and then what is no longer needed below it.
//!
//! The state at the base is in memory meanwhile: the place of a list's item depends on its neighbours. It is never ahead of
//! what the store has been told to keep: a step that the store does not take now is asked again as it is.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use syncline_protocol::{Schema, Seq, State, StreamId, UnixMillis};

use super::replay::{self, READ};
use super::{StatesError, moves, profile};
use crate::store::{Base, EventStore, Fold, Folded, Move, ReadLimit, StoredEntry, StreamHead};

/// Tombstones that go in one step.
const REMOVES_MAX: usize = 512;

/// The event after a seq.
pub(super) const ONE: ReadLimit = ReadLimit {
    events: 1,
    bytes: 0,
};

/// A fold on its way.
#[derive(Debug)]
pub(super) struct Folding {
    stream: StreamId,
    /// As it was at the beginning: the horizon is where the fold goes.
    head: StreamHead,
    /// What the store has.
    base: Base,
    state: State,
    /// What the store has not taken yet, the last first.
    waiting: Vec<Fold>,
    /// Up to where tombstones were looked for.
    floor: Option<Seq>,
}

/// How a step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stepped {
    /// There is more to do.
    More,
    /// The store cannot do it yet.
    NotYet,
    /// The base is not where it was: whatever was planned is void.
    Moved,
    /// All is folded, and the tombstones up to `floor` are gone.
    Done,
}

impl Folding {
    /// Of a stream with this head; `known` is the state at its base, if somebody has it.
    pub(super) fn begin(
        store: &dyn EventStore,
        schema: &Arc<Schema>,
        (stream, head): (StreamId, StreamHead),
        known: Option<State>,
    ) -> Result<Folding, StatesError> {
        let base = store.base(&stream)?;
        let known = known.filter(|state| (state.seq(), state.epoch()) == (base.seq, base.epoch));
        let (mut base, state) = match known {
            Some(state) => (base, state),
            None => replay::at_base(store, schema, &stream)?,
        };
        if base.seq < head.horizon {
            let raised = this_move(store, &stream, &head)?;
            moves::note(&mut base, raised);
        }
        Ok(Folding {
            stream,
            head,
            base,
            state,
            waiting: Vec::new(),
            floor: None,
        })
    }

    pub(super) fn stream(&self) -> &StreamId {
        &self.stream
    }

    /// What was collected: up to where, and the highest `changed` of it.
    pub(super) fn collected(&self) -> Option<(Seq, Seq)> {
        self.floor.map(|floor| (floor, self.base.removed_floor))
    }

    /// The state at the base, once all is done.
    pub(super) fn into_state(self) -> (StreamId, State) {
        (self.stream, self.state)
    }

    /// Does a bounded piece of it.
    pub(super) fn step(
        &mut self,
        store: &dyn EventStore,
        tombstone_retention_ms: u64,
        now: UnixMillis,
    ) -> Result<Stepped, StatesError> {
        if self.waiting.is_empty() {
            if self.base.seq < self.head.horizon {
                let fold = self.next_events(store)?;
                self.waiting.push(fold);
            } else if self.floor.is_none() {
                let floor = moves::floor(&self.base, tombstone_retention_ms, now);
                self.waiting = floor.map_or_else(Vec::new, |floor| self.collect(floor));
            }
        }
        let Some(fold) = self.waiting.last() else {
            return Ok(Stepped::Done);
        };
        Ok(match store.fold(fold.clone())? {
            Folded::Done => {
                if let Some(done) = self.waiting.pop() {
                    self.base = done.base;
                }
                Stepped::More
            }
            Folded::NotYet if self.is_of_another(store)? => Stepped::Moved,
            Folded::NotYet => Stepped::NotYet,
            Folded::Moved => Stepped::Moved,
        })
    }

    /// A stream that was erased and begins again is at the base where a first fold begins, and its horizon is lower: what was
    /// planned would wait for it, and then bring back what was erased.
    fn is_of_another(&self, store: &dyn EventStore) -> Result<bool, StatesError> {
        Ok(store.head(&self.stream)?.horizon < self.head.horizon)
    }

    /// The next events and the entries that they change.
    fn next_events(&mut self, store: &dyn EventStore) -> Result<Fold, StatesError> {
        let from = self.base.seq;
        let events = store.read(&self.stream, from, READ)?;
        let mut changed = BTreeSet::new();
        for event in events.iter().filter(|it| it.seq() <= self.head.horizon) {
            let operation = replay::apply(&mut self.state, &self.stream, event)?;
            changed.extend(operation.map(|it| (it.collection, it.key)));
        }
        if self.state.seq() == from {
            return Err(replay::damaged(&self.stream, from, "it is missing"));
        }
        // EPOCH-2: an epoch may have begun here, or later; what is kept above says of itself of which epoch it is.
        if self.state.seq() == self.head.horizon && self.state.epoch() != self.head.epoch {
            self.state.begin_epoch(self.head.epoch);
        }
        let puts = changed.into_iter();
        let puts = puts.filter_map(|(collection, key)| self.stored(collection, key));
        Ok(Fold {
            stream: self.stream.clone(),
            from,
            puts: puts.collect(),
            removes: Vec::new(),
            base: Base {
                epoch: self.state.epoch(),
                seq: self.state.seq(),
                ..self.base.clone()
            },
        })
    }

    fn stored(&self, collection: String, key: String) -> Option<StoredEntry> {
        let entry = Bytes::from(self.state.entry(&collection, &key)?.encode());
        Some(StoredEntry {
            collection,
            key,
            entry,
        })
    }

    /// The steps that take the tombstones up to `floor` out, the last first. The floor of the deltas rises with the first
    /// of them; what allowed it is forgotten with the last, so that a crash in between loses nothing.
    fn collect(&mut self, floor: Seq) -> Vec<Fold> {
        self.floor = Some(floor);
        let gone = self.state.collect(floor);
        let removed = gone.iter().map(|(_, _, changed)| *changed).max();
        let removed = removed.unwrap_or(Seq::ZERO);
        let mut base = self.base.clone();
        moves::collected(&mut base, floor, removed);
        let keys: Vec<_> = gone.into_iter().map(|(name, key, _)| (name, key)).collect();
        let mut steps: Vec<_> = keys
            .chunks(REMOVES_MAX)
            .map(|keys| Fold {
                stream: self.stream.clone(),
                from: base.seq,
                puts: Vec::new(),
                removes: keys.to_vec(),
                base: Base {
                    moves: self.base.moves.clone(),
                    ..base.clone()
                },
            })
            .collect();
        match steps.last_mut() {
            Some(last) => last.base = base,
            None => steps.push(Fold {
                stream: self.stream.clone(),
                from: base.seq,
                puts: Vec::new(),
                removes: Vec::new(),
                base,
            }),
        }
        steps.reverse();
        steps
    }
}

/// The horizon that is folded to. Others may have followed since it was declared, so that its `at` is late, never early.
fn this_move(
    store: &dyn EventStore,
    stream: &StreamId,
    head: &StreamHead,
) -> Result<Move, StatesError> {
    let event = store.read(stream, head.horizon.previous(), ONE)?;
    let accepted_at = profile::accepted_at(stream, &event)?;
    Ok(Move {
        horizon: head.horizon,
        at: head.seq,
        accepted_at: accepted_at.unwrap_or(head.accepted_at),
    })
}
