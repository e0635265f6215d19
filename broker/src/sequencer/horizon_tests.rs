//! Horizon, epochs and counters, with a sequencer that works by hand.

use std::collections::HashMap;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use syncline_protocol::{
    DeviceId, Epoch, Event, Intent, RefusalName, Schema, Seq, StreamId, Value,
};

use super::tests::{
    DEVICE_RETENTION_MS, Outside, SCHEMA, WINDOW, failed, numbered, options, refused, repeat,
    saved, star,
};
use super::{Lane, Outcome, Sequencer, Stepper, Told};
use crate::edge::submission;
use crate::store::contract::{ALL, at, device, number, read_all, stream};
use crate::store::faults::{Faults, FaultyStore};
use crate::store::memory::MemoryStore;
use crate::store::{EventStore, StreamHead};

/// What the counters stand at, and how often somebody asked.
#[derive(Clone, Default)]
struct Sums {
    values: Arc<Mutex<HashMap<String, i64>>>,
    asked: Arc<Mutex<(usize, usize)>>,
}

struct Rig {
    sequencer: Sequencer,
    stepper: Stepper,
    store: Arc<FaultyStore<MemoryStore>>,
    faults: Faults,
    outside: Outside,
    sums: Sums,
    home: StreamId,
}

impl Rig {
    fn new() -> Rig {
        let faults = Faults::default();
        let store = Arc::new(FaultyStore::new(MemoryStore::new(WINDOW), faults.clone()));
        Rig::on(store, faults, Outside::new(), Sums::default())
    }

    fn on(
        store: Arc<FaultyStore<MemoryStore>>,
        faults: Faults,
        outside: Outside,
        sums: Sums,
    ) -> Rig {
        let mut hooks = outside.hooks();
        let (values, asked) = (Arc::clone(&sums.values), Arc::clone(&sums.asked));
        hooks.counter = Box::new(move |_, _, key| {
            asked.lock().unwrap().1 += 1;
            Ok(values.lock().unwrap().get(key).copied().unwrap_or(0))
        });
        let (values, asked) = (Arc::clone(&sums.values), Arc::clone(&sums.asked));
        hooks.farthest_counter = Box::new(move |_| {
            asked.lock().unwrap().0 += 1;
            let values = values.lock().unwrap();
            Ok(values
                .values()
                .map(|it| it.unsigned_abs())
                .max()
                .unwrap_or(0))
        });
        let schema = Arc::new(Schema::parse(SCHEMA).unwrap());
        let shared: Arc<dyn EventStore> = store.clone();
        let (sequencer, stepper) = Sequencer::by_hand(&options(), shared, schema, hooks).unwrap();
        Rig {
            sequencer,
            stepper,
            store,
            faults,
            outside,
            sums,
            home: stream("home"),
        }
    }

    /// The same store, clock and counters, and nothing in memory.
    fn restart(self) -> Rig {
        Rig::on(self.store, self.faults, self.outside, self.sums)
    }

    fn ask(&mut self, author: DeviceId, intent: Intent) -> Outcome {
        self.ask_all(vec![(author, intent)]).remove(0)
    }

    /// In one batch.
    fn ask_all(&mut self, intents: Vec<(DeviceId, Intent)>) -> Vec<Outcome> {
        let (told, answers) = channel();
        for (author, intent) in intents {
            let told = told.clone();
            let reply = Box::new(move |outcome| told.send(outcome).unwrap());
            let asked = submission(self.home.clone(), author, intent);
            assert!(self.sequencer.submit(&Lane::new(), asked, reply).is_ok());
        }
        self.stepper.step();
        answers.try_iter().collect()
    }

    /// Stars by device 9, so that the stream is as long as this.
    fn fill(&mut self, seq: u64) {
        while self.head().seq < at(seq) {
            saved(&self.ask(device(9), star("filler")));
        }
    }

    fn head(&self) -> StreamHead {
        self.store.head(&self.home).unwrap()
    }

    fn order(
        &mut self,
        order: impl FnOnce(&Sequencer, StreamId, Told),
    ) -> Result<StreamHead, String> {
        let (told, answer) = channel();
        let done = Box::new(move |head| told.send(head).unwrap());
        order(&self.sequencer, self.home.clone(), done);
        self.stepper.step();
        answer.try_recv().expect("an answer")
    }

