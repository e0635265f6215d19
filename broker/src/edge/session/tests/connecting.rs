//! How sessions begin and end.

use super::*;

use mqtt_protocol_core::mqtt::packet::MaximumPacketSize;

#[test]
fn a_v5_connack_says_what_this_broker_does() {
    let mut talk = Talk::fresh(Version::V5_0);
    talk.say(connect(Version::V5_0, "", None, vec![]));
    let Some(Action::Open {
        client_id,
        identity,
        opening,
    }) = talk.next_action()
    else {
        panic!()
    };
    assert!(client_id == "auto-1" && !identity.given);
    assert_eq!(
        (opening.clean, opening.expiry_ms, opening.v5),
        (true, 0, true)
    );
    assert!(talk.hear().is_empty(), "its session is awaited");
    talk.session.opened(talk.now, false);
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
        "receive_maximum",
        "maximum_packet_size",
        "topic_alias_maximum",
        "assigned_client_identifier",
    ] {
        assert!(said.contains(name), "{name} in {said}");
    }
}

#[test]
fn a_client_that_takes_no_connack_is_closed() {
    let mut talk = Talk::fresh(Version::V5_0);
    let small = Property::MaximumPacketSize(MaximumPacketSize::new(10).unwrap());
    talk.say(connect(Version::V5_0, DEVICE, None, vec![small]));
    talk.open(false);
    assert!(matches!(talk.end(), EndReason::Refused(..)));
    assert!(talk.next_action().is_none());
}

#[test]
fn an_empty_client_id_at_3_1_1_needs_a_clean_session() {
    let mut talk = Talk::fresh(Version::V3_1_1);
    talk.say(connect(Version::V3_1_1, "", None, vec![]));
    assert!(matches!(talk.next_action(), Some(Action::Open { .. })));
    let mut talk = Talk::fresh(Version::V3_1_1);
    let connect = b"\x10\x0c\x00\x04MQTT\x04\x00\x00\x00\x00\x00";
    talk.bytes(connect);
    assert_eq!(
        &talk.session.output()[..],
        [0x20, 2, 0, ConnectReturnCode::IdentifierRejected as u8]
    );
    assert!(matches!(talk.end(), EndReason::Refused(..)));
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
    let Some(Action::Open { identity, .. }) = talk.next_action() else {
        panic!()
    };
    assert_eq!(identity.device.to_string(), OTHER);
    assert_eq!(identity.name.as_deref(), Some("Kitchen"));
    assert!(identity.given);
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
    assert!(matches!(talk.next_action(), Some(Action::Open { client_id, .. }) if client_id == "ü"));
    talk.session.opened(talk.now, false);
    assert_eq!(talk.session.next_timeout(), None);
    let mut talk = Talk::fresh(Version::V5_0);
    talk.session.tick(talk.now + Duration::from_secs(10));
    assert_eq!(talk.end(), &EndReason::NoConnect);
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
            "sync/a/state",
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
            assert!(matches!(talk.end(), EndReason::Refused(..)));
            assert!(talk.next_action().is_none());
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
            while let Some(action) = talk.next_action() {
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
