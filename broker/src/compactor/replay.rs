//! States made from what the store keeps: its base, and the events after that.

use std::sync::Arc;

use syncline_protocol::{Entry, Event, Operation, Schema, Seq, State, StreamId};

use super::StatesError;
use crate::store::{Base, Committed, EventStore, ReadLimit, StoreError};

/// How much of the log is read at a time.
pub(super) const READ: ReadLimit = ReadLimit {
    events: 512,
    bytes: 1 << 20,
};

/// How often a state is begun anew because its base moved on meanwhile. The base moves in steps of what is read at a time,
/// and slower.
const ATTEMPTS_MAX: usize = 8;

/// The state that stands for the events that are gone.
pub(super) fn at_base(
    store: &dyn EventStore,
    schema: &Arc<Schema>,
    stream: &StreamId,
) -> Result<(Base, State), StatesError> {
    let mut entries = Vec::new();
    let mut bad = None;
    let base = store.entries(stream, &mut |stored| match Entry::decode(&stored.entry) {
        Ok(entry) => entries.push((stored.collection, stored.key, entry)),
        Err(error) => bad = Some(format!("{}: {}: {error}", stored.collection, stored.key)),
    })?;
    if let Some(reason) = bad {
        return Err(damaged(stream, base.seq, &reason));
    }
    let schema = Arc::clone(schema);
    let state = State::restore(schema, base.epoch, base.seq, entries.into_iter());
    Ok((base, state))
}

/// Whoever brings a state forward.
pub(super) trait Follower {
    /// Up to where it is.
    fn seq(&self) -> Seq;
    /// Takes the next event.
    fn take(&mut self, stream: &StreamId, committed: &Committed) -> Result<(), StatesError>;
    /// Begins anew from the store's base.
    fn begin_anew(&mut self, store: &dyn EventStore, stream: &StreamId) -> Result<(), StatesError>;
}

/// Brings a follower up to a seq that the store has.
pub(super) fn follow(
    store: &dyn EventStore,
    stream: &StreamId,
    follower: &mut dyn Follower,
    to: Seq,
) -> Result<(), StatesError> {
    let mut attempts = 0;
    while follower.seq() < to {
        match store.read(stream, follower.seq(), READ) {
            Ok(events) if events.is_empty() => {
                return Err(damaged(stream, follower.seq(), "it is missing"));
            }
            Ok(events) => {
                let wanted = events.iter().take_while(|event| event.seq() <= to);
                wanted
                    .into_iter()
                    .try_for_each(|event| follower.take(stream, event))?;
            }
            Err(StoreError::Folded { .. }) if attempts < ATTEMPTS_MAX => {
                attempts += 1;
                follower.begin_anew(store, stream)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Applies the next event, in whatever epoch it is; says what it did if that changed an entry.
pub(super) fn apply(
    state: &mut State,
    stream: &StreamId,
    committed: &Committed,
) -> Result<Option<Operation>, StatesError> {
    let after = state.seq();
    let damaged = |reason: String| damaged(stream, after, &reason);
    let event = Event::decode(committed.payload()).map_err(|error| damaged(error.to_string()))?;
    if state.seq() > Seq::ZERO && state.epoch() != event.epoch {
        state.begin_epoch(event.epoch);
    }
    state
        .apply(&event)
        .map_err(|error| damaged(error.to_string()))
}

pub(super) fn damaged(stream: &StreamId, seq: Seq, reason: &str) -> StatesError {
    StatesError::Damaged {
        stream: stream.clone(),
        seq,
        reason: reason.to_owned(),
    }
}
