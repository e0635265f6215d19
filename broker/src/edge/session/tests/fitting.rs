//! What a client that takes small packets hears: the answer, without what makes it too large.

use super::*;

use crate::auth::Denied;
use mqtt_protocol_core::mqtt::packet::{MaximumPacketSize, TopicAliasMaximum};

/// A CONNACK that accepts fits, and little else that is said in words.
const SMALL: u32 = 25;

fn takes(bytes: Option<u32>) -> Vec<Property> {
    let bytes = bytes.map(|it| MaximumPacketSize::new(it).unwrap());
    bytes.map(Property::MaximumPacketSize).into_iter().collect()
}

fn connected(bytes: Option<u32>) -> Talk {
    let mut talk = Talk::fresh(Version::V5_0);
    talk.say(connect(Version::V5_0, DEVICE, None, takes(bytes)));
    talk.open(false);
    assert_eq!(talk.hear().len(), 1);
    talk
}

/// One answer, to a client with room for everything and to one with little.
fn answers(answer: impl Fn(&mut Talk)) -> [Packet; 2] {
    [None, Some(SMALL)].map(|bytes| {
        let mut talk = connected(bytes);
        answer(&mut talk);
        let length = talk.session.output().len();
        let packets: [Packet; 1] = talk.hear().try_into().unwrap();
        assert_eq!(bytes.is_some(), length <= SMALL as usize, "{packets:?}");
        let [packet] = packets;
        packet
    })
}

#[test]
fn mqtt_3_2_2_19_a_refusal_is_said_without_words_where_they_do_not_fit() {
    for bytes in [None, Some(SMALL)] {
        let mut talk = Talk::fresh(Version::V5_0);
        let packet = connect(Version::V5_0, DEVICE, None, takes(bytes));
        let packet = packet.to_continuous_buffer();
        talk.session
            .receive(talk.now, &mut BytesMut::from(&packet[..]));
        talk.session.authenticated(Err(Denied::BadCredentials));
        let output = talk.session.output();
        assert_eq!(output[..4], [0x20, output[1], 0, 0x86]);
        assert_eq!(output.len() <= SMALL as usize, bytes.is_some());
    }
}

#[test]
fn mqtt_3_4_2_3_an_acknowledgement_comes_without_its_seq_where_that_does_not_fit() {
    for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
        let told = answers(|talk| {
            talk.publish("sync/a/events", &event(None), qos, Some(7));
            let ticket = talk.tickets()[0];
            talk.session.answer(ticket, saved(1_000_000_000_000_000));
        });
        let props = told.map(|packet| match packet {
            Packet::V5_0Puback(it) => it.props().clone().unwrap_or_default().len(),
            Packet::V5_0Pubrec(it) => it.props().clone().unwrap_or_default().len(),
            other => panic!("{other}"),
        });
        assert_eq!(props, [1, 0], "{qos:?}");
    }
}

#[test]
fn mqtt_3_9_2_1_a_suback_comes_without_its_reason_where_that_does_not_fit() {
    let told = answers(|talk| {
        let entry = SubEntry::new("$at/9/sync/a/state", SubOpts::new()).unwrap();
        let subscribe = v5_0::Subscribe::builder().packet_id(3_u16);
        let subscribe = subscribe.entries(vec![entry]).build().unwrap();
        talk.client.register_packet_id(3).unwrap();
        talk.say(subscribe.into());
        let seq = |n| Seq::new(n).unwrap();
        let verdict = Verdict::NotKept {
            from: seq(1),
            to: seq(5),
        };
        talk.session.subscribed(3, &[verdict]);
    });
    for (packet, reasons) in told.iter().zip([1, 0]) {
        let Packet::V5_0Suback(it) = packet else {
            panic!("{packet}")
        };
        assert_eq!(it.props().len(), reasons);
        assert_eq!(it.reason_codes().len(), 1);
    }
}

#[test]
fn mqtt_3_14_2_3_a_disconnect_comes_without_its_reason_where_that_does_not_fit() {
    let told = answers(|talk| {
        let name = TransientName::StorageFailed;
        let reason = "there is no space left".to_owned();
        talk.session.end(EndReason::Transient { name, reason });
    });
    for (packet, reasons) in told.iter().zip([1, 0]) {
        let Packet::V5_0Disconnect(it) = packet else {
            panic!("{packet}")
        };
        assert_eq!(it.props().clone().unwrap_or_default().len(), reasons);
        assert!(it.reason_code().is_some());
    }
}

#[test]
fn mqtt_1_5_5_1_a_length_has_as_few_bytes_as_it_can() {
    // Two bytes of packet id, one of properties, and a code for each filter.
    let lengths: [(usize, &[u8]); 4] = [
        (127, &[0x7f]),
        (128, &[0x80, 0x01]),
        (16_383, &[0xff, 0x7f]),
        (16_384, &[0x80, 0x80, 0x01]),
    ];
    for (length, bytes) in lengths {
        let mut talk = connected(None);
        let verdicts = vec![Verdict::Granted { qos: 1 }; length - 3];
        talk.session.subscribed(3, &verdicts);
        let output = &talk.session.output()[..];
        assert_eq!(output.len(), 1 + bytes.len() + length);
        assert_eq!(output[1..=bytes.len()], *bytes);
    }
}

#[test]
fn mqtt_3_1_2_24_a_message_that_fits_is_not_made_too_large_by_an_alias() {
    let mut props = takes(Some(40));
    props.extend(TopicAliasMaximum::new(5).map(Property::TopicAliasMaximum));
    let mut talk = Talk::fresh(Version::V5_0);
    talk.say(connect(Version::V5_0, DEVICE, None, props));
    talk.open(false);
    talk.hear();
    for (bytes, with_alias) in [(31, false), (28, true), (31, true)] {
        let sent = talk.session.publish(plain("news", &vec![b'x'; bytes], 0));
        assert_eq!(sent, Ok(None));
        let output = talk.session.output().split();
        assert!(output.len() <= 40 && output.ends_with(b"x"));
        assert_eq!(output.contains(&0x23), with_alias, "{output:?}");
    }
}
