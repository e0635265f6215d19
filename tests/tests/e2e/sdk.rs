//! The Rust SDK in a process of its own, which is killed (G11).

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use syncline_protocol::Event;
use syncline_tests::broker::{Broker, Setup};
use syncline_tests::ports;
use syncline_tests::wait::PATIENCE;

use crate::scene::watcher;

const STARS: u64 = 500;

struct App {
    child: Child,
    lines: Receiver<String>,
}

impl App {
    fn start(broker: &str, store: &Path, stars: u64) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_offline-publisher"));
        command
            .args(["--broker", broker, "--stars", &stars.to_string(), "--store"])
            .arg(store);
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("the app starts");
        let output = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self { child, lines }
    }

    fn wait_for(&self, wanted: &str) {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line == wanted => return,
                Ok(_) => {}
                Err(error) => panic!("the app does not say {wanted:?}: {error}"),
            }
        }
    }
}

/// Dropped, it is killed, as by `kill -9`.
impl Drop for App {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The albums of the first `count` events, which are all of one device and in its order.
fn albums(broker: &Broker, count: u64) -> Vec<String> {
    let mut watcher = watcher(broker, "$since/0/sync/home/events");
    let mut albums = Vec::new();
    let mut devices = Vec::new();
    for at in 1..=count {
        let event = Event::decode(&watcher.message().unwrap().payload).unwrap();
        assert_eq!(event.device_seq.unwrap().get(), at, "once, in order");
        devices.push(event.device);
        let data = serde_json::from_str::<serde_json::Value>(&event.to_json()).unwrap();
        albums.push(data["event_data"]["album_id"].as_str().unwrap().to_owned());
    }
    devices.dedup();
    assert_eq!(devices.len(), 1);
    albums
}

#[test]
fn g11_500_events_queued_offline_survive_kill_9_and_arrive_once_in_order() {
    let folder = tempfile::TempDir::new().unwrap();
    let store = folder.path().join("outbox.redb");
    let address = ports::free().to_string();

    let app = App::start(&address, &store, STARS);
    app.wait_for(&format!("stored {STARS}"));
    drop(app);

    let app = App::start(&address, &store, 0);
    let broker = Setup::new().mqtt(&address).start();
    // Killed once more, while the outbox drains: what was sent and not answered is sent again.
    let mut first = watcher(&broker, "$since/0/sync/home/events");
    first.message().unwrap();
    drop(app);

    let app = App::start(&address, &store, 0);
    app.wait_for("saved");
    let expected: Vec<String> = (1..=STARS).map(|at| format!("album-{at:03}")).collect();
    assert_eq!(albums(&broker, STARS), expected);
    let state = watcher(&broker, "$json/sync/home/state")
        .message()
        .unwrap()
        .json();
    assert_eq!(state["head"], STARS, "nothing came twice");
}

#[test]
fn g11_a_broker_that_dies_under_the_app_costs_nothing() {
    let folder = tempfile::TempDir::new().unwrap();
    let store = folder.path().join("outbox.redb");
    let mut broker = Broker::start();
    let app = App::start(&broker.mqtt().to_string(), &store, STARS);
    app.wait_for("stored 50");
    broker.kill().unwrap();
    app.wait_for(&format!("stored {STARS}"));
    broker.start_again();
    app.wait_for("saved");
    let expected: Vec<String> = (1..=STARS).map(|at| format!("album-{at:03}")).collect();
    assert_eq!(albums(&broker, STARS), expected);
}
