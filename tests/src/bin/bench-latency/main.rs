//! PUBLISH to PUBACK and PUBLISH to delivery at QoS 1, Syncline beside a Mosquitto, with the same
//! client code, in rounds that take turns. Syncline acknowledges after an fsync and delivers what it
//! has stored; Mosquitto, without persistence, does neither: the cost of one fdatasync on this disk
//! is measured in the same run, to be subtracted by whoever compares.

mod disk;
mod figures;
mod load;

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;
use syncline_tests::broker::Broker;
use syncline_tests::mosquitto::Mosquitto;

use crate::figures::{Round, Table};
use crate::load::Load;

/// Events in flight: one after the other, and a full window.
const WINDOWS: [usize; 2] = [1, 16];

/// Measures the way of a star from PUBLISH to PUBACK and to delivery.
#[derive(Parser)]
struct Options {
    /// Rounds per broker
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Events per round and window
    #[arg(long, default_value_t = 2000)]
    events: usize,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("bench latency: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> std::io::Result<()> {
    let syncline = Broker::start();
    let mosquitto = Mosquitto::start()?;
    let brokers = [
        ("syncline", syncline.mqtt()),
        ("mosquitto", mosquitto.address()),
    ];
    println!(
        "{} rounds of {} events each, QoS 1",
        options.rounds, options.events
    );
    let disk = disk::fdatasync(syncline.data(), 500)?;
    let mut tables = Vec::new();
    for window in WINDOWS {
        tables.push(measure(options, &brokers, window)?);
    }
    println!(
        "one fdatasync of 4 KiB on this disk: p50 {} us, p99 {} us",
        disk.p50, disk.p99
    );
    println!(
        "syncline acknowledges after such a sync (group commit); mosquitto has persistence off"
    );
    for table in &tables {
        print!("{table}");
    }
    Ok(())
}

fn measure(
    options: &Options,
    brokers: &[(&'static str, SocketAddr)],
    window: usize,
) -> std::io::Result<Table> {
    let mut table = Table::new(window);
    for round in 0..options.rounds {
        for (name, address) in brokers {
            let load = Load {
                address: *address,
                window,
                events: options.events,
                round,
            };
            let measured = load.run()?;
            let sizes = (measured.sent_bytes, measured.delivered_bytes);
            let round = Round::of(measured.acknowledged, measured.delivered, sizes);
            println!("  window {window:>2} {name:>9}: {round}");
            table.add(name, round);
        }
    }
    Ok(table)
}
