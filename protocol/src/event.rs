//! Events: what a device asks for ([`Intent`]) and what the broker made of it ([`Event`]).

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use crate::clock::Clock;
use crate::fields::{DecodeError, Fields, Form, number, optional_text};
use crate::ids::{DeviceId, DeviceSeq, Epoch, EventType, Seq, StreamId, UnixMillis};
use crate::refusal::{RefusalName, Refused};
use crate::value::{Value, ValueError};

/// An event as its device sends it. What it leaves out, the broker fills in.
#[derive(Debug, Clone, PartialEq)]
pub struct Intent {
    /// What kind of intent.
    pub event_type: EventType,
    /// Its details.
    pub event_data: Value,
    /// Whose it is; `None`: the connection's device.
    pub device: Option<DeviceId>,
    /// Its number among the device's; `None`: not deduplicated.
    pub device_seq: Option<DeviceSeq>,
    /// When the user acted.
    pub clock: Option<Clock>,
    /// The highest seq that the device had applied when the user acted.
    pub base_seq: Option<Seq>,
    /// Of which history `base_seq` is.
    pub epoch: Option<Epoch>,
    /// Names that this version does not know; kept and passed on (EVENT-2).
    pub extra: BTreeMap<String, Value>,
}

/// Recognizes a repeat (EVENT-9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IntentHash(pub [u8; 16]);

impl Intent {
    /// An intent of a type, with its data and nothing else.
    pub fn new(event_type: EventType, event_data: Value) -> Self {
        Self {
            event_type,
            event_data,
            device: None,
            device_seq: None,
            clock: None,
            base_seq: None,
            epoch: None,
            extra: BTreeMap::new(),
        }
    }

    /// Reads the payload of a PUBLISH: MessagePack, or JSON text if it begins with `{`.
    pub fn decode(payload: &[u8]) -> Result<Self, Refused> {
        let mut fields = Fields::read(payload, 1).map_err(|error| refused(&error))?;
        for ignored in ["seq", "accepted_at", "sync_id", "channel"] {
            fields.raw(ignored);
        }
        let intent = Self::of_fields(fields).map_err(|error| refused(&error))?;
        if intent.device_seq.is_some() && intent.device.is_none() {
            let reason = "device_seq needs a device_uuid beside it (EVENT-3)";
            return Err(Refused::new(RefusalName::BadDeviceSeq, reason));
        }
        Ok(intent)
    }

    fn of_fields(mut fields: Fields) -> Result<Self, DecodeError> {
        Ok(Self {
            event_type: fields
                .parsed("event_type")?
                .ok_or(DecodeError::Missing("event_type"))?,
            event_data: fields.raw("event_data").unwrap_or_default(),
            device: fields.device("device_uuid")?,
            device_seq: fields.device_seq("device_seq")?,
            clock: read_clock(&mut fields)?,
            base_seq: fields.seq("base_seq")?,
            epoch: fields.epoch("epoch")?,
            extra: fields.rest(),
        })
    }

    /// Canonical MessagePack, as a client publishes it.
    pub fn encode(&self) -> Vec<u8> {
        Value::Map(self.to_map(Form::MessagePack)).to_msgpack()
    }

    /// JSON text, as a plain tool would publish it.
    pub fn to_json(&self) -> String {
        Value::Map(self.to_map(Form::Json)).to_json()
    }

    fn to_map(&self, form: Form) -> BTreeMap<String, Value> {
        let mut map = self.hashed_map(form);
        put(
            &mut map,
            "base_seq",
            self.base_seq.map(|seq| number(seq.get())),
        );
        put(
            &mut map,
            "epoch",
            self.epoch.map(|epoch| Value::text(epoch.to_string())),
        );
        map
    }

    /// EVENT-9: what makes this intent this one and no other.
    pub fn hash(&self, author: DeviceId) -> IntentHash {
        let mut map = self.hashed_map(Form::MessagePack);
        put(
            &mut map,
            "device_uuid",
            Some(Form::MessagePack.device(author)),
        );
        let digest = Sha256::digest(Value::Map(map).to_msgpack());
        let mut hash = [0; 16];
        hash.copy_from_slice(&digest[..16]);
        IntentHash(hash)
    }

    fn hashed_map(&self, form: Form) -> BTreeMap<String, Value> {
        let mut map = self.extra.clone();
        put(
            &mut map,
            "event_type",
            Some(Value::text(self.event_type.as_str())),
        );
        put(&mut map, "event_data", Some(self.event_data.clone()));
        put(
            &mut map,
            "device_uuid",
            self.device.map(|device| form.device(device)),
        );
        put(
            &mut map,
            "device_seq",
            self.device_seq.map(|n| number(n.get())),
        );
        put_clock(&mut map, self.clock);
        map
    }
}

