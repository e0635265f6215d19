//! What connections read from the store and the compactor, on threads that may block.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use syncline_protocol::planted::{Planted, planted};
use syncline_protocol::{DeviceSeq, Epoch, Seq, Snapshot, StreamId};

use super::delivery::{Form, GoOn, Need, Parts, Rendered, SCAN_PAGE, Want};
use super::hub::{Hub, Reading};
use super::identity::Identity;
use super::mailbox::Mailbox;
use super::resume::{self, Found};
use super::rollback;
use super::session::Request;
use super::shared::Shared;
use crate::compactor::{self, EncodedSnapshot, StatesError};
use crate::store::sessions::{LoadedSession, Message, Queued, Reach, Reaches};
use crate::store::{Committed, EventStore, ReadLimit, StoreError, StreamHead};

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
    /// The events that were wanted are gone; what is left begins after this.
    Overtaken(Seq),
    Snapshot(Option<Rendered>),
    Streams {
        page: Vec<Listed>,
        last: bool,
        reading: Reading,
    },
    /// Where a SUBSCRIBE begins: per request the head of the stream that it names.
    Heads {
        packet_id: u16,
        requests: Vec<Request>,
        heads: Vec<StreamHead>,
        reading: Reading,
    },
    /// What was kept of the connection's session.
    Session(Result<Option<LoadedSession>, StoreError>),
    /// Where its subscriptions go on.
    Found(Box<Found>),
    /// Whether a change of it is on disk.
    Written(Result<(), StoreError>),
    /// For its ordinary topics.
    Ordinary(Looked),
    Failed(FetchError),
}

/// What a connection needed for its ordinary topics.
#[derive(Debug)]
pub(crate) enum Looked {
    /// A page of the queue.
    Queue(Vec<Queued>),
    /// Everything that came before is on disk.
    Level,
    /// What is retained on a page of topics, and after which to go on.
    Retained(Vec<Message>, Option<Arc<str>>),
    /// What is retained was put into the queue.
    Greeted,
    /// A packet id of the client is free again.
    Released(u16),
    /// It is remembered that the client has a delivery.
    Received(u16),
}

