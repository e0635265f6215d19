//! What one connection gets next: its subscriptions, a cursor per stream, the states and the unstored messages.
//! Pure: asks for what it needs and is given it.
//!
//! Calling contract:
//! - What the mailbox held goes to [`Delivery::advance`], [`Delivery::changed_topic`] and [`Delivery::report`] before any
//!   subscription is begun or scanned with heads that were taken after it.
//! - [`Delivery::next_message`] until it has none; then [`Delivery::need`]. A need is answered with the method that it
//!   names before another is told; [`Delivery::failed`] if it cannot be.
//! - A slow client costs a cursor per stream: nothing is asked for while messages wait.

mod cursors;
mod needs;
mod states;
mod subscriptions;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use syncline_protocol::planted::{Planted, planted};
use syncline_protocol::{Filter, Seq, Start, StreamId, Topic};

use super::ephemeral::Ephemeral;
use super::hub::Advances;
use super::mailbox::{Advance, REPORTS_MAX};
use super::session::{Retained, Tag, Verdict, Wanted};
use crate::store::Committed;
use cursors::{Cursor, Cursors, Place};
use needs::{Purpose, Scan, Waiting};
use states::States;
use subscriptions::{Sub, Subscriptions, copies};

pub(crate) use cursors::Hole;
pub(crate) use needs::{Ground, Need, Rendered, SCAN_PAGE, Scanned, Want};
pub(crate) use subscriptions::Outgoing;

/// How long a live state may wait behind events.
const STATE_WAIT_MAX: Duration = Duration::from_millis(100);

/// The delivery of one connection.
#[derive(Debug)]
pub(crate) struct Delivery {
    subs: Subscriptions,
    subscriptions_max: usize,
    cursors: Cursors,
    states: States,
    snapshots: VecDeque<(Arc<StreamId>, Purpose)>,
    scans: VecDeque<Scan>,
    /// Topics that changed.
    topics: BTreeSet<Arc<str>>,
    /// Retained topics that a SUBSCRIBE asked for.
    greetings: VecDeque<(Arc<str>, Arc<Sub>)>,
    reports: VecDeque<Arc<Ephemeral>>,
    outgoing: VecDeque<Outgoing>,
    waiting: Option<Waiting>,
}

impl Delivery {
    /// Nothing is subscribed. `state_bytes_per_s` paces SNAP-5.
    pub(crate) fn new(subscriptions_max: usize, state_bytes_per_s: u64) -> Self {
        Self {
            subs: Subscriptions::default(),
            subscriptions_max,
            cursors: Cursors::default(),
            states: States::new(state_bytes_per_s),
            snapshots: VecDeque::new(),
            scans: VecDeque::new(),
            topics: BTreeSet::new(),
            greetings: VecDeque::new(),
            reports: VecDeque::new(),
            outgoing: VecDeque::new(),
            waiting: None,
        }
    }

    /// The base filters.
    pub(crate) fn filters(&self) -> impl Iterator<Item = &Filter> {
        self.subs.filters()
    }

    /// Whether a subscription with this base filter may be begun.
    pub(crate) fn takes(&self, filter: &Filter) -> bool {
        self.subs.contains(filter) || self.subs.len() < self.subscriptions_max
    }

    /// Begins a subscription, in place of the one with the same base filter (VIEW-5).
    pub(crate) fn subscribe(&mut self, wanted: &Wanted, ground: &Ground) -> Verdict {
        let new = !self.unsubscribe(&wanted.subscription.filter);
        let sub = self.subs.add(wanted);
        let retained = match wanted.retained {
            Retained::Always => true,
            Retained::IfNew => new,
            Retained::Never => false,
        };
        if retained {
            let greeting = |topic| (topic, Arc::clone(&sub));
            self.greetings
                .extend(ground.topics.iter().cloned().map(greeting));
        }
        match sub.filter.exact() {
            Some(Topic::Events(stream)) => {
                self.begin(&Arc::new(stream), &sub, wanted.subscription.start, ground);
            }
            Some(Topic::State(stream)) if retained => {
                self.snapshots
                    .push_back((Arc::new(stream), Purpose::Retained(sub)));
            }
            Some(_) => {}
            None => self.begin_wild(&sub, wanted.subscription.start, retained),
        }
        Verdict::Granted {
            at_least_once: wanted.at_least_once,
        }
    }

