//! Taking back what the user did, offline and against a model of the broker (UNDO-1 … UNDO-5).
#![allow(clippy::unwrap_used)] // helpers of tests are tests, too

mod model;

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{Broker, How};
use proptest::prelude::*;
use syncline_client_core::{
    Answer, Core, DeviceRow, Input, IntentId, NotUndone, OpenOptions, Output, PendingStage,
    Refusal, Stored, WriteId,
};
use syncline_protocol::schema::{Action, After, Operation};
use syncline_protocol::{
    Clock, DeviceId, DeviceSeq, Epoch, Event, Intent, Schema, Seq, StreamId, Topic, UnixMillis,
    Value,
};

fn device(n: u8) -> DeviceId {
    DeviceId::from_bytes([n; 16])
}

fn stream() -> StreamId {
    StreamId {
        sync_id: "music".parse().unwrap(),
        channel: None,
    }
}

/// A core and the broker that it may talk to, by hand.
struct Phone {
    core: Core,
    broker: Broker,
    now: u64,
    /// Sent and not answered.
    sent: Vec<(IntentId, Vec<u8>)>,
}

impl Phone {
    fn offline() -> Self {
        let broker = Broker::new(stream());
        let mut options = OpenOptions::new(stream(), device(1));
        options.online = false;
        options.stored = Some(Stored {
            device: DeviceRow::new(device(1)),
            intents: Vec::new(),
            replica: None,
            schema: Some(Arc::clone(&broker.schema)),
        });
        let (core, _) = Core::open(UnixMillis::new(1), options);
        Self {
            core,
            broker,
            now: 1,
            sent: Vec::new(),
        }
    }

    fn tick(&mut self) -> UnixMillis {
        self.now += 1;
        UnixMillis::new(self.now)
    }

    fn handle(&mut self, input: Input) {
        let now = self.tick();
        let outputs = self.core.handle(now, 0.5, input);
        self.carry_out(outputs);
    }

    /// What is written is durable at once.
    fn carry_out(&mut self, outputs: Vec<Output>) {
        let mut written = WriteId::NONE;
        for output in outputs {
            match output {
                Output::Write(write) => written = write.id,
                Output::Send { id, payload, .. } => self.sent.push((id, payload)),
                _ => {}
            }
        }
        if written > WriteId::NONE {
            self.handle(Input::Persisted(written));
        }
    }

    fn connect(&mut self) {
        self.handle(Input::SetOnline(true));
        self.handle(Input::Connected {
            receive_maximum: 64,
            maximum_packet_size: None,
        });
        let opening = self
            .broker
            .opening(device(1), (Seq::ZERO, Epoch::NONE), How::Full);
        self.handle(Input::Message {
            topic: Topic::State(stream()).to_string(),
            payload: opening.encode(),
        });
        self.settle();
    }

    /// The broker takes what was sent, and tells everything that is new.
    fn settle(&mut self) {
        while !self.sent.is_empty() {
            for (id, payload) in std::mem::take(&mut self.sent) {
                let now = self.tick();
                let answer = self.broker.submit(now, &payload);
                if matches!(answer, Answer::Saved(_)) {
                    let event = self.broker.log.last().unwrap().clone();
                    self.hear(&event);
                }
                self.handle(Input::Acked { id, answer });
            }
        }
    }

    fn hear(&mut self, event: &Event) {
        self.handle(Input::Message {
            topic: Topic::Events(stream()).to_string(),
            payload: event.encode(),
        });
    }

    /// Somebody else does something who has seen everything.
    fn other(&mut self, n: u64, event_type: &str, data: &Value) {
        let now = self.tick();
        let mut intent = Intent::new(event_type.parse().unwrap(), data.clone());
        intent.device = Some(device(2));
        intent.device_seq = DeviceSeq::new(n);
        intent.clock = Some(Clock {
            timestamp: now,
            counter: 0,
        });
        intent.base_seq = Some(self.broker.head());
        self.broker.submit(now, &intent.encode());
        let event = self.broker.log.last().unwrap().clone();
        self.hear(&event);
    }

    fn publish(&mut self, operation: &Operation) {
        let (event_type, data) = self.broker.schema.compose(operation).unwrap();
        let now = self.tick();
        let (_, outputs) = self.core.publish(now, event_type, data).unwrap();
        self.carry_out(outputs);
    }

