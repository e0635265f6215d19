//! The log of one stream as it would be without any compaction, and every other past that a rolled-back disk took away.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use syncline_protocol::state::Digest;
use syncline_protocol::{
    DeviceId, DeviceSeq, Entry, Event, Intent, Schema, Seq, State, UnixMillis,
};

use crate::broker::DEVICE_RETENTION_MS;
use crate::workload::{self, Policy};

/// How many events stand between two states that are kept.
const EARLIER_EVERY: usize = 64;

/// See the module.
pub(crate) struct Twin {
    schema: Arc<Schema>,
    events: Vec<Event>,
    /// The bytes of all events up to each.
    bytes: Vec<usize>,
    state: State,
    /// The state as it was at every so many events.
    earlier: Vec<State>,
    /// As the disk has it.
    pub(crate) horizon: Seq,
    places: BTreeMap<(DeviceId, DeviceSeq), Seq>,
    /// The last `base_seq` of each device, and when it came.
    bases: BTreeMap<DeviceId, (Seq, UnixMillis)>,
    /// Every event that ever was on disk.
    ever: BTreeSet<(Seq, u64)>,
    digests: HashSet<(Seq, Digest)>,
    /// Which events changed an entry, and whose they are.
    changes: BTreeMap<(String, String), Vec<(Seq, DeviceId)>>,
    pub(crate) acknowledged: Seq,
    pub(crate) rollbacks: u32,
    /// Intents whose events a rolled-back disk took away.
    pub(crate) lost: BTreeSet<u64>,
}

impl Twin {
    pub(crate) fn new(schema: Arc<Schema>) -> Self {
        Self {
            state: State::new(Arc::clone(&schema)),
            schema,
            events: Vec::new(),
            bytes: Vec::new(),
            earlier: Vec::new(),
            horizon: Seq::ZERO,
            places: BTreeMap::new(),
            bases: BTreeMap::new(),
            ever: BTreeSet::new(),
            digests: HashSet::new(),
            changes: BTreeMap::new(),
            acknowledged: Seq::ZERO,
            rollbacks: 0,
            lost: BTreeSet::new(),
        }
    }

