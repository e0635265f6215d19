//! What every decoder promises for any bytes: it does not panic, what it took it writes and reads again as the same,
//! and what it holds is no larger than the bytes allow. One function per target; `src/bin` hands them to libFuzzer, and
//! `protocol/tests/hostile.rs` runs them on bytes that it changes itself.

use std::sync::{Arc, LazyLock};

use syncline_protocol::state::{Act, Digest};
use syncline_protocol::{
    Action, Assembler, Channel, DeviceId, Entry, Epoch, Event, EventType, Filter, Intent, Notice,
    Overlay, Presence, Schema, SchemaHash, Seq, Snapshot, State, Subscription, SyncId, Topic,
    UnixMillis, Value,
};

/// The memory that one byte on the wire may take: an array of nils is a byte and a [`Value`] each, and maps have room
/// to grow.
const BYTES_PER_BYTE: usize = 2 * size_of::<(String, Value)>();

/// What is done with bytes.
pub type Target = fn(&[u8]);

/// All of them, by their names.
pub const TARGETS: [(&str, Target); 14] = [
    ("entry", entry),
    ("event", event),
    ("intent", intent),
    ("names", names),
    ("notice", notice),
    ("parts", parts),
    ("presence", presence),
    ("schema_document", schema_document),
    ("schema_toml", schema_toml),
    ("snapshot", snapshot),
    ("state", state),
    ("topic", topic),
    ("value_json", value_json),
    ("value_msgpack", value_msgpack),
];

static SCHEMA: LazyLock<Arc<Schema>> = LazyLock::new(|| {
    let file = Value::from_json(include_bytes!("../../protocol/golden/kinds.json"))
        .expect("the golden file is JSON text");
    let toml = file.as_map().and_then(|file| file["schema"].as_text());
    let schema = Schema::parse(toml.expect("the golden file has a schema"));
    Arc::new(schema.expect("the golden schema is one"))
});

/// Every kind with every policy.
fn schema() -> Arc<Schema> {
    Arc::clone(&SCHEMA)
}

fn check_size(value: &Value, data: &[u8]) {
    assert!(value.weight() <= BYTES_PER_BYTE * (data.len() + 1));
}

pub fn value_msgpack(data: &[u8]) {
    if let Ok(value) = Value::from_msgpack(data) {
        check_value(&value, data);
    }
}

pub fn value_json(data: &[u8]) {
    if let Ok(value) = Value::from_json(data) {
        check_value(&value, data);
    }
}

fn check_value(value: &Value, data: &[u8]) {
    check_size(value, data);
    let packed = value.to_msgpack();
    assert_eq!(Value::from_msgpack(&packed).as_ref(), Ok(value));
    assert_eq!(
        Value::from_json(value.to_json().as_bytes()).as_ref(),
        Ok(value)
    );
    assert!(value.depth() <= syncline_protocol::value::DEPTH_MAX);
}

pub fn intent(data: &[u8]) {
    if let Ok(intent) = Intent::decode(data) {
        check_size(&intent.event_data, data);
        assert_eq!(Intent::decode(&intent.encode()).as_ref(), Ok(&intent));
        assert_eq!(
            Intent::decode(intent.to_json().as_bytes()).as_ref(),
            Ok(&intent)
        );
        let author = DeviceId::from_bytes([1; 16]);
        let again = Intent::decode(&intent.encode()).map(|it| it.hash(author));
        assert_eq!(again.ok(), Some(intent.hash(author)));
    }
}

pub fn event(data: &[u8]) {
    if let Ok(event) = Event::decode(data) {
        check_size(&event.event_data, data);
        assert_eq!(Event::decode(&event.encode()).as_ref(), Ok(&event));
        assert_eq!(
            Event::decode(event.to_json().as_bytes()).as_ref(),
            Ok(&event)
        );
    }
}

pub fn entry(data: &[u8]) {
    if let Ok(entry) = Entry::decode(data) {
        assert_eq!(Entry::decode(&entry.encode()).as_ref(), Ok(&entry));
        assert!(entry.acts().count() > 0 && entry.is_live() == entry.value().is_some());
        assert!(entry.weight() <= BYTES_PER_BYTE * (data.len() + 16));
    }
}

pub fn snapshot(data: &[u8]) {
    if let Ok(snapshot) = Snapshot::decode(data) {
        assert_eq!(Snapshot::decode(&snapshot.encode()).as_ref(), Ok(&snapshot));
        assert_eq!(
            Snapshot::decode(snapshot.to_json().as_bytes()).as_ref(),
            Ok(&snapshot)
        );
    }
}

/// Parts that arrive as the first bytes say: 2 bits each, from 4 snapshots cut out of the rest.
pub fn parts(data: &[u8]) {
    let Some((orders, data)) = data.split_first_chunk::<4>() else {
        return;
    };
    let Ok(snapshot) = Snapshot::decode(data) else {
        return;
    };
    let whole = Snapshot {
        part: 1,
        parts: 1,
        ..snapshot
    };
    let bytes_max = usize::from(orders[0]) * 16;
    let parts = whole.clone().parts(bytes_max);
    let mut assembler = Assembler::default();
    for order in &orders[1..] {
        let at = usize::from(*order) % parts.len();
        let _ = assembler.push(parts[at].clone());
    }
    let last = parts.into_iter().map(|part| assembler.push(part)).last();
    assert_eq!(last, Some(Ok(Some(whole))));
}