/// An event in its place: as the broker stores and delivers it.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Where.
    pub stream: StreamId,
    /// In which history.
    pub epoch: Epoch,
    /// At which place.
    pub seq: Seq,
    /// When the broker took it (EVENT-5).
    pub accepted_at: UnixMillis,
    /// What kind of intent.
    pub event_type: EventType,
    /// Its details.
    pub event_data: Value,
    /// Whose.
    pub device: DeviceId,
    /// Its number among the device's, if that gave one.
    pub device_seq: Option<DeviceSeq>,
    /// When the user acted.
    pub clock: Clock,
    /// What the device had seen (EVENT-6).
    pub base_seq: Seq,
    /// Names that this version does not know.
    pub extra: BTreeMap<String, Value>,
}

impl Event {
    /// Reads what [`Event::encode`] or [`Event::to_json`] wrote.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::read(payload, 1)?;
        let stream = fields.stream()?;
        let seq = fields.required_seq("seq")?;
        let accepted_at = UnixMillis::new(fields.required_number("accepted_at")?);
        let device = fields
            .device("device_uuid")?
            .ok_or(DecodeError::Missing("device_uuid"))?;
        let intent = Intent::of_fields(fields)?;
        Ok(Self {
            stream,
            epoch: intent.epoch.ok_or(DecodeError::Missing("epoch"))?,
            seq,
            accepted_at,
            event_type: intent.event_type,
            event_data: intent.event_data,
            device,
            device_seq: intent.device_seq,
            clock: intent.clock.ok_or(DecodeError::Missing("timestamp"))?,
            base_seq: intent.base_seq.ok_or(DecodeError::Missing("base_seq"))?,
            extra: intent.extra,
        })
    }

    /// Canonical MessagePack (EVENT-1).
    pub fn encode(&self) -> Vec<u8> {
        self.to_value(Form::MessagePack).to_msgpack()
    }

    /// JSON text (EVENT-1).
    pub fn to_json(&self) -> String {
        self.to_value(Form::Json).to_json()
    }

    fn to_value(&self, form: Form) -> Value {
        let mut map = self.extra.clone();
        let mut set = |name: &str, value| put(&mut map, name, Some(value));
        set("sync_id", Value::text(self.stream.sync_id.as_str()));
        set("channel", optional_text(self.stream.channel.as_ref()));
        set("epoch", Value::text(self.epoch.to_string()));
        set("seq", number(self.seq.get()));
        set("accepted_at", number(self.accepted_at.get()));
        set("event_type", Value::text(self.event_type.as_str()));
        set("event_data", self.event_data.clone());
        set("device_uuid", form.device(self.device));
        set("base_seq", number(self.base_seq.get()));
        put(
            &mut map,
            "device_seq",
            self.device_seq.map(|n| number(n.get())),
        );
        put_clock(&mut map, Some(self.clock));
        Value::Map(map)
    }
}

fn refused(error: &DecodeError) -> Refused {
    match error {
        DecodeError::Value(ValueError::Rule(rule)) => Refused::new(RefusalName::BadValue, rule),
        DecodeError::Value(ValueError::Malformed(_)) => {
            let reason = format!("neither MessagePack nor JSON text that begins with {{: {error}");
            Refused::new(RefusalName::NotAnEvent, reason)
        }
        _ => Refused::new(RefusalName::NotAnEvent, error.to_string()),
    }
}

/// Reads EVENT-3's pair.
pub(crate) fn read_clock(fields: &mut Fields) -> Result<Option<Clock>, DecodeError> {
    match (fields.moment("timestamp")?, fields.number("counter")?) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(DecodeError::Missing("timestamp")),
        (Some(_), None) => Err(DecodeError::Missing("counter")),
        (Some(timestamp), Some(counter)) => {
            let expected = "an integer from 0 to 2^32-1";
            let counter = u32::try_from(counter).map_err(|_| DecodeError::Type {
                name: "counter",
                expected,
            })?;
            Ok(Some(Clock { timestamp, counter }))
        }
    }
}

pub(crate) fn put(map: &mut BTreeMap<String, Value>, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        map.insert(name.to_owned(), value);
    }
}

