//! What the targets begin with: conversations in packets, rows that the rooms wrote, and the golden events in lines.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use syncline_protocol::{Event, Schema, Snapshot};

use crate::edge::CUT;
use crate::edge::wire::{CONNECT_3, CONNECT_5, packet, publish, subscribe, unsubscribe};

type Seeds = BTreeMap<&'static str, Vec<Vec<u8>>>;

const KINDS: &str = include_str!("../../../protocol/golden/kinds.json");

/// Events of the golden file that are put into lines: as many as keep a file small.
const EVENTS: usize = 12;

/// The inputs of each target.
pub fn seeds() -> Seeds {
    let mut seeds: Seeds = syncline_broker::fuzzing::seeds().into_iter().collect();
    seeds.insert("client_rows", syncline_client::fuzzing::seeds());
    seeds.insert("client_core", client_steps());
    seeds.insert("configuration", crate::configuration::seeds());
    seeds.insert("connection_3", vec![conversation(false), kept(false)]);
    seeds.insert("connection_5", vec![conversation(true), kept(true)]);
    let whole = [(false, CONNECT_3), (true, CONNECT_5)];
    let whole = whole.map(|(v5, connect)| [connect, &conversation(v5)].concat());
    seeds.insert("connection", whole.into());
    seeds.insert("history_request", requests());
    seeds.insert("import", vec![export(), planted()]);
    seeds.insert(
        "moment",
        texts(&[
            "1042",
            "2026-11-22T18:30:00Z",
            "2026-11-22 18:30:00.5",
            "home/room",
            "sync/home",
        ]),
    );
    seeds.insert("schema_note", vec![note()]);
    seeds.insert("stored_entries", vec![entries()]);
    seeds
}

/// Every kind with every policy.
pub(crate) fn golden_schema() -> Schema {
    let golden = golden();
    let toml = golden["schema"]
        .as_str()
        .expect("the golden file has a schema");
    Schema::parse(toml).expect("the golden schema is one")
}

/// A file of lines with a stream from its first event on, without its last line.
pub(crate) fn export() -> Vec<u8> {
    let events = events();
    let last = events.last().expect("there are events");
    let stream = stream_line(last, 0);
    let mark = json!({ "mark": {
        "device_uuid": last.device.to_string(), "device_seq": 4, "base_seq": 0, "timestamp": 1, "counter": 0,
        "accepted_at": 1, "recent": [[4, "000102030405060708090a0b0c0d0e0f", last.seq.get()]],
    } });
    let events = events.iter().map(|event| {
        let event: Json = serde_json::from_str(&event.to_json()).expect("an event is JSON");
        json!({ "event": event })
    });
    lines([header(), stream, mark].into_iter().chain(events))
}

/// A file with a state and no events.
fn planted() -> Vec<u8> {
    let snapshot = snapshot();
    let mut stream = stream_line(
        events().last().expect("there are events"),
        snapshot.seq.get(),
    );
    stream["seq"] = snapshot.seq.get().into();
    stream["horizon"] = snapshot.seq.get().into();
    let entries = snapshot
        .collections
        .iter()
        .flat_map(|(collection, entries)| {
            entries.iter().map(move |(key, entry)| {
                let entry: Json = serde_json::from_str(&entry.to_json()).expect("an entry is JSON");
                json!({ "entry": { "collection": collection, "key": key, "entry": entry } })
            })
        });
    lines([header(), stream].into_iter().chain(entries))
}

fn header() -> Json {
    let schema = golden_schema();
    let document: Json = serde_json::from_str(&schema.document()).expect("a document is JSON");
    json!({
        "syncline_export": 1, "exported_at": 1, "schema": document["schema"],
        "schema_hash": schema.hash().to_string(), "adopted": { "count": 0 },
    })
}

fn stream_line(last: &Event, state_seq: u64) -> Json {
    json!({
        "stream": "demo", "epoch": last.epoch.to_string(), "seq": last.seq.get(), "horizon": state_seq,
        "accepted_at": last.accepted_at.get(), "timestamp": last.clock.timestamp.get(), "counter": last.clock.counter,
        "state_seq": state_seq, "removed_floor": 0,
    })
}

fn lines(lines: impl Iterator<Item = Json>) -> Vec<u8> {
    lines
        .flat_map(|line| format!("{line}\n").into_bytes())
        .collect()
}

fn events() -> Vec<Event> {
    let golden = golden();
    let events = golden["events"]
        .as_array()
        .into_iter()
        .flatten()
        .take(EVENTS);
    let texts = events.filter_map(|event| event["json"].as_str());
    texts
        .map(|text| Event::decode(text.as_bytes()).expect("a golden event"))
        .collect()
}

fn snapshot() -> Snapshot {
    let golden = golden();
    let text = golden["snapshots"][0]["json"]
        .as_str()
        .expect("a golden snapshot");
    Snapshot::decode(text.as_bytes()).expect("a golden snapshot")
}

fn golden() -> Json {
    serde_json::from_str(KINDS).expect("the golden file is JSON")
}

