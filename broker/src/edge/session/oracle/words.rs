//! The words in which the rig and the model speak.

use std::time::Duration;

use super::program::Will;

/// A packet that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) kind: u8,
    pub(super) id: u16,
    /// At version 5, and those of a SUBACK at 3.1.1.
    pub(super) codes: Vec<u8>,
    pub(super) says: Says,
}

/// The properties of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Says {
    These(Vec<u8>),
    /// A reason string, or none where there is no room for it.
    Why,
}

/// What the driver is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Deed {
    Submit(Option<u16>),
    Post(Option<u16>),
    Renew,
    RenewByAuth,
    Report,
    Release(u16),
    /// Which of the filters it may have, if it is one.
    Subscribe(u16, Vec<Filter>),
    Unsubscribe(u16, usize),
    /// The client has a queued delivery.
    Received(u16),
    Arrived(u64),
    Acked(u64),
    Completed(u16),
    Will(bool, u32),
}

/// What becomes of a filter before the driver sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filter {
    /// At this QoS at most.
    Fine(u8),
    Bad,
    Denied,
}

/// What the client has said, as far as the model cares.
#[derive(Debug, Clone)]
pub(super) enum Said {
    Publish {
        qos: u8,
        id: u16,
        /// One of [`TOPICS`](super::packets::TOPICS).
        topic: u8,
    },
    Acknowledge {
        kind: u8,
        id: u16,
        code: u8,
    },
    /// Each of [`FILTERS`](super::packets::FILTERS), with its QoS.
    Subscribe(u16, Vec<u8>),
    Unsubscribe(u16, usize),
    Ping,
    Auth {
        fits: bool,
    },
    Disconnect {
        with_will: bool,
        expiry_ms: Option<u64>,
    },
    Wrong {
        code: u8,
        /// It is a PUBLISH that counts towards the Receive Maximum.
        counts: bool,
    },
}

/// What a PUBLISH comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    Asks(Deed),
    /// Refused; whether there is a topic for that to be told on at 3.1.1.
    Refused(u8, bool),
}

/// What a PUBLISH is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    Acknowledged(u8, Says),
    /// By name; whether there is a topic for that.
    Refused(u8, Says, bool),
    /// Nothing after it counts any more.
    Failed(u8),
}

/// Where a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    Once(Load),
    Twice(Load),
    /// The client has it; the driver writes that down.
    Noting,
    Released,
}

/// What a delivery carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Load {
    Event(u64),
    Queued(u64),
    Loose(u64),
}

/// A PUBLISH that waits for its answer.
#[derive(Debug, Clone)]
pub(super) struct Open {
    pub(super) qos: u8,
    pub(super) id: u16,
    pub(super) refusal_has_topic: bool,
    pub(super) told: Option<Told>,
}

/// Who is on the connection, as far as it matters.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    pub(super) v5: bool,
    pub(super) quiet: bool,
    pub(super) packet_bytes_max: usize,
    pub(super) receive_maximum: Option<u16>,
    pub(super) limit: Option<Duration>,
    pub(super) will: Option<Will>,
    pub(super) expiry_ms: u64,
    /// It may publish and read in one group alone.
    pub(super) narrow: bool,
}
