//! A second of every attack on one broker, which has to be there for others during each of them and after all.
//! `cargo xtask hostile` goes on for longer and measures.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use syncline_tests::broker::Broker;
use syncline_tests::hostile::{ATTACKS, Arena};
use syncline_tests::{http, wait};

use crate::scene::{guest, seqs, star, watcher};

const EACH: Duration = Duration::from_secs(1);

/// The runtime's own come and go.
fn lasting_threads(broker: &Broker) -> Vec<String> {
    let mut threads = broker.process().threads();
    threads.retain(|name| !name.starts_with("tokio"));
    threads
}

#[test]
fn g10_no_attack_keeps_others_from_being_served_or_ends_a_thread() {
    let broker = Broker::start();
    let arena = Arena {
        mqtt: broker.mqtt(),
        http: broker.http(),
    };
    let mut witness = watcher(&broker, "$json/sync/home/events");
    star(&mut guest(&broker), "sync/home", "before");
    assert_eq!(seqs(&mut witness, 1), [1]);
    let threads = lasting_threads(&broker);
    for (attack, seq) in ATTACKS.iter().zip(2..) {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let striking = scope.spawn(|| arena.strike(attack, &over));
            wait::let_pass(EACH / 2);
            let album = format!("album-{seq}");
            let during = star(&mut guest(&broker), "sync/home", &album);
            assert_eq!(during, seq, "{}", attack.name);
            assert_eq!(seqs(&mut witness, 1), [seq], "{}", attack.name);
            wait::let_pass(EACH / 2);
            over.store(true, Ordering::Relaxed);
            let struck = striking.join().unwrap();
            assert!(struck.connections() > 0, "{} did nothing", attack.name);
        });
    }
    assert_eq!(http::get(broker.http(), "/readyz").unwrap().status, 200);
    assert_eq!(lasting_threads(&broker), threads);
    assert!(!broker.log().contains("panicked"));
}
