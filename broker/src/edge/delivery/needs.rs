//! What a delivery needs and is given.

use std::sync::Arc;

use bytes::Bytes;
use syncline_protocol::{Epoch, Seq, StreamId};

use super::subscriptions::{Sub, SubId};

/// Streams in one page of a scan.
pub(crate) const SCAN_PAGE: usize = 64;

/// What a connection needs next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Need {
    /// Events after a seq, to [`Delivery::events`].
    Events { stream: Arc<StreamId>, after: Seq },
    /// A snapshot in these encodings, to [`Delivery::snapshot`].
    Snapshot {
        stream: Arc<StreamId>,
        want: Want,
        msgpack: bool,
        json: bool,
    },
    /// Up to [`SCAN_PAGE`] streams, to [`Delivery::streams`].
    Streams { after: Option<StreamId> },
    /// What is retained on a topic, to [`Delivery::topic`].
    Topic(Arc<str>),
}

/// Which snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// All of it; none of an empty stream.
    Full,
    /// What opens VIEW-4, with the mark of the connection's device; also of an empty stream.
    Opening { seq: Seq, epoch: Epoch },
}

/// A snapshot in the encodings that were asked for.
#[derive(Debug, Clone)]
pub(crate) struct Rendered {
    pub(crate) seq: Seq,
    pub(crate) msgpack: Option<Bytes>,
    pub(crate) json: Option<Bytes>,
}

/// A stream of a scan, as the store and the hub know it.
#[derive(Debug, Clone)]
pub(crate) struct Scanned {
    pub(crate) stream: Arc<StreamId>,
    pub(crate) head: Seq,
    pub(crate) bus: Seq,
}

/// Where a new subscription begins.
#[derive(Debug, Default)]
pub(crate) struct Ground {
    /// The store's head of the stream that the filter names.
    pub(crate) head: Seq,
    /// How far the bus has brought it.
    pub(crate) bus: Seq,
    /// Retained topics that the filter matches.
    pub(crate) topics: Vec<Arc<str>>,
}

/// Why a snapshot is wanted.
#[derive(Debug)]
pub(super) enum Purpose {
    /// Something changed.
    Live,
    /// In answer to a SUBSCRIBE.
    Retained(Arc<Sub>),
    /// To open VIEW-4.
    Opening(Arc<Sub>, Seq, Epoch),
}

/// A need that was told and is not answered.
#[derive(Debug)]
pub(super) enum Waiting {
    Events {
        stream: Arc<StreamId>,
        after: Seq,
    },
    Snapshot {
        stream: Arc<StreamId>,
        purpose: Purpose,
    },
    Streams(SubId),
    Topic {
        topic: Arc<str>,
        of: Option<Arc<Sub>>,
    },
}

/// A subscription with wildcards that goes through all streams once.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) sub: Arc<Sub>,
    pub(super) after: Option<StreamId>,
    /// `$since/0`: events from the beginning.
    pub(super) events: bool,
    /// Retained states.
    pub(super) states: bool,
}

impl Purpose {
    pub(super) fn sub(&self) -> Option<&Arc<Sub>> {
        match self {
            Self::Live => None,
            Self::Retained(sub) | Self::Opening(sub, ..) => Some(sub),
        }
    }
}
