//! A store that fails, or has moved on.

use super::*;

#[test]
fn answer_4_a_failed_commit_is_never_acknowledged_and_accepted_once_later() {
    let (mut rig, home) = (Rig::new(), stream("home"));
    rig.faults.fail_before(1);
    let outcome = rig.ask(&home, device(1), numbered(device(1), 1));
    assert_eq!(failed(&outcome), TransientName::StorageFailed);
    assert!(read_all(&*rig.store, &home).is_empty());
    rig.reconnect();
    assert_eq!(saved(&rig.ask(&home, device(1), numbered(device(1), 1))), 1);
    assert_eq!(
        repeat(&rig.ask(&home, device(1), numbered(device(1), 1))),
        1
    );
    rig.sequencer.drain();
    assert_eq!(rig.outside.published(&home), [1]);
    assert_eq!(rig.outside.fatal.load(Ordering::SeqCst), 0);
}

#[test]
fn answer_4_nothing_later_of_a_connection_overtakes_what_failed() {
    let (mut rig, home) = (Rig::new(), stream("home"));
    rig.faults.hold();
    rig.faults.fail_before(1);
    rig.submit(&home, device(1), numbered(device(1), 1));
    rig.faults.wait_until_held();
    rig.submit(&home, device(1), numbered(device(1), 2));
    rig.faults.release();
    for _ in 0..2 {
        assert_eq!(failed(&rig.answer().1), TransientName::StorageFailed);
    }
    rig.reconnect();
    for n in 1..=2 {
        assert_eq!(saved(&rig.ask(&home, device(1), numbered(device(1), n))), n);
    }
}

#[test]
fn g4_after_an_unknown_outcome_the_retry_is_a_repeat_and_readers_miss_nothing() {
    let (mut rig, home) = (Rig::new(), stream("home"));
    rig.faults.fail_after(1);
    let outcome = rig.ask(&home, device(1), numbered(device(1), 1));
    assert_eq!(failed(&outcome), TransientName::StorageFailed);
    rig.reconnect();
    assert_eq!(
        repeat(&rig.ask(&home, device(1), numbered(device(1), 1))),
        1
    );
    assert_eq!(saved(&rig.ask(&home, device(1), numbered(device(1), 2))), 2);
    rig.sequencer.drain();
    assert_eq!(rig.outside.published(&home), [1, 2]);
}

#[test]
fn answer_4_a_store_that_cannot_be_read_is_a_transient_failure() {
    let (mut rig, home) = (Rig::new(), stream("home"));
    for reads in [1, 1] {
        rig.faults.fail_reads(reads);
        let outcome = rig.ask(&home, device(1), numbered(device(1), 1));
        assert_eq!(failed(&outcome), TransientName::StorageFailed);
        rig.reconnect();
    }
    assert_eq!(saved(&rig.ask(&home, device(1), numbered(device(1), 1))), 1);
}

#[test]
fn g1_a_failed_sync_is_fatal_and_acknowledges_nothing() {
    let (mut rig, home) = (Rig::new(), stream("home"));
    rig.faults.fail_sync(1);
    let outcome = rig.ask(&home, device(1), numbered(device(1), 1));
    assert_eq!(failed(&outcome), TransientName::StorageFailed);
    assert_eq!(rig.outside.fatal.load(Ordering::SeqCst), 1);
}

#[test]
fn a_conflict_decides_anew_what_was_decided_on_the_old_head() {
    let (mut rig, home) = (Rig::new(), stream("home"));
    assert_eq!(saved(&rig.ask(&home, device(1), numbered(device(1), 1))), 1);
    let mut event = rig.event(&home, 1);
    event.seq = at(2);
    (event.device, event.device_seq) = (device(9), None);
    let (epoch, records) = (event.epoch, vec![Record { event, hash: None }]);
    let foreign = Append::events(home.clone(), at(1), epoch, records);
    assert!(rig.store.append(vec![foreign]).unwrap()[0].is_ok());
    assert_eq!(saved(&rig.ask(&home, device(1), numbered(device(1), 2))), 3);
    assert_eq!(
        repeat(&rig.ask(&home, device(1), numbered(device(1), 1))),
        1
    );
    assert_eq!(read_all(&*rig.store, &home), [1, 2, 3]);
    assert_eq!(rig.event(&home, 3).base_seq, at(2));
}
