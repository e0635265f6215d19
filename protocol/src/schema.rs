//! What events mean: a schema maps event types to operations on collections (SCHEMA-1 … SCHEMA-3).

mod toml_text;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::fields::{DecodeError, Fields};
use crate::ids::EventType;
use crate::value::{self, Value};

pub use toml_text::SchemaError;

/// What a collection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Keys that are in or not.
    Set,
}

/// How concurrent events on one key are settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflict {
    /// STATE-4.
    LastWriteWins,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Set => "set",
        }
    }
}

impl Conflict {
    const fn as_str(self) -> &'static str {
        match self {
            Self::LastWriteWins => "last_write_wins",
        }
    }
}

/// One collection's definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectionSchema {
    /// What it is.
    pub kind: Kind,
    /// How concurrent events are settled.
    pub conflict: Conflict,
    /// The name in `event_data` under which the entry's key is.
    pub key: String,
    /// The event type that adds a key.
    pub add: EventType,
    /// The event type that removes one.
    pub remove: EventType,
}

/// What an event does to one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// In which collection.
    pub collection: String,
    /// To which entry.
    pub key: String,
    /// What.
    pub action: Action,
}

/// What happens to an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It becomes live.
    Add,
    /// It becomes removed.
    Remove,
}

/// `event_data` without the text that the schema asks for (`bad_data`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{event_type} needs text under event_data.{key}, other than __proto__ and $bytes")]
pub struct BadData {
    event_type: String,
    key: String,
}

/// SHA-256 of a schema's canonical form (SCHEMA-2). Displays as 64 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SchemaHash([u8; 32]);

impl fmt::Display for SchemaHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for SchemaHash {
    type Err = DecodeError;

    fn from_str(text: &str) -> Result<Self, DecodeError> {
        let error = DecodeError::Type {
            name: "schema",
            expected: "64 hex digits",
        };
        if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(error);
        }
        let mut hash = [0; 32];
        for (i, byte) in hash.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| error.clone())?;
        }
        Ok(Self(hash))
    }
}

/// A deployment's schema. Equal schemas have equal hashes, whatever their files look like.
#[derive(Debug, Clone)]
pub struct Schema {
    collections: BTreeMap<String, CollectionSchema>,
    strict: bool,
    types: HashMap<EventType, (String, Action)>,
    hash: SchemaHash,
}

impl Schema {
    /// Reads a schema file (SCHEMA-1).
    pub fn parse(toml: &str) -> Result<Self, SchemaError> {
        let (collections, strict) = toml_text::parse(toml)?;
        Ok(Self::new(collections, strict))
    }

    /// Reads what [`Schema::document`] wrote: `$SYS/broker/schema`, `GET /schema` (SCHEMA-3).
    pub fn from_document(json: &str) -> Result<Self, DecodeError> {
        let mut document = Fields::read(json.as_bytes(), 3)?;
        Self::from_value(document.required("schema")?)
    }

    /// Reads the map of SCHEMA-2.
    pub fn from_value(schema: Value) -> Result<Self, DecodeError> {
        let mut schema = Fields::of(schema)?;
        let strict = schema.flag("strict")?;
        let collections = schema
            .map("collections")?
            .into_iter()
            .map(|(name, value)| Ok((name, read_collection(Fields::of(value)?)?)))
            .collect::<Result<_, DecodeError>>()?;
        Ok(Self::new(collections, strict))
    }

    /// Of collections whose event types are all different.
    fn new(collections: BTreeMap<String, CollectionSchema>, strict: bool) -> Self {
        let mut types = HashMap::new();
        for (name, collection) in &collections {
            types.insert(collection.add.clone(), (name.clone(), Action::Add));
            types.insert(collection.remove.clone(), (name.clone(), Action::Remove));
        }
        let canonical = to_value(&collections, strict).to_msgpack();
        let hash = SchemaHash(Sha256::digest(canonical).into());
        Self {
            collections,
            strict,
            types,
            hash,
        }
    }

    /// The names and definitions of all collections.
    pub fn collections(&self) -> &BTreeMap<String, CollectionSchema> {
        &self.collections
    }

    /// Whether types that it does not name are refused.
    pub fn is_strict(&self) -> bool {
        self.strict
    }

    /// SCHEMA-2.
    pub fn hash(&self) -> SchemaHash {
        self.hash
    }

    /// SCHEMA-3.
    pub fn document(&self) -> String {
        let hash = Value::text(self.hash.to_string());
        let schema = to_value(&self.collections, self.strict);
        map([("hash", hash), ("schema", schema)]).to_json()
    }

