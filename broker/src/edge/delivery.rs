//! What one connection gets next: its subscriptions, a cursor per stream, the states and the unstored messages.
//! Pure: asks for what it needs and is given it.
//!
//! Calling contract:
//! - What the mailbox held goes to [`Delivery::advance`], [`Delivery::changed_topic`] and [`Delivery::report`] before any
//!   subscription is begun or scanned with heads that were taken after it.
//! - [`Delivery::next_message`] until it has none; then [`Delivery::need`]. A need is answered with the method that it
//!   names before another is told; whoever cannot answer it ends the connection.
//! - A slow client costs a cursor per stream: nothing is asked for while messages wait.

mod asking;
mod cursors;
mod keeping;
mod narrowing;
mod needs;
mod parts;
mod scans;
mod states;
mod subscriptions;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use syncline_protocol::planted::{Planted, planted};
use syncline_protocol::{Filter, Seq, Start, StreamId, Topic};

use super::ephemeral::Ephemeral;
use super::hub::Advances;
use super::mailbox::{Advance, REPORTS_MAX};
use super::session::{Retained, Verdict, Wanted};
use super::sight::Sight;
use crate::store::Committed;
use asking::Turn;
use cursors::{Cursor, Cursors, Place, named};
use keeping::Ledger;
use needs::{Purpose, Waiting};
use parts::{state_copies, state_topic};
use scans::{Scan, Scans};
use states::States;
use subscriptions::{Sub, Subscriptions, copies};

pub(crate) use cursors::Hole;
pub(crate) use keeping::{Footing, GoOn, Resumed, Standing};
pub(crate) use needs::{Form, Ground, Need, SCAN_PAGE, Scanned, Want};
pub(crate) use parts::{Parts, Rendered};
pub(crate) use subscriptions::Outgoing;

/// The limits of a delivery.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DeliveryOptions {
    /// Subscriptions at most.
    pub(crate) subscriptions_max: usize,
    /// Paces live states (SNAP-5).
    pub(crate) state_bytes_per_s: u64,
    /// The largest part of a state (SNAP-8).
    pub(crate) state_part_bytes: usize,
}

/// The delivery of one connection.
#[derive(Debug)]
pub(crate) struct Delivery {
    options: DeliveryOptions,
    /// What may be shown.
    sight: Sight,
    /// The client's Maximum Packet Size.
    packet_bytes_max: usize,
    subs: Subscriptions,
    cursors: Cursors,
    states: States,
    /// States that a SUBSCRIBE asked for.
    snapshots: VecDeque<(Arc<StreamId>, Purpose)>,
    scans: Scans,
    /// Topics that changed.
    topics: BTreeSet<Arc<str>>,
    /// Retained topics that a SUBSCRIBE asked for.
    greetings: VecDeque<(Arc<str>, Arc<Sub>)>,
    reports: VecDeque<Arc<Ephemeral>>,
    outgoing: VecDeque<Outgoing>,
    /// What was on its way when it was hidden, of subscriptions that go on should it be shown again.
    hidden: VecDeque<Outgoing>,
    waiting: Option<Waiting>,
    /// Of a session that is kept: what is not acknowledged.
    ledger: Option<Ledger>,
    /// What was asked for first the last time.
    turn: Turn,
}

impl Delivery {
    /// Nothing is subscribed, and nothing else is shown than what `sight` shows.
    pub(crate) fn new(options: DeliveryOptions, sight: Sight) -> Self {
        Self {
            options,
            cursors: Cursors::new(sight.clone()),
            sight,
            packet_bytes_max: usize::MAX,
            subs: Subscriptions::default(),
            states: States::new(options.state_bytes_per_s),
            snapshots: VecDeque::new(),
            scans: Scans::default(),
            topics: BTreeSet::new(),
            greetings: VecDeque::new(),
            reports: VecDeque::new(),
            outgoing: VecDeque::new(),
            hidden: VecDeque::new(),
            waiting: None,
            ledger: None,
            turn: Turn::Live,
        }
    }

    /// The client takes no larger packets. Before anything is subscribed.
    pub(crate) fn limit_packets(&mut self, packet_bytes_max: usize) {
        self.packet_bytes_max = packet_bytes_max;
    }

    /// The base filters.
    pub(crate) fn filters(&self) -> impl Iterator<Item = &Filter> {
        self.subs.filters()
    }

