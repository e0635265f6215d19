//! Logs that nobody chose, over a schema with every kind and every policy.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use proptest::prelude::*;
use syncline_protocol::{Clock, DeviceId, Epoch, Event, Schema, Seq, StreamId, UnixMillis, Value};

/// The schema of `golden/kinds.json`.
pub(crate) fn schema() -> Arc<Schema> {
    static SCHEMA: OnceLock<Arc<Schema>> = OnceLock::new();
    let read = || {
        let file: serde_json::Value =
            serde_json::from_str(include_str!("../../golden/kinds.json")).unwrap();
        Arc::new(Schema::parse(file["schema"].as_str().unwrap()).unwrap())
    };
    Arc::clone(SCHEMA.get_or_init(read))
}

pub(crate) fn stream() -> StreamId {
    StreamId {
        sync_id: "demo".parse().unwrap(),
        channel: None,
    }
}

const COLLECTIONS: [&str; 11] = [
    "set_lww",
    "set_add",
    "set_remove",
    "map_lww",
    "map_add",
    "map_remove",
    "map_both",
    "count",
    "list_lww",
    "list_add",
    "list_remove",
];

/// One event before it has its place.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    collection: &'static str,
    removes: bool,
    author: u8,
    key: u8,
    seen: prop::sample::Index,
    ms: u64,
    list: u8,
    behind: u8,
    value: i64,
}

impl Step {
    /// The same in one collection, on two keys unless it is a list.
    pub(crate) fn within(self, collection: &'static str) -> Self {
        let is_list = collection.starts_with("list");
        let key = if is_list { self.key } else { self.key % 2 };
        Self {
            collection,
            key,
            ..self
        }
    }

    /// The event at a place; its author had seen at least what is below the horizon.
    pub(crate) fn event(&self, seq: u64, horizon: u64) -> Event {
        let base_seq = self.seen.index(usize::try_from(seq).unwrap()) as u64;
        Event {
            stream: stream(),
            epoch: Epoch::new(7),
            seq: Seq::new(seq).unwrap(),
            accepted_at: UnixMillis::new(seq),
            event_type: self.event_type().parse().unwrap(),
            event_data: Value::Map(self.data()),
            device: DeviceId::from_bytes([self.author; 16]),
            device_seq: None,
            clock: Clock::at(UnixMillis::new(self.ms)),
            // HORIZON-2: events of a counter may be older.
            base_seq: Seq::new(if self.collection == "count" {
                base_seq
            } else {
                base_seq.max(horizon)
            })
            .unwrap(),
            extra: BTreeMap::new(),
        }
    }

    fn event_type(&self) -> String {
        let verb = match self.collection {
            "count" => "add",
            _ if self.removes => "remove",
            name if name.starts_with("set") => "add",
            _ => "put",
        };
        format!("{}_{verb}", self.collection)
    }

    fn data(&self) -> BTreeMap<String, Value> {
        let mut data = BTreeMap::new();
        let mut put = |name: &str, value| drop(data.insert(name.to_owned(), value));
        put("id", Value::text(format!("k{}", self.key)));
        put("text", Value::integer(self.value).unwrap());
        put("in", Value::text(format!("l{}", self.list)));
        put("times", Value::integer(self.amount()).unwrap());
        match self.behind {
            0 => {}
            1 => put("behind", Value::Nil),
            n => put("behind", Value::text(format!("k{}", n - 2))),
        }
        data
    }

    /// Now and then one that overflows.
    fn amount(&self) -> i64 {
        match self.value {
            0 => (1 << 53) - 1,
            1 => -((1 << 53) - 1),
            n => n - 4,
        }
    }
}

pub(crate) fn events(steps: &[Step], horizon: u64) -> Vec<Event> {
    let numbered = (1..).zip(steps);
    numbered
        .map(|(seq, step)| step.event(seq, horizon))
        .collect()
}

pub(crate) fn any_collection() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&COLLECTIONS[..])
}

pub(crate) fn any_steps(count_max: usize) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(any_step(), 1..=count_max)
}

fn any_step() -> impl Strategy<Value = Step> {
    let what = (
        prop::sample::select(&COLLECTIONS[..]),
        prop::bool::weighted(0.4),
        1..5u8,
        0..5u8,
    );
    let when = (any::<prop::sample::Index>(), 0..20u64);
    (what, when, 0..2u8, 0..7u8, 0..12i64).prop_map(|(what, when, list, behind, value)| Step {
        collection: what.0,
        removes: what.1,
        author: what.2,
        key: what.3,
        seen: when.0,
        ms: when.1,
        list,
        behind,
        value,
    })
}
