//! Subscriptions, and what is sent to the client.

use super::*;

#[test]
fn view_8_filters_are_answered_one_by_one() {
    for version in BOTH {
        let mut talk = Talk::connected(version);
        let filters = [
            "sync/a/events",
            "$share/g/sync/a/events",
            "$at/1/sync/+/state",
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
        }) = talk.next_action()
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
        let granted = Verdict::Granted { qos: 1 };
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
fn topic_6_filters_outside_sync_are_granted_up_to_qos_2_and_those_under_it_up_to_1() {
    for version in BOTH {
        let mut talk = Talk::connected(version);
        let filters = ["home/lamp", "+/lamp", "#", "$SYS/broker/uptime", "sync/#"];
        talk.bytes(&subscribe(version, 3, &filters));
        let Some(Action::Subscribe { requests, .. }) = talk.next_action() else {
            panic!()
        };
        let most = requests.iter().map(|it| it.as_ref().unwrap().qos.max(1));
        assert_eq!(most.collect::<Vec<_>>(), [1; 5], "as they were asked");
        talk.session
            .subscribed(3, &[2, 1, 0].map(|qos| Verdict::Granted { qos }));
        let output = &talk.session.output()[..];
        assert_eq!(output[output.len() - 3..], [2, 1, 0]);
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
    let Some(Action::Unsubscribe { packet_id, filters }) = talk.next_action() else {
        panic!()
    };
    let names: Vec<_> = filters
        .iter()
        .map(|it| it.as_ref().map(Filter::as_str))
        .collect();
    assert_eq!(names, [Some("sync/a/events"), Some("sync/b/events"), None]);
    assert!(!talk.session.wants_input(), "G10: one at a time");
    talk.session.unsubscribed(packet_id, &[true, false, false]);
    assert_eq!(
        &talk.session.output()[..],
        [0xb0, 6, 0, 4, 0, 0, 0x11, 0x11]
    );
    assert!(talk.session.wants_input());
}

#[test]
fn the_clients_receive_maximum_is_kept_and_acknowledgements_are_told() {
    let mut talk = Talk::fresh(Version::V5_0);
    let props = vec![Property::ReceiveMaximum(ReceiveMaximum::new(2).unwrap())];
    talk.say(connect(Version::V5_0, DEVICE, None, props));
    talk.open(false);
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
    assert!(matches!(talk.next_action(), Some(Action::Acked(tag)) if tag == message(2).1));
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
    talk.open(false);
    talk.session.output().clear();
    for n in 1..200_000 {
        // Packet ids would run out if skipped messages kept theirs.
        if n > 70_000 {
            break;
        }
        let (_, tag) = message(n);
        let sent = talk.session.publish(Message {
            cargo: Some(Cargo::Event(tag)),
            ..plain("sync/a/events", &[0; 20], 1)
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
