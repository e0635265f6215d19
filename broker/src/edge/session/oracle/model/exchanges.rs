//! What goes on after a PUBLISH, in both directions.

use super::super::packets::{PUBACK, PUBCOMP, PUBREC, PUBREL};
use super::super::words::{Deed, Delivery, Load, Says};
use super::Model;

impl Model {
    pub(super) fn acknowledge(&mut self, kind: u8, id: u16, code: u8) {
        let before = self.deliveries.get(&id).copied();
        let refuses = code >= 0x80 && self.terms.v5;
        match (before, kind) {
            (_, PUBREL) => return self.release(id),
            (Some(Delivery::Once(load)), PUBACK) => {
                self.deliveries.remove(&id);
                self.arrived(load);
            }
            (Some(Delivery::Twice(load)), PUBREC) if refuses => {
                self.deliveries.remove(&id);
                self.arrived(load);
            }
            (Some(Delivery::Twice(Load::Queued(_))), PUBREC) => {
                self.deliveries.insert(id, Delivery::Noting);
                self.deeds.push_back(Deed::Received(id));
            }
            (Some(Delivery::Twice(load)), PUBREC) => {
                self.arrived(load);
                self.noted(id);
            }
            (Some(Delivery::Released), PUBCOMP) => {
                self.deliveries.remove(&id);
                self.deeds.push_back(Deed::Completed(id));
            }
            // It answers nothing that it was sent.
            _ => return self.ends(Some(0x82), true),
        }
        self.goes_on();
    }

    fn arrived(&mut self, load: Load) {
        self.deeds.push_back(match load {
            Load::Event(n) => Deed::Acked(n),
            Load::Queued(n) | Load::Loose(n) => Deed::Arrived(n),
        });
    }

    fn release(&mut self, id: u16) {
        if !self.received.contains(&id) {
            self.in_use.remove(&id);
            self.owe(PUBCOMP, id, &[0x92], Says::These(Vec::new()));
        } else if self.releasing.insert(id) {
            self.deeds.push_back(Deed::Release(id));
        }
    }

    /// The driver has forgotten the packet id of a PUBLISH.
    pub(in super::super) fn released(&mut self, id: u16) {
        self.received.remove(&id);
        self.releasing.remove(&id);
        self.in_use.remove(&id);
        self.owe(PUBCOMP, id, &[0], Says::These(Vec::new()));
    }

    /// It is written down that the client has a delivery.
    pub(in super::super) fn noted(&mut self, id: u16) {
        self.deliveries.insert(id, Delivery::Released);
        self.owe(PUBREL, id, &[0], Says::These(Vec::new()));
    }

    /// The session was kept.
    pub(in super::super) fn resumes(&mut self, taken: &[u16], has: &[u16]) {
        self.received.extend(taken);
        self.resuming.extend(has);
        self.goes_on();
    }

    fn goes_on(&mut self) {
        while self.deliveries.len() < self.room()
            && let Some(id) = self.resuming.pop_front()
        {
            self.noted(id);
        }
    }
}
