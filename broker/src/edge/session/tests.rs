//! Conversations in packets, at both versions.

mod connecting;
mod delivering;
mod exactly_once;
mod fitting;
mod keeping;
mod ordinary;
mod publishing;

use super::*;

use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::Event as Heard;
use mqtt_protocol_core::mqtt::packet::{GenericPacketTrait, Packet, Property, SubEntry, SubOpts};
use mqtt_protocol_core::mqtt::packet::{ReceiveMaximum, UserProperty, v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::result_code::{
    ConnectReasonCode, ConnectReturnCode, DisconnectReasonCode, PubackReasonCode,
};
use mqtt_protocol_core::mqtt::{Connection, Version, role};
use proptest::prelude::*;
use syncline_protocol::{Filter, Intent, RefusalName, StreamId, TransientName, Value};

use crate::store::EventStore;

const DEVICE: &str = "6a3b0c52-8d64-4d5e-9f39-2f1f2a3b4c5d";
const OTHER: &str = "00000000-0000-4000-8000-000000000001";

fn options() -> SessionOptions {
    SessionOptions {
        connect_timeout: Duration::from_secs(10),
        packet_bytes_max: 4_096,
        event_bytes_max: 1_024,
        receive_maximum: 4,
        inflight_max: 8,
        expiry_ms_max: 1_000_000,
        topic_alias_max: 2,
        keep_alive_s_max: 0,
        publish: PublishOptions::default(),
    }
}

/// A session and its client.
struct Talk {
    session: Session,
    client: Connection<role::Client>,
    version: Version,
    now: Instant,
    /// What the session has asked for and nobody has looked at.
    asked: VecDeque<Action>,
}

impl Talk {
    fn fresh(version: Version) -> Self {
        Self::with(version, options())
    }

    fn with(version: Version, options: SessionOptions) -> Self {
        // Long enough after the clock's beginning that tests can look back.
        let now = Instant::now() + Duration::from_secs(60);
        let session = Session::new(Arc::new(options), "auto-1".to_owned(), now);
        Self {
            session,
            client: Connection::new(version),
            version,
            now,
            asked: VecDeque::new(),
        }
    }

    fn connected(version: Version) -> Self {
        let mut talk = Self::fresh(version);
        talk.say(connect(version, DEVICE, None, vec![]));
        talk.open(false);
        assert!(matches!(
            talk.hear()[..],
            [Packet::V3_1_1Connack(_) | Packet::V5_0Connack(_)]
        ));
        talk
    }

    /// The session that the CONNECT asked for is there.
    fn open(&mut self, present: bool) -> Opening {
        let Some(Action::Open { opening, .. }) = self.next_action() else {
            panic!("no session is asked for")
        };
        self.session.opened(self.now, present);
        opening
    }

    fn say(&mut self, packet: Packet) {
        if let Packet::V3_1_1Publish(_) | Packet::V5_0Publish(_) = &packet {
            // The library knows of it and has no say in whether it is sent.
            drop(self.client.send(packet.clone()));
            return self.bytes(&packet.to_continuous_buffer());
        }
        let sent = self.client.send(packet);
        for event in sent {
            if let Heard::RequestSendPacket { packet, .. } = event {
                self.bytes(&packet.to_continuous_buffer());
            }
        }
    }

    /// Whoever wants to come in may.
    fn bytes(&mut self, bytes: &[u8]) {
        let mut input = BytesMut::from(bytes);
        self.read(&mut input);
        if self
            .asked
            .pop_front_if(|it| matches!(it, Action::Authenticate(_)))
            .is_some()
        {
            self.session.authenticated(Ok(crate::auth::anybody()));
        }
    }

    /// Has it read what it wants to read.
    fn read(&mut self, input: &mut BytesMut) {
        let mut before = usize::MAX;
        while input.len() < before {
            before = input.len();
            self.session.receive(self.now, input);
            self.asked
                .extend(std::iter::from_fn(|| self.session.next_action()));
        }
    }

    fn next_action(&mut self) -> Option<Action> {
        self.asked
            .pop_front()
            .or_else(|| self.session.next_action())
    }

    /// What the session sent since.
    fn hear(&mut self) -> Vec<Packet> {
        let output = self.session.output().split();
        let mut cursor = Cursor::new(&output[..]);
        let mut packets = Vec::new();
        while (cursor.position() as usize) < output.len() {
            for event in self.client.recv(&mut cursor) {
                match event {
                    Heard::NotifyPacketReceived(packet) => packets.push(packet),
                    Heard::NotifyError(error) => panic!("{error}"),
                    _ => {}
                }
            }
        }
        packets
    }

    fn tickets(&mut self) -> Vec<Ticket> {
        std::iter::from_fn(|| self.next_action())
            .filter_map(|action| match action {
                Action::Submit { ticket, .. } => Some(ticket),
                _ => None,
            })
            .collect()
    }

    fn publish(&mut self, topic: &str, payload: &[u8], qos: Qos, id: Option<u16>) {
        if let Some(id) = id {
            let _ = self.client.register_packet_id(id);
        }
        let packet = publish(self.version, topic, payload, qos, id);
        self.say(packet);
    }

    fn star(&mut self, id: u16) {
        self.publish("sync/a/events", &event(None), Qos::AtLeastOnce, Some(id));
    }

    fn end(&self) -> &EndReason {
        self.session.ended().expect("the session has ended")
    }
}

fn event(device: Option<&str>) -> Vec<u8> {
    let mut intent = Intent::new("star_album".parse().unwrap(), Value::Nil);
    intent.device = device.map(|text| text.parse().unwrap());
    intent.encode()
}

fn saved(n: u64) -> Answer {
    let receipt = crate::store::memory::MemoryStore::new(8).durable();
    Answer::Event(Outcome::Saved {
        seq: Seq::new(n).unwrap(),
        receipt,
    })
}

type Will<'a> = (&'a str, Vec<u8>);

