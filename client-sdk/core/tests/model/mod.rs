//! The broker as a client sees it, in memory: order, marks, openings. Not the broker's own code, so that both are
//! held to the same protocol.

use std::collections::HashMap;
use std::sync::Arc;

use syncline_client_core::{Answer, Refusal};
use syncline_protocol::{
    DeviceId, DeviceSeq, Epoch, Event, Intent, IntentHash, Schema, Seq, Snapshot, State, StreamId,
    UnixMillis,
};

/// How many hashes of a device are kept (EVENT-10).
const RECENT_MAX: usize = 64;

/// What is accepted of a device.
#[derive(Debug, Default)]
struct Mark {
    device_seq: Option<DeviceSeq>,
    base_seq: Seq,
    recent: Vec<(DeviceSeq, IntentHash, Seq)>,
}

/// One stream.
#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) stream: StreamId,
    pub(crate) schema: Arc<Schema>,
    pub(crate) log: Vec<Event>,
    epoch: Epoch,
    state: State,
    marks: HashMap<DeviceId, Mark>,
}

impl Broker {
    pub(crate) fn new(stream: StreamId) -> Self {
        let toml = include_str!("../../../../config/schemas/music.toml");
        let schema = Arc::new(Schema::parse(toml).unwrap());
        let state = State::new(Arc::clone(&schema));
        let (log, marks, epoch) = (Vec::new(), HashMap::new(), Epoch::new(1));
        Self {
            stream,
            schema,
            log,
            epoch,
            state,
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
        if intent.event_type.as_str() == "forbidden" {
            return refused("not_allowed");
        }
        Answer::Saved(self.accept(now, intent, (device, device_seq, hash)))
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
        mark.device_seq = Some(device_seq);
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
    pub(crate) fn opening(&self, device: DeviceId, seq: Seq, epoch: Epoch) -> Snapshot {
        let follows = epoch == self.state.epoch() && seq <= self.head();
        let since = if follows { seq } else { Seq::ZERO };
        let mut snapshot = Snapshot::of(&self.state, self.stream.clone(), since);
        snapshot.mark = Some(self.marks.get(&device).and_then(|mark| mark.device_seq));
        snapshot
    }

    pub(crate) fn event_after(&self, seq: Seq) -> Option<&Event> {
        self.log.get(usize::try_from(seq.get()).unwrap())
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
            mark.base_seq = event.base_seq;
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
