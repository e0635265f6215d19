//! A broker's rooms behind the edge, driven by hand: the real sequencer, states and compactor over a store.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use syncline_protocol::{
    Clock, DeviceId, Digest, Event, Intent, Schema, Seq, State, StreamId, UnixMillis, Value,
};

use crate::compactor::{self, Compactor, History, Limits, Progress, States, Want, Written};
use crate::edge::submission;
use crate::sequencer::{Hooks, Lane, Options, Outcome, Sequencer, Stepper};
use crate::store::contract::{ALL, number};
use crate::store::{Base, EventStore, StoreError, StreamHead};

/// Every kind and every policy.
pub(super) const SCHEMA: &str = r#"
[collections.last]
kind = "set"
conflict = "last_write_wins"
key = "key"
add = "last_add"
remove = "last_remove"

[collections.adds]
kind = "set"
conflict = "add_wins"
key = "key"
add = "adds_add"
remove = "adds_remove"

[collections.removes]
kind = "set"
conflict = "remove_wins"
key = "key"
add = "removes_add"
remove = "removes_remove"

[collections.both]
kind = "map"
conflict = "keep_both"
key = "key"
value = "value"
add = "both_add"
remove = "both_remove"
open_values_max = 3

[collections.count]
kind = "counter"
key = "key"
add = "count_add"
amount = "value"

[collections.list]
kind = "list"
conflict = "last_write_wins"
key = "key"
after = "after"
value = "value"
add = "list_add"
remove = "list_remove"
"#;

/// Small enough that a test reaches all of it.
pub(super) fn options() -> compactor::Options {
    compactor::Options {
        history: History {
            limits: Limits {
                max_age_ms: 2_000,
                max_events: 24,
                max_bytes: 1 << 20,
                min_age_ms: 50,
            },
            channels: BTreeMap::new(),
        },
        tombstone_retention_ms: 3_000,
        device_retention_ms: DEVICE_RETENTION_MS,
        interval_ms: 1,
        round_ms: 1,
    }
}

const DEVICE_RETENTION_MS: u64 = 6_000;

pub(super) struct Rig {
    pub(super) store: Arc<dyn EventStore>,
    pub(super) states: Arc<States>,
    pub(super) options: compactor::Options,
    schema: Arc<Schema>,
    sequencer: Arc<Sequencer>,
    stepper: Stepper,
    compactor: Compactor,
    now: Arc<AtomicU64>,
    chance: Arc<AtomicU64>,
}

impl Rig {
    pub(super) fn new(store: Arc<dyn EventStore>, options: compactor::Options) -> Rig {
        let now = Arc::new(AtomicU64::new(1_000_000));
        Rig::at(store, options, now, Arc::default())
    }

    fn at(
        store: Arc<dyn EventStore>,
        options: compactor::Options,
        now: Arc<AtomicU64>,
        chance: Arc<AtomicU64>,
    ) -> Rig {
        let schema = Arc::new(Schema::parse(SCHEMA).unwrap());
        let states = States::new(Arc::clone(&store), Arc::clone(&schema), 64 << 10);
        let (states, written) = (Arc::new(states), Written::default());
        let hooks = hooks(&states, &written, &now, &chance);
        let (sequencer, stepper) = Sequencer::by_hand(
            &sequencing(),
            Arc::clone(&store),
            Arc::clone(&schema),
            hooks,
        )
        .unwrap();
        let sequencer = Arc::new(sequencer);
        let raises = Arc::clone(&sequencer);
        let compactor = Compactor::new(
            options.clone(),
            Arc::clone(&store),
            Arc::clone(&states),
            written,
            Box::new(move |stream, to, done| raises.raise_horizon(stream, to, done)),
            Box::new(|error| panic!("{error}")),
        );
        Rig {
            store,
            states,
            options,
            schema,
            sequencer,
            stepper,
            compactor,
            now,
            chance,
        }
    }

    /// All that was in memory is gone.
    pub(super) fn restart(self) -> Rig {
        Rig::at(self.store, self.options, self.now, self.chance)
    }

    pub(super) fn now(&self) -> UnixMillis {
        UnixMillis::new(self.now.load(Ordering::SeqCst))
    }

    pub(super) fn pass(&self, ms: u64) {
        self.now.fetch_add(ms, Ordering::SeqCst);
    }

    pub(super) fn say(&mut self, stream: &StreamId, author: DeviceId, intent: Intent) -> Outcome {
        let (told, answer) = channel();
        let reply = Box::new(move |outcome| told.send(outcome).unwrap());
        let asked = submission(stream.clone(), author, intent);
        assert!(self.sequencer.submit(&Lane::new(), asked, reply).is_ok());
        self.stepper.step();
        answer.try_recv().unwrap()
    }

    /// One step of the compactor, and of the sequencer if it is asked for something.
    pub(super) fn step(&mut self) -> Progress {
        let progress = self.compactor.step(self.now());
        self.stepper.step();
        progress
    }

    /// Until there is nothing to do, and a whole round has passed.
    pub(super) fn compact(&mut self) {
        for _ in 0..3 {
            self.pass(1);
            let mut steps = 0;
            while self.step() != Progress::Idle {
                steps += 1;
                assert!(steps < 10_000, "the compactor does not come to rest");
            }
        }
    }

