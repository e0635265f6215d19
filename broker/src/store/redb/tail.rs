//! What the tables do not have yet, by stream.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use syncline_protocol::{DeviceId, StreamId};

use super::applier::Pending;
use crate::store::piece::Piece;
use crate::store::{Footprint, StreamHead};

/// Journaled events in the order of their positions, and the same by stream.
#[derive(Debug, Default)]
pub(super) struct Tail {
    queue: VecDeque<Arc<Pending>>,
    streams: BTreeMap<StreamId, TailStream>,
    bytes: usize,
}

/// Never without events.
#[derive(Debug)]
struct TailStream {
    head: StreamHead,
    events: VecDeque<Arc<Pending>>,
}

impl Tail {
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes journaled events and the heads that they lead to.
    pub(super) fn push(
        &mut self,
        events: impl Iterator<Item = Arc<Pending>>,
        heads: &BTreeMap<StreamId, StreamHead>,
    ) {
        for event in events {
            self.bytes += event.event.payload().len();
            let stream = event.event.stream();
            if !self.streams.contains_key(stream) {
                let fresh = TailStream {
                    head: StreamHead::EMPTY,
                    events: VecDeque::new(),
                };
                self.streams.insert(stream.clone(), fresh);
            }
            let slot = self.streams.get_mut(stream).expect("was just inserted");
            slot.events.push_back(Arc::clone(&event));
            self.queue.push_back(event);
        }
        for (stream, head) in heads {
            if let Some(slot) = self.streams.get_mut(stream) {
                slot.head = *head;
            }
        }
    }

    /// The oldest events, within these bounds.
    pub(super) fn oldest(&self, events_max: usize, bytes_max: usize) -> Vec<Arc<Pending>> {
        let mut bytes = 0;
        let fits = |event: &&Arc<Pending>| {
            let room = bytes < bytes_max;
            bytes += event.event.payload().len();
            room
        };
        self.queue
            .iter()
            .take(events_max)
            .take_while(fits)
            .cloned()
            .collect()
    }

    /// Drops what the tables have.
    pub(super) fn drop_through(&mut self, position: u64) {
        while self
            .queue
            .front()
            .is_some_and(|event| event.position <= position)
            && let Some(event) = self.queue.pop_front()
        {
            self.bytes -= event.event.payload().len();
            let stream = event.event.stream();
            let slot = self
                .streams
                .get_mut(stream)
                .expect("every queued event is in its stream");
            slot.events.pop_front();
            if slot.events.is_empty() {
                self.streams.remove(stream);
            }
        }
    }

    /// `None`: the tables know.
    pub(super) fn head(&self, stream: &StreamId) -> Option<StreamHead> {
        self.streams.get(stream).map(|slot| slot.head)
    }

    pub(super) fn footprints(&self, stream: &StreamId, device: DeviceId) -> Vec<Footprint> {
        let events = self
            .streams
            .get(stream)
            .into_iter()
            .flat_map(|slot| &slot.events);
        events
            .map(|event| event.footprint)
            .filter(|it| it.device == device)
            .collect()
    }

    /// Gathers from the cursor to the head, unless the tail does not reach back to the cursor.
    pub(super) fn read(&self, stream: &StreamId, piece: &mut Piece) -> bool {
        let Some(slot) = self.streams.get(stream) else {
            return false;
        };
        let next = piece.cursor().get() + 1;
        let first = slot
            .events
            .front()
            .map_or(0, |event| event.event.seq().get());
        if first > next {
            return false;
        }
        let len = slot.events.len();
        let skip = usize::try_from(next - first).map_or(len, |skip| skip.min(len));
        piece.extend(slot.events.range(skip..).map(|event| &event.event));
        true
    }

    pub(super) fn streams(
        &self,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Vec<(StreamId, StreamHead)> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let found = self
            .streams
            .range::<StreamId, _>((start, Bound::Unbounded))
            .take(limit);
        found
            .map(|(stream, slot)| (stream.clone(), slot.head))
            .collect()
    }
}
