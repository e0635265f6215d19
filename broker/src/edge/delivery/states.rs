//! Live `state`: coalesced per stream, the last one always sent (SNAP-5).

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use syncline_protocol::{Epoch, Seq, StreamId};

use super::parts::Rendered;
use super::subscriptions::{Sub, SubId};

/// The shortest interval between two states of one stream.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// What is known of the states that were sent.
#[derive(Debug)]
pub(super) struct States {
    streams: HashMap<Arc<StreamId>, Sent>,
    /// When which stream is looked at again, to send or to forget it.
    agenda: BTreeSet<(Instant, Arc<StreamId>)>,
    bytes_per_s: u64,
}

#[derive(Debug)]
struct Sent {
    /// Before this moment no other one is sent.
    next: Instant,
    /// Something has changed since.
    changed: bool,
    /// What each subscription has.
    has: Vec<(SubId, Epoch, Seq)>,
}

impl States {
    pub(super) fn new(bytes_per_s: u64) -> Self {
        Self {
            streams: HashMap::new(),
            agenda: BTreeSet::new(),
            bytes_per_s: bytes_per_s.max(1),
        }
    }

    /// A stream has changed.
    pub(super) fn changed(&mut self, stream: &Arc<StreamId>, now: Instant) {
        let fresh = || Sent {
            next: now,
            changed: false,
            has: Vec::new(),
        };
        let sent = self.streams.entry(Arc::clone(stream)).or_insert_with(fresh);
        sent.changed = true;
        self.agenda.insert((sent.next, Arc::clone(stream)));
    }

    /// When to ask [`States::due`] again.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.agenda.first().map(|(at, _)| *at)
    }

    /// A stream whose state is to be sent now.
    pub(super) fn due(&mut self, now: Instant) -> Option<Arc<StreamId>> {
        while self.agenda.first().is_some_and(|(at, _)| *at <= now) {
            let (_, stream) = self.agenda.pop_first()?;
            let Some(sent) = self.streams.get_mut(&stream) else {
                continue;
            };
            if std::mem::take(&mut sent.changed) {
                return Some(stream);
            }
            self.streams.remove(&stream);
        }
        None
    }

    /// Of `subs`, those that lack a state; it counts as sent to them.
    pub(super) fn send(
        &mut self,
        stream: &Arc<StreamId>,
        subs: Vec<Arc<Sub>>,
        state: &Rendered,
        now: Instant,
    ) -> Vec<Arc<Sub>> {
        let next = now + self.interval(state.bytes());
        let (epoch, seq) = (state.epoch, state.seq);
        let fresh = || Sent {
            next,
            changed: false,
            has: Vec::new(),
        };
        let sent = self.streams.entry(Arc::clone(stream)).or_insert_with(fresh);
        self.agenda.remove(&(sent.next, Arc::clone(stream)));
        sent.next = next;
        self.agenda.insert((next, Arc::clone(stream)));
        let lacking: Vec<_> = subs
            .into_iter()
            .filter(|sub| sent.lacks(sub.id, epoch, seq))
            .collect();
        sent.has
            .retain(|(id, ..)| !lacking.iter().any(|sub| sub.id == *id));
        sent.has
            .extend(lacking.iter().map(|sub| (sub.id, epoch, seq)));
        lacking
    }

    /// Forgets a subscription.
    pub(super) fn remove(&mut self, sub: SubId) {
        self.streams
            .values_mut()
            .for_each(|sent| sent.has.retain(|(id, ..)| *id != sub));
    }

    fn interval(&self, bytes: usize) -> Duration {
        let ms = (bytes as u64).saturating_mul(1_000) / self.bytes_per_s;
        Duration::from_millis(ms).max(INTERVAL_MIN)
    }
}

impl Sent {
    fn lacks(&self, sub: SubId, epoch: Epoch, seq: Seq) -> bool {
        let has = |it: &(SubId, Epoch, Seq)| it.0 == sub && it.1 == epoch && it.2 >= seq;
        !self.has.iter().any(has)
    }
}
