//! Two installations with one device UUID must not pass for one (FORK).

use syncline_protocol::{DeviceId, UnixMillis};

use crate::core::Core;
use crate::link::Link;
use crate::output::Output;
use crate::rows::{DeviceRow, IntentId, Row};

/// Where the change to another UUID is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fork {
    /// None is needed.
    No,
    /// Until the broker has said of everything that it may have whether it has.
    Draining,
    /// Until the driver has a UUID.
    Minting,
}

impl Core {
    /// FORK-1.
    pub(crate) fn forked(&mut self) {
        if self.fork == Fork::No {
            self.fork = Fork::Draining;
            self.holding = true;
        }
        self.fork_if_drained();
    }

    /// FORK-2.
    pub(crate) fn fork_if_drained(&mut self) {
        if self.fork == Fork::Draining && self.outbox.is_clear() {
            self.fork = Fork::Minting;
            self.out.push(Output::MintDevice);
        }
    }

    /// FORK-3.
    pub(crate) fn new_device(&mut self, now: UnixMillis, device: DeviceId) {
        if self.fork != Fork::Minting {
            return;
        }
        self.fork = Fork::No;
        let next_device_seq = self.outbox.renumber(device);
        self.device = DeviceRow {
            device,
            next_device_seq,
            offered: None,
            ..self.device
        };
        self.write_all_pending();
        if matches!(self.link, Link::Connecting { .. } | Link::Up(_)) {
            self.end_connection();
            self.attempt = 0;
            self.connect(now);
        }
    }

    fn write_all_pending(&mut self) {
        let needs = self.next_write();
        let mut rows: Vec<(IntentId, Row)> = Vec::new();
        for (id, entry) in self
            .outbox
            .iter_mut()
            .filter(|(_, entry)| entry.is_pending())
        {
            entry.needs = needs;
            rows.push((
                id,
                Row {
                    id,
                    intent: entry.intent.clone(),
                },
            ));
        }
        for (id, row) in rows {
            self.view.show(id, &row.intent);
            self.draft().intents.push(row);
        }
        self.write_device();
    }
}
