//! States that are too large for one packet (SNAP-8).

use syncline_protocol::Snapshot;
use syncline_tests::broker::{Broker, Setup};
use syncline_tests::star::Star;
use syncline_tests::wire::{Connect, Packet, Version, Wire};

use crate::follower::{Follower, Heard};
use crate::horizon::now;
use crate::scene::{guest, star};

const ALBUMS: u64 = 120;

fn broker() -> Broker {
    let broker = Setup::new()
        .variable("SYNCLINE__LIMITS__STATE_PART_BYTES", "8192")
        .start();
    let mut author = guest(&broker);
    for at in 1..=ALBUMS {
        star(&mut author, "sync/home", &format!("album-{at}"));
    }
    broker
}

fn small(broker: &Broker, bytes: u32) -> Wire {
    let connect = Connect::new(Version::V5, "").maximum_packet_size(bytes);
    Wire::connect(broker.mqtt(), &connect).unwrap()
}

/// Hears until a state is whole; of how many parts it was, and whether all of them were retained.
fn whole(wire: &mut Wire, follower: &mut Follower, bytes_max: usize) -> (Snapshot, usize, bool) {
    let (mut parts, mut retained) = (0, true);
    loop {
        let message = wire.message().unwrap();
        assert_eq!(
            message.topic, "sync/home/state",
            "nothing comes between parts"
        );
        assert!(message.payload.len() <= bytes_max);
        parts += 1;
        retained &= message.retain;
        if let Heard::State(state) = follower.hear(&message) {
            return (*state, parts, retained);
        }
    }
}

#[test]
fn snap_8_states_come_in_parts_that_fit_the_client_whatever_brings_them() {
    let broker = broker();
    let expected = now(&broker, "sync/home").digest;
    let filters = [
        "sync/home/state",
        "$json/sync/home/state",
        "$json/sync/+/state",
        "$since/0-0/sync/home/events",
        "$json/$since/0-0/sync/home/events",
        "$at/120/sync/home/state",
    ];
    for filter in filters {
        let mut wire = small(&broker, 2_048);
        assert_eq!(wire.subscribe(filter).unwrap(), 1);
        let mut follower = Follower::new();
        let (state, parts, retained) = whole(&mut wire, &mut follower, 2_048);
        assert!(parts > 3 && retained, "{filter}: {parts}");
        assert_eq!(
            (state.digest, follower.digest()),
            (expected, expected),
            "{filter}"
        );
        assert_eq!(state.mark.is_some(), filter.contains("0-0"), "{filter}");
        assert_eq!(state.collections["albums"].len() as u64, ALBUMS);
    }
    let mut live = small(&broker, 2_048);
    assert_eq!(live.subscribe("sync/home/state").unwrap(), 1);
    let mut follower = Follower::new();
    whole(&mut live, &mut follower, 2_048);
    let seq = star(&mut guest(&broker), "sync/home", "one more");
    let (state, parts, retained) = whole(&mut live, &mut follower, 2_048);
    assert_eq!((state.seq.get(), parts > 3, retained), (seq, true, false));
}

#[test]
fn snap_8_the_brokers_own_limit_holds_for_clients_that_have_none() {
    let broker = broker();
    for version in Version::BOTH {
        let mut wire = Wire::connect(broker.mqtt(), &Connect::new(version, "")).unwrap();
        assert_eq!(wire.subscribe("sync/home/state").unwrap(), 1);
        let (_, parts, _) = whole(&mut wire, &mut Follower::new(), 8_192);
        assert!((2..6).contains(&parts), "{parts}");
    }
}

#[test]
fn snap_8_a_single_entry_that_does_not_fit_ends_the_connection() {
    let broker = broker();
    star(&mut guest(&broker), "sync/home", &"long".repeat(1_000));
    for filter in ["sync/home/state", "$since/0-0/sync/home/events"] {
        let mut wire = small(&broker, 2_048);
        wire.subscribe(filter).unwrap();
        let last = wire.until_closed().unwrap().pop();
        assert!(
            matches!(last, Some(Packet::Disconnect { code: 0x95, .. })),
            "{filter}: {last:?}"
        );
    }
    let event = Star::album("x").json();
    let answer = guest(&broker).publish("sync/home/events", event);
    assert_eq!(answer.unwrap().code, 0, "nobody else minds");
}
