//! What one connection of a client must see, and nothing else: per stream every seq once and in order, bridged by
//! states alone (G3, VIEW-9, EPOCH-3).

use std::collections::{BTreeMap, BTreeSet};

use syncline_protocol::{Epoch, Event, Seq, Snapshot, StreamId};

/// Where the events of a stream go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    epoch: Epoch,
    seq: Seq,
}

/// The eyes on one connection.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    places: BTreeMap<StreamId, Place>,
    /// A stream whose first event may be any: it was subscribed without a view.
    pub(crate) anywhere: bool,
    /// Streams that are followed from their beginning.
    pub(crate) from_zero: bool,
    /// States come for their own sake and say nothing of where events go on.
    pub(crate) only_states: bool,
    /// Streams whose kept events are replayed: those of older epochs come as they are (EPOCH-3).
    replayed: BTreeSet<StreamId>,
    /// Streams of a resumed session: what was not acknowledged may come again first (SESSION-2).
    resumed: BTreeSet<StreamId>,
    /// The parts of a state so far: of which seq, how many.
    parts: BTreeMap<StreamId, (Seq, u32)>,
}

/// What a state message amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Came {
    /// More parts follow.
    Part,
    /// It is whole: an opening, or an answer of its own.
    Whole,
    /// It is whole and stands for events that are not coming.
    Bridge,
}

impl Watch {
    /// The events of a stream follow after this place.
    pub(crate) fn expect_after(&mut self, stream: &StreamId, seq: Seq) {
        let epoch = Epoch::NONE;
        self.replayed.insert(stream.clone());
        self.places.insert(stream.clone(), Place { epoch, seq });
    }

    /// A session goes on, and this is what its client has.
    pub(crate) fn resume<'a>(&mut self, has: impl Iterator<Item = (&'a StreamId, Seq)>) {
        self.from_zero = true;
        for (stream, seq) in has {
            self.resumed.insert(stream.clone());
            self.expect_after(stream, seq);
        }
    }

    /// A `state` message.
    pub(crate) fn state(&mut self, snapshot: &Snapshot) -> Result<Came, String> {
        if !self.part_fits(snapshot)? {
            return Ok(Came::Part);
        }
        let opens = snapshot.mark.is_some();
        let place = Place {
            epoch: snapshot.epoch,
            seq: snapshot.seq,
        };
        if self.only_states {
            return Ok(Came::Whole);
        }
        self.resumed.remove(&snapshot.stream);
        let before = self.places.insert(snapshot.stream.clone(), place);
        match before {
            Some(before) if !opens => self.bridged(snapshot, before),
            _ => Ok(Came::Whole),
        }
    }

    fn bridged(&self, snapshot: &Snapshot, before: Place) -> Result<Came, String> {
        let same_epoch = before.epoch == snapshot.epoch || before.epoch == Epoch::NONE;
        if same_epoch && snapshot.seq < before.seq {
            return Err(format!(
                "G3: {}: a state at {} after everything up to {}",
                snapshot.stream, snapshot.seq, before.seq
            ));
        }
        if snapshot.since > Seq::ZERO {
            return Err(format!("VIEW-9: {}: a bridge is a delta", snapshot.stream));
        }
        Ok(Came::Bridge)
    }

    fn part_fits(&mut self, snapshot: &Snapshot) -> Result<bool, String> {
        let (seq, parts) = self.parts.remove(&snapshot.stream).unwrap_or_default();
        let follows = parts + 1 == snapshot.part && (parts == 0 || seq == snapshot.seq);
        if !follows && snapshot.part != 1 {
            return Err(format!(
                "SNAP-8: {}: part {} of seq {} after part {parts} of seq {seq}",
                snapshot.stream, snapshot.part, snapshot.seq
            ));
        }
        if snapshot.part < snapshot.parts {
            self.parts
                .insert(snapshot.stream.clone(), (snapshot.seq, snapshot.part));
            return Ok(false);
        }
        Ok(true)
    }

    /// An event.
    pub(crate) fn event(&mut self, event: &Event) -> Result<(), String> {
        let stream = &event.stream;
        let place = Place {
            epoch: event.epoch,
            seq: event.seq,
        };
        let before = match self.places.insert(stream.clone(), place) {
            Some(before) => before,
            None if self.anywhere => return Ok(()),
            None if self.from_zero => Place {
                epoch: Epoch::NONE,
                seq: Seq::ZERO,
            },
            None => {
                return Err(format!(
                    "G3: {stream}: event {} before any state",
                    event.seq
                ));
            }
        };
        let again = self.resumed.remove(stream) && event.seq <= before.seq;
        if event.seq != before.seq.next() && !again {
            return Err(format!(
                "G3: {stream}: event {} after everything up to {}",
                event.seq, before.seq
            ));
        }
        let replays = self.from_zero || self.replayed.contains(stream);
        if !replays && before.epoch != Epoch::NONE && before.epoch != event.epoch {
            return Err(format!(
                "EPOCH-3: {stream}: event {} of {} after {} without a state between",
                event.seq, event.epoch, before.epoch
            ));
        }
        Ok(())
    }

    /// Up to where a stream was seen.
    pub(crate) fn seen(&self, stream: &StreamId) -> Option<Seq> {
        self.places.get(stream).map(|place| place.seq)
    }

    /// The same, if this very connection has shown anything of it: what a resumed session had before is no news of its.
    pub(crate) fn shown(&self, stream: &StreamId) -> Option<Seq> {
        let silent = self.resumed.contains(stream);
        self.seen(stream).filter(|_| !silent)
    }
}
