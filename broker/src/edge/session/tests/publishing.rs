//! What clients publish and how it is answered.

use super::*;
use crate::edge::counters::Count;

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
            assert!(matches!(talk.next_action(), Some(Action::Report(_))));
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
    let Answer::Event(Outcome::Saved { seq, receipt }) = saved(12) else {
        panic!()
    };
    talk.session
        .answer(tickets[1], Answer::Event(Outcome::Repeat { seq, receipt }));
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
            "sync",
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
    let Some(Action::Report(notice)) = talk.next_action() else {
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
    assert!(matches!(talk.next_action(), Some(Action::Report(_))));
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
        talk.session.answer(tickets[1], Answer::Event(failed));
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
fn g10_a_publisher_is_not_read_beyond_the_receive_maximum() {
    for version in [Version::V3_1_1, Version::V5_0] {
        let mut talk = Talk::connected(version);
        let packet = |id| {
            let packet = publish(
                version,
                "sync/a/events",
                &event(None),
                Qos::AtLeastOnce,
                Some(id),
            );
            packet.to_continuous_buffer()
        };
        let mut input: BytesMut = (1..=6).flat_map(packet).collect();
        talk.read(&mut input);
        let tickets = talk.tickets();
        assert_eq!(tickets.len(), 4);
        assert!(!talk.session.wants_input() && !input.is_empty());
        talk.session.answer(tickets[0], saved(1));
        talk.read(&mut input);
        assert_eq!(talk.tickets().len(), 1);
        assert!(talk.session.ended().is_none());
    }
}

/// A client that may publish two messages per second.
fn paced(version: Version) -> Talk {
    let publish = PublishOptions {
        messages_per_s: 2,
        ..PublishOptions::default()
    };
    let options = SessionOptions {
        publish,
        receive_maximum: 64,
        ..options()
    };
    let mut talk = Talk::with(version, options);
    talk.say(connect(version, DEVICE, None, vec![]));
    talk.open(false);
    talk.hear();
    talk
}

#[test]
fn g10_who_publishes_too_fast_gets_acknowledgements_late_and_answers_to_pings_at_once() {
    for version in [Version::V3_1_1, Version::V5_0] {
        let mut talk = paced(version);
        let event = event(None);
        for id in 1..=3 {
            talk.publish("sync/a/events", &event, Qos::AtLeastOnce, Some(id));
        }
        let tickets = talk.tickets();
        assert_eq!(tickets.len(), 3, "all were taken");
        for (seq, ticket) in (1..).zip(tickets) {
            talk.session.answer(ticket, saved(seq));
        }
        assert!(talk.hear().is_empty());
        talk.bytes(&[0xc0, 0]);
        assert!(matches!(
            talk.hear()[..],
            [Packet::V3_1_1Pingresp(_) | Packet::V5_0Pingresp(_)]
        ));
        assert!(talk.session.wants_input());
        talk.now += Duration::from_millis(500);
        assert_eq!(talk.session.next_timeout(), Some(talk.now));
        talk.session.tick(talk.now);
        assert_eq!(talk.hear().len(), 3);
    }
}

#[test]
fn g10_who_publishes_far_too_fast_is_not_read_for_less_than_half_its_keep_alive() {
    for version in [Version::V3_1_1, Version::V5_0] {
        let mut talk = paced(version);
        for _ in 0..40 {
            let packet = publish(version, "a", b"x", Qos::AtMostOnce, None);
            talk.bytes(&packet.to_continuous_buffer());
        }
        let traffic = talk.session.take_traffic();
        assert_eq!(
            (traffic.publish_in, traffic.unread),
            (5, 1),
            "the rest waits"
        );
        assert!(!talk.session.wants_input());
        let begin = talk.now;
        while !talk.session.wants_input() {
            talk.now = talk.session.next_timeout().unwrap();
            talk.session.tick(talk.now);
        }
        assert!(talk.session.ended().is_none());
        assert_eq!(talk.now - begin, Duration::from_millis(500));
    }
}

#[test]
fn g10_a_connection_too_many_is_told_so() {
    for version in [Version::V3_1_1, Version::V5_0] {
        for (crowded, v5) in [
            (Crowded::Address, ConnectReasonCode::QuotaExceeded),
            (Crowded::Rate, ConnectReasonCode::ConnectionRateExceeded),
        ] {
            let mut talk = Talk::fresh(version);
            talk.session.refuse_with(crowded, talk.now);
            talk.say(connect(version, DEVICE, None, vec![]));
            match &talk.hear()[..] {
                [Packet::V3_1_1Connack(it)] => {
                    assert_eq!(it.return_code(), ConnectReturnCode::ServerUnavailable);
                }
                [Packet::V5_0Connack(it)] => assert_eq!(it.reason_code(), v5),
                other => panic!("{other:?}"),
            }
            assert!(matches!(talk.end(), EndReason::Refused(..)));
        }
    }
}

#[test]
fn g10_a_connection_too_many_that_says_nothing_is_counted_as_that() {
    for (crowded, count) in [
        (Crowded::Address, Count::ConnectQuota),
        (Crowded::Rate, Count::ConnectRate),
    ] {
        let mut silent = Talk::fresh(Version::V5_0);
        silent.session.refuse_with(crowded, silent.now);
        silent.now = silent.session.next_timeout().unwrap();
        silent.session.tick(silent.now);
        let mut lost = Talk::fresh(Version::V5_0);
        lost.session.refuse_with(crowded, lost.now);
        lost.session.end(EndReason::Lost);
        for talk in [silent, lost] {
            assert_eq!(talk.end().count(), Some(count));
        }
    }
}
