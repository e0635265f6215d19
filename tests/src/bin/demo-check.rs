//! `cargo demo --check`: starts the demo's broker on free ports with data of its own, stars an album and queues a track
//! in the room as any MQTT client would, and verifies what a person would look at, also after a restart.

use std::process::ExitCode;

use clap::Parser;
use serde_json::{Value, json};
use syncline_tests::broker::{Broker, Setup};
use syncline_tests::http;
use syncline_tests::star::Star;
use syncline_tests::wire::{Connect, Version, Wire};

const ALBUM: &str = "demo-check";
const TRACK: &str = "demo-check.1";
const CONFIG: &str = include_str!("../../../config/demo.toml");

/// Starts the demo, stars an album, verifies, stops.
#[derive(Parser)]
struct Options {
    /// The built page
    #[arg(long)]
    pages: String,
}

fn main() -> ExitCode {
    match check(&Options::parse()) {
        Ok(()) => {
            println!("The demo works.");
            ExitCode::SUCCESS
        }
        Err(wrong) => {
            println!("The demo does not work: {wrong}");
            ExitCode::FAILURE
        }
    }
}

fn check(options: &Options) -> Result<(), String> {
    let mut broker = Setup::new()
        .variable("SYNCLINE__HTTP__PAGES", &options.pages)
        .config(CONFIG)
        .start();
    say(&format!(
        "ready: http://{}/ and mqtt://{}",
        broker.http(),
        broker.mqtt()
    ));
    page_is_served(&broker)?;
    let seq = publish(&broker, "sync/demo/events", &Star::album(ALBUM))?;
    say(&format!(
        "{ALBUM} is starred: acknowledged, on disk, at seq {seq}"
    ));
    star_is_in_the_state(&broker)?;
    say("the state has the star");
    let item = json!({ "item_id": "i1", "playlist_id": "queue", "track_id": TRACK });
    let queued = Star::of("put_in_playlist", item);
    publish(&broker, "sync/demo/room/events", &queued)?;
    track_is_in_the_room(&broker)?;
    say(&format!("{TRACK} is queued in the listening room"));
    let status = broker.terminate();
    if !status.success() {
        return Err(format!("SIGTERM ended the broker with {status}"));
    }
    broker.start_again();
    star_is_in_the_state(&broker)?;
    track_is_in_the_room(&broker)?;
    say("the star and the queue are there after a restart");
    Ok(())
}

fn say(what: &str) {
    println!("  ok  {what}");
}

fn page_is_served(broker: &Broker) -> Result<(), String> {
    let page = http::get(broker.http(), "/").map_err(|error| format!("GET /: {error}"))?;
    let title = page
        .body
        .split_once("<title>")
        .and_then(|(_, rest)| rest.split_once("</title>"));
    match title {
        Some((title, _)) if page.status == 200 && title.contains("Syncline") => {
            say(&format!("the page is served: {}", title.trim()));
            Ok(())
        }
        _ => Err(format!(
            "GET / answers {} without the page's title",
            page.status
        )),
    }
}

fn publish(broker: &Broker, topic: &str, event: &Star) -> Result<u64, String> {
    let mut wire = connect(broker)?;
    let answer = wire.publish(topic, event.json());
    let answer = answer.map_err(|error| format!("PUBLISH: {error}"))?;
    answer
        .seq()
        .ok_or_else(|| format!("PUBLISH was answered with {answer:?}"))
}

fn star_is_in_the_state(broker: &Broker) -> Result<(), String> {
    let state = state(broker, "$json/sync/demo/state")?;
    match state["collections"]["albums"][ALBUM]["value"].as_bool() {
        Some(true) => Ok(()),
        _ => Err(format!("the state has no star: {state}")),
    }
}

fn track_is_in_the_room(broker: &Broker) -> Result<(), String> {
    let state = state(broker, "$json/sync/demo/room/state")?;
    match state["collections"]["playlists"]["i1"]["value"].as_str() {
        Some(TRACK) => Ok(()),
        _ => Err(format!("the room's state has no such track: {state}")),
    }
}

fn state(broker: &Broker, filter: &str) -> Result<Value, String> {
    let mut wire = connect(broker)?;
    let message = wire.subscribe(filter).and_then(|_| wire.message());
    let message = message.map_err(|error| format!("{filter}: {error}"))?;
    Ok(message.json())
}

fn connect(broker: &Broker) -> Result<Wire, String> {
    let connect = Connect::new(Version::V5, "demo-check");
    Wire::connect(broker.mqtt(), &connect).map_err(|error| format!("CONNECT: {error}"))
}
