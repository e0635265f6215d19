//! The JSON form of inputs and outputs.

use std::sync::Arc;

use serde_json::{Map, Value as Json, json};
use syncline_client_core::{
    Answer, Core, DeviceRow, Input, IntentId, Label, OpenOptions, Outcome, Output, Phase, Refusal,
    Rejected, Row, Saw, Status, Stored, Write, WriteId,
};
use syncline_protocol::state::Content;
use syncline_protocol::{
    Clock, DeviceSeq, Event, Intent, Notice, Schema, Seq, Snapshot, StreamId, UnixMillis, Value,
};

pub(crate) fn read_open(open: &Json) -> OpenOptions {
    let device = text(&open["device"]).parse().unwrap();
    let mut options = OpenOptions::new(read_stream(&open["stream"]), device);
    options.stored = Some(&open["stored"])
        .filter(|it| !it.is_null())
        .map(read_stored);
    options.online = open["online"].as_bool().unwrap_or(true);
    if let Some(limit) = open["outbox_limit"].as_u64() {
        options.outbox_limit = usize::try_from(limit).unwrap();
    }
    options
}

fn read_stream(stream: &Json) -> StreamId {
    let channel = stream["channel"]
        .as_str()
        .map(|channel| channel.parse().unwrap());
    StreamId {
        sync_id: text(&stream["sync_id"]).parse().unwrap(),
        channel,
    }
}

fn read_stored(stored: &Json) -> Stored {
    let rows = stored["intents"].as_array().cloned().unwrap_or_default();
    Stored {
        device: read_device(&stored["device"]),
        intents: rows.into_iter().map(read_row).collect(),
        replica: stored.get("replica").map(read_snapshot),
        schema: stored.get("schema").map(read_schema),
    }
}

fn read_device(row: &Json) -> DeviceRow {
    DeviceRow {
        device: text(&row["device_uuid"]).parse().unwrap(),
        next_device_seq: DeviceSeq::new(number(&row["next_device_seq"])).unwrap(),
        offered: DeviceSeq::new(number(&row["offered"])),
        clock: Clock {
            timestamp: UnixMillis::new(number(&row["timestamp"])),
            counter: u32::try_from(number(&row["counter"])).unwrap(),
        },
    }
}

fn read_row(mut row: Json) -> Row {
    let id = row.as_object_mut().unwrap().remove("id").unwrap();
    let saw = row.as_object_mut().unwrap().remove("saw");
    let overtaken = row.as_object_mut().unwrap().remove("overtaken").is_some();
    let intent = Intent::decode(row.to_string().as_bytes()).unwrap();
    Row {
        id: IntentId::new(number(&id)),
        intent,
        saw: saw.map(|saw| Saw::from_value(&read_value(&saw)).unwrap()),
        overtaken,
    }
}

fn read_snapshot(snapshot: &Json) -> Snapshot {
    Snapshot::decode(snapshot.to_string().as_bytes()).unwrap()
}

fn read_schema(schema: &Json) -> Arc<Schema> {
    Arc::new(Schema::from_value(read_value(schema)).unwrap())
}

pub(crate) fn read_value(value: &Json) -> Value {
    Value::from_json(value.to_string().as_bytes()).unwrap()
}

pub(crate) fn read_input(given: &Json) -> Input {
    match text(&given["type"]) {
        "persisted" => Input::Persisted(WriteId::new(number(&given["write"]))),
        "connected" => Input::Connected {
            receive_maximum: u16::try_from(number(&given["receive_maximum"])).unwrap(),
            maximum_packet_size: given["maximum_packet_size"]
                .as_u64()
                .map(|size| u32::try_from(size).unwrap()),
        },
        "message" => {
            let topic = text(&given["topic"]).to_owned();
            let payload = read_payload(&topic, &given["payload"]);
            Input::Message { topic, payload }
        }
        "acked" => Input::Acked {
            id: IntentId::new(number(&given["id"])),
            answer: read_answer(&given["answer"]),
        },
        "disconnected" => Input::Disconnected {
            reason: text(&given["reason"]).to_owned(),
            taken_over: given["taken_over"].as_bool().unwrap_or(false),
        },
        "timeout" => Input::Timeout,
        "set_online" => Input::SetOnline(given["online"].as_bool().unwrap()),
        "new_device" => Input::NewDevice(text(&given["device_uuid"]).parse().unwrap()),
        other => panic!("no such input: {other}"),
    }
}