    fn undo(&mut self) -> Result<(), NotUndone> {
        let now = self.tick();
        let (_, outputs) = self.core.undo(now)?;
        self.carry_out(outputs);
        Ok(())
    }

    fn redo(&mut self) -> Result<(), NotUndone> {
        let now = self.tick();
        let (_, outputs) = self.core.redo(now)?;
        self.carry_out(outputs);
        Ok(())
    }

    /// All that the app sees.
    fn view(&self) -> Vec<String> {
        let collections = self.broker.schema.collections().keys();
        let mut seen: Vec<String> = collections
            .filter(|it| *it != "playlists")
            .map(|it| format!("{it}: {:?}", non_zero(self.core.entries(it))))
            .collect();
        let lists =
            ["p", "q"].map(|it| format!("{it}: {:?}", self.core.list("playlists", Some(it))));
        seen.extend(lists);
        seen
    }
}

/// A counter that was undone is there, and zero.
fn non_zero(entries: BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let mut entries = entries;
    entries.retain(|_, value| value.as_i64() != Some(0));
    entries
}

fn said(collection: &str, key: &str, action: Action) -> Operation {
    Operation {
        collection: collection.to_owned(),
        key: key.to_owned(),
        action,
    }
}

fn star(album: &str) -> Operation {
    said("albums", album, Action::Put(true.into()))
}

fn album(album: &str) -> Value {
    Value::Map([("album_id".to_owned(), album.into())].into())
}

