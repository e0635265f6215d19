//! The sequencer over a store that fails on demand.

mod failures;
mod holding;
mod limits;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use syncline_protocol::{
    Clock, DeviceId, Epoch, Event, Intent, RefusalName, Schema, Seq, StreamId, TransientName,
    UnixMillis, Value,
};

use super::{Hooks, Lane, Options, Outcome, Reply, Sequencer, StartError, StateSize};
use crate::edge::submission;
use crate::store::contract::{ALL, at, device, number, read_all, stream};
use crate::store::faults::{Faults, FaultyStore};
use crate::store::memory::MemoryStore;
use crate::store::{Append, Committed, EventStore, Record};

pub(super) const SCHEMA: &str = r#"
[collections.albums]
kind = "set"
conflict = "last_write_wins"
key = "album_id"
add = "star_album"
remove = "unstar_album"

[collections.plays]
kind = "counter"
key = "track_id"
add = "play_track"
amount = "times"
"#;

pub(super) const WINDOW: usize = 8;
const SKEW_MS: u64 = 1000;
pub(super) const DEVICE_RETENTION_MS: u64 = 1_000_000;
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn options() -> Options {
    Options {
        queue_len_max: 64,
        batch_events_max: 16,
        batch_bytes_max: 1 << 20,
        receive_maximum: WINDOW,
        max_clock_skew_ms: SKEW_MS,
        active_streams_max: 8,
        device_retention_ms: DEVICE_RETENTION_MS,
        founding: super::FoundingOptions::default(),
        stream: super::StreamOptions::default(),
    }
}

/// What the hooks saw, and the clock that they show.
#[derive(Clone)]
pub(super) struct Outside {
    now: Arc<AtomicU64>,
    published: Arc<Mutex<Vec<Committed>>>,
    fatal: Arc<AtomicUsize>,
    state: Arc<Mutex<StateSize>>,
    /// Streams that were told to be full.
    full: Arc<Mutex<Vec<StreamId>>>,
}

impl Outside {
    pub(super) fn new() -> Outside {
        let now = Arc::new(AtomicU64::new(10_000));
        Outside {
            now,
            published: Arc::default(),
            fatal: Arc::default(),
            state: Arc::new(Mutex::new(StateSize {
                bytes: 0,
                is_live: false,
            })),
            full: Arc::default(),
        }
    }

    pub(super) fn hooks(&self) -> Hooks {
        let (now, published, fatal) = (
            Arc::clone(&self.now),
            Arc::clone(&self.published),
            Arc::clone(&self.fatal),
        );
        let (state, full) = (Arc::clone(&self.state), Arc::clone(&self.full));
        let mut chance = 0x5eed;
        Hooks {
            now: Arc::new(move || UnixMillis::new(now.load(Ordering::SeqCst))),
            random: Box::new(move || {
                chance += 1;
                chance
            }),
            sink: Box::new(move |events| published.lock().unwrap().extend(events)),
            on_fatal: Box::new(move |_| {
                fatal.fetch_add(1, Ordering::SeqCst);
            }),
            counter: Box::new(|_, _, _| Ok(0)),
            farthest_counter: Box::new(|_| Ok(0)),
            state: Box::new(move |_, _| Ok(*state.lock().unwrap())),
            full: Box::new(move |stream| full.lock().unwrap().push(stream.clone())),
        }
    }

    pub(super) fn set_now(&self, ms: u64) {
        self.now.store(ms, Ordering::SeqCst);
    }

    /// The seqs published of a stream.
    pub(super) fn published(&self, stream: &StreamId) -> Vec<u64> {
        let published = self.published.lock().unwrap();
        published
            .iter()
            .filter(|it| it.stream() == stream)
            .map(|it| it.seq().get())
            .collect()
    }
}

/// A running sequencer, its store, and the answers.
struct Rig {
    sequencer: Sequencer,
    store: Arc<FaultyStore<MemoryStore>>,
    faults: Faults,
    outside: Outside,
    lane: Lane,
    told: Sender<(usize, Outcome)>,
    answers: Receiver<(usize, Outcome)>,
    submitted: usize,
}

impl Rig {
    fn new() -> Rig {
        Rig::with(&options())
    }

