//! Conversations in packets, at both versions.

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
use syncline_protocol::{Intent, RefusalName, TransientName, Value};

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
    }
}

/// A session and its client.
struct Talk {
    session: Session,
    client: Connection<role::Client>,
    version: Version,
    now: Instant,
}

impl Talk {
    fn fresh(version: Version) -> Self {
        let now = Instant::now();
        let principal = Arc::new(Principal::anonymous());
        let session = Session::new(Arc::new(options()), principal, "auto-1".to_owned(), now);
        Self {
            session,
            client: Connection::new(version),
            version,
            now,
        }
    }

    fn connected(version: Version) -> Self {
        let mut talk = Self::fresh(version);
        talk.say(connect(version, DEVICE, None, vec![]));
        assert!(matches!(
            talk.session.next_action(),
            Some(Action::Accepted { .. })
        ));
        assert!(matches!(
            talk.hear()[..],
            [Packet::V3_1_1Connack(_) | Packet::V5_0Connack(_)]
        ));
        talk
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

    fn bytes(&mut self, bytes: &[u8]) {
        self.session.receive(self.now, &mut BytesMut::from(bytes));
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
        std::iter::from_fn(|| self.session.next_action())
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

fn saved(n: u64) -> Outcome {
    let receipt = crate::store::memory::MemoryStore::new(8).durable();
    Outcome::Saved {
        seq: Seq::new(n).unwrap(),
        receipt,
    }
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

#[test]
fn a_v5_connack_says_what_this_broker_does() {
    let mut talk = Talk::fresh(Version::V5_0);
    talk.say(connect(Version::V5_0, "", None, vec![]));
    let packets = talk.hear();
    let [Packet::V5_0Connack(connack)] = &packets[..] else {
        panic!("{packets:?}")
    };
    assert_eq!(connack.reason_code(), ConnectReasonCode::Success);
    assert!(!connack.session_present());
    let mut said: Vec<_> = connack.props().iter().map(ToString::to_string).collect();
    said.sort();
    let said = said.join(" ");
    for name in [
        "session_expiry",
        "maximum_qos",
        "receive_maximum",
        "maximum_packet_size",
        "shared_subscription",
        "assigned_client_identifier",
    ] {
        assert!(said.contains(name), "{name} in {said}");
    }
    assert!(matches!(talk.session.next_action(),
        Some(Action::Accepted { client_id, identity }) if client_id == "auto-1" && !identity.given));
}

#[test]
fn an_empty_client_id_at_3_1_1_needs_a_clean_session() {
    let mut talk = Talk::fresh(Version::V3_1_1);
    talk.say(connect(Version::V3_1_1, "", None, vec![]));
    assert!(matches!(
        talk.session.next_action(),
        Some(Action::Accepted { .. })
    ));
    let mut talk = Talk::fresh(Version::V3_1_1);
    let connect = b"\x10\x0c\x00\x04MQTT\x04\x00\x00\x00\x00\x00";
    talk.bytes(connect);
    assert_eq!(
        &talk.session.output()[..],
        [0x20, 2, 0, ConnectReturnCode::IdentifierRejected as u8]
    );
    assert!(matches!(talk.end(), EndReason::Refused(_)));
}

#[test]
fn a_wrong_protocol_level_is_answered_and_a_first_packet_that_is_no_connect_is_not() {
    let mut talk = Talk::fresh(Version::V3_1_1);
    talk.bytes(b"\x10\x0e\x00\x06MQIsdp\x03\x02\x00\x00\x00\x00");
    assert_eq!(&talk.session.output()[..], [0x20, 2, 0, 1]);
    assert!(talk.session.ended().is_some());
    let mut talk = Talk::fresh(Version::V3_1_1);
    talk.bytes(&[0xc0, 0]);
    assert!(talk.session.output().is_empty());
    assert!(talk.session.ended().is_some());
}

#[test]
fn event_4_the_device_of_a_v5_connect_is_its_property() {
    let mut talk = Talk::fresh(Version::V5_0);
    let props = [("device", OTHER), ("name", "Kitchen")]
        .map(|(key, value)| Property::UserProperty(UserProperty::new(key, value).unwrap()));
    talk.say(connect(Version::V5_0, DEVICE, None, props.to_vec()));
    let Some(Action::Accepted { identity, .. }) = talk.session.next_action() else {
        panic!()
    };
    assert_eq!(identity.device.to_string(), OTHER);
    assert_eq!(identity.name.as_deref(), Some("Kitchen"));
    assert!(identity.given);
}

#[test]
fn answer_2_acknowledgements_leave_in_the_order_of_the_publishes_refusals_too() {
    for version in BOTH {
        let mut talk = Talk::connected(version);
        for id in [7, 8] {
            talk.star(id);
        }
        talk.publish("sync/a/events", b"nonsense", Qos::AtLeastOnce, Some(9));
        let tickets = talk.tickets();
        talk.session.answer(tickets[1], saved(2));
        assert!(talk.hear().is_empty(), "the first is not answered yet");
        talk.session.answer(tickets[0], saved(1));
        let mut packets = talk.hear();
        if version == Version::V3_1_1 {
            assert_eq!(puback_ids(&packets), [7, 8]);
            assert!(matches!(
                talk.session.next_action(),
                Some(Action::Report(_))
            ));
            talk.session.reported();
            packets.extend(talk.hear());
        }
        assert_eq!(puback_ids(&packets), [7, 8, 9]);
    }
}

#[test]
fn answer_1_a_v5_puback_carries_the_seq_or_the_first_copys() {
    let mut talk = Talk::connected(Version::V5_0);
    talk.star(1);
    talk.star(2);
    let tickets = talk.tickets();
    talk.session.answer(tickets[0], saved(41));
    let Outcome::Saved { seq, receipt } = saved(12) else {
        panic!()
    };
    talk.session
        .answer(tickets[1], Outcome::Repeat { seq, receipt });
    let said: Vec<_> = talk
        .hear()
        .iter()
        .map(|packet| {
            let Packet::V5_0Puback(puback) = packet else {
                panic!("{packet}")
            };
            let Some([Property::UserProperty(it)]) = puback.props().as_deref() else {
                panic!()
            };
            (it.key().to_owned(), it.val().to_owned())
        })
        .collect();
    assert_eq!(
        said,
        [
            ("seq".to_owned(), "41".to_owned()),
            ("repeat".to_owned(), "12".to_owned())
        ]
    );
}

#[test]
fn answer_3_v5_reads_a_refusal_in_its_puback() {
    let cases: [(&str, Vec<u8>, PubackReasonCode, &str); 5] = [
        (
            "sync/a/state",
            event(None),
            PubackReasonCode::TopicNameInvalid,
            "bad_topic: ",
        ),
        (
            "elsewhere",
            event(None),
            PubackReasonCode::TopicNameInvalid,
            "bad_topic: ",
        ),
        (
            "sync/a/events",
            b"?".to_vec(),
            PubackReasonCode::PayloadFormatInvalid,
            "not_an_event: ",
        ),
        (
            "sync/a/events",
            vec![b'{'; 2_000],
            PubackReasonCode::QuotaExceeded,
            "too_large: ",
        ),
        (
            "sync/a/events",
            event(Some(OTHER)),
            PubackReasonCode::NotAuthorized,
            "not_your_device: ",
        ),
    ];
    for (topic, payload, code, name) in cases {
        let mut talk = Talk::connected(Version::V5_0);
        talk.publish(topic, &payload, Qos::AtLeastOnce, Some(1));
        let packets = talk.hear();
        let [Packet::V5_0Puback(puback)] = &packets[..] else {
            panic!("{packets:?}")
        };
        assert_eq!(puback.reason_code(), Some(code));
        let Some([Property::ReasonString(reason)]) = puback.props().as_deref() else {
            panic!()
        };
        assert!(reason.val().starts_with(name), "{}", reason.val());
        assert!(talk.session.wants_input(), "the connection lives");
    }
}

#[test]
fn answer_3_at_3_1_1_and_at_qos_0_the_errors_topic_tells() {
    let mut talk = Talk::connected(Version::V3_1_1);
    talk.publish(
        "sync/a/b/events",
        &event(Some(OTHER)),
        Qos::AtLeastOnce,
        Some(5),
    );
    let Some(Action::Report(notice)) = talk.session.next_action() else {
        panic!()
    };
    assert_eq!(notice.error, RefusalName::NotYourDevice.as_str());
    assert_eq!(notice.device.to_string(), DEVICE);
    assert_eq!(notice.stream.to_string(), "sync/a/b");
    assert_eq!(notice.event_type.as_deref(), Some("star_album"));
    assert!(talk.hear().is_empty(), "the PUBACK follows the message");
    talk.session.reported();
    assert_eq!(puback_ids(&talk.hear()), [5]);

    let mut talk = Talk::connected(Version::V5_0);
    talk.publish("sync/a/events", b"?", Qos::AtMostOnce, None);
    assert!(matches!(
        talk.session.next_action(),
        Some(Action::Report(_))
    ));
    talk.session.reported();
    assert!(talk.hear().is_empty());
}

#[test]
fn answer_4_a_transient_failure_is_never_acknowledged_and_nothing_later_is_processed() {
    for version in BOTH {
        let mut talk = Talk::connected(version);
        talk.star(1);
        talk.star(2);
        let tickets = talk.tickets();
        let failed = Outcome::Failed(TransientName::StorageFailed, "no space".to_owned());
        talk.session.answer(tickets[1], failed);
        assert!(!talk.session.wants_input());
        talk.star(3);
        assert!(talk.tickets().is_empty());
        talk.session.answer(tickets[0], saved(1));
        let packets = talk.hear();
        assert_eq!(puback_ids(&packets[..1]), [1]);
        if version == Version::V5_0 {
            let [_, Packet::V5_0Disconnect(it)] = &packets[..] else {
                panic!("{packets:?}")
            };
            assert_eq!(
                it.reason_code(),
                Some(DisconnectReasonCode::ImplementationSpecificError)
            );
        } else {
            assert_eq!(packets.len(), 1);
        }
        assert!(matches!(talk.end(), EndReason::Transient { .. }));
    }
}

#[test]
fn qos_2_closes_and_v5_is_told() {
    for version in BOTH {
        let mut talk = Talk::connected(version);
        talk.publish("sync/a/events", &event(None), Qos::ExactlyOnce, Some(1));
        assert_eq!(talk.end(), &EndReason::Qos2);
        let packets = talk.hear();
        match version {
            Version::V5_0 => {
                let [Packet::V5_0Disconnect(it)] = &packets[..] else {
                    panic!("{packets:?}")
                };
                assert_eq!(
                    it.reason_code(),
                    Some(DisconnectReasonCode::QosNotSupported)
                );
            }
            _ => assert!(packets.is_empty()),
        }
        assert!(talk.tickets().is_empty());
    }
}

#[test]
fn g10_a_3_1_1_publisher_is_not_read_beyond_the_receive_maximum() {
    let mut talk = Talk::connected(Version::V3_1_1);
    let packet = |id| {
        let packet = publish(
            Version::V3_1_1,
            "sync/a/events",
            &event(None),
            Qos::AtLeastOnce,
            Some(id),
        );
        packet.to_continuous_buffer()
    };
    let mut input: BytesMut = (1..=6).flat_map(packet).collect();
    talk.session.receive(talk.now, &mut input);
    let tickets = talk.tickets();
    assert_eq!(tickets.len(), 4);
    assert!(!talk.session.wants_input() && !input.is_empty());
    talk.session.answer(tickets[0], saved(1));
    talk.session.receive(talk.now, &mut input);
    assert_eq!(talk.tickets().len(), 1);
}

#[test]
fn g10_a_v5_publisher_beyond_its_receive_maximum_is_told_0x93() {
    let mut talk = Talk::connected(Version::V5_0);
    (1..=5).for_each(|id| talk.star(id));
    assert_eq!(talk.tickets().len(), 4);
    let packets = talk.hear();
    let [Packet::V5_0Disconnect(it)] = &packets[..] else {
        panic!("{packets:?}")
    };
    assert_eq!(
        it.reason_code(),
        Some(DisconnectReasonCode::ReceiveMaximumExceeded)
    );
}

#[test]
fn the_keep_alive_ends_a_silent_client_after_one_and_a_half() {
    for version in BOTH {
        let mut talk = Talk::connected(version);
        let start = talk.now;
        talk.now = start + Duration::from_millis(14_900);
        talk.session.tick(talk.now);
        assert!(talk.session.ended().is_none());
        talk.bytes(&[0xc0, 0]);
        assert!(matches!(
            talk.hear()[..],
            [Packet::V3_1_1Pingresp(_) | Packet::V5_0Pingresp(_)]
        ));
        assert_eq!(
            talk.session.next_timeout(),
            Some(talk.now + Duration::from_secs(15))
        );
        talk.session.tick(talk.now + Duration::from_secs(15));
        assert_eq!(talk.end(), &EndReason::KeepAlive);
        assert_eq!(talk.hear().len(), usize::from(version == Version::V5_0));
    }
}

#[test]
fn a_client_that_is_not_read_is_not_silent() {
    let mut talk = Talk::connected(Version::V3_1_1);
    (1..=4).for_each(|id| talk.star(id));
    talk.session.tick(talk.now + Duration::from_secs(16));
    assert!(talk.session.ended().is_none());
}

#[test]
fn keep_alive_0_never_ends_and_a_connect_must_come_in_time() {
    let mut talk = Talk::fresh(Version::V3_1_1);
    talk.bytes(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01\xc3");
    assert!(
        talk.session.ended().is_some(),
        "a client id that is no text"
    );
    let mut talk = Talk::fresh(Version::V3_1_1);
    talk.bytes("\u{10}\u{0e}\0\u{04}MQTT\u{04}\u{02}\0\0\0\u{02}ü".as_bytes());
    assert!(
        matches!(talk.session.next_action(), Some(Action::Accepted { client_id, .. }) if client_id == "ü")
    );
    assert_eq!(talk.session.next_timeout(), None);
    let mut talk = Talk::fresh(Version::V5_0);
    talk.session.tick(talk.now + Duration::from_secs(10));
    assert_eq!(talk.end(), &EndReason::NoConnect);
}

fn with_will(version: Version) -> Talk {
    let mut talk = Talk::fresh(version);
    talk.say(connect(
        version,
        DEVICE,
        Some(("sync/a/events", event(None))),
        vec![],
    ));
    assert!(matches!(
        talk.session.next_action(),
        Some(Action::Accepted { .. })
    ));
    talk.hear();
    talk
}

fn sends_will(talk: &mut Talk) -> bool {
    matches!(talk.session.next_action(), Some(Action::Will(it)) if it.stream().to_string() == "sync/a")
}

#[test]
fn a_will_is_submitted_at_every_end_but_a_goodbye() {
    for version in BOTH {
        for reason in [EndReason::Lost, EndReason::KeepAlive, EndReason::TakenOver] {
            let mut talk = with_will(version);
            talk.session.end(reason);
            assert!(sends_will(&mut talk));
        }
        let mut talk = with_will(version);
        talk.bytes(&[0xe0, 0]);
        assert_eq!(talk.end(), &EndReason::Goodbye);
        assert!(!sends_will(&mut talk));
    }
    let mut talk = with_will(Version::V5_0);
    talk.bytes(&[0xe0, 1, 4]);
    assert!(sends_will(&mut talk));
}

#[test]
fn a_will_that_is_no_event_is_refused_with_the_connect() {
    for (topic, payload, code) in [
        (
            "elsewhere",
            event(None),
            ConnectReasonCode::TopicNameInvalid,
        ),
        (
            "sync/a/events",
            b"bye".to_vec(),
            ConnectReasonCode::PayloadFormatInvalid,
        ),
    ] {
        for version in BOTH {
            let mut talk = Talk::fresh(version);
            talk.say(connect(
                version,
                DEVICE,
                Some((topic, payload.clone())),
                vec![],
            ));
            match &talk.hear()[..] {
                [Packet::V5_0Connack(it)] => assert_eq!(it.reason_code(), code),
                [Packet::V3_1_1Connack(it)] => {
                    assert_eq!(it.return_code(), ConnectReturnCode::NotAuthorized);
                }
                other => panic!("{other:?}"),
            }
            assert!(matches!(talk.end(), EndReason::Refused(_)));
            assert!(talk.session.next_action().is_none());
        }
    }
}

#[test]
fn a_takeover_is_told_0x8e() {
    let mut talk = Talk::connected(Version::V5_0);
    talk.session.end(EndReason::TakenOver);
    let packets = talk.hear();
    let [Packet::V5_0Disconnect(it)] = &packets[..] else {
        panic!("{packets:?}")
    };
    assert_eq!(
        it.reason_code(),
        Some(DisconnectReasonCode::SessionTakenOver)
    );
}

#[test]
fn a_drain_answers_what_is_open_and_then_says_goodbye() {
    for version in BOTH {
        let mut talk = Talk::connected(version);
        talk.star(1);
        let tickets = talk.tickets();
        talk.session.drain();
        assert!(talk.session.ended().is_none() && !talk.session.wants_input());
        talk.session.answer(tickets[0], saved(1));
        let packets = talk.hear();
        assert_eq!(puback_ids(&packets[..1]), [1]);
        assert_eq!(talk.end(), &EndReason::Draining);
        assert_eq!(packets.len(), 1 + usize::from(version == Version::V5_0));
    }
}

#[test]
fn view_8_filters_are_answered_one_by_one() {
    for version in BOTH {
        let mut talk = Talk::connected(version);
        let filters = [
            "sync/a/events",
            "$share/g/sync/a/events",
            "$at/1/sync/a/state",
            "ünsync/#",
        ];
        talk.bytes(&subscribe(version, 3, &filters));
        assert!(
            !talk.session.wants_input(),
            "nothing is read while a SUBSCRIBE is worked on"
        );
        let Some(Action::Subscribe {
            packet_id,
            requests,
        }) = talk.session.next_action()
        else {
            panic!()
        };
        assert_eq!(packet_id, 3);
        let verdicts: Vec<_> = requests
            .iter()
            .map(|it| it.as_ref().err().copied())
            .collect();
        assert_eq!(
            verdicts,
            [
                None,
                Some(Verdict::BadFilter),
                Some(Verdict::BadFilter),
                None
            ]
        );
        let granted = Verdict::Granted {
            at_least_once: true,
        };
        let all: Vec<_> = verdicts.iter().map(|it| it.unwrap_or(granted)).collect();
        talk.session.subscribed(packet_id, &all);
        let expected: &[u8] = match version {
            Version::V5_0 => &[0x90, 7, 0, 3, 0, 1, 0x8f, 0x8f, 1],
            _ => &[0x90, 6, 0, 3, 1, 0x80, 0x80, 1],
        };
        assert_eq!(&talk.session.output()[..], expected);
        assert!(talk.session.wants_input());
    }
}

#[test]
fn view_5_an_unsubscribe_of_any_form_names_the_base_filter() {
    let mut talk = Talk::connected(Version::V5_0);
    let entries = ["$json/$since/4/sync/a/events", "sync/b/events", "a#"];
    let packet = v5_0::Unsubscribe::builder()
        .packet_id(4_u16)
        .entries(entries)
        .unwrap()
        .build();
    talk.bytes(&packet.unwrap().to_continuous_buffer());
    let Some(Action::Unsubscribe { packet_id, filters }) = talk.session.next_action() else {
        panic!()
    };
    let names: Vec<_> = filters
        .iter()
        .map(|it| it.as_ref().map(Filter::as_str))
        .collect();
    assert_eq!(names, [Some("sync/a/events"), Some("sync/b/events"), None]);
    talk.session.unsubscribed(packet_id, &[true, false, false]);
    assert_eq!(
        &talk.session.output()[..],
        [0xb0, 6, 0, 4, 0, 0, 0x11, 0x11]
    );
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
        },
    )
}

fn deliver(talk: &mut Talk, n: u64, at_least_once: bool) -> Result<(), NotSent> {
    let (payload, tag) = message(n);
    talk.session.publish(Message {
        topic: "sync/a/events",
        payload: payload.as_bytes(),
        at_least_once,
        retain: false,
        identifiers: &[9],
        tag: Some(&tag),
    })
}

#[test]
fn the_clients_receive_maximum_is_kept_and_acknowledgements_are_told() {
    let mut talk = Talk::fresh(Version::V5_0);
    let props = vec![Property::ReceiveMaximum(ReceiveMaximum::new(2).unwrap())];
    talk.say(connect(Version::V5_0, DEVICE, None, props));
    talk.session.next_action();
    talk.hear();
    deliver(&mut talk, 1, true).unwrap();
    assert!(talk.session.has_room());
    deliver(&mut talk, 2, true).unwrap();
    assert!(!talk.session.has_room());
    deliver(&mut talk, 3, false).unwrap();
    let ids: Vec<_> = talk
        .hear()
        .iter()
        .map(|packet| {
            let Packet::V5_0Publish(it) = packet else {
                panic!("{packet}")
            };
            assert!(matches!(
                it.props()[..],
                [Property::SubscriptionIdentifier(_)]
            ));
            it.packet_id()
        })
        .collect();
    assert_eq!(ids.len(), 3);
    assert_eq!(ids[2], None);
    let second = ids[1].unwrap().to_be_bytes();
    talk.bytes(&[0x40, 2, second[0], second[1]]);
    assert!(matches!(talk.session.next_action(), Some(Action::Acked(tag)) if tag == message(2).1));
    assert!(talk.session.has_room());
}

#[test]
fn a_message_larger_than_the_client_takes_is_skipped() {
    use mqtt_protocol_core::mqtt::packet::MaximumPacketSize;
    let mut talk = Talk::fresh(Version::V5_0);
    let props = vec![Property::MaximumPacketSize(
        MaximumPacketSize::new(24).unwrap(),
    )];
    talk.bytes(&connect(Version::V5_0, DEVICE, None, props).to_continuous_buffer());
    talk.session.output().clear();
    for n in 1..200_000 {
        // Packet ids would run out if skipped messages kept theirs.
        if n > 70_000 {
            break;
        }
        let (_, tag) = message(n);
        let sent = talk.session.publish(Message {
            topic: "sync/a/events",
            payload: &[0; 20],
            at_least_once: true,
            retain: false,
            identifiers: &[],
            tag: Some(&tag),
        });
        assert_eq!(sent, Err(NotSent::TooLarge));
    }
    assert!(talk.session.output().is_empty() && talk.session.has_room());
}

#[test]
fn an_acknowledgement_of_nothing_breaks_the_protocol() {
    for version in BOTH {
        let mut talk = Talk::connected(version);
        talk.bytes(&[0x40, 2, 0, 77]);
        assert!(matches!(talk.end(), EndReason::Broken(_)));
        assert_eq!(talk.hear().len(), usize::from(version == Version::V5_0));
    }
}

#[test]
fn a_packet_over_the_limit_ends_the_session_before_it_is_read() {
    let mut talk = Talk::fresh(Version::V5_0);
    talk.bytes(&[0x10, 0xff, 0xff, 0x7f]);
    assert!(matches!(talk.end(), EndReason::Broken(_)));
    let mut talk = Talk::connected(Version::V5_0);
    talk.bytes(&[0x30, 0xff, 0xff, 0x7f]);
    let packets = talk.hear();
    let [Packet::V5_0Disconnect(it)] = &packets[..] else {
        panic!("{packets:?}")
    };
    assert_eq!(it.reason_code(), Some(DisconnectReasonCode::PacketTooLarge));
}

proptest! {
    #[test]
    fn g10_no_bytes_make_a_session_panic(
        version in prop::sample::select(BOTH.to_vec()),
        connected in any::<bool>(),
        packets in prop::collection::vec(
            (0u8..=255, prop::collection::vec(any::<u8>(), 0..40)), 0..12),
        cut in 1usize..30,
    ) {
        let mut talk = if connected { Talk::connected(version) } else { Talk::fresh(version) };
        let mut bytes = Vec::new();
        for (first, body) in &packets {
            bytes.extend([*first, body.len() as u8]);
            bytes.extend(body);
        }
        for part in bytes.chunks(cut) {
            talk.bytes(part);
            while let Some(action) = talk.session.next_action() {
                match action {
                    Action::Submit { ticket, .. } => talk.session.answer(ticket, saved(1)),
                    Action::Report(_) => talk.session.reported(),
                    Action::Subscribe { packet_id, requests } => {
                        let verdicts = vec![Verdict::BadFilter; requests.len()];
                        talk.session.subscribed(packet_id, &verdicts);
                    }
                    Action::Unsubscribe { packet_id, filters } => {
                        talk.session.unsubscribed(packet_id, &vec![false; filters.len()]);
                    }
                    _ => {}
                }
            }
        }
    }
}
