//! The machine: what it holds, how an input goes through it, and what the app may ask.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use syncline_protocol::{DeviceId, Epoch, Event, Schema, Seq, StreamId, Topic, UnixMillis, Value};

use crate::fork::Fork;
use crate::input::Input;
use crate::link::Link;
use crate::outbox::{Outbox, Stage};
use crate::output::{FaultKind, Output, Pending, PendingStage, Phase, Status};
use crate::rows::{DeviceRow, IntentId, Row, Stored, Write, WriteId};
use crate::saves::Saves;
use crate::undo::Steps;
use crate::view::{OpenValue, View};

/// How many intents may wait unless the app says otherwise (OUTBOX-3).
const OUTBOX_LIMIT: usize = 10_000;

/// What a core starts from.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// What it follows.
    pub stream: StreamId,
    /// Who it is, if the storage is new.
    pub device: DeviceId,
    /// What the storage holds; `None`: it is new.
    pub stored: Option<Stored>,
    /// By what the app's changes are shown until a schema of the broker is known.
    pub schema: Option<Arc<Schema>>,
    /// Whether to connect.
    pub online: bool,
    /// How many unacknowledged intents there may be.
    pub outbox_limit: usize,
}

impl OpenOptions {
    /// A new store, online.
    pub fn new(stream: StreamId, device: DeviceId) -> Self {
        Self {
            stream,
            device,
            stored: None,
            schema: None,
            online: true,
            outbox_limit: OUTBOX_LIMIT,
        }
    }
}

/// Why nothing was published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// OUTBOX-3.
    #[error("{0} changes wait for the broker already, and no more are kept")]
    OutboxFull(usize),
    /// The broker would refuse it as `bad_data`.
    #[error("{0}")]
    BadData(#[from] syncline_protocol::schema::BadData),
}

impl Rejected {
    /// Its name.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::OutboxFull(_) => "outbox_full",
            Self::BadData(_) => "bad_data",
        }
    }
}

/// One stream of one device over one connection. See the crate for how to call it.
#[derive(Debug)]
pub struct Core {
    pub(crate) stream: StreamId,
    pub(crate) device: DeviceRow,
    pub(crate) outbox: Outbox,
    pub(crate) outbox_limit: usize,
    pub(crate) view: View,
    pub(crate) link: Link,
    /// Tries since an opening was taken (RETRY-2).
    pub(crate) attempt: u32,
    /// Why there is no connection.
    pub(crate) reason: Option<String>,
    /// OUTBOX-8.
    pub(crate) holding: bool,
    pub(crate) fork: Fork,
    /// Every opening tells a fork until there is a new device (FORK-5).
    pub(crate) taken_over: bool,
    pub(crate) saves: Saves,
    /// UNDO-1.
    pub(crate) steps: Steps,
    next_write: WriteId,
    pub(crate) persisted: WriteId,
    /// Whether the storage knows the device.
    device_is_stored: bool,
    /// What this input writes, without the intents.
    draft: Option<Write>,
    /// The intents that it writes.
    rows: BTreeSet<IntentId>,
    /// Published, and not yet told stored.
    pub(crate) unstored: VecDeque<(IntentId, WriteId)>,
    status: Option<Status>,
    pub(crate) out: Vec<Output>,
}

impl Core {
    /// Opens what is stored, and says what to do first (OPEN-1 … OPEN-3).
    pub fn open(now: UnixMillis, options: OpenOptions) -> (Self, Vec<Output>) {
        let mut core = Self::empty(&options);
        if let Some(stored) = options.stored {
            core.restore(stored);
        }
        if let (None, Some(schema)) = (core.view.schema(), options.schema) {
            core.view.start_over(schema);
            core.saves.schema_is_new = true;
            core.show_all();
            core.view.take_changes();
        }
        if options.online {
            core.connect(now);
        } else {
            core.switch_off();
        }
        let outputs = core.finish(now);
        (core, outputs)
    }

    fn empty(options: &OpenOptions) -> Self {
        Self {
            stream: options.stream.clone(),
            device: DeviceRow::new(options.device),
            outbox: Outbox::new(Vec::new()),
            outbox_limit: options.outbox_limit,
            view: View::default(),
            link: Link::Off,
            attempt: 0,
            reason: None,
            holding: false,
            fork: Fork::No,
            taken_over: false,
            saves: Saves::default(),
            steps: Steps::default(),
            next_write: WriteId::NONE.next(),
            persisted: WriteId::NONE,
            device_is_stored: options.stored.is_some(),
            draft: None,
            rows: BTreeSet::new(),
            unstored: VecDeque::new(),
            status: None,
            out: Vec::new(),
        }
    }

