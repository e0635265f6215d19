//! The overlay, against the slow way: a copy of the replica to which every intent is applied as an event.

use proptest::prelude::*;
use syncline_protocol::{Channel, DeviceSeq, UnixMillis};

use super::*;

const SCHEMA: &str = r#"
[collections.albums]
kind = "set"
conflict = "last_write_wins"
key = "key"
add = "star"
remove = "unstar"

[collections.tags]
kind = "set"
conflict = "add_wins"
key = "key"
add = "tag"
remove = "untag"

[collections.moods]
kind = "map"
conflict = "remove_wins"
key = "key"
value = "value"
add = "mood"
remove = "unmood"

[collections.notes]
kind = "map"
conflict = "keep_both"
key = "key"
value = "value"
add = "note"
remove = "unnote"
open_values_max = 3

[collections.plays]
kind = "counter"
key = "key"
add = "play"

[collections.items]
kind = "list"
conflict = "last_write_wins"
key = "key"
value = "value"
list = "list"
after = "after"
add = "put"
remove = "take"
"#;

const TYPES: [&str; 11] = [
    "star", "unstar", "tag", "untag", "mood", "unmood", "note", "unnote", "play", "put", "take",
];

/// What may happen to a view.
#[derive(Debug, Clone)]
enum Step {
    /// The app acts.
    Publish(Said),
    /// Another device's event comes, whose author lacked so many.
    Other { said: Said, lacked: u64, clock: u64 },
    /// The event of the first intent comes; its author lacked so many more than it says.
    Own { lacked: u64 },
    /// An intent is set aside.
    SetAside(usize),
    /// An intent has seen nothing of this history.
    Rebase(usize),
    /// A state comes that has so many events of another device more.
    Bridge(Vec<Said>),
}

/// A type, a key, a neighbour and a list, each by its number.
type Said = (usize, u8, u8, u8);

struct Slow {
    view: View,
    /// What the broker has.
    state: State,
    pending: Vec<(IntentId, Intent)>,
    next: u64,
    before: BTreeMap<Key, Seen>,
}

fn device(n: u8) -> DeviceId {
    DeviceId::from_bytes([n; 16])
}

fn data((_, key, after, list): Said, value: u64) -> Value {
    let text = |n: u8| Value::text(format!("k{n}"));
    let mut data = BTreeMap::from([
        ("key".to_owned(), text(key)),
        ("value".to_owned(), Value::text(value.to_string())),
        ("list".to_owned(), text(list)),
    ]);
    match after {
        0 => {}
        1 => drop(data.insert("after".to_owned(), Value::Nil)),
        n => drop(data.insert("after".to_owned(), text(n - 2))),
    }
    Value::Map(data)
}

fn stream() -> StreamId {
    StreamId {
        sync_id: "s".parse().unwrap(),
        channel: None::<Channel>,
    }
}

impl Slow {
    fn new() -> Self {
        let schema = Arc::new(Schema::parse(SCHEMA).unwrap());
        let mut view = View::default();
        view.start_over(Arc::clone(&schema));
        Self {
            view,
            state: State::new(schema),
            pending: Vec::new(),
            next: 0,
            before: BTreeMap::new(),
        }
    }

    fn event(&self, intent: &Intent, seq: Seq, base_seq: Seq) -> Event {
        Event {
            stream: stream(),
            epoch: Epoch::new(1),
            seq,
            accepted_at: UnixMillis::new(0),
            event_type: intent.event_type.clone(),
            event_data: intent.event_data.clone(),
            device: intent.device.unwrap(),
            device_seq: intent.device_seq,
            clock: intent.clock.unwrap(),
            base_seq,
            extra: BTreeMap::new(),
        }
    }

