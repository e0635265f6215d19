//! Queues that are full, and what is kept at hand.

use super::*;

#[test]
fn g10_a_full_queue_gives_the_submission_back_and_closes_its_lane() {
    let mut rig = Rig::with(&Options {
        queue_len_max: 2,
        ..options()
    });
    let home = stream("home");
    rig.faults.hold();
    rig.submit(&home, device(1), star("first"));
    rig.faults.wait_until_held();
    rig.submit(&home, device(1), star("second"));
    rig.submit(&home, device(1), star("third"));
    let (other, reply) = (Lane::new(), rig.reply());
    let beyond = submission(home.clone(), device(2), star("beyond"));
    assert!(rig.sequencer.submit(&other, beyond, reply).is_err());
    assert!(other.is_closed());
    rig.faults.release();
    for seq in 1..=3 {
        assert_eq!(saved(&rig.answer().1), seq);
    }
    let (reply, late) = (rig.reply(), submission(home, device(2), star("late")));
    assert!(rig.sequencer.submit(&other, late, reply).is_err());
}

#[test]
fn answer_4_what_stood_before_the_one_that_met_a_full_queue_goes_on() {
    let mut rig = Rig::with(&Options {
        queue_len_max: 2,
        ..options()
    });
    let home = stream("home");
    rig.faults.hold();
    rig.submit(&home, device(1), numbered(device(1), 1));
    rig.faults.wait_until_held();
    rig.submit(&home, device(1), numbered(device(1), 2));
    rig.submit(&home, device(1), numbered(device(1), 3));
    let (lane, reply) = (rig.lane.clone(), rig.reply());
    let beyond = submission(home.clone(), device(1), numbered(device(1), 4));
    assert!(rig.sequencer.submit(&lane, beyond, reply).is_err());
    rig.faults.release();
    for seq in 1..=3 {
        assert_eq!(saved(&rig.answer().1), seq);
    }
}

#[test]
fn g10_the_queue_is_bounded_by_the_memory_that_it_holds() {
    let mut rig = Rig::with(&Options {
        batch_bytes_max: 1024,
        ..options()
    });
    let home = stream("home");
    // 4 KiB on the wire.
    let nils = || Intent::new("x".parse().unwrap(), Value::Array(vec![Value::Nil; 4096]));
    rig.faults.hold();
    rig.submit(&home, device(1), star("first"));
    rig.faults.wait_until_held();
    rig.submit(&home, device(1), nils());
    let (other, reply) = (Lane::new(), rig.reply());
    let beyond = submission(home.clone(), device(2), star("beyond"));
    assert!(rig.sequencer.submit(&other, beyond, reply).is_err());
    rig.faults.release();
    for seq in 1..=2 {
        assert_eq!(saved(&rig.answer().1), seq);
    }
    // Answered is gone from the queue, or is within the next few steps of the thread.
    let deadline = Instant::now() + PATIENCE;
    while rig.sequencer.queued.load(Ordering::SeqCst) > 0 {
        assert!(Instant::now() < deadline, "memory is not given back");
        std::thread::yield_now();
    }
    assert_eq!(saved(&rig.ask(&home, device(1), star("after"))), 3);
}

#[test]
fn answer_4_a_drain_finishes_what_is_queued_and_refuses_the_rest() {
    let (mut rig, home) = (Rig::new(), stream("home"));
    for _ in 0..10 {
        rig.submit(&home, device(1), star("a"));
    }
    rig.sequencer.drain();
    rig.submit(&home, device(1), star("late"));
    for seq in 1..=10 {
        assert_eq!(saved(&rig.answer().1), seq);
    }
    assert_eq!(failed(&rig.answer().1), TransientName::Draining);
    assert_eq!(read_all(&*rig.store, &home).len(), 10);
}

#[test]
fn g10_more_streams_than_are_kept_at_hand_are_loaded_again() {
    let mut rig = Rig::new();
    let streams: Vec<_> = (0..40).map(|n| stream(&format!("group-{n}"))).collect();
    for round in 1..=3 {
        for stream in &streams {
            assert_eq!(
                saved(&rig.ask(stream, device(1), numbered(device(1), round))),
                round
            );
        }
    }
    for stream in &streams {
        assert_eq!(
            repeat(&rig.ask(stream, device(1), numbered(device(1), 2))),
            2
        );
    }
}

#[test]
fn event_10_a_window_below_the_receive_maximum_is_refused_at_start() {
    let options = Options {
        receive_maximum: WINDOW + 1,
        ..options()
    };
    let schema = Arc::new(Schema::parse(SCHEMA).unwrap());
    let store = Arc::new(MemoryStore::new(WINDOW));
    let started = Sequencer::start(&options, store, schema, Outside::new().hooks());
    assert!(matches!(
        started.err(),
        Some(StartError::WindowTooSmall { .. })
    ));
}

#[test]
fn g10_the_marks_at_hand_are_bounded_over_all_streams() {
    let store: Arc<dyn EventStore> = Arc::new(MemoryStore::new(WINDOW));
    let mut streams = crate::sequencer::streams::Streams::new(store, 64);
    for n in 0..40_000_u128 {
        let id = stream(&format!("group-{}", n % 50));
        let author = DeviceId::from_bytes(n.to_be_bytes());
        streams.load_for(&id, author).unwrap();
        streams.trim();
        assert!(n % 1000 > 0 || streams.marks() <= 16_384);
    }
}

#[test]
fn the_streams_at_hand_are_bounded() {
    let store: Arc<dyn EventStore> = Arc::new(MemoryStore::new(WINDOW));
    let mut streams = crate::sequencer::streams::Streams::new(store, 8);
    for n in 0..100 {
        streams
            .load_for(&stream(&format!("group-{n}")), device(1))
            .unwrap();
        streams.trim();
        assert!(streams.len() <= 8);
    }
}