/// Subscribes to what there is, publishes, asks, and leaves.
fn conversation(v5: bool) -> Vec<u8> {
    let filters = [
        "sync/demo/events",
        "$json/sync/demo/state",
        "sync/+/state",
        "sync/#",
        "$SYS/broker/schema",
        "$since/0/sync/demo/events",
        "$since/3-0000000000000007/sync/demo/state",
        "$at/2/sync/demo/state",
    ];
    let mut said = Vec::new();
    for (filter, id) in filters.into_iter().zip(1..) {
        said.extend(subscribe(v5, id, filter));
    }
    for (intent, id) in intents().into_iter().zip(20..) {
        said.extend(publish(v5, id, "sync/demo/events", &intent));
    }
    said.extend(publish(v5, 60, "sync/demo/room/events", b"{}"));
    said.extend(packet(
        0x30,
        &[&[0, 9][..], b"home/lamp", if v5 { b"\0on" } else { b"on" }].concat(),
    ));
    said.extend(packet(0xc0, &[]));
    said.extend(unsubscribe(v5, 61, "sync/#"));
    said.extend(packet(0xe0, &[]));
    said
}

/// Comes, goes, and comes again.
fn kept(v5: bool) -> Vec<u8> {
    let publishes = intents().into_iter().zip(20..);
    let publishes = publishes.flat_map(|(it, id)| publish(v5, id, "sync/demo/events", &it));
    let publishes: Vec<u8> = publishes.collect();
    let follows = subscribe(v5, 1, "sync/demo/#");
    [
        &follows,
        &publishes,
        CUT,
        CUT,
        &publishes,
        CUT,
        CUT,
        &packet(0xc0, &[]),
    ]
    .concat()
}

fn intents() -> Vec<Vec<u8>> {
    let texts = [
        r#"{"event_type":"star_album","event_data":{"album_id":"a"},"device_uuid":"6a3b0c52-8d64-4d5e-9f39-2f1f2a3b4c5d","device_seq":1}"#,
        r#"{"event_type":"play_track","event_data":{"track_id":"t"}}"#,
        r#"{"event_type":"write_note","event_data":{"album_id":"a","text":"loud"},"base_seq":1}"#,
        r#"{"event_type":"star_album","event_data":{"album_id":7}}"#,
    ];
    let decoded = texts.map(|text| {
        syncline_protocol::Intent::decode(text.as_bytes())
            .expect("an intent")
            .encode()
    });
    decoded
        .into_iter()
        .chain(texts.map(|it| it.as_bytes().to_vec()))
        .collect()
}

fn client_steps() -> Vec<Vec<u8>> {
    let step = |kind: u8, said: &[u8]| {
        let length = u16::try_from(said.len()).unwrap_or(u16::MAX).to_le_bytes();
        [&[kind], &length[..], said].concat()
    };
    let schema = step(4, golden_schema().document().as_bytes());
    let mut empty = snapshot();
    empty.collections.clear();
    let state = step(2, &snapshot().encode());
    let events: Vec<u8> = events()
        .iter()
        .flat_map(|event| step(0, &event.encode()))
        .collect();
    let published = step(6, b"\x00\x81\xa2id\xa1a");
    let counted = step(6, b"\x02\x82\xa2id\xa1a\xa5times\x01");
    let answered = [
        step(7, &[0, 5]),
        step(7, &[1, 9]),
        step(7, b"\x02overtaken"),
    ]
    .concat();
    vec![
        [&schema[..], &state, &events].concat(),
        [
            &schema[..],
            &published,
            &counted,
            &state,
            &answered,
            &step(8, &[]),
            &step(10, &[]),
        ]
        .concat(),
        [
            &published[..],
            &step(9, b"off"),
            &published,
            &step(9, &[]),
            &schema,
            &step(2, &empty.encode()),
        ]
        .concat(),
    ]
}

fn requests() -> Vec<Vec<u8>> {
    texts(&[
        r#"{"command":"log","stream":"demo","since":{"seq":1},"until":{"time":1700000000005},"event_type":["list_lww_put"],"limit":3,"json":true}"#,
        r#"{"command":"log","device":"6a3b0c52-8d64-4d5e-9f39-2f1f2a3b4c5d"}"#,
        r#"{"command":"state","stream":"demo","at":{"seq":4},"json":false}"#,
        r#"{"command":"state","stream":"demo","at":{"time":1700000000004},"json":true}"#,
        r#"{"command":"export","stream":"demo"}"#,
        r#"{"command":"export","sync_id":"demo"}"#,
        r#"{"command":"verify","stream":"demo"}"#,
        r#"{"command":"backup","file":"nowhere.lines"}"#,
        r#"{"command":"erase","sync_id":"demo","yes":false}"#,
        r#"{"command":"erase","sync_id":"demo","yes":true}"#,
    ])
}

fn note() -> Vec<u8> {
    let migration = json!({ "name": "first", "from": "0", "to": "1", "at": 7 });
    let note = json!({
        "document": golden_schema().document(), "adopted": { "count": 5 }, "migrations": [migration], "under_way": null,
    });
    note.to_string().into_bytes()
}

fn entries() -> Vec<u8> {
    let mut rows = Vec::new();
    for (collection, entries) in &snapshot().collections {
        for (key, entry) in entries {
            let entry = entry.encode();
            let length = u16::try_from(entry.len()).unwrap_or(0).to_be_bytes();
            rows.extend(
                [
                    collection.as_bytes(),
                    b"\0",
                    key.as_bytes(),
                    b"\0",
                    &length,
                    &entry,
                ]
                .concat(),
            );
        }
    }
    rows
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}
