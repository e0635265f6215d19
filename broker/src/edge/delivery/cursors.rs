//! How far each subscription is in each stream.
//!
//! A stream that every subscription of the connection has up to where the bus brought it needs no memory: when the
//! bus brings more, it says from where. Only streams with something to do, or with a cursor elsewhere, have a track.
//!
//! The next event of a track is the one after its lowest cursor that may move. All cursors that stand right before
//! that event share its copies, so each subscription's seq ascends without holes (G3) and overlapping ones get one
//! copy per encoding (VIEW-6) from where they meet.
//!
//! A cursor that cannot go on, because the events after it are gone (VIEW-9) or of another epoch (EPOCH-3), waits for a
//! state that stands for everything up to its seq: a bridge. One state serves all that wait in a stream.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use syncline_protocol::planted::{Planted, planted};
use syncline_protocol::{Epoch, Event, Seq, StreamId, Topic};

use super::super::mailbox::{Advance, Turn};
use super::super::session::Tag;
use super::super::sight::Sight;
use super::subscriptions::{Outgoing, Sub, SubId, copies};
use crate::store::Committed;
use crate::store::sessions::Lag;

/// Where a subscription stands in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Its opening state is awaited.
    Opening,
    /// It has everything up to here.
    At(Seq),
    /// It has everything up to here and waits for a state that leads on.
    Bridging(Seq),
}

/// One subscription in one stream.
#[derive(Debug)]
pub(super) struct Cursor {
    pub(super) sub: Arc<Sub>,
    pub(super) place: Place,
    /// Of which history it is: the stream's when it began, if that is known.
    pub(super) epoch: Option<Epoch>,
    /// Events up to here may be read from the store before the bus has brought them. Some may be of epochs before its own.
    pub(super) replay_to: Seq,
    /// An epoch that began since it did: at its beginning a bridge is due.
    pub(super) turn: Option<Turn>,
    /// Events up to here were sent before, over another connection.
    pub(super) sent: Seq,
}

#[derive(Debug)]
struct Track {
    topic: Arc<str>,
    /// How far the bus has brought the stream.
    bus: Seq,
    cursors: Vec<Cursor>,
    /// It is among the ready ones.
    queued: bool,
    /// It is among those that wait for a bridge.
    bridging: bool,
    /// It may not be shown: its cursors stay where they are.
    hidden: bool,
}

/// Events of one stream that are being delivered.
#[derive(Debug)]
struct Page {
    stream: Arc<StreamId>,
    events: VecDeque<Committed>,
}

/// What was read does not follow what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the store's answer leaves a hole")]
pub(crate) struct Hole;

/// All cursors of a connection.
#[derive(Debug)]
pub(super) struct Cursors {
    sight: Sight,
    tracks: HashMap<Arc<StreamId>, Track>,
    /// Streams with something to deliver, in turn.
    ready: VecDeque<Arc<StreamId>>,
    /// Streams that wait for a bridge, in turn.
    bridges: VecDeque<Arc<StreamId>>,
    page: Option<Page>,
}

impl Cursors {
    /// None.
    pub(super) fn new(sight: Sight) -> Self {
        Self {
            sight,
            tracks: HashMap::new(),
            ready: VecDeque::new(),
            bridges: VecDeque::new(),
            page: None,
        }
    }

    /// Other streams may be shown from now on. What is not shown any more stands still for those who named it, and is
    /// forgotten for others.
    pub(super) fn see(&mut self, sight: Sight) {
        self.sight = sight;
        let sight = &self.sight;
        self.tracks.retain(|stream, track| {
            track.hidden = !sight.shows(stream);
            if track.hidden {
                track.cursors.retain(|it| !it.sub.filter.has_wildcard());
            }
            !track.cursors.is_empty()
        });
        let streams: Vec<_> = self.tracks.keys().cloned().collect();
        streams.iter().for_each(|stream| self.look_at(stream));
    }

