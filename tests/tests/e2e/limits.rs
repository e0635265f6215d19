//! How much clients may, and that everybody is told and counted who is beyond it.

use std::time::Instant;

use syncline_tests::broker::{Broker, Setup};
use syncline_tests::mosquitto;
use syncline_tests::star::Star;
use syncline_tests::wait::until;
use syncline_tests::wire::{Connect, Version, Wire};

use crate::scene::{guest, star, watcher};

fn limited(key: &str, value: &str) -> Broker {
    Setup::new()
        .variable("SYNCLINE__SYS__INTERVAL_S", "1")
        .variable(&format!("SYNCLINE__LIMITS__{key}"), value)
        .start()
}

/// What a figure comes to be.
fn counted(broker: &Broker, name: &str, at_least: u64) {
    let mut figures = watcher(broker, &format!("$SYS/broker/syncline/{name}"));
    until(name, || {
        let text = figures.message().unwrap().payload;
        let figure: u64 = String::from_utf8(text).unwrap().parse().unwrap();
        (figure >= at_least).then_some(())
    });
}

#[test]
fn g10_an_address_has_so_many_connections_and_others_are_told_at_both_versions() {
    let broker = limited("CONNECTIONS_PER_ADDRESS_MAX", "3");
    let mut all: Vec<_> = (0..2).map(|_| guest(&broker)).collect();
    let last = guest(&broker);
    for (version, why) in [
        (Version::V5, "Quota exceeded"),
        (Version::V311, "Connection Refused"),
    ] {
        let message = ["-q", "1", "-t", "sync/home/events", "-m", "{}"];
        let refused = mosquitto::publish_with(broker.mqtt(), version, &message);
        assert!(!refused.status.success());
        let said = String::from_utf8_lossy(&refused.stderr).to_lowercase();
        assert!(said.contains(&why.to_lowercase()), "{said}");
    }
    drop(last);
    star(&mut all[0], "sync/home", "a");
    until("a place", || {
        Wire::connect(broker.mqtt(), &Connect::new(Version::V5, "")).ok()
    });
    all.pop();
    counted(&broker, "connections/refused/quota", 2);
}

#[test]
fn g10_a_flood_is_slowed_down_loses_nothing_and_others_do_not_wait() {
    let broker = limited("PUBLISH_MESSAGES_PER_S", "50");
    let mut other = guest(&broker);
    let mut flood = guest(&broker);
    let begin = Instant::now();
    for n in 1..=150 {
        assert_eq!(star(&mut flood, "sync/flood", &format!("album-{n}")), n);
    }
    let took = begin.elapsed();
    assert!(took.as_millis() >= 1_900, "150 at 50 per second: {took:?}");
    star(&mut other, "sync/home", "a");
    counted(&broker, "publish/held", 1);
}

#[test]
fn g10_an_address_publishes_at_a_rate_over_all_its_connections_and_gains_nothing_by_coming_again() {
    for version in [Version::V5, Version::V311] {
        let broker = limited("ADDRESS_PUBLISH_MESSAGES_PER_S", "50");
        let begin = Instant::now();
        for round in 0..15 {
            let mut wire = Wire::connect(broker.mqtt(), &Connect::new(version, "")).unwrap();
            for n in 0..10 {
                let album = Star::album(&format!("album-{round}-{n}")).json();
                wire.publish("sync/flood/events", album).unwrap();
            }
        }
        let took = begin.elapsed();
        assert!(took.as_millis() >= 1_900, "150 at 50 per second: {took:?}");
    }
}
