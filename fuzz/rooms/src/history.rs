//! What people hand to the history commands, and what these read back from the store.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::process;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};
use syncline_broker::compactor::{States, Want};
use syncline_broker::history::{
    Deeds, Desk, HistoryError, ImportRequest, Moment, Request, StreamName, adopt, schema_of,
};
use syncline_broker::store::memory::MemoryStore;
use syncline_broker::store::{Base, Erased, EventStore, Planted, Stop, StoredEntry, StreamHead};
use syncline_protocol::{Epoch, Schema, Seq, Snapshot, UnixMillis};

use crate::seeds::golden_schema;

const NOW: UnixMillis = UnixMillis::new(1_700_000_000_000);

/// A file of lines without its last one, which is added: only who wrote a file can make its hash. What is taken is
/// written again, and taken again as the same.
pub fn import(data: &[u8]) {
    let (file, schema) = (ended(data), golden_schema());
    let Ok(store) = imported(&file, &schema) else {
        return;
    };
    let desk = desk(&store, &schema);
    let first = exported(&desk);
    let answer = imported(first.as_bytes(), &schema);
    let again = answer.unwrap_or_else(|error| panic!("an export is refused: {error}"));
    assert_eq!(exported(&self::desk(&again, &schema)), first);
    for request in [r#"{"command":"verify"}"#, r#"{"command":"log"}"#] {
        let request = serde_json::from_str(request).expect("a request");
        let _findings = desk.answer(&request, &Stop::default(), &mut io::sink());
    }
}

/// A line that comes to the admin socket: a request that is answered, or none. It reads back as what it was.
pub fn history_request(data: &[u8]) {
    static STORE: LazyLock<Arc<dyn EventStore>> = LazyLock::new(|| {
        let (file, schema) = (ended(&crate::seeds::export()), golden_schema());
        imported(&file, &schema).expect("the golden events")
    });
    let Ok(request) = serde_json::from_slice::<Request>(data) else {
        return;
    };
    let text = serde_json::to_string(&request).expect("a request is JSON");
    let again: Request = serde_json::from_str(&text).expect("a request is read");
    assert_eq!(
        serde_json::to_string(&again).expect("a request is JSON"),
        text
    );
    if let Err(error) =
        desk(&STORE, &golden_schema()).answer(&request, &Stop::default(), &mut io::sink())
    {
        assert!(!error.to_string().is_empty());
    }
}

/// A place in the history, or the name of a stream.
pub fn moment(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(moment) = text.parse::<Moment>() {
        let json = serde_json::to_string(&moment).expect("a moment is JSON");
        assert_eq!(serde_json::from_str::<Moment>(&json).ok(), Some(moment));
    }
    if let Ok(name) = text.parse::<StreamName>() {
        assert_eq!(name.to_string().parse(), Ok(name));
    }
}

/// The store's note of its schema: it is read, adopted and read again.
pub fn schema_note(data: &[u8]) {
    let store = MemoryStore::new(8);
    store.set_note("schema", data).expect("memory is written");
    let Ok(schema) = schema_of(&store, golden_schema()) else {
        return;
    };
    match adopt(&store, schema.clone(), NOW) {
        Ok(adopted) => assert_eq!(adopted.hash(), schema.hash()),
        Err(error) => assert!(error.to_string().contains("has begun"), "{error}"),
    }
    let _differs = adopt(&store, golden_schema(), NOW);
}

