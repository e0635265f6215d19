//! The intents of this client until the broker has them and the replica shows them.
//!
//! An entry is pending (queued, sent or overtaken) until it is acknowledged, and shown until the replica has its event.
//! When it is neither, its row is deletable. Whatever is pending is of the present device, and has its turn by its
//! `device_seq`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use syncline_protocol::{DeviceId, DeviceSeq, Epoch, Intent, Seq};

use crate::rows::{IntentId, Row, Saw, WriteId};

/// How many intents may be on their way, whatever the broker allows (OUTBOX-4).
pub(crate) const WINDOW_MAX: usize = 64;

/// One intent and what became of it so far.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) intent: Intent,
    /// STORE-5.
    pub(crate) saw: Option<Saw>,
    /// The write that must be durable before it may be sent.
    pub(crate) needs: WriteId,
    pub(crate) stage: Stage,
    /// Whether it is in the overlay.
    pub(crate) shown: bool,
    /// Where its event was seen.
    pub(crate) seen: Option<Seq>,
    /// Refused as `wrong_epoch` under the epoch that it carries (REFUSE-3).
    pub(crate) doubted: bool,
    /// Of one that is acknowledged: under which epoch of the replica, and where, if that is known.
    pub(crate) acknowledged: (Option<Epoch>, Option<Seq>),
}

/// The order of pending intents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Turn(Option<DeviceSeq>, IntentId);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Queued,
    /// On its way on this connection, with the epoch that it carried.
    Sent(Option<Epoch>),
    /// Refused as such, and not judged yet (REFUSE-5).
    Overtaken,
    Acknowledged,
}

impl Entry {
    fn new(intent: Intent, saw: Option<Saw>) -> Self {
        Self {
            intent,
            saw,
            needs: WriteId::NONE,
            stage: Stage::Queued,
            shown: true,
            seen: None,
            doubted: false,
            acknowledged: (None, None),
        }
    }

    fn turn(&self, id: IntentId) -> Turn {
        Turn(self.intent.device_seq, id)
    }

    /// Every intent of an outbox has a device and a number; `None` only for a damaged row.
    pub(crate) fn place(&self) -> Option<(DeviceId, DeviceSeq)> {
        Some((self.intent.device?, self.intent.device_seq?))
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.stage.is_pending()
    }
}

