//! The packet layer: bytes in, packets out and back, for both versions. The codec is mqtt-protocol-core's; hardly anything
//! outside this file, its folder and `packet.rs` names it.
//!
//! That library answers some malformed input with an error event alone, so every error ends the session here,
//! and the caller closes. It would also close clients that send beyond the Receive Maximum; the session stops reading
//! before that.

mod properties;

use std::collections::{HashMap, HashSet};

use bytes::BytesMut;
use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::{ConnectionOptions, Event};
use mqtt_protocol_core::mqtt::packet::{
    AuthenticationMethod, Packet, Property, Qos, TopicAlias, UserProperty,
};
use mqtt_protocol_core::mqtt::packet::{v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::prelude::GenericPacketTrait;
use mqtt_protocol_core::mqtt::result_code::{
    AuthReasonCode, ConnectReasonCode, ConnectReturnCode, DisconnectReasonCode, MqttError,
    PubackReasonCode, PubcompReasonCode, PubrecReasonCode, SubackReasonCode, SubackReturnCode,
    UnsubackReasonCode,
};
use mqtt_protocol_core::mqtt::{Connection, Version, role};

use super::packet::Received;
use properties::{accepted_properties, publish_properties, reason_string};

/// Topic aliases to a client at most, however many it understands: they are memory here.
const ALIASES_MAX: u16 = 16;

/// What went over the wire since it was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) packets_in: u64,
    pub(crate) packets_out: u64,
    pub(crate) publish_in: u64,
    pub(crate) publish_out: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    /// Times that acknowledgements began to wait because of a rate.
    pub(crate) held: u64,
    /// Times that reading stopped because of a rate.
    pub(crate) unread: u64,
    /// Requests that were refused by name.
    pub(crate) refused: u64,
}

/// One connection's packets.
pub(super) struct Wire {
    mqtt: Connection<role::Server>,
    out: BytesMut,
    version: Version,
    /// The client's Maximum Packet Size.
    packet_bytes_max: usize,
    /// Whether reason strings and user properties may go on packets other than CONNACK and DISCONNECT.
    problem_information: bool,
    /// Topics that the client knows by a number, and how many there may be.
    aliases: HashMap<Box<str>, u16>,
    aliases_max: u16,
    /// Packet ids that are in use for what is not sent yet.
    reserved: HashSet<u16>,
    /// The next byte is the first of a packet.
    at_start: bool,
    traffic: Traffic,
}

/// What the client says of the packets that it wants to see.
#[derive(Debug, Clone, Copy)]
pub(super) struct Agreement {
    pub(super) version: Version,
    pub(super) packet_bytes_max: Option<u32>,
    pub(super) topic_alias_max: u16,
    pub(super) problem_information: bool,
}

/// Which PUBLISH is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Of {
    pub(super) packet_id: u16,
    /// QoS 2: the answer is a PUBREC.
    pub(super) exactly_once: bool,
}

/// How a topic is written.
#[derive(Debug, Clone, Copy)]
enum Alias {
    None,
    New(u16),
    Known(u16),
}

/// What one call of [`Wire::receive`] found.
pub(super) enum Input {
    Packet(Received),
    /// The bytes end within a packet.
    Incomplete,
    /// The session is over; what can be said to the client is in the output.
    Broken(MqttError),
}

/// What a CONNACK says that accepts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Connack<'a> {
    pub(super) session_present: bool,
    pub(super) expiry_s: u32,
    pub(super) receive_maximum: u16,
    pub(super) topic_alias_max: u16,
    /// The Keep Alive that the client has to keep instead of its own.
    pub(super) keep_alive_s: Option<u16>,
    /// The client id for a client that brought none.
    pub(super) assigned: Option<&'a str>,
    /// The Authentication Method that the client named.
    pub(super) method: Option<&'a str>,
}