    /// Ends the subscription with this base filter; whether there was one.
    pub(crate) fn unsubscribe(&mut self, filter: &Filter) -> bool {
        let Some(sub) = self.subs.remove(filter) else {
            return false;
        };
        let others = |it: &Arc<Sub>| it.id != sub.id;
        self.cursors.remove(sub.id);
        self.states.remove(sub.id);
        self.snapshots
            .retain(|(_, purpose)| purpose.sub().is_none_or(others));
        self.scans.retain(|scan| others(&scan.sub));
        self.greetings.retain(|(_, of)| others(of));
        self.outgoing.retain_mut(|message| message.survives(sub.id));
        true
    }

    /// The bus has brought streams further.
    pub(crate) fn advance(&mut self, now: Instant, advances: &Advances) {
        advances
            .iter()
            .for_each(|(stream, step)| self.step(now, stream, *step));
    }

    /// A retained message has changed.
    pub(crate) fn changed_topic(&mut self, topic: Arc<str>) {
        self.topics.insert(topic);
    }

    /// A message that is sent once. If too many wait, the oldest goes.
    pub(crate) fn report(&mut self, message: Arc<Ephemeral>) {
        if self.reports.len() == REPORTS_MAX {
            self.reports.pop_front();
        }
        self.reports.push_back(message);
    }

    /// The copies of a message that is sent once, for a caller who cannot wait.
    pub(crate) fn copies_of(&self, message: &Ephemeral) -> Vec<Outgoing> {
        let subs = self.subs.matching(message.topic());
        let like = Outgoing::on(message.shared_topic(), false, None);
        copies(&subs, &like, |json| Some(message.payload(json).clone()))
    }

    /// The next message. `room`: whether one with QoS 1 may be sent.
    pub(crate) fn next_message(&mut self, room: bool) -> Option<Outgoing> {
        while self.outgoing.is_empty() {
            let report = self.reports.pop_front();
            let copies = match report {
                Some(report) => Some(self.copies_of(&report)),
                None => self.cursors.next_copies(),
            };
            self.outgoing.extend(copies?);
        }
        let front = self.outgoing.front()?;
        if front.at_least_once && !room {
            self.outgoing
                .pop_front_if(|_| planted(Planted::CursorPastUnsent));
            None
        } else {
            self.outgoing.pop_front()
        }
    }

    /// What is needed next; `None` while a need is open or messages wait.
    pub(crate) fn need(&mut self, now: Instant) -> Option<Need> {
        if self.is_held() {
            return None;
        }
        let overdue = now.checked_sub(STATE_WAIT_MAX).unwrap_or(now);
        let (need, waiting) = self
            .topic_need()
            .or_else(|| self.asked_need())
            .or_else(|| self.live_need(overdue))
            .or_else(|| self.streams_need())
            .or_else(|| self.events_need())
            .or_else(|| self.live_need(now))?;
        self.waiting = Some(waiting);
        Some(need)
    }

