//! Who is here (PRESENCE-1).

use std::collections::BTreeMap;

use crate::event::put;
use crate::fields::{DecodeError, Fields, Form, number, optional_text};
use crate::ids::{DeviceId, Seq, UnixMillis};
use crate::value::Value;

/// What is known of one device in one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    /// Which device.
    pub device: DeviceId,
    /// Whether it has a connection.
    pub online: bool,
    /// When `online` last changed.
    pub since: UnixMillis,
    /// What its owner calls it.
    pub name: Option<String>,
    /// Per channel (`""`: the default one) the seq up to which it acknowledged everything.
    pub acked: BTreeMap<String, Seq>,
}

impl Presence {
    /// Reads MessagePack or JSON text.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::read(payload, 2)?;
        Ok(Self {
            device: fields
                .device("device_uuid")?
                .ok_or(DecodeError::Missing("device_uuid"))?,
            online: fields.flag("online")?,
            since: UnixMillis::new(fields.required_number("since")?),
            name: fields.text("name")?,
            acked: fields
                .map("acked")?
                .into_iter()
                .map(read_acked)
                .collect::<Result<_, _>>()?,
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
        let acked = self
            .acked
            .iter()
            .map(|(channel, seq)| (channel.clone(), number(seq.get())));
        let mut map = BTreeMap::new();
        put(&mut map, "device_uuid", Some(form.device(self.device)));
        put(&mut map, "online", Some(self.online.into()));
        put(&mut map, "since", Some(number(self.since.get())));
        put(&mut map, "name", Some(optional_text(self.name.as_ref())));
        put(&mut map, "acked", Some(Value::Map(acked.collect())));
        Value::Map(map)
    }
}

fn read_acked((channel, seq): (String, Value)) -> Result<(String, Seq), DecodeError> {
    let expected = "a map of integers";
    let seq = seq.as_u64().and_then(Seq::new);
    Ok((
        channel,
        seq.ok_or(DecodeError::Type {
            name: "acked",
            expected,
        })?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presence_1_round_trips_in_both_forms() {
        let presence = Presence {
            device: DeviceId::from_bytes([1; 16]),
            online: true,
            since: UnixMillis::new(1_700_000_000_000),
            name: Some("Kitchen".to_owned()),
            acked: BTreeMap::from([(String::new(), Seq::new(12).unwrap())]),
        };
        assert_eq!(Presence::decode(&presence.encode()).unwrap(), presence);
        assert_eq!(
            Presence::decode(presence.to_json().as_bytes()).unwrap(),
            presence
        );
    }
}
