//! Random interleavings, failures and restarts against a naive model.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{channel, sync_channel};

use proptest::prelude::*;
use syncline_protocol::{DeviceId, Event, Intent, RefusalName, Schema, Seq};

use super::tests::{Outside, SCHEMA, WINDOW, options, star};
use super::worker::Worker;
use super::{Job, Lane, Outcome, Room, Submitted};
use crate::edge::submission;
use crate::store::EventStore;
use crate::store::contract::{ALL, device, number, seqs, stream};
use crate::store::faults::{Faults, FaultyStore};
use crate::store::memory::MemoryStore;

/// What happens to one commit of the property test.
#[derive(Debug, Clone, Copy)]
enum Weather {
    Fine,
    FailsBefore,
    FailsAfter,
    /// The store is asked anew by a new process.
    Restart,
}

/// One submission of the property test: who, where, and which number relative to the device's highest.
#[derive(Debug, Clone, Copy)]
struct Step {
    stream: usize,
    device: u128,
    number: Option<i64>,
    content: u8,
}

fn any_step() -> impl Strategy<Value = Step> {
    let number = prop_oneof![4 => Just(Some(1)), 4 => (-4i64..=0).prop_map(Some), 1 => Just(None)];
    (0..2usize, 0..3u128, number, 0..2u8).prop_map(|(stream, device, number, content)| Step {
        stream,
        device,
        number,
        content,
    })
}

fn any_weather() -> impl Strategy<Value = Weather> {
    prop_oneof![
        6 => Just(Weather::Fine),
        1 => Just(Weather::FailsBefore),
        1 => Just(Weather::FailsAfter),
        1 => Just(Weather::Restart),
    ]
}

/// One stream as a list: the naive model.
#[derive(Debug, Clone, Default)]
struct Model {
    /// Device, number, content; its index is its seq - 1.
    events: Vec<(u128, Option<u64>, u8)>,
}

#[derive(Debug, PartialEq)]
enum Expected {
    Saved(u64),
    Repeat(u64),
    Forked,
    Failed,
}

impl Model {
    fn highest(&self, device: u128) -> u64 {
        self.events
            .iter()
            .filter(|it| it.0 == device)
            .filter_map(|it| it.1)
            .max()
            .unwrap_or(0)
    }

    /// The numbered events of a device that are within the window.
    fn recent(&self, device: u128) -> Vec<(u64, u64, u8)> {
        let numbered = self.events.iter().zip(1..).filter(|(it, _)| it.0 == device);
        let all: Vec<_> = numbered
            .filter_map(|(it, seq)| it.1.map(|number| (seq, number, it.2)))
            .collect();
        all[all.len().saturating_sub(WINDOW)..].to_vec()
    }

    fn take(&mut self, device: u128, number: Option<u64>, content: u8) -> Expected {
        if let Some(number) = number
            && number <= self.highest(device)
        {
            let recent = self.recent(device);
            let copy = recent.iter().find(|it| (it.1, it.2) == (number, content));
            return copy.map_or(Expected::Forked, |it| Expected::Repeat(it.0));
        }
        self.events.push((device, number, content));
        Expected::Saved(self.events.len() as u64)
    }
}

fn expected(outcome: &Outcome) -> Expected {
    match outcome {
        Outcome::Saved { seq, .. } => Expected::Saved(seq.get()),
        Outcome::Repeat { seq, .. } => Expected::Repeat(seq.get()),
        Outcome::Refused(refused) if refused.name == RefusalName::DeviceForked => Expected::Forked,
        Outcome::Failed(..) => Expected::Failed,
        other @ Outcome::Refused(_) => panic!("{other:?}"),
    }
}

fn intent_of(number_: Option<u64>, author: DeviceId, content: u8) -> Intent {
    let mut intent = star(&format!("album-{content}"));
    intent.device = Some(author);
    intent.device_seq = number_.map(number);
    intent
}

/// Plays commits against a worker and a model; the worker runs on this thread.
struct Play {
    store: Arc<FaultyStore<MemoryStore>>,
    faults: Faults,
    outside: Outside,
    worker: Worker,
    models: [Model; 2],
}