/// An outgoing PUBLISH.
#[derive(Debug, Clone, Copy)]
pub(super) struct OutPublish<'a> {
    pub(super) topic: &'a str,
    pub(super) payload: &'a [u8],
    pub(super) qos: u8,
    /// The packet id that it has to have; else one that is free.
    pub(super) packet_id: Option<u16>,
    pub(super) retain: bool,
    /// It was sent before, over another connection.
    pub(super) again: bool,
    pub(super) identifiers: &'a [u32],
    /// Other v5 properties, as their bytes on the wire.
    pub(super) properties: &'a [u8],
    /// The v5 Message Expiry Interval.
    pub(super) expiry_s: Option<u32>,
}

/// Why an outgoing PUBLISH was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotSent {
    /// Larger than the client's Maximum Packet Size.
    #[error("larger than the client takes")]
    TooLarge,
    /// It cannot be written as an MQTT packet.
    #[error("not a packet: {0}")]
    Packet(MqttError),
}

impl Wire {
    pub(super) fn new(packet_bytes_max: u32) -> Self {
        let options = ConnectionOptions::new().maximum_packet_size_recv(packet_bytes_max);
        Self {
            mqtt: Connection::with_options(Version::Undetermined, options),
            out: BytesMut::new(),
            version: Version::Undetermined,
            packet_bytes_max: usize::MAX,
            problem_information: true,
            aliases: HashMap::new(),
            aliases_max: 0,
            reserved: HashSet::new(),
            at_start: true,
            traffic: Traffic::default(),
        }
    }

    /// What went over the wire since the last time.
    pub(super) fn take_traffic(&mut self) -> Traffic {
        std::mem::take(&mut self.traffic)
    }

    pub(super) fn output(&mut self) -> &mut BytesMut {
        &mut self.out
    }

    pub(super) fn is_v5(&self) -> bool {
        self.version == Version::V5_0
    }

    /// The largest packet that the client takes.
    pub(super) fn packet_bytes_max(&self) -> usize {
        self.packet_bytes_max
    }

    /// Takes what the CONNECT says about the packets that the client wants to see.
    pub(super) fn agree(&mut self, it: Agreement) {
        self.version = it.version;
        self.packet_bytes_max = it.packet_bytes_max.map_or(usize::MAX, |max| max as usize);
        self.problem_information = it.problem_information;
        self.aliases_max = it.topic_alias_max.min(ALIASES_MAX);
    }

    /// Reads at most one packet off the front of `bytes`.
    pub(super) fn receive(&mut self, bytes: &mut BytesMut) -> Input {
        if self.at_start && bytes.first().is_some_and(|first| !flags_fit(*first)) {
            return self.broken(MqttError::MalformedPacket);
        }
        let mut cursor = Cursor::new(&bytes[..]);
        let events = self.mqtt.recv(&mut cursor);
        let consumed = usize::try_from(cursor.position()).unwrap_or(bytes.len());
        let consumed = consumed.min(bytes.len());
        let _ = bytes.split_to(consumed);
        self.traffic.bytes_in += consumed as u64;
        self.at_start = !events.is_empty();
        let mut input = Input::Incomplete;
        for event in events {
            match event {
                Event::NotifyPacketReceived(packet) => input = self.received(packet),
                Event::RequestSendPacket { packet, .. } => self.append(&packet),
                Event::NotifyError(error) => return self.broken(error),
                _ => {}
            }
        }
        input
    }

    fn received(&mut self, packet: Packet) -> Input {
        self.traffic.packets_in += 1;
        if let Packet::V3_1_1Publish(_) | Packet::V5_0Publish(_) = &packet {
            self.traffic.publish_in += 1;
            // The library would answer a repeat of QoS 2 itself, perhaps before the first is on disk. The session knows.
            self.mqtt.restore_qos2_publish_handled(Default::default());
        }
        if let Packet::V5_0Pubrec(it) = &packet
            && let Some(code) = it.reason_code()
            && code != PubrecReasonCode::Success
            && !code.is_failure()
            && let Err(error) = self.reopen(it.packet_id())
        {
            // The library takes every code but 0 for a failure; below 0x80 the exchange goes on (MQTT-4.3.3-4).
            tracing::debug!(%error, "an exchange cannot go on");
        }
        Input::Packet(packet.into())
    }

