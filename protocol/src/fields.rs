//! Reading a message that is a map with known names.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::ids::{DeviceId, DeviceSeq, Epoch, IdError, Seq, StreamId, UnixMillis};
use crate::schema::SchemaProblem;
use crate::value::{self, Value, ValueError};

/// Why bytes are not the message that they were read as.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not a value at all.
    #[error("{0}")]
    Value(#[from] ValueError),
    /// A value, but not a map.
    #[error("not a map")]
    NotAMap,
    /// A name is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A name stands for something of another type.
    #[error("{name} is not {expected}")]
    Type {
        /// The name.
        name: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// A name stands for an id that is none.
    #[error("{0}")]
    Id(#[from] IdError),
    /// A name that a schema does not have.
    #[error("{0:?} is not a name of a schema that this version knows")]
    Unknown(String),
    /// A collection that a schema cannot have.
    #[error("collection {collection:?}: {problem}")]
    Schema {
        /// Its name.
        collection: String,
        /// What is wrong with it.
        problem: Box<SchemaProblem>,
    },
}

/// In which of the two encodings a map is written. They differ in how a device is written (EVENT-1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    MessagePack,
    Json,
}

impl Form {
    pub(crate) fn device(self, device: DeviceId) -> Value {
        match self {
            Self::MessagePack => Value::Bytes(device.as_bytes().to_vec()),
            Self::Json => Value::text(device.to_string()),
        }
    }
}

/// A non-negative number of the wire. All of ours are within 2^53-1 by their types.
pub(crate) fn number(n: u64) -> Value {
    i64::try_from(n)
        .ok()
        .and_then(Value::integer)
        .expect("numbers of the wire stay within 2^53-1")
}

/// Text, or nil for none.
pub(crate) fn optional_text(text: Option<impl ToString>) -> Value {
    text.map_or(Value::Nil, |text| Value::text(text.to_string()))
}

/// The names of a map that are not read yet. A name with nil counts as left out.
pub(crate) struct Fields(BTreeMap<String, Value>);

impl Fields {
    /// Reads MessagePack, or JSON text if it begins with `{`. `levels`: how many maps stand around a value in it.
    pub(crate) fn read(payload: &[u8], levels: usize) -> Result<Self, DecodeError> {
        Self::of(value::read_message(payload, levels)?)
    }

    pub(crate) fn of(value: Value) -> Result<Self, DecodeError> {
        if let Value::Map(map) = value {
            Ok(Self(map))
        } else {
            Err(DecodeError::NotAMap)
        }
    }

    /// What is left.
    pub(crate) fn rest(self) -> BTreeMap<String, Value> {
        self.0
    }

    /// The value, nil included.
    pub(crate) fn raw(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    pub(crate) fn optional(&mut self, name: &'static str) -> Option<Value> {
        self.raw(name).filter(|value| *value != Value::Nil)
    }

    pub(crate) fn required(&mut self, name: &'static str) -> Result<Value, DecodeError> {
        self.optional(name).ok_or(DecodeError::Missing(name))
    }

    pub(crate) fn text(&mut self, name: &'static str) -> Result<Option<String>, DecodeError> {
        match self.optional(name) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(_) => Err(DecodeError::Type {
                name,
                expected: "text",
            }),
        }
    }

    pub(crate) fn required_text(&mut self, name: &'static str) -> Result<String, DecodeError> {
        self.text(name)?.ok_or(DecodeError::Missing(name))
    }

    pub(crate) fn parsed<T>(&mut self, name: &'static str) -> Result<Option<T>, DecodeError>
    where
        T: FromStr,
        DecodeError: From<T::Err>,
    {
        Ok(self.text(name)?.map(|text| text.parse()).transpose()?)
    }

    pub(crate) fn number(&mut self, name: &'static str) -> Result<Option<u64>, DecodeError> {
        let expected = "an integer of 0 and up";
        self.optional(name)
            .map(|value| value.as_u64().ok_or(DecodeError::Type { name, expected }))
            .transpose()
    }

    pub(crate) fn required_number(&mut self, name: &'static str) -> Result<u64, DecodeError> {
        self.number(name)?.ok_or(DecodeError::Missing(name))
    }

    pub(crate) fn flag(&mut self, name: &'static str) -> Result<bool, DecodeError> {
        match self.optional(name) {
            None => Ok(false),
            Some(Value::Bool(b)) => Ok(b),
            Some(_) => Err(DecodeError::Type {
                name,
                expected: "a bool",
            }),
        }
    }

    pub(crate) fn map(
        &mut self,
        name: &'static str,
    ) -> Result<BTreeMap<String, Value>, DecodeError> {
        match self.required(name)? {
            Value::Map(map) => Ok(map),
            _ => Err(DecodeError::Type {
                name,
                expected: "a map",
            }),
        }
    }

    pub(crate) fn seq(&mut self, name: &'static str) -> Result<Option<Seq>, DecodeError> {
        Ok(self.number(name)?.and_then(Seq::new))
    }

    pub(crate) fn required_seq(&mut self, name: &'static str) -> Result<Seq, DecodeError> {
        self.seq(name)?.ok_or(DecodeError::Missing(name))
    }

    pub(crate) fn moment(&mut self, name: &'static str) -> Result<Option<UnixMillis>, DecodeError> {
        Ok(self.number(name)?.map(UnixMillis::new))
    }

    pub(crate) fn device_seq(
        &mut self,
        name: &'static str,
    ) -> Result<Option<DeviceSeq>, DecodeError> {
        let expected = "an integer of 1 and up";
        self.number(name)?
            .map(|n| DeviceSeq::new(n).ok_or(DecodeError::Type { name, expected }))
            .transpose()
    }

    pub(crate) fn device(&mut self, name: &'static str) -> Result<Option<DeviceId>, DecodeError> {
        match self.optional(name) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text.parse()?)),
            Some(Value::Bytes(bytes)) => {
                let bytes = <[u8; 16]>::try_from(bytes).map_err(|_| IdError::Device)?;
                Ok(Some(DeviceId::from_bytes(bytes)))
            }
            Some(_) => Err(IdError::Device.into()),
        }
    }

    pub(crate) fn epoch(&mut self, name: &'static str) -> Result<Option<Epoch>, DecodeError> {
        self.parsed(name)
    }

    pub(crate) fn stream(&mut self) -> Result<StreamId, DecodeError> {
        let sync_id = self
            .parsed("sync_id")?
            .ok_or(DecodeError::Missing("sync_id"))?;
        Ok(StreamId {
            sync_id,
            channel: self.parsed("channel")?,
        })
    }
}
