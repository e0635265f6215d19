//! Values that Rust and JavaScript read alike (VALUE-1 … VALUE-7).
//!
//! A [`Value`] can only be made by the rules, so whatever holds one needs no further check: doubles are never
//! integral within the integer range, map keys are unique and sorted, nothing is deeper than [`DEPTH_MAX`].
//! [`Value::to_msgpack`] is the canonical form.

mod read;
mod write;

use std::collections::BTreeMap;

pub use read::ValueError;
pub(crate) use read::is_reserved;

/// How deep arrays and maps may nest (VALUE-4).
pub const DEPTH_MAX: usize = 32;

const SAFE: i64 = (1 << 53) - 1;

/// An integer from -(2^53-1) to 2^53-1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Integer(i64);

impl Integer {
    pub(crate) const ZERO: Self = Self(0);
    pub(crate) const MIN: Self = Self(-SAFE);

    /// A number; `None` outside ±(2^53-1).
    pub fn new(n: i64) -> Option<Self> {
        (-SAFE..=SAFE).contains(&n).then_some(Self(n))
    }

    /// The number.
    pub fn get(self) -> i64 {
        self.0
    }

    pub(crate) fn plus(self, n: i64) -> Option<Self> {
        self.0.checked_add(n).and_then(Self::new)
    }
}

/// A finite double that is not an integer within the integer range.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Float(f64);

impl Float {
    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

/// A value of an event, and anything else that is made of them.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    /// Nothing.
    #[default]
    Nil,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Integer(Integer),
    /// Any other finite number.
    Float(Float),
    /// UTF-8 text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A sequence.
    Array(Vec<Value>),
    /// Names and what they stand for, ordered by the names' UTF-8 bytes.
    Map(BTreeMap<String, Value>),
}

impl Value {
    /// A whole number; `None` outside ±(2^53-1).
    pub fn integer(n: i64) -> Option<Self> {
        Integer::new(n).map(Self::Integer)
    }

    /// A number, as VALUE-2 reads it; `None` for NaN and infinities.
    pub fn number(n: f64) -> Option<Self> {
        if !n.is_finite() {
            return None;
        }
        if n.trunc() == n && n.abs() <= SAFE as f64 {
            return Some(Self::Integer(Integer(n as i64)));
        }
        Some(Self::Float(Float(n)))
    }

    /// Text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self {
            Some(text)
        } else {
            None
        }
    }

    /// The integer, if it is one of 0 and up.
    pub fn as_u64(&self) -> Option<u64> {
        if let Self::Integer(n) = self {
            u64::try_from(n.0).ok()
        } else {
            None
        }
    }

    /// The integer, if it is one.
    pub fn as_i64(&self) -> Option<i64> {
        if let Self::Integer(n) = self {
            Some(n.0)
        } else {
            None
        }
    }

    /// The map, if it is one.
    pub fn as_map(&self) -> Option<&BTreeMap<String, Self>> {
        if let Self::Map(map) = self {
            Some(map)
        } else {
            None
        }
    }

    /// Reads MessagePack (VALUE-1 … VALUE-5). The whole of `bytes` is one value.
    pub fn from_msgpack(bytes: &[u8]) -> Result<Self, ValueError> {
        read::from_msgpack(bytes, DEPTH_MAX)
    }

    /// Reads JSON text (VALUE-6). The whole of `text` is one value.
    pub fn from_json(text: &[u8]) -> Result<Self, ValueError> {
        read::from_json(text, DEPTH_MAX)
    }

    /// Canonical MessagePack (VALUE-7).
    pub fn to_msgpack(&self) -> Vec<u8> {
        write::to_msgpack(self)
    }

    /// JSON text (VALUE-6), names in canonical order.
    pub fn to_json(&self) -> String {
        write::to_json(self)
    }

    /// Roughly what it takes in memory beside itself.
    pub fn weight(&self) -> usize {
        match self {
            Self::Nil | Self::Bool(_) | Self::Integer(_) | Self::Float(_) => 0,
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::Array(items) => items
                .iter()
                .map(|item| size_of::<Self>() + item.weight())
                .sum(),
            Self::Map(map) => map
                .iter()
                .map(|(key, item)| size_of::<(String, Self)>() + key.len() + item.weight())
                .sum(),
        }
    }

    /// VALUE-4: 0 for a scalar.
    pub fn depth(&self) -> usize {
        match self {
            Self::Array(items) => 1 + items.iter().map(Self::depth).max().unwrap_or(0),
            Self::Map(map) => 1 + map.values().map(Self::depth).max().unwrap_or(0),
            _ => 0,
        }
    }
}

