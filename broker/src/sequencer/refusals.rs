//! How many events were refused because of a limit on streams.

use std::sync::atomic::{AtomicU64, Ordering};

/// Since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refusals {
    /// They would have begun a stream too many.
    pub founding: u64,
    /// Their stream holds as much as it may.
    pub full: u64,
}

/// Counted by the thread, read by others.
#[derive(Debug, Default)]
pub(super) struct Tally {
    founding: AtomicU64,
    full: AtomicU64,
}

impl Tally {
    pub(super) fn founding(&self) {
        self.founding.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn full(&self) {
        self.full.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refusals(&self) -> Refusals {
        Refusals {
            founding: self.founding.load(Ordering::Relaxed),
            full: self.full.load(Ordering::Relaxed),
        }
    }
}
