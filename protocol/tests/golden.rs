//! The golden files, which the TypeScript client reads as well: the same inputs give the same bytes.
//!
//! Each file holds inputs and what they amount to. `SYNCLINE_WRITE_GOLDEN=1 cargo test -p syncline-protocol --test
//! golden` writes the latter anew, which is right only together with a new version of the protocol.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, Value as Json};
use syncline_protocol::state::Position;
use syncline_protocol::{
    Assembler, DeviceId, Event, Filter, Intent, Notice, Presence, Schema, Seq, Snapshot, State,
    StreamId, Subscription, Topic, Value,
};

/// Fills in a file's outputs from its inputs.
type Fill = fn(&mut Json);

fn check(name: &str, fill: Fill) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("golden")
        .join(name);
    let pinned: Json = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let mut computed = pinned.clone();
    fill(&mut computed);
    if std::env::var_os("SYNCLINE_WRITE_GOLDEN").is_some() {
        fs::write(
            &path,
            serde_json::to_string_pretty(&computed).unwrap() + "\n",
        )
        .unwrap();
        return;
    }
    assert_eq!(computed, pinned, "{name}");
}

fn each(list: &mut Json, mut fill: impl FnMut(&mut Map<String, Json>)) {
    let items = list.as_array_mut().unwrap();
    assert!(!items.is_empty());
    for item in items {
        fill(item.as_object_mut().unwrap());
    }
}

fn text<'a>(item: &'a Map<String, Json>, name: &str) -> &'a str {
    item[name].as_str().unwrap()
}

