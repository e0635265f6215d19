//! QoS 2 both ways: a PUBLISH of the client is taken once per packet id, and a delivery is shown once.
//!
//! What was taken is on disk, with its packet id where the session is kept, before its PUBREC leaves. A PUBREL of ours leaves
//! after it is on disk that the client has the message; a PUBCOMP of ours after it is on disk that its packet id is free.

use super::action::{Action, Cargo};
use super::wire::Of;
use super::{EndReason, Inflight, Phase, Session};
use crate::edge::ordinary::Slip;

impl Session {
    /// The session goes on with exchanges that an earlier connection left open: PUBLISHes that were `taken` of the client,
    /// and deliveries that the client `has`.
    pub(crate) fn resume(&mut self, taken: &[u16], has: &[u16]) {
        let Phase::Live(live) = &mut self.phase else {
            return;
        };
        live.received.extend(taken);
        live.resuming.extend(has);
        self.go_on();
    }

    /// As many exchanges of an earlier connection go on as the client takes at once.
    fn go_on(&mut self) {
        let Phase::Live(live) = &mut self.phase else {
            return;
        };
        while live.inflight.len() < live.inflight_max
            && let Some(id) = live.resuming.pop_front()
        {
            let delivery = Inflight {
                cargo: None,
                exactly_once: true,
            };
            live.inflight.insert(id, delivery);
            if let Err(error) = self.wire.pubrel_again(id) {
                live.inflight.remove(&id);
                tracing::debug!(%error, id, "an exchange cannot go on");
            }
        }
    }

    /// The packet id of a PUBLISH of the client is free again: on disk, where the session is kept.
    pub(crate) fn released(&mut self, packet_id: u16) {
        if let Phase::Live(live) = &mut self.phase {
            live.received.remove(&packet_id);
            live.releasing.remove(&packet_id);
            self.wire.pubcomp(packet_id, true);
        }
    }

    /// It is remembered, where the session is kept, that the client has a delivery.
    pub(crate) fn release(&mut self, packet_id: u16) {
        if let Phase::Live(_) = &self.phase {
            self.wire.pubrel(packet_id);
        }
    }

    /// Whether a PUBLISH at QoS 2 came before. If it was taken, its PUBREC goes out once more.
    pub(super) fn is_repeat(&mut self, of: Of) -> bool {
        let Phase::Live(live) = &self.phase else {
            return false;
        };
        let taken = of.exactly_once && live.received.contains(&of.packet_id);
        let told_about = live.reporting == Some(Some(of));
        if taken {
            self.wire.answer_with(of, 0, "");
        }
        taken || (of.exactly_once && (told_about || self.answers.is_open(of)))
    }

    /// A PUBLISH was taken.
    pub(super) fn took(&mut self, of: Of) {
        if let Phase::Live(live) = &mut self.phase
            && of.exactly_once
        {
            live.received.insert(of.packet_id);
        }
    }

    pub(super) fn pubrec(&mut self, packet_id: u16, refused: bool) {
        let Phase::Live(live) = &mut self.phase else {
            return;
        };
        let Some(delivery) = live.inflight.get_mut(&packet_id) else {
            return self.end(EndReason::OutOfPlace);
        };
        let cargo = delivery.cargo.take();
        if refused {
            live.inflight.remove(&packet_id);
            return self.arrived(cargo.as_ref());
        }
        match cargo {
            Some(Cargo::Ordinary(slip @ Slip::Queued(_))) => {
                self.actions.push_back(Action::Received { packet_id, slip });
            }
            cargo => {
                self.arrived(cargo.as_ref());
                self.wire.pubrel(packet_id);
            }
        }
    }

    pub(super) fn pubrel(&mut self, packet_id: u16) {
        let Phase::Live(live) = &mut self.phase else {
            return;
        };
        if !live.received.contains(&packet_id) {
            self.wire.pubcomp(packet_id, false);
        } else if live.releasing.insert(packet_id) {
            self.actions.push_back(Action::Release(packet_id));
        }
    }

    pub(super) fn pubcomp(&mut self, packet_id: u16) {
        if let Phase::Live(live) = &mut self.phase
            && live
                .inflight
                .remove(&packet_id)
                .is_some_and(|it| it.exactly_once)
        {
            self.actions.push_back(Action::Completed(packet_id));
        }
        self.go_on();
    }

    fn arrived(&mut self, cargo: Option<&Cargo>) {
        if let Some(Cargo::Ordinary(slip)) = cargo {
            self.actions.push_back(Action::Arrived(*slip));
        }
    }
}

/// The packet id of a PUBLISH at QoS 2.
pub(super) fn exactly_once_id(of: Option<Of>) -> Option<u16> {
    of.filter(|of| of.exactly_once).map(|of| of.packet_id)
}
