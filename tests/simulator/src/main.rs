//! `cargo xtask simulate` runs this.

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use syncline_protocol::planted::{Planted, plant};
use syncline_simulator::{Run, Size, Tally, simulate};

/// Runs seeds until one fails or all have passed.
#[derive(Parser)]
struct Arguments {
    /// How many seeds
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first, or the only one to look at again
    #[arg(long)]
    seed: Option<u64>,
    /// Print what was injected and which rules were met
    #[arg(long)]
    faults: bool,
    /// Print every step
    #[arg(long)]
    trace: bool,
    /// Plant every known mistake in turn, and fail unless each is found within 200 seeds
    #[arg(long)]
    planted: bool,
}

/// Within how many seeds a planted mistake has to be found.
const PLANTED_SEEDS_MAX: u64 = 200;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.planted {
        return find_planted();
    }
    let first = arguments.seed.unwrap_or(1);
    let seeds = first..first + if arguments.seed.is_some() { 1 } else { arguments.seeds };
    let began = Instant::now();
    let (mut total, mut failed) = (Tally::default(), None);
    let mut count = 0;
    for seed in seeds {
        let run = simulate(seed, &Size::default(), arguments.trace);
        count += 1;
        total.take(&run.tally);
        if run.violation.is_some() {
            failed = Some(run);
            break;
        }
    }
    report(&arguments, &total, count, began.elapsed().as_secs_f64());
    match failed {
        None => ExitCode::SUCCESS,
        Some(run) => {
            complain(&run);
            ExitCode::FAILURE
        }
    }
}

fn find_planted() -> ExitCode {
    if !cfg!(feature = "planted-faults") {
        println!("built without the feature planted-faults: use cargo xtask simulate --planted");
        return ExitCode::FAILURE;
    }
    // Mistakes may end in a panic, which is a find like any other.
    std::panic::set_hook(Box::new(|_| {}));
    let missed = Planted::ALL.iter().filter(|mistake| !is_found(**mistake));
    match missed.count() {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn is_found(mistake: Planted) -> bool {
    plant(Some(mistake));
    let mut runs = (1..=PLANTED_SEEDS_MAX).map(|seed| simulate(seed, &Size::default(), false));
    let found = runs.find(|run| run.violation.is_some());
    plant(None);
    match &found {
        Some(run) => {
            let what = run.violation.as_deref().unwrap_or_default();
            println!("{mistake:?}: found by seed {}: {what}", run.seed);
        }
        None => println!("{mistake:?}: NOT FOUND in {PLANTED_SEEDS_MAX} seeds"),
    }
    found.is_some()
}

fn report(arguments: &Arguments, total: &Tally, count: u64, seconds: f64) {
    let rate = count as f64 / seconds;
    let (events, faults) = (total.of("events"), total.sum("fault "));
    println!("{count} seeds in {seconds:.1} s ({rate:.1} seeds/s): {events} events, {faults} faults");
    if arguments.faults || arguments.seed.is_some() {
        total.iter().for_each(|(name, n)| println!("{n:>10}  {name}"));
    }
}

fn complain(run: &Run) {
    let violation = run.violation.as_deref().unwrap_or_default();
    println!("seed {} FAILED: {violation}", run.seed);
    println!("look again: cargo xtask simulate --seed {} --trace", run.seed);
}
