//! Sessions that outlive their connections: what a CONNECT and a DISCONNECT ask for.

use super::*;

use mqtt_protocol_core::mqtt::packet::SessionExpiryInterval;

fn expiry(seconds: u32) -> Vec<Property> {
    let property = SessionExpiryInterval::new(seconds).unwrap();
    vec![Property::SessionExpiryInterval(property)]
}

/// A CONNECT that does not start cleanly; at 5 with an interval.
fn connect_again(version: Version, seconds: Option<u32>) -> Packet {
    if version == Version::V5_0 {
        let builder = v5_0::Connect::builder().client_id(DEVICE).unwrap();
        let props = seconds.map(expiry).unwrap_or_default();
        return builder
            .clean_start(false)
            .props(props)
            .build()
            .unwrap()
            .into();
    }
    let builder = v3_1_1::Connect::builder().client_id(DEVICE).unwrap();
    builder.clean_session(false).build().unwrap().into()
}

fn connack(talk: &mut Talk) -> (bool, Option<u32>) {
    match &talk.hear()[..] {
        [Packet::V3_1_1Connack(it)] => (it.session_present(), None),
        [Packet::V5_0Connack(it)] => {
            let told = it.props().iter().find_map(|property| match property {
                Property::SessionExpiryInterval(it) => Some(it.val()),
                _ => None,
            });
            (it.session_present(), told)
        }
        other => panic!("{other:?}"),
    }
}

fn disconnect(talk: &mut Talk, props: Vec<Property>) {
    let packet = v5_0::Disconnect::builder()
        .reason_code(DisconnectReasonCode::NormalDisconnection)
        .props(props)
        .build()
        .unwrap();
    talk.bytes(&packet.to_continuous_buffer());
}

#[test]
fn session_1_how_long_a_session_is_kept_is_asked_for_bounded_and_told() {
    for (seconds, kept_ms, told) in [
        (None, 0, 0),
        (Some(7), 7_000, 7),
        (Some(5_000), 1_000_000, 1_000),
        (Some(u32::MAX), 1_000_000, 1_000),
    ] {
        let mut talk = Talk::fresh(Version::V5_0);
        talk.say(connect_again(Version::V5_0, seconds));
        let opening = talk.open(true);
        assert_eq!((opening.clean, opening.expiry_ms), (false, kept_ms));
        assert_eq!(connack(&mut talk), (true, Some(told)));
        assert_eq!(talk.session.expiry_ms(), kept_ms);
    }
    let mut talk = Talk::fresh(Version::V3_1_1);
    talk.say(connect_again(Version::V3_1_1, None));
    let opening = talk.open(true);
    assert_eq!(
        (opening.clean, opening.expiry_ms, opening.v5),
        (false, 1_000_000, false)
    );
    assert_eq!(connack(&mut talk), (true, None));
}

#[test]
fn nothing_is_read_before_the_session_is_there_and_it_must_come_in_time() {
    for version in BOTH {
        let mut talk = Talk::fresh(version);
        talk.say(connect_again(version, Some(9)));
        assert!(!talk.session.wants_input());
        talk.bytes(&[0xc0, 0]);
        assert!(talk.hear().is_empty());
        talk.session.tick(talk.now + Duration::from_secs(10));
        assert_eq!(talk.end(), &EndReason::NoConnect);
        talk.session.opened(talk.now, true);
        assert!(talk.hear().is_empty(), "it is too late");
    }
}

#[test]
fn a_session_that_cannot_be_had_is_refused() {
    for (why, v5) in [
        (NoSession::TooMany, ConnectReasonCode::QuotaExceeded),
        (
            NoSession::StorageFailed,
            ConnectReasonCode::ServerUnavailable,
        ),
    ] {
        for version in BOTH {
            let mut talk = Talk::fresh(version);
            talk.say(connect_again(version, Some(9)));
            talk.session.refused(why);
            match &talk.hear()[..] {
                [Packet::V5_0Connack(it)] => assert_eq!(it.reason_code(), v5),
                [Packet::V3_1_1Connack(it)] => {
                    assert_eq!(it.return_code(), ConnectReturnCode::ServerUnavailable);
                }
                other => panic!("{other:?}"),
            }
            assert!(matches!(talk.end(), EndReason::Refused(..)));
        }
    }
}

#[test]
fn a_goodbye_may_change_how_long_a_session_is_kept_but_not_that_it_is_not() {
    for (first, last, kept_ms, reason) in [
        (Some(9), Some(3), 3_000, EndReason::Goodbye),
        (Some(9), Some(0), 0, EndReason::Goodbye),
        (Some(9), Some(u32::MAX), 1_000_000, EndReason::Goodbye),
        (Some(9), None, 9_000, EndReason::Goodbye),
        (None, Some(0), 0, EndReason::Goodbye),
        (None, Some(3), 0, EndReason::OutOfPlace),
    ] {
        let mut talk = Talk::fresh(Version::V5_0);
        talk.say(connect_again(Version::V5_0, first));
        talk.open(false);
        disconnect(&mut talk, last.map(expiry).unwrap_or_default());
        assert_eq!(talk.end(), &reason, "{first:?} {last:?}");
        assert_eq!(talk.session.expiry_ms(), kept_ms, "{first:?} {last:?}");
    }
}

#[test]
fn what_was_sent_before_says_so_at_qos_1() {
    for version in BOTH {
        let mut talk = Talk::connected(version);
        for (at_least_once, again) in [(true, true), (true, false), (false, true)] {
            let (_, tag) = message(1);
            let sent = talk.session.publish(Message {
                again,
                cargo: Some(Cargo::Event(tag)),
                ..plain("sync/a/events", b"1", u8::from(at_least_once))
            });
            assert_eq!(sent.map(|id| id.is_some()), Ok(at_least_once));
            let dup = match &talk.hear()[..] {
                [Packet::V3_1_1Publish(it)] => it.dup(),
                [Packet::V5_0Publish(it)] => it.dup(),
                other => panic!("{other:?}"),
            };
            assert_eq!(dup, at_least_once && again);
        }
    }
}