    /// The bus has brought a stream further. `followers`: the subscriptions that stood where it was.
    pub(super) fn advance(
        &mut self,
        stream: &Arc<StreamId>,
        step: Advance,
        followers: impl FnOnce() -> Vec<Arc<Sub>>,
    ) {
        let Some(track) = self.track(stream, step.from, followers) else {
            return;
        };
        track.bus = track.bus.max(step.to);
        if let Some(turn) = step.turn {
            track.turn(turn);
        }
        self.look_at(stream);
    }

    /// A subscription begins in a stream that the bus has brought up to `bus`.
    pub(super) fn begin(
        &mut self,
        stream: &Arc<StreamId>,
        bus: Seq,
        cursor: Cursor,
        followers: impl FnOnce() -> Vec<Arc<Sub>>,
    ) {
        let hidden = !self.sight.shows(stream);
        if self.track(stream, bus, followers).is_none() {
            self.tracks.insert(
                Arc::clone(stream),
                Track::new(stream, bus, Vec::new(), hidden),
            );
        }
        if let Some(track) = self.tracks.get_mut(stream)
            && !track.cursors.iter().any(|it| it.sub.id == cursor.sub.id)
        {
            track.cursors.push(cursor);
        }
        self.look_at(stream);
    }

    /// A subscription with wildcards begins where the bus is.
    pub(super) fn follow(&mut self, sub: &Arc<Sub>) {
        for track in self.tracks.values_mut() {
            if sub.filter.matches_text(&track.topic) {
                track.cursors.push(Cursor::at(Arc::clone(sub), track.bus));
            }
        }
    }

    /// A subscription's scan has passed streams: where others are under way already, it stands where the bus is, unless it has
    /// begun there.
    pub(super) fn join(&mut self, sub: &Arc<Sub>, passed: impl Fn(&StreamId) -> bool) {
        for (stream, track) in &mut self.tracks {
            let begun = track.cursors.iter().any(|it| it.sub.id == sub.id);
            if !begun && passed(stream) && sub.filter.matches_text(&track.topic) {
                track.cursors.push(Cursor::at(Arc::clone(sub), track.bus));
            }
        }
    }

    /// A subscription was renewed.
    pub(super) fn renew(&mut self, sub: &Arc<Sub>) {
        let cursors = self
            .tracks
            .values_mut()
            .flat_map(|track| &mut track.cursors);
        for cursor in cursors.filter(|cursor| cursor.sub.id == sub.id) {
            cursor.sub = Arc::clone(sub);
        }
    }

    /// The cursors that are not where the bus is, and how they lag.
    pub(super) fn lags(&self) -> impl Iterator<Item = (&Arc<StreamId>, &Cursor, Lag)> {
        self.tracks.iter().flat_map(|(stream, track)| {
            let lagging = move |cursor| Some((stream, cursor, track.lag(cursor)?));
            track.cursors.iter().filter_map(lagging)
        })
    }

    /// The opening state stands for everything up to `seq` in `epoch`.
    pub(super) fn open(&mut self, stream: &Arc<StreamId>, sub: SubId, seq: Seq, epoch: Epoch) {
        let Some(track) = self.tracks.get_mut(stream) else {
            return;
        };
        if let Some(cursor) = track.cursors.iter_mut().find(|cursor| cursor.sub.id == sub) {
            let wrong = planted(Planted::WrongSplice).then_some(track.bus);
            cursor.stand(wrong.unwrap_or(seq).max(seq), epoch);
        }
        track.meet_turns();
        self.look_at(stream);
    }

    /// What was to be read after `after` is gone; what is left begins after `kept_after`.
    pub(super) fn overtaken(&mut self, stream: &Arc<StreamId>, after: Seq, kept_after: Seq) {
        if let Some(track) = self.tracks.get_mut(stream) {
            track.bridge(|_, seq| seq < kept_after || seq <= after);
            self.look_at(stream);
        }
    }

