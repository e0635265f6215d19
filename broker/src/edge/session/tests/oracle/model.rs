//! What a server owes by MQTT, naively.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{PUBACK, PUBCOMP, PUBREC, PUBREL};

/// What the client has said, as far as the model cares.
#[derive(Debug, Clone)]
pub(super) enum Said {
    Publish {
        qos: u8,
        id: u16,
        /// It is refused as soon as it is read.
        refused: bool,
    },
    Acknowledge {
        kind: u8,
        id: u16,
        refuses: bool,
    },
    Subscribe(u16, usize),
    Unsubscribe(u16, usize),
    Ping,
    Disconnect,
    Wrong,
}

/// Where a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    Once,
    Twice,
    /// The client has it; the driver writes that down.
    Noting,
    Released,
}

/// How it has to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Course {
    Goes,
    /// It may have ended: what was said has no place, and MQTT leaves open what comes of it.
    MayEnd,
    MustEnd,
}

pub(super) struct Model {
    pub(super) v5: bool,
    /// PUBLISHes in the order in which they came: QoS, packet id, and whether it was taken once that is known.
    pub(super) open: VecDeque<(u8, u16, Option<bool>)>,
    pub(super) received: BTreeSet<u16>,
    pub(super) releasing: BTreeSet<u16>,
    pub(super) deliveries: BTreeMap<u16, Delivery>,
    pub(super) asked: Option<Said>,
    /// What is due, by type of packet: (first byte's upper half, packet id).
    pub(super) due: Vec<(u8, u16)>,
    /// PUBRECs that are due once more: those wait for nothing.
    pub(super) repeats: Vec<u16>,
    pub(super) pings: usize,
    pub(super) silent_ms: u64,
    /// It was not read for a while since it was heard last.
    pub(super) stood: bool,
    pub(super) goodbye: bool,
    pub(super) course: Course,
}

impl Model {
    pub(super) fn new(v5: bool) -> Self {
        Self {
            v5,
            open: VecDeque::new(),
            received: BTreeSet::new(),
            releasing: BTreeSet::new(),
            deliveries: BTreeMap::new(),
            asked: None,
            due: Vec::new(),
            repeats: Vec::new(),
            pings: 0,
            silent_ms: 0,
            stood: false,
            goodbye: false,
            course: Course::Goes,
        }
    }

    /// The session has taken a packet.
    pub(super) fn hears(&mut self, said: Said) {
        (self.silent_ms, self.stood) = (0, false);
        match said {
            Said::Publish { qos, id, refused } => self.publish(qos, id, refused),
            Said::Acknowledge { kind, id, refuses } => self.acknowledge(kind, id, refuses),
            said @ (Said::Subscribe(..) | Said::Unsubscribe(..)) => {
                assert!(self.asked.is_none(), "read on before it was answered");
                self.asked = Some(said);
            }
            Said::Ping => self.pings += 1,
            Said::Disconnect => {
                self.goodbye = true;
                self.course = Course::MustEnd;
            }
            Said::Wrong => self.course = Course::MustEnd,
        }
    }

    fn publish(&mut self, qos: u8, id: u16, refused: bool) {
        let is_open = |it: &(u8, u16, _)| (it.0, it.1) == (2, id);
        if qos == 2 && self.received.contains(&id) {
            return self.repeats.push(id);
        }
        if qos == 2 && self.open.iter().any(is_open) {
            return;
        }
        self.open.push_back((qos, id, refused.then_some(false)));
        self.settle();
    }

    pub(super) fn answered(&mut self, at: usize, good: bool) {
        self.open[at].2 = Some(good);
        self.settle();
    }

    /// MQTT-4.6.0-2 and its like: acknowledgements in the order of the PUBLISHes.
    fn settle(&mut self) {
        while let Some((qos, id, Some(taken))) = self.open.front().copied() {
            self.open.pop_front();
            match qos {
                0 => {}
                1 => self.due.push((PUBACK, id)),
                _ => {
                    // At version 5 a failure ends the exchange; 3.1.1 has no word for one.
                    if taken || !self.v5 {
                        self.received.insert(id);
                    }
                    self.due.push((PUBREC, id));
                }
            }
        }
    }

    fn acknowledge(&mut self, kind: u8, id: u16, refuses: bool) {
        if kind == PUBREL {
            if !self.received.contains(&id) {
                self.due.push((PUBCOMP, id));
            } else {
                self.releasing.insert(id);
            }
            return;
        }
        let before = self.deliveries.get(&id).copied();
        let after = match (before, kind) {
            (Some(Delivery::Once), PUBACK) | (Some(Delivery::Released), PUBCOMP) => None,
            (Some(Delivery::Twice), PUBREC) if refuses && self.v5 => None,
            (Some(Delivery::Twice), PUBREC) => Some(Delivery::Noting),
            _ => {
                self.course = Course::MayEnd;
                return;
            }
        };
        match after {
            Some(after) => drop(self.deliveries.insert(id, after)),
            None => drop(self.deliveries.remove(&id)),
        }
    }
}
