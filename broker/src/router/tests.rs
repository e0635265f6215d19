use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::desk::Desk;
use super::frame::{self, Header, Kind};
use super::link::LinkThread;
use super::*;

const DEADLINE: Duration = Duration::from_secs(60);

fn options() -> RouterOptions {
    RouterOptions {
        outstanding_max: 512,
        outstanding_bytes_max: 64 * 1024,
        intake_max: 100_000,
        intake_bytes_max: 1 << 30,
        canary_interval: Duration::from_millis(20),
        // Far above what a busy machine keeps a thread waiting.
        canary_timeout: Duration::from_secs(10),
    }
}

/// For the tests that wait for a death, or for none.
fn impatient() -> RouterOptions {
    RouterOptions {
        canary_timeout: Duration::from_millis(300),
        ..options()
    }
}

/// An event of one stream, in the layout of `Committed::to_frame`.
fn committed(seq: u64, payload_len: usize) -> Committed {
    let (position, epoch) = (seq, 1u64);
    let mut frame = [position, epoch, seq].map(u64::to_be_bytes).concat();
    frame.extend_from_slice(b"\x04home\x00");
    frame.resize(frame.len() + payload_len, 0xc0);
    Committed::from_frame(frame.into()).unwrap()
}

fn events(seqs: std::ops::RangeInclusive<u64>) -> Vec<Committed> {
    seqs.map(|seq| committed(seq, 40 + (seq % 97) as usize))
        .collect()
}

/// What a consumer heard; 0 stands for a Resync. It can be told to block.
#[derive(Clone, Default)]
struct Heard(Arc<HeardInner>);

#[derive(Default)]
struct HeardInner {
    state: Mutex<HeardState>,
    changed: Condvar,
}

#[derive(Default)]
struct HeardState {
    heard: Vec<u64>,
    blocked: bool,
}

impl Heard {
    fn consumer(&self) -> Consumer {
        let heard = self.clone();
        Box::new(move |message| heard.hear(&message))
    }

    fn hear(&self, message: &BusMessage) {
        let state = self.0.state.lock().unwrap();
        let mut state = self
            .0
            .changed
            .wait_while(state, |state| state.blocked)
            .unwrap();
        state.heard.push(match message {
            BusMessage::Event(event) => event.seq().get(),
            BusMessage::Resync => 0,
        });
        self.0.changed.notify_all();
    }

    fn block(&self, blocked: bool) {
        self.0.state.lock().unwrap().blocked = blocked;
        self.0.changed.notify_all();
    }

    fn so_far(&self) -> Vec<u64> {
        self.0.state.lock().unwrap().heard.clone()
    }

    /// Waits until the consumer heard `last`, and tells everything that it heard.
    fn until(&self, last: u64) -> Vec<u64> {
        let state = self.0.state.lock().unwrap();
        let not_yet = |state: &mut HeardState| state.heard.last() != Some(&last);
        let waited = self.0.changed.wait_timeout_while(state, DEADLINE, not_yet);
        let (state, timeout) = waited.unwrap();
        assert!(
            !timeout.timed_out(),
            "waited for {last}, heard {:?}",
            state.heard.last()
        );
        state.heard.clone()
    }
}

fn eventually(patience: Duration, condition: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        if condition() {
            return true;
        }
        thread::park_timeout(Duration::from_millis(1));
    }
    condition()
}

fn start(options: RouterOptions) -> (Router, RouterProbe, Heard) {
    let heard = Heard::default();
    let router = Router::start(options, heard.consumer()).unwrap();
    let probe = router.probe();
    (router, probe, heard)
}

fn numbers(from: u64, to: u64) -> Vec<u64> {
    (from..=to).collect()
}

#[test]
fn g3_fifty_thousand_events_reach_a_slow_consumer_in_order_and_none_vanishes() {
    let (router, probe, heard) = start(options());
    heard.until(0);
    heard.block(true);
    for chunk in events(1..=50_000).chunks(1_000) {
        router.publish(chunk.to_vec());
    }
    let outstanding = || probe.stats().published - probe.stats().drained;
    assert!(
        eventually(DEADLINE, || outstanding() > 100),
        "the bus fills up"
    );
    assert!(
        !eventually(Duration::from_millis(100), || outstanding() > 512),
        "and not further"
    );
    heard.block(false);

    let heard = heard.until(50_000);
    assert_eq!(heard[0], 0, "a started router says Resync");
    assert_eq!(heard[1..], numbers(1, 50_000));
    let stats = probe.stats();
    assert_eq!((stats.jumps, stats.overflows, stats.rebuilds), (0, 0, 0));
}

#[test]
fn a_consumer_that_blocks_is_no_death() {
    let (router, probe, heard) = start(impatient());
    heard.until(0);
    heard.block(true);
    router.publish(events(1..=10));
    assert!(!eventually(Duration::from_millis(900), || probe
        .stats()
        .rebuilds
        > 0));
    heard.block(false);
    assert_eq!(heard.until(10), numbers(0, 10));
}