/// A stream of a page.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) stream: StreamId,
    pub(crate) head: StreamHead,
    /// Where its events go on, if not at the beginning.
    pub(crate) from: Option<GoOn>,
    /// Its state is not the one that is known.
    pub(crate) changed: bool,
}

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    State(#[from] StatesError),
    #[error("a new epoch is due and did not begin: {0}")]
    Epoch(String),
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
pub(crate) fn need(
    shared: &Arc<Shared>,
    identity: &Identity,
    need: Need,
) -> Result<Fetched, FetchError> {
    match need {
        Need::Events { stream, after } => match shared.store.read(&stream, after, PAGE) {
            Ok(events) => Ok(Fetched::Events(events)),
            Err(StoreError::Folded { kept_after }) => Ok(Fetched::Overtaken(kept_after)),
            Err(error) => Err(error.into()),
        },
        Need::Snapshot { stream, want, form } => {
            let rendered = match want {
                Want::Opening { seq, epoch } => {
                    Some(opening(shared, identity, &stream, (seq, epoch), form)?)
                }
                want => plain(shared, &stream, want)?.map(|it| render(&it, form)),
            };
            Ok(Fetched::Snapshot(rendered))
        }
        Need::Streams { after, from } => {
            let reading = shared.hub.reading();
            let page = shared.store.streams(after.as_ref(), SCAN_PAGE)?;
            page.iter()
                .try_for_each(|(stream, head)| settle(&shared.hub, stream, head, reading))?;
            let last = page.len() < SCAN_PAGE;
            let listed = page
                .into_iter()
                .map(|(stream, head)| listed(&*shared.store, stream, head, from.as_ref()));
            Ok(Fetched::Streams {
                page: listed.collect::<Result<_, _>>()?,
                last,
                reading,
            })
        }
        // Answered from memory.
        Need::Topic(_) => Ok(Fetched::Snapshot(None)),
    }
}

/// What a scan is told of a stream. `from`: what was there when it went on.
fn listed(
    store: &dyn EventStore,
    stream: StreamId,
    head: StreamHead,
    from: Option<&Reaches>,
) -> Result<Listed, StoreError> {
    let reach = |reach: Option<&Reach>| reach.map_or(0, |reach| reach.of(&stream));
    let events = reach(from.and_then(|from| from.events.as_ref()));
    let states = reach(from.and_then(|from| from.states.as_ref()));
    let from = match events {
        0 => None,
        position => Some(resume::footing(store, &stream, &head, position)?),
    };
    Ok(Listed {
        changed: head.position > states,
        from,
        stream,
        head,
    })
}

/// Reads the heads of streams, empty ones where none is asked for. Blocks.
pub(crate) fn heads(
    shared: &Shared,
    streams: &[Option<StreamId>],
) -> Result<(Vec<StreamHead>, Reading), FetchError> {
    let reading = shared.hub.reading();
    let head = |stream: &Option<StreamId>| {
        let Some(stream) = stream else {
            return Ok(StreamHead::EMPTY);
        };
        let head = shared.store.head(stream)?;
        settle(&shared.hub, stream, &head, reading)?;
        Ok(head)
    };
    let heads: Result<_, FetchError> = streams.iter().map(head).collect();
    Ok((heads?, reading))
}

/// Makes the hub able to tell how far the bus has brought a stream.
fn settle(
    hub: &Hub,
    stream: &StreamId,
    head: &StreamHead,
    reading: Reading,
) -> Result<(), FetchError> {
    if hub.tells(stream, head, reading) {
        return Ok(());
    }
    Ok(hub.settle(stream)?)
}

/// A state that is the same for everybody.
fn plain(
    shared: &Shared,
    stream: &StreamId,
    want: Want,
) -> Result<Option<Arc<EncodedSnapshot>>, FetchError> {
    let states = &shared.states;
    let snapshot = match want {
        Want::Horizon => states.horizon_state(stream)?,
        Want::At(seq) if !planted(Planted::HeadForPast) => {
            return Ok(Some(states.at(stream, seq)?));
        }
        Want::Full | Want::Opening { .. } | Want::At(_) => {
            states.snapshot(stream, compactor::Want::Full)?
        }
    };
    // SNAP-6
    Ok((snapshot.snapshot().seq > Seq::ZERO).then_some(snapshot))
}

/// What opens VIEW-4. The mark is read before the state: what is accepted in between is in the state and not yet in the
/// mark, so the device sends it again and hears that it is a repeat.
fn opening(
    shared: &Arc<Shared>,
    identity: &Identity,
    stream: &StreamId,
    (seq, epoch): (Seq, Epoch),
    form: Form,
) -> Result<Rendered, FetchError> {
    rollback::look_for(shared, identity, stream, (seq, epoch))?;
    let mark = shared.store.mark(stream, identity.device)?;
    let mark = mark.and_then(|mark| mark.device_seq);
    let snapshot = shared
        .states
        .snapshot(stream, compactor::Want::Since { seq, epoch })?;
    Ok(marked(render(&snapshot, form), snapshot.snapshot(), mark))
}

/// The encodings that were asked for, in parts that fit.
fn render(snapshot: &EncodedSnapshot, form: Form) -> Rendered {
    let bytes_max = form.part_bytes_max;
    Rendered {
        seq: snapshot.snapshot().seq,
        epoch: snapshot.snapshot().epoch,
        msgpack: form
            .msgpack
            .then(|| Parts::new(snapshot.msgpack_parts(bytes_max))),
        json: form
            .json
            .then(|| Parts::new(snapshot.json_parts(bytes_max))),
    }
}

/// The same with the mark of the connection's device in every part.
fn marked(rendered: Rendered, snapshot: &Snapshot, mark: Option<DeviceSeq>) -> Rendered {
    let msgpack = |part: &Snapshot| Bytes::from(part.encode());
    let json = |part: &Snapshot| Bytes::from(part.to_json());
    Rendered {
        msgpack: rendered
            .msgpack
            .map(|parts| parts.with_mark(snapshot, mark, msgpack)),
        json: rendered
            .json
            .map(|parts| parts.with_mark(snapshot, mark, json)),
        ..rendered
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