    fn restore(&mut self, stored: Stored) {
        self.device = stored.device;
        self.outbox = Outbox::new(stored.intents);
        self.outbox.acknowledge_others(self.device.device);
        if let Some(schema) = stored.schema {
            self.saves.schema_is_stored = true;
            self.view.start_over(schema);
        }
        if let Some(replica) = stored.replica {
            self.restore_replica(&replica);
        }
        self.show_all();
        self.view.take_changes();
    }

    fn restore_replica(&mut self, replica: &syncline_protocol::Snapshot) {
        let fits = self.view.schema_hash() == Some(replica.schema)
            && replica.stream == self.stream
            && replica.since == Seq::ZERO;
        let detail = match self.view.take(replica) {
            _ if !fits => "the stored replica is of another stream or schema".to_owned(),
            Err(error) => error.to_string(),
            Ok(()) => return self.see_clocks(replica),
        };
        if let Some(schema) = self.view.schema().cloned() {
            self.view.start_over(schema);
        }
        self.fault(FaultKind::Storage, detail);
    }

    /// Takes what happened, and says what to do about it. `random` is in [0, 1).
    pub fn handle(&mut self, now: UnixMillis, random: f64, input: Input) -> Vec<Output> {
        match input {
            Input::Persisted(write) => self.persisted(now, write),
            Input::Connected {
                receive_maximum,
                maximum_packet_size,
            } => {
                self.connected(receive_maximum, maximum_packet_size);
            }
            Input::Message { topic, payload } => self.message(now, random, &topic, &payload),
            Input::Acked { id, answer } => self.answered(now, id, answer),
            Input::Disconnected { reason, taken_over } => {
                self.disconnected(now, random, reason, taken_over);
            }
            Input::Timeout => self.timeout(now, random),
            Input::SetOnline(online) => self.set_online(now, online),
            Input::NewDevice(device) => self.new_device(now, device),
        }
        self.finish(now)
    }

    /// When `Timeout` is next due.
    pub fn next_timeout(&self) -> Option<UnixMillis> {
        [self.link.timeout(), self.saves.timeout()]
            .into_iter()
            .flatten()
            .min()
    }

    /// The live value of a key in the view.
    pub fn value(&self, collection: &str, key: &str) -> Option<&Value> {
        self.view.value(collection, key)
    }

    /// All live keys of a collection in the view, and their values.
    pub fn entries(&self, collection: &str) -> BTreeMap<String, Value> {
        self.view.entries(collection)
    }

    /// The live items of a list in the view, in its order: keys and values. `list` is `None` where the schema gives a
    /// collection one list only.
    pub fn list(&self, collection: &str, list: Option<&str>) -> Vec<(String, Value)> {
        self.view.list(collection, list)
    }

    /// The values among which somebody has to choose, the one that is shown first; none if there is no conflict
    /// (OVERLAY-5).
    pub fn open_values(&self, collection: &str, key: &str) -> Vec<OpenValue> {
        self.view.open_values(collection, key)
    }

    /// All conflicts of a collection: keys with their open values (OVERLAY-5).
    pub fn conflicts(&self, collection: &str) -> Vec<(String, Vec<OpenValue>)> {
        self.view.conflicts(collection)
    }

    /// The intents that the broker has not acknowledged, in their order.
    pub fn pending(&self) -> Vec<Pending> {
        let ids = self.outbox.pending_in_order().into_iter();
        let pending = ids.filter_map(|id| {
            let entry = self.outbox.get(id)?;
            Some(Pending {
                id,
                intent: entry.intent.clone(),
                stage: match entry.stage {
                    Stage::Sent(_) => PendingStage::Sent,
                    Stage::Overtaken => PendingStage::Overtaken,
                    Stage::Queued | Stage::Acknowledged => PendingStage::Waiting,
                },
            })
        });
        pending.collect()
    }

    /// The schema by which the app's changes are shown, once one is known.
    pub fn schema(&self) -> Option<&Arc<Schema>> {
        self.view.schema()
    }

    /// How things stand.
    pub fn status(&self) -> Status {
        let phase = self.link.phase();
        let reason = if phase == Phase::Online {
            None
        } else {
            self.reason.clone()
        };
        let next_retry_at = self.link.retry_at();
        Status {
            phase,
            pending: self.outbox.pending(),
            next_retry_at,
            reason,
        }
    }

    /// Which history the replica is of; `NONE` while nothing of one is known.
    pub fn epoch(&self) -> Epoch {
        self.view.epoch()
    }

    /// The stream that it follows.
    pub fn stream(&self) -> &StreamId {
        &self.stream
    }

    /// The device that it is.
    pub fn device(&self) -> DeviceId {
        self.device.device
    }

