//! What a server owes by MQTT, naively: it is told which packets were read and what the driver did, and says what goes out,
//! what the driver is asked for, and whether anything is read now.

mod exchanges;
mod requests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use super::packets::{AUTH, DISCONNECT, PINGRESP, PUBACK, PUBCOMP, PUBREC, SUBACK, UNSUBACK};
use super::words::{Deed, Delivery, Due, Open, Said, Says, Terms};
use super::{INFLIGHT_MAX, RECEIVE_MAXIMUM};

pub(super) struct Model {
    pub(super) terms: Terms,
    pub(super) now: Instant,
    /// PUBLISHes in the order in which they came.
    pub(super) open: VecDeque<Open>,
    /// One of them is being told on a topic; the acknowledgement of its PUBLISH follows.
    reporting: Option<Open>,
    /// Packet ids of a client of version 5 that count towards its Receive Maximum.
    in_use: BTreeSet<u16>,
    received: BTreeSet<u16>,
    releasing: BTreeSet<u16>,
    pub(super) deliveries: BTreeMap<u16, Delivery>,
    /// Of an earlier connection, waiting for room.
    pub(super) resuming: VecDeque<u16>,
    /// A SUBSCRIBE, an UNSUBSCRIBE or a token is being looked at.
    asking: bool,
    failed: bool,
    draining: bool,
    pub(super) silent_at: Option<Instant>,
    pub(super) ended: bool,
    pub(super) due: Vec<Due>,
    pub(super) deeds: VecDeque<Deed>,
}

impl Model {
    pub(super) fn new(terms: Terms, now: Instant) -> Self {
        Self {
            silent_at: terms.limit.map(|limit| now + limit),
            terms,
            now,
            open: VecDeque::new(),
            reporting: None,
            in_use: BTreeSet::new(),
            received: BTreeSet::new(),
            releasing: BTreeSet::new(),
            deliveries: BTreeMap::new(),
            resuming: VecDeque::new(),
            asking: false,
            failed: false,
            draining: false,
            ended: false,
            due: Vec::new(),
            deeds: VecDeque::new(),
        }
    }

    /// Whether the next byte of the client is looked at: as many PUBLISHes wait as the client was told of, or it would not
    /// be known what came of what was asked before.
    pub(super) fn reads(&self) -> bool {
        let busy = self.asking || self.failed || self.draining || self.ended;
        !busy && self.open.len() < RECEIVE_MAXIMUM
    }

    /// Whether one more delivery at QoS 1 or 2 may go out.
    pub(super) fn has_room(&self) -> bool {
        !self.ended && self.resuming.is_empty() && self.deliveries.len() < self.room()
    }

    /// What the client has to say next to each delivery.
    pub(super) fn expected(&self) -> impl Iterator<Item = (u8, u16)> {
        self.deliveries.iter().filter_map(|(id, it)| match it {
            Delivery::Once(_) => Some((PUBACK, *id)),
            Delivery::Twice(_) => Some((PUBREC, *id)),
            Delivery::Released => Some((PUBCOMP, *id)),
            Delivery::Noting => None,
        })
    }

    fn room(&self) -> usize {
        let most = self.terms.receive_maximum.unwrap_or(u16::MAX);
        usize::from(most.min(INFLIGHT_MAX))
    }