    /// Whether a subscription with this base filter is granted (G9).
    pub(crate) fn may_begin(&self, filter: &Filter) -> bool {
        self.sight.may_subscribe(filter)
    }

    /// Whether there is a subscription with this base filter.
    pub(crate) fn contains(&self, filter: &Filter) -> bool {
        self.subs.contains(filter)
    }

    /// Whether there is room for a subscription with this base filter.
    pub(crate) fn takes(&self, filter: &Filter) -> bool {
        self.subs.contains(filter) || self.subs.len() < self.options.subscriptions_max
    }

    /// Begins a subscription, in place of the one with the same base filter (VIEW-5).
    pub(crate) fn subscribe(&mut self, wanted: &Wanted, ground: &Ground) -> Verdict {
        if let Start::At(seq) = wanted.subscription.start
            && !(ground.horizon <= seq && seq <= ground.head)
        {
            let (from, to) = (ground.horizon, ground.head);
            return Verdict::NotKept { from, to };
        }
        let filter = &wanted.subscription.filter;
        let stays = wanted.subscription.start == Start::Now && self.subs.follows(filter);
        let new = !stays && !self.unsubscribe(filter);
        let sub = match stays {
            true => self.renew(wanted),
            false => self.subs.add(wanted),
        };
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
        match (sub.filter.exact(), wanted.subscription.start) {
            (Some(Topic::Events(_)), _) if stays => {}
            (Some(Topic::Events(stream)), start) => {
                self.begin(&Arc::new(stream), &sub, start, ground);
            }
            (Some(Topic::State(stream)), Start::At(seq)) => {
                self.ask(&Arc::new(stream), Purpose::Once(sub, seq));
            }
            (Some(Topic::State(stream)), _) if retained => {
                self.ask(&Arc::new(stream), Purpose::Retained(sub));
            }
            (Some(_), _) => {}
            (None, start) => self.begin_wild(&sub, start, retained, stays),
        }
        Verdict::Granted { qos: wanted.qos }
    }

    /// A subscription is asked for once more without a beginning: it stays where it is, so that nothing is lost.
    fn renew(&mut self, wanted: &Wanted) -> Arc<Sub> {
        let sub = self.subs.renew(wanted);
        self.cursors.renew(&sub);
        self.scans.renew(&sub);
        self.states.remove(sub.id);
        sub
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
        self.scans.remove(sub.id);
        self.greetings.retain(|(_, of)| others(of));
        self.outgoing.retain_mut(|message| message.survives(sub.id));
        self.hidden.retain_mut(|message| message.survives(sub.id));
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
        if !self.sight.shows_topic(message.topic()) {
            return Vec::new();
        }
        let subs = self.subs.matching(message.topic());
        let like = Outgoing::on(message.shared_topic(), false, None);
        copies(&subs, &like, |json| Some(message.payload(json).clone()))
    }

    /// The next message. `room`: whether one with QoS 1 may be sent.
    pub(crate) fn next_message(&mut self, room: bool) -> Option<Outgoing> {
        loop {
            // Whatever went wrong before: nothing leaves that may not be shown.
            let sight = &self.sight;
            while self
                .outgoing
                .pop_front_if(|it| !sight.shows_topic(&it.topic))
                .is_some()
            {}
            if !self.outgoing.is_empty() {
                break;
            }
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
            return None;
        }
        let mut message = self.outgoing.pop_front()?;
        if let Some(ledger) = &mut self.ledger {
            ledger.note(&mut message);
        }
        Some(message)
    }

    /// The scan's need that is open, to tell it once more: its answer was of no use.
    pub(crate) fn open_scan(&self) -> Option<Need> {
        let scan = self.scans.front();
        matches!(self.waiting, Some(Waiting::Streams(_))).then(|| Need::Streams {
            after: scan.and_then(|scan| scan.after.clone()),
            from: scan.and_then(Scan::goes_on_from),
        })
    }

    /// Events as they were needed.
    pub(crate) fn events(&mut self, events: Vec<Committed>) -> Result<(), Hole> {
        match self.waiting.take() {
            Some(Waiting::Events { stream, after }) => self.cursors.read(stream, after, events),
            other => self.misplaced(other),
        }
    }

