//! How a program begins.

use super::Bytes;

/// What the client's CONNECT says, what its driver makes of that, and how the bytes are cut.
#[derive(Debug, Clone)]
pub(in super::super) struct Header {
    pub(in super::super) v5: bool,
    /// Bytes of a client that are read at once.
    pub(in super::super) chunk: usize,
    pub(in super::super) will: Option<Will>,
    pub(in super::super) clean: bool,
    /// Exchanges of an earlier connection, if its session was kept.
    pub(in super::super) before: Option<Before>,
    /// It may publish and read in one group alone.
    pub(in super::super) narrow: bool,
    /// It wants no reason strings and user properties.
    pub(in super::super) quiet: bool,
    pub(in super::super) receive_maximum: Option<u16>,
    pub(in super::super) packet_bytes_max: Option<u32>,
    pub(in super::super) topic_alias_max: u16,
    pub(in super::super) keep_alive_s: u16,
    pub(in super::super) server_keep_alive_s: u16,
    pub(in super::super) expiry_s: Option<u32>,
    /// It named the Authentication Method of tokens.
    pub(in super::super) by_method: bool,
    pub(in super::super) named: bool,
    pub(in super::super) fate: Fate,
}

/// What is published for the client if it is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Will {
    pub(in super::super) event: bool,
    pub(in super::super) delay_s: u32,
}

/// What an earlier connection left open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in super::super) struct Before {
    /// PUBLISHes of the client that were taken.
    pub(in super::super) taken: Vec<u16>,
    /// Deliveries that the client has.
    pub(in super::super) has: Vec<u16>,
    /// Deliveries that come again, with their QoS.
    pub(in super::super) again: Vec<(u16, u8)>,
}

/// How a connection begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Fate {
    Enters,
    /// Something else comes first.
    NoConnect(u8),
    /// The CONNECT itself is wrong.
    WrongConnect(u8),
    /// It takes too long: before the CONNECT, before it is known who that is, before there is a session.
    Late(u8),
    Denied(u8),
    Crowded(u8),
    NoSession(u8),
    UnknownMethod,
    /// No client id, and a session that is kept: nothing for 3.1.1.
    Nameless,
    WillRefused,
    /// The client takes no packet of the size of a CONNACK.
    Tiny,
}

/// It takes five bytes.
pub(super) fn header(bytes: &mut Bytes<'_>) -> Header {
    let [first, second, third, fourth] = [(); 4].map(|()| bytes.next());
    let has = |byte: u8, bit: u8| byte & (1 << bit) != 0;
    let two = |byte: u8, bit: u8| usize::from(byte >> bit & 3);
    let narrow = has(first, 6) && has(third, 7);
    let will = has(first, 3).then(|| Will {
        event: narrow || has(third, 6),
        delay_s: if has(third, 2) { 5 } else { 0 },
    });
    let left = bytes.next();
    fitting(Header {
        v5: has(first, 0),
        chunk: [1_000_000, 1, 2, 7][two(first, 1)],
        will,
        clean: !has(first, 4),
        before: has(first, 5).then(|| before(left)),
        narrow,
        quiet: has(first, 7),
        receive_maximum: [None, Some(3), Some(1), Some(20)][two(second, 0)],
        packet_bytes_max: [None, None, Some(60), Some(128)][two(second, 2)],
        topic_alias_max: [0, 1, 2, 40][two(second, 4)],
        keep_alive_s: [10, 10, 0, 200][two(second, 6)],
        server_keep_alive_s: if has(third, 5) { 8 } else { 0 },
        expiry_s: [None, Some(0), Some(100), Some(u32::MAX)][two(third, 0)],
        by_method: two(third, 3) == 3,
        named: fourth & 1 == 0,
        fate: fate(fourth),
    })
}

/// As its fate needs it.
fn fitting(mut header: Header) -> Header {
    match header.fate {
        Fate::UnknownMethod | Fate::Tiny => header.v5 = true,
        Fate::Nameless => (header.named, header.clean) = (false, false),
        Fate::WillRefused => {
            header.narrow = true;
            header.will = Some(Will {
                event: false,
                delay_s: 0,
            });
        }
        _ => {}
    }
    if header.fate != Fate::Nameless {
        // 3.1.1 knows no session that is kept without a name.
        header.clean |= !header.named && !header.v5;
    }
    if header.fate == Fate::Tiny {
        header.packet_bytes_max = Some(20);
    }
    if !header.v5 {
        // It has no words for these.
        header.will = header.will.map(|will| Will { delay_s: 0, ..will });
        header.by_method = false;
        header.quiet = false;
        header.receive_maximum = None;
        header.packet_bytes_max = None;
        header.topic_alias_max = 0;
        header.server_keep_alive_s = 0;
        header.expiry_s = None;
    }
    header
}

fn before(bits: u8) -> Before {
    let these = |ids: &[(u8, u16)]| -> Vec<u16> {
        let left = ids.iter().filter(|(bit, _)| bits & (1 << bit) != 0);
        left.map(|(_, id)| *id).collect()
    };
    // Ids that would be given next.
    let again = these(&[(5, 1), (6, 2), (7, 3)]);
    Before {
        taken: these(&[(0, 1), (1, 2)]),
        has: these(&[(2, 6), (3, 7), (4, 8)]),
        again: again
            .into_iter()
            .map(|id| (id, 1 + (id % 2) as u8))
            .collect(),
    }
}

/// Most come in.
fn fate(byte: u8) -> Fate {
    let n = byte & 3;
    match byte {
        0..=231 => Fate::Enters,
        232..=233 => Fate::NoConnect(byte & 1),
        234..=237 => Fate::WrongConnect(n),
        238..=239 => Fate::Late(byte & 1),
        240..=244 => Fate::Denied(byte - 240),
        245..=247 => Fate::Crowded(byte - 245),
        248..=250 => Fate::NoSession(byte - 248),
        251 => Fate::UnknownMethod,
        252 => Fate::Nameless,
        253 => Fate::WillRefused,
        254 => Fate::Tiny,
        255 => Fate::Late(2),
    }
}
