//! What one event does to one entry, as its `event_data` says (STATE-5, STATE-9, STATE-10, LIST-2).

use super::{CollectionSchema, Kind, Verb};
use crate::ids::EventType;
use crate::value::{Value, is_reserved};

/// What an event does to one entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// In which collection.
    pub collection: String,
    /// To which entry.
    pub key: String,
    /// What.
    pub action: Action,
}

/// What happens to an entry.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// It gets this value.
    Put(Value),
    /// It is removed.
    Remove,
    /// It grows by this amount, in a counter.
    Count(i64),
    /// It gets this value and this place, in a list.
    Place {
        /// What the item is.
        value: Value,
        /// In which of the collection's lists, if it has more than one.
        list: Option<String>,
        /// Behind what.
        after: After,
    },
}

/// Behind what an item is put (LIST-2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum After {
    /// Behind all.
    End,
    /// Before all.
    Beginning,
    /// Behind the item with this key.
    Item(String),
}

/// `event_data` without what the schema asks for (`bad_data`, STATE-11).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{event_type} needs {needs} under event_data.{name}")]
pub struct BadData {
    event_type: String,
    name: String,
    needs: &'static str,
}

/// The key, and what happens to its entry.
pub(super) fn read(
    definition: &CollectionSchema,
    verb: Verb,
    event_type: &EventType,
    data: &Value,
) -> Result<(String, Action), BadData> {
    let data = Data { event_type, data };
    let key = data.key(&definition.key)?;
    let action = match (verb, definition.kind) {
        (Verb::Remove, _) => Action::Remove,
        (Verb::Add, Kind::Set | Kind::Map) => Action::Put(data.value(definition)?),
        (Verb::Add, Kind::Counter) => Action::Count(data.amount(definition)?),
        (Verb::Add, Kind::List) => Action::Place {
            value: data.value(definition)?,
            list: data.list(definition)?,
            after: data.after(definition)?,
        },
    };
    Ok((key, action))
}

struct Data<'a> {
    event_type: &'a EventType,
    data: &'a Value,
}

impl Data<'_> {
    fn key(&self, name: &str) -> Result<String, BadData> {
        let key = self.get(name).and_then(Value::as_text);
        let key = key.filter(|key| !is_reserved(key));
        let needs = "text, other than __proto__ and $bytes,";
        key.map(str::to_owned).ok_or_else(|| self.bad(name, needs))
    }

    fn value(&self, definition: &CollectionSchema) -> Result<Value, BadData> {
        let Some(name) = &definition.value else {
            return Ok(true.into());
        };
        let value = self.get(name).cloned();
        value.ok_or_else(|| self.bad(name, "a value (null will do)"))
    }

    fn amount(&self, definition: &CollectionSchema) -> Result<i64, BadData> {
        let given = definition.amount.as_ref();
        match given.and_then(|name| Some((name, self.get(name)?))) {
            None => Ok(1),
            Some((name, value)) => value.as_i64().ok_or_else(|| self.bad(name, "an integer")),
        }
    }

    fn list(&self, definition: &CollectionSchema) -> Result<Option<String>, BadData> {
        let Some(name) = &definition.list else {
            return Ok(None);
        };
        let list = self.get(name).and_then(Value::as_text);
        list.map(|list| Some(list.to_owned()))
            .ok_or_else(|| self.bad(name, "text"))
    }

    fn after(&self, definition: &CollectionSchema) -> Result<After, BadData> {
        let given = definition.after.as_ref();
        match given.and_then(|name| Some((name, self.get(name)?))) {
            None => Ok(After::End),
            Some((_, Value::Nil)) => Ok(After::Beginning),
            Some((_, Value::Text(key))) => Ok(After::Item(key.clone())),
            Some((name, _)) => Err(self.bad(name, "text, null or nothing")),
        }
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.data.as_map()?.get(name)
    }

    fn bad(&self, name: &str, needs: &'static str) -> BadData {
        BadData {
            event_type: self.event_type.to_string(),
            name: name.to_owned(),
            needs,
        }
    }
}
