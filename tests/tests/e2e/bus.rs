//! The bus between the store and the subscribers may stop, die and lose things; nobody misses anything (G3).

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use syncline_tests::wait;
use syncline_tests::wire::Wire;

use crate::inside::Inside;
use crate::scene::{guest, seqs, star, watcher};

fn publish(author: &mut Wire, count: u64) {
    for at in 0..count {
        star(author, "sync/home", &format!("album-{at}"));
    }
}

#[test]
fn g3_while_the_bus_is_held_deliveries_stop_and_pubacks_go_on() {
    let inside = Inside::start(&[]);
    let mut watcher = watcher(inside.mqtt(), "$json/sync/home/events");
    let mut author = guest(inside.mqtt());
    publish(&mut author, 3);
    assert_eq!(seqs(&mut watcher, 3), [1, 2, 3]);
    inside.router().hold();
    publish(&mut author, 50);
    watcher.ping().unwrap();
    assert_eq!(watcher.waiting(), 0, "nothing is delivered");
    inside.router().release();
    assert_eq!(seqs(&mut watcher, 50), (4..=53).collect::<Vec<_>>());
}

#[test]
fn g3_a_bus_that_dies_is_rebuilt_and_nothing_is_missing() {
    let inside = Inside::start(&[]);
    let mut watcher = watcher(inside.mqtt(), "$json/sync/home/events");
    let mut author = guest(inside.mqtt());
    publish(&mut author, 20);
    inside.router().kill();
    publish(&mut author, 20);
    assert_eq!(seqs(&mut watcher, 40), (1..=40).collect::<Vec<_>>());
    wait::until("a rebuilt bus", || {
        (inside.router().stats().rebuilds > 0).then_some(())
    });
    publish(&mut author, 5);
    assert_eq!(seqs(&mut watcher, 5), (41..=45).collect::<Vec<_>>());
}

#[test]
fn g3_g10_a_bus_that_dies_again_and_again_under_load_is_survived() {
    let inside = Inside::start(&[]);
    let mut watcher = watcher(inside.mqtt(), "$json/sync/home/events");
    let (router, address) = (inside.router(), inside.mqtt());
    let is_over = AtomicBool::new(false);
    let published = thread::scope(|scope| {
        let author = scope.spawn(|| {
            let mut author = guest(address);
            let mut published = 0;
            while !is_over.load(Ordering::Relaxed) {
                publish(&mut author, 1);
                published += 1;
            }
            published
        });
        for deaths in 1..=5 {
            router.kill();
            wait::until("a rebuilt bus", || {
                (router.stats().rebuilds >= deaths).then_some(())
            });
            // Whoever follows is served again, before the next death.
            watcher.message().unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
        author.join().unwrap()
    });
    let rest = usize::try_from(published).unwrap() - 5;
    assert_eq!(
        seqs(&mut watcher, rest),
        (6..=published).collect::<Vec<_>>()
    );
}

#[test]
fn g3_a_bus_that_dies_while_held_loses_nothing() {
    let inside = Inside::start(&[]);
    let mut watcher = watcher(inside.mqtt(), "$json/sync/home/events");
    let mut author = guest(inside.mqtt());
    inside.router().hold();
    publish(&mut author, 20);
    inside.router().kill();
    publish(&mut author, 20);
    inside.router().release();
    assert_eq!(seqs(&mut watcher, 40), (1..=40).collect::<Vec<_>>());
}

#[test]
fn g3_a_bus_that_looks_alive_and_carries_nothing_is_noticed() {
    let quick = [
        ("SYNCLINE__ROUTER__CANARY_INTERVAL_MS", "50"),
        ("SYNCLINE__ROUTER__CANARY_TIMEOUT_MS", "500"),
    ];
    let inside = Inside::start(&quick);
    let mut watcher = watcher(inside.mqtt(), "$json/sync/home/events");
    let mut author = guest(inside.mqtt());
    publish(&mut author, 2);
    inside.router().silence();
    publish(&mut author, 10);
    assert_eq!(seqs(&mut watcher, 12), (1..=12).collect::<Vec<_>>());
}

#[test]
fn g3_what_does_not_fit_into_the_bus_is_read_from_the_store() {
    let small = [
        ("SYNCLINE__ROUTER__INTAKE_MAX", "16"),
        ("SYNCLINE__SEQUENCER__BATCH_EVENTS_MAX", "8"),
    ];
    let inside = Inside::start(&small);
    let mut watcher = watcher(inside.mqtt(), "$json/sync/home/events");
    let mut author = guest(inside.mqtt());
    inside.router().hold();
    publish(&mut author, 200);
    assert!(inside.router().stats().overflows > 0);
    inside.router().release();
    assert_eq!(seqs(&mut watcher, 200), (1..=200).collect::<Vec<_>>());
}
