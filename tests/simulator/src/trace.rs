//! The steps of a run, for whoever looks into a failing seed.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

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

    pub(crate) fn line(&mut self, now: u64, what: impl Fn() -> String) {
        let text = what();
        if self.print {
            eprintln!("{:>9} {text}", now - crate::agenda::START_MS);
        }
        let mut hasher = DefaultHasher::new();
        (self.fingerprint, now, text).hash(&mut hasher);
        self.fingerprint = hasher.finish();
    }

    /// Equal for equal runs.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}
