//! The TypeScript side: its packages and the demo's page, each made again only when it must be.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use crate::failure::Failure;
use crate::project::Project;
use crate::step::Step;
use crate::tools;

/// Where the npm project is, and where `npm run build:demo` puts the page.
pub(crate) const WEB: &str = "client-sdk/web";
const PAGES: &str = "client-sdk/web/demo/dist";

/// Where the tests in a browser are, and the measurements in one.
pub(crate) const BROWSER: &str = "tests/browser";
pub(crate) const BENCH: &str = "tests/bench-sdk";

pub(crate) fn pages(project: &Project) -> PathBuf {
    project.path(PAGES)
}

pub(crate) fn npm(project: &Project, folder: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("npm");
    command.current_dir(project.path(folder)).args(arguments);
    command
        .env("npm_config_fund", "false")
        .env("npm_config_audit", "false");
    command.env("npm_config_update_notifier", "false");
    command
}

/// Builds the page if a source is newer than it.
pub(crate) fn build_pages(project: &Project) -> Result<(), Failure> {
    if is_fresh(project) {
        return Ok(());
    }
    tools::require_node()?;
    println!("Building the page (once; later starts skip this)");
    install_packages(project)?;
    let build = npm(project, WEB, &["run", "--silent", "build:demo"]);
    Step::new("the page", build, format!("cd {WEB} && npm run build:demo")).run()
}

/// Prints how large the client is in a page: the whole entry, `openSyncline` alone, what each extra adds, and MQTT.js.
pub(crate) fn size(project: &Project) -> Result<(), Failure> {
    tools::require_node()?;
    install_packages(project)?;
    let size = npm(project, WEB, &["run", "--silent", "size"]);
    Step::new("the sizes", size, format!("cd {WEB} && npm run size")).run()
}

/// Builds the page that measures, with what it is compared with, and says where Chromium is.
pub(crate) fn prepare_bench(project: &Project) -> Result<PathBuf, Failure> {
    tools::require_node()?;
    let browser = tools::chromium().ok_or_else(|| {
        let remedy = "sudo apt-get install -y chromium, or name it in CHROMIUM";
        Failure::with_remedy("Chromium, to measure in, is not installed", remedy)
    })?;
    for folder in [WEB, BROWSER, BENCH] {
        install(project, folder)?;
    }
    let build = npm(project, BENCH, &["run", "--silent", "build"]);
    let repeat = format!("cd {BENCH} && npm run build");
    Step::new("the page that measures", build, repeat).run()?;
    Ok(browser)
}

/// What `prepare_bench` built.
pub(crate) fn bench_pages(project: &Project) -> PathBuf {
    project.path(BENCH).join("page/dist")
}

fn install_packages(project: &Project) -> Result<(), Failure> {
    install(project, WEB)
}

fn install(project: &Project, folder: &str) -> Result<(), Failure> {
    if packages_are_installed(project, folder) {
        return Ok(());
    }
    let repeat = format!("cd {folder} && npm ci");
    Step::new("npm ci", npm(project, folder, &["ci"]), repeat).run()
}

fn is_fresh(project: &Project) -> bool {
    let built = modified(&pages(project).join("index.html"));
    let newest = newest_source(&project.path(WEB));
    matches!((built, newest), (Some(built), Some(newest)) if built >= newest)
}

/// npm writes this file last, so an interrupted install does not count.
fn packages_are_installed(project: &Project, folder: &str) -> bool {
    let folder = project.path(folder);
    let installed = modified(&folder.join("node_modules/.package-lock.json"));
    let wanted = modified(&folder.join("package-lock.json"));
    matches!((installed, wanted), (Some(installed), Some(wanted)) if installed >= wanted)
}

fn newest_source(folder: &Path) -> Option<SystemTime> {
    let entries = fs::read_dir(folder).ok()?;
    entries
        .flatten()
        .filter(|entry| !is_generated(&entry.path()))
        .filter_map(|entry| newest_of(&entry))
        .max()
}

fn newest_of(entry: &fs::DirEntry) -> Option<SystemTime> {
    let path = entry.path();
    if path.is_dir() {
        newest_source(&path)
    } else {
        modified(&path)
    }
}

fn is_generated(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name == "node_modules" || name == "dist" || name.to_string_lossy().ends_with(".tsbuildinfo")
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .ok()
}
