//! QoS 2 both ways.

use super::*;
use crate::edge::ordinary::Slip;
use crate::store::sessions::QueueNumber;

fn pubrel(id: u8) -> [u8; 4] {
    [0x62, 2, 0, id]
}

/// The first byte and the packet id of what was sent, and the reason code if it has one.
fn heard(talk: &mut Talk) -> Vec<(u8, u16, u8)> {
    let mut output = talk.session.output().split();
    let mut packets = Vec::new();
    while !output.is_empty() {
        let packet = output.split_to(2 + usize::from(output[1]));
        let id = u16::from_be_bytes([packet[2], packet[3]]);
        packets.push((packet[0], id, packet.get(4).copied().unwrap_or(0)));
    }
    packets
}

#[test]
fn g1_a_pubrec_waits_for_the_event_and_a_repeat_is_not_taken_again() {
    for version in BOTH {
        let mut talk = Talk::connected(version);
        let event = event(None);
        let publish = publish(version, "sync/a/events", &event, Qos::ExactlyOnce, Some(7));
        let bytes = publish.to_continuous_buffer();
        talk.bytes(&bytes);
        talk.bytes(&bytes);
        let tickets = talk.tickets();
        assert_eq!((tickets.len(), heard(&mut talk)), (1, vec![]));
        talk.session.answer(tickets[0], saved(1));
        assert_eq!(heard(&mut talk), [(0x50, 7, 0)]);
        talk.bytes(&bytes);
        assert_eq!(
            (talk.tickets().len(), heard(&mut talk)),
            (0, vec![(0x50, 7, 0)])
        );
        talk.bytes(&pubrel(7));
        assert!(matches!(talk.next_action(), Some(Action::Release(7))));
        assert_eq!(
            heard(&mut talk),
            [],
            "its packet id is not free on disk yet"
        );
        talk.session.released(7);
        assert_eq!(heard(&mut talk), [(0x70, 7, 0)]);
        talk.bytes(&bytes);
        assert_eq!(talk.tickets().len(), 1, "the packet id is new again");
    }
}

#[test]
fn g10_a_pubrel_that_comes_again_and_again_is_one_wish() {
    for version in BOTH {
        let mut talk = Talk::connected(version);
        let publish = publish(
            version,
            "sync/a/events",
            &event(None),
            Qos::ExactlyOnce,
            Some(7),
        );
        talk.bytes(&publish.to_continuous_buffer());
        let tickets = talk.tickets();
        talk.session.answer(tickets[0], saved(1));
        heard(&mut talk);
        for _ in 0..9 {
            talk.bytes(&pubrel(7));
        }
        let wishes = std::iter::from_fn(|| talk.next_action());
        assert_eq!(
            wishes.filter(|it| matches!(it, Action::Release(7))).count(),
            1
        );
    }
}

#[test]
fn a_refused_publish_is_over_with_its_pubrec_at_v5() {
    for version in BOTH {
        let mut talk = Talk::connected(version);
        talk.publish("sync/a/state", b"", Qos::ExactlyOnce, Some(7));
        let code = match version {
            Version::V5_0 => 0x90,
            _ => {
                talk.session.reported();
                0
            }
        };
        assert_eq!(heard(&mut talk), [(0x50, 7, code)]);
        talk.tickets();
        talk.bytes(&pubrel(7));
        let released = matches!(talk.next_action(), Some(Action::Release(7)));
        assert_eq!(released, version != Version::V5_0);
        let unknown = if released {
            vec![]
        } else {
            vec![(0x70, 7, 0x92)]
        };
        assert_eq!(heard(&mut talk), unknown);
    }
}

fn delivery(packet_id: Option<u16>, slip: Slip) -> Message<'static> {
    Message {
        packet_id,
        again: packet_id.is_some(),
        cargo: Some(Cargo::Ordinary(slip)),
        ..plain("t", b"1", 2)
    }
}

#[test]
fn a_delivery_is_released_after_it_is_remembered() {
    for version in BOTH {
        let mut talk = Talk::connected(version);
        let slip = Slip::Queued(QueueNumber(3));
        talk.session.publish(delivery(Some(0x8002), slip)).unwrap();
        let packets = talk.hear();
        let dup = match &packets[..] {
            [Packet::V3_1_1Publish(it)] => (it.packet_id(), it.dup()),
            [Packet::V5_0Publish(it)] => (it.packet_id(), it.dup()),
            other => panic!("{other:?}"),
        };
        assert_eq!(dup, (Some(0x8002), true));
        talk.bytes(&[0x50, 2, 0x80, 2]);
        let Some(Action::Received {
            packet_id,
            slip: of,
        }) = talk.next_action()
        else {
            panic!()
        };
        assert_eq!((packet_id, of), (0x8002, slip));
        assert_eq!(heard(&mut talk), []);
        talk.session.release(packet_id);
        assert_eq!(heard(&mut talk), [(0x62, 0x8002, 0)]);
        talk.bytes(&[0x70, 2, 0x80, 2]);
        assert!(matches!(
            talk.next_action(),
            Some(Action::Completed(0x8002))
        ));
    }
}

