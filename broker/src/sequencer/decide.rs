//! What becomes of an intent. Pure: no store, no clock, no randomness.
//!
//! A [`Stream`] is what the next decision depends on. [`Stream::decide`] assumes that what it decides
//! will be kept; whoever learns otherwise throws the `Stream` away and loads it again.

use std::collections::HashMap;
use std::sync::Arc;

use syncline_protocol::schema::Kind;
use syncline_protocol::{
    DeviceId, Epoch, Event, Intent, Refused, Schema, Seq, StreamId, UnixMillis,
};

use super::checks::{Case, Verdict, counted};
use super::counters::{Ask, CounterKey, Counters};
use super::holding::{Full, Holding, StreamOptions};
use crate::store::{Committed, Footprint, Mark, Record, StreamHead};

/// What holds for every stream.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) schema: Arc<Schema>,
    pub(crate) max_clock_skew_ms: u64,
    pub(crate) mark_window: usize,
    /// HORIZON-3.
    pub(crate) device_retention_ms: u64,
    /// Since when all of the schema holds: nothing is accepted before (STATE-12).
    pub(crate) adopted: UnixMillis,
}

/// The circumstances of one decision.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Circumstances {
    /// Whose event it is (EVENT-4).
    pub(crate) device: DeviceId,
    /// The broker's clock.
    pub(crate) now: UnixMillis,
    /// The epoch of the stream, should this event create it; random and not [`Epoch::NONE`].
    pub(crate) fresh_epoch: Epoch,
    /// Why there is no room for a new event, if there is none.
    pub(crate) full: Option<Full>,
}

/// An event that has its place: deduplicated, checked and complete. Only a decision makes one.
#[derive(Debug)]
pub(crate) struct Sequenced(Record);

impl Sequenced {
    pub(crate) fn event(&self) -> &Event {
        &self.0.event
    }

    pub(crate) fn into_record(self) -> Record {
        self.0
    }
}

/// What becomes of an intent.
#[derive(Debug)]
pub(crate) enum Decision {
    /// A new event; to be kept after all those decided before it.
    Append(Sequenced),
    /// It was decided before and stands at this seq, on disk or about to be.
    Repeat(Seq),
    /// Never.
    Refused(Refused),
}

/// What the next decision on a stream depends on.
#[derive(Debug)]
pub(crate) struct Stream {
    id: StreamId,
    head: StreamHead,
    marks: HashMap<DeviceId, Mark>,
    counters: Counters,
    holding: Holding,
}

impl Stream {
    /// A stream as the store has it, without marks.
    pub(crate) fn new(id: StreamId, head: StreamHead) -> Stream {
        let counters = match head.is_empty() {
            true => Counters::empty(),
            false => Counters::unknown(),
        };
        Stream {
            id,
            head,
            marks: HashMap::new(),
            counters,
            holding: Holding::default(),
        }
    }

    pub(crate) fn id(&self) -> &StreamId {
        &self.id
    }

    pub(crate) fn head(&self) -> StreamHead {
        self.head
    }

    pub(crate) fn knows(&self, device: DeviceId) -> bool {
        self.marks.contains_key(&device)
    }

    pub(crate) fn devices_known(&self) -> usize {
        self.marks.len()
    }

    /// Takes what the store has of a device. Needed once before anything of it is decided.
    pub(crate) fn learn(&mut self, device: DeviceId, mark: Option<Mark>) {
        self.marks.insert(device, mark.unwrap_or_else(Mark::new));
    }

    /// Drops all marks. Only while nothing that was decided here waits to be kept.
    pub(crate) fn forget_devices(&mut self) {
        self.marks.clear();
    }

    /// What must be learned of which counter before this intent can be decided; to be asked until it is nothing.
    pub(crate) fn asks(&self, rules: &Rules, intent: &Intent) -> Option<(Ask, CounterKey)> {
        if rules.schema.kind_of(&intent.event_type) != Some(Kind::Counter) {
            return None;
        }
        let operation = rules
            .schema
            .operation(&intent.event_type, &intent.event_data);
        let (key, amount) = operation.ok().flatten().and_then(counted)?;
        let ask = self.counters.asks(&key, amount)?;
        Some((ask, key))
    }

    pub(crate) fn counters_mut(&mut self) -> &mut Counters {
        &mut self.counters
    }

    pub(crate) fn holding(&mut self) -> &mut Holding {
        &mut self.holding
    }

    /// Everything that was decided here is kept: these events.
    pub(crate) fn settled(&mut self, events: &[Committed], options: &StreamOptions) {
        self.counters.settled();
        self.holding.settled(events, options);
    }

    /// The horizon as it will be, if that is another: raised to at most the head, never lowered (HORIZON-1).
    pub(crate) fn raise(&mut self, to: Seq) -> Option<Seq> {
        let to = to.min(self.head.seq);
        let rises = to > self.head.horizon;
        self.head.horizon = self.head.horizon.max(to);
        rises.then_some(to)
    }

    /// Another epoch begins here (EPOCH-2). Not for a stream that is empty: its first event begins one.
    pub(crate) fn begin(&mut self, epoch: Epoch) {
        self.head.epoch = epoch;
    }

    /// Decides, and assumes that it will be kept. The device must be known, and what the intent asks for learned.
    pub(crate) fn decide(&mut self, rules: &Rules, at: Circumstances, intent: &Intent) -> Decision {
        let mark = self.marks.entry(at.device).or_insert_with(Mark::new);
        let number = intent
            .device_seq
            .map(|number| (number, intent.hash(at.device)));
        let case = Case {
            rules,
            head: &self.head,
            mark,
            counters: &self.counters,
            at,
            number,
            intent,
        };
        let count = match case.verdict() {
            Err(refused) => return Decision::Refused(refused),
            Ok(Verdict::Repeat(first_copy)) => return Decision::Repeat(first_copy),
            Ok(Verdict::New(count)) => count,
        };
        let event = complete(&self.id, &case);
        let hash = number.map(|(_, hash)| hash);
        let footprint = Footprint::of(&event, hash);
        self.head.advance(&footprint);
        mark.absorb(&footprint, rules.mark_window);
        if let Some((key, amount)) = count {
            self.counters.absorb(key, amount);
        }
        Decision::Append(Sequenced(Record { event, hash }))
    }
}

/// Fills in what the client left out.
fn complete(id: &StreamId, case: &Case<'_>) -> Event {
    let Case {
        rules,
        head,
        mark,
        at,
        intent,
        ..
    } = case;
    let accepted_at = at.now.max(head.accepted_at).max(rules.adopted);
    let clock = match intent.clock {
        None => head.clock.tick(accepted_at),
        Some(given) => given.clamp(accepted_at, rules.max_clock_skew_ms, Some(mark.clock)),
    };
    Event {
        stream: id.clone(),
        epoch: if head.is_empty() {
            at.fresh_epoch
        } else {
            head.epoch
        },
        seq: head.seq.next(),
        accepted_at,
        event_type: intent.event_type.clone(),
        event_data: intent.event_data.clone(),
        device: at.device,
        device_seq: intent.device_seq,
        clock,
        base_seq: case.base_seq(),
        extra: intent.extra.clone(),
    }
}
