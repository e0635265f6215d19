//! `cargo demo --check`: starts the demo's broker on free ports with data of its own, stars an album
//! as any MQTT client would, and verifies what a person would look at, also after a restart.

use std::process::ExitCode;

use clap::Parser;
use syncline_tests::broker::{Broker, Setup};
use syncline_tests::http;
use syncline_tests::star::Star;
use syncline_tests::wire::{Connect, Version, Wire};

const ALBUM: &str = "demo-check";

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
        .start();
    say(&format!(
        "ready: http://{}/ and mqtt://{}",
        broker.http(),
        broker.mqtt()
    ));
    page_is_served(&broker)?;
    let seq = star(&broker)?;
    say(&format!(
        "{ALBUM} is starred: acknowledged, on disk, at seq {seq}"
    ));
    star_is_in_the_state(&broker)?;
    say("the state has the star");
    let status = broker.terminate();
    if !status.success() {
        return Err(format!("SIGTERM ended the broker with {status}"));
    }
    broker.start_again();
    star_is_in_the_state(&broker)?;
    say("the star is there after a restart");
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

fn star(broker: &Broker) -> Result<u64, String> {
    let mut wire = connect(broker)?;
    let answer = wire.publish("sync/demo/events", Star::album(ALBUM).json());
    let answer = answer.map_err(|error| format!("PUBLISH: {error}"))?;
    answer
        .seq()
        .ok_or_else(|| format!("PUBLISH was answered with {answer:?}"))
}

fn star_is_in_the_state(broker: &Broker) -> Result<(), String> {
    let mut wire = connect(broker)?;
    let message = wire
        .subscribe("$json/sync/demo/state")
        .and_then(|_| wire.message());
    let state = message
        .map_err(|error| format!("$json/sync/demo/state: {error}"))?
        .json();
    match state["collections"]["albums"][ALBUM]["value"].as_bool() {
        Some(true) => Ok(()),
        _ => Err(format!("the state has no star: {state}")),
    }
}

fn connect(broker: &Broker) -> Result<Wire, String> {
    let connect = Connect::new(Version::V5, "demo-check");
    Wire::connect(broker.mqtt(), &connect).map_err(|error| format!("CONNECT: {error}"))
}