    pub(crate) fn head(&self) -> Seq {
        self.state.seq()
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    pub(crate) fn events(&self) -> impl Iterator<Item = &Event> {
        self.events.iter()
    }

    /// The next event of the log.
    pub(crate) fn append(&mut self, payload: &[u8]) -> Result<(), String> {
        let event = Event::decode(payload).map_err(|error| format!("a stored event: {error}"))?;
        self.check(&event)?;
        self.apply(&event)?;
        self.ever.insert((event.seq, hash(payload)));
        self.bytes
            .push(self.bytes_to(event.seq.previous()) + payload.len());
        if let Some(number) = event.device_seq {
            self.places.insert((event.device, number), event.seq);
        }
        self.bases
            .insert(event.device, (event.base_seq, event.accepted_at));
        self.events.push(event);
        if self.events.len().is_multiple_of(EARLIER_EVERY) {
            self.earlier.push(self.state.clone());
        }
        Ok(())
    }

    /// The bytes of the events up to a seq.
    fn bytes_to(&self, seq: Seq) -> usize {
        let last = index(seq).checked_sub(1);
        last.and_then(|last| self.bytes.get(last))
            .copied()
            .unwrap_or_default()
    }

    /// The bytes of the events after one seq and up to another.
    pub(crate) fn bytes_between(&self, after: Seq, to: Seq) -> usize {
        self.bytes_to(to).saturating_sub(self.bytes_to(after))
    }

    /// The state at a seq that the log has.
    pub(crate) fn state_at(&self, seq: Seq) -> State {
        let known = index(seq) / EARLIER_EVERY;
        let known = known.checked_sub(1).and_then(|n| self.earlier.get(n));
        let mut state = known.map_or_else(|| State::new(Arc::clone(&self.schema)), State::clone);
        for event in &self.events[index(state.seq())..index(seq).min(self.events.len())] {
            state.begin_epoch(event.epoch);
            let applied = state.apply(event);
            debug_assert!(applied.is_ok(), "it was applied before");
        }
        state
    }

    fn check(&self, event: &Event) -> Result<(), String> {
        let seq = event.seq;
        let before = self.events.last();
        if seq != self.head().next() {
            return Err(format!("G3: {seq} follows {} in the log", self.head()));
        }
        if let Some(first) = event
            .device_seq
            .and_then(|n| self.places.get(&(event.device, n)))
        {
            return Err(format!("G4: {seq} is the event that {first} is"));
        }
        if before.is_some_and(|before| before.accepted_at > event.accepted_at) {
            return Err(format!(
                "EVENT-5: {seq} was accepted before the one before it"
            ));
        }
        let previous = self.bases.get(&event.device);
        let previous = previous.filter(|(_, at)| event.accepted_at < at.plus(DEVICE_RETENTION_MS));
        let previous = previous.map_or(Seq::ZERO, |(base_seq, _)| *base_seq);
        if event.base_seq >= seq || event.base_seq < previous.min(seq.previous()) {
            return Err(format!("EVENT-6: {seq} has base_seq {}", event.base_seq));
        }
        Ok(())
    }

    fn apply(&mut self, event: &Event) -> Result<(), String> {
        if self.state.epoch() != event.epoch {
            self.state.begin_epoch(event.epoch);
        }
        let applied = self.state.apply(event);
        let operation = applied.map_err(|error| format!("{}: {error}", event.seq))?;
        if let Some(operation) = operation {
            let changes = self.changes.entry((operation.collection, operation.key));
            changes.or_default().push((event.seq, event.device));
        }
        let digest = self.state.digest();
        self.digests.insert((event.seq, digest));
        Ok(())
    }

    /// The disk has lost everything after `head`.
    pub(crate) fn roll_back(&mut self, head: Seq) {
        self.rollbacks += 1;
        let kept = index(head);
        self.bytes.truncate(kept);
        self.earlier.truncate(kept / EARLIER_EVERY);
        let gone = self.events.split_off(kept.min(self.events.len()));
        let gone = gone.iter().filter_map(|it| workload::said(&it.event_data));
        self.lost.extend(gone);
        self.acknowledged = self.acknowledged.min(head);
        self.state = State::new(Arc::clone(&self.schema));
        (self.places, self.bases) = Default::default();
        for event in std::mem::take(&mut self.events) {
            self.state.begin_epoch(event.epoch);
            let applied = self.state.apply(&event);
            debug_assert!(applied.is_ok(), "it was applied before");
            if let Some(number) = event.device_seq {
                self.places.insert((event.device, number), event.seq);
            }
            self.bases
                .insert(event.device, (event.base_seq, event.accepted_at));
            self.events.push(event);
        }
    }

    /// Whether this is another event than the one that stands there.
    pub(crate) fn is_other(&self, seq: Seq, payload: &[u8]) -> bool {
        seq <= self.head() && !self.ever.contains(&(seq, hash(payload)))
    }

    /// Whether this event was on disk once.
    pub(crate) fn ever_had(&self, event: &Event, payload: &[u8]) -> bool {
        let had = |bytes: &[u8]| self.ever.contains(&(event.seq, hash(bytes)));
        had(payload) || (payload.starts_with(b"{") && had(&event.encode()))
    }

    /// Where somebody else changed the entry of an intent, after one seq and up to another.
    pub(crate) fn changed(
        &self,
        intent: &Intent,
        (after, to): (Seq, Seq),
        but: Option<DeviceId>,
    ) -> Option<Seq> {
        let deed = workload::deed(&intent.event_type, &intent.event_data)?;
        if deed.collection.policy == Policy::Sum {
            return None;
        }
        let name = (deed.collection.name.to_owned(), deed.key.to_owned());
        let changes = self.changes.get(&name)?;
        let mut others = changes
            .iter()
            .filter(|(seq, device)| *seq > after && *seq <= to && Some(*device) != but);
        let (first, _) = others.next()?;
        let (before, now) = (self.entry_at(after, &name), self.entry_at(to, &name));
        let absent = |entry: &Option<Entry>| entry.as_ref().is_none_or(|it| !it.is_live());
        let own = now.as_ref().map(|it| it.shown.device) == but;
        let same = before == now || own || (absent(&before) && absent(&now));
        (!same).then_some(*first)
    }

    /// An entry as it was at a seq.
    fn entry_at(&self, seq: Seq, (collection, key): &(String, String)) -> Option<Entry> {
        self.state_at(seq).entry(collection, key).cloned()
    }

    /// Whether the state at this seq had this digest once.
    pub(crate) fn ever_was(&self, seq: Seq, digest: Digest) -> bool {
        self.digests.contains(&(seq, digest))
    }

    /// Whose event stands at a seq.
    pub(crate) fn place_at(&self, seq: Seq) -> Option<(DeviceId, DeviceSeq)> {
        let index = usize::try_from(seq.get().checked_sub(1)?).ok()?;
        let event = self.events.get(index)?;
        Some((event.device, event.device_seq?))
    }
}

fn index(seq: Seq) -> usize {
    usize::try_from(seq.get()).unwrap_or(usize::MAX)
}

fn hash(payload: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    payload.hash(&mut hasher);
    hasher.finish()
}
