//! What one read has gathered so far.

use syncline_protocol::Seq;

use super::{Committed, ReadLimit};

/// A read under way: ascending events after a cursor, within a limit.
#[derive(Debug)]
pub(crate) struct Piece {
    events: Vec<Committed>,
    bytes: usize,
    cursor: Seq,
    limit: ReadLimit,
}

impl Piece {
    pub(crate) fn new(after: Seq, limit: ReadLimit) -> Piece {
        Piece {
            events: Vec::new(),
            bytes: 0,
            cursor: after,
            limit,
        }
    }

    /// The seq after which the read goes on.
    pub(crate) fn cursor(&self) -> Seq {
        self.cursor
    }

    /// Whether an event of this size still fits; the first one always does.
    pub(crate) fn has_room(&self, len: usize) -> bool {
        let taken = self.events.len();
        taken == 0
            || (taken < self.limit.events && self.bytes.saturating_add(len) <= self.limit.bytes)
    }

    /// Takes the event after the cursor.
    pub(crate) fn push(&mut self, event: Committed) {
        self.bytes += event.payload().len();
        self.cursor = event.seq();
        self.events.push(event);
    }

    /// Takes events from the one after the cursor on; says whether there was room for all of them.
    pub(crate) fn extend<'a>(&mut self, events: impl Iterator<Item = &'a Committed>) -> bool {
        for event in events {
            if !self.has_room(event.payload().len()) {
                return false;
            }
            self.push(event.clone());
        }
        true
    }

    pub(crate) fn into_events(self) -> Vec<Committed> {
        self.events
    }
}