    /// Says what the library leaves unsaid: to an unknown version, that it is unknown (in the form of 3.1.1, which is the
    /// one that older clients read); to a connected v5 client, why it is closed.
    fn broken(&mut self, error: MqttError) -> Input {
        if error == MqttError::UnsupportedProtocolVersion && self.out.is_empty() {
            let connack = [
                0x20,
                0x02,
                0x00,
                ConnectReturnCode::UnacceptableProtocolVersion as u8,
            ];
            self.out.extend_from_slice(&connack);
        }
        let code = DisconnectReasonCode::from(error);
        self.disconnect(code, None);
        Input::Broken(error)
    }

    /// Accepts the connection. The library adds the Maximum Packet Size. Fails if the client takes no packet of that size.
    pub(super) fn connack(&mut self, it: &Connack<'_>) -> Result<(), MqttError> {
        let packet = if self.is_v5() {
            let builder = v5_0::Connack::builder().session_present(it.session_present);
            builder
                .reason_code(ConnectReasonCode::Success)
                .props(accepted_properties(it))
                .build()
                .map(Packet::from)
        } else {
            let builder = v3_1_1::Connack::builder().session_present(it.session_present);
            builder
                .return_code(ConnectReturnCode::Accepted)
                .build()
                .map(Packet::from)
        };
        packet.and_then(|packet| self.send(packet))
    }

    /// The client has authenticated anew.
    pub(super) fn authenticated(&mut self, method: &str) {
        let builder = v5_0::Auth::builder().reason_code(AuthReasonCode::Success);
        let method = AuthenticationMethod::new(method).map(Property::AuthenticationMethod);
        let props = method.into_iter().collect::<Vec<_>>();
        self.send_built(builder.props(props).build().map(Packet::from));
    }

    /// Refuses the connection.
    pub(super) fn connack_refused(
        &mut self,
        v5: ConnectReasonCode,
        v3: ConnectReturnCode,
        reason: &str,
    ) {
        let packet = if self.is_v5() {
            let bare = || {
                let builder = v5_0::Connack::builder().session_present(false);
                builder.reason_code(v5)
            };
            let full = bare().props(reason_string(reason)).build();
            match full.map(Packet::from) {
                Ok(packet) if packet.size() <= self.packet_bytes_max => Ok(packet),
                _ => bare().build().map(Packet::from),
            }
        } else {
            let builder = v3_1_1::Connack::builder().session_present(false);
            builder.return_code(v3).build().map(Packet::from)
        };
        self.send_built(packet);
    }

    /// Acknowledges a PUBLISH of an event; `name` is `seq` or `repeat`.
    pub(super) fn acknowledge(&mut self, of: Of, name: &str, value: &str) {
        let props = UserProperty::new(name, value).map(|it| vec![Property::UserProperty(it)]);
        self.answer(of, 0, props.unwrap_or_default());
    }

    /// Acknowledges a PUBLISH with a reason code, which is no error where there is no reason. 3.1.1 has no word for it.
    pub(super) fn answer_with(&mut self, of: Of, code: u8, reason: &str) {
        let props = match reason {
            "" => Vec::new(),
            reason => reason_string(reason),
        };
        self.answer(of, code, props);
    }

    fn answer(&mut self, of: Of, code: u8, props: Vec<Property>) {
        let bare = self.built_answer(of, code, Vec::new());
        if props.is_empty() || !self.is_v5() {
            return self.send_built(bare);
        }
        match self.built_answer(of, code, props) {
            Ok(packet) if self.problem_information && packet.size() <= self.packet_bytes_max => {
                self.send_built(Ok(packet));
            }
            _ => self.send_built(bare),
        }
    }

