//! What the broker sends: the opening state, events, the schema, refusals (REPLICA, SCHEMA).

use std::sync::Arc;

use syncline_protocol::state::{NotNext, SnapshotError};
use syncline_protocol::{
    DeviceSeq, Epoch, Event, Notice, Schema, Seq, Snapshot, StreamId, Topic, UnixMillis,
};

use crate::core::Core;
use crate::fork::Fork;
use crate::input::{Answer, Refusal};
use crate::link::{Awaits, SchemaWait, Up};
use crate::outbox::{Entry, WINDOW_MAX};
use crate::output::{FaultKind, Output};
use crate::rows::{IntentId, Row};

/// A message of ours.
enum Known {
    Event(Box<Event>),
    State(Box<Snapshot>),
    Schema(Arc<Schema>),
    Refused(Option<DeviceSeq>, Refusal),
}

impl Core {
    pub(crate) fn message(&mut self, now: UnixMillis, random: f64, topic: &str, payload: &[u8]) {
        if self.link.up().is_none() {
            return;
        }
        match self.read(topic, payload) {
            Ok(None) => {}
            Ok(Some(Known::Event(event))) => self.event(now, random, event),
            Ok(Some(Known::State(snapshot))) => self.opening(now, random, &snapshot),
            Ok(Some(Known::Schema(schema))) => self.schema(now, random, schema),
            Ok(Some(Known::Refused(device_seq, refusal))) => self.error(now, device_seq, refusal),
            Err(detail) => self.give_up(now, random, FaultKind::BadMessage, detail),
        }
    }

    fn read(&self, topic: &str, payload: &[u8]) -> Result<Option<Known>, String> {
        let Ok(topic) = topic.parse::<Topic>() else {
            return Ok(None);
        };
        match topic {
            Topic::Events(stream) if stream == self.stream => {
                let event = Event::decode(payload).map_err(|error| error.to_string())?;
                same_stream(&event.stream, &self.stream)?;
                Ok(Some(Known::Event(Box::new(event))))
            }
            Topic::State(stream) if stream == self.stream => {
                let snapshot = Snapshot::decode(payload).map_err(|error| error.to_string())?;
                same_stream(&snapshot.stream, &self.stream)?;
                if snapshot.parts > 1 {
                    return Err("a state in parts".to_owned());
                }
                Ok(Some(Known::State(Box::new(snapshot))))
            }
            Topic::Schema => {
                read_schema(payload).map(|schema| Some(Known::Schema(Arc::new(schema))))
            }
            Topic::Errors(_, device) if device == self.device.device => {
                let notice = Notice::decode(payload).map_err(|error| error.to_string())?;
                let ours = notice.stream == self.stream;
                Ok(ours.then(|| Known::Refused(notice.device_seq, refusal_of(notice))))
            }
            _ => Ok(None),
        }
    }

    /// REPLICA-3, REPLICA-4.
    fn event(&mut self, now: UnixMillis, random: f64, event: Box<Event>) {
        let taken = |up: &Up| up.awaits == Awaits::Nothing;
        if !self.link.up().is_some_and(taken) {
            return;
        }
        match self.view.apply(&event) {
            Ok(()) => self.applied(now, event),
            Err(NotNext::Applied(_)) => {}
            Err(error) => self.gap(now, random, error),
        }
    }

    fn gap(&mut self, now: UnixMillis, random: f64, error: NotNext) {
        let progressed = self
            .link
            .up_mut()
            .is_some_and(|up| std::mem::replace(&mut up.progressed, false));
        if progressed {
            self.resume(now);
        } else {
            self.give_up(now, random, FaultKind::Gap, error.to_string());
        }
    }

    fn applied(&mut self, now: UnixMillis, event: Box<Event>) {
        self.device.clock = self.device.clock.max(event.clock);
        self.saves.changed(now);
        if let Some(up) = self.link.up_mut() {
            up.progressed = true;
        }
        let own = self.is_own(&event);
        if let Some(id) = self.outbox.at(event.device, event.device_seq) {
            if let Some(entry) = self.outbox.get_mut(id) {
                entry.seen = Some(event.seq);
            }
            self.hide(id);
        }
        self.out.push(Output::Event { event, own });
    }

    /// REPLICA-1, REPLICA-2, REPLICA-7.
    fn opening(&mut self, now: UnixMillis, random: f64, snapshot: &Snapshot) {
        let awaited = self
            .link
            .up()
            .is_some_and(|up| matches!(up.awaits, Awaits::Opening { .. }));
        let Some(mark) = snapshot.mark.filter(|_| awaited) else {
            return;
        };
        if self.view.schema_hash() != Some(snapshot.schema) {
            return self.await_schema(now);
        }
        let before = (self.view.has_replica(), self.view.epoch(), self.view.seq());
        let stale = snapshot.epoch == before.1 && snapshot.seq < before.2;
        if !stale && let Err(error) = self.view.take(snapshot) {
            return self.heal(now, random, error);
        }
        self.see_clocks(snapshot);
        let after = (self.view.has_replica(), self.view.epoch(), self.view.seq());
        if after != before {
            self.saves.changed(now);
        }
        self.opened(mark, before.1);
    }

    fn heal(&mut self, now: UnixMillis, random: f64, error: SnapshotError) {
        let kind = match error {
            SnapshotError::Digest { .. } => FaultKind::Digest,
            SnapshotError::DoesNotFit { .. } => FaultKind::Delta,
        };
        let healed = self
            .link
            .up_mut()
            .is_none_or(|up| std::mem::replace(&mut up.healed, true));
        if healed {
            return self.give_up(now, random, kind, error.to_string());
        }
        self.fault(kind, error.to_string());
        self.resume_from_nothing(now);
    }

