//! A snapshot: the state at a seq, full or as a delta, as `state` messages carry it.

mod parts;

use std::collections::BTreeMap;

use crate::event::put;
use crate::fields::{DecodeError, Fields, Form, number, optional_text};
use crate::ids::{DeviceSeq, Epoch, Seq, StreamId};
use crate::schema::SchemaHash;
use crate::state::{Digest, Entry, State};
use crate::value::Value;

pub use parts::{Assembler, PartError};

/// How many maps and arrays stand around a value in a snapshot: message, collections, collection, entry, and
/// `conflicts` and their items.
const LEVELS: usize = 6;

/// A `state` message.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// Of which stream.
    pub stream: StreamId,
    /// Of which history; `NONE` while the stream is empty.
    pub epoch: Epoch,
    /// Up to where.
    pub seq: Seq,
    /// `ZERO`: full; else only what changed after this.
    pub since: Seq,
    /// The stream's head when this was made.
    pub head: Seq,
    /// Of the full state at `seq`.
    pub digest: Digest,
    /// The same, per collection.
    pub digests: BTreeMap<String, Digest>,
    /// Of the schema by which it was made.
    pub schema: SchemaHash,
    /// Which part this is, from 1.
    pub part: u32,
    /// Of how many.
    pub parts: u32,
    /// Collection, key, entry.
    pub collections: BTreeMap<String, BTreeMap<String, Entry>>,
    /// Where a VIEW-4 subscription opens: the mark of the connection's device, `Some(None)` if it has none.
    pub mark: Option<Option<DeviceSeq>>,
}

impl Snapshot {
    /// Of a state, in one part: all of it, or what changed after `since`.
    pub fn of(state: &State, stream: StreamId, since: Seq) -> Self {
        Self {
            stream,
            epoch: state.epoch(),
            seq: state.seq(),
            since,
            head: state.seq(),
            digest: state.digest(),
            digests: state.digests(),
            schema: state.schema().hash(),
            part: 1,
            parts: 1,
            collections: state.changed_since(since),
            mark: None,
        }
    }

    /// Reads MessagePack, or JSON text if it begins with `{`.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::read(payload, LEVELS)?;
        Ok(Self {
            stream: fields.stream()?,
            epoch: fields
                .epoch("epoch")?
                .ok_or(DecodeError::Missing("epoch"))?,
            seq: fields.required_seq("seq")?,
            since: fields.required_seq("since")?,
            head: fields.required_seq("head")?,
            digest: fields.required_text("digest")?.parse()?,
            digests: fields
                .map("digests")?
                .into_iter()
                .map(read_digest)
                .collect::<Result<_, _>>()?,
            schema: fields.required_text("schema")?.parse()?,
            part: read_part(&mut fields, "part")?,
            parts: read_part(&mut fields, "parts")?,
            collections: read_collections(fields.map("collections")?)?,
            mark: read_mark(&mut fields)?,
        })
    }

    /// SNAP-8: itself in parts of at most `bytes_max` as MessagePack, or of one entry where that alone is larger.
    pub fn parts(self, bytes_max: usize) -> Vec<Self> {
        parts::split(self, bytes_max, Form::MessagePack)
    }

    /// The same as JSON text.
    pub fn json_parts(self, bytes_max: usize) -> Vec<Self> {
        parts::split(self, bytes_max, Form::Json)
    }

    /// Canonical MessagePack.
    pub fn encode(&self) -> Vec<u8> {
        self.to_value(Form::MessagePack).to_msgpack()
    }

    /// JSON text.
    pub fn to_json(&self) -> String {
        self.to_value(Form::Json).to_json()
    }

    fn to_value(&self, form: Form) -> Value {
        let digests = self
            .digests
            .iter()
            .map(|(name, digest)| (name.clone(), hex(digest)));
        let collections = self.collections.iter().map(|(name, entries)| {
            let entries = entries
                .iter()
                .map(|(key, entry)| (key.clone(), entry.to_value(form)));
            (name.clone(), Value::Map(entries.collect()))
        });
        let mut map = BTreeMap::new();
        let mut set = |name: &str, value| put(&mut map, name, Some(value));
        set("sync_id", Value::text(self.stream.sync_id.as_str()));
        set("channel", optional_text(self.stream.channel.as_ref()));
        set("epoch", hex(&self.epoch));
        set("seq", number(self.seq.get()));
        set("since", number(self.since.get()));
        set("head", number(self.head.get()));
        set("digest", hex(&self.digest));
        set("digests", Value::Map(digests.collect()));
        set("schema", hex(&self.schema));
        set("part", self.part.into());
        set("parts", self.parts.into());
        set("collections", Value::Map(collections.collect()));
        let mark = self
            .mark
            .map(|mark| mark.map_or(Value::Nil, |n| number(n.get())));
        put(&mut map, "mark", mark);
        Value::Map(map)
    }
}

