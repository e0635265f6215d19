//! Roughly how many bytes an intent takes, without encoding it.

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
