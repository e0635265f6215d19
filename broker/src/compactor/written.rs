//! Which streams were written to: left by the sequencer's sink, taken by the compactor.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use syncline_protocol::StreamId;

use crate::store::Committed;

/// Streams noted at most. One that is not noted is looked at in the next round over all streams.
const STREAMS_MAX: usize = 65_536;

/// The streams that were written to since somebody looked. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Written {
    streams: Arc<Mutex<HashSet<StreamId>>>,
}

impl Written {
    /// Notes the streams of events that are on disk. Cheap, and never waits for long.
    pub fn note(&self, events: &[Committed]) {
        let mut streams = self.streams();
        let mut last = None;
        for stream in events.iter().map(Committed::stream) {
            if last != Some(stream) && streams.len() < STREAMS_MAX && !streams.contains(stream) {
                streams.insert(stream.clone());
            }
            last = Some(stream);
        }
    }

    /// Notes one stream, to be looked at soon although nothing was written to it.
    pub fn look_at(&self, stream: &StreamId) {
        let mut streams = self.streams();
        if streams.len() < STREAMS_MAX && !streams.contains(stream) {
            streams.insert(stream.clone());
        }
    }

    /// Notes one stream, to be looked at again.
    pub(super) fn note_again(&self, stream: StreamId) {
        self.streams().insert(stream);
    }

    pub(super) fn take(&self) -> Vec<StreamId> {
        let mut streams: Vec<_> = std::mem::take(&mut *self.streams()).into_iter().collect();
        streams.sort_unstable();
        streams
    }

    fn streams(&self) -> MutexGuard<'_, HashSet<StreamId>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