    fn persisted(&mut self, now: UnixMillis, write: WriteId) {
        self.persisted = self.persisted.max(write);
        self.saves.persisted(write);
        while let Some((id, _)) = self.unstored.pop_front_if(|(_, needs)| *needs <= write) {
            self.out.push(Output::Stored(id));
        }
        self.save_if_due(now);
    }

    fn timeout(&mut self, now: UnixMillis, random: f64) {
        self.link_timeout(now, random);
        self.save_if_due(now);
    }

    pub(crate) fn save_if_due(&mut self, now: UnixMillis) {
        if !self.saves.is_due(now) {
            return;
        }
        let replica = self.view.snapshot(&self.stream);
        let schema = self
            .view
            .schema()
            .filter(|_| self.saves.schema_is_new)
            .cloned();
        let delete = self.outbox.take_deletable();
        self.saves.started(self.next_write);
        let draft = self.draft();
        draft.replica = replica;
        draft.schema = schema;
        draft.delete.extend(delete);
    }

    /// What every input ends with: send what may be sent, write what changed, tell what differs.
    pub(crate) fn finish(&mut self, now: UnixMillis) -> Vec<Output> {
        self.send_what_may_be();
        if self.outbox.has_deletable() {
            self.saves.changed(now);
        }
        self.flush();
        let changes = self.view.take_changes();
        self.out.extend(changes);
        let status = self.status();
        if self.status.as_ref() != Some(&status) {
            self.out.push(Output::Status(status.clone()));
            self.status = Some(status);
        }
        self.out.sort_by_key(Output::rank);
        std::mem::take(&mut self.out)
    }

    fn flush(&mut self) {
        if self.draft.is_some() && !self.device_is_stored {
            self.device_is_stored = true;
            self.write_device();
        }
        if let Some(mut write) = self.draft.take() {
            let rows = std::mem::take(&mut self.rows).into_iter();
            write.intents = rows.filter_map(|id| self.row(id)).collect();
            write.delete.sort_unstable();
            self.next_write = write.id.next();
            self.out.push(Output::Write(Box::new(write)));
        }
    }

    /// The write of this input. Its number is [`Core::next_write`] all the time.
    pub(crate) fn draft(&mut self) -> &mut Write {
        let id = self.next_write;
        self.draft.get_or_insert_with(|| Write::new(id))
    }

    /// Puts an intent into the write of this input, as it is at the end; it is not sent before that is durable.
    pub(crate) fn write_row(&mut self, id: IntentId) {
        let needs = self.next_write;
        if let Some(entry) = self.outbox.get_mut(id) {
            entry.needs = needs;
        }
        self.draft();
        self.rows.insert(id);
    }

    fn row(&self, id: IntentId) -> Option<Row> {
        let entry = self.outbox.get(id)?;
        Some(Row {
            id,
            intent: entry.intent.clone(),
            saw: entry.saw,
            overtaken: entry.stage == Stage::Overtaken,
        })
    }

    pub(crate) fn next_write(&self) -> WriteId {
        self.next_write
    }

    pub(crate) fn write_device(&mut self) {
        let device = self.device;
        self.draft().device = Some(device);
    }

    pub(crate) fn known_epoch(&self) -> Option<syncline_protocol::Epoch> {
        Some(self.view.epoch()).filter(|epoch| *epoch != syncline_protocol::Epoch::NONE)
    }

    pub(crate) fn fault(&mut self, kind: FaultKind, detail: impl Into<String>) {
        self.out.push(Output::Fault {
            kind,
            detail: detail.into(),
        });
    }

    /// Puts into the overlay what belongs there.
    pub(crate) fn show_all(&mut self) {
        self.view.hide_all();
        for id in self.outbox.in_order(self.device.device) {
            if let Some(entry) = self.outbox.get(id).filter(|entry| entry.shown) {
                self.view.show(id, &entry.intent);
            }
        }
    }

    /// Takes an intent out of the overlay.
    pub(crate) fn hide(&mut self, id: IntentId) {
        if let Some(entry) = self.outbox.get(id).filter(|entry| entry.shown) {
            self.view.hide(id, &entry.intent);
            self.outbox.hide(id);
        }
    }

    pub(crate) fn events_topic(&self) -> String {
        Topic::Events(self.stream.clone()).to_string()
    }

    /// REPLICA-6.
    pub(crate) fn is_own(&self, event: &Event) -> bool {
        let issued = event
            .device_seq
            .is_some_and(|n| n < self.device.next_device_seq);
        (event.device == self.device.device && issued)
            || self.outbox.at(event.device, event.device_seq).is_some()
    }
}
