//! Virtual time: what happens next, and when. Nothing happens by itself.

use std::collections::BTreeMap;

/// The moment at which every run begins, in Unix milliseconds.
pub(crate) const START_MS: u64 = 1_800_000_000_000;

/// What is to happen, in the order of its moments, then of its scheduling.
#[derive(Debug)]
pub(crate) struct Agenda<T> {
    now: u64,
    scheduled: u64,
    entries: BTreeMap<(u64, u64), T>,
}

impl<T> Agenda<T> {
    pub(crate) fn new() -> Self {
        Self {
            now: START_MS,
            scheduled: 0,
            entries: BTreeMap::new(),
        }
    }

    /// Unix milliseconds.
    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    /// Schedules for a moment; one that has passed is now.
    pub(crate) fn at(&mut self, moment: u64, what: T) {
        self.scheduled += 1;
        self.entries
            .insert((moment.max(self.now), self.scheduled), what);
    }

    pub(crate) fn after(&mut self, delay_ms: u64, what: T) {
        self.at(self.now + delay_ms, what);
    }

    /// Goes on to what comes next.
    pub(crate) fn next(&mut self) -> Option<T> {
        let ((moment, _), what) = self.entries.pop_first()?;
        self.now = moment;
        Some(what)
    }
}
