//! The golden files taken apart: inputs that the decoders know, for the fuzzer to begin with.

use std::collections::BTreeMap;

use syncline_protocol::{Snapshot, Value};

type Seeds = BTreeMap<&'static str, Vec<Vec<u8>>>;

const NAMES: [&str; 6] = [
    "demo",
    "jam.room",
    "star_album",
    "00000000000000ff",
    "000102030405060708090a0b0c0d0e0f",
    "6a3b0c52-8d64-4d5e-9f39-2f1f2a3b4c5d",
];

macro_rules! golden {
    ($($name:literal),*) => {
        [$(($name, include_bytes!(concat!("../../protocol/golden/", $name, ".json")).as_slice())),*]
    };
}

/// The inputs of each target.
pub fn seeds() -> Seeds {
    let files = golden!(
        "values", "topics", "events", "messages", "schemas", "states", "kinds", "parts"
    );
    let mut seeds = Seeds::new();
    for (file, text) in files {
        let value = Value::from_json(text).expect("the golden files are JSON text");
        gather(&mut seeds, file, "", &value);
    }
    seeds.insert("names", NAMES.map(|name| name.as_bytes().to_vec()).into());
    for inputs in seeds.values_mut() {
        inputs.sort();
        inputs.dedup();
    }
    seeds
}

/// Every text of a golden file goes to the targets that read such text.
fn gather(seeds: &mut Seeds, file: &str, name: &str, value: &Value) {
    match value {
        Value::Array(items) => items
            .iter()
            .for_each(|item| gather(seeds, file, name, item)),
        Value::Map(map) => map.iter().for_each(|(inner, item)| {
            let is_table = matches!(item, Value::Array(_)) && name.is_empty();
            let name = match (is_table, name) {
                (true, _) | (_, "") => inner.clone(),
                (_, table) => format!("{table}.{inner}"),
            };
            gather(seeds, file, &name, item);
        }),
        Value::Text(text) => {
            let bytes = bytes(name, text);
            for target in targets(file, name) {
                let bytes = [prefix(target), bytes.as_slice()].concat();
                seeds.entry(target).or_default().push(bytes);
            }
            if targets(file, name).contains(&"snapshot") {
                seeds.entry("entry").or_default().extend(entries(&bytes));
            }
        }
        _ => {}
    }
}

fn targets(file: &str, name: &str) -> &'static [&'static str] {
    match (file, name) {
        ("values", name) if name.contains("json") || name.ends_with("printed") => &["value_json"],
        ("values", _) => &["value_msgpack"],
        ("topics", _) => &["topic"],
        ("events", name) if name.starts_with("events.") => &["event"],
        ("events", "intents.json" | "intents.msgpack" | "refused.json") => &["intent"],
        ("messages", name) if name.starts_with("errors.") => &["notice"],
        ("messages", _) => &["presence"],
        ("schemas", name) if name.ends_with("toml") => &["schema_toml"],
        ("schemas", name) if name.ends_with("document") => &["schema_document"],
        ("kinds" | "states", "events.json") => &["event"],
        ("kinds" | "states", name) if name.starts_with("snapshots.") => {
            &["snapshot", "parts", "state"]
        }
        ("parts", "parts" | "json_parts") => &["snapshot", "state"],
        _ => &[],
    }
}

fn bytes(name: &str, text: &str) -> Vec<u8> {
    let is_hex = ["msgpack", "canonical", "parts"]
        .iter()
        .any(|end| name.ends_with(end));
    let hex = (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok());
    match hex.collect::<Option<Vec<u8>>>() {
        Some(bytes) if is_hex => bytes,
        _ => text.as_bytes().to_vec(),
    }
}

/// What stands before the snapshot in the targets that read more.
fn prefix(target: &str) -> &'static [u8] {
    match target {
        "parts" => b"\x40\x00\x01\x02",
        "state" => b"\x00\x01\x02\x03\x05\x12\x80\x07\x10\x06\xff\x09\x0b\x00\x41\x02\x0d\x05\x02\x01\x08\x02\x20\x03\x12\x01\x01\x30\x14\x07\x00\x31",
        _ => b"",
    }
}

fn entries(snapshot: &[u8]) -> Vec<Vec<u8>> {
    let collections = Snapshot::decode(snapshot).map(|it| it.collections);
    let entries = collections.into_iter().flatten();
    entries
        .flat_map(|(_, entries)| entries.into_values())
        .map(|entry| entry.encode())
        .collect()
}
