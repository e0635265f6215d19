//! MessagePack. Read by markers rather than through serde, which hands on text that is not UTF-8 as bytes.

use std::collections::BTreeMap;

use rmp::Marker;

use super::{Depth, ValueError, check_key};
use crate::value::Value;

pub(in crate::value) fn from_msgpack(bytes: &[u8], depth_max: usize) -> Result<Value, ValueError> {
    let mut reader = Reader { rest: bytes };
    let value = reader.value(Depth(depth_max))?;
    if reader.rest.is_empty() {
        Ok(value)
    } else {
        Err(ValueError::trailing())
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: Depth) -> Result<Value, ValueError> {
        let marker = self.marker()?;
        if let Some(length) = self.text_length(marker)? {
            return Ok(Value::text(self.text(length)?));
        }
        match marker {
            Marker::Null => Ok(Value::Nil),
            Marker::True => Ok(Value::Bool(true)),
            Marker::False => Ok(Value::Bool(false)),
            Marker::F32 => float(f64::from(f32::from_be_bytes(self.take()?))),
            Marker::F64 => float(f64::from_be_bytes(self.take()?)),
            Marker::Bin8 => self.length(1).and_then(|n| self.bytes(n)),
            Marker::Bin16 => self.length(2).and_then(|n| self.bytes(n)),
            Marker::Bin32 => self.length(4).and_then(|n| self.bytes(n)),
            Marker::FixArray(n) => self.array(n.into(), depth),
            Marker::Array16 => self.length(2).and_then(|n| self.array(n, depth)),
            Marker::Array32 => self.length(4).and_then(|n| self.array(n, depth)),
            Marker::FixMap(n) => self.map(n.into(), depth),
            Marker::Map16 => self.length(2).and_then(|n| self.map(n, depth)),
            Marker::Map32 => self.length(4).and_then(|n| self.map(n, depth)),
            other => self.integer(other),
        }
    }

    fn integer(&mut self, marker: Marker) -> Result<Value, ValueError> {
        let n: i128 = match marker {
            Marker::FixPos(n) => n.into(),
            Marker::FixNeg(n) => n.into(),
            Marker::U8 => u8::from_be_bytes(self.take()?).into(),
            Marker::U16 => u16::from_be_bytes(self.take()?).into(),
            Marker::U32 => u32::from_be_bytes(self.take()?).into(),
            Marker::U64 => u64::from_be_bytes(self.take()?).into(),
            Marker::I8 => i8::from_be_bytes(self.take()?).into(),
            Marker::I16 => i16::from_be_bytes(self.take()?).into(),
            Marker::I32 => i32::from_be_bytes(self.take()?).into(),
            Marker::I64 => i64::from_be_bytes(self.take()?).into(),
            Marker::Reserved => {
                return Err(ValueError::malformed("not MessagePack: the byte 0xc1"));
            }
            _ => return Err(ValueError::rule("a MessagePack extension type (VALUE-5)")),
        };
        let integer = i64::try_from(n).ok().and_then(Value::integer);
        integer.ok_or_else(|| ValueError::too_large(n))
    }

    fn array(&mut self, length: u32, depth: Depth) -> Result<Value, ValueError> {
        let inner = depth.enter()?;
        let items = (0..length)
            .map(|_| self.value(inner))
            .collect::<Result<_, _>>()?;
        Ok(Value::Array(items))
    }

    fn map(&mut self, length: u32, depth: Depth) -> Result<Value, ValueError> {
        let inner = depth.enter()?;
        let mut map = BTreeMap::new();
        for _ in 0..length {
            let key = self.key()?;
            check_key(key, &map)?;
            map.insert(key.to_owned(), self.value(inner)?);
        }
        Ok(Value::Map(map))
    }

    fn key(&mut self) -> Result<&'a str, ValueError> {
        let marker = self.marker()?;
        match self.text_length(marker)? {
            Some(length) => self.text(length),
            None => Err(ValueError::rule(
                "a map with a key that is not text (VALUE-3)",
            )),
        }
    }

    fn text_length(&mut self, marker: Marker) -> Result<Option<u32>, ValueError> {
        match marker {
            Marker::FixStr(n) => Ok(Some(n.into())),
            Marker::Str8 => self.length(1).map(Some),
            Marker::Str16 => self.length(2).map(Some),
            Marker::Str32 => self.length(4).map(Some),
            _ => Ok(None),
        }
    }

    fn text(&mut self, length: u32) -> Result<&'a str, ValueError> {
        std::str::from_utf8(self.slice(length)?)
            .map_err(|_| ValueError::rule("text that is not UTF-8 (VALUE-1)"))
    }

    fn bytes(&mut self, length: u32) -> Result<Value, ValueError> {
        Ok(Value::Bytes(self.slice(length)?.to_vec()))
    }

    fn marker(&mut self) -> Result<Marker, ValueError> {
        self.take().map(|[byte]| Marker::from_u8(byte))
    }

    /// A length of `width` bytes.
    fn length(&mut self, width: u32) -> Result<u32, ValueError> {
        Ok(self
            .slice(width)?
            .iter()
            .fold(0, |n, byte| n << 8 | u32::from(*byte)))
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], ValueError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or_else(too_short)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn slice(&mut self, length: u32) -> Result<&'a [u8], ValueError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length as usize)
            .ok_or_else(too_short)?;
        self.rest = rest;
        Ok(taken)
    }
}

