//! The streams at hand, loaded from the store when somebody speaks in them.

use std::collections::HashMap;
use std::sync::Arc;

use syncline_protocol::planted::{Planted, planted};
use syncline_protocol::{DeviceId, StreamId, SyncId};

use super::decide::Stream;
use super::holding::StreamOptions;
use crate::store::{Committed, EventStore, StoreError};

/// Marks kept at hand over all streams. That of a busy device takes 40 bytes for each event of the window.
const MARKS_AT_HAND_MAX: usize = 16_384;

/// A bounded cache of the store's heads and marks.
pub(crate) struct Streams {
    store: Arc<dyn EventStore>,
    at_hand: HashMap<StreamId, AtHand>,
    at_hand_max: usize,
    /// Of all streams at hand.
    marks: usize,
    tick: u64,
}

struct AtHand {
    stream: Stream,
    used: u64,
}

impl Streams {
    pub(crate) fn new(store: Arc<dyn EventStore>, at_hand_max: usize) -> Streams {
        Streams {
            store,
            at_hand: HashMap::new(),
            at_hand_max: at_hand_max.max(1),
            marks: 0,
            tick: 0,
        }
    }

    /// The stream.
    pub(crate) fn load(&mut self, id: &StreamId) -> Result<&mut Stream, StoreError> {
        self.tick += 1;
        if !self.at_hand.contains_key(id) {
            let stream = Stream::new(id.clone(), self.store.head(id)?);
            let used = self.tick;
            self.at_hand.insert(id.clone(), AtHand { stream, used });
        }
        let at_hand = self.at_hand.get_mut(id).expect("was just inserted");
        at_hand.used = self.tick;
        Ok(&mut at_hand.stream)
    }

    /// The stream, ready to decide for this device.
    pub(crate) fn load_for(
        &mut self,
        id: &StreamId,
        device: DeviceId,
    ) -> Result<&mut Stream, StoreError> {
        if !self.load(id)?.knows(device) {
            let mark = self.store.mark(id, device)?;
            let mark = mark.filter(|_| !planted(Planted::DroppedMark));
            self.marks += 1;
            self.load(id)?.learn(device, mark);
        }
        self.load(id)
    }

    /// Everything that was decided of a stream is kept: these events.
    pub(crate) fn settled(&mut self, id: &StreamId, events: &[Committed], options: &StreamOptions) {
        if let Some(at_hand) = self.at_hand.get_mut(id) {
            at_hand.stream.settled(events, options);
        }
    }

    /// What states take is to be asked again: another schema makes others.
    pub(crate) fn forget_states(&mut self) {
        let streams = self.at_hand.values_mut();
        streams.for_each(|at_hand| at_hand.stream.holding().forget_state());
    }

    /// Drops what was assumed of a stream: it is loaded again.
    pub(crate) fn forget(&mut self, id: &StreamId) {
        if let Some(at_hand) = self.at_hand.remove(id) {
            self.marks -= at_hand.stream.devices_known();
        }
    }

    /// Drops what was assumed of all streams of a group.
    pub(crate) fn forget_group(&mut self, sync_id: &SyncId) {
        let of_group = |id: &&StreamId| id.sync_id == *sync_id;
        let streams: Vec<_> = self.at_hand.keys().filter(of_group).cloned().collect();
        streams.iter().for_each(|id| self.forget(id));
    }

    /// Back within the bounds. Only while nothing that was decided waits to be kept.
    pub(crate) fn trim(&mut self) {
        if self.marks > MARKS_AT_HAND_MAX {
            let streams = self.at_hand.values_mut();
            streams.for_each(|at_hand| at_hand.stream.forget_devices());
            self.marks = 0;
        }
        if self.at_hand.len() > self.at_hand_max {
            self.keep_latest(self.at_hand_max - self.at_hand_max / 8);
        }
    }

    /// Evicts an eighth at a time, so that the scan is paid once per many streams.
    fn keep_latest(&mut self, count: usize) {
        let mut used: Vec<u64> = self.at_hand.values().map(|at_hand| at_hand.used).collect();
        let surplus = used.len() - count;
        let (_, oldest_kept, _) = used.select_nth_unstable(surplus);
        let oldest_kept = *oldest_kept;
        self.at_hand
            .retain(|_, at_hand| at_hand.used >= oldest_kept);
        let streams = self.at_hand.values();
        self.marks = streams.map(|at_hand| at_hand.stream.devices_known()).sum();
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.at_hand.len()
    }

    #[cfg(test)]
    pub(crate) fn marks(&self) -> usize {
        let known = self.at_hand.values();
        known.map(|at_hand| at_hand.stream.devices_known()).sum()
    }
}