    fn built_answer(&self, of: Of, code: u8, props: Vec<Property>) -> Result<Packet, MqttError> {
        let id = of.packet_id;
        match (self.is_v5(), of.exactly_once) {
            (false, false) => {
                let builder = v3_1_1::Puback::builder().packet_id(id);
                builder.build().map(Packet::from)
            }
            (false, true) => {
                let builder = v3_1_1::Pubrec::builder().packet_id(id);
                builder.build().map(Packet::from)
            }
            (true, false) => {
                let code = PubackReasonCode::try_from(code);
                let code = code.unwrap_or(PubackReasonCode::UnspecifiedError);
                let builder = v5_0::Puback::builder().packet_id(id).reason_code(code);
                let builder = if props.is_empty() {
                    builder
                } else {
                    builder.props(props)
                };
                builder.build().map(Packet::from)
            }
            (true, true) => {
                let code = PubrecReasonCode::try_from(code);
                let code = code.unwrap_or(PubrecReasonCode::UnspecifiedError);
                let builder = v5_0::Pubrec::builder().packet_id(id).reason_code(code);
                let builder = if props.is_empty() {
                    builder
                } else {
                    builder.props(props)
                };
                builder.build().map(Packet::from)
            }
        }
    }

    /// Ends an exchange of a client's PUBLISH at QoS 2; `found`: it was open.
    pub(super) fn pubcomp(&mut self, packet_id: u16, found: bool) {
        let packet = if self.is_v5() {
            let code = match found {
                true => PubcompReasonCode::Success,
                false => PubcompReasonCode::PacketIdentifierNotFound,
            };
            let builder = v5_0::Pubcomp::builder().packet_id(packet_id);
            builder.reason_code(code).build().map(Packet::from)
        } else {
            let builder = v3_1_1::Pubcomp::builder().packet_id(packet_id);
            builder.build().map(Packet::from)
        };
        self.send_built(packet);
    }

    /// The client has got a PUBLISH of ours at QoS 2 and may forget it.
    pub(super) fn pubrel(&mut self, packet_id: u16) {
        let packet = self.built_pubrel(packet_id);
        self.send_built(packet);
    }

    fn built_pubrel(&self, packet_id: u16) -> Result<Packet, MqttError> {
        if self.is_v5() {
            let builder = v5_0::Pubrel::builder().packet_id(packet_id);
            builder.build().map(Packet::from)
        } else {
            let builder = v3_1_1::Pubrel::builder().packet_id(packet_id);
            builder.build().map(Packet::from)
        }
    }

    /// The same for an exchange of an earlier connection.
    pub(super) fn pubrel_again(&mut self, packet_id: u16) -> Result<(), MqttError> {
        self.reopen(packet_id)?;
        self.pubrel(packet_id);
        Ok(())
    }

    /// The library is brought to where an exchange is whose PUBLISH the client has: it hears of that and of its PUBREC, or it
    /// would take the PUBCOMP for an error, and count wrongly.
    fn reopen(&mut self, packet_id: u16) -> Result<(), MqttError> {
        let like = OutPublish {
            topic: "-",
            payload: &[],
            qos: 2,
            packet_id: Some(packet_id),
            retain: false,
            again: true,
            identifiers: &[],
            properties: &[],
            expiry_s: None,
        };
        let publish = self.built_publish(like, Some(packet_id), Alias::None);
        let publish = publish.map_err(|_| MqttError::PacketIdentifierInvalid)?;
        self.mqtt.register_packet_id(packet_id)?;
        for event in self.mqtt.send(publish) {
            if let Event::NotifyError(error) = event {
                return Err(error);
            }
        }
        let [high, low] = packet_id.to_be_bytes();
        self.mqtt.recv(&mut Cursor::new(&[0x50, 2, high, low][..]));
        Ok(())
    }

