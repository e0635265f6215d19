//! The steps of a run, for whoever looks into a failing seed.

use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher as _};

/// Takes lines: keeps them, or only what they amount to.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    print: bool,
    fingerprint: u64,
}

impl Trace {
    pub(crate) fn new(print: bool) -> Self {
        Self {
            print,
            fingerprint: 0,
        }
    }

    /// A step.
    pub(crate) fn step(&mut self, now: u64, what: &(impl Hash + Debug)) {
        self.line(now, || format!("{what:?}"));
        let mut hasher = DefaultHasher::new();
        (self.fingerprint, now).hash(&mut hasher);
        what.hash(&mut hasher);
        self.fingerprint = hasher.finish();
    }

    /// What a step consists of.
    pub(crate) fn line(&self, now: u64, what: impl Fn() -> String) {
        if self.print {
            eprintln!("{:>9} {}", now - crate::agenda::START_MS, what());
        }
    }

    /// Equal for equal runs.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}