pub(crate) fn put_clock(map: &mut BTreeMap<String, Value>, clock: Option<Clock>) {
    put(
        map,
        "timestamp",
        clock.map(|clock| number(clock.timestamp.get())),
    );
    put(
        map,
        "counter",
        clock.map(|clock| Value::from(clock.counter)),
    );
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::value::tests::any_value;
    use proptest::prelude::*;

    pub(crate) fn any_intent() -> impl Strategy<Value = Intent> {
        let clock = (0..1u64 << 53, any::<u32>()).prop_map(|(ms, counter)| Clock {
            timestamp: UnixMillis::new(ms),
            counter,
        });
        let device = prop::option::of((any::<[u8; 16]>(), prop::option::of(1..1u64 << 53)));
        let base = prop::option::of((0..1u64 << 53, prop::option::of(any::<u64>())));
        let extra = prop::collection::btree_map("x_[a-z]{1,6}", any_value(), 0..3);
        (
            ".{1,20}",
            any_value(),
            device,
            prop::option::of(clock),
            base,
            extra,
        )
            .prop_map(
                |(event_type, event_data, device, clock, base, extra)| Intent {
                    event_type: event_type.parse().unwrap(),
                    event_data,
                    device: device.map(|(bytes, _)| DeviceId::from_bytes(bytes)),
                    device_seq: device.and_then(|(_, n)| n).and_then(DeviceSeq::new),
                    clock,
                    base_seq: base.and_then(|(seq, _)| Seq::new(seq)),
                    epoch: base.and_then(|(_, epoch)| epoch).map(Epoch::new),
                    extra,
                },
            )
    }

    fn refusal(json: &str) -> RefusalName {
        Intent::decode(json.as_bytes()).unwrap_err().name
    }

    proptest! {
        #[test]
        fn event_1_intents_and_events_round_trip_in_both_forms(intent in any_intent(), seq in 1u64..1 << 53) {
            prop_assert_eq!(&Intent::decode(&intent.encode()).unwrap(), &intent);
            prop_assert_eq!(&Intent::decode(intent.to_json().as_bytes()).unwrap(), &intent);
            let event = placed(intent, seq);
            prop_assert_eq!(&Event::decode(&event.encode()).unwrap(), &event);
            prop_assert_eq!(&Event::decode(event.to_json().as_bytes()).unwrap(), &event);
        }
    }

    /// The event that a broker could have made of an intent.
    pub(crate) fn placed(intent: Intent, seq: u64) -> Event {
        Event {
            stream: StreamId {
                sync_id: "demo".parse().unwrap(),
                channel: None,
            },
            epoch: Epoch::new(7),
            seq: Seq::new(seq).unwrap(),
            accepted_at: UnixMillis::new(1_700_000_000_000),
            event_type: intent.event_type,
            event_data: intent.event_data,
            device: intent.device.unwrap_or(DeviceId::from_bytes([0; 16])),
            device_seq: intent.device_seq,
            clock: intent.clock.unwrap_or_default(),
            base_seq: intent.base_seq.unwrap_or_default(),
            extra: intent.extra,
        }
    }

    #[test]
    fn event_what_is_no_event_is_refused_by_name() {
        assert_eq!(refusal("[1]"), RefusalName::NotAnEvent);
        assert_eq!(refusal("hello"), RefusalName::NotAnEvent);
        assert_eq!(refusal("{hello"), RefusalName::NotAnEvent);
        assert_eq!(
            Intent::decode(&[0x91, 1]).unwrap_err().name,
            RefusalName::NotAnEvent
        );
        assert_eq!(refusal("{}"), RefusalName::NotAnEvent);
        assert_eq!(refusal(r#"{"event_type":""}"#), RefusalName::NotAnEvent);
        assert_eq!(
            refusal(r#"{"event_type":"a","device_uuid":"x"}"#),
            RefusalName::NotAnEvent
        );
        assert_eq!(
            refusal(r#"{"event_type":"a","event_data":9007199254740992}"#),
            RefusalName::BadValue
        );
    }

    #[test]
    fn event_3_clocks_come_whole_and_a_device_seq_needs_its_device() {
        assert_eq!(
            refusal(r#"{"event_type":"a","timestamp":1}"#),
            RefusalName::NotAnEvent
        );
        assert_eq!(
            refusal(r#"{"event_type":"a","counter":1}"#),
            RefusalName::NotAnEvent
        );
        assert_eq!(
            refusal(r#"{"event_type":"a","device_seq":1}"#),
            RefusalName::BadDeviceSeq
        );
    }

    #[test]
    fn event_2_unknown_names_are_kept() {
        let intent = Intent::decode(br#"{"event_type":"a","mood":{"x":[1]}}"#).unwrap();
        assert!(intent.to_json().contains(r#""mood":{"x":[1]}"#));
        let event = placed(intent, 1);
        assert!(
            Event::decode(&event.encode())
                .unwrap()
                .extra
                .contains_key("mood")
        );
    }

    #[test]
    fn event_9_the_hash_leaves_out_what_a_retry_may_change() {
        let author = DeviceId::from_bytes([9; 16]);
        let read = |json: &str| Intent::decode(json.as_bytes()).unwrap().hash(author);
        let plain = read(r#"{"event_type":"a","event_data":1}"#);
        assert_eq!(
            plain,
            read(r#"{"event_data":1.0,"event_type":"a","base_seq":5,"seq":9,"channel":"x"}"#)
        );
        assert_ne!(plain, read(r#"{"event_type":"a","event_data":2}"#));
        assert_ne!(
            plain,
            read(r#"{"event_type":"a","event_data":1,"timestamp":1,"counter":0}"#)
        );
        assert_ne!(plain, read(r#"{"event_type":"a","event_data":1,"x":1}"#));
    }
}
