//! Syncline's own chores. `cargo demo` and `cargo check-all` are aliases of two of them.

mod check_all;
mod demo;
mod failure;
mod fuzz;
mod peers;
mod project;
mod proofs;
mod simulate;
mod step;
mod tidy;
mod tools;
mod web;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::failure::Failure;
use crate::project::Project;

/// Syncline's own chores.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Build the page and the broker, start it, and say what to try
    Demo(demo::Options),
    /// Everything that a change must pass: formatting, lints, tidy and every test
    CheckAll,
    /// Check the style that no compiler knows
    Tidy,
    /// Kill the real broker in mid-load, again and again, and count what it acknowledged
    Kill9(proofs::Kill9),
    /// Fill a small disk under the real broker: refusals, reading, nothing lost, recovery
    Enospc,
    /// Attack the real broker, and measure what it costs others: latency, memory, threads (release build)
    Hostile(proofs::Program),
    /// Keep the real broker busy for a quarter of an hour, with restarts, and count (release build)
    Soak(proofs::Program),
    /// Run broker, clients and network in virtual time, under faults that a seed repeats
    Simulate(simulate::Simulate),
    /// Hand every decoder bytes that nobody meant (nightly compiler, cargo-fuzz)
    Fuzz(fuzz::Fuzz),
    /// Compare the protocol in Rust with the one in TypeScript on logs that nobody chose
    Differential(proofs::Differential),
    /// Say how large the web client is in a page, by what an app imports
    Size,
    /// Measure (release build)
    #[command(subcommand)]
    Bench(proofs::Bench),
}

fn main() -> ExitCode {
    match run(Arguments::parse().chore) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("\n{failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(chore: Chore) -> Result<(), Failure> {
    let project = Project::find()?;
    match chore {
        Chore::Demo(options) => demo::run(&project, &options),
        Chore::CheckAll => check_all::run(&project),
        Chore::Tidy => tidy::run(&project),
        Chore::Kill9(options) => proofs::kill9(&project, &options),
        Chore::Enospc => proofs::enospc(&project),
        Chore::Hostile(options) => proofs::hostile(&project, &options),
        Chore::Soak(options) => proofs::soak(&project, &options),
        Chore::Simulate(options) => simulate::run(&project, &options),
        Chore::Fuzz(options) => fuzz::run(&project, &options),
        Chore::Differential(options) => proofs::differential(&project, &options),
        Chore::Size => web::size(&project),
        Chore::Bench(bench) => proofs::bench(&project, &bench),
    }
}
