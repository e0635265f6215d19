//! What most tests begin with: a broker, clients, a few stars.

use std::net::SocketAddr;

use serde_json::Value;
use syncline_tests::star::Star;
use syncline_tests::wire::{Connect, Version, Wire};

pub(crate) const PHONE: &str = "11111111-1111-4111-8111-111111111111";
pub(crate) const LAPTOP: &str = "22222222-2222-4222-8222-222222222222";

/// A client of no particular device.
pub(crate) fn guest(broker: impl Into<SocketAddr>) -> Wire {
    Wire::connect(broker.into(), &Connect::new(Version::V5, "")).expect("CONNECT")
}

/// A device, known by its client id, which works at either version.
pub(crate) fn device(broker: impl Into<SocketAddr>, version: Version, uuid: &str) -> Wire {
    Wire::connect(broker.into(), &Connect::new(version, uuid)).expect("CONNECT")
}

/// A client that subscribed to one filter.
pub(crate) fn watcher(broker: impl Into<SocketAddr>, filter: &str) -> Wire {
    let mut wire = guest(broker);
    assert_eq!(wire.subscribe(filter).expect("SUBACK"), 1, "{filter}");
    wire
}

/// Stars `count` albums in a group; all of them are acknowledged.
pub(crate) fn stars(broker: impl Into<SocketAddr>, stream: &str, count: u64) {
    let mut wire = guest(broker);
    for at in 1..=count {
        star(&mut wire, stream, &format!("album-{at}"));
    }
}

/// Stars one album; the seq.
pub(crate) fn star(wire: &mut Wire, stream: &str, album: &str) -> u64 {
    let answer = wire.publish(&format!("{stream}/events"), Star::album(album).json());
    answer
        .expect("PUBACK")
        .seq()
        .expect("a success names its seq")
}

/// The numbers called `seq` of the next `count` messages, which are JSON.
pub(crate) fn seqs(wire: &mut Wire, count: usize) -> Vec<u64> {
    (0..count)
        .map(|_| number(&wire.message().expect("an event").json(), "seq"))
        .collect()
}

pub(crate) fn number(value: &Value, name: &str) -> u64 {
    value[name]
        .as_u64()
        .unwrap_or_else(|| panic!("{name} is no number in {value}"))
}
