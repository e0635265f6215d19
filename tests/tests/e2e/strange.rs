//! Bytes that nobody wants must not disturb anybody (G10).

use std::io::Write;
use std::net::TcpStream;

use syncline_tests::broker::Broker;
use syncline_tests::dice::Dice;
use syncline_tests::http;
use syncline_tests::star::Star;
use syncline_tests::wire::{Connect, Version, Wire};

use crate::scene::{guest, seqs, star, watcher};

/// A witness sees the next event, a newcomer is served, and the broker calls itself ready.
fn others_are_served(broker: &Broker, witness: &mut Wire, seq: u64) {
    assert_eq!(
        star(&mut guest(broker), "sync/home", &format!("album-{seq}")),
        seq
    );
    assert_eq!(seqs(witness, 1), [seq]);
    assert_eq!(http::get(broker.http(), "/readyz").unwrap().status, 200);
}

#[test]
fn g10_topics_and_filters_outside_ascii_change_nothing_for_others() {
    let broker = Broker::start();
    let mut witness = watcher(&broker, "$json/sync/home/events");
    let names = [
        "émission",
        "über/alles",
        "日本/x",
        "\u{1f3b5}",
        "sync/é/events",
        "sync/home/é/events",
    ];
    let mut seq = 0;
    for version in Version::BOTH {
        for name in names {
            let will = Star::album("will").json();
            let connect = Connect::new(version, "strange");
            // A will that could never be an event may be refused with the connection.
            drop(Wire::connect_raw(
                broker.mqtt(),
                &connect.clone().will(name, &will),
            ));
            let mut wire = Wire::connect(broker.mqtt(), &connect).unwrap();
            let code = wire.subscribe(name).unwrap();
            assert!(
                [0, 1, 0x80, 0x87, 0x8f].contains(&code),
                "{name}: {code:#x}"
            );
            wire.subscribe(&format!("{name}/#")).unwrap();
            wire.subscribe(&format!("$json/{name}")).unwrap();
            wire.subscribe(&format!("$share/{name}/{name}")).unwrap();
            wire.send_qos0(name, "x").unwrap();
            let answer = wire.publish(name, Star::album("x").json()).unwrap();
            assert!([0, 0x10, 0x90].contains(&answer.code), "{name}: {answer:?}");
            wire.unsubscribe(name).unwrap();
            drop(wire);
            seq += 1;
            others_are_served(&broker, &mut witness, seq);
        }
    }
}

#[test]
fn g10_noise_on_the_port_changes_nothing_for_others() {
    let broker = Broker::start();
    let mut witness = watcher(&broker, "$json/sync/home/events");
    let mut dice = Dice::new(7);
    for _ in 0..100 {
        let mut stream = TcpStream::connect(broker.mqtt()).unwrap();
        let bytes: Vec<u8> = (0..dice.below(200))
            .map(|_| dice.next_u64() as u8)
            .collect();
        // The broker may close while this still writes.
        let _ = stream.write_all(&bytes);
    }
    others_are_served(&broker, &mut witness, 1);
}

#[test]
fn g10_noise_after_a_connect_ends_that_connection_alone() {
    let broker = Broker::start();
    let mut witness = watcher(&broker, "$json/sync/home/events");
    let mut dice = Dice::new(8);
    for at in 0..60 {
        let version = Version::BOTH[at % 2];
        let mut wire = Wire::connect(broker.mqtt(), &Connect::new(version, "noise")).unwrap();
        let mut bytes: Vec<u8> = (0..2 + dice.below(40))
            .map(|_| dice.next_u64() as u8)
            .collect();
        bytes[1] = (bytes.len() - 2) as u8;
        let _ = wire.send_bytes(&bytes);
    }
    others_are_served(&broker, &mut witness, 1);
}

#[test]
fn a_first_packet_that_is_no_connect_closes_the_connection() {
    let broker = Broker::start();
    let mut wire = Wire::open(broker.mqtt(), Version::V5).unwrap();
    wire.send_bytes(&[0xc0, 0]).unwrap();
    wire.until_closed().unwrap();
}

#[test]
fn a_protocol_level_that_does_not_exist_is_answered() {
    let broker = Broker::start();
    let mut wire = Wire::open(broker.mqtt(), Version::V311).unwrap();
    wire.send_bytes(b"\x10\x0d\x00\x04MQTT\x09\x02\x00\x00\x00\x01a")
        .unwrap();
    let last = wire.until_closed().unwrap();
    assert!(format!("{last:?}").contains("ConnAck"), "{last:?}");
}
