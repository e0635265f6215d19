//! The other way round: the event that says what shall be done to an entry (the inverse of SCHEMA-1's reading).

use std::collections::BTreeMap;

use super::operation::{Action, After, Operation};
use super::{CollectionSchema, Kind, Schema};
use crate::ids::EventType;
use crate::value::{Value, is_reserved};

/// Why no event of the schema says that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CannotSay {
    /// The schema has no such collection.
    #[error("the schema has no collection {0:?}")]
    NoCollection(String),
    /// Not a key.
    #[error("{0:?} cannot be a key")]
    Key(String),
    /// The action is one of another kind.
    #[error("{collection} is a {}, which cannot {what}", kind.as_str())]
    Kind {
        /// The collection.
        collection: String,
        /// What it is.
        kind: Kind,
        /// What it cannot.
        what: &'static str,
    },
    /// The schema has no name under which that could be said.
    #[error("the schema of {collection} names no `{name}`: {what}")]
    NoName {
        /// The collection.
        collection: String,
        /// What the schema does not name.
        name: &'static str,
        /// What therefore holds.
        what: &'static str,
    },
    /// A collection of several lists, and no list.
    #[error("{0} has several lists: say which one")]
    NoList(String),
}

impl Schema {
    /// The event that does this: [`Schema::operation`] of what it gives is `operation` again.
    pub fn compose(&self, operation: &Operation) -> Result<(EventType, Value), CannotSay> {
        let Operation {
            collection,
            key,
            action,
        } = operation;
        let definition = self.collections.get(collection);
        let definition = definition.ok_or_else(|| CannotSay::NoCollection(collection.clone()))?;
        if is_reserved(key) {
            return Err(CannotSay::Key(key.clone()));
        }
        let words = Words {
            collection,
            definition,
        };
        let mut data = words.action(action)?;
        data.insert(definition.key.clone(), Value::text(key.as_str()));
        let event_type = match action {
            Action::Remove => definition.remove.as_ref(),
            _ => Some(&definition.add),
        };
        let event_type = event_type.ok_or_else(|| words.cannot("remove"))?;
        Ok((event_type.clone(), Value::Map(data)))
    }
}

struct Words<'a> {
    collection: &'a str,
    definition: &'a CollectionSchema,
}

impl Words<'_> {
    /// `event_data` without the key.
    fn action(&self, action: &Action) -> Result<BTreeMap<String, Value>, CannotSay> {
        match (action, self.definition.kind) {
            (Action::Remove, _) => Ok(BTreeMap::new()),
            (Action::Put(value), Kind::Set | Kind::Map) => self.value(value),
            (Action::Count(amount), Kind::Counter) => self.amount(*amount),
            (Action::Place { value, list, after }, Kind::List) => {
                let mut data = self.value(value)?;
                data.extend(self.list(list.as_deref())?);
                data.extend(self.after(after)?);
                Ok(data)
            }
            (Action::Put(_), _) => Err(self.cannot("put a value")),
            (Action::Count(_), _) => Err(self.cannot("count")),
            (Action::Place { .. }, _) => Err(self.cannot("place an item")),
        }
    }

    fn value(&self, value: &Value) -> Result<BTreeMap<String, Value>, CannotSay> {
        match &self.definition.value {
            Some(name) => Ok([(name.clone(), value.clone())].into()),
            None if *value == Value::from(true) => Ok(BTreeMap::new()),
            None => Err(self.no_name("value", "what is in it is `true`")),
        }
    }

    fn amount(&self, amount: i64) -> Result<BTreeMap<String, Value>, CannotSay> {
        let number = Value::integer(amount);
        match (&self.definition.amount, number) {
            (Some(name), Some(number)) => Ok([(name.clone(), number)].into()),
            (None, _) if amount == 1 => Ok(BTreeMap::new()),
            (None, _) => Err(self.no_name("amount", "it counts by one")),
            (Some(_), None) => Err(self.cannot("count beyond 2^53 - 1")),
        }
    }

    fn list(&self, list: Option<&str>) -> Result<Option<(String, Value)>, CannotSay> {
        match (&self.definition.list, list) {
            (Some(name), Some(list)) => Ok(Some((name.clone(), list.into()))),
            (None, None) => Ok(None),
            (Some(_), None) => Err(CannotSay::NoList(self.collection.to_owned())),
            (None, Some(_)) => Err(self.no_name("list", "it is one list")),
        }
    }

    fn after(&self, after: &After) -> Result<Option<(String, Value)>, CannotSay> {
        let neighbour = match after {
            After::End => return Ok(None),
            After::Beginning => Value::Nil,
            After::Item(key) => key.as_str().into(),
        };
        match &self.definition.after {
            Some(name) => Ok(Some((name.clone(), neighbour))),
            None => Err(self.no_name("after", "items go to its end")),
        }
    }

    fn cannot(&self, what: &'static str) -> CannotSay {
        CannotSay::Kind {
            collection: self.collection.to_owned(),
            kind: self.definition.kind,
            what,
        }
    }

    fn no_name(&self, name: &'static str, what: &'static str) -> CannotSay {
        CannotSay::NoName {
            collection: self.collection.to_owned(),
            name,
            what,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::tests::MUSIC;

    fn operation(collection: &str, action: Action) -> Operation {
        Operation {
            collection: collection.to_owned(),
            key: "k".to_owned(),
            action,
        }
    }

    fn place(list: Option<&str>, after: After) -> Action {
        Action::Place {
            value: "t1".into(),
            list: list.map(str::to_owned),
            after,
        }
    }

    fn refusal(operation: &Operation) -> String {
        let schema = Schema::parse(MUSIC).unwrap();
        schema.compose(operation).unwrap_err().to_string()
    }

    #[test]
    fn what_is_composed_says_what_was_meant() {
        let schema = Schema::parse(MUSIC).unwrap();
        let all = [
            operation("albums", Action::Put(true.into())),
            operation("albums", Action::Remove),
            operation("ratings", Action::Put(4_u32.into())),
            operation("ratings", Action::Put(Value::Nil)),
            operation("notes", Action::Remove),
            operation("plays", Action::Count(-3)),
            operation("playlists", place(Some("p"), After::End)),
            operation("playlists", place(Some("p"), After::Beginning)),
            operation("playlists", place(Some("p"), After::Item("i".into()))),
            operation("playlists", Action::Remove),
        ];
        for it in all {
            let (event_type, data) = schema.compose(&it).unwrap();
            assert_eq!(schema.operation(&event_type, &data), Ok(Some(it)));
        }
    }

    #[test]
    fn what_a_schema_cannot_say_is_named() {
        let no_list = operation("playlists", place(None, After::End));
        assert!(refusal(&no_list).contains("say which one"));
        let counted = operation("albums", Action::Count(1));
        assert_eq!(refusal(&counted), "albums is a set, which cannot count");
        let removed = operation("plays", Action::Remove);
        assert_eq!(refusal(&removed), "plays is a counter, which cannot remove");
        let unknown = operation("moods", Action::Remove);
        assert!(refusal(&unknown).contains("moods"));
        let rated = operation("albums", Action::Put(4_u32.into()));
        assert!(refusal(&rated).contains("names no `value`"));
        let mut reserved = operation("albums", Action::Remove);
        "__proto__".clone_into(&mut reserved.key);
        assert!(refusal(&reserved).contains("cannot be a key"));
    }
}
