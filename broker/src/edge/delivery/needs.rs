//! What a delivery needs and is given.

use std::sync::Arc;

use syncline_protocol::{Epoch, Seq, StreamId};

use super::subscriptions::{Sub, SubId};

/// Streams in one page of a scan.
pub(crate) const SCAN_PAGE: usize = 64;

/// What a connection needs next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Need {
    /// Events after a seq, to [`Delivery::events`]; to [`Delivery::overtaken`] if they are gone.
    Events { stream: Arc<StreamId>, after: Seq },
    /// A snapshot, to [`Delivery::snapshot`].
    Snapshot {
        stream: Arc<StreamId>,
        want: Want,
        form: Form,
    },
    /// Up to [`SCAN_PAGE`] streams, to [`Delivery::streams`].
    Streams { after: Option<StreamId> },
    /// What is retained on a topic, to [`Delivery::topic`].
    Topic(Arc<str>),
}

/// Which snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// All of it, at the head; none of an empty stream.
    Full,
    /// All of it, at the horizon.
    Horizon,
    /// All of it, as of a seq.
    At(Seq),
    /// What opens VIEW-4, with the mark of the connection's device; also of an empty stream.
    Opening { seq: Seq, epoch: Epoch },
}

/// In which encodings, and how large a part may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) msgpack: bool,
    pub(crate) json: bool,
    pub(crate) part_bytes_max: usize,
}

/// A stream of a scan, as the store and the hub know it.
#[derive(Debug, Clone)]
pub(crate) struct Scanned {
    pub(crate) stream: Arc<StreamId>,
    pub(crate) head: Seq,
    pub(crate) horizon: Seq,
    pub(crate) epoch: Epoch,
    pub(crate) bus: Seq,
}

/// Where a new subscription begins.
#[derive(Debug)]
pub(crate) struct Ground {
    /// The store's head of the stream that the filter names.
    pub(crate) head: Seq,
    /// Its horizon.
    pub(crate) horizon: Seq,
    /// Its epoch.
    pub(crate) epoch: Epoch,
    /// How far the bus has brought it.
    pub(crate) bus: Seq,
    /// Retained topics that the filter matches.
    pub(crate) topics: Vec<Arc<str>>,
}

/// Why a snapshot is wanted.
#[derive(Debug)]
pub(super) enum Purpose {
    /// Something changed.
    Live(Vec<Arc<Sub>>),
    /// In answer to a SUBSCRIBE.
    Retained(Arc<Sub>),
    /// To open VIEW-4.
    Opening(Arc<Sub>, Seq, Epoch),
    /// To open VIEW-3 below the horizon.
    Horizon(Arc<Sub>),
    /// To answer VIEW-7.
    Once(Arc<Sub>, Seq),
    /// For those who cannot go on from where they are (VIEW-9, EPOCH-3).
    Bridge(Vec<Arc<Sub>>),
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

impl Scanned {
    /// A stream whose first event the bus has brought just now.
    pub(super) fn new_stream(stream: Arc<StreamId>, head: Seq) -> Self {
        Self {
            stream,
            head,
            horizon: Seq::ZERO,
            epoch: Epoch::NONE,
            bus: head,
        }
    }
}

impl Purpose {
    /// The one subscription that asked for it.
    pub(super) fn sub(&self) -> Option<&Arc<Sub>> {
        match self {
            Self::Live(_) | Self::Bridge(_) => None,
            Self::Retained(sub) | Self::Horizon(sub) => Some(sub),
            Self::Opening(sub, ..) | Self::Once(sub, _) => Some(sub),
        }
    }

    /// All that it is for.
    pub(super) fn subs(&self) -> &[Arc<Sub>] {
        match self {
            Self::Live(subs) | Self::Bridge(subs) => subs,
            Self::Retained(sub) | Self::Horizon(sub) => std::slice::from_ref(sub),
            Self::Opening(sub, ..) | Self::Once(sub, _) => std::slice::from_ref(sub),
        }
    }

    pub(super) fn want(&self) -> Want {
        match self {
            Self::Live(_) | Self::Retained(_) | Self::Bridge(_) => Want::Full,
            Self::Opening(_, seq, epoch) => Want::Opening {
                seq: *seq,
                epoch: *epoch,
            },
            Self::Horizon(_) => Want::Horizon,
            Self::Once(_, seq) => Want::At(*seq),
        }
    }
}
