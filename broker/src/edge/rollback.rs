//! The sign of a disk that was rolled back: a cursor beyond the head of the epoch that it names (EPOCH-1).

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use syncline_protocol::{Epoch, Seq, StreamId};

use super::fetch::FetchError;
use super::identity::Identity;
use super::shared::Shared;
use crate::store::StreamHead;

/// How long a new epoch may take. Whoever waited in vain comes again: the state of the old epoch would leave the events
/// in its replica that are not there.
const PATIENCE: Duration = Duration::from_secs(10);

/// Has an epoch begun if the cursor is such a sign and comes from somebody who may write to the stream. Blocks.
pub(crate) fn look_for(
    shared: &Arc<Shared>,
    identity: &Identity,
    stream: &StreamId,
    (seq, epoch): (Seq, Epoch),
) -> Result<(), FetchError> {
    let head = shared.store.head(stream)?;
    let beyond = !head.is_empty() && epoch == head.epoch && seq > head.seq;
    if beyond && identity.principal.grant().writes(stream) {
        return doubt(shared, stream, seq, epoch);
    }
    Ok(())
}

/// Those who follow the stream are told before any of its next events is sequenced.
fn doubt(
    shared: &Arc<Shared>,
    stream: &StreamId,
    seq: Seq,
    epoch: Epoch,
) -> Result<(), FetchError> {
    let (tell, told) = mpsc::sync_channel(1);
    let (hub, of) = (Arc::clone(&shared.hub), stream.clone());
    let done = Box::new(move |told: Result<StreamHead, String>| {
        if let Ok(head) = &told
            && head.epoch != epoch
        {
            hub.turn(&of, head);
        }
        // Whoever waited may have lost patience.
        let _ = tell.send(told.map(drop));
    });
    shared.sequencer.doubt(stream.clone(), seq, epoch, done);
    (shared.before_waiting)();
    match told.recv_timeout(PATIENCE) {
        Ok(told) => told.map_err(FetchError::Epoch),
        Err(_) => Err(FetchError::Epoch("it takes too long".to_owned())),
    }
}
