//! The schema as a map: what is hashed, and what clients read (SCHEMA-2, SCHEMA-3).

use std::collections::{BTreeMap, HashMap};

use super::definition::{Draft, SchemaProblem, check_name};
use super::{CollectionSchema, SchemaHash};
use crate::fields::{DecodeError, Fields};
use crate::ids::EventType;
use crate::value::Value;

type Collections = BTreeMap<String, CollectionSchema>;

pub(super) fn write(hash: SchemaHash, collections: &Collections, strict: bool) -> String {
    let hash = Value::text(hash.to_string());
    map([
        ("hash", Some(hash)),
        ("schema", Some(to_value(collections, strict))),
    ])
    .to_json()
}

pub(super) fn to_value(collections: &Collections, strict: bool) -> Value {
    let collections = collections.iter();
    let collections = collections.map(|(name, it)| (name.clone(), definition(it)));
    map([
        ("collections", Some(Value::Map(collections.collect()))),
        ("strict", Some(strict.into())),
    ])
}

fn definition(collection: &CollectionSchema) -> Value {
    let text = |text: &Option<String>| text.as_deref().map(Value::text);
    let open_values_max = collection.open_values_max;
    let open_values_max = open_values_max.and_then(|n| Value::integer(i64::try_from(n).ok()?));
    map([
        ("kind", Some(collection.kind.as_str().into())),
        ("conflict", collection.conflict.map(|it| it.as_str().into())),
        ("key", Some(collection.key.as_str().into())),
        ("add", Some(collection.add.as_str().into())),
        (
            "remove",
            collection.remove.as_ref().map(|it| it.as_str().into()),
        ),
        ("value", text(&collection.value)),
        ("amount", text(&collection.amount)),
        ("list", text(&collection.list)),
        ("after", text(&collection.after)),
        ("open_values_max", open_values_max),
    ])
}

fn map<const N: usize>(pairs: [(&str, Option<Value>); N]) -> Value {
    let pairs = pairs.into_iter();
    Value::Map(
        pairs
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect(),
    )
}

pub(super) fn read(json: &str) -> Result<(Collections, bool), DecodeError> {
    let mut document = Fields::read(json.as_bytes(), 3)?;
    from_value(document.required("schema")?)
}

pub(super) fn from_value(schema: Value) -> Result<(Collections, bool), DecodeError> {
    let mut schema = Fields::of(schema)?;
    let strict = schema.flag("strict")?;
    let mut types = HashMap::new();
    let collections = schema.map("collections")?.into_iter();
    let collections = collections.map(|(name, given)| {
        let checked = collection(&name, Fields::of(given)?, &mut types)?;
        Ok((name, checked))
    });
    let collections = collections.collect::<Result<_, DecodeError>>()?;
    nothing_else(schema)?;
    Ok((collections, strict))
}

fn collection(
    name: &str,
    mut given: Fields,
    types: &mut HashMap<EventType, String>,
) -> Result<CollectionSchema, DecodeError> {
    let in_collection = |problem| DecodeError::Schema {
        collection: name.to_owned(),
        problem: Box::new(problem),
    };
    check_name(name).map_err(in_collection)?;
    let draft = draft(&mut given)?;
    nothing_else(given)?;
    let checked = draft
        .check()
        .map_err(|(_, problem)| in_collection(problem))?;
    for event_type in [Some(&checked.add), checked.remove.as_ref()]
        .into_iter()
        .flatten()
    {
        let first = types.insert(event_type.clone(), name.to_owned());
        if let Some(first) = first {
            return Err(in_collection(SchemaProblem::Twice {
                event_type: event_type.to_string(),
                first: format!("in {first}"),
            }));
        }
    }
    Ok(checked)
}

fn draft(given: &mut Fields) -> Result<Draft, DecodeError> {
    Ok(Draft {
        kind: given.text("kind")?,
        conflict: given.text("conflict")?,
        key: given.text("key")?,
        add: given.text("add")?,
        remove: given.text("remove")?,
        value: given.text("value")?,
        amount: given.text("amount")?,
        list: given.text("list")?,
        after: given.text("after")?,
        open_values_max: integer(given.optional("open_values_max"))?,
    })
}

fn integer(given: Option<Value>) -> Result<Option<i64>, DecodeError> {
    let wrong = DecodeError::Type {
        name: "open_values_max",
        expected: "an integer",
    };
    given.map(|it| it.as_i64().ok_or(wrong)).transpose()
}

fn nothing_else(fields: Fields) -> Result<(), DecodeError> {
    match fields.rest().into_keys().next() {
        None => Ok(()),
        Some(name) => Err(DecodeError::Unknown(name)),
    }
}
