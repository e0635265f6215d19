//! A record that has its position.

use syncline_protocol::StreamId;

use crate::store::{Committed, Control, Footprint, Record, StreamHead};

/// A record that is in the journal, or about to be.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) position: u64,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Event {
        event: Committed,
        footprint: Footprint,
    },
    Control(Control),
}

impl Pending {
    pub(super) fn event(position: u64, record: &Record) -> Pending {
        let what = What::Event {
            event: Committed::of(&record.event, position),
            footprint: Footprint::of(&record.event, record.hash),
        };
        Pending { position, what }
    }

    pub(super) fn stream(&self) -> &StreamId {
        match &self.what {
            What::Event { event, .. } => event.stream(),
            What::Control(control) => &control.stream,
        }
    }

    /// The event, if it is one.
    pub(super) fn committed(&self) -> Option<&Committed> {
        match &self.what {
            What::Event { event, .. } => Some(event),
            What::Control(_) => None,
        }
    }

    pub(super) fn footprint(&self) -> Option<&Footprint> {
        match &self.what {
            What::Event { footprint, .. } => Some(footprint),
            What::Control(_) => None,
        }
    }

    /// What it weighs in memory, give or take the fixed part.
    pub(super) fn bytes(&self) -> usize {
        self.committed().map_or(0, |event| event.payload().len())
    }

    /// The head after it.
    pub(super) fn advance(&self, head: &mut StreamHead) {
        match &self.what {
            What::Event { footprint, .. } => head.advance(footprint),
            What::Control(control) => head.obey(control),
        }
        head.position = self.position;
    }
}