fn connect(version: Version, id: &str, will: Option<Will<'_>>, props: Vec<Property>) -> Packet {
    if version == Version::V5_0 {
        let mut builder = v5_0::Connect::builder()
            .client_id(id)
            .unwrap()
            .keep_alive(10);
        if let Some((topic, payload)) = will {
            builder = builder
                .will_message(topic, payload, Qos::AtLeastOnce, false)
                .unwrap();
        }
        return builder
            .clean_start(true)
            .props(props)
            .build()
            .unwrap()
            .into();
    }
    let mut builder = v3_1_1::Connect::builder()
        .client_id(id)
        .unwrap()
        .keep_alive(10);
    if let Some((topic, payload)) = will {
        builder = builder
            .will_message(topic, payload, Qos::AtLeastOnce, false)
            .unwrap();
    }
    builder.clean_session(true).build().unwrap().into()
}

fn publish(version: Version, topic: &str, payload: &[u8], qos: Qos, id: Option<u16>) -> Packet {
    if version == Version::V5_0 {
        let builder = v5_0::Publish::builder().topic_name(topic).unwrap().qos(qos);
        return builder
            .packet_id(id)
            .payload(payload)
            .build()
            .unwrap()
            .into();
    }
    let builder = v3_1_1::Publish::builder()
        .topic_name(topic)
        .unwrap()
        .qos(qos);
    builder
        .packet_id(id)
        .payload(payload)
        .build()
        .unwrap()
        .into()
}

fn subscribe(version: Version, id: u16, filters: &[&str]) -> Vec<u8> {
    let opts = SubOpts::new().set_qos(Qos::AtLeastOnce);
    let entries: Vec<_> = filters
        .iter()
        .map(|it| SubEntry::new(*it, opts).unwrap())
        .collect();
    if version == Version::V5_0 {
        let packet = v5_0::Subscribe::builder()
            .packet_id(id)
            .entries(entries)
            .build();
        return packet.unwrap().to_continuous_buffer();
    }
    let packet = v3_1_1::Subscribe::builder()
        .packet_id(id)
        .entries(entries)
        .build();
    packet.unwrap().to_continuous_buffer()
}

const BOTH: [Version; 2] = [Version::V3_1_1, Version::V5_0];

fn puback_ids(packets: &[Packet]) -> Vec<u16> {
    let id = |packet: &Packet| match packet {
        Packet::V3_1_1Puback(it) => it.packet_id(),
        Packet::V5_0Puback(it) => it.packet_id(),
        other => panic!("{other}"),
    };
    packets.iter().map(id).collect()
}

fn with_will(version: Version) -> Talk {
    let mut talk = Talk::fresh(version);
    talk.say(connect(
        version,
        DEVICE,
        Some(("sync/a/events", event(None))),
        vec![],
    ));
    talk.open(false);
    talk.hear();
    talk
}

fn sends_will(talk: &mut Talk) -> bool {
    matches!(talk.next_action(), Some(Action::Will(super::Will::Event(it))) if it.stream().to_string() == "sync/a")
}

fn message(n: u64) -> (String, Tag) {
    let stream = StreamId {
        sync_id: "a".parse().unwrap(),
        channel: None,
    };
    (
        n.to_string(),
        Tag {
            stream: Arc::new(stream),
            seq: Seq::new(n).unwrap(),
            number: n,
        },
    )
}

/// A message with nothing but these.
fn plain<'a>(topic: &'a str, payload: &'a [u8], qos: u8) -> Message<'a> {
    Message {
        topic,
        payload,
        qos,
        packet_id: None,
        retain: false,
        again: false,
        identifiers: &[],
        properties: &[],
        expiry_s: None,
        cargo: None,
    }
}

fn deliver(talk: &mut Talk, n: u64, at_least_once: bool) -> Result<(), NotSent> {
    let (payload, tag) = message(n);
    let sent = talk.session.publish(Message {
        identifiers: &[9],
        cargo: Some(Cargo::Event(tag)),
        ..plain("sync/a/events", payload.as_bytes(), u8::from(at_least_once))
    });
    sent.map(drop)
}
