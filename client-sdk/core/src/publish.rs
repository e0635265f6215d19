//! What the app does: an intent is made, shown and written (OUTBOX-1 … OUTBOX-3), and may stand for earlier ones (OUTBOX-10).

use syncline_protocol::planted::{Planted, planted};
use syncline_protocol::schema::{Conflict, Kind};
use syncline_protocol::{EventType, Intent, Operation, UnixMillis, Value};

use crate::core::{Core, Rejected};
use crate::fork::Fork;
use crate::outbox::Stage;
use crate::output::{Outcome, Output};
use crate::rows::IntentId;
use crate::undo::{Step, Unfinished};

impl Core {
    /// Publishes for the app: shown at once, durable when `Stored` comes for the id.
    pub fn publish(
        &mut self,
        now: UnixMillis,
        event_type: EventType,
        event_data: Value,
    ) -> Result<(IntentId, Vec<Output>), Rejected> {
        let (id, step) = self.add(now, event_type, event_data)?;
        let outputs = self.finish(now);
        // What was set aside at once is no step.
        if let Some(step) = step.filter(|_| self.outbox.get(id).is_some()) {
            self.steps.did(step.finish(id, &self.view));
        }
        Ok((id, outputs))
    }

    /// Without the end of the input. The step that takes it back, if the schema names its type.
    pub(crate) fn add(
        &mut self,
        now: UnixMillis,
        event_type: EventType,
        event_data: Value,
    ) -> Result<(IntentId, Option<Unfinished>), Rejected> {
        let operation = self.view.operation(&event_type, &event_data)?;
        let superseded = operation.as_ref().map(|it| self.superseded_by(it));
        let superseded = superseded.unwrap_or_default();
        if self.outbox.pending() - superseded.len() >= self.outbox_limit {
            return Err(Rejected::OutboxFull(self.outbox_limit));
        }
        let saw = operation.as_ref().map(|it| self.view.saw(it));
        let step = operation.as_ref().map(|it| Step::before(&self.view, it));
        let intent = self.stamp(now, event_type, event_data);
        let id = self.outbox.add(intent.clone(), saw);
        superseded
            .into_iter()
            .for_each(|earlier| self.supersede(earlier, id));
        self.view.show(id, &intent);
        self.write_row(id);
        self.write_device();
        self.write_first_schema();
        self.unstored.push_back((id, self.next_write()));
        let early = planted(Planted::StoredBeforeDurable).then_some(Output::Stored(id));
        self.out.extend(early);
        Ok((id, step))
    }

    /// OUTBOX-10: of what was certainly not accepted. A later intent beats what it beats, and has seen what it has.
    fn superseded_by(&self, operation: &Operation) -> Vec<IntentId> {
        let definition = self.view.definition(&operation.collection);
        let last_one_wins = definition.is_some_and(|it| {
            matches!(it.kind, Kind::Set | Kind::Map) && it.conflict == Some(Conflict::LastWriteWins)
        });
        if !last_one_wins {
            return Vec::new();
        }
        let mut earlier = self.view.shown_on(operation);
        earlier.retain(|id| {
            let entry = self.outbox.get(*id);
            entry.is_some_and(|it| match it.stage {
                Stage::Queued => it.intent.device_seq > self.device.offered,
                stage => stage == Stage::Overtaken,
            })
        });
        earlier.sort_unstable();
        earlier
    }

    fn supersede(&mut self, earlier: IntentId, by: IntentId) {
        if let Some(entry) = self.outbox.remove(earlier) {
            self.view.hide(earlier, &entry.intent);
            self.draft().delete.push(earlier);
            self.out.push(Output::Receipt {
                id: earlier,
                outcome: Outcome::Superseded(by),
            });
        }
    }

    fn stamp(&mut self, now: UnixMillis, event_type: EventType, event_data: Value) -> Intent {
        let device_seq = self.device.next_device_seq;
        self.device.next_device_seq = device_seq.next();
        self.device.clock = self.device.clock.tick(now);
        if self.link.is_open() && self.fork == Fork::No {
            self.device.offered = Some(device_seq);
        }
        let mut intent = Intent::new(event_type, event_data);
        intent.device = Some(self.device.device);
        intent.device_seq = Some(device_seq);
        intent.clock = Some(self.device.clock);
        intent.base_seq = Some(self.view.seq());
        intent.epoch = self.known_epoch();
        intent
    }

    /// STORE-3: without any schema a restarted client could not show what it has published.
    fn write_first_schema(&mut self) {
        if self.saves.schema_is_new && !self.saves.schema_is_stored {
            self.draft().schema = self.view.schema().cloned();
            self.saves.schema_stored();
        }
    }
}