    fn intent(&mut self, said: Said, author: u8, clock: u64) -> Intent {
        self.next += 1;
        let mut intent = Intent::new(TYPES[said.0].parse().unwrap(), data(said, self.next));
        intent.device = Some(device(author));
        intent.device_seq = DeviceSeq::new(self.next);
        intent.clock = Some(Clock {
            timestamp: UnixMillis::new(clock),
            counter: 0,
        });
        intent.base_seq = Some(self.state.seq());
        intent
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Publish(said) => {
                let intent = self.intent(said, 1, 100 + self.next);
                let id = IntentId::new(self.next);
                self.view.show(id, &intent);
                self.pending.push((id, intent));
            }
            Step::Other {
                said,
                lacked,
                clock,
            } => {
                let intent = self.intent(said, 2, clock);
                let event = self.other(&intent, lacked);
                self.view.apply(&event, None).unwrap();
            }
            Step::Own { lacked } => self.confirm(lacked),
            Step::SetAside(at) if at < self.pending.len() => {
                let (id, intent) = self.pending.remove(at);
                self.view.hide(id, &intent);
            }
            Step::Rebase(at) if at < self.pending.len() => {
                let (id, intent) = &mut self.pending[at];
                intent.base_seq = Some(Seq::ZERO);
                self.view.update(*id, intent);
            }
            Step::SetAside(_) | Step::Rebase(_) => {}
            Step::Bridge(said) => {
                for said in said {
                    let intent = self.intent(said, 2, 500);
                    self.other(&intent, 1);
                }
                let snapshot = Snapshot::of(&self.state, stream(), Seq::ZERO);
                self.view.take(&snapshot).unwrap();
            }
        }
        self.compare();
    }

    fn other(&mut self, intent: &Intent, lacked: u64) -> Event {
        let seq = self.state.seq().next();
        let base_seq = Seq::new(seq.previous().get().saturating_sub(lacked)).unwrap();
        let event = self.event(intent, seq, base_seq);
        self.state.apply(&event).unwrap();
        event
    }

    fn confirm(&mut self, lacked: u64) {
        if self.pending.is_empty() {
            return;
        }
        let (id, intent) = self.pending.remove(0);
        let base_seq = intent.base_seq.unwrap().get().saturating_sub(lacked);
        let seq = self.state.seq().next();
        let event = self.event(&intent, seq, Seq::new(base_seq).unwrap());
        self.state.apply(&event).unwrap();
        self.view.apply(&event, Some(id)).unwrap();
        self.view.hide(id, &intent);
    }

    /// The slow way.
    fn expected(&self) -> State {
        let mut state = self.state.clone();
        for (_, intent) in &self.pending {
            let event = self.event(intent, state.seq().next(), intent.base_seq.unwrap());
            state.begin_epoch(event.epoch);
            state.apply(&event).unwrap();
        }
        state
    }

    fn compare(&mut self) {
        let changed = self.view.take_changes();
        let expected = self.expected();
        let mut seen = BTreeMap::new();
        for name in expected.schema().collections().keys() {
            let entries = expected.entries(name);
            let live = entries.filter_map(|(key, it)| Some((key.to_owned(), it.value()?.clone())));
            assert_eq!(self.view.entries(name), live.collect(), "{name}");
            for (key, entry) in expected.entries(name) {
                seen.insert((name.clone(), key.to_owned()), see(name, entry));
            }
        }
        for list in ["k0", "k1"] {
            let items = expected.list("items", Some(list)).into_iter();
            let items = items.map(|(key, value)| (key.to_owned(), value.clone()));
            assert_eq!(
                self.view.list("items", Some(list)),
                items.collect::<Vec<_>>()
            );
        }
        for ((name, key), seen) in &seen {
            assert_eq!(&self.view.seen(name, key), seen);
        }
        self.compare_changes(&changed, seen);
    }

    fn compare_changes(&mut self, changed: &[Output], seen: BTreeMap<Key, Seen>) {
        let told = changed.iter().flat_map(|output| match output {
            Output::Changed { collection, keys } => {
                let keys = keys.iter().map(|key| (collection.clone(), key.clone()));
                keys.collect::<Vec<_>>()
            }
            _ => Vec::new(),
        });
        let nothing = Seen::default();
        let keys: BTreeSet<&Key> = self.before.keys().chain(seen.keys()).collect();
        let differs = |key: &&&Key| {
            self.before.get(**key).unwrap_or(&nothing) != seen.get(**key).unwrap_or(&nothing)
        };
        let differing: Vec<Key> = keys
            .iter()
            .filter(differs)
            .map(|key| (*key).clone())
            .collect();
        assert_eq!(told.collect::<Vec<_>>(), differing);
        self.before = seen;
    }
}

fn see(name: &str, entry: &Entry) -> Seen {
    let live = entry.is_live();
    let open = name == "notes" && !entry.conflicts.is_empty();
    Seen {
        value: entry.value().cloned(),
        place: entry.shown.place.clone().filter(|_| live),
        open: entry.acts().filter(|_| open).map(OpenValue::of).collect(),
    }
}

fn said() -> impl Strategy<Value = Said> {
    (0..TYPES.len(), 0..3u8, 0..5u8, 0..2u8)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => said().prop_map(Step::Publish),
        3 => (said(), 0..4u64, 90..130u64)
            .prop_map(|(said, lacked, clock)| Step::Other { said, lacked, clock }),
        4 => prop_oneof![3 => Just(0u64), 1 => 1..3u64].prop_map(|lacked| Step::Own { lacked }),
        1 => (0..4usize).prop_map(Step::SetAside),
        1 => (0..4usize).prop_map(Step::Rebase),
        1 => prop::collection::vec(said(), 0..3).prop_map(Step::Bridge),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn overlay_1_the_view_is_the_replica_with_every_intent_applied_in_order(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let mut slow = Slow::new();
        steps.into_iter().for_each(|step| slow.step(step));
    }
}

#[test]
fn overlay_1_many_intents_on_one_entry_cost_little_each() {
    let mut slow = Slow::new();
    for n in 0..3_000 {
        let play = (8, 0, 0, 0);
        let put = (9, u8::try_from(n % 200).unwrap(), 0, 0);
        let intent = slow.intent(if n % 2 == 0 { play } else { put }, 1, 100 + n);
        let id = IntentId::new(slow.next);
        slow.view.show(id, &intent);
        slow.view.take_changes();
        slow.pending.push((id, intent));
    }
    while !slow.pending.is_empty() {
        slow.confirm(0);
        assert!(slow.view.take_changes().is_empty());
        assert!(slow.view.stale.is_empty());
    }
    assert_eq!(slow.view.entries("plays").len(), 1);
}
