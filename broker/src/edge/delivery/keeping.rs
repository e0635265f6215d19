//! What of a delivery outlives its connection: how far each subscription is, and how it goes on from there.
//!
//! Everything that the bus brought is delivered and acknowledged, but for what a [`Standing`] names. So one position of the
//! hub and the few streams that lag say it all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use syncline_protocol::planted::{Planted, planted};
use syncline_protocol::{Epoch, Filter, Seq, StreamId, Topic};

use super::Delivery;
use super::cursors::{Cursor, Place, named};
use super::needs::{Purpose, Waiting};
use super::parts::state_topic;
use super::scans::Scan;
use super::subscriptions::{Outgoing, Sub, SubId};
use crate::edge::session::{Tag, Wanted};
use crate::store::sessions::{Lag, Reaches};

/// What lags behind the position of the hub.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Subscriptions that still go through all streams, and how far they are.
    pub(crate) scans: BTreeMap<Filter, Reaches>,
    /// Streams where a subscription lags, and whether a state is due.
    pub(crate) cursors: BTreeMap<(Filter, StreamId), (Lag, bool)>,
}

/// Where the events of a stream go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GoOn {
    /// After a seq, of a history if that is known; up to `sent` they were sent before.
    After {
        seq: Seq,
        epoch: Option<Epoch>,
        sent: Seq,
    },
    /// After a state that comes first.
    State,
}

/// A stream in which a subscription goes on.
#[derive(Debug, Clone)]
pub(crate) struct Footing {
    pub(crate) stream: Arc<StreamId>,
    pub(crate) head: Seq,
    pub(crate) epoch: Epoch,
    pub(crate) bus: Seq,
    /// `None`: not with events.
    pub(crate) events: Option<GoOn>,
    /// A state is due.
    pub(crate) state: bool,
}

/// A subscription that goes on.
#[derive(Debug)]
pub(crate) struct Resumed {
    pub(crate) wanted: Wanted,
    /// Streams with a place of their own.
    pub(crate) footings: Vec<Footing>,
    /// What is gone through for all others.
    pub(crate) reaches: Reaches,
    /// Retained topics that the filter matches.
    pub(crate) topics: Vec<Arc<str>>,
}

/// What was sent with QoS 1 and is not acknowledged.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    sent: BTreeMap<u64, Sent>,
    last: u64,
}

#[derive(Debug)]
struct Sent {
    tag: Tag,
    kind: Kind,
    subs: Vec<SubId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Event,
    /// A state that came because it changed.
    State,
    /// A state without which the events cannot go on.
    Lead,
}

impl Ledger {
    /// Takes down a message that goes out.
    pub(super) fn note(&mut self, message: &mut Outgoing) {
        let (at_least_once, kind) = (message.at_least_once, kind(message));
        let subs = message.sub_ids();
        let Some(tag) = message.tag.as_mut().filter(|_| at_least_once) else {
            return;
        };
        self.last += 1;
        tag.number = self.last;
        let tag = tag.clone();
        self.sent.insert(self.last, Sent { tag, kind, subs });
    }
}

impl Standing {
    /// Takes the subscription's lag in a stream, unless it lags more already.
    fn lag(&mut self, sub: &Sub, stream: &StreamId, lag: Lag) {
        let entry = self.entry(sub, stream);
        entry.0 = further_back(entry.0, lag);
    }

    fn state_due(&mut self, sub: &Sub, stream: &StreamId) {
        self.entry(sub, stream).1 = true;
    }

    fn entry(&mut self, sub: &Sub, stream: &StreamId) -> &mut (Lag, bool) {
        let key = (sub.filter.clone(), stream.clone());
        self.cursors.entry(key).or_insert((Lag::None, false))
    }

    /// Takes a message that did not arrive for sure; `sent`: it was sent.
    fn lacks(&mut self, sub: &Sub, tag: &Tag, kind: Kind, sent: bool) {
        match kind {
            Kind::State => self.state_due(sub, &tag.stream),
            Kind::Lead => self.lag(sub, &tag.stream, Lag::State),
            Kind::Event => {
                let seq = tag.seq.previous();
                let (epoch, sent) = (Epoch::NONE, if sent { tag.seq } else { Seq::ZERO });
                self.lag(sub, &tag.stream, Lag::After { epoch, seq, sent });
            }
        }
    }
}

impl Delivery {
    /// From now on it is known what is not acknowledged.
    pub(crate) fn keep(&mut self) {
        self.ledger.get_or_insert_default();
    }

    /// The client has acknowledged a message, or will never get it.
    pub(crate) fn acked(&mut self, tag: &Tag) {
        if let Some(ledger) = &mut self.ledger {
            ledger.sent.remove(&tag.number);
        }
    }

    /// What lags behind `position`, up to which the hub has told everything.
    pub(crate) fn standing(&self, position: u64) -> Standing {
        let mut standing = Standing::default();
        for scan in self.scans.iter() {
            let reaches = scan.reaches_at(position);
            standing.scans.insert(scan.sub.filter.clone(), reaches);
        }
        for (stream, cursor, lag) in self.cursors.lags() {
            let lag = match cursor.place {
                Place::Opening => self.opening_lag(stream, &cursor.sub),
                _ => lag,
            };
            standing.lag(&cursor.sub, stream, lag);
        }
        self.unsent(&mut standing);
        if !planted(Planted::CursorAheadOfAcks) {
            self.unacknowledged(&mut standing);
        }
        self.states_due(&mut standing);
        standing
    }

