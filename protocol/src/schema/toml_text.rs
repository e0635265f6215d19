//! The schema as a file: every mistake is named with its line.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use toml::Spanned;

use super::{CollectionSchema, Conflict, Kind};
use crate::ids::{EventType, is_name};
use crate::value::is_reserved;

/// What is wrong with a schema file, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// Not TOML, or a name or type that a schema does not have.
    #[error("line {line}: {message}")]
    Toml {
        /// Counted from 1.
        line: usize,
        /// What the reader says.
        message: String,
    },
    /// A collection's name breaks TOPIC-1.
    #[error(
        "line {line}: a collection's name is 1 to 64 characters of A-Z a-z 0-9 . _ - and not __proto__, not {name:?}"
    )]
    Name {
        /// Counted from 1.
        line: usize,
        /// The name.
        name: String,
    },
    /// A value that is not one of those that can stand here.
    #[error("line {line}: {what} {given:?} is not known; use {known}")]
    Unknown {
        /// Counted from 1.
        line: usize,
        /// `kind` or `conflict`.
        what: &'static str,
        /// What the file says.
        given: String,
        /// What can stand there.
        known: &'static str,
    },
    /// Not an event type, or an empty key.
    #[error("line {line}: {what} is text of 1 to 64 characters")]
    Text {
        /// Counted from 1.
        line: usize,
        /// Which name.
        what: &'static str,
    },
    /// An event type that already has a meaning.
    #[error("line {line}: the event type {event_type:?} is already used on line {first}")]
    Twice {
        /// Counted from 1.
        line: usize,
        /// The type.
        event_type: String,
        /// Where it was named first.
        first: usize,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    strict: bool,
    #[serde(default)]
    collections: BTreeMap<Spanned<String>, Collection>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Collection {
    kind: Spanned<String>,
    conflict: Spanned<String>,
    key: Spanned<String>,
    add: Spanned<String>,
    remove: Spanned<String>,
}

pub(super) fn parse(text: &str) -> Result<(BTreeMap<String, CollectionSchema>, bool), SchemaError> {
    let file: File = toml::from_str(text).map_err(|error| SchemaError::Toml {
        line: line(text, error.span().map_or(0, |span| span.start)),
        message: error.message().to_owned(),
    })?;
    let mut reader = Reader {
        text,
        types: HashMap::new(),
    };
    let collections = file
        .collections
        .into_iter()
        .map(|(name, collection)| reader.collection(&name, &collection))
        .collect::<Result<_, _>>()?;
    Ok((collections, file.strict))
}

struct Reader<'a> {
    text: &'a str,
    types: HashMap<String, usize>,
}

impl Reader<'_> {
    fn collection(
        &mut self,
        name: &Spanned<String>,
        given: &Collection,
    ) -> Result<(String, CollectionSchema), SchemaError> {
        // A collection is a key of a snapshot's maps.
        if !is_name(name.get_ref()) || is_reserved(name.get_ref()) {
            return Err(SchemaError::Name {
                line: self.line(name),
                name: name.get_ref().clone(),
            });
        }
        self.one_of("kind", &given.kind, "set")?;
        self.one_of("conflict", &given.conflict, "last_write_wins")?;
        let collection = CollectionSchema {
            kind: Kind::Set,
            conflict: Conflict::LastWriteWins,
            key: self.text("key", &given.key)?.to_string(),
            add: self.event_type("add", &given.add)?,
            remove: self.event_type("remove", &given.remove)?,
        };
        Ok((name.get_ref().clone(), collection))
    }

    fn one_of(
        &self,
        what: &'static str,
        given: &Spanned<String>,
        known: &'static str,
    ) -> Result<(), SchemaError> {
        if given.get_ref() == known {
            return Ok(());
        }
        Err(SchemaError::Unknown {
            line: self.line(given),
            what,
            given: given.get_ref().clone(),
            known,
        })
    }

    fn text(&self, what: &'static str, given: &Spanned<String>) -> Result<EventType, SchemaError> {
        given.get_ref().parse().map_err(|_| SchemaError::Text {
            line: self.line(given),
            what,
        })
    }

    fn event_type(
        &mut self,
        what: &'static str,
        given: &Spanned<String>,
    ) -> Result<EventType, SchemaError> {
        let event_type = self.text(what, given)?;
        let line = self.line(given);
        match self.types.insert(given.get_ref().clone(), line) {
            None => Ok(event_type),
            Some(first) => Err(SchemaError::Twice {
                line,
                event_type: given.get_ref().clone(),
                first,
            }),
        }
    }

    fn line<T>(&self, at: &Spanned<T>) -> usize {
        line(self.text, at.span().start)
    }
}

fn line(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|b| *b == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::super::Schema;
    use super::super::tests::MUSIC;

    fn error(text: &str) -> String {
        Schema::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn schema_1_mistakes_are_named_with_their_line() {
        assert!(error("x = 1").starts_with("line 1:"));
        let collection = |changed: &str, to: &str| error(&MUSIC.replacen(changed, to, 1));
        assert!(collection("kind = \"set\"", "kind = \"bag\"").contains("line 4: kind \"bag\""));
        assert!(collection("last_write_wins", "first").contains("line 5"));
        assert!(collection("\"star_track\"", "\"star_album\"").contains("already used on line 7"));
        assert!(collection("\"star_album\"", "\"\"").contains("line 7"));
        assert!(collection("key = \"album_id\"\n", "").contains("key"));
        assert!(collection("collections.albums", "collections.\"a/b\"").contains("line 3"));
        assert!(collection("collections.albums", "collections.__proto__").contains("line 3"));
    }

    #[test]
    fn schema_1_a_schema_may_be_empty() {
        assert!(Schema::parse("").unwrap().collections().is_empty());
    }
}
