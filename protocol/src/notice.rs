//! Why an event was refused, told on the device's `errors` topic (ANSWER-5).

use std::collections::BTreeMap;

use crate::event::put;
use crate::fields::{DecodeError, Fields, Form, number, optional_text};
use crate::ids::{DeviceId, DeviceSeq, StreamId};
use crate::value::Value;

/// A message on `sync/<sync_id>/errors/<device_uuid>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The name of the refusal.
    pub error: String,
    /// A sentence for people.
    pub reason: String,
    /// Where the event was published.
    pub stream: StreamId,
    /// Whose it was.
    pub device: DeviceId,
    /// Its type, if it could be read.
    pub event_type: Option<String>,
    /// Its number, if it could be read.
    pub device_seq: Option<DeviceSeq>,
}

impl Notice {
    /// Reads MessagePack or JSON text.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::read(payload, 1)?;
        Ok(Self {
            error: fields.required_text("error")?,
            reason: fields.required_text("reason")?,
            stream: fields.stream()?,
            device: fields
                .device("device_uuid")?
                .ok_or(DecodeError::Missing("device_uuid"))?,
            event_type: fields.text("event_type")?,
            device_seq: fields.device_seq("device_seq")?,
        })
    }

    /// Canonical MessagePack.
    pub fn encode(&self) -> Vec<u8> {
        self.to_value(Form::MessagePack).to_msgpack()
    }

    /// JSON text.
    pub fn to_json(&self) -> String {
        self.to_value(Form::Json).to_json()
    }

    fn to_value(&self, form: Form) -> Value {
        let mut map = BTreeMap::new();
        put(&mut map, "error", Some(Value::text(self.error.as_str())));
        put(&mut map, "reason", Some(Value::text(self.reason.as_str())));
        put(
            &mut map,
            "sync_id",
            Some(Value::text(self.stream.sync_id.as_str())),
        );
        put(
            &mut map,
            "channel",
            Some(optional_text(self.stream.channel.as_ref())),
        );
        put(&mut map, "device_uuid", Some(form.device(self.device)));
        put(
            &mut map,
            "event_type",
            self.event_type.as_deref().map(Value::from),
        );
        put(
            &mut map,
            "device_seq",
            self.device_seq.map(|n| number(n.get())),
        );
        Value::Map(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_5_round_trips_in_both_forms() {
        let notice = Notice {
            error: "bad_data".to_owned(),
            reason: "star_album needs text under event_data.album_id".to_owned(),
            stream: StreamId {
                sync_id: "a".parse().unwrap(),
                channel: "b".parse().ok(),
            },
            device: DeviceId::from_bytes([7; 16]),
            event_type: Some("star_album".to_owned()),
            device_seq: DeviceSeq::new(3),
        };
        assert_eq!(Notice::decode(&notice.encode()).unwrap(), notice);
        assert_eq!(Notice::decode(notice.to_json().as_bytes()).unwrap(), notice);
    }
}
