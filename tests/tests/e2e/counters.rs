//! What goes another way than usual is counted, as its users read it.

use syncline_tests::wait::until;
use syncline_tests::wire::{Connect, Version, Wire};

use crate::horizon::{act, forgetful, raised};
use crate::inside::Inside;
use crate::limits::counted;
use crate::scene::{guest, star, watcher};

const SOON: (&str, &str) = ("SYNCLINE__SYS__INTERVAL_S", "1");

#[test]
fn g10_readers_that_are_behind_memory_and_behind_history_are_counted() {
    let setup = forgetful().variable(SOON.0, SOON.1);
    let broker = setup
        .variable("SYNCLINE__LIMITS__INFLIGHT_MAX", "2")
        .start();
    let mut author = guest(&broker);
    act(&mut author, "sync/read", 1, 10);
    let mut behind = watcher(&broker, "$since/0/sync/read/events");
    (0..10).for_each(|_| drop(behind.message().unwrap()));
    counted(&broker, "events/read from store", 1);
    // It takes two and does not acknowledge them while the others become history.
    let mut slow = watcher(&broker, "sync/home/events");
    act(&mut author, "sync/home", 1, 100);
    raised(&broker, "sync/home", 80);
    until("a state in place of events", || {
        let message = slow.message().unwrap();
        message.topic.ends_with("/state").then_some(())
    });
    counted(&broker, "events/overtaken", 1);
}

#[test]
fn g10_what_the_bus_drops_and_that_it_was_rebuilt_are_counted() {
    let small = [
        SOON,
        ("SYNCLINE__ROUTER__INTAKE_MAX", "16"),
        ("SYNCLINE__SEQUENCER__BATCH_EVENTS_MAX", "8"),
    ];
    let inside = Inside::start(&small);
    let mut author = guest(inside.mqtt());
    inside.router().hold();
    for n in 0..100 {
        star(&mut author, "sync/home", &format!("album-{n}"));
    }
    inside.router().release();
    counted(inside.mqtt(), "bus/dropped", 1);
    inside.router().kill();
    star(&mut author, "sync/home", "after");
    counted(inside.mqtt(), "bus/rebuilds", 1);
}

#[test]
fn g10_a_will_that_the_disk_fails_is_counted() {
    let inside = Inside::start(&[SOON]);
    for (version, lost) in [(Version::V5, 1), (Version::V311, 2)] {
        let connect = Connect::new(version, "").will(
            "sync/home/events",
            "{\"event_type\":\"x\",\"event_data\":{}}",
        );
        let wire = Wire::connect(inside.mqtt(), &connect).unwrap();
        inside.faults.fail_before(1);
        drop(wire);
        counted(inside.mqtt(), "wills/lost", lost);
    }
}
