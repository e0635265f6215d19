//! What an event did to an entry, and what it had seen of what others did (STATE-2, STATE-3).

use super::position::Position;
use crate::clock::Clock;
use crate::event::Event;
use crate::ids::{DeviceId, Seq};
use crate::value::Value;

/// What of an event decides what it does to an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Act {
    /// The event's place.
    pub seq: Seq,
    /// What its author had seen.
    pub base_seq: Seq,
    /// Its author.
    pub device: DeviceId,
    /// When the author acted.
    pub clock: Clock,
}

/// An act that no later one has settled: what its event said, and what later events are judged against.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenAct {
    /// What it said.
    pub content: Content,
    /// Its event's place.
    pub seq: Seq,
    /// Its author.
    pub device: DeviceId,
    /// When the author acted.
    pub clock: Clock,
    /// Where the item stands or stood; only in a list.
    pub place: Option<Place>,
}

/// What an act says.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// It is there, with this value.
    Live(Value),
    /// It was removed.
    Removed,
}

/// Where an item is (LIST-1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// In which of the collection's lists, if it has more than one.
    pub list: Option<String>,
    /// Where in it.
    pub position: Position,
}

impl Act {
    /// Of an event.
    pub fn of(event: &Event) -> Self {
        let Event {
            seq,
            base_seq,
            device,
            clock,
            ..
        } = *event;
        Self {
            seq,
            base_seq,
            device,
            clock,
        }
    }

    /// STATE-2.
    pub fn saw(&self, other: &OpenAct) -> bool {
        other.seq <= self.base_seq || (other.device == self.device && other.seq < self.seq)
    }

    pub(super) fn says(&self, content: Content, place: Option<Place>) -> OpenAct {
        OpenAct {
            content,
            seq: self.seq,
            device: self.device,
            clock: self.clock,
            place,
        }
    }
}

impl OpenAct {
    /// Whether it says that the entry is there.
    pub fn is_live(&self) -> bool {
        self.value().is_some()
    }

    /// What it says stands there.
    pub fn value(&self) -> Option<&Value> {
        match &self.content {
            Content::Live(value) => Some(value),
            Content::Removed => None,
        }
    }

    /// By what acts compare (STATE-3).
    pub(super) fn rank(&self) -> (Clock, DeviceId, Seq) {
        (self.clock, self.device, self.seq)
    }

    /// What it takes in memory beside itself.
    pub(super) fn weight(&self) -> usize {
        let value = self.value().map_or(0, Value::weight);
        let place = self.place.as_ref().map_or(0, |place| {
            place.position.weight() + place.list.as_ref().map_or(0, String::len)
        });
        value + place
    }
}
