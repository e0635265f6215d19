//! Whether everything adds up: order, states, digests, marks.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;

use clap::Args;
use serde::{Deserialize, Serialize};
use syncline_protocol::event::Event;
use syncline_protocol::{DeviceId, DeviceSeq, Schema, Seq, State, StreamId, UnixMillis};

use super::{HistoryError, READ, StreamName, each_stream};
use crate::compactor::States;
use crate::store::{Base, Committed, EventStore, Stop, StoreError, StreamHead};

/// What to check.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VerifyRequest {
    /// Only this stream: <sync_id> or <sync_id>/<channel>. Everything without it.
    #[arg(long, value_name = "STREAM")]
    pub stream: Option<StreamName>,
}

/// How often a stream is read again because it was compacted while it was read.
const ATTEMPTS_MAX: usize = 8;

/// How often a stream is checked before it is said not to add up: one that was compacted or erased meanwhile looks so once.
const CHECKS: usize = 3;

/// Writes what does not add up, line by line, and at last how much was checked. Findings make it an error.
pub(super) fn verify(
    store: &dyn EventStore,
    states: &States,
    schema: &Arc<Schema>,
    request: &VerifyRequest,
    stop: &Stop,
    out: &mut dyn Write,
) -> Result<(), HistoryError> {
    let mut totals = Totals::default();
    let verifier = Verifier {
        store,
        states,
        schema,
        stop,
    };
    let mut one = |stream: &StreamId, out: &mut dyn Write| -> Result<(), HistoryError> {
        let checked = verifier.check(stream)?;
        totals.streams += 1;
        totals.events += checked.events;
        totals.findings += checked.findings.len();
        for finding in &checked.findings {
            writeln!(out, "{}: {finding}", StreamName(stream.clone()))?;
        }
        Ok(())
    };
    match &request.stream {
        Some(StreamName(stream)) => one(stream, out)?,
        None => each_stream(store, stop, |stream, _| one(stream, out))?,
    }
    let Totals {
        streams,
        events,
        findings,
    } = totals;
    writeln!(
        out,
        "{streams} streams, {events} kept events, schema {}: {findings} findings",
        schema.hash()
    )?;
    if findings == 0 {
        Ok(())
    } else {
        let remedy = "the store does not add up; restore a backup, or export what is well";
        Err(HistoryError::Request(remedy.to_owned()))
    }
}

#[derive(Debug, Default)]
struct Totals {
    streams: u64,
    events: u64,
    findings: usize,
}

/// What was found in one stream.
#[derive(Debug, Default)]
struct Checked {
    events: u64,
    findings: Vec<String>,
}

/// What streams are checked with.
struct Verifier<'a> {
    store: &'a dyn EventStore,
    states: &'a States,
    schema: &'a Arc<Schema>,
    stop: &'a Stop,
}

impl Verifier<'_> {
    fn check(&self, stream: &StreamId) -> Result<Checked, HistoryError> {
        let mut checked = self.check_unmoved(stream)?;
        for _ in 1..CHECKS {
            if checked.findings.is_empty() {
                break;
            }
            checked = self.check_unmoved(stream)?;
        }
        Ok(checked)
    }

    fn check_unmoved(&self, stream: &StreamId) -> Result<Checked, HistoryError> {
        for _ in 0..ATTEMPTS_MAX {
            match self.check_once(stream) {
                Err(HistoryError::Store(StoreError::Folded { .. })) => {}
                other => return other,
            }
        }
        let name = StreamName(stream.clone());
        let reason = format!("{name} is compacted faster than it can be read; try again");
        Err(HistoryError::Request(reason))
    }

    fn check_once(&self, stream: &StreamId) -> Result<Checked, HistoryError> {
        let mut unreadable = Vec::new();
        let base = self.store.entries(stream, &mut |stored| {
            if let Err(error) = syncline_protocol::state::Entry::decode(&stored.entry) {
                unreadable.push(format!(
                    "the entry {} {} cannot be read: {error}",
                    stored.collection, stored.key
                ));
            }
        })?;
        let head = self.store.head(stream)?;
        let mut chain = Chain::new(stream, &base, &head);
        chain.findings.append(&mut unreadable);
        while chain.seq < head.seq {
            self.stop.check()?;
            let events = self.store.read(stream, chain.seq, READ)?;
            if events.is_empty() {
                chain.find(format!("the event at {} is missing", chain.seq.next()));
                break;
            }
            events.iter().for_each(|event| chain.event(event));
        }
        check_marks(self.store, stream, &mut chain)?;
        self.stop.check()?;
        let mut checked = Checked {
            events: chain.events,
            findings: chain.findings,
        };
        check_digest(self.states, self.schema, stream, &head, &mut checked);
        Ok(checked)
    }
}