    /// The events that were needed are gone: what is left begins after `kept_after` (VIEW-9).
    pub(crate) fn overtaken(&mut self, kept_after: Seq) -> Result<(), Hole> {
        match self.waiting.take() {
            Some(Waiting::Events { stream, after }) => {
                self.cursors.overtaken(&stream, after, kept_after);
                Ok(())
            }
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
        if !self.sight.shows(&stream) {
            self.put_aside(stream, purpose);
            return Ok(());
        }
        let Some(rendered) = rendered.filter(|_| !gone) else {
            return Ok(());
        };
        match purpose {
            Purpose::Opening(sub, ..) | Purpose::Horizon(sub) => {
                let (seq, epoch) = (rendered.seq, rendered.epoch);
                self.cursors.open(&stream, sub.id, seq, epoch);
                self.lead(&stream, &[sub], true, &rendered);
            }
            Purpose::Once(sub, _) => self.send_state(&stream, &[sub], true, false, &rendered),
            Purpose::Bridge(subs) => {
                let (seq, epoch) = (rendered.seq, rendered.epoch);
                let subs = self.cursors.cross(&stream, &subs, seq, epoch);
                self.lead(&stream, &subs, false, &rendered);
            }
            Purpose::Retained(sub) => self.state(now, &stream, vec![sub], true, &rendered),
            Purpose::Live(mut subs) => {
                subs.retain(|sub| self.subs.holds(sub));
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
        let Some(mut scan) = self.scans.take_front(of) else {
            return self.advance(now, advances);
        };
        for it in scan.pass(page, last) {
            let bus = advances.get(&it.stream).map_or(it.bus, |step| step.from);
            self.scanned(now, &scan, &it, bus);
        }
        if scan.has_events() {
            let sight = &self.sight;
            let met = |stream: &StreamId| scan.follows(stream, last) && sight.shows(stream);
            self.cursors.join(&scan.sub, met);
        }
        if !last {
            self.scans.put_back(scan);
        }
        self.advance(now, advances);
    }

    /// What is retained on the topic that was needed.
    pub(crate) fn topic(&mut self, message: Option<&Ephemeral>) {
        let Some(Waiting::Topic { topic, of }) = self.waiting.take() else {
            return;
        };
        if !self.sight.shows_topic(&topic) {
            return;
        }
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

    fn ask(&mut self, stream: &Arc<StreamId>, purpose: Purpose) {
        self.snapshots.push_back((Arc::clone(stream), purpose));
    }

    fn begin(&mut self, stream: &Arc<StreamId>, sub: &Arc<Sub>, start: Start, ground: &Ground) {
        let (place, replay_to) = match start {
            Start::Now | Start::At(_) => (Place::At(ground.head), Seq::ZERO),
            Start::Since(seq) if seq < ground.horizon => {
                self.ask(stream, Purpose::Horizon(Arc::clone(sub)));
                (Place::Opening, ground.head)
            }
            Start::Since(seq) => (Place::At(seq.min(ground.head)), ground.head),
            Start::Resume { seq, epoch } => {
                self.ask(stream, Purpose::Opening(Arc::clone(sub), seq, epoch));
                (Place::Opening, Seq::ZERO)
            }
        };
        let cursor = Cursor {
            sub: Arc::clone(sub),
            place,
            epoch: named(ground.epoch),
            replay_to,
            turn: None,
            sent: Seq::ZERO,
        };
        self.begin_cursor(stream, ground.bus, cursor);
    }

    fn begin_cursor(&mut self, stream: &Arc<StreamId>, bus: Seq, cursor: Cursor) {
        let (subs, scans, sub) = (&self.subs, &self.scans, cursor.sub.id);
        let sight = &self.sight;
        let others = || {
            let mut others = followers(subs, scans, sight, stream);
            others.retain(|it| it.id != sub);
            others
        };
        self.cursors.begin(stream, bus, cursor, others);
    }

    fn begin_wild(&mut self, sub: &Arc<Sub>, start: Start, retained: bool, stays: bool) {
        let events = start == Start::Since(Seq::ZERO);
        if !events && !stays {
            self.cursors.follow(sub);
        }
        let ours = !sub.filter.as_str().starts_with('$') && sub.filter.has_wildcard();
        if ours && (events || retained) {
            self.scans
                .push(Scan::new(Arc::clone(sub), events, retained));
        }
    }

    fn step(&mut self, now: Instant, stream: &Arc<StreamId>, step: Advance) {
        if matches!(self.waiting, Some(Waiting::Streams(_))) {
            self.scans.moved(stream, step.to);
        }
        let (subs, scans, sight) = (&self.subs, &self.scans, &self.sight);
        self.cursors
            .advance(stream, step, || followers(subs, scans, sight, stream));
        if !self.state_followers(stream).is_empty() {
            self.states.changed(stream, now);
        }
    }

    /// One stream that a scan has passed.
    fn scanned(&mut self, now: Instant, scan: &Scan, it: &Scanned, bus: Seq) {
        if !self.sight.shows(&it.stream) {
            return;
        }
        if scan.again {
            return self.scanned_again(now, scan, it, bus);
        }
        if scan.has_states() && scan.sub.filter.matches_text(&state_topic(&it.stream)) {
            self.ask(&it.stream, Purpose::Retained(Arc::clone(&scan.sub)));
        }
        let topic = Topic::Events(StreamId::clone(&it.stream));
        if scan.has_events() && scan.sub.filter.matches(&topic) {
            let ground = Ground {
                head: it.head,
                horizon: it.horizon,
                epoch: it.epoch,
                bus,
                topics: Vec::new(),
            };
            self.begin(&it.stream, &scan.sub, Start::Since(Seq::ZERO), &ground);
        }
    }

    /// One stream that the scan of a resumed session has passed.
    fn scanned_again(&mut self, now: Instant, scan: &Scan, it: &Scanned, bus: Seq) {
        let from_the_beginning = GoOn::After {
            seq: Seq::ZERO,
            epoch: None,
            sent: Seq::ZERO,
        };
        let events = scan.has_events() && !scan.is_apart(&it.stream);
        let footing = Footing {
            stream: Arc::clone(&it.stream),
            head: it.head,
            epoch: it.epoch,
            bus,
            events: events.then_some(it.from.unwrap_or(from_the_beginning)),
            state: scan.has_states() && it.changed,
        };
        self.go_on_in(now, &scan.sub, &footing);
    }

    /// Those who get a state when the stream changes: all that match, but those who will be greeted with one anyway.
    fn state_followers(&self, stream: &Arc<StreamId>) -> Vec<Arc<Sub>> {
        if !self.sight.shows(stream) {
            return Vec::new();
        }
        let mut subs = self.subs.matching(&state_topic(stream));
        subs.retain(|sub| {
            let greets = |(of, purpose): &(Arc<StreamId>, Purpose)| {
                of == stream && matches!(purpose, Purpose::Retained(it) if it.id == sub.id)
            };
            !self.scans.will_greet(sub, stream) && !self.snapshots.iter().any(greets)
        });
        subs
    }

    /// A state that is coalesced (SNAP-5).
    fn state(
        &mut self,
        now: Instant,
        stream: &Arc<StreamId>,
        subs: Vec<Arc<Sub>>,
        retain: bool,
        rendered: &Rendered,
    ) {
        let lacking = self.states.send(stream, subs, rendered, now);
        self.send_state(stream, &lacking, retain, true, rendered);
    }

    /// A state without which the events cannot go on.
    fn lead(&mut self, stream: &Arc<StreamId>, subs: &[Arc<Sub>], retain: bool, it: &Rendered) {
        let before = self.outgoing.len();
        self.send_state(stream, subs, retain, true, it);
        let messages = self.outgoing.iter_mut().skip(before);
        messages.for_each(|message| message.leads = true);
    }

    fn send_state(
        &mut self,
        stream: &Arc<StreamId>,
        subs: &[Arc<Sub>],
        retain: bool,
        acknowledges: bool,
        rendered: &Rendered,
    ) {
        let copies = state_copies(stream, subs, retain, acknowledges, rendered);
        self.outgoing.extend(copies);
    }
}

/// The subscriptions that stand where the bus is in a stream without a track: all that match, but those
/// whose scan has not come there yet. Of a stream that is not shown only those that name it: they stay where they are.
fn followers(
    subs: &Subscriptions,
    scans: &Scans,
    sight: &Sight,
    stream: &StreamId,
) -> Vec<Arc<Sub>> {
    let mut followers = subs.matching(&Topic::Events(stream.clone()).to_string());
    let shown = sight.shows(stream);
    followers.retain(|sub| (shown || !sub.filter.has_wildcard()) && !scans.will_begin(sub, stream));
    followers
}