#[test]
fn while_held_nothing_is_published_and_that_is_no_death() {
    let (router, probe, heard) = start(impatient());
    heard.until(0);
    probe.hold();
    let before = probe.stats();
    router.publish(events(1..=1_000));
    assert!(!eventually(Duration::from_millis(900), || probe
        .stats()
        .rebuilds
        > 0));
    assert_eq!(probe.stats().published, before.published);
    assert_eq!(heard.so_far(), [0]);
    assert!(probe.stats().healthy);

    probe.release();
    assert_eq!(heard.until(1_000), numbers(0, 1_000));
}

#[test]
fn a_killed_bus_is_rebuilt_and_says_resync_before_it_goes_on() {
    let (router, probe, heard) = start(options());
    router.publish(events(1..=100));
    heard.until(100);
    for round in 1..=3 {
        probe.kill();
        let is_back = |stats: RouterStats| stats.rebuilds == round && stats.healthy;
        assert!(eventually(DEADLINE, || is_back(probe.stats())));
    }
    router.publish(events(101..=200));
    let heard = heard.until(200);
    assert_eq!(heard[..101], numbers(0, 100));
    assert!(
        heard[101..].starts_with(&[0, 0, 0]),
        "one Resync for each rebuild"
    );
    assert!(heard.ends_with(&numbers(101, 200)));
    assert!(eventually(DEADLINE, || probe.stats().healthy));
}

#[test]
fn a_bus_that_dies_in_mid_flow_is_followed_by_a_resync() {
    let (router, probe, heard) = start(options());
    for chunk in events(1..=20_000).chunks(100) {
        router.publish(chunk.to_vec());
        if chunk[0].seq().get() == 10_001 {
            probe.kill();
        }
    }
    let heard = heard.until(20_000);
    assert_eq!(probe.stats().rebuilds, 1);
    for pair in heard.windows(2) {
        assert!(
            pair[1] == pair[0] + 1 || pair.contains(&0),
            "a hole without a Resync: {pair:?}"
        );
    }
}

#[test]
fn the_canary_notices_a_bus_that_lives_and_carries_nothing() {
    let (router, probe, heard) = start(impatient());
    heard.until(0);
    assert!(eventually(DEADLINE, || probe.stats().healthy));
    probe.silence();
    assert!(eventually(DEADLINE, || probe.stats().rebuilds == 1));
    router.publish(events(1..=5));
    assert_eq!(heard.until(5), [0, 0, 1, 2, 3, 4, 5]);
}

#[test]
fn an_overflow_of_the_intake_drops_and_says_resync_in_that_place() {
    let (router, probe, heard) = start(RouterOptions {
        intake_max: 10,
        ..options()
    });
    heard.until(0);
    probe.hold();
    router.publish(events(1..=50));
    router.publish(events(51..=60));
    assert_eq!(probe.stats().overflows, 50);
    probe.release();
    let so_far = || heard.so_far().len();
    assert!(eventually(DEADLINE, || so_far() == 12));
    router.publish(events(61..=62));
    assert_eq!(
        heard.until(62),
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0, 61, 62]
    );
}

#[test]
fn an_event_larger_than_the_window_passes_alone() {
    let (router, probe, heard) = start(options());
    let large = committed(2, 1 << 20);
    router.publish(vec![committed(1, 10), large, committed(3, 10)]);
    assert_eq!(heard.until(3), [0, 1, 2, 3]);
    assert_eq!(probe.stats().jumps, 0);
}

#[test]
fn close_ends_the_threads_and_drops_the_consumer() {
    let (router, _, heard) = start(options());
    router.publish(events(1..=10));
    heard.until(10);
    router.close();
    assert_eq!(Arc::strong_count(&heard.0), 1);
}

/// The gate taken away: the log forgets, the link jumps, and that is noticed.
#[test]
fn a_jump_of_the_bus_is_counted_and_followed_by_a_resync() {
    let desk = Arc::new(Desk::new(&options()));
    let (mut sender, receiver) = bus::open(4 * 1024).unwrap();
    let heard = Heard::default();
    heard.block(true);
    let link = LinkThread {
        desk: Arc::clone(&desk),
        receiver,
        stop: Arc::default(),
        expected: 1,
        patience: Duration::from_millis(20),
        consumer: heard.consumer(),
    };
    let stop = Arc::clone(&link.stop);
    let thread = thread::spawn(move || link.run());
    for seq in 1..=20_000 {
        let header = Header {
            counter: seq,
            cost: seq,
            kind: Kind::Event,
        };
        sender.send(frame::encode(header, &committed(seq, 40).to_frame()));
    }
    heard.block(false);
    let heard = heard.until(20_000);
    assert!(desk.stats().jumps > 0);
    assert!(heard.len() < 20_000, "most of an unpaced burst vanishes");
    assert!(
        heard
            .windows(2)
            .all(|pair| pair[1] == pair[0] + 1 || pair.contains(&0))
    );

    stop.store(true, std::sync::atomic::Ordering::Release);
    sender.send(Bytes::new());
    drop(thread.join().unwrap());
}
