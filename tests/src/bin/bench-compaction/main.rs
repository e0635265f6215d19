//! What keeping history short costs and brings: PUBLISH to PUBACK with and without continuous compaction, in rounds that
//! take turns; and the length of the store's files while far more goes through them than they keep.

mod latency;
mod steady;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measures the compactor.
#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// PUBLISH to PUBACK beside a broker that keeps everything
    Latency(latency::Options),
    /// The files' length against what is in them
    Steady(steady::Options),
}

fn main() -> ExitCode {
    let measured = match Options::parse().what {
        What::Latency(options) => latency::run(&options).map_err(|error| error.to_string()),
        What::Steady(options) => steady::run(&options),
    };
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("bench compaction: {error}");
            ExitCode::FAILURE
        }
    }
}
