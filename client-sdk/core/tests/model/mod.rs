//! The broker as a client sees it, in memory: order, marks, openings. Not the broker's own code, so that both are
//! held to the same protocol.
#![allow(dead_code)] // not every test needs all of it

use std::collections::HashMap;
use std::sync::Arc;

use syncline_client_core::{Answer, Refusal};
use syncline_protocol::schema::Kind;
use syncline_protocol::{
    DeviceId, DeviceSeq, Epoch, Event, Intent, IntentHash, Schema, Seq, Snapshot, State, StreamId,
    UnixMillis,
};

/// How many hashes of a device are kept (EVENT-10).
const RECENT_MAX: usize = 64;

/// Beside the shipped collections, one for each policy that these do not have.
const MORE_COLLECTIONS: &str = r#"
[collections.tags]
kind = "set"
conflict = "add_wins"
key = "tag"
add = "add_tag"
remove = "drop_tag"

[collections.moods]
kind = "map"
conflict = "remove_wins"
key = "track_id"
value = "mood"
add = "set_mood"
remove = "clear_mood"
"#;

/// How a subscription opens, where the broker has the choice (SNAP-7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    Empty,
    Delta,
    Full,
}

/// What a subscription gets next.
#[derive(Debug)]
pub(crate) enum Next {
    Nothing,
    Event(Box<Event>),
    Bridge(Box<Snapshot>),
}

/// What is accepted of a device.
#[derive(Debug, Default)]
struct Mark {
    device_seq: Option<DeviceSeq>,
    base_seq: Seq,
    recent: Vec<(DeviceSeq, IntentHash, Seq)>,
    last: Seq,
}

/// One stream.
#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) stream: StreamId,
    pub(crate) schema: Arc<Schema>,
    /// All events, also those that clients do not get any more.
    pub(crate) log: Vec<Event>,
    epoch: Epoch,
    state: State,
    horizon: Seq,
    /// Where the horizon was, and the head when it came there.
    moves: Vec<(Seq, Seq)>,
    removed_floor: Seq,
    marks: HashMap<DeviceId, Mark>,
}

impl Broker {
    pub(crate) fn new(stream: StreamId) -> Self {
        let music = include_str!("../../../../config/schemas/music.toml");
        let schema = Arc::new(Schema::parse(&format!("{music}{MORE_COLLECTIONS}")).unwrap());
        let state = State::new(Arc::clone(&schema));
        let (log, marks, epoch) = (Vec::new(), HashMap::new(), Epoch::new(1));
        Self {
            stream,
            schema,
            log,
            epoch,
            state,
            horizon: Seq::ZERO,
            moves: Vec::new(),
            removed_floor: Seq::ZERO,
            marks,
        }
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    pub(crate) fn head(&self) -> Seq {
        self.state.seq()
    }

    /// Dedupes, orders and applies; `forbidden` is refused.
    pub(crate) fn submit(&mut self, now: UnixMillis, payload: &[u8]) -> Answer {
        let intent = Intent::decode(payload).unwrap();
        let (device, device_seq) = (intent.device.unwrap(), intent.device_seq.unwrap());
        let hash = intent.hash(device);
        if let Some(answer) = self.known(device, device_seq, hash) {
            return answer;
        }
        if intent
            .epoch
            .is_some_and(|epoch| epoch != self.epoch || self.log.is_empty())
        {
            return refused("wrong_epoch");
        }
        if let Some(name) = self.beyond_the_horizon(&intent) {
            return refused(name);
        }
        if intent.event_type.as_str() == "forbidden" {
            return refused("not_allowed");
        }
        Answer::Saved(self.accept(now, intent, (device, device_seq, hash)))
    }

    /// HORIZON-2, HORIZON-3.
    fn beyond_the_horizon(&self, intent: &Intent) -> Option<&'static str> {
        let (given, mark) = (intent.base_seq.unwrap(), self.marks.get(&intent.device?));
        if mark.is_none() && given < self.horizon {
            return Some("expired");
        }
        let base_seq = given.max(mark.map_or(Seq::ZERO, |mark| mark.base_seq));
        let is_compared = self
            .schema
            .kind_of(&intent.event_type)
            .is_some_and(|kind| kind != Kind::Counter);
        (is_compared && base_seq < self.horizon).then_some("overtaken")
    }

    fn known(&self, device: DeviceId, device_seq: DeviceSeq, hash: IntentHash) -> Option<Answer> {
        let mark = self.marks.get(&device)?;
        if Some(device_seq) > mark.device_seq {
            return None;
        }
        let repeat = mark
            .recent
            .iter()
            .find(|it| (it.0, it.1) == (device_seq, hash));
        Some(repeat.map_or(refused("device_forked"), |it| Answer::Repeat(it.2)))
    }

