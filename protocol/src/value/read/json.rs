//! JSON text, through serde_json's tokenizer.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{self, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;

use super::{Depth, ValueError, check_key};
use crate::value::Value;

pub(in crate::value) fn from_json(text: &[u8], depth_max: usize) -> Result<Value, ValueError> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = Depth(depth_max)
        .deserialize(&mut deserializer)
        .map_err(|error| json_error(&error))?;
    deserializer.end().map_err(|_| ValueError::trailing())?;
    Ok(value)
}

/// Rules speak through serde's data errors; all others are the tokenizer's.
fn json_error(error: &serde_json::Error) -> ValueError {
    match error.classify() {
        Category::Data => ValueError::rule(error.to_string()),
        _ => ValueError::malformed(error.to_string()),
    }
}

impl<'de> DeserializeSeed<'de> for Depth {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Depth {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("null, a bool, number, text, array or map (VALUE-1)")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Nil)
    }

    fn visit_bool<E>(self, b: bool) -> Result<Value, E> {
        Ok(Value::Bool(b))
    }

    fn visit_i64<E: de::Error>(self, n: i64) -> Result<Value, E> {
        Value::integer(n).ok_or_else(|| E::custom(ValueError::too_large(n)))
    }

    fn visit_u64<E: de::Error>(self, n: u64) -> Result<Value, E> {
        let integer = i64::try_from(n).ok().and_then(Value::integer);
        integer.ok_or_else(|| E::custom(ValueError::too_large(n)))
    }

    fn visit_f64<E: de::Error>(self, n: f64) -> Result<Value, E> {
        Value::number(n).ok_or_else(|| E::custom(ValueError::not_finite(n)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.enter().map_err(A::Error::custom)?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Value, A::Error> {
        let mut map = BTreeMap::new();
        while let Some(key) = pairs.next_key::<String>()? {
            if key == "$bytes" && map.is_empty() {
                return bytes(&mut pairs);
            }
            check_key(&key, &map).map_err(A::Error::custom)?;
            let inner = self.enter().map_err(A::Error::custom)?;
            map.insert(key, pairs.next_value_seed(inner)?);
        }
        self.enter().map_err(A::Error::custom)?;
        Ok(Value::Map(map))
    }
}

/// VALUE-6: a map whose only key is `$bytes`.
fn bytes<'de, A: MapAccess<'de>>(pairs: &mut A) -> Result<Value, A::Error> {
    let text = pairs.next_value::<String>()?;
    let bytes = STANDARD.decode(text);
    match pairs.next_key::<String>()? {
        None => bytes
            .map(Value::Bytes)
            .map_err(|_| A::Error::custom("$bytes is not base64 (VALUE-6)")),
        Some(_) => Err(A::Error::custom("a map with the key $bytes (VALUE-3)")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::DEPTH_MAX;

    fn read(text: &str) -> Value {
        from_json(text.as_bytes(), DEPTH_MAX).unwrap()
    }

    fn refusal(text: &str) -> String {
        from_json(text.as_bytes(), DEPTH_MAX)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn value_3_keys_are_unique_and_not_reserved() {
        assert!(refusal(r#"{"a":1,"a":2}"#).contains("twice"));
        assert!(refusal(r#"{"__proto__":1}"#).contains("VALUE-3"));
        assert!(refusal(r#"{"$bytes":"AA==","x":1}"#).contains("VALUE-3"));
        assert!(refusal(r#"{"x":1,"$bytes":"AA=="}"#).contains("VALUE-3"));
    }

    #[test]
    fn value_6_bytes_and_numbers() {
        assert_eq!(read(r#"{"$bytes":"AP8="}"#), Value::Bytes(vec![0, 255]));
        assert!(refusal(r#"{"$bytes":"AP8"}"#).contains("VALUE-6"));
        assert_eq!(read("1.0"), read("1"));
        assert_eq!(read("-0.0"), read("0"));
        assert_eq!(read("-0"), read("0"));
        assert_eq!(read("9007199254740992.0").to_json(), "9007199254740992.0");
        assert!(refusal("9007199254740992").contains("VALUE-1"));
        assert!(matches!(
            read("123456789012345678901234567890"),
            Value::Float(_)
        ));
        assert_eq!(read("-9007199254740991").to_json(), "-9007199254740991");
    }

    #[test]
    fn value_5_what_is_no_value_is_refused() {
        for text in ["1e999", "{}x", "", "nul", "NaN", "\"\\ud800\""] {
            assert!(!refusal(text).is_empty());
        }
    }
}
