//! What a client publishes, and what it is answered.

use super::super::RECEIVE_MAXIMUM;
use super::super::packets::{AUTH, FILTERS, NO_EVENT, ORDINARY, PUBACK, PUBREC, TOKEN, TOO_LARGE};
use super::super::words::{Deed, Fate, Filter, Open, Says, Told};
use super::Model;

impl Model {
    pub(super) fn publish(&mut self, qos: u8, id: u16, topic: u8) {
        if self.terms.v5 && qos > 0 {
            if self.has_too_many(id) {
                return self.ends(Some(0x93), true);
            }
            self.in_use.insert(id);
        }
        let is_it = |open: &Open| (open.qos, open.id) == (2, id);
        if qos == 2 && self.received.contains(&id) {
            return self.owe(PUBREC, id, &[0], Says::These(Vec::new()));
        }
        if qos == 2 && self.open.iter().chain(&self.reporting).any(is_it) {
            return;
        }
        self.opens(qos, id, self.fate(topic, (qos == 2).then_some(id)));
        self.settle();
    }

    /// Whether a PUBLISH with this packet id is one more than the client was told of.
    pub(super) fn has_too_many(&self, id: u16) -> bool {
        let used = &self.in_use;
        self.terms.v5 && !used.contains(&id) && used.len() >= RECEIVE_MAXIMUM
    }

    /// What comes of a PUBLISH on one of the topics.
    fn fate(&self, topic: u8, exactly_once: Option<u16>) -> Fate {
        match (topic, self.terms.narrow) {
            (NO_EVENT, _) => Fate::Refused(0x99, true),
            (ORDINARY, false) => Fate::Asks(Deed::Post(exactly_once)),
            (ORDINARY, true) => Fate::Refused(0x87, false),
            (3, _) => Fate::Refused(0x90, true),
            (4, true) => Fate::Refused(0x87, true),
            (TOO_LARGE, _) => Fate::Refused(0x97, true),
            (TOKEN, _) => Fate::Asks(Deed::Renew),
            (7 | 8, _) => Fate::Refused(0x90, false),
            _ => Fate::Asks(Deed::Submit(exactly_once)),
        }
    }

    /// What comes of one of the filters.
    pub(super) fn filter(&self, filter: u8) -> Filter {
        let qos = (filter >> 4) % 3;
        match usize::from(filter) % FILTERS.len() {
            0 if self.terms.narrow => Filter::Denied,
            1 | 3 => Filter::Bad,
            // An event comes at QoS 1 at most.
            2 => Filter::Fine(qos.min(1)),
            _ => Filter::Fine(qos),
        }
    }

    fn opens(&mut self, qos: u8, id: u16, fate: Fate) {
        let mut open = Open {
            qos,
            id,
            refusal_has_topic: true,
            told: None,
        };
        match fate {
            Fate::Asks(deed) => {
                self.asking |= deed == Deed::Renew;
                open.refusal_has_topic = matches!(deed, Deed::Submit(_));
                self.deeds.push_back(deed);
            }
            Fate::Refused(code, has_topic) => {
                open.told = Some(Told::Refused(code, Says::Why, has_topic));
            }
        }
        self.open.push_back(open);
    }

    pub(in super::super) fn answered(&mut self, at: usize, told: Told) {
        self.failed |= matches!(told, Told::Failed(_));
        self.open[at].told = Some(told);
        self.settle();
    }

    /// What came of a fresh token, by PUBLISH or by AUTH.
    pub(in super::super) fn renewed(&mut self, at: Option<usize>, good: bool) {
        self.asking = false;
        let method = Says::These(b"\x15\0\x05token".to_vec());
        match (at, good) {
            (Some(at), true) => {
                self.answered(at, Told::Acknowledged(0, Says::These(Vec::new())));
            }
            (Some(at), false) => self.answered(at, Told::Refused(0x87, Says::Why, false)),
            (None, true) => self.owe(AUTH, 0, &[0], method),
            (None, false) => self.ends(Some(0x87), false),
        }
    }

    pub(in super::super) fn reported(&mut self) {
        if let Some(open) = self.reporting.take() {
            self.acknowledges(&open, 0, Says::These(Vec::new()));
        }
        self.settle();
    }

    /// MQTT-4.6.0-2 and its like: acknowledgements in the order of the PUBLISHes.
    pub(super) fn settle(&mut self) {
        while !self.ended
            && self.reporting.is_none()
            && let Some(told) = self.open.front().and_then(|open| open.told.clone())
            && let Some(open) = self.open.pop_front()
        {
            match told {
                Told::Acknowledged(code, says) => self.acknowledges(&open, code, says),
                Told::Refused(code, says, _) if self.terms.v5 && open.qos > 0 => {
                    self.acknowledges(&open, code, says);
                }
                Told::Refused(_, _, true) => {
                    self.deeds.push_back(Deed::Report);
                    self.reporting = Some(open);
                }
                Told::Refused(..) => self.acknowledges(&open, 0, Says::These(Vec::new())),
                Told::Failed(code) => self.ends(Some(code), true),
            }
        }
        if self.draining && self.reporting.is_none() && self.open.is_empty() {
            self.ends(Some(0x8b), true);
        }
    }

    fn acknowledges(&mut self, open: &Open, code: u8, says: Says) {
        let id = open.id;
        match open.qos {
            0 => return,
            1 => drop(self.in_use.remove(&id)),
            // At version 5 a failure ends the exchange; 3.1.1 has no word for one.
            _ if code < 0x80 || !self.terms.v5 => drop(self.received.insert(id)),
            _ => drop(self.in_use.remove(&id)),
        }
        let kind = if open.qos == 1 { PUBACK } else { PUBREC };
        self.owe(kind, id, &[code], says);
    }
}
