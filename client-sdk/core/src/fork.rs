//! Two installations with one device UUID must not pass for one (FORK).

use syncline_protocol::{DeviceId, DeviceSeq, UnixMillis};

use crate::core::Core;
use crate::link::Link;
use crate::outbox::WINDOW_MAX;
use crate::output::Output;
use crate::rows::{DeviceRow, IntentId};

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

    /// FORK-5, of a connection that has ended.
    pub(crate) fn was_taken_over(&mut self) {
        self.taken_over = !self.outbox.queued_to(self.device.offered).is_empty();
        if !self.taken_over {
            self.forked();
        }
    }

    /// FORK-5: what was on its way may be accepted after the mark was read.
    pub(crate) fn doubt_beyond(&mut self, mark: Option<DeviceSeq>) {
        let queued = self.outbox.queued_to(self.device.offered).into_iter();
        let beyond = queued.skip(self.outbox.queued_to(mark).len());
        let beyond: Vec<IntentId> = beyond.take(WINDOW_MAX).collect();
        self.outbox.doubt(&beyond);
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
        (self.fork, self.taken_over) = (Fork::No, false);
        self.steps.clear();
        let (renumbered, next_device_seq) = self.outbox.renumber(device);
        self.device = DeviceRow {
            device,
            next_device_seq,
            offered: None,
            ..self.device
        };
        renumbered.into_iter().for_each(|id| self.write_row(id));
        self.write_device();
        self.show_all();
        if matches!(self.link, Link::Connecting { .. } | Link::Up(_)) {
            self.end_connection();
            self.attempt = 0;
            self.connect(now);
        }
    }
}
