//! What connections read from the store and the compactor, on threads that may block.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use syncline_protocol::{DeviceId, Seq, StreamId};

use super::delivery::{Need, Rendered, SCAN_PAGE, Want};
use super::mailbox::Mailbox;
use super::session::Request;
use super::shared::Shared;
use crate::compactor::{self, EncodedSnapshot, States, StatesError};
use crate::store::{Committed, EventStore, ReadLimit, StoreError};

/// Where reads that block are carried out.
pub(crate) type Reader = Arc<dyn Fn(Box<dyn FnOnce() + Send>) + Send + Sync>;

/// What one connection reads at a time.
pub(crate) const PAGE: ReadLimit = ReadLimit {
    events: 64,
    bytes: 256 << 10,
};

/// What was read.
#[derive(Debug)]
pub(crate) enum Fetched {
    Events(Vec<Committed>),
    Snapshot(Option<Rendered>),
    Streams {
        page: Vec<(StreamId, Seq)>,
        last: bool,
    },
    /// Where a SUBSCRIBE begins: per request the head of the stream that it names.
    Heads {
        packet_id: u16,
        requests: Vec<Request>,
        heads: Vec<Seq>,
    },
    Failed(FetchError),
}

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    State(#[from] StatesError),
    #[error("the read panicked")]
    Panicked,
}

/// Reads on a thread that may block, and leaves what came of it in the mailbox: whoever waits is told, come what may.
pub(crate) fn spawn(
    reader: &Reader,
    mailbox: Arc<Mailbox>,
    read: impl FnOnce() -> Result<Fetched, FetchError> + Send + 'static,
) {
    reader(Box::new(move || {
        let read = catch_unwind(AssertUnwindSafe(read)).unwrap_or(Err(FetchError::Panicked));
        mailbox.fetched(read.unwrap_or_else(Fetched::Failed));
    }));
}

/// Reads on the threads of tokio that may block.
pub(crate) fn on_blocking_threads() -> Reader {
    Arc::new(|read| drop(tokio::task::spawn_blocking(read)))
}

/// Reads what a delivery needs. Blocks.
pub(crate) fn need(shared: &Shared, device: DeviceId, need: Need) -> Result<Fetched, FetchError> {
    let store = &*shared.store;
    match need {
        Need::Events { stream, after } => Ok(Fetched::Events(store.read(&stream, after, PAGE)?)),
        Need::Snapshot {
            stream,
            want,
            msgpack,
            json,
        } => {
            let snapshot = snapshot(store, &shared.states, device, &stream, want)?;
            let rendered = snapshot.map(|it| Rendered {
                seq: it.snapshot().seq,
                msgpack: msgpack.then(|| it.msgpack()),
                json: json.then(|| it.json()),
            });
            Ok(Fetched::Snapshot(rendered))
        }
        Need::Streams { after } => {
            let page = store.streams(after.as_ref(), SCAN_PAGE)?;
            let last = page.len() < SCAN_PAGE;
            let page = page
                .into_iter()
                .map(|(stream, head)| (stream, head.seq))
                .collect();
            Ok(Fetched::Streams { page, last })
        }
        // Answered from memory.
        Need::Topic(_) => Ok(Fetched::Snapshot(None)),
    }
}

/// Reads the heads of streams, 0 where none is asked for. Blocks.
pub(crate) fn heads(
    store: &dyn EventStore,
    streams: &[Option<StreamId>],
) -> Result<Vec<Seq>, StoreError> {
    let head = |stream: &Option<StreamId>| match stream {
        Some(stream) => store.head(stream).map(|head| head.seq),
        None => Ok(Seq::ZERO),
    };
    streams.iter().map(head).collect()
}

/// The mark is read before the state: what is accepted in between is in the state and not yet in the mark, so the
/// device sends it again and hears that it is a repeat.
fn snapshot(
    store: &dyn EventStore,
    states: &States,
    device: DeviceId,
    stream: &StreamId,
    want: Want,
) -> Result<Option<Arc<EncodedSnapshot>>, FetchError> {
    match want {
        Want::Full => {
            let snapshot = states.snapshot(stream, compactor::Want::Full)?;
            Ok((snapshot.snapshot().seq > Seq::ZERO).then_some(snapshot))
        }
        Want::Opening { seq, epoch } => {
            let mark = store.mark(stream, device)?.and_then(|mark| mark.device_seq);
            let snapshot = states.snapshot(stream, compactor::Want::Since { seq, epoch })?;
            Ok(Some(Arc::new(snapshot.opening(mark))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_read_that_panics_is_told() {
        let mailbox = Arc::new(Mailbox::default());
        spawn(&on_blocking_threads(), Arc::clone(&mailbox), || {
            panic!("a bug in a store")
        });
        mailbox.rung().await;
        let fetched = mailbox.take().fetched;
        assert!(matches!(
            fetched[..],
            [Fetched::Failed(FetchError::Panicked)]
        ));
    }
}