    /// When to ask [`Delivery::need`] again at the latest. While it has no ear for time, something else comes first.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.states.next_timeout().filter(|_| !self.is_held())
    }

    /// A need is open or messages wait.
    fn is_held(&self) -> bool {
        self.waiting.is_some() || !self.outgoing.is_empty() || self.cursors.has_page()
    }

    /// Events as they were needed.
    pub(crate) fn events(&mut self, events: Vec<Committed>) -> Result<(), Hole> {
        match self.waiting.take() {
            Some(Waiting::Events { stream, after }) => self.cursors.read(stream, after, events),
            other => self.misplaced(other),
        }
    }

    /// The snapshot as it was needed; `None` for an empty stream.
    pub(crate) fn snapshot(
        &mut self,
        now: Instant,
        rendered: Option<Rendered>,
    ) -> Result<(), Hole> {
        let (stream, purpose) = match self.waiting.take() {
            Some(Waiting::Snapshot { stream, purpose }) => (stream, purpose),
            other => return self.misplaced(other),
        };
        let gone = purpose.sub().is_some_and(|sub| !self.subs.holds(sub));
        let Some(rendered) = rendered.filter(|_| !gone) else {
            return Ok(());
        };
        match purpose {
            Purpose::Opening(sub, ..) => self.opened(&stream, sub, &rendered),
            Purpose::Retained(sub) => self.state(now, &stream, vec![sub], true, &rendered),
            Purpose::Live => {
                let subs = self.subs.matching(&state_topic(&stream));
                self.state(now, &stream, subs, false, &rendered);
            }
        }
        Ok(())
    }

    /// A page of streams as it was needed; `last` if none follow. `advances`: the steps up to the pages's heads.
    pub(crate) fn streams(
        &mut self,
        now: Instant,
        page: &[Scanned],
        last: bool,
        advances: &Advances,
    ) {
        let of = match self.waiting.take() {
            Some(Waiting::Streams(of)) => Some(of),
            _ => None,
        };
        // It may have been unsubscribed meanwhile.
        let Some(mut scan) = self.scans.pop_front_if(|scan| Some(scan.sub.id) == of) else {
            return self.advance(now, advances);
        };
        let before = scan.after.clone();
        if let Some(end) = page.last() {
            scan.after = Some(StreamId::clone(&end.stream));
        }
        for it in page {
            let bus = advances.get(&it.stream).map_or(it.bus, |step| step.from);
            self.scanned(&scan, it, bus, before.as_ref());
        }
        if !last {
            self.scans.push_front(scan);
        }
        self.advance(now, advances);
    }

    /// What is retained on the topic that was needed.
    pub(crate) fn topic(&mut self, message: Option<&Ephemeral>) {
        let Some(Waiting::Topic { topic, of }) = self.waiting.take() else {
            return;
        };
        let cleared = Ephemeral::cleared(Arc::clone(&topic));
        let (message, retain) = match (message, &of) {
            (Some(message), of) => (message, of.is_some()),
            (None, None) => (&cleared, false),
            (None, Some(_)) => return,
        };
        let subs = of.map_or_else(|| self.subs.matching(&topic), |sub| vec![sub]);
        let like = Outgoing::on(topic, retain, None);
        self.outgoing.extend(copies(&subs, &like, |json| {
            Some(message.payload(json).clone())
        }));
    }

    fn misplaced(&mut self, waiting: Option<Waiting>) -> Result<(), Hole> {
        self.waiting = waiting;
        Err(Hole)
    }

    fn begin(&mut self, stream: &Arc<StreamId>, sub: &Arc<Sub>, start: Start, ground: &Ground) {
        let (place, replay_to) = match start {
            Start::Now | Start::At(_) => (Place::At(ground.head), Seq::ZERO),
            Start::Since(seq) => (Place::At(seq.min(ground.head)), ground.head),
            Start::Resume { seq, epoch } => {
                let purpose = Purpose::Opening(Arc::clone(sub), seq, epoch);
                self.snapshots.push_back((Arc::clone(stream), purpose));
                (Place::Opening, Seq::ZERO)
            }
        };
        let cursor = Cursor {
            sub: Arc::clone(sub),
            place,
            replay_to,
        };
        let others = || {
            let mut others = followers(&self.subs, &self.scans, stream);
            others.retain(|it| it.id != sub.id);
            others
        };
        self.cursors.begin(stream, ground.bus, cursor, others);
    }

    fn begin_wild(&mut self, sub: &Arc<Sub>, start: Start, retained: bool) {
        let events = start == Start::Since(Seq::ZERO);
        if !events {
            self.cursors.follow(sub);
        }
        let ours = !sub.filter.as_str().starts_with('$') && sub.filter.has_wildcard();
        if ours && (events || retained) {
            let sub = Arc::clone(sub);
            self.scans.push_back(Scan {
                sub,
                after: None,
                events,
                states: retained,
            });
        }
    }

    fn step(&mut self, now: Instant, stream: &Arc<StreamId>, step: Advance) {
        let (subs, scans) = (&self.subs, &self.scans);
        self.cursors
            .advance(stream, step, || followers(subs, scans, stream));
        if !self.subs.matching(&state_topic(stream)).is_empty() {
            self.states.changed(stream, now);
        }
    }

    /// One stream of a scan. `before`: up to where the scan had come earlier.
    fn scanned(&mut self, scan: &Scan, it: &Scanned, bus: Seq, before: Option<&StreamId>) {
        debug_assert!(before.is_none_or(|before| *before < *it.stream));
        if scan.states && scan.sub.filter.matches_text(&state_topic(&it.stream)) {
            let purpose = Purpose::Retained(Arc::clone(&scan.sub));
            self.snapshots.push_back((Arc::clone(&it.stream), purpose));
        }
        let topic = Topic::Events(StreamId::clone(&it.stream));
        if scan.events && scan.sub.filter.matches(&topic) {
            let sub = Arc::clone(&scan.sub);
            let cursor = Cursor {
                sub,
                place: Place::At(Seq::ZERO),
                replay_to: it.head,
            };
            let others = || {
                let mut others = followers(&self.subs, &self.scans, &it.stream);
                others.retain(|sub| sub.id != scan.sub.id);
                others
            };
            self.cursors.begin(&it.stream, bus, cursor, others);
        }
    }

    fn opened(&mut self, stream: &Arc<StreamId>, sub: Arc<Sub>, rendered: &Rendered) {
        self.cursors.open(stream, sub.id, rendered.seq);
        let mut opening = state_copies(stream, &[sub], true, rendered);
        opening.iter_mut().for_each(|copy| copy.opens = true);
        self.outgoing.extend(opening);
    }

    fn state(
        &mut self,
        now: Instant,
        stream: &Arc<StreamId>,
        subs: Vec<Arc<Sub>>,
        retain: bool,
        rendered: &Rendered,
    ) {
        let bytes = [&rendered.msgpack, &rendered.json]
            .into_iter()
            .flatten()
            .map(Bytes::len);
        let bytes = bytes.max().unwrap_or_default();
        let lacking = self.states.send(stream, subs, rendered.seq, bytes, now);
        self.outgoing
            .extend(state_copies(stream, &lacking, retain, rendered));
    }

    fn topic_need(&mut self) -> Option<(Need, Waiting)> {
        let (topic, of) = match self.greetings.pop_front() {
            Some((topic, sub)) => (topic, Some(sub)),
            None => {
                (self.topics.pop_first()?, None)
            }
        };
        Some((
            Need::Topic(Arc::clone(&topic)),
            Waiting::Topic { topic, of },
        ))
    }

    /// A state that a SUBSCRIBE asked for.
    fn asked_need(&mut self) -> Option<(Need, Waiting)> {
        let (stream, purpose) = self.snapshots.pop_front()?;
        Some(self.snapshot_need(stream, purpose))
    }

    /// A live state that was due at `by`. Events go first, as long as it is not overdue: they are at hand.
    fn live_need(&mut self, by: Instant) -> Option<(Need, Waiting)> {
        let stream = self.states.due(by)?;
        Some(self.snapshot_need(stream, Purpose::Live))
    }

    fn snapshot_need(&self, stream: Arc<StreamId>, purpose: Purpose) -> (Need, Waiting) {
        let encodings = |json: bool| match purpose.sub() {
            Some(sub) => sub.json == json,
            None => self
                .subs
                .matching(&state_topic(&stream))
                .iter()
                .any(|sub| sub.json == json),
        };
        let want = match purpose {
            Purpose::Opening(_, seq, epoch) => Want::Opening { seq, epoch },
            Purpose::Retained(_) | Purpose::Live => Want::Full,
        };
        let (msgpack, json) = (encodings(false), encodings(true));
        let need = Need::Snapshot {
            stream: Arc::clone(&stream),
            want,
            msgpack,
            json,
        };
        (need, Waiting::Snapshot { stream, purpose })
    }

    /// A scan goes on when little is left of its last page.
    fn streams_need(&mut self) -> Option<(Need, Waiting)> {
        let scan = self
            .scans
            .front()
            .filter(|_| self.cursors.waiting() < SCAN_PAGE)?;
        Some((
            Need::Streams {
                after: scan.after.clone(),
            },
            Waiting::Streams(scan.sub.id),
        ))
    }

    fn events_need(&mut self) -> Option<(Need, Waiting)> {
        let (stream, after) = self.cursors.next_read()?;
        let need = Need::Events {
            stream: Arc::clone(&stream),
            after,
        };
        Some((need, Waiting::Events { stream, after }))
    }
}

/// The subscriptions that stand where the bus is in a stream without a track: all that match, but those
/// whose scan has not come there yet.
fn followers(subs: &Subscriptions, scans: &VecDeque<Scan>, stream: &StreamId) -> Vec<Arc<Sub>> {
    let mut followers = subs.matching(&Topic::Events(stream.clone()).to_string());
    followers.retain(|sub| {
        let ahead = |scan: &Scan| {
            let passed = scan.after.as_ref().is_some_and(|after| stream <= after);
            scan.events && scan.sub.id == sub.id && !passed
        };
        !scans.iter().any(ahead)
    });
    followers
}

fn state_topic(stream: &StreamId) -> String {
    Topic::State(stream.clone()).to_string()
}

fn state_copies(
    stream: &Arc<StreamId>,
    subs: &[Arc<Sub>],
    retain: bool,
    rendered: &Rendered,
) -> Vec<Outgoing> {
    let tag = Tag {
        stream: Arc::clone(stream),
        seq: rendered.seq,
    };
    let like = Outgoing::on(state_topic(stream).into(), retain, Some(tag));
    let payload = |json: bool| {
        if json {
            rendered.json.clone()
        } else {
            rendered.msgpack.clone()
        }
    };
    copies(subs, &like, payload)
}
