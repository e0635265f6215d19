//! What events mean: a schema maps event types to operations on collections (SCHEMA-1 … SCHEMA-5).

mod compose;
mod definition;
mod document;
mod operation;
mod toml_text;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::fields::DecodeError;
use crate::ids::{EventType, UnixMillis};
use crate::value::Value;

pub use compose::CannotSay;
pub use definition::{CollectionSchema, Conflict, Kind, SchemaProblem};
pub use operation::{Action, After, BadData, Operation};
pub use toml_text::SchemaError;

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
    types: HashMap<EventType, Meaning>,
    adopted: BTreeMap<String, UnixMillis>,
    hash: SchemaHash,
}

/// What a type does.
#[derive(Debug, Clone)]
struct Meaning {
    collection: String,
    verb: Verb,
}

#[derive(Debug, Clone, Copy)]
enum Verb {
    Add,
    Remove,
}

impl Schema {
    /// Reads a schema file (SCHEMA-1).
    pub fn parse(toml: &str) -> Result<Self, SchemaError> {
        let (collections, strict) = toml_text::parse(toml)?;
        Ok(Self::new(collections, strict))
    }

    /// Reads what [`Schema::document`] wrote: `$SYS/broker/schema`, `GET /schema` (SCHEMA-3).
    pub fn from_document(json: &str) -> Result<Self, DecodeError> {
        let (collections, strict) = document::read(json)?;
        Ok(Self::new(collections, strict))
    }

    /// Reads the map of SCHEMA-2.
    pub fn from_value(schema: Value) -> Result<Self, DecodeError> {
        let (collections, strict) = document::from_value(schema)?;
        Ok(Self::new(collections, strict))
    }

    /// The same, with the moments since when collections are in it (STATE-12). Others were there from the beginning.
    #[must_use]
    pub fn with_adopted(self, adopted: BTreeMap<String, UnixMillis>) -> Self {
        Self { adopted, ..self }
    }

    /// Of collections whose event types are all different.
    fn new(collections: BTreeMap<String, CollectionSchema>, strict: bool) -> Self {
        let mut types = HashMap::new();
        for (name, collection) in &collections {
            let mut put = |event_type: &EventType, verb| {
                let collection = name.clone();
                types.insert(event_type.clone(), Meaning { collection, verb });
            };
            put(&collection.add, Verb::Add);
            collection
                .remove
                .iter()
                .for_each(|it| put(it, Verb::Remove));
        }
        let canonical = document::to_value(&collections, strict).to_msgpack();
        let hash = SchemaHash(Sha256::digest(canonical).into());
        Self {
            collections,
            strict,
            types,
            adopted: BTreeMap::new(),
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

    /// Since when a collection is in it: events accepted before do not touch it (STATE-12).
    pub fn adopted(&self, collection: &str) -> UnixMillis {
        self.adopted.get(collection).copied().unwrap_or_default()
    }

    /// SCHEMA-2.
    pub fn hash(&self) -> SchemaHash {
        self.hash
    }

    /// SCHEMA-3.
    pub fn document(&self) -> String {
        document::write(self.hash, &self.collections, self.strict)
    }

    /// Whether the schema names this type.
    pub fn names(&self, event_type: &EventType) -> bool {
        self.types.contains_key(event_type)
    }

    /// What the collection is that this type touches; `None` if the schema does not name the type.
    pub fn kind_of(&self, event_type: &EventType) -> Option<Kind> {
        let meaning = self.types.get(event_type)?;
        self.collections.get(&meaning.collection).map(|it| it.kind)
    }

    /// What an event of this type with this data does; `None` if the schema does not name the type.
    pub fn operation(
        &self,
        event_type: &EventType,
        data: &Value,
    ) -> Result<Option<Operation>, BadData> {
        let Some(Meaning { collection, verb }) = self.types.get(event_type) else {
            return Ok(None);
        };
        let Some(definition) = self.collections.get(collection) else {
            return Ok(None);
        };
        let (key, action) = operation::read(definition, *verb, event_type, data)?;
        Ok(Some(Operation {
            collection: collection.clone(),
            key,
            action,
        }))
    }
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
    fn schema_5_one_more_collection_is_another_schema_and_the_others_stay_as_they_are() {
        let less = Schema::parse(MUSIC).unwrap();
        let text = "[collections.moods]\nkind = \"counter\"\nkey = \"mood\"\nadd = \"feel\"\n";
        let more = Schema::parse(&format!("{MUSIC}{text}")).unwrap();
        assert_ne!(more.hash(), less.hash());
        assert!(
            less.collections()
                .iter()
                .all(|it| more.collections().get(it.0) == Some(it.1))
        );
    }

    #[test]
    fn state_5_a_key_that_no_value_can_hold_is_bad_data() {
        let schema = Schema::parse(MUSIC).unwrap();
        for reserved in ["__proto__", "$bytes"] {
            let data = Value::Map([("album_id".to_owned(), reserved.into())].into());
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
