//! The sessions of one process: what it writes after its end leaves no trace.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use syncline_broker::store::faults::FaultyStore;
use syncline_broker::store::sessions::memory::MemorySessions;
use syncline_broker::store::sessions::{
    DeviceKey, LoadedSession, Message, QueueNumber, Queued, SessionChange, SessionKey,
    SessionStore, StoredOwner, StoredPresence, StoredSession, Written,
};
use syncline_broker::store::{ReadLimit, RedbStore, StoreError};
use syncline_protocol::SyncId;

/// See the module.
pub(super) struct Sessions {
    medium: Medium,
    is_over: AtomicBool,
}

enum Medium {
    Memory(Arc<MemorySessions>),
    Files(Arc<FaultyStore<RedbStore>>),
}

impl Sessions {
    pub(super) fn in_memory(sessions: &Arc<MemorySessions>) -> Self {
        Self::on(Medium::Memory(Arc::clone(sessions)))
    }

    /// In the same files as the events.
    pub(super) fn in_files(store: &Arc<FaultyStore<RedbStore>>) -> Self {
        Self::on(Medium::Files(Arc::clone(store)))
    }

    fn on(medium: Medium) -> Self {
        let is_over = AtomicBool::new(false);
        Self { medium, is_over }
    }

    /// The process is gone.
    pub(super) fn freeze(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    fn store(&self) -> &dyn SessionStore {
        match &self.medium {
            Medium::Memory(sessions) => &**sessions,
            Medium::Files(store) => store.inner(),
        }
    }
}

impl SessionStore for Sessions {
    fn write(&self, changes: &[SessionChange]) -> Result<Written, StoreError> {
        if self.is_over.load(Ordering::Relaxed) {
            return Err(StoreError::Injected);
        }
        self.store().write(changes)
    }

    fn sessions(
        &self,
        after: Option<&SessionKey>,
        limit: usize,
    ) -> Result<Vec<StoredSession>, StoreError> {
        self.store().sessions(after, limit)
    }

    fn load(&self, key: &SessionKey) -> Result<Option<LoadedSession>, StoreError> {
        self.store().load(key)
    }

    fn queued(
        &self,
        key: &SessionKey,
        after: QueueNumber,
        limit: ReadLimit,
    ) -> Result<Vec<Queued>, StoreError> {
        self.store().queued(key, after, limit)
    }

    fn waiting(&self) -> Result<u64, StoreError> {
        self.store().waiting()
    }

    fn retained(&self, topic: &str) -> Result<Option<Message>, StoreError> {
        self.store().retained(topic)
    }

    fn retained_after(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        self.store().retained_after(after, limit)
    }

    fn owners(
        &self,
        after: Option<&DeviceKey>,
        limit: usize,
    ) -> Result<Vec<StoredOwner>, StoreError> {
        self.store().owners(after, limit)
    }

    fn presences(
        &self,
        after: Option<&DeviceKey>,
        limit: usize,
    ) -> Result<Vec<StoredPresence>, StoreError> {
        self.store().presences(after, limit)
    }

    fn erase_group(&self, group: &SyncId) -> Result<usize, StoreError> {
        self.store().erase_group(group)
    }
}
