//! `cargo xtask simulate` runs this.

use std::ops::Range;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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
    /// The first of them
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Only this one, to look at it again
    #[arg(long, conflicts_with = "first")]
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
    /// Plant only this one of them
    #[arg(long, requires = "planted")]
    mistake: Option<String>,
    /// Seeds that run side by side
    #[arg(long, default_value_t = 2)]
    jobs: usize,
}

impl Arguments {
    fn range(&self) -> Range<u64> {
        match self.seed {
            Some(seed) => seed..seed + 1,
            None => self.first..self.first + self.seeds,
        }
    }
}

/// Within how many seeds a planted mistake has to be found.
const PLANTED_SEEDS_MAX: u64 = 200;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.planted {
        return find_planted(&arguments);
    }
    if arguments.trace {
        // What the broker says stands between the steps.
        let log = tracing_subscriber::fmt().without_time().with_ansi(false);
        log.with_writer(std::io::stderr)
            .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG)
            .init();
    }
    let began = Instant::now();
    let runs = run_all(arguments.range(), arguments.jobs, arguments.trace);
    let mut total = Tally::default();
    runs.iter().for_each(|run| total.take(&run.tally));
    report(
        &arguments,
        &total,
        runs.len(),
        began.elapsed().as_secs_f64(),
    );
    let failed = runs.iter().filter(|run| run.violation.is_some());
    match failed.min_by_key(|run| run.seed) {
        None => ExitCode::SUCCESS,
        Some(run) => {
            complain(run);
            ExitCode::FAILURE
        }
    }
}

/// Runs seeds side by side until one fails. Each run is on one thread alone. Says now and then how far it is.
fn run_all(seeds: Range<u64>, jobs: usize, trace: bool) -> Vec<Run> {
    let next = AtomicU64::new(seeds.start);
    let (done, began) = (AtomicU64::new(0), Instant::now());
    let failed = AtomicBool::new(false);
    let work = || {
        let mut runs = Vec::new();
        while !failed.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                break;
            }
            let run = simulate(seed, &Size::default(), trace);
            failed.fetch_or(run.violation.is_some(), Ordering::Relaxed);
            runs.push(run);
            say_how_far(done.fetch_add(1, Ordering::Relaxed) + 1, &seeds, began);
        }
        runs
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs.max(1)).map(|_| scope.spawn(work)).collect();
        let done = workers.into_iter().map(std::thread::ScopedJoinHandle::join);
        done.flat_map(|runs| runs.expect("a run's panic is caught in it"))
            .collect()
    })
}

/// After how many seeds a long run says how far it is.
const PROGRESS_SEEDS: u64 = 500;

fn say_how_far(done: u64, seeds: &Range<u64>, began: Instant) {
    if done.is_multiple_of(PROGRESS_SEEDS) {
        let rate = done as f64 / began.elapsed().as_secs_f64();
        let all = seeds.end - seeds.start;
        eprintln!("{done} of {all} seeds are done ({rate:.1} seeds/s)");
    }
}

fn find_planted(arguments: &Arguments) -> ExitCode {
    if !cfg!(feature = "planted-faults") {
        println!("built without the feature planted-faults: use cargo xtask simulate --planted");
        return ExitCode::FAILURE;
    }
    // Mistakes may end in a panic, which is a find like any other.
    std::panic::set_hook(Box::new(|_| {}));
    let named = |mistake: &&Planted| {
        let name = arguments.mistake.as_ref();
        name.is_none_or(|name| *name == format!("{mistake:?}"))
    };
    let planted: Vec<_> = Planted::ALL.iter().filter(named).collect();
    let missed = planted
        .iter()
        .filter(|mistake| !is_found(***mistake, arguments.jobs));
    match missed.count() {
        0 if !planted.is_empty() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn is_found(mistake: Planted, jobs: usize) -> bool {
    let found = find(mistake, jobs);
    match &found {
        Some(run) => {
            let what = run.violation.as_deref().unwrap_or_default();
            println!("{mistake:?}: found by seed {}: {what}", run.seed);
        }
        None => println!("{mistake:?}: NOT FOUND in {PLANTED_SEEDS_MAX} seeds"),
    }
    found.is_some()
}

/// The first run that fails because of the mistake.
fn find(mistake: Planted, jobs: usize) -> Option<Run> {
    let mut first = 1;
    while first <= PLANTED_SEEDS_MAX {
        plant(Some(mistake));
        let runs = run_all(first..PLANTED_SEEDS_MAX + 1, jobs, false);
        plant(None);
        let failed = runs.into_iter().filter(|run| run.violation.is_some());
        let failed = failed.min_by_key(|run| run.seed)?;
        // What fails by itself finds nothing.
        let by_itself = simulate(failed.seed, &Size::default(), false);
        if by_itself.violation.is_none() {
            return Some(failed);
        }
        first = failed.seed + 1;
    }
    None
}

fn report(arguments: &Arguments, total: &Tally, count: usize, seconds: f64) {
    let rate = count as f64 / seconds;
    let (events, faults) = (total.of("events"), total.sum("fault "));
    println!(
        "{count} seeds in {seconds:.1} s ({rate:.1} seeds/s): {events} events, {faults} faults"
    );
    if arguments.faults || arguments.seed.is_some() {
        total
            .iter()
            .for_each(|(name, n)| println!("{n:>10}  {name}"));
    }
}

fn complain(run: &Run) {
    let violation = run.violation.as_deref().unwrap_or_default();
    println!("seed {} FAILED: {violation}", run.seed);
    println!(
        "look again: cargo xtask simulate --seed {} --trace",
        run.seed
    );
}
