//! Runs the simulator of `tests/simulator`: optimised where it has much to do.

use clap::Args;

use crate::failure::Failure;
use crate::project::{Profile, Project};
use crate::step::Step;

/// More seeds than this are worth an optimised build.
const DEBUG_SEEDS_MAX: u64 = 50;

#[derive(Args)]
pub(crate) struct Simulate {
    /// How many seeds
    #[arg(long, default_value_t = 20)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Runs this seed alone
    #[arg(long, conflicts_with = "first")]
    seed: Option<u64>,
    /// Prints what was injected and which rules were met
    #[arg(long)]
    faults: bool,
    /// Prints every step of a seed
    #[arg(long)]
    trace: bool,
    /// Plants every known mistake in turn; each has to be found within 200 seeds
    #[arg(long)]
    planted: bool,
}

impl Simulate {
    fn profile(&self) -> Profile {
        let much = self.planted || (self.seed.is_none() && self.seeds > DEBUG_SEEDS_MAX);
        if much {
            Profile::Release
        } else {
            Profile::Debug
        }
    }

    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["--seeds".to_owned(), self.seeds.to_string()];
        let which = match self.seed {
            Some(seed) => ["--seed".to_owned(), seed.to_string()],
            None => ["--first".to_owned(), self.first.to_string()],
        };
        arguments.extend(which);
        let flags = [
            (self.faults, "--faults"),
            (self.trace, "--trace"),
            (self.planted, "--planted"),
        ];
        let given = flags.into_iter().filter(|(given, _)| *given);
        arguments.extend(given.map(|(_, flag)| flag.to_owned()));
        arguments
    }
}

pub(crate) fn run(project: &Project, options: &Simulate) -> Result<(), Failure> {
    let profile = options.profile();
    let mut build = vec!["build", "--quiet", "-p", "syncline-simulator"];
    if profile == Profile::Release {
        build.push("--release");
    }
    if options.planted {
        build.extend(["--features", "planted-faults"]);
    }
    let repeat = format!("cargo {}", build.join(" "));
    Step::new("simulate", project.cargo(&build), repeat).run()?;
    let arguments = options.arguments();
    let mut command = project.command(project.binary("simulate", profile));
    command.args(&arguments);
    let repeat = format!("cargo xtask simulate {}", arguments.join(" "));
    Step::new("simulate", command, repeat).run()
}
