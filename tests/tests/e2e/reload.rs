//! A running broker reads its configuration and its schema again.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use syncline_tests::broker::{Broker, Setup};
use syncline_tests::http;
use syncline_tests::star::Star;
use tempfile::TempDir;

use crate::scene::{guest, number, star, watcher};

const ALBUMS: &str = "
[collections.albums]
kind = \"set\"
conflict = \"last_write_wins\"
key = \"album_id\"
add = \"star_album\"
remove = \"unstar_album\"
";
const PLAYED: &str = "
[collections.played]
kind = \"set\"
conflict = \"last_write_wins\"
key = \"album_id\"
add = \"play_album\"
remove = \"unplay_album\"
";

/// A configuration file that can be changed.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(TempDir::new().unwrap());
        fs::write(files.path("schema.toml"), ALBUMS).unwrap();
        files.configure("info", 256);
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn configure(&self, level: &str, inflight: u32) {
        let schema = self.path("schema.toml");
        let text = format!(
            "[store]\nschema = {:?}\n[log]\nlevel = {level:?}\n[limits]\ninflight_max = {inflight}\n",
            schema.display().to_string()
        );
        fs::write(self.path("broker.toml"), text).unwrap();
    }

    fn start(&self) -> Broker {
        let configuration = self.path("broker.toml").display().to_string();
        Setup::new()
            .arguments(&["--config", &configuration])
            .start()
    }
}

fn reload(broker: &Broker) -> (bool, String) {
    let output = broker.ask(&["reload"]);
    let said = [&output.stdout[..], &output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

fn state(broker: &Broker) -> Value {
    let mut watcher = watcher(broker, "$json/sync/home/state");
    watcher.message().unwrap().json()
}

#[test]
fn schema_5_state_12_what_a_reload_adds_counts_from_the_next_event_on() {
    let files = Files::new();
    let mut broker = files.start();
    let mut wire = guest(&broker);
    let play = |album: &str| Star::of("play_album", serde_json::json!({"album_id": album})).json();
    wire.publish("sync/home/events", play("before")).unwrap();
    star(&mut wire, "sync/home", "a");
    assert_eq!(number(&state(&broker), "seq"), 2);
    let mut told = watcher(&broker, "$SYS/broker/schema");
    told.message().unwrap();
    fs::write(files.path("schema.toml"), [ALBUMS, PLAYED].concat()).unwrap();
    let (taken, said) = reload(&broker);
    assert!(taken && said.contains("new collections: played"), "{said}");
    wire.publish("sync/home/events", play("after")).unwrap();
    let document = told.message().unwrap();
    let page = http::get(broker.http(), "/schema").unwrap();
    assert_eq!(page.body.as_bytes(), document.payload);
    let check = |broker: &Broker| {
        let state = state(broker);
        assert_eq!(state["schema"], document.json()["hash"]);
        let collections = &state["collections"];
        assert!(collections["albums"]["a"].is_object(), "{state}");
        let played: Vec<_> = collections["played"].as_object().unwrap().keys().collect();
        assert_eq!(played, ["after"]);
    };
    check(&broker);
    broker.kill().unwrap();
    broker.start_again();
    check(&broker);
    let verified = broker.ask(&["verify"]);
    assert!(verified.status.success(), "{verified:?}");
}

#[test]
fn a_reload_takes_the_log_level_and_names_what_needs_a_restart() {
    let files = Files::new();
    let broker = files.start();
    drop(guest(&broker));
    assert!(!broker.log().contains("DEBUG"));
    files.configure("debug", 255);
    let (taken, said) = reload(&broker);
    assert!(
        taken && said.contains("counts from the next start on: limits.inflight_max"),
        "{said}"
    );
    drop(guest(&broker));
    assert!(broker.log().contains("DEBUG"), "{}", broker.log());
}

#[test]
fn a_reload_of_a_broken_configuration_or_schema_changes_nothing_and_says_why() {
    let files = Files::new();
    let broker = files.start();
    let before = http::get(broker.http(), "/schema").unwrap().body;
    let redefined = ALBUMS.replace("star_album", "like_album");
    for (file, text, why) in [
        (
            "schema.toml",
            "[collections.x]\nkind = \"sett\"",
            "schema.toml",
        ),
        ("schema.toml", &*redefined, "syncline migrate"),
        ("broker.toml", "[limits]\ninflight = 5\n", "inflight"),
    ] {
        let good = fs::read_to_string(files.path(file)).unwrap();
        fs::write(files.path(file), text).unwrap();
        let (taken, said) = reload(&broker);
        assert!(!taken && said.contains("nothing was changed"), "{said}");
        assert!(said.contains(why), "{said}");
        fs::write(files.path(file), good).unwrap();
        let page = http::get(broker.http(), "/schema").unwrap();
        assert_eq!(page.body, before);
    }
    assert!(reload(&broker).0);
}
