//! Ordinary messages in and out, their answers and their wills.

use super::*;
use mqtt_protocol_core::mqtt::packet::{
    ContentType, MessageExpiryInterval, TopicAlias, WillDelayInterval,
};

use crate::store::sessions::Message as Ordinary;

fn post(talk: &mut Talk) -> (Ticket, Posting, Option<u16>) {
    match talk.next_action() {
        Some(Action::Post {
            ticket,
            posting,
            exactly_once,
        }) => (ticket, posting, exactly_once),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_publish_is_passed_on_with_its_properties() {
    let mut talk = Talk::connected(Version::V5_0);
    let properties = vec![
        Property::MessageExpiryInterval(MessageExpiryInterval::new(9).unwrap()),
        Property::ContentType(ContentType::new("text").unwrap()),
        Property::TopicAlias(TopicAlias::new(2).unwrap()),
        Property::UserProperty(UserProperty::new("a", "b").unwrap()),
    ];
    let packet = v5_0::Publish::builder().topic_name("t/u").unwrap();
    let packet = packet.qos(Qos::ExactlyOnce).packet_id(3).retain(true);
    let packet = packet.payload(b"x").props(properties).build().unwrap();
    talk.bytes(&packet.to_continuous_buffer());
    let (_, posting, exactly_once) = post(&mut talk);
    assert_eq!((posting.expiry_s, exactly_once), (Some(9), Some(3)));
    let Ordinary {
        topic,
        payload,
        qos,
        retain,
        properties,
        expires_at,
    } = posting.message;
    assert_eq!(
        (topic.as_str(), &payload[..], qos, retain),
        ("t/u", &b"x"[..], 2, true)
    );
    assert_eq!(&properties[..], b"\x03\0\x04text\x26\0\x01a\0\x01b");
    assert_eq!(expires_at, None, "who passes it on knows the time");
    // The alias stands for the topic from here on.
    talk.bytes(&[0x30, 6, 0, 0, 3, 0x23, 0, 2]);
    assert_eq!(post(&mut talk).1.message.topic, "t/u");
}

#[test]
fn what_came_of_a_publish_is_told() {
    for (answer, v5) in [
        (Answer::Taken { matched: true }, 0),
        (Answer::Taken { matched: false }, 0x10),
        (Answer::Full("no room"), 0x97),
    ] {
        let answer = || match &answer {
            Answer::Taken { matched } => Answer::Taken { matched: *matched },
            _ => Answer::Full("no room"),
        };
        for version in BOTH {
            let mut talk = Talk::connected(version);
            talk.publish("t", b"x", Qos::AtLeastOnce, Some(4));
            let (ticket, ..) = post(&mut talk);
            talk.session.answer(ticket, answer());
            let code = match &talk.hear()[..] {
                [Packet::V5_0Puback(it)] => it.reason_code().map_or(0, |it| it as u8),
                [Packet::V3_1_1Puback(_)] => 0,
                other => panic!("{other:?}"),
            };
            assert_eq!(code, if version == Version::V5_0 { v5 } else { 0 });
        }
    }
}

#[test]
fn a_message_that_the_disk_did_not_take_is_not_acknowledged() {
    for version in BOTH {
        let mut talk = Talk::connected(version);
        talk.publish("t", b"x", Qos::AtLeastOnce, Some(4));
        let (ticket, ..) = post(&mut talk);
        talk.session
            .answer(ticket, Answer::NotKept("no".to_owned()));
        assert!(matches!(talk.end(), EndReason::Transient { .. }));
        let closed = usize::from(version == Version::V5_0);
        assert_eq!(talk.hear().len(), closed, "a DISCONNECT at v5, no PUBACK");
    }
}

#[test]
fn topics_under_dollar_are_not_published() {
    for topic in ["$SYS/broker/uptime", "$x", "sync"] {
        let mut talk = Talk::connected(Version::V5_0);
        talk.publish(topic, b"x", Qos::AtLeastOnce, Some(4));
        let [Packet::V5_0Puback(it)] = &talk.hear()[..] else {
            panic!()
        };
        assert_eq!(it.reason_code(), Some(PubackReasonCode::TopicNameInvalid));
    }
}

#[test]
fn topic_7_a_share_is_granted_on_ordinary_topics_alone() {
    for version in BOTH {
        let mut talk = Talk::connected(version);
        let filters = [
            "$share/g/a/#",
            "$share/g/#",
            "$share/g/sync/#",
            "$share/g/$SYS/#",
        ];
        talk.bytes(&subscribe(version, 3, &filters));
        let Some(Action::Subscribe { requests, .. }) = talk.next_action() else {
            panic!()
        };
        let refused: Vec<_> = requests
            .iter()
            .map(|it| it.as_ref().err().copied())
            .collect();
        let bad = Some(Verdict::BadFilter);
        assert_eq!(refused, [None, None, bad, bad]);
    }
}

#[test]
fn no_local_on_a_share_breaks_the_protocol() {
    let mut talk = Talk::connected(Version::V5_0);
    talk.bytes(b"\x82\x10\0\x03\0\0\x0a$share/g/a\x05");
    assert_eq!(talk.end(), &EndReason::OutOfPlace);
}

#[test]
fn a_will_is_handed_over_with_its_delay_and_properties() {
    let mut talk = Talk::fresh(Version::V5_0);
    let properties = vec![
        Property::WillDelayInterval(WillDelayInterval::new(30).unwrap()),
        Property::ContentType(ContentType::new("text").unwrap()),
        Property::UserProperty(UserProperty::new("device", OTHER).unwrap()),
    ];
    let packet = v5_0::Connect::builder().client_id("c").unwrap();
    let packet = packet
        .will_message("t/w", b"gone", Qos::ExactlyOnce, true)
        .unwrap();
    let packet = packet.will_props(properties).build().unwrap();
    talk.bytes(&packet.to_continuous_buffer());
    talk.open(false);
    talk.session.end(EndReason::Lost);
    let Some(Action::Will(super::super::Will::Posting(posting, delay_s))) = talk.next_action()
    else {
        panic!()
    };
    let message = posting.message;
    assert_eq!(
        (delay_s, message.topic.as_str(), message.qos, message.retain),
        (30, "t/w", 2, true)
    );
    assert!(message.properties.starts_with(b"\x03\0\x04text"));
}

#[test]
fn a_topic_that_the_client_knows_by_a_number_is_not_written_again() {
    let mut talk = Talk::fresh(Version::V5_0);
    let aliases = mqtt_protocol_core::mqtt::packet::TopicAliasMaximum::new(1).unwrap();
    talk.say(connect(
        Version::V5_0,
        DEVICE,
        None,
        vec![Property::TopicAliasMaximum(aliases)],
    ));
    talk.open(false);
    talk.hear();
    let lengths: Vec<_> = ["a/long/topic", "a/long/topic", "other"]
        .into_iter()
        .map(|topic| {
            let message = plain(topic, b"", 0);
            talk.session.publish(message).unwrap();
            let length = talk.session.output().len();
            let [Packet::V5_0Publish(it)] = &talk.hear()[..] else {
                panic!()
            };
            assert_eq!(it.topic_name(), topic);
            length
        })
        .collect();
    assert_eq!(lengths, [2 + 2 + 12 + 1 + 3, 2 + 2 + 1 + 3, 2 + 2 + 5 + 1]);
}
