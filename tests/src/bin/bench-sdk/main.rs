//! What the client in Rust costs a device: a line for each figure of each run, `title<TAB>figure`, for the program that prints
//! them beside those of the web client (`tests/bench-sdk`). Real files, the real broker. Nothing is asserted about time.

mod counted;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use clap::Parser;
use syncline_client::{Client, Label, Map, Options, Store, Value};
use syncline_tests::broker::Broker;
use tempfile::TempDir;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::timeout;

use crate::counted::Counted;

const RATINGS: Map<u32> = Map::new("ratings");
const SAMPLES: usize = 100;
const LONG: usize = 3_000;
/// How much of the map changes while a device is away: every hundredth entry.
const ONE_PERCENT: usize = 100;
const PATIENCE: Duration = Duration::from_secs(60);

/// Measures the client in Rust.
#[derive(Parser)]
struct Arguments {
    /// How often everything is measured
    #[arg(long, default_value_t = 5)]
    runs: u32,
    /// Entries of the map
    #[arg(long, default_value_t = 10_000)]
    entries: usize,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let broker = Broker::start();
    for run in 1..=arguments.runs {
        let folder = TempDir::new()?;
        device(&broker, &format!("device-{run}"), folder.path()).await?;
        bytes(
            &broker,
            &format!("bytes-{run}"),
            folder.path(),
            arguments.entries,
        )
        .await?;
    }
    Ok(())
}

fn tell(title: &str, figure: f64) {
    println!("{title}\t{figure}");
}

/// A device that knows the schema goes offline: what a change costs until it is durable, with an empty and with a long outbox.
async fn device(broker: &Broker, group: &str, folder: &Path) -> Result<(), Box<dyn Error>> {
    let file = Store::File(folder.join("device.redb"));
    let client = Client::open(Options::new(&broker.mqtt().to_string(), group)?.store(file)).await?;
    saved(&client).await?;
    client.set_online(false).await?;
    tell("enqueue, 0 pending (ms)", enqueue(&client, 0).await?);
    for at in SAMPLES..LONG {
        RATINGS.of(&client).put(&format!("offline-{at}"), 3).await?;
    }
    tell("enqueue, 3,000 pending (ms)", enqueue(&client, LONG).await?);
    client.close().await;
    Ok(())
}

/// The median of some changes, one after the other, each from the call until it is durable, in milliseconds.
async fn enqueue(client: &Client, from: usize) -> Result<f64, Box<dyn Error>> {
    let mut times = Vec::with_capacity(SAMPLES);
    for at in from..from + SAMPLES {
        let key = format!("offline-{at}");
        let begun = Instant::now();
        RATINGS.of(client).put(&key, 3).await?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    Ok(times[SAMPLES / 2].as_secs_f64() * 1_000.0)
}

/// One group: filled by a writer, joined by a newcomer, left, changed by 1 %, opened without a network, and caught up with.
async fn bytes(
    broker: &Broker,
    group: &str,
    folder: &Path,
    entries: usize,
) -> Result<(), Box<dyn Error>> {
    let writer = Client::open(Options::new(&broker.mqtt().to_string(), group)?).await?;
    saved(&writer).await?;
    put(&writer, entries, 1, 3).await?;

    let line = Counted::to(broker.mqtt()).await?;
    let file = || Store::File(folder.join("reader.redb"));
    let reader = || Options::new(&line.address().to_string(), group).map(|it| it.store(file()));
    let cost = bytes_to_agree(reader()?, &writer, &line).await?;
    tell("cold join (bytes)", cost);

    put(&writer, entries, ONE_PERCENT, 5).await?;
    let begun = Instant::now();
    let offline = Client::open(reader()?.online(false)).await?;
    let shown = offline.entries("ratings").await?.len();
    let cost = begun.elapsed().as_secs_f64() * 1_000.0;
    if shown != entries {
        return Err(format!("{shown} of {entries} entries were on the disk").into());
    }
    tell("first render from disk (ms)", cost);
    offline.close().await;

    let cost = bytes_to_agree(reader()?, &writer, &line).await?;
    tell("catch-up of 1 % (bytes)", cost);
    writer.close().await;
    Ok(())
}

/// Every `step`-th entry of the map gets a value, and the broker has them all.
async fn put(
    client: &Client,
    entries: usize,
    step: usize,
    value: u32,
) -> Result<(), Box<dyn Error>> {
    for at in (0..entries).step_by(step) {
        RATINGS
            .of(client)
            .put(&format!("track-{at:05}"), value)
            .await?;
    }
    saved(client).await
}

async fn saved(client: &Client) -> Result<(), Box<dyn Error>> {
    let mut status = client.status();
    timeout(PATIENCE, status.wait_for(|it| it.label() == Label::Saved)).await??;
    Ok(())
}

/// Bytes from opening a client until it has what the writer has and its line is quiet; then it is closed.
async fn bytes_to_agree(
    options: Options,
    writer: &Client,
    line: &Counted,
) -> Result<f64, Box<dyn Error>> {
    let before = line.bytes();
    let reader = Client::open(options).await?;
    let wanted = writer.entries("ratings").await?;
    timeout(PATIENCE, agrees(&reader, &wanted)).await??;
    line.is_quiet();
    let bytes = line.bytes() - before;
    reader.close().await;
    line.is_quiet();
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53 bytes")]
    Ok(bytes as f64)
}

async fn agrees(reader: &Client, wanted: &BTreeMap<String, Value>) -> Result<(), Box<dyn Error>> {
    let mut changes = reader.changes();
    while reader.entries("ratings").await? != *wanted {
        match changes.recv().await {
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return Err("the reader ended".into()),
        }
    }
    Ok(())
}
