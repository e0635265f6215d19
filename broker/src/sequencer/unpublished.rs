//! What goes to the sink, in the order of its positions: those who listen take an event as the sign that nothing before it
//! is still to come. Events whose commit failed may be on disk all the same; what is later waits until that is known.

use std::collections::BTreeMap;

use syncline_protocol::{Seq, StreamId, SyncId};

use crate::store::{Committed, EventStore, ReadLimit, StoreError};

/// Streams remembered at most. One beyond is noticed by its readers with its next event.
const STREAMS_MAX: usize = 100_000;

/// Events of one stream read at once.
const PIECE: ReadLimit = ReadLimit {
    events: 256,
    bytes: 256 << 10,
};

/// Up to where streams were published of which there may be more.
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
            let known = self.published.entry(stream).or_insert(published);
            *known = published.min(*known);
        }
    }

    /// A group is erased: its streams begin anew, if they do.
    pub(crate) fn forget_group(&mut self, sync_id: &SyncId) {
        self.published
            .retain(|stream, _| stream.sync_id != *sync_id);
    }

    /// Hands what was committed to the sink, behind what turned out to be kept before it.
    pub(crate) fn publish(
        &mut self,
        committed: Vec<Committed>,
        store: &dyn EventStore,
        sink: &dyn Fn(Vec<Committed>),
    ) {
        if self.is_empty() {
            return hand_over(committed, sink);
        }
        for event in committed {
            self.suspect(event.stream().clone(), event.seq().previous());
        }
        self.catch_up(store, sink);
    }

    /// Hands what turned out to be kept to the sink; what cannot be read now is tried again later.
    fn catch_up(&mut self, store: &dyn EventStore, sink: &dyn Fn(Vec<Committed>)) {
        while !self.is_empty() {
            let (events, last) = match self.oldest(store) {
                Ok(oldest) => oldest,
                Err(error) => {
                    // What could not be read may be the oldest.
                    let streams = self.published.len();
                    return tracing::warn!(%error, streams, "nothing is published until this is read");
                }
            };
            for event in &events {
                self.published.insert(event.stream().clone(), event.seq());
            }
            hand_over(events, sink);
            if last {
                self.published.clear();
            }
        }
    }

    /// The oldest events that are not published yet, and whether they are all.
    fn oldest(&mut self, store: &dyn EventStore) -> Result<(Vec<Committed>, bool), StoreError> {
        // Whatever a failed commit left in doubt is settled first, or there is nothing to read yet.
        store.position()?;
        let (mut events, mut whole_to) = (Vec::new(), u64::MAX);
        for (stream, published) in &mut self.published {
            let piece = read_after(store, stream, published)?;
            if let Some(end) = piece.last()
                && end.seq() < store.head(stream)?.seq
            {
                whole_to = whole_to.min(end.position());
            }
            events.extend(piece);
        }
        events.retain(|event| event.position() <= whole_to);
        events.sort_unstable_by_key(Committed::position);
        Ok((events, whole_to == u64::MAX))
    }
}

/// What is folded away meanwhile is in the state that its readers get.
fn read_after(
    store: &dyn EventStore,
    stream: &StreamId,
    published: &mut Seq,
) -> Result<Vec<Committed>, StoreError> {
    match store.read(stream, *published, PIECE) {
        Err(StoreError::Folded { kept_after }) => {
            *published = kept_after;
            store.read(stream, kept_after, PIECE)
        }
        read => read,
    }
}

fn hand_over(events: Vec<Committed>, sink: &dyn Fn(Vec<Committed>)) {
    if !events.is_empty() {
        sink(events);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::store::contract::{append, batch, stream};
    use crate::store::faults::{Faults, FaultyStore};
    use crate::store::memory::MemoryStore;

    /// Positions as the sink got them.
    #[derive(Default)]
    struct Heard(RefCell<Vec<u64>>);

    impl Heard {
        fn sink(&self) -> impl Fn(Vec<Committed>) {
            |events| {
                let positions = events.iter().map(Committed::position);
                self.0.borrow_mut().extend(positions);
            }
        }
    }

    /// "b" has events at both ends, "a" between them.
    fn store(faults: &Faults) -> FaultyStore<MemoryStore> {
        let store = MemoryStore::new(8);
        append(&store, batch(&stream("b"), 1, 600));
        append(&store, batch(&stream("a"), 1, 400));
        append(&store, batch(&stream("b"), 601, 900));
        FaultyStore::new(store, faults.clone())
    }

    fn doubtful() -> Unpublished {
        let mut unpublished = Unpublished::default();
        unpublished.suspect(stream("a"), Seq::ZERO);
        unpublished.suspect(stream("b"), Seq::ZERO);
        unpublished
    }

    #[test]
    fn g3_what_turns_out_to_be_kept_is_published_in_the_order_of_all_streams() {
        let (heard, faults) = (Heard::default(), Faults::default());
        let mut unpublished = doubtful();
        unpublished.catch_up(&store(&faults), &heard.sink());
        let all: Vec<u64> = (1..=1_300).collect();
        assert_eq!(*heard.0.borrow(), all);
        assert!(unpublished.is_empty());
    }

    #[test]
    fn g3_what_is_later_waits_for_what_cannot_be_read() {
        let (heard, faults) = (Heard::default(), Faults::default());
        let (store, mut unpublished) = (store(&faults), doubtful());
        let later = append(&store, batch(&stream("c"), 1, 2)).committed;
        faults.fail_reads(1);
        unpublished.publish(later, &store, &heard.sink());
        assert!(heard.0.borrow().is_empty());
        unpublished.catch_up(&store, &heard.sink());
        let all: Vec<u64> = (1..=1_302).collect();
        assert_eq!(*heard.0.borrow(), all);
    }

    #[test]
    fn what_no_doubt_stands_before_goes_on_at_once() {
        let (heard, faults) = (Heard::default(), Faults::default());
        let store = store(&faults);
        let kept = append(&store, batch(&stream("c"), 1, 2)).committed;
        Unpublished::default().publish(kept, &store, &heard.sink());
        assert_eq!(*heard.0.borrow(), [1_301, 1_302]);
    }
}