impl From<bool> for Value {
    fn from(b: bool) -> Self {
        Self::Bool(b)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl From<u32> for Value {
    fn from(n: u32) -> Self {
        Self::Integer(Integer(i64::from(n)))
    }
}

/// Reads a message of this protocol, which is a map around values and so may be deeper than one of them.
pub(crate) fn read_message(payload: &[u8], levels: usize) -> Result<Value, ValueError> {
    if payload.first() == Some(&b'{') {
        read::from_json(payload, DEPTH_MAX + levels)
    } else {
        read::from_msgpack(payload, DEPTH_MAX + levels)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Any value that the rules allow.
    pub(crate) fn any_value() -> impl Strategy<Value = Value> {
        let scalar = prop_oneof![
            Just(Value::Nil),
            any::<bool>().prop_map(Value::Bool),
            (-SAFE..=SAFE).prop_map(|n| Value::integer(n).unwrap()),
            any::<f64>().prop_filter_map("finite", Value::number),
            ".{0,40}".prop_map(Value::Text),
            prop::collection::vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
        ];
        scalar.prop_recursive(5, 64, 8, |inner| {
            let key = ".{0,12}".prop_filter("allowed", |k| k != "__proto__" && k != "$bytes");
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::Array),
                prop::collection::btree_map(key, inner, 0..8).prop_map(Value::Map),
            ]
        })
    }

    proptest! {
        #[test]
        fn value_7_canonical_form_round_trips(value in any_value()) {
            let bytes = value.to_msgpack();
            prop_assert_eq!(Value::from_msgpack(&bytes).unwrap(), value);
        }

        #[test]
        fn value_6_json_round_trips(value in any_value()) {
            let text = value.to_json();
            prop_assert_eq!(Value::from_json(text.as_bytes()).unwrap(), value);
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(value) = Value::from_msgpack(&bytes) {
                prop_assert!(value.depth() <= DEPTH_MAX);
            }
            let _ = Value::from_json(&bytes);
        }
    }

    #[test]
    fn value_2_integral_doubles_are_integers() {
        for (given, meant) in [(1.0, 1), (-0.0, 0), (9_007_199_254_740_991.0, SAFE)] {
            assert_eq!(Value::number(given), Value::integer(meant));
        }
        assert!(matches!(
            Value::number(9_007_199_254_740_992.0),
            Some(Value::Float(_))
        ));
    }

    #[test]
    fn value_7_matches_the_example_of_the_spec() {
        let value = Value::from_json(br#"{"b":1.0,"a":[null,-1]}"#).unwrap();
        assert_eq!(
            value.to_msgpack(),
            [0x82, 0xa1, 0x61, 0x92, 0xc0, 0xff, 0xa1, 0x62, 0x01]
        );
    }

    #[test]
    fn value_4_depth_is_bounded_before_the_stack_is() {
        let nested = |n: usize| [vec![0x91; n], vec![0xc0]].concat();
        assert_eq!(Value::from_msgpack(&nested(31)).unwrap().depth(), 31);
        assert!(Value::from_msgpack(&nested(32)).is_ok());
        assert!(
            Value::from_msgpack(&nested(33))
                .unwrap_err()
                .to_string()
                .contains("deeper")
        );
        assert!(Value::from_msgpack(&nested(100_000)).is_err());
        let text = "[".repeat(100_000);
        assert!(Value::from_json(text.as_bytes()).is_err());
    }
}
