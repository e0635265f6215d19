//! A device: the real client core, a storage that keeps only what was written to its end, and a clock of its own.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use syncline_client_core::{
    Core, DeviceRow, Input, IntentId, OpenOptions, Output, Rejected, Row, Stored, Write,
};
use syncline_protocol::{
    DeviceId, DeviceSeq, EventType, Schema, Snapshot, StreamId, UnixMillis, Value,
};

use crate::link::LinkId;
use crate::workload;

/// What a storage holds for good.
#[derive(Debug, Clone, Default)]
pub(crate) struct Storage {
    device: Option<DeviceRow>,
    intents: BTreeMap<IntentId, Row>,
    replica: Option<Snapshot>,
    schema: Option<Arc<Schema>>,
}

impl Storage {
    fn write(&mut self, write: Write) {
        for id in write.delete {
            self.intents.remove(&id);
        }
        let rows = write.intents.into_iter();
        self.intents.extend(rows.map(|row| (row.id, row)));
        self.device = write.device.or(self.device);
        self.replica = write.replica.or(self.replica.take());
        self.schema = write.schema.or(self.schema.take());
    }

    fn stored(&self) -> Option<Stored> {
        Some(Stored {
            device: self.device?,
            intents: self.intents.values().cloned().collect(),
            replica: self.replica.clone(),
            schema: self.schema.clone(),
        })
    }

    /// The intents that it holds, by what makes them one of their kind.
    pub(crate) fn said(&self) -> impl Iterator<Item = u64> {
        let intents = self.intents.values();
        intents.filter_map(|row| workload::said(&row.intent.event_data))
    }

    /// The replica as it was written last.
    pub(crate) fn replica(&self) -> Option<&Snapshot> {
        self.replica.as_ref()
    }
}

/// One installation.
pub(crate) struct Device {
    pub(crate) stream: StreamId,
    /// None while it is switched off.
    core: Option<Core>,
    pub(crate) storage: Storage,
    unwritten: VecDeque<Write>,
    /// How far its clock is from the true time.
    pub(crate) skew_ms: i64,
    last_now: u64,
    pub(crate) link: Option<LinkId>,
    /// Which intent says what, while it runs.
    pub(crate) said: BTreeMap<IntentId, u64>,
    /// It does not want to be connected.
    pub(crate) offline: bool,
    /// No packet comes through until then.
    pub(crate) partitioned_until: u64,
    /// A copied profile is in the world: what it says may be said by two.
    pub(crate) has_twin: bool,
    pub(crate) maximum_packet_size: Option<u32>,
    /// How slowly it makes things durable.
    pub(crate) write_ms: u64,
    pub(crate) alarm: Option<u64>,
    /// The broker has refused something of it, and perhaps more than it knows.
    pub(crate) was_refused: bool,
    /// What it was told that the horizon overtook, since it runs.
    pub(crate) overtaken: BTreeSet<(DeviceId, DeviceSeq)>,
}

impl Device {
    pub(crate) fn new(stream: StreamId) -> Self {
        Self {
            stream,
            core: None,
            storage: Storage::default(),
            unwritten: VecDeque::new(),
            skew_ms: 0,
            last_now: 0,
            link: None,
            said: BTreeMap::new(),
            offline: false,
            partitioned_until: 0,
            has_twin: false,
            maximum_packet_size: None,
            write_ms: 5,
            alarm: None,
            was_refused: false,
            overtaken: BTreeSet::new(),
        }
    }

    pub(crate) fn core(&self) -> Option<&Core> {
        self.core.as_ref()
    }

    pub(crate) fn is_on(&self) -> bool {
        self.core.is_some()
    }

    /// Starts on what its storage holds. `fresh`: who it is if that is new.
    pub(crate) fn start(&mut self, now: u64, fresh: DeviceId) -> Vec<Output> {
        let mut options = OpenOptions::new(self.stream.clone(), fresh);
        options.stored = self.storage.stored();
        options.online = !self.offline;
        self.last_now = 0;
        self.alarm = None;
        self.overtaken.clear();
        let intents = self.storage.intents.iter();
        let said =
            intents.filter_map(|(id, row)| Some((*id, workload::said(&row.intent.event_data)?)));
        self.said = said.collect();
        let (core, outputs) = Core::open(self.clock(now), options);
        self.core = Some(core);
        outputs
    }

    /// Stops without a word. What was not written to its end is lost.
    pub(crate) fn stop(&mut self) {
        self.core = None;
        self.unwritten.clear();
        self.link = None;
    }

    /// Its own clock: wrong, but never going back nor standing still while it runs.
    fn clock(&mut self, now: u64) -> UnixMillis {
        let shown = now.saturating_add_signed(self.skew_ms);
        self.last_now = shown.max(self.last_now + 1);
        UnixMillis::new(self.last_now)
    }

    /// When its clock shows this, in true time.
    fn true_time(&self, shown: UnixMillis) -> u64 {
        shown.get().saturating_add_signed(-self.skew_ms)
    }

    pub(crate) fn handle(&mut self, now: u64, random: f64, input: Input) -> Vec<Output> {
        let clock = self.clock(now);
        let core = self.core.as_mut();
        core.map_or_else(Vec::new, |core| core.handle(clock, random, input))
    }

    pub(crate) fn publish(
        &mut self,
        now: u64,
        event_type: EventType,
        data: Value,
    ) -> Option<Result<(IntentId, Vec<Output>), Rejected>> {
        let clock = self.clock(now);
        let core = self.core.as_mut()?;
        Some(core.publish(clock, event_type, data))
    }

    /// When its core wants to be woken, in true time, if no earlier alarm is set.
    pub(crate) fn next_alarm(&mut self, now: u64) -> Option<u64> {
        let due = self.core.as_ref()?.next_timeout()?;
        let due = self.true_time(due).max(now + 1);
        if self.alarm.is_some_and(|set| set <= due) {
            return None;
        }
        self.alarm = Some(due);
        Some(due)
    }

    pub(crate) fn begin_write(&mut self, write: Write) {
        self.unwritten.push_back(write);
    }

    /// The oldest write is durable now.
    pub(crate) fn finish_write(&mut self) -> Option<Input> {
        let write = self.unwritten.pop_front()?;
        let id = write.id;
        self.storage.write(write);
        Some(Input::Persisted(id))
    }

    /// Whether something of it is not durable yet.
    pub(crate) fn is_writing(&self) -> bool {
        !self.unwritten.is_empty()
    }

    /// Live values of the view, all collections.
    pub(crate) fn view(&self) -> BTreeMap<(String, String), Value> {
        let Some(core) = &self.core else {
            return BTreeMap::new();
        };
        let of = |name: &str| {
            let entries = core.entries(name).into_iter();
            let name = name.to_owned();
            entries.map(move |(key, value)| ((name.clone(), key), value))
        };
        workload::COLLECTIONS
            .iter()
            .flat_map(|it| of(it.name))
            .collect()
    }
}