    /// The next stream that waits for a bridge.
    pub(super) fn next_bridge(&mut self) -> Option<Arc<StreamId>> {
        while let Some(stream) = self.bridges.pop_front() {
            let Some(track) = self.tracks.get_mut(&stream) else {
                continue;
            };
            track.bridging = false;
            if track.waits_for_bridge() {
                return Some(stream);
            }
        }
        None
    }

    /// The subscriptions that wait for a bridge in a stream.
    pub(super) fn bridging(&self, stream: &StreamId) -> Vec<Arc<Sub>> {
        let cursors = self.tracks.get(stream).map(|track| &track.cursors);
        let waiting = |it: &&Cursor| matches!(it.place, Place::Bridging(_));
        let cursors = cursors.into_iter().flatten().filter(waiting);
        cursors.map(|it| Arc::clone(&it.sub)).collect()
    }

    /// A state stands for everything up to `seq`: those of `subs` that it leads on, who stand there now.
    pub(super) fn cross(
        &mut self,
        stream: &Arc<StreamId>,
        subs: &[Arc<Sub>],
        seq: Seq,
        epoch: Epoch,
    ) -> Vec<Arc<Sub>> {
        let Some(track) = self.tracks.get_mut(stream) else {
            return Vec::new();
        };
        let mut crossed = Vec::new();
        for cursor in &mut track.cursors {
            let asked = subs.iter().any(|sub| sub.id == cursor.sub.id);
            if asked && matches!(cursor.place, Place::Bridging(from) if from <= seq) {
                cursor.stand(seq, epoch);
                crossed.push(Arc::clone(&cursor.sub));
            }
        }
        track.meet_turns();
        self.look_at(stream);
        crossed
    }

    /// Drops a subscription's cursors.
    pub(super) fn remove(&mut self, sub: SubId) {
        self.tracks.retain(|_, track| {
            track.cursors.retain(|cursor| cursor.sub.id != sub);
            !track.cursors.is_empty()
        });
    }

    /// How many streams wait for their turn.
    pub(super) fn waiting(&self) -> usize {
        self.ready.len()
    }

    pub(super) fn has_page(&self) -> bool {
        self.page.is_some()
    }

    /// The next stream to read, and after which seq.
    pub(super) fn next_read(&mut self) -> Option<(Arc<StreamId>, Seq)> {
        while let Some(stream) = self.ready.pop_front() {
            let Some(track) = self.tracks.get_mut(&stream) else {
                continue;
            };
            track.queued = false;
            if let Some(after) = track.next_after() {
                return Some((stream, after));
            }
        }
        None
    }

    /// Events as they were asked for by [`Cursors::next_read`].
    pub(super) fn read(
        &mut self,
        stream: Arc<StreamId>,
        after: Seq,
        events: Vec<Committed>,
    ) -> Result<(), Hole> {
        if events.first().map(Committed::seq) != Some(after.next()) {
            // Fine if the one who asked is gone meanwhile, or moved.
            let wanted = self.tracks.get(&stream).and_then(Track::next_after);
            return if wanted == Some(after) {
                Err(Hole)
            } else {
                self.again(&stream)
            };
        }
        self.page = Some(Page {
            stream,
            events: events.into(),
        });
        Ok(())
    }

    fn again(&mut self, stream: &Arc<StreamId>) -> Result<(), Hole> {
        self.queue(stream);
        Ok(())
    }

    /// The copies of the next event of the page.
    pub(super) fn next_copies(&mut self) -> Option<Vec<Outgoing>> {
        let page = self.page.as_mut()?;
        let track = self.tracks.get_mut(&page.stream);
        let copies = track.and_then(|track| track.deliver(&page.stream, &mut page.events));
        if copies.is_none() {
            let stream = Arc::clone(&page.stream);
            self.page = None;
            self.look_at(&stream);
        }
        copies
    }

