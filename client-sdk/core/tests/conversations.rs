//! Runs the scripted conversations of `client-sdk/conversations`, which the TypeScript core runs too.
//! Their form is the last chapter of `client-sdk/SPEC.md`.

#![allow(clippy::unwrap_used)] // helpers of tests are tests, too

mod json;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};
use syncline_client_core::{Core, Input};
use syncline_protocol::UnixMillis;

use json::{read_input, read_open, write_outputs};

#[test]
fn every_conversation_goes_as_it_is_written() {
    let files = conversations();
    assert!(files.len() >= 5, "conversations are missing");
    let failures: Vec<String> = files.iter().filter_map(|file| run(file).err()).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn every_rule_that_a_conversation_quotes_is_in_the_spec() {
    let spec = include_str!("../../SPEC.md");
    for file in conversations() {
        for rule in load(&file)["rules"].as_array().unwrap() {
            let rule = format!("**{}**", rule.as_str().unwrap());
            assert!(spec.contains(&rule), "{rule} of {}", file.display());
        }
    }
}

fn conversations() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conversations");
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries
        .filter(|path| path.extension().is_some_and(|it| it == "json"))
        .collect();
    files.sort();
    files
}

fn load(file: &Path) -> Json {
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

fn run(file: &Path) -> Result<(), String> {
    let conversation = load(file);
    let mut core = None;
    for (n, step) in conversation["steps"].as_array().unwrap().iter().enumerate() {
        let outputs = take_step(&mut core, &conversation["open"], step);
        let core = core.as_ref().expect("the first step opens");
        let differs = (outputs != step["out"])
            .then(|| (outputs.clone(), step["out"].clone()))
            .or_else(|| timeout_differs(core, step))
            .or_else(|| view_differs(core, step));
        if let Some((found, written)) = differs {
            let name = file.file_name().unwrap().display();
            return Err(format!(
                "{name}, step {n}, {}\nfound   {found}\nwritten {written}",
                step["in"]
            ));
        }
    }
    Ok(())
}

fn take_step(core: &mut Option<Core>, open: &Json, step: &Json) -> Json {
    let now = UnixMillis::new(step["at"].as_u64().unwrap());
    let random = step["random"].as_f64().unwrap_or(0.5);
    let given = &step["in"];
    match (given["type"].as_str().unwrap(), core) {
        ("open", core) => {
            let (opened, outputs) = Core::open(now, read_open(open));
            *core = Some(opened);
            write_outputs(outputs)
        }
        ("publish", Some(core)) => publish(core, now, given),
        (_, Some(core)) => write_outputs(core.handle(now, random, read_input(given))),
        (_, None) => panic!("the first step opens"),
    }
}

fn publish(core: &mut Core, now: UnixMillis, given: &Json) -> Json {
    let event_type = given["event_type"].as_str().unwrap().parse().unwrap();
    match core.publish(now, event_type, json::read_value(&given["event_data"])) {
        Ok((_, outputs)) => write_outputs(outputs),
        Err(rejected) => json::write_rejected(&rejected),
    }
}

fn timeout_differs(core: &Core, step: &Json) -> Option<(Json, Json)> {
    let written = step.get("timeout")?;
    let found = core.next_timeout().map_or(Json::Null, |at| at.get().into());
    (found != *written).then(|| (found, written.clone()))
}

/// Each thing that the step says of the view.
fn view_differs(core: &Core, step: &Json) -> Option<(Json, Json)> {
    let mut found = json!({});
    if let Some(written) = step.get("view") {
        let collections = written.as_object().unwrap().keys();
        let entries = collections.map(|name| (name.clone(), json::entries(core, name)));
        found["view"] = entries.collect();
    }
    if let Some(written) = step.get("lists") {
        let lists = written.as_array().unwrap().iter();
        found["lists"] = lists.map(|named| json::list(core, named)).collect();
    }
    if let Some(written) = step.get("open_values") {
        found["open_values"] = open_values(core, written);
    }
    let names = found.as_object().unwrap().keys();
    let written: Json = names
        .map(|name| (name.clone(), step[name].clone()))
        .collect();
    (found != written).then_some((found, written))
}

fn open_values(core: &Core, written: &Json) -> Json {
    let collections = written.as_object().unwrap().iter();
    let found = collections.map(|(collection, keys)| {
        let keys = keys.as_object().unwrap().keys();
        let open = keys.map(|key| (key.clone(), json::open_values(core, collection, key)));
        (collection.clone(), open.collect::<Json>())
    });
    found.collect()
}

#[test]
fn inputs_that_nothing_waits_for_do_nothing() {
    let open = json!({
        "device": "0b0e7a52-6d0c-4a53-9a5e-2f1f0c9d1a01",
        "stream": {"sync_id": "music", "channel": null}, "online": false, "stored": null,
    });
    let (mut core, _) = Core::open(UnixMillis::new(1), read_open(&open));
    let disconnected = Input::Disconnected {
        reason: "late".to_owned(),
        taken_over: true,
    };
    let connected = Input::Connected {
        receive_maximum: 9,
        maximum_packet_size: None,
    };
    for input in [
        Input::Timeout,
        disconnected,
        connected,
        Input::SetOnline(false),
    ] {
        let outputs = core.handle(UnixMillis::new(2), 0.5, input.clone());
        assert!(outputs.is_empty(), "{input:?}: {outputs:?}");
    }
}
