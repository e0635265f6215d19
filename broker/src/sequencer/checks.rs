//! Why an intent is not taken: dedupe, epoch, horizon, schema and room, in this order (HORIZON-2). Pure.

use syncline_protocol::planted::{Planted, planted};
use syncline_protocol::schema::{Action, Kind};
use syncline_protocol::{
    DeviceSeq, Epoch, Intent, IntentHash, Operation, RefusalName, Refused, Schema, Seq,
};

use super::counters::{CounterKey, Counters};
use super::decide::{Circumstances, Rules};
use crate::store::{Mark, StreamHead};

/// The farthest that a device may jump ahead in its numbering (EVENT-8).
const DEVICE_SEQ_JUMP_MAX: u64 = 1 << 32;

/// One intent, and all that decides about it.
pub(super) struct Case<'a> {
    pub(super) rules: &'a Rules,
    pub(super) head: &'a StreamHead,
    pub(super) mark: &'a Mark,
    pub(super) counters: &'a Counters,
    pub(super) at: Circumstances,
    /// Of an intent that its device numbered.
    pub(super) number: Option<(DeviceSeq, IntentHash)>,
    pub(super) intent: &'a Intent,
}

/// What passed every check.
pub(super) enum Verdict {
    /// It stands at this seq.
    Repeat(Seq),
    /// It is new, and adds so much to this counter if it is of one.
    New(Option<(CounterKey, i64)>),
}

impl Case<'_> {
    /// A repeat is a repeat whatever has changed since.
    pub(super) fn verdict(&self) -> Result<Verdict, Refused> {
        let is_expired = self.is_expired();
        if !is_expired && let Some(first_copy) = self.first_copy()? {
            return Ok(Verdict::Repeat(first_copy));
        }
        check_epoch(self.head, self.intent)?;
        if is_expired {
            let reason = "this device was forgotten, and its base_seq is below the horizon: \
                          whether the event was accepted before is not known";
            return Err(Refused::new(RefusalName::Expired, reason));
        }
        self.check_horizon()?;
        let operation = check_schema(&self.rules.schema, self.intent)?;
        if let Some(full) = self.at.full {
            return Err(full.into());
        }
        self.check_overflow(operation).map(Verdict::New)
    }

    /// EVENT-6.
    pub(super) fn base_seq(&self) -> Seq {
        let given = self.intent.base_seq.unwrap_or(self.head.seq);
        given.max(self.mark.base_seq).min(self.head.seq)
    }

    /// HORIZON-3. The mark may still be there: when it goes is for the store's convenience, and must not show. Above the
    /// horizon it is used as long as it is there, because no event of its device that could come again went with it.
    fn is_expired(&self) -> bool {
        let is_below = self
            .intent
            .base_seq
            .is_some_and(|given| given < self.head.horizon);
        self.number.is_some() && is_below && self.is_forgotten()
    }

    fn is_forgotten(&self) -> bool {
        let until = self.mark.accepted_at.plus(self.rules.device_retention_ms);
        self.mark.device_seq.is_none() || until <= self.at.now
    }

    /// EVENT-8 and EVENT-10: the first copy's seq if it is a repeat.
    fn first_copy(&self) -> Result<Option<Seq>, Refused> {
        let Some((number, hash)) = self.number else {
            return Ok(None);
        };
        let highest = self.mark.device_seq.map_or(0, DeviceSeq::get);
        if number.get() <= highest {
            let reason = "another event of this device had this device_seq or a later one";
            let forked = || Refused::new(RefusalName::DeviceForked, reason);
            return self.mark.first_copy(hash).map(Some).ok_or_else(forked);
        }
        if number.get() - highest > DEVICE_SEQ_JUMP_MAX {
            let reason = "device_seq jumps by more than 2^32";
            return Err(Refused::new(RefusalName::BadDeviceSeq, reason));
        }
        Ok(None)
    }

    /// HORIZON-2.
    fn check_horizon(&self) -> Result<(), Refused> {
        let is_below = self.base_seq() < self.head.horizon;
        let is_below = is_below && !planted(Planted::SkippedOvertakenCheck);
        if !is_below || !can_be_overtaken(&self.rules.schema, self.intent) {
            return Ok(());
        }
        let reason = format!(
            "base_seq is below the horizon, {}: what the event must be compared with is gone",
            self.head.horizon
        );
        Err(Refused::new(RefusalName::Overtaken, reason))
    }

    /// STATE-10.
    fn check_overflow(
        &self,
        operation: Option<Operation>,
    ) -> Result<Option<(CounterKey, i64)>, Refused> {
        let Some((key, amount)) = operation.and_then(counted) else {
            return Ok(None);
        };
        if self.counters.overflows(&key, amount) {
            let reason = "the counter would leave the integers from -(2^53-1) to 2^53-1";
            return Err(Refused::new(RefusalName::Overflow, reason));
        }
        Ok(Some((key, amount)))
    }
}

/// Counters and what has no meaning are judged against nothing.
fn can_be_overtaken(schema: &Schema, intent: &Intent) -> bool {
    let kind = schema.kind_of(&intent.event_type);
    kind.is_some_and(|kind| kind != Kind::Counter)
}

/// What an operation adds to which counter, if it is of one.
pub(super) fn counted(operation: Operation) -> Option<(CounterKey, i64)> {
    let Operation {
        collection,
        key,
        action,
    } = operation;
    match action {
        Action::Count(amount) => Some(((collection, key), amount)),
        _ => None,
    }
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

fn check_schema(schema: &Schema, intent: &Intent) -> Result<Option<Operation>, Refused> {
    match schema.operation(&intent.event_type, &intent.event_data) {
        Err(bad_data) => Err(Refused::new(RefusalName::BadData, bad_data.to_string())),
        Ok(None) if schema.is_strict() => {
            let reason = "the schema is strict and does not name this event_type";
            Err(Refused::new(RefusalName::UnknownType, reason))
        }
        Ok(operation) => Ok(operation),
    }
}
