//! Bytes on disk per event: with all of history, with its tail alone, and in files that were shrunk.

use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use syncline_tests::broker::{self, Broker, Setup};
use syncline_tests::star::Star;
use syncline_tests::wait;

use crate::many::bytes_in;
use crate::publish;

const EVENTS: usize = 100_000;
const STREAMS: usize = 10;
const ALBUMS: usize = 500;
/// A history of 100 events per stream, whatever their age.
const SHORT: &str = "[history]\nmin_age_ms = 1\nmax_events = 100\ninterval_ms = 50\n";
const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    println!("{EVENTS} stars and unstars of {ALBUMS} albums in each of {STREAMS} streams' shares:");
    let mut broker = Broker::start();
    let data = broker.data().to_owned();
    let events: Vec<String> = (0..EVENTS).map(event).collect();
    publish::all(broker.mqtt(), topic, &events)?;
    broker.terminate();
    tell("all of history", &data)?;
    shrink(&data)?;
    tell("all of history, shrunk", &data)?;
    let mut compacting = Setup::new().data(&data).config(SHORT).start();
    wait::poll(PATIENCE, || is_compacted(&data).then_some(()))
        .ok_or("the history was not compacted in time")?;
    compacting.terminate();
    tell("compacted", &data)?;
    shrink(&data)?;
    tell("compacted, shrunk", &data)
}

fn topic(number: usize) -> String {
    format!("sync/disk-{}/events", number % STREAMS)
}

fn event(number: usize) -> String {
    let album = format!("album-{:04}", number / STREAMS % ALBUMS);
    match number / STREAMS / ALBUMS % 2 {
        0 => Star::album(&album).json(),
        _ => Star::no_album(&album).json(),
    }
}

fn tell(what: &str, data: &Path) -> Result<(), Box<dyn Error>> {
    let bytes = bytes_in(data)?;
    let each = bytes as f64 / EVENTS as f64;
    println!("  {what:<24} {bytes:>10} bytes, {each:>6.1} per event");
    Ok(())
}

fn shrink(data: &Path) -> Result<(), Box<dyn Error>> {
    let data = data.display().to_string();
    let done = Command::new(broker::binary())
        .args(["compact", "--data", &data])
        .output()?;
    if done.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&done.stderr).into_owned().into())
}

/// Asks the running broker how many events it keeps.
fn is_compacted(data: &Path) -> bool {
    let data = data.display().to_string();
    let listed = Command::new(broker::binary())
        .args(["log", "--data", &data, "--limit", "5000"])
        .output();
    // The horizon may stand up to an eighth behind the limit.
    listed.is_ok_and(|listed| {
        let lines = listed.stdout.iter().filter(|byte| **byte == b'\n').count();
        listed.status.success() && lines < STREAMS * 130
    })
}
