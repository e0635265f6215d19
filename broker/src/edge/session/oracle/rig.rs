//! The session, its driver and the model, side by side.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::model::Model;
use super::packets::{self, DISCONNECT, PINGRESP, PUBREL, Packet, SUBACK, UNSUBACK, heard, id_of};
use super::program::{self, Alias, Header, Step};
use super::words::{Due, Filter, Said, Says};
use super::{EXPIRY_MS_MAX, deeds};
use crate::edge::identity::Identity;
use crate::edge::session::{EndReason, RenewedBy, Session, SessionOptions, Ticket};

/// What was asked of the driver and is not done yet.
#[derive(Debug, Clone)]
pub(super) enum Duty {
    Release(u16),
    Note(u16),
    Subscribe(u16, Vec<Filter>),
    Unsubscribe(u16, usize),
    Report,
    Renew(RenewedBy),
}

/// What an open PUBLISH is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Event,
    Posting,
    Token,
}

pub(super) struct Rig {
    pub(super) session: Session,
    pub(super) model: Model,
    pub(super) header: Header,
    pub(super) chunk: usize,
    pub(super) now: Instant,
    input: BytesMut,
    /// What was said and not taken yet, with where it ends.
    said: VecDeque<(usize, Said)>,
    sent: usize,
    taken: usize,
    /// What is said together, and how many packets more.
    corked: (Vec<u8>, u8),
    /// Of the open messages that are not answered, in their order.
    pub(super) tickets: Vec<(Ticket, Kind)>,
    pub(super) duties: Vec<Duty>,
    /// What an earlier connection left unacknowledged.
    pub(super) again: VecDeque<(u16, u8)>,
    /// Who is on the connection.
    pub(super) identity: Option<Arc<Identity>>,
    /// Of deliveries.
    pub(super) number: u64,
    /// Topics that the client was told a number for.
    pub(super) aliases: BTreeMap<u16, Vec<u8>>,
    /// Those of the client.
    aliases_said: BTreeMap<u16, u8>,
    /// What the client heard since the step began.
    pub(super) log: Vec<u8>,
    reason: Option<EndReason>,
}

impl Rig {
    pub(super) fn new(
        header: &Header,
        options: SessionOptions,
        model: Model,
        chunk: usize,
    ) -> Self {
        let now = model.now;
        Self {
            session: Session::new(Arc::new(options), "auto-1".to_owned(), now),
            again: header
                .before
                .iter()
                .flat_map(|it| it.again.clone())
                .collect(),
            header: header.clone(),
            model,
            chunk,
            now,
            input: BytesMut::new(),
            said: VecDeque::new(),
            sent: 0,
            taken: 0,
            corked: (Vec::new(), 0),
            tickets: Vec::new(),
            duties: Vec::new(),
            identity: None,
            number: 0,
            aliases: BTreeMap::new(),
            aliases_said: BTreeMap::new(),
            log: Vec::new(),
            reason: None,
        }
    }

    pub(super) fn step(&mut self, step: &Step) {
        if !self.says(step) {
            self.uncork();
            self.drives(step);
        }
        self.agrees();
    }

    /// What comes of the client, if it is that.
    fn says(&mut self, step: &Step) -> bool {
        let v5 = self.header.v5;
        match step {
            Step::Publish(said) => self.publish(*said),
            Step::Acknowledge { kind, id, code } => self.acknowledge(*kind, *id, *code),
            Step::Proceed { which, code } => self.proceed(*which, *code),
            Step::Subscribe { id, filters } => {
                let bytes = packets::subscribe(v5, *id, filters);
                self.say(&bytes, Said::Subscribe(*id, filters.clone()));
            }
            Step::Unsubscribe { id, filters } => {
                let bytes = packets::unsubscribe(v5, *id, *filters);
                self.say(&bytes, Said::Unsubscribe(*id, usize::from(*filters)));
            }
            Step::Ping => self.say(&[0xc0, 0], Said::Ping),
            Step::Auth { shape } => self.auth(*shape),
            Step::Disconnect { shape } => self.disconnect(*shape),
            Step::Wrong(which) => self.wrong(*which),
            Step::Cork(packets) => self.corked.1 = *packets,
            _ => return false,
        }
        true
    }

