//! What a client that was away costs: bytes and time of the opening, after some of 10,000 entries changed.

use std::error::Error;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use syncline_protocol::Snapshot;
use syncline_tests::broker::Broker;
use syncline_tests::star::Star;
use syncline_tests::wire::{Connect, Version, Wire};

use crate::figures::{median, percentile};
use crate::publish;

const ENTRIES: usize = 10_000;
const CHANGED_PERCENT: [usize; 3] = [1, 10, 100];

/// An opening.
struct Opened {
    bytes: usize,
    taken: Duration,
    snapshot: Snapshot,
}

pub(crate) fn run(rounds: usize) -> Result<(), Box<dyn Error>> {
    println!("catching up, {ENTRIES} entries, median of {rounds} openings each:");
    println!("  changed    bytes   of the full state      ms");
    for percent in CHANGED_PERCENT {
        let broker = Broker::start();
        let address = broker.mqtt();
        let stream = format!("sync/catch-up-{percent}");
        let topic = |_: usize| format!("{stream}/events");
        let stars: Vec<String> = (0..ENTRIES).map(star).collect();
        publish::all(address, topic, &stars)?;
        let before = open(address, &stream, "0-0")?.snapshot;
        let changes: Vec<String> = (0..ENTRIES * percent / 100).map(change).collect();
        publish::all(address, topic, &changes)?;
        let cursor = format!("{}-{}", before.seq, before.epoch);
        let full = open(address, &stream, "0-0")?;
        let mut taken = Vec::new();
        let mut bytes = 0;
        for _ in 0..rounds {
            let opened = open(address, &stream, &cursor)?;
            taken.push(opened.taken);
            bytes = opened.bytes;
        }
        let ratio = 100.0 * bytes as f64 / full.bytes as f64;
        let ms = percentile(&taken, 50) as f64 / 1000.0;
        let full_ms = median(vec![full.taken.as_secs_f64() * 1000.0]);
        println!(
            "  {percent:>5} %  {bytes:>8}   {ratio:>13.2} %   {ms:>6.1}   (full: {} bytes, {full_ms:.1} ms)",
            full.bytes
        );
    }
    Ok(())
}

fn star(number: usize) -> String {
    Star::album(&format!("album-{number:05}")).json()
}

fn change(number: usize) -> String {
    Star::no_album(&format!("album-{number:05}")).json()
}

/// Subscribes and takes everything up to the head: the state in all its parts, and the events after it.
fn open(address: SocketAddr, stream: &str, cursor: &str) -> Result<Opened, Box<dyn Error>> {
    let mut wire = Wire::connect(address, &Connect::new(Version::V5, ""))?;
    let begin = Instant::now();
    wire.subscribe(&format!("$since/{cursor}/{stream}/events"))?;
    let mut bytes = 0;
    let mut seq = 0;
    loop {
        let message = wire.message()?;
        bytes += message.payload.len();
        if !message.topic.ends_with("/state") {
            seq += 1;
            continue;
        }
        let snapshot = Snapshot::decode(&message.payload)?;
        seq = snapshot.seq.get().max(seq);
        if snapshot.part == snapshot.parts && seq == snapshot.head.get() {
            let taken = begin.elapsed();
            return Ok(Opened {
                bytes,
                taken,
                snapshot,
            });
        }
    }
}
