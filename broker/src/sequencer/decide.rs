//! What becomes of an intent. Pure: no store, no clock, no randomness.
//!
//! A [`Stream`] is what the next decision depends on. [`Stream::decide`] assumes that what it decides
//! will be kept; whoever learns otherwise throws the `Stream` away and loads it again.

use std::collections::HashMap;
use std::sync::Arc;

use syncline_protocol::{
    DeviceId, DeviceSeq, Epoch, Event, Intent, IntentHash, RefusalName, Refused, Schema, Seq,
    StreamId, UnixMillis,
};

use crate::store::{Footprint, Mark, Record, StreamHead};

/// The farthest that a device may jump ahead in its numbering (EVENT-8).
const DEVICE_SEQ_JUMP_MAX: u64 = 1 << 32;

/// What holds for every stream.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) schema: Arc<Schema>,
    pub(crate) max_clock_skew_ms: u64,
    pub(crate) mark_window: usize,
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
}

impl Stream {
    /// A stream as the store has it, without marks.
    pub(crate) fn new(id: StreamId, head: StreamHead) -> Stream {
        Stream {
            id,
            head,
            marks: HashMap::new(),
        }
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

    /// Decides, and assumes that it will be kept. The device must be known.
    pub(crate) fn decide(&mut self, rules: &Rules, at: Circumstances, intent: &Intent) -> Decision {
        let mark = self.marks.entry(at.device).or_insert_with(Mark::new);
        let hash = intent
            .device_seq
            .map(|number| (number, intent.hash(at.device)));
        match check(rules, &self.head, mark, hash, intent) {
            Err(refused) => Decision::Refused(refused),
            Ok(Some(first_copy)) => Decision::Repeat(first_copy),
            Ok(None) => {
                let event = complete(rules, &self.id, &self.head, mark, at, intent);
                let hash = hash.map(|(_, hash)| hash);
                let footprint = Footprint::of(&event, hash);
                self.head.advance(&footprint);
                mark.absorb(&footprint, rules.mark_window);
                Decision::Append(Sequenced(Record { event, hash }))
            }
        }
    }
}

/// Dedupe, epoch, schema, in this order: a repeat is a repeat whatever has changed since.
fn check(
    rules: &Rules,
    head: &StreamHead,
    mark: &Mark,
    hash: Option<(DeviceSeq, IntentHash)>,
    intent: &Intent,
) -> Result<Option<Seq>, Refused> {
    if let Some((number, hash)) = hash
        && let Some(first_copy) = check_number(mark, number, hash)?
    {
        return Ok(Some(first_copy));
    }
    check_epoch(head, intent)?;
    check_schema(&rules.schema, intent)?;
    Ok(None)
}

/// EVENT-8 and EVENT-10: the first copy's seq if it is a repeat.
fn check_number(mark: &Mark, number: DeviceSeq, hash: IntentHash) -> Result<Option<Seq>, Refused> {
    let highest = mark.device_seq.map_or(0, DeviceSeq::get);
    if number.get() <= highest {
        let reason = "another event of this device had this device_seq or a later one";
        let forked = || Refused::new(RefusalName::DeviceForked, reason);
        return mark.first_copy(hash).map(Some).ok_or_else(forked);
    }
    if number.get() - highest > DEVICE_SEQ_JUMP_MAX {
        let reason = "device_seq jumps by more than 2^32";
        return Err(Refused::new(RefusalName::BadDeviceSeq, reason));
    }
    Ok(None)
}

/// EVENT-7. A device that has seen nothing (`base_seq` 0, the epoch of zeros) names no history.
fn check_epoch(head: &StreamHead, intent: &Intent) -> Result<(), Refused> {
    let (Some(base_seq), Some(epoch)) = (intent.base_seq, intent.epoch) else {
        return Ok(());
    };
    let names_none = epoch == Epoch::NONE && base_seq == Seq::ZERO;
    if epoch == head.epoch || names_none {
        return Ok(());
    }
    let reason = "base_seq is of another history of this stream";
    Err(Refused::new(RefusalName::WrongEpoch, reason))
}

fn check_schema(schema: &Schema, intent: &Intent) -> Result<(), Refused> {
    match schema.operation(&intent.event_type, &intent.event_data) {
        Err(bad_data) => Err(Refused::new(RefusalName::BadData, bad_data.to_string())),
        Ok(None) if schema.is_strict() => {
            let reason = "the schema is strict and does not name this event_type";
            Err(Refused::new(RefusalName::UnknownType, reason))
        }
        Ok(_) => Ok(()),
    }
}

/// Fills in what the client left out.
fn complete(
    rules: &Rules,
    id: &StreamId,
    head: &StreamHead,
    mark: &Mark,
    at: Circumstances,
    intent: &Intent,
) -> Event {
    let accepted_at = at.now.max(head.accepted_at);
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
        base_seq: intent
            .base_seq
            .unwrap_or(head.seq)
            .max(mark.base_seq)
            .min(head.seq),
        extra: intent.extra.clone(),
    }
}
