//! The packet layer: bytes in, packets out and back, for both versions. The codec is mqtt-protocol-core's; nothing
//! outside this file and `packet.rs` names it.
//!
//! That library answers some malformed input with an error event alone, so every error ends the session here,
//! and the caller closes. It would also close clients that send beyond the Receive Maximum; the session stops reading
//! before that.

use bytes::BytesMut;
use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::{ConnectionOptions, Event};
use mqtt_protocol_core::mqtt::packet::{
    AssignedClientIdentifier, MaximumQos, Packet, Property, Qos, ReasonString, ReceiveMaximum,
    SessionExpiryInterval, SharedSubscriptionAvailable, SubscriptionIdentifier, UserProperty,
};
use mqtt_protocol_core::mqtt::packet::{v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::prelude::GenericPacketTrait;
use mqtt_protocol_core::mqtt::result_code::{
    ConnectReasonCode, ConnectReturnCode, DisconnectReasonCode, MqttError, PubackReasonCode,
    SubackReasonCode, SubackReturnCode, UnsubackReasonCode,
};
use mqtt_protocol_core::mqtt::{Connection, Version, role};

use super::packet::Received;

/// One connection's packets.
pub(super) struct Wire {
    mqtt: Connection<role::Server>,
    out: BytesMut,
    version: Version,
    /// The client's Maximum Packet Size.
    packet_bytes_max: usize,
    /// Whether reason strings and user properties may go on packets other than CONNACK and DISCONNECT.
    problem_information: bool,
}

/// What one call of [`Wire::receive`] found.
pub(super) enum Input {
    Packet(Received),
    /// The bytes end within a packet.
    Incomplete,
    /// The session is over; what can be said to the client is in the output.
    Broken(MqttError),
}

/// An outgoing PUBLISH.
#[derive(Debug, Clone, Copy)]
pub(super) struct OutPublish<'a> {
    pub(super) topic: &'a str,
    pub(super) payload: &'a [u8],
    pub(super) at_least_once: bool,
    pub(super) retain: bool,
    pub(super) identifiers: &'a [u32],
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
        }
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
    pub(super) fn agree(
        &mut self,
        version: Version,
        packet_bytes_max: Option<u32>,
        problems: bool,
    ) {
        self.version = version;
        self.packet_bytes_max = packet_bytes_max.map_or(usize::MAX, |max| max as usize);
        self.problem_information = problems;
    }

    /// Reads at most one packet off the front of `bytes`.
    pub(super) fn receive(&mut self, bytes: &mut BytesMut) -> Input {
        let mut cursor = Cursor::new(&bytes[..]);
        let events = self.mqtt.recv(&mut cursor);
        let consumed = usize::try_from(cursor.position()).unwrap_or(bytes.len());
        let _ = bytes.split_to(consumed.min(bytes.len()));
        let mut input = Input::Incomplete;
        for event in events {
            match event {
                Event::NotifyPacketReceived(packet) => input = Input::Packet(packet.into()),
                Event::RequestSendPacket { packet, .. } => append(&mut self.out, &packet),
                Event::NotifyError(error) => return self.broken(error),
                _ => {}
            }
        }
        input
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
    pub(super) fn connack(
        &mut self,
        receive_maximum: u16,
        assigned: Option<&str>,
    ) -> Result<(), MqttError> {
        let packet = if self.is_v5() {
            let props = accepted_properties(receive_maximum, assigned);
            let builder = v5_0::Connack::builder().session_present(false);
            builder
                .reason_code(ConnectReasonCode::Success)
                .props(props)
                .build()
                .map(Packet::from)
        } else {
            let builder = v3_1_1::Connack::builder().session_present(false);
            builder
                .return_code(ConnectReturnCode::Accepted)
                .build()
                .map(Packet::from)
        };
        packet.and_then(|packet| self.send(packet))
    }

    /// Refuses the connection.
    pub(super) fn connack_refused(
        &mut self,
        v5: ConnectReasonCode,
        v3: ConnectReturnCode,
        reason: &str,
    ) {
        let packet = if self.is_v5() {
            let builder = v5_0::Connack::builder()
                .session_present(false)
                .reason_code(v5);
            builder
                .props(reason_string(reason))
                .build()
                .map(Packet::from)
        } else {
            let builder = v3_1_1::Connack::builder().session_present(false);
            builder.return_code(v3).build().map(Packet::from)
        };
        self.send_built(packet);
    }

    /// Acknowledges a PUBLISH with success; `name` is `seq` or `repeat`.
    pub(super) fn puback(&mut self, packet_id: u16, name: &str, value: &str) {
        if !self.is_v5() {
            let packet = v3_1_1::Puback::builder().packet_id(packet_id).build();
            return self.send_built(packet.map(Packet::from));
        }
        let props = UserProperty::new(name, value).map(|it| vec![Property::UserProperty(it)]);
        self.puback_5(
            packet_id,
            PubackReasonCode::Success,
            props.unwrap_or_default(),
        );
    }

    /// Acknowledges a PUBLISH with a refusal. 3.1.1 has no word for it.
    pub(super) fn puback_refused(&mut self, packet_id: u16, code: u8, reason: &str) {
        if !self.is_v5() {
            return self.puback(packet_id, "", "");
        }
        let code = PubackReasonCode::try_from(code).unwrap_or(PubackReasonCode::UnspecifiedError);
        self.puback_5(packet_id, code, reason_string(reason));
    }

    fn puback_5(&mut self, packet_id: u16, code: PubackReasonCode, props: Vec<Property>) {
        let bare = || {
            v5_0::Puback::builder()
                .packet_id(packet_id)
                .reason_code(code)
        };
        let full = bare().props(props).build().map(Packet::from);
        match full {
            Ok(packet) if self.problem_information && packet.size() <= self.packet_bytes_max => {
                self.send_built(Ok(packet));
            }
            _ => self.send_built(bare().build().map(Packet::from)),
        }
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

    /// Sends a PUBLISH; with QoS 1 returns its packet id.
    pub(super) fn publish(&mut self, it: OutPublish<'_>) -> Result<Option<u16>, NotSent> {
        let id = match it.at_least_once {
            true => Some(self.mqtt.acquire_packet_id().map_err(NotSent::Packet)?),
            false => None,
        };
        let sent = self
            .built_publish(it, id)
            .and_then(|packet| self.send_publish(packet));
        if let (Err(_), Some(id)) = (&sent, id) {
            // The library may have released it already; releasing twice does nothing.
            let _ = self.mqtt.release_packet_id(id);
        }
        sent.map(|()| id)
    }

    fn built_publish(&self, it: OutPublish<'_>, id: Option<u16>) -> Result<Packet, NotSent> {
        let qos = if id.is_some() {
            Qos::AtLeastOnce
        } else {
            Qos::AtMostOnce
        };
        let packet = if self.is_v5() {
            let builder = v5_0::Publish::builder()
                .topic_name(it.topic)
                .map_err(NotSent::Packet)?;
            let builder = builder
                .qos(qos)
                .retain(it.retain)
                .packet_id(id)
                .payload(it.payload);
            builder
                .props(identifier_properties(it.identifiers))
                .build()
                .map(Packet::from)
        } else {
            let builder = v3_1_1::Publish::builder()
                .topic_name(it.topic)
                .map_err(NotSent::Packet)?;
            let builder = builder
                .qos(qos)
                .retain(it.retain)
                .packet_id(id)
                .payload(it.payload);
            builder.build().map(Packet::from)
        };
        packet.map_err(NotSent::Packet)
    }

    fn send_publish(&mut self, packet: Packet) -> Result<(), NotSent> {
        if packet.size() > self.packet_bytes_max {
            return Err(NotSent::TooLarge);
        }
        self.send(packet).map_err(NotSent::Packet)
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
                Event::RequestSendPacket { packet, .. } => append(&mut self.out, &packet),
                Event::NotifyError(error) => sent = Err(error),
                _ => {}
            }
        }
        sent
    }
}

