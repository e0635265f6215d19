//! Chores whose work is done by a program of `syncline-tests`, which speaks MQTT; this one only
//! builds and starts them, so that `cargo demo` need not wait for an MQTT client to compile.

use clap::{Args, Subcommand};

use crate::failure::Failure;
use crate::project::{Profile, Project};
use crate::step::Step;
use crate::tools;
use crate::web;

#[derive(Args)]
pub(crate) struct Kill9 {
    /// How often the broker is killed and started again
    #[arg(long, default_value_t = 20)]
    rounds: u32,
    /// Repeats the run that printed this seed
    #[arg(long)]
    seed: Option<u64>,
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
    /// PUBLISH to PUBACK while histories are kept short all the time, beside a broker that keeps everything
    Compaction {
        /// Rounds per broker
        #[arg(long, default_value_t = 7)]
        rounds: u32,
        /// Events per round
        #[arg(long, default_value_t = 20_000)]
        events: u32,
    },
    /// How long the files are while far more goes through them than they keep
    Steady {
        /// Megabytes of state and kept history
        #[arg(long, default_value_t = 100)]
        megabytes: u32,
        /// How often that goes through
        #[arg(long, default_value_t = 4)]
        turns: u32,
    },
}

pub(crate) fn kill9(project: &Project, options: &Kill9) -> Result<(), Failure> {
    let mut arguments = vec!["--rounds".to_owned(), options.rounds.to_string()];
    if let Some(seed) = options.seed {
        arguments.extend(["--seed".to_owned(), seed.to_string()]);
    }
    run(project, "kill9", Profile::Debug, &arguments)
}

pub(crate) fn bench(project: &Project, bench: &Bench) -> Result<(), Failure> {
    match bench {
        Bench::Latency { rounds, events } => latency(project, *rounds, *events),
        Bench::Compaction { rounds, events } => {
            let figures = [("--rounds", *rounds), ("--events", *events)];
            measure(project, "bench-compaction", Some("latency"), &figures)
        }
        Bench::Steady { megabytes, turns } => {
            let figures = [("--megabytes", *megabytes), ("--turns", *turns)];
            measure(project, "bench-compaction", Some("steady"), &figures)
        }
    }
}

fn latency(project: &Project, rounds: u32, events: u32) -> Result<(), Failure> {
    if tools::find_program("mosquitto").is_none() {
        let remedy = "sudo apt-get install -y mosquitto";
        return Err(Failure::with_remedy(
            "mosquitto, to compare with, is not installed",
            remedy,
        ));
    }
    let figures = [("--rounds", rounds), ("--events", events)];
    measure(project, "bench-latency", None, &figures)
}

fn measure(
    project: &Project,
    program: &'static str,
    what: Option<&str>,
    figures: &[(&str, u32)],
) -> Result<(), Failure> {
    let figures = figures
        .iter()
        .flat_map(|(name, figure)| [(*name).to_owned(), figure.to_string()]);
    let arguments: Vec<String> = what.map(str::to_owned).into_iter().chain(figures).collect();
    run(project, program, Profile::Release, &arguments)
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
    Step::new(program, project.cargo(&build), repeat).run()?;
    let mut command = project.command(project.binary(program, profile));
    command
        .args(arguments)
        .env("SYNCLINE_BIN", project.binary("syncline", profile));
    Step::new(program, command, repeat_line(program, arguments)).run()
}

fn repeat_line(program: &str, arguments: &[String]) -> String {
    match program {
        "demo-check" => "cargo demo --check".to_owned(),
        "bench-latency" => format!("cargo xtask bench latency {}", arguments.join(" ")),
        "bench-compaction" => {
            let what = arguments.join(" ").replacen("latency", "compaction", 1);
            format!("cargo xtask bench {what}")
        }
        _ => format!("cargo xtask {program} {}", arguments.join(" ")),
    }
}
