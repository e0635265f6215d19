//! What the tables do not have yet, by stream.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use syncline_protocol::{DeviceId, Seq, StreamId, UnixMillis};

use super::pending::{Pending, What};
use crate::store::piece::Piece;
use crate::store::{Footprint, StreamHead};

/// Journaled records in the order of their positions, and the same by stream.
#[derive(Debug, Default)]
pub(super) struct Tail {
    queue: VecDeque<Arc<Pending>>,
    streams: BTreeMap<StreamId, TailStream>,
    bytes: usize,
    /// Of the last record that was ever journaled.
    position: u64,
}

/// Never without records.
#[derive(Debug)]
struct TailStream {
    head: StreamHead,
    records: usize,
    events: VecDeque<Arc<Pending>>,
}

impl Tail {
    /// Empty, behind a journal that ends at `position`.
    pub(super) fn behind(position: u64) -> Tail {
        Tail {
            position,
            ..Tail::default()
        }
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Of the last record that was ever journaled.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Nothing up to this position comes any more.
    pub(super) fn skip_to(&mut self, position: u64) {
        self.position = self.position.max(position);
    }

    /// Takes journaled records and the heads that they lead to.
    pub(super) fn push(
        &mut self,
        records: Vec<Arc<Pending>>,
        heads: &BTreeMap<StreamId, StreamHead>,
    ) {
        for record in records {
            self.bytes += record.bytes();
            self.position = record.position;
            let slot = self.slot(record.stream());
            slot.records += 1;
            if record.committed().is_some() {
                slot.events.push_back(Arc::clone(&record));
            }
            self.queue.push_back(record);
        }
        for (stream, head) in heads {
            if let Some(slot) = self.streams.get_mut(stream) {
                slot.head = *head;
            }
        }
    }

    fn slot(&mut self, stream: &StreamId) -> &mut TailStream {
        if !self.streams.contains_key(stream) {
            let fresh = TailStream {
                head: StreamHead::EMPTY,
                records: 0,
                events: VecDeque::new(),
            };
            self.streams.insert(stream.clone(), fresh);
        }
        self.streams.get_mut(stream).expect("was just inserted")
    }

    /// The oldest records, within these bounds.
    pub(super) fn oldest(&self, records_max: usize, bytes_max: usize) -> Vec<Arc<Pending>> {
        let mut bytes = 0;
        let fits = |record: &&Arc<Pending>| {
            let room = bytes < bytes_max;
            bytes += record.bytes();
            room
        };
        self.queue
            .iter()
            .take(records_max)
            .take_while(fits)
            .cloned()
            .collect()
    }

    /// Drops what the tables have.
    pub(super) fn drop_through(&mut self, position: u64) {
        while self
            .queue
            .front()
            .is_some_and(|record| record.position <= position)
            && let Some(record) = self.queue.pop_front()
        {
            self.bytes -= record.bytes();
            let stream = record.stream();
            let slot = self
                .streams
                .get_mut(stream)
                .expect("every queued record is counted in its stream");
            slot.records -= 1;
            if record.committed().is_some() {
                slot.events.pop_front();
            }
            if slot.records == 0 {
                self.streams.remove(stream);
            }
        }
    }

    /// `None`: the tables know.
    pub(super) fn head(&self, stream: &StreamId) -> Option<StreamHead> {
        self.streams.get(stream).map(|slot| slot.head)
    }

    pub(super) fn footprints(&self, stream: &StreamId, device: DeviceId) -> Vec<Footprint> {
        self.events(stream)
            .filter(|it| it.device == device)
            .copied()
            .collect()
    }

    /// Devices with an event that was accepted at a time or later.
    pub(super) fn devices_since(&self, stream: &StreamId, since: UnixMillis) -> Vec<DeviceId> {
        self.events(stream)
            .filter(|it| it.accepted_at >= since)
            .map(|it| it.device)
            .collect()
    }

    /// Devices with events here.
    pub(super) fn devices(&self, stream: &StreamId) -> Vec<DeviceId> {
        self.events(stream).map(|it| it.device).collect()
    }

    fn events(&self, stream: &StreamId) -> impl Iterator<Item = &Footprint> {
        let slot = self.streams.get(stream).into_iter();
        slot.flat_map(|slot| &slot.events)
            .filter_map(|record| record.footprint())
    }

    /// The last seq at or below a position; `None`: the tables know.
    pub(super) fn seq_at(&self, stream: &StreamId, position: u64) -> Option<Seq> {
        let events = &self.streams.get(stream)?.events;
        let had = events.partition_point(|record| record.position <= position);
        let last = events.get(had.checked_sub(1)?)?;
        last.committed().map(|event| event.seq())
    }

    /// Gathers from the cursor to the head, unless the tail does not reach back to the cursor.
    pub(super) fn read(&self, stream: &StreamId, piece: &mut Piece) -> bool {
        let Some(slot) = self.streams.get(stream) else {
            return false;
        };
        let next = piece.cursor().get() + 1;
        let first = slot.events.front().and_then(|first| first.committed());
        let Some(first) = first.map(|event| event.seq().get()) else {
            return false;
        };
        if first > next {
            return false;
        }
        let len = slot.events.len();
        let skip = usize::try_from(next - first).map_or(len, |skip| skip.min(len));
        let events = slot.events.range(skip..);
        piece.extend(events.filter_map(|record| match &record.what {
            What::Event { event, .. } => Some(event),
            What::Control(_) => None,
        }));
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
