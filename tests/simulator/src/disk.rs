//! The broker's disk: what a new process finds on it after the old one is gone.

mod sessions;

use std::sync::Arc;

use syncline_broker::store::faults::{Faults, FaultyStore};
use syncline_broker::store::memory::MemoryStore;
use syncline_broker::store::sessions::SessionStore;
use syncline_broker::store::sessions::memory::MemorySessions;
use syncline_broker::store::simulated::SimDisk;
use syncline_broker::store::{EventStore, RedbOptions, RedbStore, StoreError};

use crate::dice::Dice;
use sessions::Sessions;

/// How many hashes a mark keeps (EVENT-10): no more than a client may have on its way, so that repeats are cut close.
pub(crate) const MARK_WINDOW: usize = 64;

/// A disk and what goes wrong with it.
pub(crate) struct Disk {
    medium: Medium,
    faults: Faults,
    /// What the present process keeps of its clients' sessions.
    sessions: Option<Arc<Sessions>>,
    /// From some moment on it only pretends to keep anything.
    lies: bool,
}

/// What keeps the bytes.
enum Medium {
    /// A model that keeps what it took.
    Memory {
        store: MemoryStore,
        sessions: Arc<MemorySessions>,
        /// The sessions that are found instead, once the disk has lied.
        old: Option<MemorySessions>,
    },
    /// The store that people run, on files that forget what was not synced.
    Files {
        files: SimDisk,
        /// What is found instead, once the disk has lied.
        old: Option<SimDisk>,
        store: Option<Arc<FaultyStore<RedbStore>>>,
    },
}

impl Disk {
    /// Every third run is on files.
    pub(crate) fn new(seed: u64) -> Self {
        let medium = match seed % 3 {
            0 => Medium::Files {
                files: SimDisk::new(),
                old: None,
                store: None,
            },
            _ => Medium::Memory {
                store: MemoryStore::new(MARK_WINDOW),
                sessions: Arc::default(),
                old: None,
            },
        };
        Self {
            medium,
            faults: Faults::default(),
            sessions: None,
            lies: false,
        }
    }

    /// What a new process finds, and whether that is older than what the last one knew.
    pub(crate) fn open(&mut self) -> Result<(Arc<dyn EventStore>, bool), StoreError> {
        self.faults = Faults::default();
        let faults = self.faults.clone();
        let (opened, sessions): (Arc<dyn EventStore>, Sessions) = match &mut self.medium {
            Medium::Memory {
                store,
                sessions,
                old,
            } => {
                *store = store.reopen();
                if let Some(old) = old.take() {
                    *sessions = Arc::new(old);
                }
                let opened = FaultyStore::new(store.reopen(), faults);
                (Arc::new(opened), Sessions::in_memory(sessions))
            }
            Medium::Files { files, old, store } => {
                if let Some(old) = old.take() {
                    *files = old;
                }
                let opened = files.open_store(&options())?;
                let opened = Arc::new(FaultyStore::new(opened, faults));
                *store = Some(Arc::clone(&opened));
                let sessions = Sessions::in_files(&opened);
                (opened, sessions)
            }
        };
        self.sessions = Some(Arc::new(sessions));
        Ok((opened, std::mem::take(&mut self.lies)))
    }

    /// What the present process keeps of its clients' sessions: it survives as the events do.
    pub(crate) fn sessions(&self) -> Arc<dyn SessionStore> {
        let sessions = self.sessions.as_ref().map(Arc::clone);
        sessions.expect("the disk was opened for this process")
    }

    /// What goes wrong for the present process.
    pub(crate) fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The power goes: what the process does from here on leaves no trace.
    pub(crate) fn freeze(&mut self) {
        if let Some(sessions) = self.sessions.take() {
            sessions.freeze();
        }
        if let Medium::Files { files, store, .. } = &mut self.medium {
            files.lose_power();
            *store = None;
        }
    }

    /// The power has gone, and the process with it. Of what was not synced anything may be left.
    pub(crate) fn crash(&mut self, survival: u64) {
        let mut dice = Dice::new(survival);
        let among = 1 + dice.below(3);
        if let Medium::Files { files, .. } = &mut self.medium {
            *files = files.crash(|| dice.below(among) == 0);
        }
    }

    /// What the store does off the path of acknowledgements: fills its tables a bit.
    pub(crate) fn apply(&mut self) -> Result<(), StoreError> {
        match &self.medium {
            Medium::Files {
                store: Some(store), ..
            } => store.inner().apply_now().map(drop),
            _ => Ok(()),
        }
    }

    /// Keeps nothing from now on; the next process finds what there is now.
    pub(crate) fn lie(&mut self) {
        if std::mem::replace(&mut self.lies, true) {
            return;
        }
        match &mut self.medium {
            Medium::Memory {
                store,
                sessions,
                old,
            } => {
                store.freeze_durability();
                *old = Some(sessions.copy());
            }
            Medium::Files { files, old, .. } => *old = Some(files.crash(|| true)),
        }
    }

    pub(crate) fn lies(&self) -> bool {
        self.lies
    }
}

fn options() -> RedbOptions {
    RedbOptions {
        mark_window: MARK_WINDOW,
        cache_bytes: 1 << 20,
        min_free_bytes: 0,
        ..RedbOptions::default()
    }
}