    /// A subscription of a session goes on where that left it.
    pub(crate) fn go_on(&mut self, now: Instant, resumed: &Resumed) {
        let sub = self.subs.add(&resumed.wanted);
        self.topics.extend(resumed.topics.iter().cloned());
        for footing in &resumed.footings {
            self.go_on_in(now, &sub, footing);
        }
        let Reaches { events, states } = &resumed.reaches;
        if events.is_some() || states.is_some() {
            let apart = resumed.footings.iter().filter(|it| it.events.is_some());
            let apart = apart.map(|it| Arc::clone(&it.stream)).collect();
            let reaches = resumed.reaches.clone();
            self.scans.push(Scan::again(sub, reaches, apart));
        }
    }

    pub(super) fn go_on_in(&mut self, now: Instant, sub: &Arc<Sub>, it: &Footing) {
        if !self.sight.shows(&it.stream) && sub.filter.has_wildcard() {
            return;
        }
        if it.state && sub.filter.matches_text(&state_topic(&it.stream)) {
            self.states.changed(&it.stream, now);
        }
        let Some(events) = it.events else {
            return;
        };
        if !sub
            .filter
            .matches(&Topic::Events(StreamId::clone(&it.stream)))
        {
            return;
        }
        let (place, epoch, sent) = match events {
            GoOn::State => (Place::Bridging(Seq::ZERO), None, Seq::ZERO),
            GoOn::After { seq, epoch, sent } if epoch.is_some() && epoch != named(it.epoch) => {
                (Place::Bridging(seq.min(it.head)), epoch, sent)
            }
            GoOn::After { seq, epoch, sent } => (Place::At(seq.min(it.head)), epoch, sent),
        };
        let cursor = Cursor {
            sub: Arc::clone(sub),
            place,
            epoch,
            replay_to: it.head,
            turn: None,
            sent,
        };
        self.begin_cursor(&it.stream, it.bus, cursor);
    }

    /// Where a subscription would have begun whose opening state is awaited.
    fn opening_lag(&self, stream: &StreamId, sub: &Sub) -> Lag {
        let opening = self
            .snapshots_to_come()
            .find_map(|(of, purpose)| match purpose {
                Purpose::Opening(it, seq, epoch) if **of == *stream && it.id == sub.id => {
                    Some((*seq, *epoch))
                }
                _ => None,
            });
        let (seq, epoch) = opening.unwrap_or((Seq::ZERO, Epoch::NONE));
        Lag::After {
            epoch,
            seq,
            sent: seq,
        }
    }

    /// Asked for or being read.
    fn snapshots_to_come(&self) -> impl Iterator<Item = (&Arc<StreamId>, &Purpose)> {
        let waiting = match &self.waiting {
            Some(Waiting::Snapshot { stream, purpose }) => Some((stream, purpose)),
            _ => None,
        };
        let asked = self.snapshots.iter();
        asked
            .map(|(stream, purpose)| (stream, purpose))
            .chain(waiting)
    }

    fn unsent(&self, standing: &mut Standing) {
        for message in self.hidden.iter().chain(&self.outgoing) {
            for sub in message.subs() {
                if let Some(tag) = &message.tag {
                    standing.lacks(sub, tag, kind(message), false);
                }
            }
        }
    }

    fn unacknowledged(&self, standing: &mut Standing) {
        for sent in self.ledger.iter().flat_map(|ledger| ledger.sent.values()) {
            for sub in sent.subs.iter().filter_map(|id| self.subs.get(*id)) {
                standing.lacks(sub, &sent.tag, sent.kind, true);
            }
        }
    }

    fn states_due(&self, standing: &mut Standing) {
        for (stream, purpose) in self.snapshots_to_come() {
            if let Purpose::Retained(_) | Purpose::Live(_) = purpose {
                let subs = purpose.subs().iter().filter(|sub| self.subs.holds(sub));
                subs.for_each(|sub| standing.state_due(sub, stream));
            }
        }
        for stream in self.states.pending() {
            for sub in self.state_followers(stream) {
                standing.state_due(&sub, stream);
            }
        }
        // Nobody knows what happens to it until it is shown again.
        for (sub, stream) in self.subs.of_states() {
            if !self.sight.shows(&stream) {
                standing.state_due(sub, &stream);
            }
        }
    }
}

fn kind(message: &Outgoing) -> Kind {
    match (message.leads, message.is_state) {
        (true, _) => Kind::Lead,
        (false, true) => Kind::State,
        (false, false) => Kind::Event,
    }
}

/// The one of two lags that lacks more; what was sent before either was sent.
fn further_back(a: Lag, b: Lag) -> Lag {
    match (a, b) {
        (Lag::None, other) | (other, Lag::None) => other,
        (Lag::State, _) | (_, Lag::State) => Lag::State,
        (
            Lag::After { epoch, seq, sent },
            Lag::After {
                epoch: epoch_b,
                seq: seq_b,
                sent: sent_b,
            },
        ) => Lag::After {
            epoch: if seq_b < seq { epoch_b } else { epoch },
            seq: seq.min(seq_b),
            sent: sent.max(sent_b),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seq: u64, sent: u64) -> Lag {
        let [seq, sent] = [seq, sent].map(|it| Seq::new(it).unwrap());
        let epoch = Epoch::NONE;
        Lag::After { epoch, seq, sent }
    }

    #[test]
    fn of_two_lags_the_one_that_lacks_more_counts() {
        assert_eq!(further_back(after(3, 7), after(5, 9)), after(3, 9));
        assert_eq!(further_back(Lag::None, after(5, 9)), after(5, 9));
        assert_eq!(further_back(after(5, 9), Lag::State), Lag::State);
        assert_eq!(further_back(Lag::None, Lag::None), Lag::None);
    }
}