    /// The track of a stream; a new one has the followers at `bus`. `None` if there are none.
    fn track(
        &mut self,
        stream: &Arc<StreamId>,
        bus: Seq,
        followers: impl FnOnce() -> Vec<Arc<Sub>>,
    ) -> Option<&mut Track> {
        if !self.tracks.contains_key(stream) {
            let hidden = !self.sight.shows(stream);
            let at = |sub| Cursor::at(sub, bus);
            let cursors: Vec<_> = followers().into_iter().map(at).collect();
            if cursors.is_empty() {
                return None;
            }
            self.tracks
                .insert(Arc::clone(stream), Track::new(stream, bus, cursors, hidden));
        }
        self.tracks.get_mut(stream)
    }

    /// Sees to it that what a stream waits for comes, and forgets it if that is nothing.
    fn look_at(&mut self, stream: &Arc<StreamId>) {
        self.queue(stream);
        let Some(track) = self.tracks.get_mut(stream) else {
            return;
        };
        if !track.bridging && track.waits_for_bridge() {
            track.bridging = true;
            self.bridges.push_back(Arc::clone(stream));
        }
        if track.is_level() {
            self.tracks.remove(stream);
        }
    }

    fn queue(&mut self, stream: &Arc<StreamId>) {
        let paging = self
            .page
            .as_ref()
            .is_some_and(|page| page.stream == *stream);
        let Some(track) = self.tracks.get_mut(stream) else {
            return;
        };
        if !track.queued && !paging && track.next_after().is_some() {
            track.queued = true;
            self.ready.push_back(Arc::clone(stream));
        }
    }
}

impl Cursor {
    fn at(sub: Arc<Sub>, seq: Seq) -> Self {
        Self {
            sub,
            place: Place::At(seq),
            epoch: None,
            replay_to: Seq::ZERO,
            turn: None,
            sent: Seq::ZERO,
        }
    }

    /// Whether an event was there when the subscription began: it may be of an older epoch that its own goes on from.
    fn is_replayed(&self, seq: Seq) -> bool {
        seq <= self.replay_to
    }

    /// A state stands for everything up to `seq` in `epoch`.
    fn stand(&mut self, seq: Seq, epoch: Epoch) {
        self.place = Place::At(seq);
        self.epoch = named(epoch);
        // One that was made before the turn leads only up to it; one of a seq below it leads over older events.
        if let Some(turn) = self.turn.take_if(|turn| turn.epoch == epoch) {
            self.replay_to = self.replay_to.max(turn.at);
        }
    }

    /// An epoch begins. Of several that somebody has not come to, the first one's beginning counts, and that it leads to
    /// the last one; an opening state that is still to come may lead to any of them.
    fn turn(&mut self, turn: Turn) {
        let passed = matches!(self.place, Place::At(seq) if seq > turn.at);
        if self.epoch == Some(turn.epoch) || passed {
            return;
        }
        let before = self.turn.filter(|_| self.place != Place::Opening);
        let at = before.map_or(turn.at, |before| before.at.min(turn.at));
        self.turn = Some(Turn { at, ..turn });
    }
}

impl Track {
    fn new(stream: &StreamId, bus: Seq, cursors: Vec<Cursor>, hidden: bool) -> Self {
        let topic = Topic::Events(stream.clone()).to_string().into();
        Self {
            topic,
            bus,
            cursors,
            queued: false,
            bridging: false,
            hidden,
        }
    }

    /// An epoch begins: events up to there still come, and then a bridge (EPOCH-3).
    fn turn(&mut self, turn: Turn) {
        self.cursors.iter_mut().for_each(|cursor| cursor.turn(turn));
        self.meet_turns();
    }

    fn meet_turns(&mut self) {
        self.bridge(|cursor, seq| cursor.turn.is_some_and(|turn| turn.at <= seq));
    }

    fn bridge(&mut self, needs: impl Fn(&Cursor, Seq) -> bool) {
        for cursor in &mut self.cursors {
            if let Place::At(seq) = cursor.place
                && needs(cursor, seq)
            {
                cursor.place = Place::Bridging(seq);
            }
        }
    }

