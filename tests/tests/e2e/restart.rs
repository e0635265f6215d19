//! The end of a process, chosen or not.

use syncline_tests::broker::Broker;
use syncline_tests::star::Star;
use syncline_tests::wire::{Packet, Version};

use crate::scene::{PHONE, device, guest, number, seqs, star, stars, watcher};

#[test]
fn g12_after_kill_9_everything_acknowledged_is_there() {
    let mut broker = Broker::start();
    stars(&broker, "sync/home", 40);
    let before = watcher(&broker, "$json/sync/home/state")
        .message()
        .unwrap()
        .json();
    broker.kill().unwrap();
    broker.start_again();
    let after = watcher(&broker, "$json/sync/home/state")
        .message()
        .unwrap()
        .json();
    assert_eq!(
        (&after["digest"], &after["epoch"]),
        (&before["digest"], &before["epoch"])
    );
    let mut replay = watcher(&broker, "$json/$since/0/sync/home/events");
    assert_eq!(seqs(&mut replay, 40), (1..=40).collect::<Vec<_>>());
    assert_eq!(star(&mut guest(&broker), "sync/home", "next"), 41);
}

#[test]
fn g4_g12_after_kill_9_a_repeat_is_still_a_repeat() {
    let mut broker = Broker::start();
    let star = Star::album("a").from_device(PHONE, 7).json();
    let mut phone = device(&broker, Version::V5, PHONE);
    assert_eq!(
        phone.publish("sync/home/events", &star).unwrap().seq(),
        Some(1)
    );
    broker.kill().unwrap();
    broker.start_again();
    let mut phone = device(&broker, Version::V5, PHONE);
    assert_eq!(
        phone.publish("sync/home/events", &star).unwrap().repeat(),
        Some(1)
    );
}

#[test]
fn sigterm_drains_and_exits_with_0() {
    let mut broker = Broker::start();
    let mut phone = device(&broker, Version::V5, PHONE);
    let mut sent = Vec::new();
    for at in 1..=10 {
        let star = Star::album(&format!("album-{at}"))
            .from_device(PHONE, at)
            .json();
        sent.push(phone.send("sync/home/events", star).unwrap());
    }
    let status = broker.terminate();
    assert_eq!(status.code(), Some(0), "{}", broker.log());
    let packets = phone.until_closed().unwrap();
    let acked = packets
        .iter()
        .filter(|p| matches!(p, Packet::PubAck { code: 0, .. }))
        .count();
    broker.start_again();
    if acked > 0 {
        let state = watcher(&broker, "$json/sync/home/state")
            .message()
            .unwrap()
            .json();
        assert!(
            number(&state, "head") >= acked as u64,
            "{acked} acknowledged: {state}"
        );
    }
}

#[test]
fn sigint_ends_it_as_well() {
    let mut broker = Broker::start();
    let status = broker.end_by("INT");
    assert_eq!(status.code(), Some(0), "{}", broker.log());
}
