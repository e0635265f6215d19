//! When the replica is written (STORE-3).

use syncline_protocol::UnixMillis;

use crate::rows::WriteId;

/// How long changes are gathered before they are written.
const SAVE_AFTER_MS: u64 = 1_000;

/// What is not in the storage yet, apart from the outbox.
#[derive(Debug, Default)]
pub(crate) struct Saves {
    due: Option<UnixMillis>,
    on_its_way: Option<WriteId>,
    pub(crate) schema_is_new: bool,
    /// Whether there is a schema in the storage, be it an older one.
    pub(crate) schema_is_stored: bool,
}

impl Saves {
    pub(crate) fn changed(&mut self, now: UnixMillis) {
        self.due.get_or_insert(now.plus(SAVE_AFTER_MS));
    }

    /// What is due some time is due now.
    pub(crate) fn hurry(&mut self, now: UnixMillis) {
        self.due = self.due.map(|due| due.min(now));
    }

    pub(crate) fn persisted(&mut self, write: WriteId) {
        if self.on_its_way.is_some_and(|id| id <= write) {
            self.on_its_way = None;
        }
    }

    pub(crate) fn is_due(&self, now: UnixMillis) -> bool {
        self.timeout().is_some_and(|due| due <= now)
    }

    /// While a write is on its way, its `Persisted` is what is waited for.
    pub(crate) fn timeout(&self) -> Option<UnixMillis> {
        if self.on_its_way.is_some() {
            None
        } else {
            self.due
        }
    }

    pub(crate) fn started(&mut self, write: WriteId) {
        self.due = None;
        self.on_its_way = Some(write);
        self.schema_stored();
    }

    /// A write has the schema at hand.
    pub(crate) fn schema_stored(&mut self) {
        self.schema_is_stored |= self.schema_is_new;
        self.schema_is_new = false;
    }
}
