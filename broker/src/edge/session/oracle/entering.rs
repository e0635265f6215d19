//! From the first byte to the CONNACK, or to no session at all.

use std::time::{Duration, Instant};

use super::model::Model;
use super::packets::{self, CONNACK, DEVICE, apart, heard, varint};
use super::program::{Before, Fate, Header};
use super::rig::{Rig, expiry_ms};
use super::words::Terms;
use super::{EVENT_BYTES_MAX, EXPIRY_MS_MAX, INFLIGHT_MAX, PACKET_BYTES_MAX, RECEIVE_MAXIMUM};
use crate::acl::{Access, Rights};
use crate::auth::{Admission, Denied, Proof};
use crate::edge::limits::{Crowded, PublishOptions};
use crate::edge::session::{Action, NoSession, SessionOptions};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const TOPIC_ALIAS_MAX: u16 = 2;

/// A connection that is in, or one that came to its end before.
pub(super) fn entered(header: &Header, chunk: usize, begin: Instant) -> Rig {
    let model = Model::new(terms(header), begin);
    let mut rig = Rig::new(header, options(header), model, chunk);
    if !rig.enters() {
        rig.model.ends(None, false);
        rig.model.terms.expiry_ms = rig.session.expiry_ms();
        assert!(rig.session.ended().is_some(), "it goes on");
        rig.compare();
    }
    rig
}

fn options(header: &Header) -> SessionOptions {
    SessionOptions {
        connect_timeout: CONNECT_TIMEOUT,
        packet_bytes_max: PACKET_BYTES_MAX,
        event_bytes_max: EVENT_BYTES_MAX,
        receive_maximum: RECEIVE_MAXIMUM as u16,
        inflight_max: INFLIGHT_MAX,
        expiry_ms_max: EXPIRY_MS_MAX,
        topic_alias_max: TOPIC_ALIAS_MAX,
        keep_alive_s_max: header.server_keep_alive_s,
        publish: PublishOptions::default(),
    }
}

fn terms(header: &Header) -> Terms {
    let keep_alive_ms =
        u64::from(server_keep_alive_s(header).unwrap_or(header.keep_alive_s)) * 1_500;
    Terms {
        v5: header.v5,
        quiet: header.quiet,
        packet_bytes_max: header.packet_bytes_max.map_or(usize::MAX, |it| it as usize),
        receive_maximum: header.receive_maximum,
        limit: (keep_alive_ms > 0).then(|| Duration::from_millis(keep_alive_ms)),
        will: header.will,
        narrow: header.narrow,
        expiry_ms: match (header.v5, header.clean) {
            (true, _) => expiry_ms(header.expiry_s.unwrap_or(0)),
            (false, true) => 0,
            (false, false) => EXPIRY_MS_MAX,
        },
    }
}

/// What it has to keep instead of its own.
fn server_keep_alive_s(header: &Header) -> Option<u16> {
    let most = header.server_keep_alive_s;
    let asks_for_more = header.keep_alive_s == 0 || header.keep_alive_s > most;
    (most > 0 && asks_for_more).then_some(most)
}

/// Whoever may do everything, or who is narrow.
pub(super) fn admission(narrow: bool) -> Admission {
    let group = "a".parse().expect("the name of a group");
    Admission {
        user: String::new(),
        rights: match narrow {
            true => Rights::to_groups([(group, Access::ReadWrite)]),
            false => Rights::everything(),
        },
        expires_at: None,
        proof: Proof::Anonymous,
    }
}

