//! Acknowledgements beside a compactor that never rests.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use clap::Args;
use syncline_tests::broker::{Broker, Setup};
use syncline_tests::star::Star;
use syncline_tests::wire::{Connect, Packet, Version, Wire};

/// The published target: the p99 with compaction is at most this times the p99 without.
const RATIO_MAX: f64 = 1.5;

#[derive(Args)]
pub(crate) struct Options {
    /// Rounds per broker
    #[arg(long, default_value_t = 7)]
    rounds: u32,
    /// Events per round
    #[arg(long, default_value_t = 20_000)]
    events: usize,
    /// Events in flight
    #[arg(long, default_value_t = 16)]
    window: usize,
    /// Streams that are written to in turns
    #[arg(long, default_value_t = 8)]
    streams: usize,
}

struct Side {
    name: &'static str,
    broker: Broker,
    rounds: Vec<(u64, u64)>,
}

pub(crate) fn run(options: &Options) -> io::Result<()> {
    println!(
        "{} rounds of {} events in {} streams, {} in flight; a compacting broker keeps 1,000 events of each stream",
        options.rounds, options.events, options.streams, options.window
    );
    let mut sides = [
        Side::new("keeping", Setup::new()),
        Side::new("compacting", compacting()),
    ];
    // Until there is something to compact.
    for side in &sides {
        measure(options, side.broker.mqtt())?;
    }
    for _ in 0..options.rounds {
        for side in &mut sides {
            let taken = measure(options, side.broker.mqtt())?;
            let round = (at(&taken, 50), at(&taken, 99));
            println!(
                "  {:>10}: PUBACK p50 {:>5} p99 {:>5} us",
                side.name, round.0, round.1
            );
            side.rounds.push(round);
        }
    }
    report(&sides)
}

fn compacting() -> Setup {
    Setup::new()
        .variable("SYNCLINE__HISTORY__MAX_EVENTS", "1000")
        .variable("SYNCLINE__HISTORY__MIN_AGE_MS", "1")
        .variable("SYNCLINE__HISTORY__INTERVAL_MS", "10")
        .variable("SYNCLINE__HISTORY__ROUND_MS", "1000")
}

impl Side {
    fn new(name: &'static str, setup: Setup) -> Self {
        Self {
            name,
            broker: setup.start(),
            rounds: Vec::new(),
        }
    }

    fn median(&self, of: impl Fn(&(u64, u64)) -> u64) -> u64 {
        let mut figures: Vec<u64> = self.rounds.iter().map(of).collect();
        figures.sort_unstable();
        figures.get(figures.len() / 2).copied().unwrap_or(0)
    }
}

/// One publisher, so many in flight.
fn measure(options: &Options, address: SocketAddr) -> io::Result<Vec<Duration>> {
    let mut wire = Wire::connect(address, &Connect::new(Version::V5, ""))?;
    let mut sent = Vec::with_capacity(options.events);
    let mut taken = Vec::with_capacity(options.events);
    while taken.len() < options.events {
        while sent.len() < options.events && sent.len() - taken.len() < options.window {
            let topic = format!("sync/bench-{}/events", sent.len() % options.streams);
            let album = format!("album-{:04}", sent.len() % 1_009);
            let star = match sent.len() / options.streams % 2 {
                0 => Star::album(&album),
                _ => Star::no_album(&album),
            };
            let payload = star.json();
            sent.push(Instant::now());
            wire.send(&topic, &payload)?;
        }
        match wire.receive()? {
            Packet::PubAck { code: 0, .. } => taken.push(sent[taken.len()].elapsed()),
            other => return Err(io::Error::other(format!("{other:?} instead of a PUBACK"))),
        }
    }
    taken.sort();
    Ok(taken)
}

fn at(taken: &[Duration], percent: usize) -> u64 {
    let index = (taken.len() * percent / 100).min(taken.len().saturating_sub(1));
    taken.get(index).map_or(0, |time| time.as_micros() as u64)
}

fn report(sides: &[Side; 2]) -> io::Result<()> {
    let [keeping, compacting] = sides;
    println!("\nmedians over the rounds in us");
    println!(
        "{:<12} {:>8} {:>11} {:>6}",
        "", "keeping", "compacting", "ratio"
    );
    let mut last = 0.0;
    for (name, of) in [
        ("PUBACK p50", (|it| it.0) as fn(&(u64, u64)) -> u64),
        ("PUBACK p99", |it| it.1),
    ] {
        let (before, after) = (keeping.median(of), compacting.median(of));
        last = after as f64 / before.max(1) as f64;
        println!("{name:<12} {before:>8} {after:>11} {last:>6.2}");
    }
    for side in sides {
        let tables = fs::metadata(side.broker.data().join("tables.redb"))?.len();
        println!("tables of the {} broker: {} KiB", side.name, tables >> 10);
    }
    let verdict = if last <= RATIO_MAX { "met" } else { "missed" };
    println!("p99 ratio {last:.2}, target at most {RATIO_MAX}: {verdict}");
    Ok(())
}
