//! `cargo check-all`: everything that a change must pass, from the quickest to the slowest.

use std::env;

use crate::failure::Failure;
use crate::project::{Profile, Project};
use crate::step::{Step, run_all};
use crate::tools;
use crate::web::{self, BENCH, BROWSER, WEB};

const KILL9_ROUNDS: &str = "15";
const COMPACTING_ROUNDS: &str = "10";

pub(crate) fn run(project: &Project) -> Result<(), Failure> {
    tools::require_all()?;
    let mut steps = style_steps(project)?;
    // The Rust tests compare with the TypeScript side, so that has its packages by then.
    steps.push(npm(project, "web packages", WEB, &["ci"]));
    steps.extend(rust_steps(project)?);
    steps.extend(web_steps(project));
    steps.extend(whole_steps(project)?);
    steps.extend(deny_step(project));
    run_all(steps)
}

fn style_steps(project: &Project) -> Result<Vec<Step>, Failure> {
    Ok(vec![
        cargo(project, "formatting", &["fmt", "--all", "--check"]),
        itself(project, "tidy", &["tidy"])?,
        cargo(
            project,
            "lints",
            &[
                "clippy",
                "--workspace",
                "--all-targets",
                "--quiet",
                "--",
                "-D",
                "warnings",
            ],
        ),
        fuzz_targets(project),
    ])
}

/// A workspace of their own, so that nothing else notices when what they call changes. Without libFuzzer, which wants another
/// compiler.
fn fuzz_targets(project: &Project) -> Step {
    let mut arguments = vec!["check", "--manifest-path", "fuzz/rooms/Cargo.toml"];
    arguments.extend(["--lib", "--no-default-features", "--locked", "--quiet"]);
    let mut command = project.cargo(&arguments);
    command.arg("--target-dir").arg(project.target());
    let repeat = format!("cargo {}", arguments.join(" "));
    Step::new("fuzz targets", command, repeat)
}

/// The binaries come first: the tests start the broker that was built here, not one of their own.
fn rust_steps(project: &Project) -> Result<Vec<Step>, Failure> {
    let mut tests = project.cargo(&["test", "--workspace"]);
    tests.env("SYNCLINE_BIN", project.binary("syncline", Profile::Debug));
    Ok(vec![
        cargo(
            project,
            "build",
            &["build", "--workspace", "--bins", "--quiet"],
        ),
        Step::new(
            "unit, integration and documentation tests",
            tests,
            "cargo test --workspace",
        ),
        itself(
            project,
            "kill -9 in mid-load",
            &["kill9", "--rounds", KILL9_ROUNDS],
        )?,
        itself(
            project,
            "kill -9 in mid-compaction and mid-backup",
            &["kill9", "--compacting", "--rounds", COMPACTING_ROUNDS],
        )?,
    ])
}

fn web_steps(project: &Project) -> Vec<Step> {
    vec![
        npm(project, "web types and lints", WEB, &["run", "check"]),
        npm(project, "web tests", WEB, &["test"]),
        npm(project, "web page", WEB, &["run", "build:demo"]),
        npm(project, "React package", WEB, &["run", "build:react"]),
    ]
}

/// Everything together, as a person meets it.
fn whole_steps(project: &Project) -> Result<Vec<Step>, Failure> {
    let mut browser = web::npm(project, BROWSER, &["test"]);
    browser.env("SYNCLINE_BIN", project.binary("syncline", Profile::Debug));
    browser.env("SYNCLINE_PAGES", web::pages(project));
    if let Some(chromium) = tools::chromium() {
        browser.env(tools::CHROMIUM_VARIABLE, chromium);
    }
    let mut with_broker = web::npm(project, WEB, &["run", "test:broker"]);
    with_broker.env("SYNCLINE_BIN", project.binary("syncline", Profile::Debug));
    Ok(vec![
        itself(project, "demo", &["demo", "--check"])?,
        Step::new(
            "web tests with the broker",
            with_broker,
            format!("cd {WEB} && npm run test:broker"),
        ),
        npm(project, "browser packages", BROWSER, &["ci"]),
        Step::new(
            "browser tests",
            browser,
            format!("cd {BROWSER} && npm test"),
        ),
        // Not the measurements, which need more packages: only that they count and print what they should.
        npm(project, "measuring in a browser", BENCH, &["test"]),
    ])
}

/// Advisories need a database that is not part of the repository, so they are not among these.
fn deny_step(project: &Project) -> Option<Step> {
    if tools::find_program("cargo-deny").is_none() && !in_cargo_home("cargo-deny") {
        println!("cargo-deny is not installed: bans, licences and sources are not checked");
        println!("  (cargo install --locked cargo-deny)");
        return None;
    }
    let arguments = ["deny", "--offline", "check", "bans", "licenses", "sources"];
    Some(cargo(project, "dependencies", &arguments))
}

fn in_cargo_home(program: &str) -> bool {
    env::home_dir().is_some_and(|home| home.join(".cargo/bin").join(program).is_file())
}

fn cargo(project: &Project, title: &'static str, arguments: &[&str]) -> Step {
    Step::new(
        title,
        project.cargo(arguments),
        format!("cargo {}", arguments.join(" ")),
    )
}

fn npm(project: &Project, title: &'static str, folder: &str, arguments: &[&str]) -> Step {
    let repeat = format!("cd {folder} && npm {}", arguments.join(" "));
    Step::new(title, web::npm(project, folder, arguments), repeat)
}

/// Another chore of this program.
fn itself(project: &Project, title: &'static str, arguments: &[&str]) -> Result<Step, Failure> {
    let own = env::current_exe().map_err(|error| Failure::new(format!("own path: {error}")))?;
    let mut command = project.command(own);
    command.args(arguments);
    Ok(Step::new(
        title,
        command,
        format!("cargo xtask {}", arguments.join(" ")),
    ))
}