impl Rig {
    /// Whether it gets in.
    fn enters(&mut self) -> bool {
        let crowded = [Crowded::Address, Crowded::User, Crowded::Rate];
        if let Fate::Crowded(n) = self.header.fate {
            self.session.refuse_with(crowded[usize::from(n)], self.now);
        }
        if self.is_late(0) {
            return false;
        }
        let (said, is_connect) = self.greeting();
        for part in said.chunks(self.chunk) {
            let waits = self.session.output().is_empty() && self.session.next_action().is_none();
            assert!(waits || !is_connect, "nothing before the CONNECT is whole");
            self.session.receive(self.now, &mut part.into());
        }
        match self.header.fate {
            _ if !is_connect => return self.is_closed(&said),
            Fate::Crowded(n) => return self.is_refused([0x97, 0x97, 0x9f][usize::from(n)], 3),
            Fate::UnknownMethod => return self.is_refused(0x8c, 5),
            _ => {}
        }
        self.is_known() && self.has_session()
    }

    fn is_late(&mut self, place: u8) -> bool {
        if self.header.fate != Fate::Late(place) {
            return false;
        }
        assert_eq!(
            self.session.next_timeout(),
            Some(self.now + CONNECT_TIMEOUT)
        );
        self.session.tick(self.now + CONNECT_TIMEOUT);
        assert!(self.session.output().is_empty(), "nothing is said to it");
        true
    }

    fn greeting(&self) -> (Vec<u8>, bool) {
        let header = &self.header;
        let method: Option<&[u8]> = match header.fate {
            Fate::UnknownMethod => Some(b"other"),
            _ => header.by_method.then_some(b"token"),
        };
        let client_id = if header.named { DEVICE } else { "" };
        let connect = packets::connect(header, client_id, method);
        let changed = |at: usize, byte: u8| {
            let mut bytes = connect.clone();
            bytes[at] = byte;
            bytes
        };
        let flags = packets::length(connect.len() - 2).len() + 8;
        match header.fate {
            Fate::NoConnect(0) => (vec![0xc0, 0], false),
            Fate::NoConnect(_) => (b"\x30\x04\0\x01t\0".to_vec(), false),
            Fate::WrongConnect(0) => (changed(flags, connect[flags] | 1), false),
            Fate::WrongConnect(1) => (changed(flags - 1, 6), false),
            Fate::WrongConnect(2) => (changed(flags, connect[flags] & 0xc7 | 0x18), false),
            Fate::WrongConnect(_) => (changed(flags - 2, b'X'), false),
            _ => (connect, true),
        }
    }

    /// What is no CONNECT gets at most a CONNACK that refuses it.
    fn is_closed(&mut self, said: &[u8]) -> bool {
        let output = self.session.output().split();
        self.log.extend_from_slice(&output);
        if self.header.fate == Fate::WrongConnect(1) {
            assert_eq!(output[..], [0x20, 2, 0, 1], "an unknown version is told so");
        }
        match &heard(&output)[..] {
            [] => {}
            [packet] => {
                assert_eq!((packet.kind, packet.body[0]), (CONNACK, 0), "{said:?}");
                assert!(packet.body[1] > 0, "{said:?} is let in");
            }
            other => panic!("{other:?}"),
        }
        false
    }

    fn is_refused(&mut self, v5: u8, v3: u8) -> bool {
        let output = self.session.output().split();
        let [packet] = &heard(&output)[..] else {
            panic!("one CONNACK");
        };
        let code = if self.header.v5 { v5 } else { v3 };
        assert_eq!((packet.kind, &packet.body[..2]), (CONNACK, &[0, code][..]));
        assert!(packet.size <= self.model.terms.packet_bytes_max);
        assert_eq!(packet.body.len() == 2, !self.header.v5, "{packet:?}");
        self.log.extend_from_slice(&output);
        false
    }

