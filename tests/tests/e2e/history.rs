//! What people ask of their data, with the real binary: while the broker runs, and when it does not.

use std::fs;
use std::path::Path;
use std::process::Command;

use syncline_tests::broker::{self, Broker, Setup};
use syncline_tests::star::Star;
use syncline_tests::wire::{Connect, Version, Wire};

const MUSIC: &str = include_str!("../../../config/schemas/music.toml");

/// Runs `syncline`; what it wrote, or what it said instead.
fn syncline(arguments: &[&str], data: &Path) -> Result<String, String> {
    let done = Command::new(broker::binary())
        .args(arguments)
        .arg("--data")
        .arg(data)
        .output()
        .expect("the binary starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match done.status.success() {
        true => Ok(text(&done.stdout)),
        false => Err(text(&done.stderr)),
    }
}

fn publish(broker: &Broker, topic: &str, events: &[Star]) {
    let mut wire = Wire::connect(broker.mqtt(), &Connect::new(Version::V5, "")).unwrap();
    for event in events {
        let answer = wire.publish(topic, event.json()).unwrap();
        assert_eq!(answer.refusal(), None);
    }
}

fn with_history() -> Broker {
    let broker = Broker::start();
    let events = [Star::album("a"), Star::album("b"), Star::no_album("a")];
    publish(&broker, "sync/home/events", &events);
    let play = Star::of("play_track", serde_json::json!({ "track_id": "t" }));
    publish(&broker, "sync/home/room/events", &[play]);
    broker
}

#[test]
fn a_running_broker_and_its_stopped_data_give_the_same_answers() {
    let mut broker = with_history();
    let data = broker.data().to_owned();
    let questions: [&[&str]; 5] = [
        &["log", "--stream", "home", "--since", "1", "--type", "star_album"],
        &["log", "--json"],
        &["state", "--stream", "home", "--at", "2"],
        &["state", "--stream", "home/room", "--json"],
        &["verify"],
    ];
    let running = questions.map(|question| syncline(question, &data).unwrap());
    assert_eq!(running[0].lines().count(), 1, "{}", running[0]);
    assert!(running[2].contains("albums a true\nalbums b true\n"), "{}", running[2]);
    assert!(running[4].contains("2 streams, 4 kept events") && running[4].contains(" 0 findings"));
    broker.terminate();
    let stopped = questions.map(|question| syncline(question, &data).unwrap());
    assert_eq!(running, stopped);
    let refused = syncline(&["state", "--stream", "home", "--at", "9"], &data).unwrap_err();
    assert!(refused.contains("from seq 0 to seq 3"), "{refused}");
    let nowhere = syncline(&["verify"], &data.join("nowhere")).unwrap_err();
    assert!(nowhere.contains("no data directory"), "{nowhere}");
}

#[test]
fn epoch_1_a_backup_of_a_running_broker_is_restored_into_new_epochs() {
    let broker = with_history();
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.redb").display().to_string();
    syncline(&["backup", &copy], broker.data()).unwrap();
    publish(&broker, "sync/home/events", &[Star::album("later")]);
    let restored = folder.path().join("restored");
    syncline(&["restore", &copy], &restored).unwrap();
    let state = |data: &Path| syncline(&["state", "--stream", "home"], data).unwrap();
    let (there, here) = (state(broker.data()), state(&restored));
    assert!(there.contains("albums later") && !here.contains("albums later"), "{here}");
    assert!(here.contains("albums b true\n"), "{here}");
    let epoch = |text: &str| text.split("epoch ").nth(1).unwrap()[..16].to_owned();
    assert_ne!(epoch(&there), epoch(&here));
    assert!(syncline(&["verify"], &restored).unwrap().contains(" 0 findings"));
    // The history that people read goes with it.
    assert_eq!(syncline(&["log"], &restored).unwrap().lines().count(), 4);
    let again = Setup::new().data(&restored).start();
    publish(&again, "sync/home/events", &[Star::album("on")]);
}

#[test]
fn what_was_exported_is_imported_elsewhere() {
    let mut broker = with_history();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("export.jsonl").display().to_string();
    syncline(&["export", &file], broker.data()).unwrap();
    let twice = syncline(&["export", &file], broker.data()).unwrap_err();
    assert!(twice.contains("exists"), "{twice}");
    let elsewhere = folder.path().join("elsewhere");
    let said = syncline(&["import", &file], &elsewhere).unwrap();
    assert!(said.contains("2 streams imported"), "{said}");
    let log = |data: &Path| syncline(&["log"], data).unwrap();
    assert_eq!(log(broker.data()), log(&elsewhere));
    let running = syncline(&["import", &file], broker.data()).unwrap_err();
    assert!(running.contains("in use") && running.contains("no broker has open"), "{running}");
    broker.terminate();
    let there = syncline(&["import", &file], broker.data()).unwrap_err();
    assert!(there.contains("exists already"), "{there}");
}

#[test]
fn an_erased_group_is_gone_from_the_answers_and_from_the_files() {
    let mut broker = with_history();
    let data = broker.data().to_owned();
    let secret = Star::of("whisper", serde_json::json!("a-secret-of-somebody"));
    publish(&broker, "sync/gone/events", &[secret]);
    assert!(syncline(&["erase", "--sync", "gone"], &data).unwrap().contains("--yes"));
    syncline(&["erase", "--sync", "gone", "--yes"], &data).unwrap();
    assert!(!syncline(&["log"], &data).unwrap().contains("whisper"));
    // It begins anew, as something that never was.
    publish(&broker, "sync/gone/events", &[Star::album("new")]);
    let listed = syncline(&["log", "--stream", "gone"], &data).unwrap();
    assert!(listed.starts_with("gone 1 "), "{listed}");
    broker.terminate();
    syncline(&["compact"], &data).unwrap();
    for file in fs::read_dir(&data).unwrap() {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        let found = bytes.windows(20).any(|window| window == b"a-secret-of-somebody");
        assert!(!found, "in the files after compaction");
    }
    assert!(syncline(&["verify"], &data).unwrap().contains(" 0 findings"));
}

#[test]
fn schema_6_a_redefined_schema_is_refused_until_it_is_migrated() {
    let mut broker = with_history();
    let data = broker.data().to_owned();
    broker.terminate();
    let folder = tempfile::tempdir().unwrap();
    let schema = folder.path().join("schema.toml");
    let redefined = MUSIC.replacen("last_write_wins", "add_wins", 1);
    fs::write(&schema, redefined).unwrap();
    let schema = schema.display().to_string();
    let serving = || Setup::new().data(&data).arguments(&["--schema", &schema]);
    let (status, said) = serving().start_refused();
    assert!(!status.success() && said.contains("syncline migrate"), "{said}");
    let plan = syncline(&["migrate", "--schema", &schema], &data).unwrap();
    assert!(plan.contains("albums is redefined: 1 live entries go on"), "{plan}");
    let (_, said) = serving().start_refused();
    assert!(said.contains("syncline migrate"), "{said}");
    let name = ["migrate", "--schema", &schema, "--name", "albums-add-wins", "--yes"];
    syncline(&name, &data).unwrap();
    let broker = serving().start();
    let state = syncline(&["state", "--stream", "home"], broker.data()).unwrap();
    assert!(state.contains("albums b true\n"), "{state}");
    publish(&broker, "sync/home/events", &[Star::album("c")]);
}
