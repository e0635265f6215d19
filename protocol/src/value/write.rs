//! Values to bytes. The canonical form falls out of `rmp-serde`'s shortest heads and the map's order.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::Value;

pub(super) fn to_msgpack(value: &Value) -> Vec<u8> {
    rmp_serde::to_vec(value)
        .expect("a value has a MessagePack form, and memory does not fail to write")
}

pub(super) fn to_json(value: &Value) -> String {
    serde_json::to_string(value)
        .expect("a value has a JSON form, and memory does not fail to write")
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Nil => serializer.serialize_unit(),
            Self::Bool(b) => serializer.serialize_bool(*b),
            Self::Integer(n) => serializer.serialize_i64(n.get()),
            Self::Float(n) => serializer.serialize_f64(n.get()),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Bytes(bytes) => serialize_bytes(bytes, serializer),
            Self::Array(items) => serializer.collect_seq(items),
            Self::Map(map) => serializer.collect_map(map),
        }
    }
}

fn serialize_bytes<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    if !serializer.is_human_readable() {
        return serializer.serialize_bytes(bytes);
    }
    let mut map = serializer.serialize_map(Some(1))?;
    map.serialize_entry("$bytes", &STANDARD.encode(bytes))?;
    map.end()
}
