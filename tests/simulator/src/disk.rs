//! The broker's disk: what a new process finds on it after the old one is gone.

use std::sync::Arc;

use syncline_broker::store::EventStore;
use syncline_broker::store::faults::{Faults, FaultyStore};
use syncline_broker::store::memory::MemoryStore;

/// How many hashes a mark keeps (EVENT-10): no more than a client may have on its way, so that repeats are cut close.
pub(crate) const MARK_WINDOW: usize = 64;

/// A disk and what goes wrong with it.
pub(crate) struct Disk {
    memory: MemoryStore,
    faults: Faults,
    /// From some moment on it only pretends to keep anything.
    lies: bool,
}

impl Disk {
    pub(crate) fn new() -> Self {
        Self {
            memory: MemoryStore::new(MARK_WINDOW),
            faults: Faults::default(),
            lies: false,
        }
    }

    /// What a new process finds, and whether that is older than what the last one knew.
    pub(crate) fn open(&mut self) -> (Arc<dyn EventStore>, bool) {
        self.memory = self.memory.reopen();
        self.faults = Faults::default();
        let store = FaultyStore::new(self.memory.reopen(), self.faults.clone());
        (Arc::new(store), std::mem::take(&mut self.lies))
    }

    /// What goes wrong for the present process.
    pub(crate) fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Keeps nothing from now on; the next process finds what there is now.
    pub(crate) fn lie(&mut self) {
        if !self.lies {
            self.memory.freeze_durability();
            self.lies = true;
        }
    }

    pub(crate) fn lies(&self) -> bool {
        self.lies
    }
}