    fn waits_for_bridge(&self) -> bool {
        let waits = |it: &Cursor| matches!(it.place, Place::Bridging(_));
        !self.hidden && self.cursors.iter().any(waits)
    }

    /// The lowest place of a cursor that may move.
    fn next_after(&self) -> Option<Seq> {
        if self.hidden {
            return None;
        }
        let may_move = |cursor: &Cursor| match cursor.place {
            Place::At(seq) if seq < self.bus.max(cursor.replay_to) => Some(seq),
            _ => None,
        };
        self.cursors.iter().filter_map(may_move).min()
    }

    /// Whether the bus says all that there is to remember.
    fn is_level(&self) -> bool {
        let bus = self.bus;
        self.cursors
            .iter()
            .all(|it| it.place == Place::At(bus) && it.replay_to <= bus)
    }

    /// Moves the cursors before the next event over it and makes its copies. Those of another epoch stay and need a bridge.
    fn deliver(
        &mut self,
        stream: &Arc<StreamId>,
        events: &mut VecDeque<Committed>,
    ) -> Option<Vec<Outgoing>> {
        let after = self.next_after()?;
        while events.front().is_some_and(|event| event.seq() <= after) {
            events.pop_front();
        }
        let event = events
            .pop_front()
            .filter(|event| event.seq() == after.next())?;
        let fresh = self.fresh_at(event.seq());
        let subs = self.pass(after, &event);
        let tag = Tag {
            stream: Arc::clone(stream),
            seq: event.seq(),
            number: 0,
        };
        let like = Outgoing::on(Arc::clone(&self.topic), false, Some(tag));
        let mut copies = copies(&subs, &like, |json| encoded(&event, json));
        copies
            .iter_mut()
            .for_each(|copy| copy.was_sent_but_to(&fresh));
        Some(copies)
    }

    /// The subscriptions to which an event is new.
    fn fresh_at(&self, seq: Seq) -> Vec<SubId> {
        let fresh = self.cursors.iter().filter(|cursor| cursor.sent < seq);
        fresh.map(|cursor| cursor.sub.id).collect()
    }

    /// How a cursor lags behind the bus.
    fn lag(&self, cursor: &Cursor) -> Option<Lag> {
        match cursor.place {
            Place::Opening | Place::Bridging(_) => Some(Lag::State),
            Place::At(seq) if seq < self.bus.max(cursor.replay_to) => Some(Lag::After {
                epoch: cursor.epoch.unwrap_or(Epoch::NONE),
                seq,
                sent: cursor.sent.max(seq),
            }),
            Place::At(_) => None,
        }
    }

    /// Who gets the event after `after`. Whoever has come out of a replay stays in one epoch.
    fn pass(&mut self, after: Seq, event: &Committed) -> Vec<Arc<Sub>> {
        let (seq, epoch) = (event.seq(), event.epoch());
        self.bridge(|cursor, at| {
            let is_other = cursor.epoch.is_some_and(|it| it != epoch);
            at == after && is_other && !cursor.is_replayed(seq)
        });
        let mut subs = Vec::new();
        let before = self.cursors.iter_mut();
        for cursor in before.filter(|it| it.place == Place::At(after)) {
            cursor.place = Place::At(seq);
            if !cursor.is_replayed(seq) {
                cursor.epoch = Some(epoch);
            }
            subs.push(Arc::clone(&cursor.sub));
        }
        self.meet_turns();
        subs
    }
}

/// A stream without events has no history yet.
pub(super) fn named(epoch: Epoch) -> Option<Epoch> {
    (epoch != Epoch::NONE).then_some(epoch)
}

fn encoded(event: &Committed, json: bool) -> Option<Bytes> {
    if !json {
        return Some(event.payload().clone());
    }
    match Event::decode(event.payload()) {
        Ok(event) => Some(event.to_json().into()),
        Err(error) => {
            tracing::error!(stream = %event.stream(), seq = %event.seq(), %error, "a stored event is unreadable");
            None
        }
    }
}