pub fn schema_document(data: &[u8]) {
    let text = std::str::from_utf8(data).ok();
    if let Some(schema) = text.and_then(|text| Schema::from_document(text).ok()) {
        check_schema(&schema);
    }
}

pub fn schema_toml(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        match Schema::parse(text) {
            Ok(schema) => check_schema(&schema),
            Err(error) => assert!(error.to_string().starts_with("line ")),
        }
    }
}

fn check_schema(schema: &Schema) {
    let again = Schema::from_document(&schema.document()).expect("its own document");
    assert_eq!(again.hash(), schema.hash());
    assert_eq!(again.collections(), schema.collections());
}

pub fn topic(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(topic) = text.parse::<Topic>() {
        assert_eq!(topic.to_string(), text);
        let filter: Filter = text.parse().expect("a topic is a filter");
        assert!(filter.matches(&topic) && !filter.has_wildcard());
    }
    if let Ok(subscription) = text.parse::<Subscription>() {
        assert!(text.ends_with(subscription.filter.as_str()));
    }
    if let Ok(filter) = text.parse::<Filter>() {
        assert!(filter.levels().count() >= 1);
        filter.matches_text("sync/demo/events");
    }
}

/// Everything that is a name or a number in hex digits: what is read is written as it was.
pub fn names(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    same::<SyncId>(text);
    same::<Channel>(text);
    same::<EventType>(text);
    // Hex digits may come in upper case.
    let text = &text.to_ascii_lowercase();
    same::<Epoch>(text);
    same::<SchemaHash>(text);
    same::<Digest>(text);
    same::<DeviceId>(text);
}

fn same<T: std::str::FromStr + std::fmt::Display>(text: &str) {
    if let Ok(read) = text.parse::<T>() {
        assert_eq!(read.to_string(), text);
    }
}

pub fn notice(data: &[u8]) {
    if let Ok(notice) = Notice::decode(data) {
        assert_eq!(Notice::decode(&notice.encode()).as_ref(), Ok(&notice));
        assert_eq!(
            Notice::decode(notice.to_json().as_bytes()).as_ref(),
            Ok(&notice)
        );
    }
}

pub fn presence(data: &[u8]) {
    if let Ok(presence) = Presence::decode(data) {
        assert_eq!(Presence::decode(&presence.encode()).as_ref(), Ok(&presence));
        assert_eq!(
            Presence::decode(presence.to_json().as_bytes()).as_ref(),
            Ok(&presence)
        );
    }
}

/// A snapshot of somebody whom nobody should trust, and events over it: what is kept beside the entries stays true.
pub fn state(data: &[u8]) {
    let (script, data) = data.split_at(data.len().min(32));
    let Ok(snapshot) = Snapshot::decode(data) else {
        return;
    };
    let mut state = State::new(schema());
    if state.take(&snapshot).is_err() {
        return;
    }
    let mut overlay = Overlay::default();
    for step in script.chunks_exact(4) {
        let event = scripted(&state, step);
        if let Ok(Some(operation)) = schema().operation(&event.event_type, &event.event_data) {
            overlay.act(&state, &operation, &Act::of(&event));
            assert!(
                !state.would_overflow(&operation) || matches!(operation.action, Action::Count(_))
            );
        }
        if state.apply(&event).is_err() {
            break;
        }
    }
    state.collect(Seq::new(u64::from(script.first().copied().unwrap_or(0))).unwrap_or_default());
    check_state(&state);
}

fn check_state(state: &State) {
    let entries = state.changed_since(Seq::ZERO).into_iter();
    let entries = entries.flat_map(|(name, entries)| {
        let entries = entries.into_iter();
        entries.map(move |(key, entry)| (name.clone(), key, entry))
    });
    let again = State::restore(schema(), state.epoch(), state.seq(), entries);
    assert_eq!(again.digest(), state.digest());
    assert_eq!(again.bytes(), state.bytes());
    for name in state.schema().collections().keys() {
        assert_eq!(again.list(name, None), state.list(name, None));
    }
}

/// The next event, on one of few keys, as four bytes say.
fn scripted(state: &State, step: &[u8]) -> Event {
    let types: Vec<_> = schema()
        .collections()
        .values()
        .flat_map(|it| std::iter::once(it.add.clone()).chain(it.remove.clone()))
        .collect();
    let key = |n: u8| {
        [
            Value::text("a"),
            Value::text("b"),
            Value::text("ü"),
            Value::Nil,
        ][usize::from(n % 4)]
        .clone()
    };
    let data = [
        ("id", key(step[1])),
        ("behind", key(step[1] / 4)),
        ("in", Value::text("red")),
        ("text", Value::from(u32::from(step[3]))),
        ("times", Value::from(u32::from(step[3]))),
    ];
    Event {
        stream: syncline_protocol::StreamId {
            sync_id: "demo".parse().expect("a name"),
            channel: None,
        },
        epoch: if state.seq() == Seq::ZERO {
            Epoch::new(1)
        } else {
            state.epoch()
        },
        seq: state.seq().next(),
        accepted_at: UnixMillis::new(0),
        event_type: types[usize::from(step[0]) % types.len()].clone(),
        event_data: Value::Map(data.map(|(name, value)| (name.to_owned(), value)).into()),
        device: DeviceId::from_bytes([step[2] % 4; 16]),
        device_seq: None,
        clock: syncline_protocol::Clock::at(UnixMillis::new(u64::from(step[3]))),
        base_seq: Seq::new(u64::from(step[2] / 4)).unwrap_or_default(),
        extra: Default::default(),
    }
}
