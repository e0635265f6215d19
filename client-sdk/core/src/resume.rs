//! What the broker sends: states (`opening`), events, the schema, refusals (REPLICA, SCHEMA).

use std::sync::Arc;

use syncline_protocol::state::NotNext;
use syncline_protocol::{DeviceSeq, Event, Notice, Schema, Snapshot, StreamId, Topic, UnixMillis};

use crate::core::Core;
use crate::input::{Answer, Refusal};
use crate::link::{Awaits, SchemaWait, Up};
use crate::output::{FaultKind, Output};

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
            Ok(Some(Known::State(part))) => self.state(now, random, *part),
            Ok(Some(Known::Schema(schema))) => self.take_schema(now, random, schema),
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
        let own = self.outbox.at(event.device, event.device_seq);
        match self.view.apply(&event, own) {
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
                self.steps.confirmed(&entry.intent, &event);
            }
            self.hide(id);
        }
        self.out.push(Output::Event { event, own });
        self.go_on_if_reached();
    }

    /// SCHEMA-11.
    fn take_schema(&mut self, now: UnixMillis, random: f64, schema: Arc<Schema>) {
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
        self.steps.clear();
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
