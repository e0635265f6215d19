//! Chores whose work is done by a program of `syncline-tests`, which speaks MQTT; this one only
//! builds and starts them, so that `cargo demo` need not wait for an MQTT client to compile.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::failure::Failure;
use crate::peers;
use crate::project::{Profile, Project};
use crate::step::Step;
use crate::tools;
use crate::web;

#[derive(Args)]
pub(crate) struct Kill9 {
    /// How often the broker is killed and started again
    #[arg(long, default_value_t = 20)]
    rounds: u32,
    /// With a short history, so that it is killed in mid-compaction, and with backups, so that it is killed in one
    #[arg(long)]
    compacting: bool,
    /// Repeats the run that printed this seed
    #[arg(long)]
    seed: Option<u64>,
}

#[derive(Args)]
pub(crate) struct Program {
    /// Options of the program (`--help` lists them)
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

#[derive(Args)]
pub(crate) struct Differential {
    /// How many logs both sides apply
    #[arg(long, default_value_t = 10_000)]
    logs: u32,
}

#[derive(Subcommand)]
pub(crate) enum Bench {
    /// PUBLISH to delivery and to PUBACK, beside a Mosquitto, interleaved
    Latency {
        /// Rounds per broker
        #[arg(long, default_value_t = 5)]
        rounds: u32,
        /// Events per round and way of sending
        #[arg(long, default_value_t = 2000)]
        events: u32,
    },
    /// `latency`: PUBLISH to PUBACK while histories are kept short all the time, beside a broker that keeps everything;
    /// `steady`: the files' length while far more goes through them than they keep
    Compaction {
        /// One of both, and options of the program (`--help` lists them)
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Connections, subscriptions, messages and events a second, and bytes of an idle connection, beside Mosquitto and rumqttd
    Edge {
        /// Options of the program (`--help` lists them)
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Enqueueing, the first render from disk and bytes on the wire of both clients, beside Yjs (needs Chromium and npm's registry)
    Sdk {
        /// Runs; what is printed are medians
        #[arg(long, default_value_t = 5)]
        runs: u32,
        /// Entries of the map
        #[arg(long, default_value_t = 10_000)]
        entries: u32,
    },
    /// Commits, catching up, start-up and memory with many streams, bytes on disk
    Log {
        /// `commit`, `catch-up`, `many` or `disk` alone, and options of the program (`--help` lists them)
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

pub(crate) fn kill9(project: &Project, options: &Kill9) -> Result<(), Failure> {
    let mut arguments = vec!["--rounds".to_owned(), options.rounds.to_string()];
    if options.compacting {
        arguments.push("--compacting".to_owned());
    }
    if let Some(seed) = options.seed {
        arguments.extend(["--seed".to_owned(), seed.to_string()]);
    }
    run(project, "kill9", Profile::Debug, &arguments)
}

pub(crate) fn bench(project: &Project, bench: &Bench) -> Result<(), Failure> {
    match bench {
        Bench::Latency { rounds, events } => bench_latency(project, *rounds, *events),
        Bench::Compaction { arguments } => {
            run(project, "bench-compaction", Profile::Release, arguments)
        }
        Bench::Edge { arguments } => bench_edge(project, arguments),
        Bench::Sdk { runs, entries } => bench_sdk(project, *runs, *entries),
        Bench::Log { arguments } => run(project, "bench-log", Profile::Release, arguments),
    }
}

fn require_mosquitto() -> Result<(), Failure> {
    let remedy = "sudo apt-get install -y mosquitto";
    match tools::find_program("mosquitto") {
        Some(_) => Ok(()),
        None => Err(Failure::with_remedy(
            "mosquitto, to compare with, is not installed",
            remedy,
        )),
    }
}

fn bench_edge(project: &Project, arguments: &[String]) -> Result<(), Failure> {
    require_mosquitto()?;
    let stock = peers::stock_broker(project)?;
    let environment = [("RUMQTTD_BIN", stock)];
    run_with(
        project,
        "bench-edge",
        Profile::Release,
        arguments,
        &environment,
    )
}

fn bench_latency(project: &Project, rounds: u32, events: u32) -> Result<(), Failure> {
    require_mosquitto()?;
    let arguments = [
        "--rounds",
        &rounds.to_string(),
        "--events",
        &events.to_string(),
    ];
    run(
        project,
        "bench-latency",
        Profile::Release,
        &arguments.map(str::to_owned),
    )
}

/// The test of every run, with more logs.
pub(crate) fn differential(project: &Project, options: &Differential) -> Result<(), Failure> {
    let test = [
        "test",
        "--quiet",
        "-p",
        "syncline-tests",
        "--test",
        "e2e",
        "any_events",
    ];
    let mut command = project.cargo(&test);
    command.env("SYNCLINE_DIFFERENTIAL_LOGS", options.logs.to_string());
    let repeat = format!("cargo xtask differential --logs {}", options.logs);
    Step::new("both protocols", command, repeat).run()
}

/// Attacks the real broker.
pub(crate) fn hostile(project: &Project, options: &Program) -> Result<(), Failure> {
    run(project, "hostile", Profile::Release, &options.arguments)
}

/// Keeps the real broker busy for long.
pub(crate) fn soak(project: &Project, options: &Program) -> Result<(), Failure> {
    run(project, "soak", Profile::Release, &options.arguments)
}

/// Fills a small disk under the broker.
pub(crate) fn enospc(project: &Project) -> Result<(), Failure> {
    run(project, "enospc", Profile::Debug, &[])
}

pub(crate) fn demo_check(project: &Project) -> Result<(), Failure> {
    let pages = web::pages(project).display().to_string();
    run(
        project,
        "demo-check",
        Profile::Debug,
        &["--pages".to_owned(), pages],
    )
}

/// Builds the broker and the program with one Cargo call, so that both share every dependency.
fn run(
    project: &Project,
    program: &'static str,
    profile: Profile,
    arguments: &[String],
) -> Result<(), Failure> {
    run_with(project, program, profile, arguments, &[])
}

/// The part in the browser starts the one in Rust, so that all figures stand in one table.
fn bench_sdk(project: &Project, runs: u32, entries: u32) -> Result<(), Failure> {
    let browser = web::prepare_bench(project)?;
    build(project, "bench-sdk", Profile::Release)?;
    let (runs, entries) = (runs.to_string(), entries.to_string());
    let arguments = ["run.mjs", "--runs", &runs, "--entries", &entries];
    let mut command = project.command("node");
    command
        .current_dir(project.path(web::BENCH))
        .args(arguments)
        .env("SYNCLINE_BIN", project.binary("syncline", Profile::Release))
        .env(
            "SYNCLINE_BENCH_SDK",
            project.binary("bench-sdk", Profile::Release),
        )
        .env("SYNCLINE_PAGES", web::bench_pages(project))
        .env(tools::CHROMIUM_VARIABLE, browser);
    let repeat = format!("cargo xtask bench sdk --runs {runs} --entries {entries}");
    Step::new("bench sdk", command, repeat).run()
}

fn run_with(
    project: &Project,
    program: &'static str,
    profile: Profile,
    arguments: &[String],
    environment: &[(&str, PathBuf)],
) -> Result<(), Failure> {
    build(project, program, profile)?;
    let mut command = project.command(project.binary(program, profile));
    command
        .args(arguments)
        .env("SYNCLINE_BIN", project.binary("syncline", profile))
        .envs(environment.iter().map(|(name, value)| (name, value)));
    Step::new(program, command, repeat_line(program, arguments)).run()
}

/// The broker and a program that measures it.
fn build(project: &Project, program: &'static str, profile: Profile) -> Result<(), Failure> {
    let mut build = vec![
        "build",
        "--quiet",
        "-p",
        "syncline-broker",
        "-p",
        "syncline-tests",
    ];
    build.extend(["--bin", "syncline", "--bin", program]);
    if profile == Profile::Release {
        build.push("--release");
    }
    let repeat = format!("cargo {}", build.join(" "));
    Step::new(program, project.cargo(&build), repeat).run()
}

fn repeat_line(program: &str, arguments: &[String]) -> String {
    match program {
        "demo-check" => "cargo demo --check".to_owned(),
        "bench-latency" | "bench-log" | "bench-compaction" | "bench-edge" => {
            let what = program.trim_start_matches("bench-");
            format!("cargo xtask bench {what} {}", arguments.join(" "))
        }
        _ => format!("cargo xtask {program} {}", arguments.join(" ")),
    }
}
