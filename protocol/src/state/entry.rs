//! One entry of a collection: its open acts, and how they are written (STATE-3).

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::act::{Content, OpenAct, Place};
use super::digest::Digest;
use super::position::Position;
use crate::event::{put, put_clock, read_clock};
use crate::fields::{DecodeError, Fields, Form, number};
use crate::ids::Seq;
use crate::value::Value;

/// How many maps and arrays stand around a value in an entry: the entry, `conflicts` and one of its items.
const LEVELS: usize = 3;

/// What stands for a key.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The act that is shown: the highest live one, or the highest of all if none is live.
    pub shown: OpenAct,
    /// The further open acts, highest first.
    pub conflicts: Vec<OpenAct>,
    /// The place of the last event that changed the entry.
    pub changed: Seq,
}

impl Entry {
    /// Of open acts, at least one, in any order.
    pub(super) fn of_acts(mut acts: Vec<OpenAct>, changed: Seq) -> Self {
        acts.sort_unstable_by_key(|act| std::cmp::Reverse((act.is_live(), act.rank())));
        let shown = acts.remove(0);
        acts.sort_unstable_by_key(|act| std::cmp::Reverse(act.rank()));
        Self {
            shown,
            conflicts: acts,
            changed,
        }
    }

    /// All open acts, the shown one first.
    pub fn acts(&self) -> impl Iterator<Item = &OpenAct> {
        std::iter::once(&self.shown).chain(&self.conflicts)
    }

    /// Whether there is something under the key.
    pub fn is_live(&self) -> bool {
        self.shown.is_live()
    }

    /// The value, if the entry is live.
    pub fn value(&self) -> Option<&Value> {
        self.shown.value()
    }

    /// Roughly what it takes in memory.
    pub fn weight(&self) -> usize {
        let conflicts = self.conflicts.iter();
        let conflicts = conflicts.map(|act| size_of::<OpenAct>() + act.weight());
        size_of::<Self>() + self.shown.weight() + conflicts.sum::<usize>()
    }

    /// Canonical MessagePack of the map of STATE-3.
    pub fn encode(&self) -> Vec<u8> {
        self.to_value(Form::MessagePack).to_msgpack()
    }

    /// The same as JSON text.
    pub fn to_json(&self) -> String {
        self.to_value(Form::Json).to_json()
    }

    /// Reads what [`Entry::encode`] or [`Entry::to_json`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::of_fields(Fields::read(bytes, LEVELS)?)
    }

    /// DIGEST-1.
    pub(super) fn digest(&self, collection: &str, key: &str) -> Digest {
        if !self.is_live() {
            return Digest::default();
        }
        let entry = self.to_value(Form::MessagePack);
        let item = Value::Array(vec![collection.into(), key.into(), entry]);
        Digest::of_hash(&Sha256::digest(item.to_msgpack()).into())
    }

    pub(crate) fn to_value(&self, form: Form) -> Value {
        let conflicts = self.conflicts.iter();
        let conflicts = conflicts.map(|act| Value::Map(act.to_map(form)));
        let mut map = self.shown.to_map(form);
        put(
            &mut map,
            "conflicts",
            Some(Value::Array(conflicts.collect())),
        );
        if self.changed != self.shown.seq {
            put(&mut map, "changed", Some(number(self.changed.get())));
        }
        Value::Map(map)
    }

    pub(crate) fn from_value(value: Value) -> Result<Self, DecodeError> {
        Self::of_fields(Fields::of(value)?)
    }

    fn of_fields(mut fields: Fields) -> Result<Self, DecodeError> {
        let conflicts = match fields.required("conflicts")? {
            Value::Array(items) => items
                .into_iter()
                .map(|item| OpenAct::of_fields(Fields::of(item)?))
                .collect::<Result<_, _>>()?,
            _ => return Err(wrong("conflicts", "an array")),
        };
        let changed = fields.seq("changed")?;
        let shown = OpenAct::of_fields(fields)?;
        Ok(Self {
            changed: changed.unwrap_or(shown.seq),
            shown,
            conflicts,
        })
    }
}

impl OpenAct {
    fn to_map(&self, form: Form) -> BTreeMap<String, Value> {
        let mut map = BTreeMap::new();
        match &self.content {
            Content::Live(value) => put(&mut map, "value", Some(value.clone())),
            Content::Removed => put(&mut map, "removed", Some(true.into())),
        }
        put(&mut map, "seq", Some(number(self.seq.get())));
        put(&mut map, "device_uuid", Some(form.device(self.device)));
        put_clock(&mut map, Some(self.clock));
        if let Some(place) = &self.place {
            put(&mut map, "position", Some(place.position.to_value()));
            put(&mut map, "list", place.list.as_deref().map(Value::text));
        }
        map
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
            place: read_place(&mut fields)?,
        })
    }
}

fn read_place(fields: &mut Fields) -> Result<Option<Place>, DecodeError> {
    let list = fields.text("list")?;
    let Some(position) = fields.optional("position") else {
        return match list {
            Some(_) => Err(DecodeError::Missing("position")),
            None => Ok(None),
        };
    };
    let position = Position::from_value(&position)
        .ok_or_else(|| wrong("position", "an array of 1 to 32 integers"))?;
    Ok(Some(Place { list, position }))
}

fn wrong(name: &'static str, expected: &'static str) -> DecodeError {
    DecodeError::Type { name, expected }
}
