//! What clients send, in one form for both versions.

use bytes::Bytes;
use mqtt_protocol_core::mqtt::packet::{
    MqttString, Packet, Property, Qos, RetainHandling, SubEntry,
};
use mqtt_protocol_core::mqtt::packet::{v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::result_code::AuthReasonCode;
use mqtt_protocol_core::mqtt::{ArcPayload, IntoPayload, Version};

use crate::auth::Secret;
use crate::edge::ordinary::follow::is_topic_name;

/// Bytes of a device's name at most.
const NAME_BYTES_MAX: usize = 256;

/// A packet of a client.
pub(super) enum Received {
    Connect(Box<Connect>),
    Publish(Publish),
    Puback(u16),
    /// `refused`: the client does not want the message.
    Pubrec {
        packet_id: u16,
        refused: bool,
    },
    Pubrel(u16),
    Pubcomp(u16),
    Subscribe(Subscribe),
    Unsubscribe {
        packet_id: u16,
        filters: Vec<String>,
    },
    Pingreq,
    Disconnect {
        with_will: bool,
        /// The v5 Session Expiry Interval, if it changes.
        expiry_s: Option<u32>,
    },
    /// An AUTH that begins to authenticate anew.
    Auth(Auth),
    /// A packet that has no place in the conversation, or a CONNECT whose flags do not fit.
    OutOfPlace,
}

/// A CONNECT.
#[derive(Debug)]
pub(super) struct Connect {
    pub(super) version: Version,
    pub(super) client_id: String,
    pub(super) clean: bool,
    /// The v5 Session Expiry Interval.
    pub(super) expiry_s: u32,
    pub(super) keep_alive_s: u16,
    pub(super) will: Option<Publish>,
    /// The v5 Will Delay Interval.
    pub(super) will_delay_s: u32,
    /// The user properties `device` and `name`.
    pub(super) device: Option<String>,
    pub(super) name: Option<String>,
    pub(super) receive_maximum: Option<u16>,
    pub(super) packet_bytes_max: Option<u32>,
    /// How many topic aliases the client understands.
    pub(super) topic_alias_max: u16,
    pub(super) problem_information: bool,
    /// The v5 Authentication Method and Authentication Data.
    pub(super) method: Option<String>,
    pub(super) token: Option<Secret>,
    pub(super) user: Option<String>,
    pub(super) password: Option<Secret>,
}

/// An AUTH with the reason code 0x19.
#[derive(Debug)]
pub(super) struct Auth {
    pub(super) method: String,
    pub(super) token: Option<Secret>,
}

/// A PUBLISH, or the will of a CONNECT.
#[derive(Debug)]
pub(super) struct Publish {
    pub(super) topic: String,
    pub(super) payload: ArcPayload,
    pub(super) qos: Qos,
    pub(super) packet_id: Option<u16>,
    pub(super) retain: bool,
    /// The v5 properties that go with the message to whoever gets it, as their bytes on the wire.
    pub(super) properties: Bytes,
    /// The v5 Message Expiry Interval.
    pub(super) expiry_s: Option<u32>,
}

/// A SUBSCRIBE.
pub(super) struct Subscribe {
    pub(super) packet_id: u16,
    pub(super) entries: Vec<Entry>,
    pub(super) identifier: Option<u32>,
}

/// One filter of a SUBSCRIBE.
pub(super) struct Entry {
    pub(super) filter: String,
    pub(super) qos: Qos,
    pub(super) retained: RetainHandling,
    pub(super) no_local: bool,
    pub(super) retain_as_published: bool,
}

impl From<Packet> for Received {
    fn from(packet: Packet) -> Self {
        match packet {
            Packet::V3_1_1Connect(it) => match flags_fit(&it.to_continuous_buffer(), false) {
                true => Self::Connect(Box::new(connect_3(&it))),
                false => Self::OutOfPlace,
            },
            Packet::V5_0Connect(it) => match flags_fit(&it.to_continuous_buffer(), true) {
                true => Self::Connect(Box::new(connect_5(&it))),
                false => Self::OutOfPlace,
            },
            Packet::V3_1_1Publish(it) => Self::Publish(Publish {
                topic: it.topic_name().to_owned(),
                payload: it.payload().clone(),
                qos: it.qos(),
                packet_id: it.packet_id(),
                retain: it.retain(),
                properties: Bytes::new(),
                expiry_s: None,
            }),
            Packet::V5_0Publish(it) if !may_publish_with(it.props()) => Self::OutOfPlace,
            Packet::V5_0Publish(it) => Self::Publish(Publish {
                topic: it.topic_name().to_owned(),
                payload: it.payload().clone(),
                qos: it.qos(),
                packet_id: it.packet_id(),
                retain: it.retain(),
                properties: passed_on(it.props()),
                expiry_s: message_expiry(it.props()),
            }),
            Packet::V3_1_1Subscribe(it) => {
                Self::Subscribe(subscribe(it.packet_id(), it.entries(), None))
            }
            Packet::V5_0Subscribe(it) => Self::Subscribe(subscribe(
                it.packet_id(),
                it.entries(),
                identifier(it.props()),
            )),
            Packet::V3_1_1Unsubscribe(it) => unsubscribe(it.packet_id(), it.entries()),
            Packet::V5_0Unsubscribe(it) => unsubscribe(it.packet_id(), it.entries()),
            Packet::V3_1_1Pingreq(_) | Packet::V5_0Pingreq(_) => Self::Pingreq,
            Packet::V3_1_1Disconnect(_) => Self::Disconnect {
                with_will: false,
                expiry_s: None,
            },
            Packet::V5_0Disconnect(it) => Self::Disconnect {
                with_will: it.reason_code().is_some_and(|code| code as u8 != 0),
                expiry_s: it.props().as_ref().and_then(|props| expiry(props)),
            },
            Packet::V5_0Auth(it) => auth(&it).map_or(Self::OutOfPlace, Self::Auth),
            other => acknowledgement(&other).unwrap_or(Self::OutOfPlace),
        }
    }
}

fn auth(packet: &v5_0::Auth) -> Option<Auth> {
    let again = packet.reason_code() == Some(AuthReasonCode::ReAuthenticate);
    let properties = packet.props().as_deref().filter(|_| again)?;
    let method = properties.iter().find_map(|it| match it {
        Property::AuthenticationMethod(it) => Some(it.val().to_owned()),
        _ => None,
    });
    let token = properties.iter().find_map(|it| match it {
        Property::AuthenticationData(it) => Some(Secret::new(it.val())),
        _ => None,
    });
    method.map(|method| Auth { method, token })
}

/// Whether the flags of a CONNECT go together, which the library does not look at: the reserved one is 0, a will that is not
/// there has neither QoS nor RETAIN, no QoS is 3, and at 3.1.1 no password comes without a user name.
fn flags_fit(packet: &[u8], v5: bool) -> bool {
    const NAME_AND_LEVEL: usize = 7;
    let length_bytes = packet.iter().skip(1).take_while(|it| **it >= 0x80).count() + 1;
    let Some(flags) = packet.get(1 + length_bytes + NAME_AND_LEVEL) else {
        return false;
    };
    let (will, qos, retain) = (flags & 0x04 != 0, (flags >> 3) & 3, flags & 0x20 != 0);
    let nameless = flags & 0xc0 == 0x40 && !v5;
    flags & 1 == 0 && qos < 3 && (will || (qos == 0 && !retain)) && !nameless
}

/// What answers a PUBLISH, or goes on with it at QoS 2.
fn acknowledgement(packet: &Packet) -> Option<Received> {
    let received = match packet {
        Packet::V3_1_1Puback(it) => Received::Puback(it.packet_id()),
        Packet::V5_0Puback(it) => Received::Puback(it.packet_id()),
        Packet::V3_1_1Pubrec(it) => Received::Pubrec {
            packet_id: it.packet_id(),
            refused: false,
        },
        Packet::V5_0Pubrec(it) => Received::Pubrec {
            packet_id: it.packet_id(),
            refused: it.reason_code().is_some_and(|code| code.is_failure()),
        },
        Packet::V3_1_1Pubrel(it) => Received::Pubrel(it.packet_id()),
        Packet::V5_0Pubrel(it) => Received::Pubrel(it.packet_id()),
        Packet::V3_1_1Pubcomp(it) => Received::Pubcomp(it.packet_id()),
        Packet::V5_0Pubcomp(it) => Received::Pubcomp(it.packet_id()),
        _ => return None,
    };
    Some(received)
}

impl Connect {
    /// What both versions say; the rest is what a client means that says nothing of it.
    fn without_properties(
        version: Version,
        client_id: &str,
        clean: bool,
        keep_alive_s: u16,
        will: Option<Publish>,
    ) -> Self {
        Self {
            version,
            client_id: client_id.to_owned(),
            clean,
            expiry_s: 0,
            keep_alive_s,
            will,
            will_delay_s: 0,
            device: None,
            name: None,
            receive_maximum: None,
            packet_bytes_max: None,
            topic_alias_max: 0,
            problem_information: true,
            method: None,
            token: None,
            user: None,
            password: None,
        }
    }
}

fn connect_3(packet: &v3_1_1::Connect) -> Connect {
    let will = packet.will_topic().map(|topic| Publish {
        topic: topic.to_owned(),
        payload: payload(packet.will_payload()),
        qos: packet.will_qos(),
        packet_id: None,
        retain: packet.will_retain(),
        properties: Bytes::new(),
        expiry_s: None,
    });
    let (client_id, clean) = (packet.client_id(), packet.clean_session());
    let connect =
        Connect::without_properties(Version::V3_1_1, client_id, clean, packet.keep_alive(), will);
    Connect {
        user: packet.user_name().map(str::to_owned),
        password: packet.password().map(Secret::new),
        ..connect
    }
}

fn connect_5(packet: &v5_0::Connect) -> Connect {
    let will = packet.will_topic().map(|topic| Publish {
        topic: topic.to_owned(),
        payload: payload(packet.will_payload()),
        qos: packet.will_qos(),
        packet_id: None,
        retain: packet.will_retain(),
        properties: passed_on(packet.will_props()),
        expiry_s: message_expiry(packet.will_props()),
    });
    let (client_id, clean) = (packet.client_id(), packet.clean_start());
    let mut connect =
        Connect::without_properties(Version::V5_0, client_id, clean, packet.keep_alive(), will);
    connect.user = packet.user_name().map(str::to_owned);
    connect.password = packet.password().map(Secret::new);
    packet
        .props()
        .iter()
        .for_each(|property| connect.read(property));
    connect.will_delay_s = will_delay(packet.will_props());
    connect
}

impl Connect {
    fn read(&mut self, property: &Property) {
        match property {
            Property::SessionExpiryInterval(it) => self.expiry_s = it.val(),
            Property::ReceiveMaximum(it) => self.receive_maximum = Some(it.val()),
            Property::MaximumPacketSize(it) => self.packet_bytes_max = Some(it.val()),
            Property::TopicAliasMaximum(it) => self.topic_alias_max = it.val(),
            Property::RequestProblemInformation(it) => self.problem_information = it.val() != 0,
            Property::AuthenticationMethod(it) => self.method = Some(it.val().to_owned()),
            Property::AuthenticationData(it) => self.token = Some(Secret::new(it.val())),
            Property::UserProperty(it) if it.key() == "device" => {
                self.device = Some(it.val().to_owned());
            }
            Property::UserProperty(it) if it.key() == "name" => {
                self.name = Some(shown(it.val()).to_owned());
            }
            _ => {}
        }
    }
}

/// As much of a device's name as is shown (PRESENCE-5).
fn shown(name: &str) -> &str {
    &name[..name.floor_char_boundary(NAME_BYTES_MAX)]
}

fn payload(bytes: Option<&[u8]>) -> ArcPayload {
    bytes.unwrap_or_default().into_payload()
}

fn subscribe(packet_id: u16, entries: &[SubEntry], identifier: Option<u32>) -> Subscribe {
    let entries = entries
        .iter()
        .map(|entry| Entry {
            filter: entry.topic_filter().to_owned(),
            qos: entry.sub_opts().qos(),
            retained: entry.sub_opts().rh(),
            no_local: entry.sub_opts().nl(),
            retain_as_published: entry.sub_opts().rap(),
        })
        .collect();
    Subscribe {
        packet_id,
        entries,
        identifier,
    }
}

fn unsubscribe(packet_id: u16, filters: &[MqttString]) -> Received {
    let filters = filters.iter().map(|it| it.as_str().to_owned());
    Received::Unsubscribe {
        packet_id,
        filters: filters.collect(),
    }
}

/// Whether a client may say these of a message, which the library does not look at: it has no subscriptions to name, and one
/// does not answer on a wildcard.
fn may_publish_with(properties: &[Property]) -> bool {
    !properties.iter().any(|property| match property {
        Property::SubscriptionIdentifier(_) => true,
        Property::ResponseTopic(it) => !is_topic_name(it.val()),
        _ => false,
    })
}

/// Those that are the message's, not the packet's.
fn passed_on(properties: &[Property]) -> Bytes {
    let mut bytes = Vec::new();
    for property in properties {
        if let Property::PayloadFormatIndicator(_)
        | Property::ContentType(_)
        | Property::ResponseTopic(_)
        | Property::CorrelationData(_)
        | Property::UserProperty(_) = property
        {
            bytes.extend(property.to_continuous_buffer());
        }
    }
    bytes.into()
}

fn message_expiry(properties: &[Property]) -> Option<u32> {
    properties.iter().find_map(|property| match property {
        Property::MessageExpiryInterval(it) => Some(it.val()),
        _ => None,
    })
}

fn will_delay(properties: &[Property]) -> u32 {
    let delay = properties.iter().find_map(|property| match property {
        Property::WillDelayInterval(it) => Some(it.val()),
        _ => None,
    });
    delay.unwrap_or(0)
}

fn expiry(properties: &[Property]) -> Option<u32> {
    properties.iter().find_map(|property| match property {
        Property::SessionExpiryInterval(it) => Some(it.val()),
        _ => None,
    })
}

fn identifier(properties: &[Property]) -> Option<u32> {
    properties.iter().find_map(|property| match property {
        Property::SubscriptionIdentifier(it) => Some(it.val()),
        _ => None,
    })
}