/// Entries of a base: collection, key and entry, a zero behind each of the first two, and the length (2) of the third
/// before it. A state is made of them, or they are said to be damaged.
pub fn stored_entries(data: &[u8]) {
    let mut entries = Vec::new();
    let (mut rest, mut names) = (data, BTreeSet::new());
    while let Some((entry, after)) = stored_entry(rest) {
        rest = after;
        if names.insert((entry.collection.clone(), entry.key.clone())) {
            entries.push(entry);
        }
    }
    let seq = Seq::new(1_000).expect("a seq");
    let StreamName(stream) = "demo".parse().expect("a stream");
    let store: Arc<dyn EventStore> = Arc::new(MemoryStore::new(8));
    let planted = Planted {
        stream: stream.clone(),
        head: StreamHead {
            epoch: Epoch::new(7),
            seq,
            horizon: seq,
            ..StreamHead::EMPTY
        },
        base: Base {
            epoch: Epoch::new(7),
            seq,
            ..Base::EMPTY
        },
        entries,
        marks: Vec::new(),
        events: Vec::new(),
    };
    store.plant(planted).expect("memory is written");
    let states = States::new(Arc::clone(&store), Arc::new(golden_schema()), 1 << 20);
    let since = Want::Since {
        seq: Seq::new(900).expect("a seq"),
        epoch: Epoch::new(7),
    };
    for want in [Want::Full, since] {
        if let Ok(state) = states.snapshot(&stream, want) {
            let state = state.snapshot();
            assert_eq!(Snapshot::decode(&state.encode()).as_ref(), Ok(state));
        }
    }
    let request = serde_json::from_str(r#"{"command":"verify"}"#).expect("a request");
    let _findings =
        desk(&store, &golden_schema()).answer(&request, &Stop::default(), &mut io::sink());
}

fn stored_entry(data: &[u8]) -> Option<(StoredEntry, &[u8])> {
    let (collection, rest) = text(data)?;
    let (key, rest) = text(rest)?;
    let (length, rest) = rest.split_first_chunk()?;
    let (entry, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    let entry = StoredEntry {
        collection,
        key,
        entry: Bytes::copy_from_slice(entry),
    };
    Some((entry, rest))
}

fn text(data: &[u8]) -> Option<(String, &[u8])> {
    let at = data.iter().position(|byte| *byte == 0)?;
    let text = std::str::from_utf8(&data[..at]).ok()?;
    Some((text.to_owned(), &data[at + 1..]))
}

/// The lines with the last one that belongs to them.
fn ended(data: &[u8]) -> Vec<u8> {
    let mut file = data.to_vec();
    if !file.ends_with(b"\n") {
        file.push(b'\n');
    }
    let lines = file.split_inclusive(|byte| *byte == b'\n');
    let (mut count, mut streams) = (0, 0);
    for line in lines {
        let json = serde_json::from_slice::<Json>(line).unwrap_or_default();
        count += 1;
        streams += usize::from(json.get("stream").is_some());
    }
    let sha256: String = Sha256::digest(&file)
        .iter()
        .map(|it| format!("{it:02x}"))
        .collect();
    let end =
        serde_json::json!({ "end": { "lines": count, "streams": streams, "sha256": sha256 } });
    file.extend(end.to_string().bytes());
    file.push(b'\n');
    file
}

fn imported(file: &[u8], schema: &Schema) -> Result<Arc<dyn EventStore>, HistoryError> {
    let path = std::env::temp_dir().join(format!("syncline-fuzz-{}.lines", process::id()));
    fs::write(&path, file).expect("a temporary file");
    let store = MemoryStore::new(8);
    let request = ImportRequest { file: path };
    let import = syncline_broker::history::import;
    import(&store, schema, &request, &mut || 7, &mut io::sink())?;
    Ok(Arc::new(store))
}

fn exported(desk: &Desk) -> String {
    let request = serde_json::from_str(r#"{"command":"export"}"#).expect("a request");
    let mut lines = Vec::new();
    let answered = desk.answer(&request, &Stop::default(), &mut lines);
    answered.unwrap_or_else(|error| panic!("what was imported is not exported: {error}"));
    String::from_utf8(lines).expect("lines of text")
}

fn desk(store: &Arc<dyn EventStore>, schema: &Schema) -> Desk {
    let schema = schema_of(&**store, schema.clone()).expect("its own note");
    let schema = Arc::new(schema);
    let states = States::new(Arc::clone(store), schema, 1 << 20);
    let deeds = Deeds {
        backup: Box::new(|_, _| Ok(())),
        erase: Box::new(|_| Ok(Erased::default())),
        reload: Box::new(|| Ok(String::new())),
        now: Box::new(|| NOW),
    };
    Desk::new(Arc::clone(store), Arc::new(states), deeds)
}