    fn opened(&mut self, mark: Option<DeviceSeq>, epoch_before: Epoch) {
        if let Some(up) = self.link.up_mut() {
            (up.awaits, up.open) = (Awaits::Nothing, true);
        }
        self.attempt = 0;
        self.reason = None;
        if epoch_before != Epoch::NONE && epoch_before != self.view.epoch() {
            self.holding = true;
        }
        let forked = mark > self.device.offered;
        self.use_mark(mark.min(self.device.offered), forked);
        if forked {
            self.forked();
        }
        self.let_go_of_acknowledged();
        self.set_aside_doubted();
        self.rebase();
        self.offer();
    }

    /// OUTBOX-9 and the overlay's half of it. `known`: the highest of ours that the broker may have.
    fn use_mark(&mut self, known: Option<DeviceSeq>, forked: bool) {
        let device = Some(self.device.device);
        let is_covered =
            |entry: &Entry| entry.intent.device == device && entry.intent.device_seq <= known;
        let covered = self.outbox.iter().filter(|(_, entry)| is_covered(entry));
        let covered: Vec<IntentId> = covered.map(|(id, _)| id).collect();
        if !forked {
            covered.iter().for_each(|id| self.hide(*id));
        }
        let mut queued: Vec<IntentId> = covered
            .into_iter()
            .filter(|id| self.outbox.is_queued(*id))
            .collect();
        let doubtful = queued.split_off(queued.len().saturating_sub(WINDOW_MAX));
        self.outbox.set_doubtful(doubtful);
        for id in queued {
            let seen = self.outbox.get(id).and_then(|entry| entry.seen);
            self.acknowledge(id, seen);
        }
    }

    /// OVERLAY-2: by G8 the opening has what was acknowledged before it was asked for.
    fn let_go_of_acknowledged(&mut self) {
        let (device, epoch) = (Some(self.device.device), self.known_epoch());
        let gone = self.outbox.iter().filter(|(_, entry)| {
            let other = entry.intent.device != device || entry.acknowledged_under != epoch;
            !entry.is_pending() && other
        });
        let gone: Vec<IntentId> = gone.map(|(id, _)| id).collect();
        gone.into_iter().for_each(|id| self.hide(id));
    }

    /// REPLICA-7.
    fn rebase(&mut self) {
        let (epoch, needs) = (self.known_epoch(), self.next_write());
        let mut rows = Vec::new();
        for (id, entry) in self.outbox.iter_mut() {
            let intent = &mut entry.intent;
            if entry.stage.is_pending() && intent.epoch.is_some() && intent.epoch != epoch {
                intent.epoch = epoch;
                intent.base_seq = Some(Seq::ZERO);
                entry.needs = needs;
                rows.push((
                    Row {
                        id,
                        intent: intent.clone(),
                    },
                    entry.shown,
                ));
            }
        }
        for (row, shown) in rows {
            if shown {
                self.view.show(row.id, &row.intent);
            }
            self.draft().intents.push(row);
        }
    }

    /// OUTBOX-5.
    fn offer(&mut self) {
        let (device, issued) = (Some(self.device.device), self.device.last_issued());
        let (offered, needs) = (self.device.offered, self.next_write());
        if self.fork != Fork::No {
            return;
        }
        let mut found = false;
        for (_, entry) in self.outbox.iter_mut() {
            let intent = &entry.intent;
            if entry.stage.is_pending() && intent.device == device && intent.device_seq > offered {
                entry.needs = needs;
                found = true;
            }
        }
        if found {
            self.device.offered = issued;
            self.write_device();
        }
    }

    /// SCHEMA-11.
    fn schema(&mut self, now: UnixMillis, random: f64, schema: Arc<Schema>) {
        let awaits = self.link.up().map(|up| up.awaits);
        let hash = schema.hash();
        if self.view.schema_hash() == Some(hash) {
            if matches!(
                awaits,
                Some(Awaits::Schema {
                    kind: SchemaWait::Other,
                    ..
                })
            ) {
                let detail = "the state is of another schema than the broker shows".to_owned();
                self.give_up(now, random, FaultKind::Schema, detail);
            }
            return;
        }
        self.view.start_over(schema);
        self.show_all();
        self.saves.schema_is_new = true;
        self.saves.changed(now);
        self.out.push(Output::SchemaChanged(hash));
        self.resume_from_nothing(now);
    }

    /// REFUSE-1.
    fn error(&mut self, now: UnixMillis, device_seq: Option<DeviceSeq>, refusal: Refusal) {
        if let Some(id) = self.outbox.at(self.device.device, device_seq) {
            self.answered(now, id, Answer::Refused(refusal));
        }
    }

    /// OUTBOX-2.
    pub(crate) fn see_clocks(&mut self, snapshot: &Snapshot) {
        let entries = snapshot
            .collections
            .values()
            .flat_map(|entries| entries.values());
        let seen = entries
            .flat_map(syncline_protocol::Entry::acts)
            .map(|act| act.clock)
            .max()
            .unwrap_or_default();
        self.device.clock = self.device.clock.max(seen);
    }
}

fn same_stream(said: &StreamId, ours: &StreamId) -> Result<(), String> {
    if said == ours {
        Ok(())
    } else {
        Err(format!("a message of {said} on the topic of {ours}"))
    }
}

fn read_schema(payload: &[u8]) -> Result<Schema, String> {
    let text = std::str::from_utf8(payload).map_err(|error| error.to_string())?;
    Schema::from_document(text).map_err(|error| error.to_string())
}

fn refusal_of(notice: Notice) -> Refusal {
    Refusal {
        name: notice.error,
        reason: notice.reason,
    }
}