    fn raise(&mut self, to: u64) -> Result<StreamHead, String> {
        self.order(|sequencer, stream, done| sequencer.raise_horizon(stream, at(to), done))
    }

    fn begin(&mut self) -> Result<StreamHead, String> {
        self.order(Sequencer::begin_epoch)
    }

    fn doubt(&mut self, seq: u64, epoch: Epoch) -> StreamHead {
        self.order(|sequencer, stream, done| sequencer.doubt(stream, at(seq), epoch, done))
            .unwrap()
    }

    fn event(&self, seq: u64) -> Event {
        let found = self.store.read(&self.home, at(seq - 1), ALL).unwrap();
        Event::decode(found[0].payload()).unwrap()
    }
}

/// By a device that had seen so much.
fn based(mut intent: Intent, base_seq: u64) -> Intent {
    intent.base_seq = Some(at(base_seq));
    intent
}

fn play(track: &str, times: i64) -> Intent {
    let json = format!(r#"{{"track_id":"{track}","times":{times}}}"#);
    let data = Value::from_json(json.as_bytes()).unwrap();
    Intent::new("play_track".parse().unwrap(), data)
}

#[test]
fn horizon_1_it_only_grows_to_at_most_the_head_and_is_on_disk_when_told() {
    let mut rig = Rig::new();
    rig.fill(10);
    for (asked, horizon) in [(4, 4), (2, 4), (99, 10), (0, 10)] {
        assert_eq!(rig.raise(asked).unwrap().horizon, at(horizon));
        assert_eq!(rig.head().horizon, at(horizon));
    }
    let rig = rig.restart();
    assert_eq!(rig.head().horizon, at(10));
}

#[test]
fn horizon_1_an_order_that_fails_changes_nothing_and_may_be_given_again() {
    let mut rig = Rig::new();
    rig.fill(10);
    rig.faults.fail_before(1);
    assert!(rig.raise(5).is_err());
    assert_eq!(rig.head().horizon, Seq::ZERO);
    assert_eq!(saved(&rig.ask(device(1), based(star("a"), 2))), 11);
    assert_eq!(rig.raise(5).unwrap().horizon, at(5));
    rig.sequencer.drain();
    assert!(rig.raise(6).is_err());
}

#[test]
fn horizon_2_an_event_from_below_the_horizon_is_overtaken() {
    let mut rig = Rig::new();
    rig.fill(10);
    rig.raise(5).unwrap();
    let outcome = rig.ask(device(1), based(star("a"), 4));
    assert_eq!(refused(&outcome), RefusalName::Overtaken);
    assert_eq!(saved(&rig.ask(device(1), based(star("a"), 5))), 11);
    assert_eq!(saved(&rig.ask(device(2), star("a"))), 12);
}

#[test]
fn horizon_2_the_effective_base_seq_counts_and_a_refusal_consumes_no_number() {
    let mut rig = Rig::new();
    rig.fill(10);
    // EVENT-6: it has seen 10 already, whatever it says later.
    assert_eq!(
        saved(&rig.ask(device(1), based(numbered(device(1), 1), 10))),
        11
    );
    rig.raise(8).unwrap();
    assert_eq!(
        saved(&rig.ask(device(1), based(numbered(device(1), 2), 3))),
        12
    );
    assert_eq!(
        saved(&rig.ask(device(2), based(numbered(device(2), 1), 9))),
        13
    );
    rig.raise(13).unwrap();
    let outcome = rig.ask(device(2), based(numbered(device(2), 2), 9));
    assert_eq!(refused(&outcome), RefusalName::Overtaken);
    assert_eq!(
        saved(&rig.ask(device(2), based(numbered(device(2), 2), 13))),
        14
    );
}

#[test]
fn horizon_2_counters_and_unnamed_types_are_never_overtaken() {
    let mut rig = Rig::new();
    rig.fill(10);
    rig.raise(10).unwrap();
    assert_eq!(saved(&rig.ask(device(1), based(play("t", 1), 0))), 11);
    let unnamed = Intent::new("listened".parse().unwrap(), Value::Nil);
    assert_eq!(saved(&rig.ask(device(1), based(unnamed, 0))), 12);
}

#[test]
fn horizon_2_dedupe_comes_before_the_epoch_that_before_the_horizon_that_before_the_schema() {
    let mut rig = Rig::new();
    let first = based(numbered(device(1), 1), 0);
    assert_eq!(saved(&rig.ask(device(1), first.clone())), 1);
    rig.fill(10);
    rig.raise(10).unwrap();
    // A repeat is a repeat though its base_seq is below the horizon.
    assert_eq!(repeat(&rig.ask(device(1), first)), 1);
    // The wrong epoch is told before the horizon.
    let mut wrong = based(star("a"), 4);
    wrong.epoch = Some(Epoch::new(rig.head().epoch.get() + 1));
    assert_eq!(refused(&rig.ask(device(2), wrong)), RefusalName::WrongEpoch);
    // The horizon before what is wrong with the data.
    let mut bad = based(star("a"), 4);
    bad.event_data = Value::Nil;
    assert_eq!(
        refused(&rig.ask(device(2), bad.clone())),
        RefusalName::Overtaken
    );
    bad.base_seq = Some(at(10));
    assert_eq!(refused(&rig.ask(device(2), bad)), RefusalName::BadData);
}

#[test]
fn horizon_2_in_one_batch_an_event_before_the_order_is_judged_by_the_old_horizon() {
    let mut rig = Rig::new();
    rig.fill(10);
    let (told, answers) = channel();
    for place in 0..2 {
        if place == 1 {
            let done = Box::new(|head: Result<StreamHead, String>| {
                assert_eq!(head.unwrap().horizon, at(8));
            });
            rig.sequencer.raise_horizon(rig.home.clone(), at(8), done);
        }
        let told = told.clone();
        let reply = Box::new(move |outcome| told.send(outcome).unwrap());
        let asked = submission(rig.home.clone(), device(place + 1), based(star("a"), 3));
        assert!(rig.sequencer.submit(&Lane::new(), asked, reply).is_ok());
    }
    assert_eq!(rig.stepper.step(), 3);
    let outcomes: Vec<_> = answers.try_iter().collect();
    assert_eq!(saved(&outcomes[0]), 11);
    assert_eq!(refused(&outcomes[1]), RefusalName::Overtaken);
}

#[test]
fn horizon_3_a_device_without_a_mark_from_below_the_horizon_is_expired() {
    let mut rig = Rig::new();
    rig.fill(10);
    rig.raise(5).unwrap();
    let new = |base: u64| based(numbered(device(1), 1), base);
    assert_eq!(refused(&rig.ask(device(1), new(4))), RefusalName::Expired);
    // Counters and unnamed types, too.
    let mut count = based(play("t", 1), 4);
    (count.device, count.device_seq) = (Some(device(1)), Some(number(1)));
    assert_eq!(refused(&rig.ask(device(1), count)), RefusalName::Expired);
    // Who follows no replica is not, and neither is who numbers nothing.
    assert_eq!(saved(&rig.ask(device(1), numbered(device(1), 1))), 11);
    assert_eq!(
        refused(&rig.ask(device(2), based(star("a"), 4))),
        RefusalName::Overtaken
    );
}

#[test]
fn horizon_3_a_mark_counts_until_its_retention_whether_it_was_dropped_or_not() {
    for dropped in [false, true] {
        let mut rig = Rig::new();
        let first = based(numbered(device(1), 1), 0);
        assert_eq!(saved(&rig.ask(device(1), first.clone())), 1);
        rig.outside.set_now(10_000 + DEVICE_RETENTION_MS - 1);
        rig.fill(10);
        rig.raise(10).unwrap();
        assert_eq!(repeat(&rig.ask(device(1), first.clone())), 1);
        rig.outside.set_now(10_000 + DEVICE_RETENTION_MS);
        if dropped {
            let forgotten = rig.store.forget_marks(&rig.home, rig.event(2).accepted_at);
            assert_eq!(forgotten.unwrap(), 1);
            rig = rig.restart();
        }
        let outcome = rig.ask(device(1), first);
        assert_eq!(refused(&outcome), RefusalName::Expired, "{dropped}");
        let next = based(numbered(device(1), 2), 10);
        assert_eq!(saved(&rig.ask(device(1), next)), 11, "{dropped}");
        assert_eq!(
            rig.store
                .mark(&rig.home, device(1))
                .unwrap()
                .unwrap()
                .device_seq,
            Some(number(2))
        );
    }
}

#[test]
fn g4_a_repeat_is_recognised_as_long_as_its_first_copy_is_kept() {
    let mut rig = Rig::new();
    rig.fill(3);
    let first = based(numbered(device(1), 1), 3);
    assert_eq!(saved(&rig.ask(device(1), first.clone())), 4);
    rig.raise(2).unwrap();
    rig.outside.set_now(10_000 + 2 * DEVICE_RETENTION_MS);
    assert_eq!(repeat(&rig.ask(device(1), first)), 4);
}

#[test]
fn epoch_2_seq_and_horizon_go_on_and_marks_stay() {
    let mut rig = Rig::new();
    let first = based(numbered(device(1), 1), 0);
    rig.ask(device(1), first.clone());
    rig.fill(10);
    rig.raise(2).unwrap();
    let before = rig.head();
    let begun = rig.begin().unwrap();
    assert_ne!(begun.epoch, before.epoch);
    assert_eq!((begun.seq, begun.horizon), (at(10), at(2)));
    assert_eq!(rig.head().epoch, begun.epoch);
    let mut old = based(star("a"), 10);
    old.epoch = Some(before.epoch);
    assert_eq!(refused(&rig.ask(device(2), old)), RefusalName::WrongEpoch);
    assert_eq!(repeat(&rig.ask(device(1), first)), 1);
    assert_eq!(saved(&rig.ask(device(2), star("a"))), 11);
    assert_eq!(rig.event(11).epoch, begun.epoch);
    assert_eq!(read_all(&*rig.store, &rig.home).len(), 11);
}

#[test]
fn epoch_2_in_one_batch_events_before_it_are_of_the_old_one_and_those_after_of_the_new() {
    let mut rig = Rig::new();
    rig.fill(3);
    let (told, answers) = channel();
    for place in 0..4 {
        if place == 2 {
            rig.sequencer
                .begin_epoch(rig.home.clone(), Box::new(|head| assert!(head.is_ok())));
        }
        let told = told.clone();
        let reply = Box::new(move |outcome| told.send(saved(&outcome)).unwrap());
        let asked = submission(rig.home.clone(), device(1), star("a"));
        assert!(rig.sequencer.submit(&Lane::new(), asked, reply).is_ok());
    }
    rig.stepper.step();
    assert_eq!(answers.try_iter().collect::<Vec<_>>(), [4, 5, 6, 7]);
    let epochs: Vec<_> = (3..=7).map(|seq| rig.event(seq).epoch).collect();
    assert_eq!(epochs[0], epochs[2]);
    assert_ne!(epochs[2], epochs[3]);
    assert_eq!(epochs[3], epochs[4]);
    assert_eq!(
        (rig.head().epoch, rig.head().horizon),
        (epochs[4], Seq::ZERO)
    );
    assert_eq!(
        rig.outside.published(&rig.home),
        (1..=7).collect::<Vec<_>>()
    );
}

#[test]
fn epoch_1_an_empty_stream_has_none_to_replace() {
    let mut rig = Rig::new();
    assert_eq!(rig.begin().unwrap(), StreamHead::EMPTY);
    assert_eq!(rig.doubt(5, Epoch::new(7)), StreamHead::EMPTY);
    assert_eq!(rig.raise(5).unwrap(), StreamHead::EMPTY);
}

#[test]
fn epoch_1_a_cursor_beyond_the_head_begins_an_epoch_at_most_once_an_hour() {
    let mut rig = Rig::new();
    rig.fill(10);
    let first = rig.head().epoch;
    assert_eq!(
        rig.doubt(10, first).epoch,
        first,
        "the head is not beyond the head"
    );
    assert_eq!(
        rig.doubt(11, Epoch::new(first.get() + 99)).epoch,
        first,
        "another history"
    );
    let second = rig.doubt(11, first).epoch;
    assert_ne!(second, first);
    assert_eq!(rig.doubt(99, first).epoch, second);
    assert_eq!(rig.doubt(99, second).epoch, second, "once an hour");
    rig.outside.set_now(10_000 + 3_600_000);
    assert_ne!(rig.doubt(99, second).epoch, second);
}

#[test]
fn epoch_1_a_doubt_whose_commit_fails_may_come_again() {
    let mut rig = Rig::new();
    rig.fill(10);
    let first = rig.head().epoch;
    rig.faults.fail_before(1);
    let failed = rig.order(|sequencer, stream, done| sequencer.doubt(stream, at(11), first, done));
    assert!(failed.is_err());
    assert_ne!(rig.doubt(11, first).epoch, first);
}

#[test]
fn state_10_an_add_that_would_leave_the_integers_is_refused() {
    const LAST: i64 = (1 << 53) - 1;
    let mut rig = Rig::new();
    let outcomes = rig.ask_all(vec![
        (device(1), play("t", LAST)),
        (device(1), play("t", 1)),
        (device(1), play("u", 1)),
        (device(1), play("t", -5)),
        (device(1), play("t", 5)),
        (device(1), play("t", 1)),
    ]);
    let names = outcomes.iter().map(|outcome| match outcome {
        Outcome::Refused(refused) => Err(refused.name),
        other => Ok(saved(other)),
    });
    let over = Err(RefusalName::Overflow);
    assert_eq!(
        names.collect::<Vec<_>>(),
        [Ok(1), over, Ok(2), Ok(3), Ok(4), over]
    );
}

#[test]
fn state_10_the_states_are_asked_only_where_the_end_may_be_near() {
    let mut rig = Rig::new();
    rig.fill(2);
    rig = rig.restart();
    rig.sums
        .values
        .lock()
        .unwrap()
        .insert("t".to_owned(), 1_000);
    for n in 0..50 {
        saved(&rig.ask(device(1), play(&format!("track-{n}"), 3)));
    }
    assert_eq!(*rig.sums.asked.lock().unwrap(), (1, 0));
    rig.sums
        .values
        .lock()
        .unwrap()
        .insert("t".to_owned(), (1 << 53) - 2);
    rig = rig.restart();
    assert_eq!(saved(&rig.ask(device(1), play("t", 1))), 53);
    let last = (1 << 53) - 1;
    rig.sums.values.lock().unwrap().insert("t".to_owned(), last);
    assert_eq!(
        refused(&rig.ask(device(1), play("t", 1))),
        RefusalName::Overflow
    );
    assert_eq!(saved(&rig.ask(device(1), play("u", 1))), 54);
    assert_eq!(*rig.sums.asked.lock().unwrap(), (2, 2));
}

#[test]
fn answer_4_a_count_that_cannot_be_judged_is_refused_for_now() {
    let mut rig = Rig::new();
    rig.fill(2);
    let mut hooks = rig.outside.hooks();
    hooks.farthest_counter = Box::new(|_| Err("the disk is gone".to_owned()));
    let schema = Arc::new(Schema::parse(SCHEMA).unwrap());
    let shared: Arc<dyn EventStore> = rig.store.clone();
    (rig.sequencer, rig.stepper) = Sequencer::by_hand(&options(), shared, schema, hooks).unwrap();
    failed(&rig.ask(device(1), play("t", 1)));
    assert_eq!(saved(&rig.ask(device(1), star("a"))), 3);
}

#[test]
fn state_12_nothing_is_accepted_before_the_schema_was_adopted() {
    let outside = Outside::new();
    let adopted = [(
        "plays".to_owned(),
        syncline_protocol::UnixMillis::new(77_777),
    )];
    let schema = Schema::parse(SCHEMA).unwrap().with_adopted(adopted.into());
    let store: Arc<dyn EventStore> = Arc::new(MemoryStore::new(WINDOW));
    let (sequencer, mut stepper) = Sequencer::by_hand(
        &options(),
        Arc::clone(&store),
        Arc::new(schema),
        outside.hooks(),
    )
    .unwrap();
    let asked = submission(stream("home"), device(1), play("t", 1));
    assert!(
        sequencer
            .submit(&Lane::new(), asked, Box::new(drop))
            .is_ok()
    );
    stepper.step();
    assert_eq!(
        store.head(&stream("home")).unwrap().accepted_at.get(),
        77_777
    );
}
