//! What the log costs: commits beside a plain file and beside a naive table, catching up, starting after a kill, memory with many
//! streams, bytes on disk. Everything compared is measured in the same run, in rounds that take turns.

mod catch_up;
mod commit;
mod disk;
mod figures;
mod many;
mod publish;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measures the log.
#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    part: Option<Part>,
    /// Rounds per measurement that takes turns
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Events and streams of the store that is started after a kill
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,
    /// Streams of that store
    #[arg(long, default_value_t = 100_000)]
    streams: u64,
}

/// One measurement alone.
#[derive(Subcommand, Clone, Copy)]
enum Part {
    /// Commits of 1 to 2,048 waiting publishers
    Commit,
    /// Bytes and time of catching up
    CatchUp,
    /// Start-up after a kill, and memory, with many streams
    Many,
    /// Bytes on disk per event, before and after compaction
    Disk,
    /// Fills a store and waits to be killed
    #[command(hide = true)]
    Fill,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("bench log: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let (events, streams) = (options.events, options.streams);
    match options.part {
        Some(Part::Commit) => commit::run(options.rounds),
        Some(Part::CatchUp) => catch_up::run(options.rounds),
        Some(Part::Many) => many::run(events, streams),
        Some(Part::Disk) => disk::run(),
        Some(Part::Fill) => many::fill(events, streams),
        None => {
            commit::run(options.rounds)?;
            catch_up::run(options.rounds)?;
            many::run(events, streams)?;
            disk::run()
        }
    }
}