impl Play {
    fn new() -> Play {
        let faults = Faults::default();
        let store = Arc::new(FaultyStore::new(MemoryStore::new(WINDOW), faults.clone()));
        let outside = Outside::new();
        let worker = Play::worker(&store, &outside);
        Play {
            store,
            faults,
            outside,
            worker,
            models: Default::default(),
        }
    }

    fn worker(store: &Arc<FaultyStore<MemoryStore>>, outside: &Outside) -> Worker {
        let schema = Arc::new(Schema::parse(SCHEMA).unwrap());
        let store: Arc<dyn EventStore> = store.clone();
        Worker::new(
            &options(),
            sync_channel(1).1,
            store,
            schema,
            outside.hooks(),
        )
    }

    fn commit(&mut self, weather: Weather, steps: &[Step]) {
        match weather {
            Weather::Fine => {}
            Weather::FailsBefore => self.faults.fail_before(1),
            Weather::FailsAfter => self.faults.fail_after(1),
            Weather::Restart => self.worker = Play::worker(&self.store, &self.outside),
        }
        let (told, answers) = channel();
        let before = self.models.clone();
        let mut wanted = Vec::new();
        let mut jobs = Vec::new();
        for step in steps {
            let model = &mut self.models[step.stream];
            let highest = model.highest(step.device) as i64;
            let number = step.number.map(|by| (highest + by).max(1) as u64);
            wanted.push(model.take(step.device, number, step.content));
            let told = told.clone();
            let author = device(step.device);
            let intent = intent_of(number, author, step.content);
            let id = stream(["a", "b/c"][step.stream]);
            jobs.push(Job::Submitted(Submitted {
                lane: Lane::new(),
                submission: submission(id, author, intent),
                reply: Box::new(move |outcome| told.send(expected(&outcome)).unwrap()),
                _room: Room::take(&Arc::default(), 0).0,
            }));
        }
        self.worker.settle(jobs);
        let appended = wanted.iter().any(|it| matches!(it, Expected::Saved(_)));
        if appended && matches!(weather, Weather::FailsBefore | Weather::FailsAfter) {
            wanted = steps.iter().map(|_| Expected::Failed).collect();
            if matches!(weather, Weather::FailsBefore) {
                self.models = before;
            }
        }
        self.faults.fail_before(0);
        self.faults.fail_after(0);
        assert_eq!(answers.try_iter().collect::<Vec<_>>(), wanted);
    }

    /// Order, contents and what was published agree with the model.
    fn check(&mut self) {
        self.worker.settle(Vec::new());
        for (model, id) in self.models.iter().zip(["a", "b/c"].map(stream)) {
            let kept = self.store.read(&id, Seq::ZERO, ALL).unwrap();
            assert_eq!(
                seqs(&kept),
                (1..=model.events.len() as u64).collect::<Vec<_>>()
            );
            assert_eq!(self.outside.published(&id), seqs(&kept));
            for (event, (author, number, content)) in kept.iter().zip(&model.events) {
                let event = Event::decode(event.payload()).unwrap();
                let wanted = intent_of(*number, device(*author), *content);
                assert_eq!(event.device, device(*author));
                assert_eq!(event.device_seq, wanted.device_seq);
                assert_eq!(event.event_data, wanted.event_data);
            }
        }
    }
}

proptest! {
    #[test]
    fn g3_g4_any_interleaving_gives_what_a_naive_model_gives(
        commits in prop::collection::vec((any_weather(), prop::collection::vec(any_step(), 1..12)), 1..20)
    ) {
        let mut play = Play::new();
        for (weather, steps) in &commits {
            // A process that restarts has nothing of a failed commit left to publish: its readers start anew.
            let lost = matches!(weather, Weather::Restart);
            if lost {
                play.worker.settle(Vec::new());
            }
            play.commit(*weather, steps);
        }
        play.check();
    }
}

#[test]
fn the_model_forgets_as_the_window_does() {
    let mut seen = HashMap::new();
    let mut model = Model::default();
    for n in 1..=WINDOW as u64 + 2 {
        seen.insert(n, model.take(1, Some(n), 0));
    }
    assert_eq!(model.take(1, Some(2), 0), Expected::Forked);
    assert_eq!(model.take(1, Some(3), 0), Expected::Repeat(3));
    assert_eq!(seen[&3], Expected::Saved(3));
}
