//! Connections that end because another one comes with their UUID (FORK-5).

use syncline_client_core::{Input, Output};
use syncline_protocol::DeviceId;

use super::World;

impl World {
    /// A broker has one session for each client id. What it had read of the old connection it accepts all the same,
    /// some of it after the new one was opened.
    pub(super) fn take_over(&mut self, newer: usize, device: DeviceId) {
        for n in (0..self.clients.len()).filter(|n| *n != newer) {
            let wire = self.clients[n].wire.take_if(|it| it.device == Some(device));
            let Some(wire) = wire else { continue };
            self.takeovers += 1;
            let sent = wire.up.into_iter().filter_map(|it| match it {
                Output::Send { payload, .. } => Some(payload),
                _ => None,
            });
            self.late.extend(sent.take(self.chance.below(4)));
            let reason = "taken over".to_owned();
            let taken_over = true;
            self.input(n, Input::Disconnected { reason, taken_over });
        }
    }

    pub(super) fn accept_late(&mut self) {
        while let Some(payload) = self.late.pop_front() {
            self.submit(&payload);
        }
    }
}