    fn publish(&mut self, mut said: program::Said) {
        if !self.header.v5 {
            said.alias = Alias::None;
        }
        match said.alias {
            Alias::Use(alias) => match self.aliases_said.get(&alias) {
                Some(topic) => said.topic = *topic,
                None => said.alias = Alias::Set(alias),
            },
            Alias::Set(_) | Alias::None => {}
        }
        if let Alias::Set(alias) = said.alias {
            self.aliases_said.insert(alias, said.topic);
        }
        let bytes = packets::publish(self.header.v5, &said);
        let (qos, id, topic) = (said.qos, said.id, said.topic);
        self.say(&bytes, Said::Publish { qos, id, topic });
    }

    fn acknowledge(&mut self, kind: u8, id: u16, code: u8) {
        let bytes = packets::acknowledgement(self.header.v5, kind, id, code);
        self.say(&bytes, Said::Acknowledge { kind, id, code });
    }

    /// Only what is read at once: it would be said twice otherwise.
    fn proceed(&mut self, which: u8, code: u8) {
        if !(self.input.is_empty() && self.corked.0.is_empty()) {
            return;
        }
        let due: Vec<_> = self.model.expected().collect();
        if let Some((kind, id)) = due.get(usize::from(which) % due.len().max(1)).copied() {
            let code = if kind == packets::PUBREC { code } else { 0 };
            self.acknowledge(kind, id, code);
        }
    }

    /// One that fits comes in two kinds of packets; one that does not may lack anything.
    fn auth(&mut self, shape: u8) {
        if !self.header.v5 || (!self.header.by_method && shape < 200) {
            return;
        }
        let (code, method, token) = match shape {
            0..240 => (0x19, &b"token"[..], true),
            240..244 => (0x19, &b"other"[..], true),
            244..250 => (0x18, &b"token"[..], true),
            _ => (0x19, &b"token"[..], false),
        };
        let fits = self.header.by_method && shape < 240;
        self.say(&packets::auth(code, method, token), Said::Auth { fits });
    }

    fn disconnect(&mut self, shape: u8) {
        let v5 = self.header.v5;
        let code = if v5 && shape & 1 == 1 { 4 } else { 0 };
        let expiry_s = [None, Some(0), Some(7), Some(u32::MAX)][usize::from(shape >> 1 & 3)];
        let expiry_s = expiry_s.filter(|_| v5);
        let bytes = packets::disconnect(v5, code, expiry_s);
        let said = Said::Disconnect {
            with_will: code == 4,
            expiry_ms: expiry_s.map(expiry_ms),
        };
        self.say(&bytes, said);
    }

    fn wrong(&mut self, which: u8) {
        let again = || packets::connect(&self.header, packets::DEVICE, None);
        let (bytes, code) = match which & 31 {
            30 => (again(), 0x82),
            31 if self.header.v5 && !self.aliases_said.contains_key(&2) => {
                (b"\x30\x06\0\0\x03\x23\0\x02".to_vec(), 0x94)
            }
            which => packets::wrong(self.header.v5, which),
        };
        let counts = bytes[0] == 0x32;
        self.say(&bytes, Said::Wrong { code, counts });
    }

    fn say(&mut self, bytes: &[u8], said: Said) {
        self.sent += bytes.len();
        self.said.push_back((self.sent, said));
        self.corked.0.extend_from_slice(bytes);
        if self.corked.1 == 0 {
            return self.uncork();
        }
        self.corked.1 -= 1;
    }

    fn uncork(&mut self) {
        let (bytes, _) = std::mem::take(&mut self.corked);
        for part in bytes.chunks(self.chunk) {
            self.input.extend_from_slice(part);
            self.turn();
        }
    }

    /// Lets the session read as long as it does, hands on what it asks for, and compares.
    pub(super) fn turn(&mut self) {
        self.compare();
        loop {
            let before = self.input.len();
            self.session.receive(self.now, &mut self.input);
            self.taken += before - self.input.len();
            self.hear();
            self.compare();
            if self.input.len() == before {
                break;
            }
        }
    }

    /// The model hears what the session has taken.
    fn hear(&mut self) {
        while self.said.front().is_some_and(|(end, _)| *end <= self.taken)
            && !self.model.ended
            && let Some((_, said)) = self.said.pop_front()
        {
            self.model.hears(said);
        }
        // What is wrong from its first bytes on is not taken whole.
        if self.session.ended().is_some()
            && !self.model.ended
            && let Some((_, said @ Said::Wrong { .. })) = self.said.pop_front()
        {
            self.model.hears(said);
        }
    }

