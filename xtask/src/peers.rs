//! Other brokers to compare with that no package manager of the system has: built once, kept in the build folder.

use std::path::PathBuf;

use crate::failure::Failure;
use crate::project::Project;
use crate::step::Step;

/// The version that is also the bus inside Syncline. Its lock file no longer compiles, so it is built without.
const RUMQTTD: [&str; 4] = ["install", "rumqttd", "--version", "0.20.0"];

/// Where rumqttd is; installed first, if it is not there.
pub(crate) fn stock_broker(project: &Project) -> Result<PathBuf, Failure> {
    let root = project.target().join("peers");
    let program = root.join("bin/rumqttd");
    if !program.is_file() {
        let mut command = project.cargo(&RUMQTTD);
        command.arg("--root").arg(&root);
        let repeat = format!("cargo {} --root {}", RUMQTTD.join(" "), root.display());
        Step::new("rumqttd, to compare with", command, repeat).run()?;
    }
    Ok(program)
}