#[test]
fn a_pubrec_with_an_error_ends_the_exchange() {
    let mut talk = Talk::connected(Version::V5_0);
    let slip = Slip::Loose(1);
    talk.session.publish(delivery(None, slip)).unwrap();
    talk.hear();
    talk.bytes(&[0x50, 3, 0, 1, 0x83]);
    assert!(matches!(talk.next_action(), Some(Action::Arrived(it)) if it == slip));
    assert_eq!(heard(&mut talk), []);
    talk.session.publish(delivery(None, slip)).unwrap();
    assert!(!talk.session.output().is_empty(), "the packet id is free");
}

#[test]
fn exchanges_of_an_earlier_connection_go_on() {
    for (version, props) in [
        (Version::V3_1_1, vec![]),
        (Version::V5_0, vec![]),
        (
            Version::V5_0,
            vec![Property::ReceiveMaximum(ReceiveMaximum::new(2).unwrap())],
        ),
    ] {
        let mut talk = Talk::fresh(version);
        talk.bytes(&connect(version, DEVICE, None, props).to_continuous_buffer());
        talk.open(true);
        talk.session.output().clear();
        talk.session.resume(&[5], &[0x8001, 0x8004]);
        assert_eq!(heard(&mut talk), [(0x62, 0x8001, 0), (0x62, 0x8004, 0)]);
        talk.bytes(&[0x70, 2, 0x80, 1]);
        talk.bytes(&[0x70, 2, 0x80, 4]);
        assert!(matches!(
            talk.next_action(),
            Some(Action::Completed(0x8001))
        ));
        assert!(matches!(
            talk.next_action(),
            Some(Action::Completed(0x8004))
        ));
        let event = event(None);
        let again = publish(version, "sync/a/events", &event, Qos::ExactlyOnce, Some(5));
        talk.bytes(&again.to_continuous_buffer());
        assert_eq!(
            (talk.tickets().len(), heard(&mut talk)),
            (0, vec![(0x50, 5, 0)])
        );
        assert!(talk.session.ended().is_none());
    }
}

#[test]
fn exchanges_of_an_earlier_connection_wait_until_the_client_takes_more() {
    let props = vec![Property::ReceiveMaximum(ReceiveMaximum::new(1).unwrap())];
    let mut talk = Talk::fresh(Version::V5_0);
    let connect = connect(Version::V5_0, DEVICE, None, props);
    talk.bytes(&connect.to_continuous_buffer());
    talk.open(true);
    talk.session.output().clear();
    talk.session.resume(&[], &[0x8001, 0x8004]);
    assert_eq!(heard(&mut talk), [(0x62, 0x8001, 0)]);
    talk.bytes(&[0x70, 2, 0x80, 1]);
    assert_eq!(heard(&mut talk), [(0x62, 0x8004, 0)]);
    assert!(!talk.session.has_room());
    talk.bytes(&[0x70, 2, 0x80, 4]);
    assert!(talk.session.has_room());
}

#[test]
fn mqtt_4_3_3_4_a_pubrec_with_any_code_below_0x80_is_followed_by_its_pubrel() {
    let mut talk = Talk::connected(Version::V5_0);
    for _ in 0..3 {
        let id = sent(&mut talk, 1);
        talk.session.output().clear();
        talk.bytes(&[0x50, 3, 0, id, 0x10]);
        assert_eq!(heard(&mut talk), [(0x62, u16::from(id), 0)]);
        talk.bytes(&[0x70, 2, 0, id]);
        assert!(talk.session.ended().is_none() && talk.session.has_room());
    }
}

#[test]
fn mqtt_4_3_3_10_a_publish_that_is_being_refused_does_not_begin_again() {
    let mut talk = Talk::connected(Version::V3_1_1);
    let refused = publish(
        Version::V3_1_1,
        "sync/a/events",
        b"no event",
        Qos::ExactlyOnce,
        Some(7),
    );
    let bytes = refused.to_continuous_buffer();
    talk.bytes(&[&bytes[..], &bytes].concat());
    let reports = std::iter::from_fn(|| talk.next_action()).count();
    assert_eq!(reports, 1);
    talk.session.reported();
    assert_eq!(heard(&mut talk), [(0x50, 7, 0)]);
    assert!(talk.next_action().is_none());
}

/// A delivery at QoS 2 that is in no queue; its packet id.
fn sent(talk: &mut Talk, n: u64) -> u8 {
    let id = talk.session.publish(Message {
        cargo: Some(Cargo::Ordinary(Slip::Loose(n))),
        ..plain("news", b"x", 2)
    });
    u8::try_from(id.unwrap().unwrap()).unwrap()
}
