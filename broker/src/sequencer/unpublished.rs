//! Events that may be on disk although their commit failed: nobody was told of them yet.

use std::collections::BTreeMap;

use syncline_protocol::{Seq, StreamId};

use crate::store::{Committed, EventStore, ReadLimit, StoreError};

/// Streams remembered at most. One beyond is noticed by its readers with its next event.
const STREAMS_MAX: usize = 10_000;

/// Events read at once.
const PIECE: ReadLimit = ReadLimit {
    events: 1024,
    bytes: 1 << 20,
};

/// Up to where the streams of failed commits were published.
#[derive(Debug, Default)]
pub(crate) struct Unpublished {
    published: BTreeMap<StreamId, Seq>,
}

impl Unpublished {
    pub(crate) fn is_empty(&self) -> bool {
        self.published.is_empty()
    }

    /// The outcome of what follows `published` in this stream is unknown.
    pub(crate) fn suspect(&mut self, stream: StreamId, published: Seq) {
        if self.published.len() < STREAMS_MAX {
            self.published.entry(stream).or_insert(published);
        }
    }

    /// Hands what turned out to be kept to the sink; what cannot be read now is tried again later.
    pub(crate) fn publish(&mut self, store: &dyn EventStore, sink: &dyn Fn(Vec<Committed>)) {
        self.published
            .retain(|stream, published| publish_after(store, stream, published, sink).is_err());
    }
}

fn publish_after(
    store: &dyn EventStore,
    stream: &StreamId,
    published: &mut Seq,
    sink: &dyn Fn(Vec<Committed>),
) -> Result<(), StoreError> {
    let head = store.head(stream)?.seq;
    while *published < head {
        let piece = store.read(stream, *published, PIECE)?;
        let Some(last) = piece.last() else { break };
        *published = last.seq();
        sink(piece);
    }
    Ok(())
}