fn hex(digits: &impl ToString) -> Value {
    Value::text(digits.to_string())
}

fn read_digest((name, digest): (String, Value)) -> Result<(String, Digest), DecodeError> {
    let text = digest.as_text().ok_or(DecodeError::Type {
        name: "digests",
        expected: "a map of text",
    })?;
    Ok((name, text.parse()?))
}

fn read_part(fields: &mut Fields, name: &'static str) -> Result<u32, DecodeError> {
    let expected = "an integer from 1 to 2^32-1";
    let part = u32::try_from(fields.required_number(name)?)
        .ok()
        .filter(|n| *n > 0);
    part.ok_or(DecodeError::Type { name, expected })
}

fn read_mark(fields: &mut Fields) -> Result<Option<Option<DeviceSeq>>, DecodeError> {
    match fields.raw("mark") {
        None => Ok(None),
        Some(Value::Nil) => Ok(Some(None)),
        Some(value) => {
            let mark = value.as_u64().and_then(DeviceSeq::new);
            let expected = "an integer of 1 and up";
            Ok(Some(Some(mark.ok_or(DecodeError::Type {
                name: "mark",
                expected,
            })?)))
        }
    }
}

type Collections = BTreeMap<String, BTreeMap<String, Entry>>;

fn read_collections(given: BTreeMap<String, Value>) -> Result<Collections, DecodeError> {
    given
        .into_iter()
        .map(|(name, entries)| Ok((name, read_entries(entries)?)))
        .collect()
}

fn read_entries(given: Value) -> Result<BTreeMap<String, Entry>, DecodeError> {
    let entries = Fields::of(given)?.rest();
    entries
        .into_iter()
        .map(|(key, entry)| Ok((key, Entry::from_value(entry)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event::tests::placed;
    use crate::schema::{Schema, tests::MUSIC};

    fn example() -> Snapshot {
        let mut state = State::new(Arc::new(Schema::parse(MUSIC).unwrap()));
        for (seq, text) in [(1, "star_album"), (2, "unstar_album")] {
            let json = format!(r#"{{"event_type":"{text}","event_data":{{"album_id":"k{seq}"}}}}"#);
            state
                .apply(&placed(
                    crate::Intent::decode(json.as_bytes()).unwrap(),
                    seq,
                ))
                .unwrap();
        }
        Snapshot::of(
            &state,
            placed(crate::Intent::new("x".parse().unwrap(), Value::Nil), 1).stream,
            Seq::ZERO,
        )
    }

    #[test]
    fn snap_1_round_trips_in_both_forms_with_every_collection() {
        for mark in [None, Some(None), Some(DeviceSeq::new(3))] {
            let snapshot = Snapshot { mark, ..example() };
            assert_eq!(Snapshot::decode(&snapshot.encode()).unwrap(), snapshot);
            assert_eq!(
                Snapshot::decode(snapshot.to_json().as_bytes()).unwrap(),
                snapshot
            );
            assert!(snapshot.collections["tracks"].is_empty());
        }
    }

    #[test]
    fn snap_2_a_delta_holds_what_changed_after_since() {
        let mut state = State::new(Arc::new(Schema::parse(MUSIC).unwrap()));
        state.take(&example()).unwrap();
        let delta = Snapshot::of(&state, example().stream, Seq::new(1).unwrap());
        assert_eq!(
            delta.collections["albums"].keys().collect::<Vec<_>>(),
            ["k2"]
        );
        assert_eq!(delta.digest, example().digest);
    }
}
