//! What happens when the disk does not keep what it is given (ANSWER-4, G1, G4).

use syncline_tests::star::Star;
use syncline_tests::wire::{Packet, Version, Wire};

use crate::inside::Inside;
use crate::scene::{PHONE, device, guest, seqs, star, watcher};

const EVENTS: &str = "sync/home/events";
const STORAGE_FAILED: u8 = 0x83;

fn numbered(at: u64) -> String {
    Star::album(&format!("album-{at}"))
        .from_device(PHONE, at)
        .json()
}

/// Whatever else came, no event of this connection was acknowledged, and the reason was told at 5.
fn ended_unacknowledged(wire: &mut Wire, version: Version) {
    let packets = wire.until_closed().unwrap();
    match (version, packets.as_slice()) {
        (Version::V311, []) => {}
        (Version::V5, [Packet::Disconnect { code, properties }]) => {
            assert_eq!(*code, STORAGE_FAILED);
            assert!(
                properties
                    .reason
                    .as_deref()
                    .unwrap()
                    .starts_with("storage_failed")
            );
        }
        _ => panic!("{version:?}: {packets:?}"),
    }
}

#[test]
fn answer_4_a_failed_commit_is_never_acknowledged_and_later_accepted_once() {
    for version in Version::BOTH {
        let inside = Inside::start(&[]);
        star(&mut guest(inside.mqtt()), "sync/home", "before");
        inside.faults.fail_before(1);
        let mut phone = device(inside.mqtt(), version, PHONE);
        phone.send(EVENTS, numbered(1)).unwrap();
        ended_unacknowledged(&mut phone, version);
        let mut phone = device(inside.mqtt(), Version::V5, PHONE);
        assert_eq!(phone.publish(EVENTS, numbered(1)).unwrap().seq(), Some(2));
        assert_eq!(
            phone.publish(EVENTS, numbered(1)).unwrap().repeat(),
            Some(2)
        );
    }
}

#[test]
fn answer_4_g4_a_commit_of_unknown_outcome_that_took_effect_is_a_repeat() {
    for version in Version::BOTH {
        let inside = Inside::start(&[]);
        inside.faults.fail_after(1);
        let mut phone = device(inside.mqtt(), version, PHONE);
        phone.send(EVENTS, numbered(1)).unwrap();
        ended_unacknowledged(&mut phone, version);
        let mut watcher = watcher(inside.mqtt(), "$json/$since/0/sync/home/events");
        assert_eq!(seqs(&mut watcher, 1), [1]);
        let mut phone = device(inside.mqtt(), Version::V5, PHONE);
        assert_eq!(
            phone.publish(EVENTS, numbered(1)).unwrap().repeat(),
            Some(1)
        );
        assert_eq!(phone.publish(EVENTS, numbered(2)).unwrap().seq(), Some(2));
        assert_eq!(seqs(&mut watcher, 1), [2], "shown once");
    }
}

#[test]
fn answer_4_nothing_later_of_the_connection_is_processed() {
    for version in Version::BOTH {
        let inside = Inside::start(&[]);
        inside.faults.hold();
        inside.faults.fail_before(1);
        let mut phone = device(inside.mqtt(), version, PHONE);
        phone.send(EVENTS, numbered(1)).unwrap();
        inside.faults.wait_until_held();
        for at in 2..=6 {
            phone.send(EVENTS, numbered(at)).unwrap();
        }
        inside.faults.release();
        ended_unacknowledged(&mut phone, version);
        // Had one of the later ones been taken, the earlier ones would be forks now.
        let mut phone = device(inside.mqtt(), Version::V5, PHONE);
        for at in 1..=6 {
            assert_eq!(
                phone.publish(EVENTS, numbered(at)).unwrap().seq(),
                Some(at),
                "{version:?}"
            );
        }
    }
}

#[test]
fn g10_a_failed_commit_of_one_does_not_end_the_others() {
    let inside = Inside::start(&[]);
    let mut others = guest(inside.mqtt());
    star(&mut others, "sync/home", "before");
    inside.faults.fail_before(1);
    let mut phone = device(inside.mqtt(), Version::V5, PHONE);
    phone.send(EVENTS, numbered(1)).unwrap();
    ended_unacknowledged(&mut phone, Version::V5);
    assert_eq!(star(&mut others, "sync/home", "after"), 2);
}

#[test]
fn g1_a_failed_sync_ends_the_broker_and_acknowledges_nothing() {
    let mut inside = Inside::start(&[]);
    inside.faults.fail_sync(1);
    let mut phone = device(inside.mqtt(), Version::V5, PHONE);
    phone.send(EVENTS, numbered(1)).unwrap();
    let error = inside.failed().to_string();
    assert!(error.contains("disk"), "{error}");
    drop(inside);
    let packets = phone.until_closed().unwrap();
    assert!(
        !packets.iter().any(|p| matches!(p, Packet::PubAck { .. })),
        "{packets:?}"
    );
}