    fn with(options: &Options) -> Rig {
        let faults = Faults::default();
        let store = Arc::new(FaultyStore::new(MemoryStore::new(WINDOW), faults.clone()));
        let outside = Outside::new();
        let shared: Arc<dyn EventStore> = store.clone();
        let schema = Arc::new(Schema::parse(SCHEMA).unwrap());
        let sequencer = Sequencer::start(options, shared, schema, outside.hooks()).unwrap();
        let (told, answers) = channel();
        Rig {
            sequencer,
            store,
            faults,
            outside,
            lane: Lane::new(),
            told,
            answers,
            submitted: 0,
        }
    }

    fn reply(&mut self) -> Reply {
        let (index, answers) = (self.submitted, self.told.clone());
        self.submitted += 1;
        Box::new(move |outcome| answers.send((index, outcome)).unwrap())
    }

    fn submit(&mut self, stream: &StreamId, author: DeviceId, intent: Intent) {
        let reply = self.reply();
        let taken = self.sequencer.submit(
            &self.lane,
            submission(stream.clone(), author, intent),
            reply,
        );
        assert!(taken.is_ok(), "the queue is full");
    }

    /// The next answer, which must be that of the next submission.
    fn answer(&mut self) -> (usize, Outcome) {
        self.answers
            .recv_timeout(PATIENCE)
            .expect("an answer in time")
    }

    fn ask(&mut self, stream: &StreamId, author: DeviceId, intent: Intent) -> Outcome {
        self.submit(stream, author, intent);
        self.answer().1
    }

    /// A connection that died is followed by a new one.
    fn reconnect(&mut self) {
        self.lane = Lane::new();
    }

    fn event(&self, stream: &StreamId, seq: u64) -> Event {
        let found = self.store.read(stream, at(seq - 1), ALL).unwrap();
        Event::decode(found[0].payload()).unwrap()
    }
}

