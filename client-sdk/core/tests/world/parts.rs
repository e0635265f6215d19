//! What a world is made of: chance, and disks.

use std::collections::BTreeMap;
use std::sync::Arc;

use syncline_client_core::{DeviceRow, IntentId, Row, Stored, Write};
use syncline_protocol::{Schema, Snapshot};

/// Chance with a seed: xorshift64*, Vigna 2016.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(drawn).unwrap() % n
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// What a client's disk holds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    device: Option<DeviceRow>,
    intents: BTreeMap<IntentId, Row>,
    replica: Option<Snapshot>,
    schema: Option<Arc<Schema>>,
}

impl Disk {
    pub(crate) fn write(&mut self, write: Write) {
        for id in write.delete {
            self.intents.remove(&id);
        }
        let rows = write.intents.into_iter();
        self.intents.extend(rows.map(|row| (row.id, row)));
        self.device = write.device.or(self.device);
        self.replica = write.replica.or(self.replica.take());
        self.schema = write.schema.or(self.schema.take());
    }

    /// Whether no intent is in it.
    pub(crate) fn is_settled(&self) -> bool {
        self.intents.is_empty()
    }

    pub(crate) fn stored(&self) -> Option<Stored> {
        Some(Stored {
            device: self.device?,
            intents: self.intents.values().cloned().collect(),
            replica: self.replica.clone(),
            schema: self.schema.clone(),
        })
    }
}