    fn accept(
        &mut self,
        now: UnixMillis,
        intent: Intent,
        (device, device_seq, hash): (DeviceId, DeviceSeq, IntentHash),
    ) -> Seq {
        let seq = self.head().next();
        let mark = self.marks.entry(device).or_default();
        mark.base_seq = intent
            .base_seq
            .unwrap()
            .max(mark.base_seq)
            .min(seq.previous());
        (mark.device_seq, mark.last) = (Some(device_seq), seq);
        mark.recent.push((device_seq, hash, seq));
        let excess = mark.recent.len().saturating_sub(RECENT_MAX);
        mark.recent.drain(..excess);
        let event = Event {
            stream: self.stream.clone(),
            epoch: self.epoch,
            seq,
            accepted_at: now,
            event_type: intent.event_type,
            event_data: intent.event_data,
            device,
            device_seq: Some(device_seq),
            clock: intent.clock.unwrap(),
            base_seq: mark.base_seq,
            extra: intent.extra,
        };
        self.state.apply(&event).unwrap();
        self.log.push(event);
        seq
    }

    /// What a VIEW-4 subscription opens with (SNAP-7).
    pub(crate) fn opening(
        &self,
        device: DeviceId,
        (seq, epoch): (Seq, Epoch),
        how: How,
    ) -> Snapshot {
        let follows = epoch == self.state.epoch() && seq <= self.head() && seq > Seq::ZERO;
        let mut snapshot = match how {
            How::Empty if follows && seq >= self.horizon => self.empty(seq),
            How::Delta if follows && seq >= self.removed_floor => self.snapshot(seq),
            _ => self.snapshot(Seq::ZERO),
        };
        snapshot.mark = Some(self.marks.get(&device).and_then(|mark| mark.device_seq));
        snapshot
    }

    fn snapshot(&self, since: Seq) -> Snapshot {
        Snapshot::of(&self.state, self.stream.clone(), since)
    }

    fn empty(&self, seq: Seq) -> Snapshot {
        let mut state = State::new(Arc::clone(&self.schema));
        for event in self.log.iter().take_while(|event| event.seq <= seq) {
            state.begin_epoch(event.epoch);
            state.apply(event).unwrap();
        }
        state.begin_epoch(self.epoch);
        let mut snapshot = Snapshot::of(&state, self.stream.clone(), seq);
        snapshot.head = self.head();
        snapshot
    }

    /// What follows for whoever has everything up to a cursor (VIEW-9, EPOCH-3).
    pub(crate) fn next_after(&self, (seq, epoch): (Seq, Epoch)) -> Next {
        let other = epoch != self.state.epoch() && epoch != Epoch::NONE;
        if other || seq < self.horizon {
            return Next::Bridge(Box::new(self.snapshot(Seq::ZERO)));
        }
        let event = self.log.get(usize::try_from(seq.get()).unwrap());
        event.map_or(Next::Nothing, |event| Next::Event(Box::new(event.clone())))
    }

    /// The cursor of whoever has everything.
    pub(crate) fn end(&self) -> (Seq, Epoch) {
        (self.head(), self.state.epoch())
    }

    /// HORIZON-1, HORIZON-5.
    pub(crate) fn raise_horizon(&mut self, to: Seq) {
        self.horizon = self.horizon.max(to.min(self.head()));
        let reached = self.moves.iter().filter(|(_, at)| *at <= self.horizon);
        let floor = reached.map(|(horizon, _)| *horizon).max();
        self.moves.push((self.horizon, self.head()));
        let gone = self.state.collect(floor.unwrap_or_default());
        let changed = gone.into_iter().map(|(_, _, changed)| changed);
        self.removed_floor = changed.max().unwrap_or_default().max(self.removed_floor);
    }

    /// Forgets the marks of devices whose last event is at or below the horizon (HORIZON-3), but not these.
    pub(crate) fn forget_marks(&mut self, but: &[DeviceId]) {
        let horizon = self.horizon;
        self.marks
            .retain(|device, mark| mark.last > horizon || but.contains(device));
    }

    /// EPOCH-2.
    pub(crate) fn begin_epoch(&mut self) {
        self.epoch = Epoch::new(self.epoch.get() + 1);
        if self.head() > Seq::ZERO {
            self.state.begin_epoch(self.epoch);
        }
    }

    /// Forgets everything after `head`, as a disk that was rolled back: a new epoch begins.
    pub(crate) fn roll_back(&mut self, head: usize) {
        self.epoch = Epoch::new(self.epoch.get() + 1);
        let kept: Vec<Event> = self.log.drain(..).take(head).collect();
        self.state = State::new(Arc::clone(&self.schema));
        self.marks.clear();
        for event in kept {
            let mark = self.marks.entry(event.device).or_default();
            mark.device_seq = event.device_seq;
            (mark.base_seq, mark.last) = (event.base_seq, event.seq);
            let event = Event {
                epoch: self.epoch,
                ..event
            };
            self.state.apply(&event).unwrap();
            self.log.push(event);
        }
    }
}

fn refused(name: &str) -> Answer {
    Answer::Refused(Refusal::new(name, "said the model"))
}