fn operation() -> impl Strategy<Value = Operation> {
    let key = prop_oneof![Just("a"), Just("b")];
    let after = prop_oneof![
        Just(After::End),
        Just(After::Beginning),
        Just(After::Item("a".to_owned())),
        Just(After::Item("b".to_owned()))
    ];
    let list = prop_oneof![Just("p"), Just("q")];
    let what = (0..7_u32, any::<bool>(), 1..4_u32, after, list);
    (key, what).prop_map(|(key, (collection, adds, n, after, list))| {
        let value = Value::from(n);
        let put = |value: Value| match adds {
            true => Action::Put(value),
            false => Action::Remove,
        };
        match collection {
            0 => said("albums", key, put(true.into())),
            1 => said("ratings", key, put(value)),
            2 => said("notes", key, put(value)),
            3 => said("tags", key, put(true.into())),
            4 => said("moods", key, put(value)),
            5 => said("plays", key, Action::Count(i64::from(n))),
            _ if !adds => said("playlists", key, Action::Remove),
            _ => said(
                "playlists",
                key,
                Action::Place {
                    value,
                    list: Some(list.to_owned()),
                    after,
                },
            ),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn undo_2_all_the_way_back_and_forth_the_app_sees_what_it_saw(
        operations in proptest::collection::vec((operation(), any::<bool>()), 1..20),
        online in any::<bool>(),
    ) {
        let mut phone = Phone::offline();
        if online {
            phone.connect();
        }
        let mut seen = vec![phone.view()];
        for (operation, settles) in &operations {
            phone.publish(operation);
            if *settles {
                phone.settle();
            }
            seen.push(phone.view());
        }
        for expected in seen.iter().rev().skip(1) {
            phone.undo().unwrap();
            prop_assert_eq!(&phone.view(), expected);
        }
        prop_assert_eq!(phone.undo(), Err(NotUndone::Nothing));
        phone.settle();
        for expected in seen.iter().skip(1) {
            phone.redo().unwrap();
            prop_assert_eq!(&phone.view(), expected);
        }
        prop_assert_eq!(phone.redo(), Err(NotUndone::Nothing));
        phone.connect();
        prop_assert_eq!(&phone.view(), seen.last().unwrap());
        prop_assert_eq!(phone.core.pending().len(), 0);
    }
}

#[test]
fn undo_3_what_somebody_else_changed_since_stays() {
    let mut phone = Phone::offline();
    phone.connect();
    phone.publish(&star("a"));
    phone.publish(&star("b"));
    phone.settle();
    phone.other(1, "unstar_album", &album("b"));
    phone.other(2, "star_album", &album("b"));
    let changed = NotUndone::ChangedSince {
        collection: "albums".to_owned(),
        key: "b".to_owned(),
    };
    assert_eq!(phone.undo(), Err(changed));
    assert!(phone.core.value("albums", "b").is_some());
    // The step before is not touched by that.
    phone.undo().unwrap();
    assert!(phone.core.value("albums", "a").is_none());
    assert_eq!(phone.core.steps(), (0, 1));
}

#[test]
fn undo_3_a_conflict_is_somebody_elses_change() {
    let mut phone = Phone::offline();
    phone.connect();
    let note = said("notes", "a", Action::Put("mine".into()));
    phone.publish(&note);
    // Not seen by the phone when it wrote, nor the other way round.
    let theirs = Value::Map(
        [
            ("album_id".to_owned(), "a".into()),
            ("text".to_owned(), "theirs".into()),
        ]
        .into(),
    );
    phone.other(1, "write_note", &theirs);
    assert!(matches!(phone.undo(), Err(NotUndone::ChangedSince { .. })));
    phone.settle();
    let conflicts = phone.core.conflicts("notes");
    assert_eq!(conflicts.len(), 1);
    assert_eq!((conflicts[0].0.as_str(), conflicts[0].1.len()), ("a", 2));
}

#[test]
fn undo_4_what_the_schema_cannot_say_is_told_and_the_step_before_is_next() {
    let mut phone = Phone::offline();
    let text = "[collections.seen]\nkind = \"counter\"\nkey = \"k\"\nadd = \"see\"\n";
    let mut options = OpenOptions::new(stream(), device(1));
    options.online = false;
    options.schema = Some(Arc::new(Schema::parse(text).unwrap()));
    phone.core = Core::open(UnixMillis::new(1), options).0;
    for _ in 0..2 {
        let now = phone.tick();
        let data = Value::Map([("k".to_owned(), "x".into())].into());
        let (_, outputs) = phone
            .core
            .publish(now, "see".parse().unwrap(), data)
            .unwrap();
        phone.carry_out(outputs);
    }
    assert_eq!(
        phone.core.value("seen", "x").and_then(Value::as_i64),
        Some(2)
    );
    let error = phone.undo().unwrap_err();
    assert!(error.to_string().contains("counts by one"), "{error}");
    assert_eq!(phone.core.steps(), (1, 0));
    assert_eq!(
        phone.core.value("seen", "x").and_then(Value::as_i64),
        Some(2)
    );
}

#[test]
fn undo_2_another_change_ends_what_can_be_done_again() {
    let mut phone = Phone::offline();
    phone.publish(&star("a"));
    phone.undo().unwrap();
    assert_eq!(phone.core.steps(), (0, 1));
    phone.publish(&star("b"));
    assert_eq!(phone.redo(), Err(NotUndone::Nothing));
}

#[test]
fn undo_1_what_was_refused_is_no_step_any_more() {
    let mut phone = Phone::offline();
    phone.connect();
    phone.publish(&star("a"));
    let (id, _) = phone.sent.pop().unwrap();
    let refusal = Refusal::new("not_allowed", "no");
    phone.handle(Input::Acked {
        id,
        answer: Answer::Refused(refusal),
    });
    assert_eq!(phone.undo(), Err(NotUndone::Nothing));
}

#[test]
fn undo_1_a_hundred_steps_are_remembered() {
    let mut phone = Phone::offline();
    for n in 0..150 {
        phone.publish(&star(&format!("a{n}")));
    }
    assert_eq!(phone.core.steps(), (100, 0));
}

#[test]
fn what_is_pending_is_told_in_its_order_with_how_far_it_is() {
    let mut phone = Phone::offline();
    phone.publish(&star("a"));
    phone.publish(&star("b"));
    let told = |phone: &Phone| {
        let pending = phone.core.pending().into_iter();
        let told = pending.map(|it| (it.intent.event_data, it.stage));
        told.collect::<Vec<_>>()
    };
    let waiting = |it: &str| (album(it), PendingStage::Waiting);
    assert_eq!(told(&phone), [waiting("a"), waiting("b")]);
    phone.handle(Input::SetOnline(true));
    phone.handle(Input::Connected {
        receive_maximum: 1,
        maximum_packet_size: None,
    });
    let opening = phone
        .broker
        .opening(device(1), (Seq::ZERO, Epoch::NONE), How::Full);
    phone.handle(Input::Message {
        topic: Topic::State(stream()).to_string(),
        payload: opening.encode(),
    });
    assert_eq!(
        told(&phone),
        [(album("a"), PendingStage::Sent), waiting("b")]
    );
    phone.settle();
    assert_eq!(told(&phone), []);
}
