//! One entry: what its winner said, and what later events are judged against (STATE-2 … STATE-4).

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::digest::Digest;
use crate::clock::Clock;
use crate::event::{Event, put, put_clock, read_clock};
use crate::fields::{DecodeError, Fields, Form, number};
use crate::ids::{DeviceId, Seq};
use crate::schema::Action;
use crate::value::Value;

/// What an entry says.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// It is there, with this value.
    Live(Value),
    /// It was removed.
    Removed,
}

/// One entry of a collection.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// What the winner said.
    pub content: Content,
    /// The winner's place.
    pub seq: Seq,
    /// The winner's device.
    pub device: DeviceId,
    /// The winner's clock.
    pub clock: Clock,
    /// Further open values; always empty for `last_write_wins`.
    pub conflicts: Vec<OpenValue>,
}

/// A value that stands beside the winner's.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenValue {
    /// What its event said.
    pub content: Content,
    /// Its event's place.
    pub seq: Seq,
    /// Its device.
    pub device: DeviceId,
    /// Its clock.
    pub clock: Clock,
}

/// What of an event decides who wins.
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

    fn saw(&self, winner: &Entry) -> bool {
        winner.seq <= self.base_seq || (winner.device == self.device && winner.seq < self.seq)
    }

    fn beats(&self, winner: &Entry) -> bool {
        (self.clock, self.device, self.seq) > (winner.clock, winner.device, winner.seq)
    }
}

impl Entry {
    /// The entry after an act on it; `None` if it stays as it is (STATE-4).
    pub fn after(current: Option<&Self>, action: Action, act: &Act) -> Option<Self> {
        if current.is_some_and(|winner| !act.saw(winner) && !act.beats(winner)) {
            return None;
        }
        let content = match action {
            Action::Add => Content::Live(true.into()),
            Action::Remove => Content::Removed,
        };
        let Act {
            seq, device, clock, ..
        } = *act;
        Some(Self {
            content,
            seq,
            device,
            clock,
            conflicts: Vec::new(),
        })
    }

    /// The value, if the entry is live.
    pub fn value(&self) -> Option<&Value> {
        if let Content::Live(value) = &self.content {
            Some(value)
        } else {
            None
        }
    }

    /// DIGEST-1.
    pub(super) fn digest(&self, collection: &str, key: &str) -> Digest {
        if self.content == Content::Removed {
            return Digest::default();
        }
        let entry = self.to_value(Form::MessagePack);
        let item = Value::Array(vec![collection.into(), key.into(), entry]);
        Digest::of_hash(&Sha256::digest(item.to_msgpack()).into())
    }

    pub(crate) fn to_value(&self, form: Form) -> Value {
        let conflicts = self
            .conflicts
            .iter()
            .map(|open| Value::Map(open.to_map(form)))
            .collect();
        let winner = OpenValue {
            content: self.content.clone(),
            seq: self.seq,
            device: self.device,
            clock: self.clock,
        };
        let mut map = winner.to_map(form);
        put(&mut map, "conflicts", Some(Value::Array(conflicts)));
        Value::Map(map)
    }

    pub(crate) fn from_value(value: Value) -> Result<Self, DecodeError> {
        let mut fields = Fields::of(value)?;
        let conflicts = match fields.required("conflicts")? {
            Value::Array(items) => items
                .into_iter()
                .map(OpenValue::from_value)
                .collect::<Result<_, _>>()?,
            _ => {
                return Err(DecodeError::Type {
                    name: "conflicts",
                    expected: "an array",
                });
            }
        };
        let OpenValue {
            content,
            seq,
            device,
            clock,
        } = OpenValue::of_fields(fields)?;
        Ok(Self {
            content,
            seq,
            device,
            clock,
            conflicts,
        })
    }
}

impl OpenValue {
    fn to_map(&self, form: Form) -> BTreeMap<String, Value> {
        let mut map = BTreeMap::new();
        match &self.content {
            Content::Live(value) => put(&mut map, "value", Some(value.clone())),
            Content::Removed => put(&mut map, "removed", Some(true.into())),
        }
        put(&mut map, "seq", Some(number(self.seq.get())));
        put(&mut map, "device_uuid", Some(form.device(self.device)));
        put_clock(&mut map, Some(self.clock));
        map
    }

    fn from_value(value: Value) -> Result<Self, DecodeError> {
        Self::of_fields(Fields::of(value)?)
    }

    fn of_fields(mut fields: Fields) -> Result<Self, DecodeError> {
        let content = match (fields.flag("removed")?, fields.raw("value")) {
            (true, _) => Content::Removed,
            (false, Some(value)) => Content::Live(value),
            (false, None) => return Err(DecodeError::Missing("value")),
        };
        Ok(Self {
            content,
            seq: fields.required_seq("seq")?,
            device: fields
                .device("device_uuid")?
                .ok_or(DecodeError::Missing("device_uuid"))?,
            clock: read_clock(&mut fields)?.ok_or(DecodeError::Missing("timestamp"))?,
        })
    }
}