pub(super) fn star(album: &str) -> Intent {
    let data = Value::from_json(format!(r#"{{"album_id":"{album}"}}"#).as_bytes()).unwrap();
    Intent::new("star_album".parse().unwrap(), data)
}

pub(super) fn numbered(author: DeviceId, n: u64) -> Intent {
    let mut intent = star(&format!("album-{n}"));
    intent.device = Some(author);
    intent.device_seq = Some(number(n));
    intent
}

pub(super) fn saved(outcome: &Outcome) -> u64 {
    match outcome {
        Outcome::Saved { seq, .. } => seq.get(),
        other => panic!("expected Saved, got {other:?}"),
    }
}

pub(super) fn repeat(outcome: &Outcome) -> u64 {
    match outcome {
        Outcome::Repeat { seq, .. } => seq.get(),
        other => panic!("expected Repeat, got {other:?}"),
    }
}

pub(super) fn refused(outcome: &Outcome) -> RefusalName {
    match outcome {
        Outcome::Refused(refused) => refused.name,
        other => panic!("expected Refused, got {other:?}"),
    }
}

pub(super) fn failed(outcome: &Outcome) -> TransientName {
    match outcome {
        Outcome::Failed(name, _) => *name,
        other => panic!("expected Failed, got {other:?}"),
    }
}

#[test]
fn g3_events_are_numbered_without_holes_and_published_in_order() {
    let (mut rig, home) = (Rig::new(), stream("home"));
    for n in 1..=20 {
        assert_eq!(saved(&rig.ask(&home, device(n % 3), star("a"))), n as u64);
    }
    rig.sequencer.drain();
    assert_eq!(rig.outside.published(&home), (1..=20).collect::<Vec<_>>());
    assert_eq!(read_all(&*rig.store, &home), (1..=20).collect::<Vec<_>>());
}

#[test]
fn g1_no_answer_leaves_before_the_commit_returns() {
    let (mut rig, home) = (Rig::new(), stream("home"));
    rig.faults.hold();
    rig.submit(&home, device(1), numbered(device(1), 1));
    rig.faults.wait_until_held();
    rig.submit(&home, device(1), numbered(device(1), 1));
    assert!(rig.answers.try_recv().is_err());
    assert!(rig.outside.published(&home).is_empty());
    rig.faults.release();
    assert_eq!(saved(&rig.answer().1), 1);
    assert_eq!(repeat(&rig.answer().1), 1);
}

#[test]
fn answer_2_replies_come_in_the_order_of_the_submissions_and_one_commit_takes_many() {
    let (mut rig, streams) = (Rig::new(), ["a", "b", "c"].map(stream));
    rig.faults.hold();
    rig.submit(&streams[0], device(1), star("first"));
    rig.faults.wait_until_held();
    for n in 0..30 {
        let mut intent = star("x");
        if n % 5 == 4 {
            intent.event_data = Value::Nil;
        }
        rig.submit(&streams[n % 3], device(1), intent);
    }
    rig.faults.release();
    let order: Vec<usize> = (0..31).map(|_| rig.answer().0).collect();
    assert_eq!(order, (0..31).collect::<Vec<_>>());
    assert_eq!(
        rig.faults.appends(),
        3,
        "one, then two batches of at most sixteen"
    );
}

#[test]
fn g4_a_repeat_is_acknowledged_with_the_first_seq() {
    let (mut rig, home) = (Rig::new(), stream("home"));
    assert_eq!(saved(&rig.ask(&home, device(1), numbered(device(1), 1))), 1);
    assert_eq!(saved(&rig.ask(&home, device(2), star("b"))), 2);
    let mut again = numbered(device(1), 1);
    again.base_seq = Some(Seq::ZERO);
    assert_eq!(repeat(&rig.ask(&home, device(1), again)), 1);
    assert_eq!(read_all(&*rig.store, &home), [1, 2]);
}

#[test]
fn event_10_another_event_at_or_below_the_mark_is_a_fork() {
    let (mut rig, home) = (Rig::new(), stream("home"));
    for n in 1..=3 {
        rig.ask(&home, device(1), numbered(device(1), n));
    }
    for n in 1..=3 {
        let mut other = numbered(device(1), n);
        other.event_data = star("other").event_data;
        assert_eq!(
            refused(&rig.ask(&home, device(1), other)),
            RefusalName::DeviceForked
        );
    }
    assert_eq!(saved(&rig.ask(&home, device(1), numbered(device(1), 4))), 4);
}

#[test]
fn event_10_a_repeat_older_than_the_window_is_a_fork() {
    let (mut rig, home) = (Rig::new(), stream("home"));
    let last = WINDOW as u64 + 1;
    for n in 1..=last {
        rig.ask(&home, device(1), numbered(device(1), n));
    }
    assert_eq!(
        repeat(&rig.ask(&home, device(1), numbered(device(1), 2))),
        2
    );
    let outcome = rig.ask(&home, device(1), numbered(device(1), 1));
    assert_eq!(refused(&outcome), RefusalName::DeviceForked);
}

#[test]
fn event_8_a_device_seq_jumps_by_at_most_2_to_the_32() {
    let (mut rig, home) = (Rig::new(), stream("home"));
    let far = numbered(device(1), (1 << 32) + 1);
    assert_eq!(
        refused(&rig.ask(&home, device(1), far)),
        RefusalName::BadDeviceSeq
    );
    assert_eq!(
        saved(&rig.ask(&home, device(1), numbered(device(1), 1 << 32))),
        1
    );
}

#[test]
fn event_7_another_history_is_the_wrong_epoch_and_a_repeat_is_still_a_repeat() {
    let (mut rig, home) = (Rig::new(), stream("home"));
    rig.ask(&home, device(1), numbered(device(1), 1));
    let epoch = rig.event(&home, 1).epoch;
    let of = |n, base, epoch| {
        let mut intent = numbered(device(1), n);
        (intent.base_seq, intent.epoch) = (base, Some(epoch));
        intent
    };
    let other = Epoch::new(epoch.get() + 1);
    let outcome = rig.ask(&home, device(1), of(2, Some(at(1)), other));
    assert_eq!(refused(&outcome), RefusalName::WrongEpoch);
    assert_eq!(
        repeat(&rig.ask(&home, device(1), of(1, Some(at(1)), other))),
        1
    );
    assert_eq!(saved(&rig.ask(&home, device(1), of(2, None, other))), 2);
    assert_eq!(
        saved(&rig.ask(&home, device(1), of(3, Some(at(2)), epoch))),
        3
    );
    assert_eq!(
        saved(&rig.ask(&home, device(1), of(4, Some(Seq::ZERO), Epoch::NONE))),
        4
    );
    let outcome = rig.ask(&home, device(1), of(5, Some(at(1)), Epoch::NONE));
    assert_eq!(refused(&outcome), RefusalName::WrongEpoch);
}

#[test]
fn event_6_the_base_seq_never_falls_and_stays_below_the_seq() {
    let (mut rig, home) = (Rig::new(), stream("home"));
    let based = |base: Option<u64>| {
        let mut intent = star("a");
        intent.base_seq = base.map(at);
        intent
    };
    for (base, stored) in [
        (None, 0),
        (None, 1),
        (Some(0), 1),
        (Some(99), 3),
        (Some(1), 3),
    ] {
        let seq = saved(&rig.ask(&home, device(1), based(base)));
        assert_eq!(rig.event(&home, seq).base_seq, at(stored), "{seq}");
    }
    let seq = saved(&rig.ask(&home, device(2), based(Some(1))));
    assert_eq!(rig.event(&home, seq).base_seq, at(1));
}

#[test]
fn event_5_accepted_at_never_decreases_even_when_the_wall_clock_does() {
    let (mut rig, home) = (Rig::new(), stream("home"));
    for (now, accepted) in [(10_000, 10_000), (9_000, 10_000), (11_000, 11_000)] {
        rig.outside.now.store(now, Ordering::SeqCst);
        let seq = saved(&rig.ask(&home, device(1), star("a")));
        assert_eq!(rig.event(&home, seq).accepted_at, UnixMillis::new(accepted));
    }
}

#[test]
fn clock_2_and_3_clocks_are_filled_in_and_pulled_back() {
    let (mut rig, home) = (Rig::new(), stream("home"));
    let mut stored = |given: Option<u64>| {
        let mut intent = star("a");
        intent.clock = given.map(|ms| Clock::at(UnixMillis::new(ms)));
        let seq = saved(&rig.ask(&home, device(1), intent));
        let clock = rig.event(&home, seq).clock;
        (clock.timestamp.get(), clock.counter)
    };
    assert_eq!(stored(None), (10_000, 0));
    assert_eq!(stored(None), (10_000, 1));
    assert_eq!(stored(Some(5)), (5, 0));
    assert_eq!(stored(Some(99_999)), (10_000 + SKEW_MS, 0));
    assert_eq!(stored(Some(99_998)), (10_000 + SKEW_MS, 1));
    assert_eq!(stored(None), (10_000 + SKEW_MS, 2));
}

#[test]
fn schema_what_a_named_type_lacks_is_bad_data_and_consumes_no_device_seq() {
    let (mut rig, home) = (Rig::new(), stream("home"));
    let mut bare = numbered(device(1), 1);
    bare.event_data = Value::Nil;
    assert_eq!(
        refused(&rig.ask(&home, device(1), bare)),
        RefusalName::BadData
    );
    assert_eq!(saved(&rig.ask(&home, device(1), numbered(device(1), 1))), 1);
    let unknown = Intent::new("play".parse().unwrap(), Value::Nil);
    assert_eq!(saved(&rig.ask(&home, device(1), unknown)), 2);
}

#[test]
fn schema_a_strict_one_refuses_types_that_it_does_not_name() {
    let outside = Outside::new();
    let schema = Arc::new(Schema::parse(&format!("strict = true\n{SCHEMA}")).unwrap());
    let store = Arc::new(MemoryStore::new(WINDOW));
    let sequencer = Sequencer::start(&options(), store, schema, outside.hooks()).unwrap();
    let (told, answer) = channel();
    let unknown = Intent::new("play".parse().unwrap(), Value::Nil);
    let reply: Reply = Box::new(move |outcome| told.send(outcome).unwrap());
    let asked = submission(stream("home"), device(1), unknown);
    assert!(sequencer.submit(&Lane::new(), asked, reply).is_ok());
    let outcome = answer.recv_timeout(PATIENCE).unwrap();
    assert_eq!(refused(&outcome), RefusalName::UnknownType);
}
