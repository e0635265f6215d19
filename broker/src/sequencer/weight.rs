//! Roughly how many bytes an intent takes, on disk and in memory, without encoding it.

use syncline_protocol::{Intent, Value};

/// The names, the ids and the numbers of any event.
const FIXED: usize = 256;

/// Roughly the bytes of the event that an intent becomes.
pub(crate) fn weight(intent: &Intent) -> usize {
    let extra: usize = intent
        .extra
        .iter()
        .map(|(name, value)| name.len() + of(value))
        .sum();
    FIXED + of(&intent.event_data) + extra
}

/// Roughly the bytes of memory that an intent holds: a byte on the wire can be a whole value here.
pub(crate) fn memory(intent: &Intent) -> usize {
    let extra = intent.extra.iter();
    let extra: usize = extra.map(|(name, value)| named(name, value)).sum();
    FIXED + held(&intent.event_data) + extra
}

fn held(value: &Value) -> usize {
    let inside = match value {
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::Array(items) => items.iter().map(held).sum(),
        Value::Map(entries) => entries.iter().map(|(name, value)| named(name, value)).sum(),
        Value::Nil | Value::Bool(_) | Value::Integer(_) | Value::Float(_) => 0,
    };
    size_of::<Value>() + inside
}

fn named(name: &str, value: &Value) -> usize {
    size_of::<String>() + name.len() + held(value)
}

fn of(value: &Value) -> usize {
    match value {
        Value::Nil | Value::Bool(_) => 1,
        Value::Integer(_) | Value::Float(_) => 9,
        Value::Text(text) => 5 + text.len(),
        Value::Bytes(bytes) => 5 + bytes.len(),
        Value::Array(items) => 5 + items.iter().map(of).sum::<usize>(),
        Value::Map(entries) => {
            5 + entries
                .iter()
                .map(|(name, value)| 5 + name.len() + of(value))
                .sum::<usize>()
        }
    }
}