fn read_payload(topic: &str, payload: &Json) -> Vec<u8> {
    let json = payload.to_string();
    if payload
        .as_object()
        .is_some_and(|map| map.len() == 1 && map.contains_key("$bytes"))
    {
        let Value::Bytes(bytes) = read_value(payload) else {
            panic!("bytes are bytes")
        };
        return bytes;
    }
    if topic.ends_with("/events") {
        Event::decode(json.as_bytes()).unwrap().encode()
    } else if topic.ends_with("/state") {
        Snapshot::decode(json.as_bytes()).unwrap().encode()
    } else if topic.contains("/errors/") {
        Notice::decode(json.as_bytes()).unwrap().encode()
    } else {
        json.into_bytes()
    }
}

fn read_answer(answer: &Json) -> Answer {
    if let Some(seq) = answer["saved"].as_u64() {
        return Answer::Saved(Seq::new(seq).unwrap());
    }
    if let Some(seq) = answer["repeat"].as_u64() {
        return Answer::Repeat(Seq::new(seq).unwrap());
    }
    let refused = &answer["refused"];
    Answer::Refused(Refusal::new(
        text(&refused["name"]),
        text(&refused["reason"]),
    ))
}

fn text(value: &Json) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is not text"))
}

fn number(value: &Json) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("{value} is not a number"))
}

pub(crate) fn write_rejected(rejected: &Rejected) -> Json {
    json!([{"type": "rejected", "reason": rejected.as_str()}])
}

pub(crate) fn write_outputs(outputs: Vec<Output>) -> Json {
    outputs.into_iter().map(write_output).collect()
}

fn write_output(output: Output) -> Json {
    match output {
        Output::MintDevice => json!({"type": "mint_device"}),
        Output::Disconnect => json!({"type": "disconnect"}),
        Output::Connect(device) => json!({"type": "connect", "device_uuid": device.to_string()}),
        Output::Subscribe(filter) => json!({"type": "subscribe", "filter": filter}),
        Output::Write(write) => write_write(*write),
        Output::Stored(id) => json!({"type": "stored", "id": id.get()}),
        Output::Send { id, topic, payload } => {
            let intent = write_intent(&Intent::decode(&payload).unwrap());
            json!({"type": "send", "id": id.get(), "topic": topic, "payload": intent})
        }
        Output::Receipt { id, outcome } => write_receipt(id, outcome),
        Output::SetAside {
            id,
            intent,
            refusal: Refusal { name, reason },
        } => json!({
            "type": "set_aside", "id": id.get(), "intent": write_intent(&intent), "name": name, "reason": reason,
        }),
        Output::Event { event, own } => {
            let event: Json = serde_json::from_str(&event.to_json()).unwrap();
            json!({"type": "event", "event": event, "own": own})
        }
        Output::SchemaChanged(hash) => json!({"type": "schema_changed", "hash": hash.to_string()}),
        Output::Fault { kind, detail: _ } => json!({"type": "fault", "kind": kind.as_str()}),
        Output::Changed { collection, keys } => {
            json!({"type": "changed", "collection": collection, "keys": keys})
        }
        Output::Status(status) => write_status(&status),
    }
}