/// The events of a stream, one after the other.
struct Chain<'a> {
    stream: &'a StreamId,
    seq: Seq,
    accepted_at: UnixMillis,
    highest: HashMap<DeviceId, DeviceSeq>,
    events: u64,
    findings: Vec<String>,
}

impl<'a> Chain<'a> {
    fn new(stream: &'a StreamId, base: &Base, head: &StreamHead) -> Self {
        let mut chain = Self {
            stream,
            seq: base.seq,
            accepted_at: UnixMillis::new(0),
            highest: HashMap::new(),
            events: 0,
            findings: Vec::new(),
        };
        if base.seq > head.horizon || head.horizon > head.seq {
            let (base, horizon, head) = (base.seq, head.horizon, head.seq);
            chain.find(format!(
                "the state is at {base}, the horizon {horizon}, the head {head}: they must not descend"
            ));
        }
        chain
    }

    fn find(&mut self, finding: String) {
        self.findings.push(finding);
    }

    fn event(&mut self, committed: &Committed) {
        let seq = committed.seq();
        self.events += 1;
        if seq != self.seq.next() {
            self.find(format!("{seq} follows {}", self.seq));
        }
        self.seq = seq;
        match Event::decode(committed.payload()) {
            Err(error) => self.find(format!("the event at {seq} cannot be read: {error}")),
            Ok(event) => self.content(seq, &event),
        }
    }

    fn content(&mut self, seq: Seq, event: &Event) {
        if event.seq != seq || event.stream != *self.stream {
            self.find(format!("at {seq} stands {} of {}", event.seq, event.stream));
        }
        if event.base_seq >= seq {
            self.find(format!("the event at {seq} saw {}", event.base_seq));
        }
        if event.accepted_at < self.accepted_at {
            self.find(format!(
                "the event at {seq} was accepted before the one before it"
            ));
        }
        self.accepted_at = event.accepted_at;
        if let Some(number) = event.device_seq
            && self
                .highest
                .insert(event.device, number)
                .is_some_and(|before| before >= number)
        {
            let device = event.device;
            self.find(format!(
                "device_seq {number} of {device} at {seq} does not grow"
            ));
        }
    }
}

/// The mark of a device is its last event's, and its recent events stand in the stream.
fn check_marks(
    store: &dyn EventStore,
    stream: &StreamId,
    chain: &mut Chain<'_>,
) -> Result<(), HistoryError> {
    let mut highest = std::mem::take(&mut chain.highest);
    let mut marks = Vec::new();
    store.marks(stream, &mut |device, mark| marks.push((device, mark)))?;
    // They may be of events that came after the last one that was read.
    let head = store.head(stream)?.seq;
    let mut findings = Vec::new();
    for (device, mark) in marks {
        if let Some(last) = highest.remove(&device)
            && mark.device_seq < Some(last)
        {
            findings.push(format!("the mark of {device} is below its event {last}"));
        }
        if mark.recent.iter().any(|recent| recent.seq > head) {
            findings.push(format!("the mark of {device} is beyond the head"));
        }
    }
    findings.extend(
        highest
            .keys()
            .map(|device| format!("the mark of {device} is missing")),
    );
    findings.sort();
    chain.findings.append(&mut findings);
    Ok(())
}

/// The digest that was kept up entry by entry is that of the entries.
fn check_digest(
    states: &States,
    schema: &Arc<Schema>,
    stream: &StreamId,
    head: &StreamHead,
    checked: &mut Checked,
) {
    let finding = match states.at(stream, head.seq) {
        // Whoever takes a full snapshot adds its entries up.
        Ok(state) => State::new(Arc::clone(schema))
            .take(state.snapshot())
            .err()
            .map(|error| error.to_string()),
        Err(error) => Some(format!("its state cannot be made: {error}")),
    };
    checked.findings.extend(finding);
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Fixture, stream};
    use super::*;

    #[test]
    fn what_was_accepted_while_the_events_were_read_is_no_finding() {
        let fixture = Fixture::with_history();
        let home = stream("home");
        let head = fixture.store.head(&home).unwrap();
        let mut chain = Chain::new(&home, &Base::EMPTY, &head);
        chain.seq = Seq::new(3).unwrap();
        check_marks(&*fixture.store, &home, &mut chain).unwrap();
        assert_eq!(chain.findings, Vec::<String>::new());
    }
}
