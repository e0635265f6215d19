//! Hands every decoder bytes that nobody meant, for as long as there is time. The targets are a crate of their own
//! under `fuzz/`, because libFuzzer needs a nightly compiler; those that need the broker are a second one under
//! `fuzz/rooms/`.

use std::process::Command;

use clap::Args;

use crate::failure::Failure;
use crate::project::Project;
use crate::step::{Step, run_all};
use crate::tools;

/// The packages, quickest to build first.
const PACKAGES: [&str; 2] = ["fuzz", "fuzz/rooms"];

/// What no decoder may ask for at once, and none hold in all, for the inputs of 4 KiB that libFuzzer makes.
const MEMORY: [&str; 2] = ["-malloc_limit_mb=16", "-rss_limit_mb=1024"];

#[derive(Args)]
pub(crate) struct Fuzz {
    /// Only this target
    #[arg(long)]
    target: Option<String>,
    /// For how long each target runs
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

pub(crate) fn run(project: &Project, options: &Fuzz) -> Result<(), Failure> {
    if tools::find_program("cargo-fuzz").is_none() {
        let remedy = "rustup toolchain install nightly && cargo install --locked cargo-fuzz";
        return Err(Failure::with_remedy("cargo-fuzz is not installed", remedy));
    }
    let mut steps = Vec::new();
    let mut known = Vec::new();
    for package in PACKAGES {
        let targets = targets(project, package)?;
        let is_wanted = |it: &&String| options.target.as_ref().is_none_or(|name| name == *it);
        let wanted: Vec<_> = targets.iter().filter(is_wanted).collect();
        if !wanted.is_empty() {
            steps.push(seeds(project, package));
        }
        let runs = wanted.into_iter();
        steps.extend(runs.map(|target| fuzz(project, package, target, options.seconds)));
        known.extend(targets);
    }
    if steps.is_empty() {
        let what = format!("there is no such target; these are: {}", known.join(", "));
        return Err(Failure::new(what));
    }
    run_all(steps)
}

/// The files of a package's `src/bin`, but for the one that writes the seeds.
fn targets(project: &Project, package: &str) -> Result<Vec<String>, Failure> {
    let folder = project.path(&format!("{package}/src/bin"));
    let failed = |error| Failure::new(format!("{}: {error}", folder.display()));
    let mut names = Vec::new();
    for file in std::fs::read_dir(&folder).map_err(failed)? {
        let path = file.map_err(failed)?.path();
        let name = path
            .file_stem()
            .map(|name| name.to_string_lossy().into_owned());
        names.extend(name.filter(|name| name != "seeds"));
    }
    names.sort();
    Ok(names)
}

/// Built as the targets are, so that nothing is built twice.
fn seeds(project: &Project, package: &str) -> Step {
    let arguments = ["fuzz", "run", "--fuzz-dir", package, "seeds"];
    let repeat = format!("cargo +nightly {}", arguments.join(" "));
    Step::new("the seeds", nightly(project, &arguments), repeat)
}

fn fuzz(project: &Project, package: &str, target: &str, seconds: u32) -> Step {
    let time = format!("-max_total_time={seconds}");
    let mut arguments = vec!["fuzz", "run", "--fuzz-dir", package, target];
    arguments.extend(["--", &time, "-print_final_stats=1"]);
    arguments.extend(MEMORY);
    let repeat = format!("cargo xtask fuzz --target {target}");
    Step::new("a target", nightly(project, &arguments), repeat)
}

/// Not the Cargo that started this program, which is of another toolchain.
fn nightly(project: &Project, arguments: &[&str]) -> Command {
    let mut command = project.command("cargo");
    command.arg("+nightly").args(arguments);
    for variable in ["CARGO", "RUSTUP_TOOLCHAIN", "CARGO_MANIFEST_DIR"] {
        command.env_remove(variable);
    }
    command
}