    /// Answers a SUBSCRIBE; a v5 client may hear why.
    pub(super) fn suback(
        &mut self,
        packet_id: u16,
        codes: &[SubackReasonCode],
        reason: Option<&str>,
    ) {
        if !self.is_v5() {
            let codes = codes.iter().map(|code| return_code(*code)).collect();
            let builder = v3_1_1::Suback::builder().packet_id(packet_id);
            return self.send_built(builder.return_codes(codes).build().map(Packet::from));
        }
        let bare = || {
            v5_0::Suback::builder()
                .packet_id(packet_id)
                .reason_codes(codes.to_vec())
        };
        let props = reason.map(reason_string).unwrap_or_default();
        let full = bare().props(props).build().map(Packet::from);
        match full {
            Ok(packet) if self.problem_information && packet.size() <= self.packet_bytes_max => {
                self.send_built(Ok(packet));
            }
            _ => self.send_built(bare().build().map(Packet::from)),
        }
    }

    /// Answers an UNSUBSCRIBE; `existed` says it for each filter.
    pub(super) fn unsuback(&mut self, packet_id: u16, existed: &[bool]) {
        let packet = if self.is_v5() {
            let code = |existed: &bool| match existed {
                true => UnsubackReasonCode::Success,
                false => UnsubackReasonCode::NoSubscriptionExisted,
            };
            let builder = v5_0::Unsuback::builder().packet_id(packet_id);
            builder
                .reason_codes(existed.iter().map(code).collect())
                .build()
                .map(Packet::from)
        } else {
            v3_1_1::Unsuback::builder()
                .packet_id(packet_id)
                .build()
                .map(Packet::from)
        };
        self.send_built(packet);
    }

    pub(super) fn note_pace(&mut self, held: bool, unread: bool) {
        self.traffic.held += u64::from(held);
        self.traffic.unread += u64::from(unread);
    }

    pub(super) fn note_refusal(&mut self) {
        self.traffic.refused += 1;
    }

    pub(super) fn pingresp(&mut self) {
        let packet = if self.is_v5() {
            v5_0::Pingresp::builder().build().map(Packet::from)
        } else {
            v3_1_1::Pingresp::builder().build().map(Packet::from)
        };
        self.send_built(packet);
    }

    /// Tells a v5 client why the connection ends; 3.1.1 has no such packet.
    pub(super) fn disconnect(&mut self, code: DisconnectReasonCode, reason: Option<&str>) {
        if !self.is_v5() {
            return;
        }
        let bare = || v5_0::Disconnect::builder().reason_code(code);
        let props = reason.map(reason_string).unwrap_or_default();
        let full = bare().props(props).build().map(Packet::from);
        match full {
            Ok(packet) if packet.size() <= self.packet_bytes_max => self.send_built(Ok(packet)),
            _ => self.send_built(bare().build().map(Packet::from)),
        }
    }

    /// Packet ids that only a PUBLISH which names one of them gets.
    pub(super) fn reserve(&mut self, ids: impl Iterator<Item = u16>) {
        for id in ids {
            if self.mqtt.register_packet_id(id).is_ok() {
                self.reserved.insert(id);
            }
        }
    }

    /// Sends a PUBLISH; with QoS 1 and 2 returns its packet id.
    pub(super) fn publish(&mut self, it: OutPublish<'_>) -> Result<Option<u16>, NotSent> {
        let id = match (it.qos, it.packet_id) {
            (0, _) => None,
            (_, None) => Some(self.mqtt.acquire_packet_id().map_err(NotSent::Packet)?),
            (_, Some(id)) => {
                if !self.reserved.remove(&id) {
                    self.mqtt.register_packet_id(id).map_err(NotSent::Packet)?;
                }
                Some(id)
            }
        };
        let sent = self.sent_publish(it, id);
        if let (Err(_), Some(id)) = (&sent, id) {
            // The library may have released it already; releasing twice does nothing.
            let _ = self.mqtt.release_packet_id(id);
        }
        sent.map(|()| id)
    }

