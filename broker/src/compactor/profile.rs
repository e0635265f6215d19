//! What is kept of a stream, in runs: enough to plan with, without reading it again.

use std::collections::HashMap;

use syncline_protocol::{Epoch, Event, Seq, StreamId, UnixMillis};

use super::StatesError;
use super::policy::{Limits, Run};
use super::replay::damaged;
use crate::store::{Committed, StreamHead};

/// Runs remembered at most over all streams; about 3 MB. A stream that was forgotten is read again.
const RUNS_MAX: usize = 65_536;

/// The kept events of one stream, as far as they were read.
#[derive(Debug)]
pub(super) struct Profile {
    epoch: Epoch,
    through: Seq,
    runs: Vec<Run>,
}

impl Profile {
    /// Of a stream of which nothing above the horizon was read yet.
    fn above(head: &StreamHead) -> Profile {
        Profile {
            epoch: head.epoch,
            through: head.horizon,
            runs: Vec::new(),
        }
    }

    /// Up to where it was read.
    pub(super) fn through(&self) -> Seq {
        self.through
    }

    pub(super) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The next events, in order.
    pub(super) fn read(
        &mut self,
        stream: &StreamId,
        events: &[Committed],
        limits: &Limits,
    ) -> Result<(), StatesError> {
        for committed in events {
            let event = Event::decode(committed.payload());
            let event = event.map_err(|error| damaged(stream, self.through, &error.to_string()))?;
            self.push(&event, committed.payload().len() as u64, limits);
        }
        Ok(())
    }

    fn push(&mut self, event: &Event, bytes: u64, limits: &Limits) {
        self.through = event.seq;
        let accepted_at = event.accepted_at;
        match self.runs.last_mut() {
            Some(run) if limits.joins(run, bytes, accepted_at) => {
                run.last = event.seq;
                run.events += 1;
                run.bytes += bytes;
                run.newest = accepted_at;
            }
            _ => self.runs.push(Run {
                last: event.seq,
                events: 1,
                bytes,
                oldest: accepted_at,
                newest: accepted_at,
            }),
        }
    }

    fn weight(&self) -> usize {
        1 + self.runs.len()
    }

    /// The horizon is here now.
    fn drop_through(&mut self, horizon: Seq) {
        let gone = self.runs.partition_point(|run| run.last <= horizon);
        self.runs.drain(..gone);
        self.through = self.through.max(horizon);
    }
}

/// The profiles of the streams that are written to.
#[derive(Debug, Default)]
pub(super) struct Profiles {
    profiles: HashMap<StreamId, Profile>,
    runs: usize,
}

impl Profiles {
    pub(super) fn knows(&self, stream: &StreamId) -> bool {
        self.profiles.contains_key(stream)
    }

    /// Takes out what is known of a stream with this head.
    pub(super) fn take(&mut self, stream: &StreamId, head: &StreamHead) -> Profile {
        let known = self.profiles.remove(stream);
        self.runs -= known.as_ref().map_or(0, Profile::weight);
        let known = known.filter(|it| it.epoch == head.epoch && it.through <= head.seq);
        let mut profile = known.unwrap_or_else(|| Profile::above(head));
        profile.drop_through(head.horizon);
        profile
    }

    /// Puts it back. All others go when there is no room: those that are written to come back soon.
    pub(super) fn put(&mut self, stream: StreamId, profile: Profile) {
        if self.runs + profile.weight() > RUNS_MAX {
            self.profiles.clear();
            self.runs = 0;
        }
        self.runs += profile.weight();
        self.profiles.insert(stream, profile);
    }
}

/// When the first of these events was accepted.
pub(super) fn accepted_at(
    stream: &StreamId,
    events: &[Committed],
) -> Result<Option<UnixMillis>, StatesError> {
    let Some(first) = events.first() else {
        return Ok(None);
    };
    let event = Event::decode(first.payload());
    let event =
        event.map_err(|error| damaged(stream, first.seq().previous(), &error.to_string()))?;
    Ok(Some(event.accepted_at))
}
