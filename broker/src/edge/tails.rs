//! The most recent events of streams that somebody follows, within a budget; the oldest go first.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use syncline_protocol::{Seq, StreamId};

use crate::store::{Committed, ReadLimit};

/// What an event costs beside its payload.
const OVERHEAD_BYTES: usize = 128;

/// The tails. Each is without holes.
#[derive(Debug)]
pub(crate) struct Tails {
    streams: HashMap<Arc<StreamId>, VecDeque<Committed>>,
    /// All events in the order of their coming; also ones that are gone already.
    order: VecDeque<(Arc<StreamId>, Seq)>,
    bytes: usize,
    budget: ReadLimit,
}

impl Tails {
    /// `budget`: events and bytes at most, over all streams.
    pub(crate) fn new(budget: ReadLimit) -> Self {
        Self {
            streams: HashMap::new(),
            order: VecDeque::new(),
            bytes: 0,
            budget,
        }
    }

    /// Keeps an event.
    pub(crate) fn push(&mut self, stream: &Arc<StreamId>, event: Committed) {
        let last = self
            .streams
            .get(stream)
            .and_then(|tail| tail.back())
            .map(Committed::seq);
        if last.is_some_and(|last| last.next() != event.seq()) {
            self.forget(stream);
        }
        self.bytes += cost(&event);
        self.order.push_back((Arc::clone(stream), event.seq()));
        self.streams
            .entry(Arc::clone(stream))
            .or_default()
            .push_back(event);
        while self.bytes > self.budget.bytes || self.order.len() > self.budget.events {
            self.drop_oldest();
        }
    }

    /// The events after `after`, if the tail begins early enough.
    pub(crate) fn read(
        &self,
        stream: &StreamId,
        after: Seq,
        limit: ReadLimit,
    ) -> Option<Vec<Committed>> {
        let tail = self.streams.get(stream)?;
        let first = tail.front()?.seq().get();
        let skip = usize::try_from(after.next().get().checked_sub(first)?).ok()?;
        let mut bytes = 0;
        let within = |event: &&Committed| {
            bytes += event.payload().len();
            bytes <= limit.bytes
        };
        let events: Vec<_> = tail
            .iter()
            .skip(skip)
            .take(limit.events)
            .take_while(within)
            .cloned()
            .collect();
        (!events.is_empty()).then_some(events)
    }

    /// Drops the tail of a stream.
    pub(crate) fn forget(&mut self, stream: &StreamId) {
        let tail = self.streams.remove(stream).unwrap_or_default();
        self.bytes -= tail.iter().map(cost).sum::<usize>();
    }

    fn drop_oldest(&mut self) {
        let Some((stream, seq)) = self.order.pop_front() else {
            return;
        };
        let Some(tail) = self.streams.get_mut(&stream) else {
            return;
        };
        if tail.front().is_some_and(|event| event.seq() == seq) {
            self.bytes -= tail.pop_front().as_ref().map_or(0, cost);
        }
        if tail.is_empty() {
            self.streams.remove(&stream);
        }
    }
}

fn cost(event: &Committed) -> usize {
    event.payload().len() + OVERHEAD_BYTES
}
