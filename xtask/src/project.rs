//! Where things are in this repository and in its build folder.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::Failure;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    Debug,
    Release,
}

impl Profile {
    fn folder(self) -> &'static str {
        match self {
            Profile::Debug => "debug",
            Profile::Release => "release",
        }
    }
}

pub(crate) struct Project {
    root: PathBuf,
    target: PathBuf,
}

impl Project {
    /// The build folder is where this very program lies, so that `CARGO_TARGET_DIR` and
    /// `build.target-dir` need no second reading of Cargo's configuration.
    pub(crate) fn find() -> Result<Self, Failure> {
        let manifest = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let own = env::current_exe().map_err(|error| Failure::new(format!("own path: {error}")))?;
        match (manifest.parent(), own.ancestors().nth(2)) {
            (Some(root), Some(target)) => Ok(Self {
                root: root.to_path_buf(),
                target: target.to_path_buf(),
            }),
            _ => Err(Failure::with_remedy(
                "the repository's root was not found",
                "cargo xtask",
            )),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// Where everything is built.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    pub(crate) fn binary(&self, name: &str, profile: Profile) -> PathBuf {
        self.target.join(profile.folder()).join(name)
    }

    /// A command that runs at the repository's root.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        command
    }

    /// The Cargo that started this program, or the one on the path.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(arguments).env_remove("CARGO_MANIFEST_DIR");
        command
    }
}