fn write_write(write: Write) -> Json {
    let mut put = Map::new();
    if let Some(row) = write.device {
        put.insert("device".to_owned(), write_device(row));
    }
    if !write.intents.is_empty() {
        put.insert(
            "intents".to_owned(),
            write.intents.iter().map(write_row).collect(),
        );
    }
    if let Some(replica) = write.replica {
        put.insert(
            "replica".to_owned(),
            serde_json::from_str(&replica.to_json()).unwrap(),
        );
    }
    if let Some(schema) = write.schema {
        let mut document: Json = serde_json::from_str(&schema.document()).unwrap();
        put.insert("schema".to_owned(), document["schema"].take());
    }
    let delete: Vec<u64> = write.delete.iter().map(|id| id.get()).collect();
    json!({"type": "write", "write": write.id.get(), "put": put, "delete": delete})
}

fn write_device(row: DeviceRow) -> Json {
    json!({
        "device_uuid": row.device.to_string(),
        "next_device_seq": row.next_device_seq.get(),
        "offered": row.offered.map_or(0, DeviceSeq::get),
        "timestamp": row.clock.timestamp.get(),
        "counter": row.clock.counter,
    })
}

fn write_row(row: &Row) -> Json {
    let mut json = write_intent(&row.intent);
    json["id"] = row.id.get().into();
    if let Some(saw) = row.saw {
        json["saw"] = serde_json::from_str(&saw.to_value().to_json()).unwrap();
    }
    if row.overtaken {
        json["overtaken"] = true.into();
    }
    json
}

fn write_intent(intent: &Intent) -> Json {
    serde_json::from_str(&intent.to_json()).unwrap()
}

fn write_receipt(id: IntentId, outcome: Outcome) -> Json {
    let mut json = json!({"type": "receipt", "id": id.get()});
    match outcome {
        Outcome::Saved(seq) => {
            json["outcome"] = "saved".into();
            if let Some(seq) = seq {
                json["seq"] = seq.get().into();
            }
        }
        Outcome::Refused(Refusal { name, reason }) => {
            json["outcome"] = "refused".into();
            json["name"] = name.into();
            json["reason"] = reason.into();
        }
        Outcome::Superseded(by) => {
            json["outcome"] = "superseded".into();
            json["by"] = by.get().into();
        }
    }
    json
}

fn write_status(status: &Status) -> Json {
    let phase = match status.phase {
        Phase::Offline => "offline",
        Phase::Connecting => "connecting",
        Phase::Online => "online",
    };
    let label = match status.label() {
        Label::Offline => "offline",
        Label::Saving => "saving",
        Label::Saved => "saved",
    };
    let mut json =
        json!({"type": "status", "phase": phase, "pending": status.pending, "label": label});
    if let Some(at) = status.next_retry_at {
        json["next_retry_at"] = at.get().into();
    }
    if let Some(reason) = &status.reason {
        json["reason"] = reason.as_str().into();
    }
    json
}

pub(crate) fn entries(core: &Core, collection: &str) -> Json {
    let entries = core.entries(collection).into_iter();
    entries
        .map(|(key, value)| (key, write_value(&value)))
        .collect()
}

/// The list that `named` is of, in the same form.
pub(crate) fn list(core: &Core, named: &Json) -> Json {
    let items = core.list(text(&named["collection"]), named["list"].as_str());
    let items: Json = items
        .into_iter()
        .map(|(key, value)| json!([key, write_value(&value)]))
        .collect();
    let mut list = named.clone();
    list["items"] = items;
    list
}

pub(crate) fn open_values(core: &Core, collection: &str, key: &str) -> Json {
    let open = core.open_values(collection, key).into_iter();
    open.map(|open| {
        let mut json = json!({
            "device_uuid": open.device.to_string(),
            "timestamp": open.clock.timestamp.get(),
            "counter": open.clock.counter,
        });
        match &open.content {
            Content::Live(value) => json["value"] = write_value(value),
            Content::Removed => json["removed"] = true.into(),
        }
        json
    })
    .collect()
}

fn write_value(value: &Value) -> Json {
    serde_json::from_str(&value.to_json()).unwrap()
}