impl Stage {
    pub(crate) fn is_pending(self) -> bool {
        self != Self::Acknowledged
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Outbox {
    entries: BTreeMap<IntentId, Entry>,
    queue: BTreeSet<Turn>,
    sent: BTreeSet<IntentId>,
    /// Of the queued ones, those that the broker may have (OUTBOX-9).
    doubtful: BTreeSet<Turn>,
    overtaken: BTreeSet<Turn>,
    places: HashMap<(DeviceId, DeviceSeq), IntentId>,
    deletable: BTreeSet<IntentId>,
    next_id: IntentId,
}

impl Outbox {
    pub(crate) fn new(rows: Vec<Row>) -> Self {
        let next_id = rows.last().map_or(IntentId::FIRST, |row| row.id.next());
        let mut outbox = Self {
            entries: BTreeMap::new(),
            queue: BTreeSet::new(),
            sent: BTreeSet::new(),
            doubtful: BTreeSet::new(),
            overtaken: BTreeSet::new(),
            places: HashMap::new(),
            deletable: BTreeSet::new(),
            next_id,
        };
        for row in rows {
            let mut entry = Entry::new(row.intent, row.saw);
            if row.overtaken {
                entry.stage = Stage::Overtaken;
            }
            outbox.insert(row.id, entry);
        }
        outbox
    }

    /// OPEN-2: a fork changes everything pending, so what is of another device was acknowledged before it.
    pub(crate) fn acknowledge_others(&mut self, device: DeviceId) {
        let others = self
            .entries
            .iter()
            .filter(|(_, it)| it.intent.device != Some(device));
        let others: Vec<IntentId> = others.map(|(id, _)| *id).collect();
        others
            .into_iter()
            .for_each(|id| self.acknowledge(id, (None, None)));
    }

    pub(crate) fn add(&mut self, intent: Intent, saw: Option<Saw>) -> IntentId {
        let id = self.next_id;
        self.next_id = id.next();
        self.insert(id, Entry::new(intent, saw));
        id
    }

    fn insert(&mut self, id: IntentId, entry: Entry) {
        if let Some(place) = entry.place() {
            self.places.insert(place, id);
        }
        let waiting = match entry.stage {
            Stage::Overtaken => &mut self.overtaken,
            _ => &mut self.queue,
        };
        waiting.insert(entry.turn(id));
        self.entries.insert(id, entry);
    }

    pub(crate) fn pending(&self) -> usize {
        self.queue.len() + self.sent.len() + self.overtaken.len()
    }

    pub(crate) fn sent(&self) -> usize {
        self.sent.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (IntentId, &Entry)> {
        self.entries.iter().map(|(id, entry)| (*id, entry))
    }

    /// All in their order: those of earlier devices first.
    pub(crate) fn in_order(&self, device: DeviceId) -> Vec<IntentId> {
        let of_now = |entry: &Entry| entry.intent.device == Some(device);
        let turns = self.iter().map(|(id, it)| (of_now(it), it.turn(id)));
        let mut turns: Vec<(bool, Turn)> = turns.collect();
        turns.sort_unstable();
        turns.into_iter().map(|(_, turn)| turn.1).collect()
    }

    /// All that is pending, in its order.
    pub(crate) fn pending_in_order(&self) -> Vec<IntentId> {
        let pending = self.entries.iter().filter(|(_, it)| it.is_pending());
        let mut turns: Vec<Turn> = pending.map(|(id, it)| it.turn(*id)).collect();
        turns.sort_unstable();
        turns.into_iter().map(|turn| turn.1).collect()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (IntentId, &mut Entry)> {
        self.entries.iter_mut().map(|(id, entry)| (*id, entry))
    }

    pub(crate) fn get(&self, id: IntentId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: IntentId) -> Option<&mut Entry> {
        self.entries.get_mut(&id)
    }

    pub(crate) fn at(&self, device: DeviceId, device_seq: Option<DeviceSeq>) -> Option<IntentId> {
        self.places.get(&(device, device_seq?)).copied()
    }

    /// The first in the queue.
    pub(crate) fn next(&self) -> Option<(IntentId, &Entry)> {
        let id = self.queue.first()?.1;
        Some((id, self.entries.get(&id)?))
    }

    /// The queue up to a `device_seq`.
    pub(crate) fn queued_to(&self, last: Option<DeviceSeq>) -> Vec<IntentId> {
        let queued = self.queue.iter().take_while(|turn| turn.0 <= last);
        queued.map(|turn| turn.1).collect()
    }

    pub(crate) fn is_sent(&self, id: IntentId) -> bool {
        self.sent.contains(&id)
    }

    pub(crate) fn overtaken(&self) -> Vec<IntentId> {
        self.overtaken.iter().map(|turn| turn.1).collect()
    }

    /// The next of those that the broker may have.
    pub(crate) fn next_doubtful(&self) -> Option<(IntentId, &Entry)> {
        let id = self.doubtful.first()?.1;
        Some((id, self.entries.get(&id)?))
    }

    /// These, too, until they are sent or the connection ends.
    pub(crate) fn doubt(&mut self, ids: &[IntentId]) {
        let entries = ids.iter().filter_map(|id| self.entries.get_key_value(id));
        let turns = entries.map(|(id, entry)| entry.turn(*id));
        self.doubtful.extend(turns);
    }

    /// Whether the broker has said of everything that may be there whether it is.
    pub(crate) fn is_clear(&self) -> bool {
        self.sent.is_empty() && self.doubtful.is_empty()
    }

    pub(crate) fn mark_sent(&mut self, id: IntentId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.stage = Stage::Sent(entry.intent.epoch);
            let turn = entry.turn(id);
            self.queue.remove(&turn);
            self.doubtful.remove(&turn);
            self.sent.insert(id);
        }
    }

    pub(crate) fn requeue(&mut self, id: IntentId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.stage = Stage::Queued;
            self.sent.remove(&id);
            self.queue.insert(entry.turn(id));
        }
    }

    /// REFUSE-5: until the next opening.
    pub(crate) fn set_overtaken(&mut self, id: IntentId) {
        if let Some(mut entry) = self.remove(id) {
            entry.stage = Stage::Overtaken;
            self.insert(id, entry);
        }
    }

    /// OUTBOX-12: queues an intent as a new one that has seen all up to `base_seq`.
    pub(crate) fn renew(
        &mut self,
        id: IntentId,
        device_seq: DeviceSeq,
        (epoch, base_seq): (Option<Epoch>, Seq),
    ) {
        if let Some(mut entry) = self.remove(id) {
            entry.intent.device_seq = Some(device_seq);
            entry.intent.base_seq = Some(base_seq);
            entry.intent.epoch = epoch;
            (entry.stage, entry.shown) = (Stage::Queued, true);
            self.insert(id, entry);
        }
    }

    /// OUTBOX-7.
    pub(crate) fn requeue_all(&mut self) {
        self.doubtful.clear();
        let sent: Vec<IntentId> = self.sent.iter().copied().collect();
        sent.into_iter().for_each(|id| self.requeue(id));
    }

    pub(crate) fn acknowledge(&mut self, id: IntentId, under: (Option<Epoch>, Option<Seq>)) {
        if let Some(entry) = self.entries.get_mut(&id) {
            (entry.stage, entry.acknowledged) = (Stage::Acknowledged, under);
            let turn = entry.turn(id);
            self.queue.remove(&turn);
            self.sent.remove(&id);
            self.doubtful.remove(&turn);
            self.overtaken.remove(&turn);
        }
        self.settle(id);
    }

    /// What is shown though the broker has it.
    pub(crate) fn acknowledged(&self) -> Vec<IntentId> {
        let acknowledged = self.iter().filter(|(_, entry)| !entry.is_pending());
        acknowledged.map(|(id, _)| id).collect()
    }

    pub(crate) fn hide(&mut self, id: IntentId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.shown = false;
        }
        self.settle(id);
    }

    /// Forgets what is neither pending nor shown; its row waits for the next save (STORE-3).
    fn settle(&mut self, id: IntentId) {
        let done = |entry: &Entry| !entry.is_pending() && !entry.shown;
        if self.entries.get(&id).is_some_and(done) {
            self.remove(id);
            self.deletable.insert(id);
        }
    }

    pub(crate) fn remove(&mut self, id: IntentId) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        let turn = entry.turn(id);
        self.queue.remove(&turn);
        self.sent.remove(&id);
        self.doubtful.remove(&turn);
        self.overtaken.remove(&turn);
        if let Some(place) = entry.place() {
            self.places.remove(&place);
        }
        Some(entry)
    }

    /// Gives every pending intent to another device, numbered anew (FORK-3). None is on its way then. Returns them in
    /// their order, and the number after the last.
    pub(crate) fn renumber(&mut self, device: DeviceId) -> (Vec<IntentId>, DeviceSeq) {
        let mut next = DeviceSeq::FIRST;
        let ids = self.pending_in_order();
        for id in &ids {
            let Some(mut entry) = self.remove(*id) else {
                continue;
            };
            entry.intent.device = Some(device);
            entry.intent.device_seq = Some(next);
            (entry.shown, entry.seen) = (true, None);
            self.insert(*id, entry);
            next = next.next();
        }
        (ids, next)
    }

    pub(crate) fn has_deletable(&self) -> bool {
        !self.deletable.is_empty()
    }

    pub(crate) fn take_deletable(&mut self) -> Vec<IntentId> {
        std::mem::take(&mut self.deletable).into_iter().collect()
    }
}