    fn sent_publish(&mut self, it: OutPublish<'_>, id: Option<u16>) -> Result<(), NotSent> {
        let mut alias = self.alias(it.topic);
        let mut packet = self.built_publish(it, id, alias)?;
        if packet.size() > self.packet_bytes_max {
            // An alias takes room itself.
            alias = Alias::None;
            packet = self.built_publish(it, id, alias)?;
        }
        if packet.size() > self.packet_bytes_max {
            return Err(NotSent::TooLarge);
        }
        self.send(packet).map_err(NotSent::Packet)?;
        self.traffic.publish_out += 1;
        if let Alias::New(alias) = alias {
            self.aliases.insert(it.topic.into(), alias);
        }
        Ok(())
    }

    /// The first topics get an alias: a connection seldom sees many.
    fn alias(&self, topic: &str) -> Alias {
        let next = self.aliases.len() as u16 + 1;
        match self.aliases.get(topic) {
            Some(alias) => Alias::Known(*alias),
            None if next <= self.aliases_max => Alias::New(next),
            None => Alias::None,
        }
    }

    fn built_publish(
        &self,
        it: OutPublish<'_>,
        id: Option<u16>,
        alias: Alias,
    ) -> Result<Packet, NotSent> {
        let qos = match (id, it.qos) {
            (None, _) => Qos::AtMostOnce,
            (Some(_), 2) => Qos::ExactlyOnce,
            (Some(_), _) => Qos::AtLeastOnce,
        };
        let dup = it.again && id.is_some();
        let packet = if self.is_v5() {
            let mut props = publish_properties(&it);
            if let Alias::New(alias) | Alias::Known(alias) = alias {
                let property = TopicAlias::new(alias).map(Property::TopicAlias);
                props.push(property.map_err(NotSent::Packet)?);
            }
            let builder = v5_0::Publish::builder();
            let builder = match alias {
                Alias::Known(_) => builder,
                _ => builder.topic_name(it.topic).map_err(NotSent::Packet)?,
            };
            let builder = builder.qos(qos).retain(it.retain).dup(dup);
            let builder = builder.packet_id(id).payload(it.payload).props(props);
            builder.build().map(Packet::from)
        } else {
            let builder = v3_1_1::Publish::builder().topic_name(it.topic);
            let builder = builder.map_err(NotSent::Packet)?.qos(qos);
            let builder = builder.retain(it.retain).dup(dup);
            let builder = builder.packet_id(id).payload(it.payload);
            builder.build().map(Packet::from)
        };
        packet.map_err(NotSent::Packet)
    }

    /// Sends a packet of ours, which is valid by construction; what cannot be built (an id of 0) is not sent.
    fn send_built(&mut self, packet: Result<Packet, MqttError>) {
        if let Err(error) = packet.and_then(|packet| self.send(packet)) {
            tracing::debug!(%error, "a packet was not sent");
        }
    }

    fn send(&mut self, packet: Packet) -> Result<(), MqttError> {
        let mut sent = Ok(());
        for event in self.mqtt.send(packet) {
            match event {
                Event::RequestSendPacket { packet, .. } => self.append(&packet),
                Event::NotifyError(error) => sent = Err(error),
                _ => {}
            }
        }
        sent
    }

    fn append(&mut self, packet: &Packet) {
        self.traffic.packets_out += 1;
        self.traffic.bytes_out += packet.size() as u64;
        self.out.reserve(packet.size());
        packet
            .to_buffers()
            .iter()
            .for_each(|part| self.out.extend_from_slice(part));
    }
}

/// Whether the flags of a packet's first byte are those that its type must have, which the library does not look at.
fn flags_fit(first: u8) -> bool {
    let flags = first & 0x0f;
    match first >> 4 {
        0 => false,
        3 => true,
        6 | 8 | 10 => flags == 2,
        _ => flags == 0,
    }
}

fn return_code(code: SubackReasonCode) -> SubackReturnCode {
    match code {
        SubackReasonCode::GrantedQos0 => SubackReturnCode::SuccessMaximumQos0,
        SubackReasonCode::GrantedQos1 => SubackReturnCode::SuccessMaximumQos1,
        SubackReasonCode::GrantedQos2 => SubackReturnCode::SuccessMaximumQos2,
        _ => SubackReturnCode::Failure,
    }
}