fn hex(bytes: &[u8]) -> Json {
    bytes
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>()
        .into()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn values_and_their_canonical_form() {
    check("values.json", |file| {
        each(&mut file["values"], |item| {
            let value = Value::from_json(text(item, "json").as_bytes()).unwrap();
            item.insert("canonical".to_owned(), hex(&value.to_msgpack()));
            item.insert("printed".to_owned(), value.to_json().into());
        });
        each(&mut file["refused"], |item| {
            assert!(
                Value::from_msgpack(&unhex(text(item, "msgpack"))).is_err(),
                "{item:?}"
            );
        });
        each(&mut file["refused_json"], |item| {
            assert!(
                Value::from_json(text(item, "json").as_bytes()).is_err(),
                "{item:?}"
            );
        });
    });
}

#[test]
fn topics_filters_and_views() {
    check("topics.json", |file| {
        each(&mut file["topics"], |item| {
            let printed = text(item, "text")
                .parse::<Topic>()
                .map(|topic| topic.to_string());
            item.insert("is_topic".to_owned(), printed.is_ok().into());
            assert!(printed.is_err() || printed.as_deref() == Ok(text(item, "text")));
        });
        each(&mut file["views"], |item| {
            let view = text(item, "text").parse::<Subscription>();
            let filter = view
                .as_ref()
                .map_or(Json::Null, |it| it.filter.as_str().into());
            item.insert("base_filter".to_owned(), filter);
            item.insert("json".to_owned(), view.is_ok_and(|it| it.json).into());
        });
        each(&mut file["matches"], |item| {
            let filter: Filter = text(item, "filter").parse().unwrap();
            let matches = filter.matches_text(text(item, "topic"));
            item.insert("matches".to_owned(), matches.into());
        });
    });
}

#[test]
fn devices_of_connections_without_one() {
    check("devices.json", |file| {
        each(&mut file["devices"], |item| {
            let device = DeviceId::of_client_id(text(item, "principal"), text(item, "client_id"));
            item.insert("device_uuid".to_owned(), device.to_string().into());
        });
    });
}

#[test]
fn intents_and_events() {
    check("events.json", |file| {
        each(&mut file["intents"], |item| {
            let intent = Intent::decode(text(item, "json").as_bytes()).unwrap();
            let author = text(item, "author").parse().unwrap();
            item.insert("msgpack".to_owned(), hex(&intent.encode()));
            item.insert("hash".to_owned(), hex(&intent.hash(author).0));
        });
        each(&mut file["refused"], |item| {
            let refused = Intent::decode(text(item, "json").as_bytes()).unwrap_err();
            item.insert("name".to_owned(), refused.name.as_str().into());
        });
        each(&mut file["events"], |item| {
            let event = Event::decode(text(item, "json").as_bytes()).unwrap();
            item.insert("msgpack".to_owned(), hex(&event.encode()));
            item.insert("printed".to_owned(), event.to_json().into());
        });
    });
}

#[test]
fn presence_and_notices() {
    check("messages.json", |file| {
        each(&mut file["presence"], |item| {
            let presence = Presence::decode(text(item, "json").as_bytes()).unwrap();
            item.insert("msgpack".to_owned(), hex(&presence.encode()));
        });
        each(&mut file["errors"], |item| {
            let notice = Notice::decode(text(item, "json").as_bytes()).unwrap();
            item.insert("msgpack".to_owned(), hex(&notice.encode()));
        });
    });
}

#[test]
fn schemas() {
    check("schemas.json", |file| {
        each(&mut file["schemas"], |item| {
            let schema = Schema::parse(text(item, "toml")).unwrap();
            item.insert("hash".to_owned(), schema.hash().to_string().into());
            item.insert("document".to_owned(), schema.document().into());
        });
        each(&mut file["refused"], |item| {
            let error = Schema::parse(text(item, "toml")).unwrap_err();
            item.insert("error".to_owned(), error.to_string().into());
        });
        each(&mut file["refused_documents"], |item| {
            let error = Schema::from_document(text(item, "document")).unwrap_err();
            item.insert("error".to_owned(), error.to_string().into());
        });
    });
}

/// A log, the digests after each event, and every delta and the full snapshot at its end.
#[test]
fn states_digests_and_snapshots() {
    check("states.json", |file| {
        let (state, stream) = applied(file);
        let snapshots = (0..=state.seq().get()).map(|since| {
            let mut item = Map::from_iter([("since".to_owned(), since.into())]);
            fill_snapshot(&mut item, &state, &stream);
            Json::from(item)
        });
        file["snapshots"] = snapshots.collect();
    });
}

/// The same for every kind with every policy, and how the lists stand at the end (STATE-4 … STATE-11, LIST-1 … LIST-4).
#[test]
fn kinds_and_policies() {
    check("kinds.json", |file| {
        let (state, stream) = applied(file);
        file["document"] = state.schema().document().into();
        each(&mut file["snapshots"], |item| {
            fill_snapshot(item, &state, &stream);
        });
        each(&mut file["lists"], |item| {
            let list = state.list(text(item, "collection"), item["list"].as_str());
            let keys = list.into_iter().map(|(key, _)| key);
            item.insert("keys".to_owned(), keys.collect());
        });
    });
}

#[test]
fn positions() {
    check("positions.json", |file| {
        each(&mut file["between"], |item| {
            let (lower, upper) = (position(&item["lower"]), position(&item["upper"]));
            let between = Position::between(lower.as_ref(), upper.as_ref());
            item.insert("position".to_owned(), between.elements().collect());
        });
    });
}

/// A snapshot in parts, and what comes of pushing its parts in some order.
#[test]
fn parts() {
    check("parts.json", |file| {
        let (state, stream) = applied(file);
        let bytes_max = usize::try_from(file["bytes_max"].as_u64().unwrap()).unwrap();
        let whole = Snapshot::of(&state, stream, Seq::ZERO);
        let parts = whole.clone().parts(bytes_max);
        let json_parts = whole.clone().json_parts(bytes_max);
        file["document"] = state.schema().document().into();
        file["whole"] = hex(&whole.encode());
        file["parts"] = parts.iter().map(|part| hex(&part.encode())).collect();
        file["json_parts"] = json_parts.iter().map(Snapshot::to_json).collect();
        each(&mut file["sequences"], |item| {
            let mut assembler = Assembler::default();
            let pushed = item["push"].as_array().unwrap().iter();
            let answers = pushed.map(|part| {
                let at = usize::try_from(part.as_u64().unwrap()).unwrap();
                match assembler.push(parts[at - 1].clone()) {
                    Ok(None) => "pending",
                    Ok(Some(assembled)) if assembled == whole => "whole",
                    Ok(Some(_)) => "something else",
                    Err(_) => "refused",
                }
            });
            let answers: Json = answers.collect();
            item.insert("answers".to_owned(), answers);
        });
    });
}

/// Applies a file's events, and notes what each did.
fn applied(file: &mut Json) -> (State, StreamId) {
    let schema = Arc::new(Schema::parse(file["schema"].as_str().unwrap()).unwrap());
    let mut state = State::new(schema);
    let mut stream = None;
    each(&mut file["events"], |item| {
        let event = Event::decode(text(item, "json").as_bytes()).unwrap();
        let changed = state.apply(&event).unwrap().is_some();
        let digests: Map<_, _> = state
            .digests()
            .into_iter()
            .map(|(name, it)| (name, it.to_string().into()))
            .collect();
        item.insert("changed".to_owned(), changed.into());
        item.insert("digest".to_owned(), state.digest().to_string().into());
        item.insert("digests".to_owned(), digests.into());
        stream = Some(event.stream);
    });
    (state, stream.unwrap())
}

fn fill_snapshot(item: &mut Map<String, Json>, state: &State, stream: &StreamId) {
    let since = Seq::new(item["since"].as_u64().unwrap()).unwrap();
    let snapshot = Snapshot::of(state, stream.clone(), since);
    item.insert("msgpack".to_owned(), hex(&snapshot.encode()));
    item.insert("json".to_owned(), snapshot.to_json().into());
}

fn position(elements: &Json) -> Option<Position> {
    let elements = elements.as_array()?.iter();
    let elements: Vec<i64> = elements.map(|it| it.as_i64().unwrap()).collect();
    Position::new(&elements)
}
