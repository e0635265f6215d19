//! Bytes to values. MessagePack and JSON have a reader each; the rules that they share are here.

mod json;
mod msgpack;

use std::collections::BTreeMap;
use std::fmt;

use super::{DEPTH_MAX, Value};

pub(super) use json::from_json;
pub(super) use msgpack::from_msgpack;

/// Why bytes are not a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Not MessagePack, or not JSON text.
    #[error("{0}")]
    Malformed(String),
    /// Well-formed, but something in it breaks a rule, which the text names.
    #[error("{0}")]
    Rule(String),
}

impl ValueError {
    fn malformed(text: impl Into<String>) -> Self {
        Self::Malformed(text.into())
    }

    fn rule(text: impl Into<String>) -> Self {
        Self::Rule(text.into())
    }

    fn too_deep() -> Self {
        Self::Rule(format!("arrays and maps deeper than {DEPTH_MAX} (VALUE-4)"))
    }

    fn too_large(n: impl fmt::Display) -> Self {
        Self::Rule(format!("the integer {n} beyond 2^53-1 (VALUE-1)"))
    }

    fn not_finite(n: f64) -> Self {
        Self::Rule(format!("the number {n} (VALUE-5)"))
    }

    fn trailing() -> Self {
        Self::malformed("more bytes after the value")
    }
}

/// How many more arrays and maps may be entered.
#[derive(Clone, Copy)]
struct Depth(usize);

impl Depth {
    fn enter(self) -> Result<Self, ValueError> {
        self.0
            .checked_sub(1)
            .map(Self)
            .ok_or_else(ValueError::too_deep)
    }
}

/// The keys that no map has (VALUE-3), so nothing that becomes a key of a map may be named so.
pub(crate) fn is_reserved(key: &str) -> bool {
    matches!(key, "__proto__" | "$bytes")
}

/// VALUE-3.
fn check_key(key: &str, map: &BTreeMap<String, Value>) -> Result<(), ValueError> {
    if is_reserved(key) {
        return Err(ValueError::Rule(format!(
            "a map with the key {key} (VALUE-3)"
        )));
    }
    if map.contains_key(key) {
        return Err(ValueError::Rule(format!(
            "a map with the key {key:?} twice (VALUE-3)"
        )));
    }
    Ok(())
}