fn float(n: f64) -> Result<Value, ValueError> {
    Value::number(n).ok_or_else(|| ValueError::not_finite(n))
}

fn too_short() -> ValueError {
    ValueError::malformed("MessagePack that ends too soon")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::DEPTH_MAX;

    fn refusal(bytes: &[u8]) -> String {
        from_msgpack(bytes, DEPTH_MAX).unwrap_err().to_string()
    }

    #[test]
    fn value_1_integers_end_at_2_to_the_53() {
        assert!(refusal(&[0xcf, 0, 0x20, 0, 0, 0, 0, 0, 0]).contains("VALUE-1"));
        assert!(refusal(&[0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0]).contains("VALUE-1"));
    }

    #[test]
    fn value_2_a_float_32_is_a_number_too() {
        assert_eq!(
            from_msgpack(&[0xca, 0x3f, 0x80, 0, 0], DEPTH_MAX),
            Ok(Value::from(1))
        );
    }

    #[test]
    fn value_3_keys_are_unique_text_and_not_reserved() {
        assert!(refusal(&[0x82, 0xa1, b'a', 1, 0xa1, b'a', 2]).contains("twice"));
        assert!(refusal(&[0x81, 1, 1]).contains("VALUE-3"));
        assert!(refusal(b"\x81\xa6$bytes\xa0").contains("VALUE-3"));
        assert!(refusal(b"\x81\xa9__proto__\xa0").contains("VALUE-3"));
    }

    #[test]
    fn value_5_what_is_no_value_is_refused() {
        assert!(refusal(&[0xd4, 1, 2]).contains("VALUE-5"));
        assert!(refusal(&[0xc7, 0, 2]).contains("VALUE-5"));
        assert!(refusal(&[0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0]).contains("VALUE-5"));
        assert!(refusal(&[0xa2, 0xff, 0xff]).contains("UTF-8"));
        assert!(refusal(&[0xc0, 0xc0]).contains("more bytes"));
        assert!(refusal(&[0x92, 1]).contains("too soon"));
        assert!(refusal(&[0xdb, 0xff, 0xff, 0xff, 0xff]).contains("too soon"));
        assert!(refusal(&[]).contains("too soon"));
        assert!(refusal(&[0xc1]).contains("0xc1"));
    }

    #[test]
    fn value_7_long_forms_are_read_and_written_short() {
        let long = [0xdd, 0, 0, 0, 1, 0xd9, 1, b'a'];
        assert_eq!(
            from_msgpack(&long, DEPTH_MAX).unwrap().to_msgpack(),
            [0x91, 0xa1, b'a']
        );
    }
}