    /// The session has taken a packet.
    pub(super) fn hears(&mut self, said: Said) {
        assert!(
            self.reads(),
            "it was read although it had to wait: {said:?}"
        );
        match said {
            Said::Publish { qos, id, topic } => self.publish(qos, id, topic),
            Said::Acknowledge { kind, id, code } => self.acknowledge(kind, id, code),
            Said::Subscribe(id, filters) => {
                let filters = filters.iter().map(|it| self.filter(*it)).collect();
                self.asks(Deed::Subscribe(id, filters));
            }
            Said::Unsubscribe(id, filters) => self.asks(Deed::Unsubscribe(id, filters)),
            Said::Ping => self.owe(PINGRESP, 0, &[], Says::These(Vec::new())),
            Said::Auth { fits: true } => self.asks(Deed::RenewByAuth),
            Said::Auth { fits: false } => self.ends(Some(0x82), true),
            Said::Disconnect {
                with_will,
                expiry_ms,
            } => self.goodbye(with_will, expiry_ms),
            Said::Wrong { counts: true, .. } if self.has_too_many(0) => {
                self.ends(Some(0x93), true);
            }
            Said::Wrong { code, .. } => self.ends(Some(code), true),
        }
        if !self.ended {
            self.silent_at = self.terms.limit.map(|limit| self.now + limit);
        }
    }

    /// The clock has gone on. Who is not read cannot be heard.
    pub(super) fn passes(&mut self, now: Instant) {
        self.now = now;
        if self.silent_at.is_some_and(|at| at <= now) {
            match self.reads() {
                true => self.ends(Some(0x8d), true),
                false => self.silent_at = self.terms.limit.map(|limit| now + limit),
            }
        }
    }

    fn asks(&mut self, deed: Deed) {
        self.asking = true;
        self.deeds.push_back(deed);
    }

    fn goodbye(&mut self, with_will: bool, expiry_ms: Option<u64>) {
        match expiry_ms {
            // A session that is not kept cannot begin to be.
            Some(1..) if self.terms.expiry_ms == 0 => return self.ends(Some(0x82), true),
            Some(expiry_ms) => self.terms.expiry_ms = expiry_ms,
            None => {}
        }
        self.ends(None, with_will);
    }

    /// The connection is over; what was due before stays due.
    pub(super) fn ends(&mut self, code: Option<u8>, with_will: bool) {
        if self.ended {
            return;
        }
        self.ended = true;
        self.silent_at = None;
        if let Some(code) = code.filter(|_| self.terms.v5) {
            self.owe(DISCONNECT, 0, &[code], Says::Why);
        }
        if let Some(will) = self.terms.will.filter(|_| with_will) {
            // An event is not delayed.
            let delay_s = if will.event { 0 } else { will.delay_s };
            self.deeds.push_back(Deed::Will(will.event, delay_s));
        }
    }

    /// What the client may do has changed; a will that it may not send any more is dropped.
    pub(super) fn reviewed(&mut self, narrow: bool) {
        self.terms.narrow = narrow;
        self.terms.will.take_if(|will| narrow && !will.event);
    }

    pub(super) fn drains(&mut self) {
        self.draining = true;
        self.settle();
    }

    pub(super) fn granted(&mut self, id: u16, codes: &[u8], says: Says) {
        self.asking = false;
        self.owe(SUBACK, id, codes, says);
    }

    pub(super) fn dropped(&mut self, id: u16, codes: &[u8]) {
        self.asking = false;
        self.owe(UNSUBACK, id, codes, Says::These(Vec::new()));
    }

    /// At 3.1.1 there are no words, and codes in a SUBACK alone.
    fn owe(&mut self, kind: u8, id: u16, codes: &[u8], says: Says) {
        let v5 = self.terms.v5;
        let has_codes = (v5 || kind == SUBACK) && kind != PINGRESP;
        let says = match says {
            Says::Why if v5 => Says::Why,
            Says::These(text) if v5 && self.may_say(codes, &text, kind) => Says::These(text),
            _ => Says::These(Vec::new()),
        };
        self.due.push(Due {
            kind,
            id,
            codes: if has_codes {
                codes.to_vec()
            } else {
                Vec::new()
            },
            says,
        });
    }

    /// What explains is left out where the client does not want it, or has no room for it.
    fn may_say(&self, codes: &[u8], text: &[u8], kind: u8) -> bool {
        let size = 2 + 2 + codes.len() + 1 + text.len();
        kind == AUTH || (!self.terms.quiet && size <= self.terms.packet_bytes_max)
    }
}