    fn is_known(&mut self) -> bool {
        let action = self.session.next_action();
        let Some(Action::Authenticate(credentials)) = action else {
            panic!("{action:?}");
        };
        assert_eq!(credentials.token.is_some(), self.header.by_method);
        assert!(!self.session.wants_input(), "it is not known who that is");
        if self.is_late(1) {
            return false;
        }
        let denied = [
            (Denied::BadCredentials, 0x86, 4),
            (Denied::NotAuthorised, 0x87, 5),
            (Denied::Throttled, 0x9f, 3),
            (Denied::Unavailable, 0x88, 3),
            (Denied::Busy, 0x89, 3),
        ];
        if let Fate::Denied(n) = self.header.fate {
            let (denied, v5, v3) = denied[usize::from(n)];
            self.session.authenticated(Err(denied));
            return self.is_refused(v5, v3);
        }
        self.session
            .authenticated(Ok(admission(self.header.narrow)));
        match self.header.fate {
            Fate::Nameless if !self.header.v5 => self.is_refused(0x85, 2),
            Fate::WillRefused => self.is_refused(0x87, 5),
            _ => true,
        }
    }

    fn has_session(&mut self) -> bool {
        let action = self.session.next_action();
        let Some(Action::Open {
            client_id,
            identity,
            opening,
        }) = action
        else {
            panic!("{action:?}");
        };
        self.identity = Some(identity);
        let name = if self.header.named { DEVICE } else { "auto-1" };
        assert_eq!(client_id, name);
        assert_eq!(
            (opening.clean, opening.v5),
            (self.header.clean, self.header.v5)
        );
        assert_eq!(opening.expiry_ms, self.model.terms.expiry_ms);
        assert!(!self.session.wants_input(), "there is no session yet");
        if self.is_late(2) {
            return false;
        }
        let none = [
            (NoSession::TooMany, 0x97),
            (NoSession::TooManyOfUser, 0x97),
            (NoSession::StorageFailed, 0x88),
        ];
        if let Fate::NoSession(n) = self.header.fate {
            let (why, v5) = none[usize::from(n)];
            self.session.refused(why);
            return self.is_refused(v5, 3);
        }
        self.session.opened(self.now, self.header.before.is_some());
        if self.header.fate == Fate::Tiny {
            assert!(self.session.output().is_empty(), "larger than it takes");
            return false;
        }
        self.is_greeted();
        self.goes_on();
        true
    }

    /// The CONNACK says what this broker does.
    fn is_greeted(&mut self) {
        let output = self.session.output().split();
        let [packet] = &heard(&output)[..] else {
            panic!("one CONNACK");
        };
        let present = u8::from(self.header.before.is_some());
        assert_eq!(
            (packet.kind, &packet.body[..2]),
            (CONNACK, &[present, 0][..])
        );
        let said = match self.header.v5 {
            true => {
                let (length, head) = varint(&packet.body[2..]);
                assert_eq!(packet.body.len(), 2 + head + length);
                apart(&packet.body[2 + head..])
            }
            false => {
                assert_eq!(packet.body.len(), 2);
                return self.log.extend_from_slice(&output);
            }
        };
        let seconds = u32::try_from(self.model.terms.expiry_ms / 1_000).expect("it is bounded");
        let mut expected = vec![
            [&[0x11][..], &seconds.to_be_bytes()].concat(),
            [&[0x21][..], &(RECEIVE_MAXIMUM as u16).to_be_bytes()].concat(),
            [&[0x22][..], &TOPIC_ALIAS_MAX.to_be_bytes()].concat(),
            [&[0x27][..], &PACKET_BYTES_MAX.to_be_bytes()].concat(),
        ];
        let keep_alive = server_keep_alive_s(&self.header);
        expected.extend(keep_alive.map(|it| [&[0x13][..], &it.to_be_bytes()].concat()));
        if !self.header.named {
            expected.push([&[0x12][..], &packets::string(b"auto-1")].concat());
        }
        if self.header.by_method {
            expected.push([&[0x15][..], &packets::string(b"token")].concat());
        }
        expected.sort();
        assert_eq!(said, expected);
        self.log.extend_from_slice(&output);
    }

    /// With what an earlier connection left.
    fn goes_on(&mut self) {
        let Some(Before { taken, has, again }) = self.header.before.clone() else {
            return;
        };
        self.session.reserve(again.iter().map(|it| it.0));
        self.session.resume(&taken, &has);
        self.model.resumes(&taken, &has);
        self.compare();
    }
}
