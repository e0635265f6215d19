//! Backups that are taken while the broker is killed.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use syncline_tests::broker::{self, Broker};
use tempfile::TempDir;

/// Takes one backup after the other until it is ended.
pub(crate) struct Taking {
    folder: TempDir,
    over: Arc<AtomicBool>,
    thread: JoinHandle<Vec<PathBuf>>,
}

impl Taking {
    pub(crate) fn start(broker: &Broker) -> Self {
        let folder = TempDir::with_prefix("syncline-backups-").expect("a temporary folder");
        let over = Arc::new(AtomicBool::new(false));
        let (data, into) = (broker.data().to_owned(), folder.path().to_owned());
        let told = Arc::clone(&over);
        let thread = thread::spawn(move || {
            let mut complete = Vec::new();
            for number in 0.. {
                let file = into.join(format!("{number}.redb"));
                let taken = syncline(&["backup", "--data"], &[&data, &file]).is_ok();
                if taken {
                    complete.push(file);
                }
                if told.load(Ordering::Acquire) || !taken {
                    break;
                }
            }
            complete
        });
        Self {
            folder,
            over,
            thread,
        }
    }

    /// Those that were told complete; every file that is there must be one of them.
    pub(crate) fn end(self) -> Result<Taken, String> {
        self.over.store(true, Ordering::Release);
        let complete = self.thread.join().map_err(|_| "taking backups panicked")?;
        Ok(Taken {
            folder: self.folder,
            complete,
        })
    }
}

pub(crate) struct Taken {
    folder: TempDir,
    complete: Vec<PathBuf>,
}

/// What was checked.
#[derive(Default)]
pub(crate) struct Backups {
    complete: usize,
    cut: usize,
}

impl Backups {
    /// The killed broker's data adds up, and so does the first backup of the round, with all that was acknowledged `before`.
    pub(crate) fn check(
        &mut self,
        taken: &Taken,
        data: &Path,
        before: &[(&str, u64)],
    ) -> Result<(), String> {
        syncline(&["verify", "--data"], &[data])?;
        self.complete += taken.complete.len();
        self.cut += usize::from(taken.complete.is_empty());
        let Some(first) = taken.complete.first() else {
            return Ok(());
        };
        let restored = taken.folder.path().join("restored");
        syncline(&["restore", "--data"], &[&restored, first])?;
        syncline(&["verify", "--data"], &[&restored])?;
        for (stream, acked) in before.iter().filter(|(_, acked)| *acked > 0) {
            let shown = syncline(&["state", "--stream", stream, "--data"], &[&restored])?;
            let seq = shown.split_whitespace().nth(3);
            let seq = seq.and_then(|seq| seq.trim_end_matches(',').parse::<u64>().ok());
            if seq.is_none_or(|seq| seq < *acked) {
                return Err(format!(
                    "a backup has {stream} up to {seq:?}, {acked} was acknowledged before it"
                ));
            }
        }
        fs::remove_dir_all(restored).map_err(|error| error.to_string())
    }
}

impl fmt::Display for Backups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { complete, cut } = self;
        write!(
            f,
            "{complete} backups were complete, the first of every round was restored and verified; in {cut} rounds the kill left none"
        )
    }
}

/// Runs a command of the binary; what it wrote.
fn syncline(arguments: &[&str], paths: &[&Path]) -> Result<String, String> {
    let done = Command::new(broker::binary())
        .args(arguments)
        .args(paths)
        .output()
        .map_err(|error| error.to_string())?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let (out, reason) = (
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr),
    );
    Err(format!("syncline {}: {out}{reason}", arguments.join(" ")))
}