    /// What went out is what was due, what is asked for is what has to be, and it goes on or has ended as it must.
    pub(super) fn compare(&mut self) {
        self.act();
        let output = self.session.output().split();
        self.log.extend_from_slice(&output);
        let due = std::mem::take(&mut self.model.due);
        let heard: Vec<_> = heard(&output).iter().map(|it| self.read(it)).collect();
        assert_eq!(heard.len(), due.len(), "{heard:?}, but due is {due:?}");
        for (heard, due) in heard.into_iter().zip(due) {
            self.is_it(heard, &due);
        }
        let ended = self.session.ended();
        assert_eq!(ended.is_some(), self.model.ended, "{ended:?}");
        self.reason = self.reason.take().or_else(|| ended.cloned());
    }

    /// After every step: nothing comes after the end, and what it says of itself is so.
    fn agrees(&mut self) {
        let (session, model) = (&mut self.session, &self.model);
        assert_eq!(session.wants_input(), model.reads(), "whether it reads");
        assert!(self.input.is_empty() || !model.reads(), "left unread");
        assert_eq!(session.has_room(), model.has_room());
        assert_eq!(session.next_timeout(), model.silent_at, "its timer");
        assert_eq!(session.expiry_ms(), model.terms.expiry_ms);
        assert_eq!(session.ended(), self.reason.as_ref(), "why it ended");
        assert!(session.output().is_empty() && session.next_action().is_none());
        if model.ended {
            assert!(session.take_will().is_none(), "its will was handed on");
        }
    }

    /// The program is over. A session that has not ended hands its will on.
    pub(super) fn leaves(&mut self) {
        if !self.model.ended {
            let will = self.session.take_will();
            assert_eq!(will.is_some(), self.model.terms.will.is_some(), "its will");
            assert!(self.session.take_will().is_none(), "its will twice");
        }
    }

    fn act(&mut self) {
        while let Some(action) = self.session.next_action() {
            let expected = self.model.deeds.pop_front();
            assert_eq!(Some(deeds::deed(&action)), expected);
            self.takes_on(action);
        }
        assert_eq!(self.model.deeds, [], "the driver is not asked for it");
    }

    fn read(&self, packet: &Packet) -> Due {
        let v5 = self.header.v5;
        assert!(
            packet.size <= self.model.terms.packet_bytes_max,
            "{packet:?}"
        );
        let flags = if packet.kind == PUBREL { 2 } else { 0 };
        assert_eq!(packet.flags, flags, "{packet:?}");
        let body = &packet.body[..];
        let (id, rest) = match packet.kind {
            PINGRESP | DISCONNECT | packets::AUTH => (0, body),
            _ => (id_of(body), &body[2..]),
        };
        let says = |rest: &[u8]| -> Vec<u8> {
            let Some(_) = rest.first() else {
                return Vec::new();
            };
            let (length, head) = packets::varint(rest);
            assert_eq!(rest.len(), head + length, "{packet:?}");
            rest[head..].to_vec()
        };
        let (codes, says) = match packet.kind {
            SUBACK | UNSUBACK if v5 => {
                let (length, head) = packets::varint(rest);
                (
                    rest[head + length..].to_vec(),
                    rest[head..][..length].to_vec(),
                )
            }
            PINGRESP => {
                assert!(rest.is_empty());
                (Vec::new(), Vec::new())
            }
            SUBACK => (rest.to_vec(), Vec::new()),
            _ if !v5 => {
                assert!(rest.is_empty(), "3.1.1 has no codes: {packet:?}");
                (Vec::new(), Vec::new())
            }
            _ => match rest {
                [] => (vec![0], Vec::new()),
                [code, rest @ ..] => (vec![*code], says(rest)),
            },
        };
        Due {
            kind: packet.kind,
            id,
            codes,
            says: Says::These(says),
        }
    }

    fn is_it(&self, mut heard: Due, due: &Due) {
        if due.says == Says::Why
            && let Says::These(text) = &heard.says
        {
            let explains = text.first() == Some(&0x1f);
            let may_explain = due.kind == DISCONNECT || !self.header.quiet;
            assert!(text.is_empty() || (explains && may_explain), "{heard:?}");
            let must_explain = may_explain && self.header.packet_bytes_max.is_none();
            assert!(
                explains || !must_explain || due.kind == DISCONNECT,
                "{heard:?}"
            );
            heard.says = Says::Why;
        }
        assert_eq!(&heard, due);
    }

    pub(super) fn pass(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
        self.session.tick(self.now);
        self.model.passes(self.now);
        self.compare();
    }
}

/// How long a session is kept that asks for so many seconds.
pub(super) fn expiry_ms(seconds: u32) -> u64 {
    match seconds {
        u32::MAX => EXPIRY_MS_MAX,
        seconds => (u64::from(seconds) * 1_000).min(EXPIRY_MS_MAX),
    }
}