    /// The same for a store that needs time of its own.
    pub(super) fn come_to_rest(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        self.pass(1);
        while self.step() != Progress::Idle {
            assert!(
                Instant::now() < deadline,
                "the compactor does not come to rest"
            );
        }
    }

    pub(super) fn raise(&mut self, stream: &StreamId, to: Seq) -> Result<StreamHead, String> {
        let told = Arc::new(Mutex::new(None));
        let tell = Arc::clone(&told);
        let done = Box::new(move |head| *tell.lock().unwrap() = Some(head));
        self.sequencer.raise_horizon(stream.clone(), to, done);
        self.stepper.step();
        let mut told = told.lock().unwrap();
        told.take().unwrap()
    }

    pub(super) fn begin_epoch(&mut self, stream: &StreamId) {
        let done = Box::new(|head: Result<StreamHead, String>| assert!(head.is_ok()));
        self.sequencer.begin_epoch(stream.clone(), done);
        self.stepper.step();
    }

    pub(super) fn head(&self, stream: &StreamId) -> StreamHead {
        self.store.head(stream).unwrap()
    }

    pub(super) fn base(&self, stream: &StreamId) -> Base {
        self.store.base(stream).unwrap()
    }

    /// Collection, key, bytes.
    pub(super) fn rows(&self, stream: &StreamId) -> Vec<(String, String, Vec<u8>)> {
        let mut rows = Vec::new();
        let mut each = |it: crate::store::StoredEntry| {
            rows.push((it.collection, it.key, it.entry.to_vec()));
        };
        self.store.entries(stream, &mut each).unwrap();
        rows
    }

    pub(super) fn digest(&self, stream: &StreamId) -> Digest {
        let full = self.states.snapshot(stream, Want::Full).unwrap();
        full.snapshot().digest
    }

    /// Whoever follows the stream is brought up to its head, as VIEW-4 does it.
    pub(super) fn bring_up(&self, stream: &StreamId, replica: &mut State) {
        let (seq, epoch) = (replica.seq(), replica.epoch());
        let want = Want::Since { seq, epoch };
        let opening = self.states.snapshot(stream, want).unwrap();
        replica.take(opening.snapshot()).unwrap();
        for committed in self.store.read(stream, replica.seq(), ALL).unwrap() {
            let event = Event::decode(committed.payload()).unwrap();
            replica.apply(&event).unwrap();
        }
    }

    pub(super) fn replica(&self) -> State {
        State::new(Arc::clone(&self.schema))
    }

    /// The seqs that are kept, and whether those before are gone.
    pub(super) fn kept(&self, stream: &StreamId) -> (bool, usize) {
        let base = self.base(stream).seq;
        let kept = self.store.read(stream, base, ALL).unwrap().len();
        let is_gone = base > Seq::ZERO
            && matches!(
                self.store.read(stream, base.previous(), ALL),
                Err(StoreError::Folded { .. })
            );
        (is_gone, kept)
    }
}

fn sequencing() -> Options {
    Options {
        queue_len_max: 64,
        batch_events_max: 16,
        batch_bytes_max: 1 << 20,
        receive_maximum: 8,
        max_clock_skew_ms: 1_000,
        active_streams_max: 8,
        device_retention_ms: DEVICE_RETENTION_MS,
        founding: crate::sequencer::FoundingOptions::default(),
        stream: crate::sequencer::StreamOptions::default(),
    }
}

fn hooks(
    states: &Arc<States>,
    written: &Written,
    now: &Arc<AtomicU64>,
    chance: &Arc<AtomicU64>,
) -> Hooks {
    let (now, chance, written) = (Arc::clone(now), Arc::clone(chance), written.clone());
    let (one, all) = (Arc::clone(states), Arc::clone(states));
    Hooks {
        now: Arc::new(move || UnixMillis::new(now.load(Ordering::SeqCst))),
        random: Box::new(move || chance.fetch_add(1, Ordering::SeqCst) + 0x5eed),
        sink: Box::new(move |events| written.note(&events)),
        on_fatal: Box::new(|error| panic!("{error}")),
        counter: Box::new(move |stream, collection, key| {
            let value = one.counter(stream, collection, key);
            value.map_err(|error| error.to_string())
        }),
        farthest_counter: Box::new(move |stream| {
            let farthest = all.farthest_counter(stream);
            farthest.map_err(|error| error.to_string())
        }),
        state: Box::new(|_, _| Err("nobody is to ask".to_owned())),
        full: Box::new(|_| ()),
    }
}

/// An intent with this data, which is JSON.
pub(super) fn intent(event_type: &str, data: &str) -> Intent {
    let data = Value::from_json(data.as_bytes()).unwrap();
    Intent::new(event_type.parse().unwrap(), data)
}

/// An intent about one key.
pub(super) fn about(event_type: &str, key: &str) -> Intent {
    intent(event_type, &format!(r#"{{"key":"{key}","value":1}}"#))
}

/// By a device that numbers its events, at a time of its own.
pub(super) fn numbered(mut intent: Intent, author: DeviceId, n: u64, ms: u64) -> Intent {
    intent.device = Some(author);
    intent.device_seq = Some(number(n));
    intent.clock = Some(Clock::at(UnixMillis::new(ms)));
    intent
}