    /// Whether the schema names this type.
    pub fn names(&self, event_type: &EventType) -> bool {
        self.types.contains_key(event_type)
    }

    /// What an event of this type with this data does; `None` if the schema does not name the type.
    pub fn operation(
        &self,
        event_type: &EventType,
        data: &Value,
    ) -> Result<Option<Operation>, BadData> {
        let Some((collection, action)) = self.types.get(event_type) else {
            return Ok(None);
        };
        let name = &self.collections[collection].key;
        let key = data
            .as_map()
            .and_then(|map| map.get(name))
            .and_then(Value::as_text)
            .filter(|key| !value::is_reserved(key));
        match key {
            Some(key) => Ok(Some(Operation {
                collection: collection.clone(),
                key: key.to_owned(),
                action: *action,
            })),
            None => Err(BadData {
                event_type: event_type.to_string(),
                key: name.clone(),
            }),
        }
    }
}

fn read_collection(mut fields: Fields) -> Result<CollectionSchema, DecodeError> {
    let event_type = |text: String| text.parse::<EventType>().map_err(DecodeError::from);
    match (
        fields.required_text("kind")?.as_str(),
        fields.required_text("conflict")?.as_str(),
    ) {
        ("set", "last_write_wins") => {}
        _ => {
            let expected = "a kind and conflict rule that this version knows";
            return Err(DecodeError::Type {
                name: "kind",
                expected,
            });
        }
    }
    Ok(CollectionSchema {
        kind: Kind::Set,
        conflict: Conflict::LastWriteWins,
        key: fields.required_text("key")?,
        add: event_type(fields.required_text("add")?)?,
        remove: event_type(fields.required_text("remove")?)?,
    })
}

fn to_value(collections: &BTreeMap<String, CollectionSchema>, strict: bool) -> Value {
    let collections = collections.iter().map(|(name, collection)| {
        let value = map([
            ("kind", Value::text(collection.kind.as_str())),
            ("conflict", Value::text(collection.conflict.as_str())),
            ("key", Value::text(collection.key.as_str())),
            ("add", Value::text(collection.add.as_str())),
            ("remove", Value::text(collection.remove.as_str())),
        ]);
        (name.clone(), value)
    });
    map([
        ("collections", Value::Map(collections.collect())),
        ("strict", strict.into()),
    ])
}

fn map<const N: usize>(pairs: [(&str, Value); N]) -> Value {
    Value::Map(
        pairs
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    )
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const MUSIC: &str = include_str!("../../config/schemas/music.toml");

    #[test]
    fn schema_3_the_document_says_all_of_it() {
        let schema = Schema::parse(MUSIC).unwrap();
        let read = Schema::from_document(&schema.document()).unwrap();
        assert_eq!(read.hash(), schema.hash());
        assert_eq!(read.collections(), schema.collections());
        assert_eq!(
            schema.hash().to_string().parse::<SchemaHash>(),
            Ok(schema.hash())
        );
    }

    #[test]
    fn schema_2_the_hash_is_of_the_meaning_and_not_of_the_text() {
        let schema = Schema::parse(MUSIC).unwrap();
        let same = Schema::parse(&format!("# other\nstrict = false\n{MUSIC}")).unwrap();
        let other = Schema::parse(&format!("strict = true\n{MUSIC}")).unwrap();
        assert_eq!(same.hash(), schema.hash());
        assert_ne!(other.hash(), schema.hash());
    }

    #[test]
    fn state_5_a_key_that_no_value_can_hold_is_bad_data() {
        let schema = Schema::parse(MUSIC).unwrap();
        for reserved in ["__proto__", "$bytes"] {
            let data = map([("album_id", Value::text(reserved))]);
            let bad_data = schema.operation(&"star_album".parse().unwrap(), &data);
            assert!(bad_data.unwrap_err().to_string().contains("album_id"));
        }
    }

    #[test]
    fn state_5_the_key_is_text_in_event_data() {
        let schema = Schema::parse(MUSIC).unwrap();
        let star: EventType = "star_album".parse().unwrap();
        let data = Value::from_json(br#"{"album_id":"a1","x":1}"#).unwrap();
        let operation = schema.operation(&star, &data).unwrap().unwrap();
        assert_eq!(
            (operation.collection.as_str(), operation.key.as_str()),
            ("albums", "a1")
        );
        for bad in ["{}", r#"{"album_id":1}"#, "null"] {
            let error = schema.operation(&star, &Value::from_json(bad.as_bytes()).unwrap());
            assert!(error.unwrap_err().to_string().contains("album_id"));
        }
        assert_eq!(schema.operation(&"other".parse().unwrap(), &data), Ok(None));
    }
}
