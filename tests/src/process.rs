//! What Linux tells of a process: memory, threads, files, processor time.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// Ticks of the processor time in `/proc`; Linux tells user space no other.
const TICKS_PER_S: u64 = 100;

/// A process by its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process(u32);

impl Process {
    /// The process with this id.
    #[must_use]
    pub fn new(id: u32) -> Self {
        Self(id)
    }

    /// This very process.
    #[must_use]
    pub fn own() -> Self {
        Self(std::process::id())
    }

    /// Its resident memory; none when there is no such process.
    #[must_use]
    pub fn resident_bytes(self) -> Option<u64> {
        let status = fs::read_to_string(self.path("status")).ok()?;
        let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"))?;
        let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kib * 1_024)
    }

    /// The names of its threads, sorted.
    #[must_use]
    pub fn threads(self) -> Vec<String> {
        let tasks = fs::read_dir(self.path("task"))
            .into_iter()
            .flatten()
            .flatten();
        let names = tasks.filter_map(|it| fs::read_to_string(it.path().join("comm")).ok());
        let mut names: Vec<String> = names.map(|name| name.trim().to_owned()).collect();
        names.sort_unstable();
        names
    }

    /// How many files and sockets it has open.
    #[must_use]
    pub fn open_files(self) -> usize {
        fs::read_dir(self.path("fd")).map_or(0, Iterator::count)
    }

    /// How long it has computed, over all its threads.
    #[must_use]
    pub fn processor_time(self) -> Option<Duration> {
        let stat = fs::read_to_string(self.path("stat")).ok()?;
        // The name, in brackets, may have anything in it. The 12th and 13th word after it are user and system time.
        let (_, rest) = stat.rsplit_once(')')?;
        let words: Vec<&str> = rest.split_whitespace().collect();
        let ticks = words.get(11)?.parse::<u64>().ok()? + words.get(12)?.parse::<u64>().ok()?;
        Some(Duration::from_millis(ticks * 1_000 / TICKS_PER_S))
    }

    fn path(self, what: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{what}", self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_itself() {
        let own = Process::own();
        assert!(own.resident_bytes().unwrap_or(0) > 1 << 20);
        assert!(!own.threads().is_empty());
        assert!(own.open_files() > 2);
        assert!(own.processor_time().is_some());
    }

    #[test]
    fn a_process_that_is_not_there_tells_nothing() {
        let nobody = Process::new(u32::MAX);
        assert_eq!(nobody.resident_bytes(), None);
        assert_eq!(nobody.open_files(), 0);
    }
}
