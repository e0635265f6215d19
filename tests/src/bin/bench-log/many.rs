//! A store with many events in many streams: how soon a broker is ready on it after a kill, and what it holds in memory.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs};

use syncline_broker::store::{Append, EventStore, RedbOptions, RedbStore};
use syncline_protocol::Epoch;
use syncline_tests::broker::Setup;
use syncline_tests::star::Star;
use syncline_tests::wire::{Connect, Version, Wire};
use tempfile::TempDir;

use crate::commit::{record, seq, stream_id};
use crate::publish;

/// Where the filling process writes.
const FOLDER: &str = "SYNCLINE_BENCH_FOLDER";
const FILLED: &str = "filled";
/// Streams in one commit.
const BATCH: u64 = 2_000;
/// Streams that are written in and read from while memory is measured.
const ACTIVE: usize = 1_000;
/// Streams that change while a client is away that follows them all.
const MISSED: usize = 100;

pub(crate) fn run(events: u64, streams: u64) -> Result<(), Box<dyn Error>> {
    let folder = TempDir::with_prefix("syncline-bench-")?;
    let data = folder.path().join("data");
    fs::create_dir(&data)?;
    fill_and_kill(&data, events, streams)?;
    println!("{events} events in {streams} streams, killed (SIGKILL) while the tables lag behind:");
    println!("  files: {} MB", bytes_in(&data)? / 1_000_000);
    let begin = Instant::now();
    let broker = Setup::new().data(&data).start();
    println!("  ready after {:.2} s", begin.elapsed().as_secs_f64());
    println!(
        "  resident then: {} MB",
        broker.resident_bytes() / 1_000_000
    );
    touch(broker.mqtt(), streams)?;
    println!(
        "  resident with {ACTIVE} active streams: {} MB",
        broker.resident_bytes() / 1_000_000
    );
    let back = come_back(broker.mqtt(), streams)?;
    println!(
        "  a session on sync/+/events comes back, {MISSED} streams changed: first event after {:.1} ms, all after {:.1} ms; resident then: {} MB",
        back.first.as_secs_f64() * 1_000.0,
        back.all.as_secs_f64() * 1_000.0,
        broker.resident_bytes() / 1_000_000
    );
    let scanned = scan(broker.mqtt(), streams)?;
    println!(
        "  sync/+/state: first message after {:.1} ms, all {streams} after {:.1} s; resident then: {} MB",
        scanned.first.as_secs_f64() * 1_000.0,
        scanned.all.as_secs_f64(),
        broker.resident_bytes() / 1_000_000
    );
    Ok(())
}

/// How soon the first message comes, and the last.
struct Scanned {
    first: Duration,
    all: Duration,
}

fn scan(address: std::net::SocketAddr, streams: u64) -> Result<Scanned, Box<dyn Error>> {
    let mut wire = Wire::connect(address, &Connect::new(Version::V5, ""))?;
    let begin = Instant::now();
    wire.subscribe("sync/+/state")?;
    wire.message()?;
    let first = begin.elapsed();
    for _ in 1..streams {
        wire.message()?;
    }
    let all = begin.elapsed();
    Ok(Scanned { first, all })
}

/// Leaves a session that follows all streams, writes into some of them, and takes the session up again.
fn come_back(address: std::net::SocketAddr, streams: u64) -> Result<Scanned, Box<dyn Error>> {
    let session = Connect::new(Version::V5, "away").back().expiry(3_600);
    let mut wire = Wire::connect(address, &session)?;
    wire.subscribe("sync/+/events")?;
    wire.disconnect()?;
    let missed = MISSED.min(streams as usize);
    let step = streams as usize / missed;
    let topic = |at: usize| format!("sync/{}/events", stream_name((at * step) as u64));
    let payloads: Vec<String> = (0..missed)
        .map(|at| Star::album(&format!("missed-{at}")).json())
        .collect();
    publish::all(address, topic, &payloads)?;
    let begin = Instant::now();
    let mut wire = Wire::connect(address, &session)?;
    wire.message()?;
    let first = begin.elapsed();
    for _ in 1..missed {
        wire.message()?;
    }
    let all = begin.elapsed();
    wire.disconnect_with_expiry(0)?;
    Ok(Scanned { first, all })
}

/// In the process that is killed.
pub(crate) fn fill(events: u64, streams: u64) -> Result<(), Box<dyn Error>> {
    let folder = env::var_os(FOLDER).map(PathBuf::from).ok_or("no folder")?;
    let store = RedbStore::open(&folder, &RedbOptions::default())?;
    for round in 0..events / streams {
        for first in (0..streams).step_by(BATCH as usize) {
            let batch = (first..streams.min(first + BATCH)).map(|stream| Append {
                stream: stream_id(stream),
                expected_head: seq(round),
                epoch: Epoch::new(1),
                begins: false,
                horizon: None,
                records: vec![record(stream, round + 1, round + 1)],
            });
            store.append(batch.collect())?;
        }
    }
    println!("{FILLED}");
    std::io::stdout().flush()?;
    loop {
        std::thread::park();
    }
}

fn fill_and_kill(data: &Path, events: u64, streams: u64) -> Result<(), Box<dyn Error>> {
    let (events, streams) = (events.to_string(), streams.to_string());
    let mut child = Command::new(env::current_exe()?)
        .args(["--events", &events, "--streams", &streams, "fill"])
        .env(FOLDER, data)
        .stdout(Stdio::piped())
        .spawn()?;
    let output = child.stdout.take().ok_or("no output")?;
    let filled = BufReader::new(output).lines().next().transpose()?;
    child.kill()?;
    child.wait()?;
    match filled.as_deref() {
        Some(FILLED) => Ok(()),
        other => Err(format!("the store was not filled: {other:?}").into()),
    }
}

/// Writes to and follows some streams, and reads the state of each.
fn touch(address: std::net::SocketAddr, streams: u64) -> Result<(), Box<dyn Error>> {
    let step = (streams as usize / ACTIVE).max(1);
    let name = |at: usize| format!("sync/{}", stream_name((at * step) as u64));
    let mut wire = Wire::connect(address, &Connect::new(Version::V5, ""))?;
    for at in 0..ACTIVE.min(streams as usize) {
        let filter = format!("$since/0-0/{}/events", name(at));
        wire.subscribe(&filter)?;
        wire.message()?;
    }
    let payloads: Vec<String> = (0..ACTIVE.min(streams as usize))
        .map(|at| Star::album(&format!("album-{at}")).json())
        .collect();
    publish::all(address, |at| format!("{}/events", name(at)), &payloads)?;
    for _ in &payloads {
        wire.message()?;
    }
    Ok(())
}

fn stream_name(number: u64) -> String {
    stream_id(number).sync_id.to_string()
}

pub(crate) fn bytes_in(folder: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for file in folder.read_dir()? {
        bytes += file?.metadata()?.len();
    }
    Ok(bytes)
}