fn append(out: &mut BytesMut, packet: &Packet) {
    out.reserve(packet.size());
    packet
        .to_buffers()
        .iter()
        .for_each(|part| out.extend_from_slice(part));
}

fn accepted_properties(receive_maximum: u16, assigned: Option<&str>) -> Vec<Property> {
    let fixed = [
        SessionExpiryInterval::new(0).map(Property::SessionExpiryInterval),
        MaximumQos::new(1).map(Property::MaximumQos),
        ReceiveMaximum::new(receive_maximum).map(Property::ReceiveMaximum),
        SharedSubscriptionAvailable::new(0).map(Property::SharedSubscriptionAvailable),
    ];
    let assigned = assigned
        .map(|id| AssignedClientIdentifier::new(id).map(Property::AssignedClientIdentifier));
    fixed
        .into_iter()
        .chain(assigned)
        .filter_map(Result::ok)
        .collect()
}

fn reason_string(reason: &str) -> Vec<Property> {
    ReasonString::new(reason)
        .map(|it| vec![Property::ReasonString(it)])
        .unwrap_or_default()
}

fn identifier_properties(identifiers: &[u32]) -> Vec<Property> {
    let property = |id: &u32| SubscriptionIdentifier::new(*id).ok();
    identifiers
        .iter()
        .filter_map(property)
        .map(Property::SubscriptionIdentifier)
        .collect()
}

fn return_code(code: SubackReasonCode) -> SubackReturnCode {
    match code {
        SubackReasonCode::GrantedQos0 => SubackReturnCode::SuccessMaximumQos0,
        SubackReasonCode::GrantedQos1 => SubackReturnCode::SuccessMaximumQos1,
        _ => SubackReturnCode::Failure,
    }
}
