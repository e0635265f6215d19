//! Who knows what is true: a twin of every stream's log that is never compacted, and what the promises say of it.

mod catch_up;
mod twin;

use std::collections::BTreeMap;
use std::sync::Arc;

use syncline_broker::store::{EventStore, ReadLimit, StoreError};
use syncline_protocol::{
    DeviceId, DeviceSeq, Epoch, Event, Intent, Schema, Seq, Snapshot, StreamId,
};

use crate::tally::Tally;
use crate::workload;
pub(crate) use catch_up::Asked;
pub(crate) use twin::Twin;

/// What is read of a log at once.
const PIECE: ReadLimit = ReadLimit {
    events: 256,
    bytes: 1 << 20,
};

/// What became of an intent, as far as its author was told.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fate {
    pub(crate) stream: Option<StreamId>,
    /// It is durable in an outbox.
    pub(crate) stored: bool,
    /// Somebody was told that the broker has it.
    pub(crate) saved: bool,
    /// Why somebody was told that it will never be.
    pub(crate) set_aside: Option<String>,
    /// A later one of its device says what it said and more.
    pub(crate) superseded: bool,
    /// More than one installation may have it.
    pub(crate) shared: bool,
    /// Which installation published it.
    pub(crate) author: Option<usize>,
    /// As whose event it was made, and on which `base_seq` of which history.
    pub(crate) made: Option<Made>,
}

/// How an intent was when it was written first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) place: (DeviceId, DeviceSeq),
    pub(crate) epoch: Option<Epoch>,
    pub(crate) base_seq: Seq,
}

/// The truth about one run.
pub(crate) struct Oracle {
    schema: Arc<Schema>,
    streams: BTreeMap<StreamId, Twin>,
    intents: BTreeMap<u64, Fate>,
    violation: Option<String>,
    pub(crate) tally: Tally,
}

impl Oracle {
    pub(crate) fn new(schema: Arc<Schema>) -> Self {
        Self {
            schema,
            streams: BTreeMap::new(),
            intents: BTreeMap::new(),
            violation: None,
            tally: Tally::default(),
        }
    }

    /// The first broken promise.
    pub(crate) fn violation(&self) -> Option<&str> {
        self.violation.as_deref()
    }

    pub(crate) fn fail(&mut self, what: impl Into<String>) {
        self.violation.get_or_insert(what.into());
    }

    pub(crate) fn check(&mut self, result: Result<(), String>) {
        if let Err(what) = result {
            self.fail(what);
        }
    }

    pub(crate) fn twin(&self, stream: &StreamId) -> Option<&Twin> {
        self.streams.get(stream)
    }

    pub(crate) fn twins(&self) -> impl Iterator<Item = (&StreamId, &Twin)> {
        self.streams.iter()
    }

    pub(crate) fn head(&self, stream: &StreamId) -> Seq {
        self.streams.get(stream).map_or(Seq::ZERO, Twin::head)
    }

    /// The horizon of a stream as the disk has it.
    pub(crate) fn horizon(&self, stream: &StreamId) -> Seq {
        self.streams
            .get(stream)
            .map_or(Seq::ZERO, |twin| twin.horizon)
    }

    /// The highest seq that somebody was told is saved.
    pub(crate) fn acknowledged(&self, stream: &StreamId) -> Seq {
        self.streams
            .get(stream)
            .map_or(Seq::ZERO, |twin| twin.acknowledged)
    }

    pub(crate) fn intent(&mut self, said: u64) -> &mut Fate {
        self.intents.entry(said).or_default()
    }

    /// Takes what has come to be on disk.
    pub(crate) fn absorb(&mut self, store: &dyn EventStore) {
        if let Err(error) = self.try_absorb(store) {
            self.fail(format!("the store cannot be read: {error}"));
        }
    }

    fn try_absorb(&mut self, store: &dyn EventStore) -> Result<(), StoreError> {
        for (stream, head) in store.streams(None, 100)? {
            let schema = &self.schema;
            let twin = self.streams.entry(stream.clone());
            let twin = twin.or_insert_with(|| Twin::new(Arc::clone(schema)));
            twin.horizon = head.horizon;
            while twin.head() < head.seq {
                let events = store.read(&stream, twin.head(), PIECE)?;
                if events.is_empty() {
                    self.fail(format!("G1: {stream}: what follows is missing"));
                    return Ok(());
                }
                for event in events {
                    if let Err(what) = twin.append(event.payload()) {
                        self.violation.get_or_insert(format!("{stream}: {what}"));
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// HORIZON-1: a horizon that is in force is on disk.
    pub(crate) fn keeps_horizons(
        &mut self,
        store: &dyn EventStore,
        promised: Vec<(StreamId, Seq)>,
    ) {
        for (stream, horizon) in promised {
            let kept = store.head(&stream).map_or(horizon, |head| head.horizon);
            if kept < horizon {
                self.fail(format!(
                    "HORIZON-1: {stream}: {horizon} is in force, {kept} is on disk"
                ));
            }
            self.tally.count("HORIZON-1 horizons raised");
        }
    }

    /// A new process has opened the disk. `rolled_back`: the disk had kept nothing for some time.
    pub(crate) fn reopened(&mut self, store: &dyn EventStore, rolled_back: bool) {
        if let Err(error) = self.try_reopened(store, rolled_back) {
            self.fail(format!("the store cannot be read: {error}"));
        }
        self.absorb(store);
    }

    fn try_reopened(
        &mut self,
        store: &dyn EventStore,
        rolled_back: bool,
    ) -> Result<(), StoreError> {
        let streams: Vec<StreamId> = self.streams.keys().cloned().collect();
        for stream in streams {
            let head = store.head(&stream)?;
            let Some(twin) = self.streams.get_mut(&stream) else {
                continue;
            };
            if head.seq < twin.head() {
                if !rolled_back {
                    let (now, before) = (head.seq, twin.head());
                    self.fail(format!(
                        "G1: {stream}: the head was {before} and is {now} after a restart"
                    ));
                    return Ok(());
                }
                self.tally
                    .add("events rolled back", twin.head().get() - head.seq.get());
                twin.roll_back(head.seq);
            }
            let kept = store.read(&stream, store.base(&stream)?.seq, PIECE)?;
            for event in kept {
                if twin.is_other(event.seq(), event.payload()) {
                    self.fail(format!(
                        "G12: {stream}: {} is another event after a restart",
                        event.seq()
                    ));
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Somebody was shown an event (G2).
    pub(crate) fn shown(&mut self, event: &Event, payload: &[u8]) {
        let known = self
            .streams
            .get(&event.stream)
            .is_some_and(|twin| twin.ever_had(event, payload));
        if !known {
            self.fail(format!(
                "G2: {}: somebody was shown an event {} that is not on disk",
                event.stream, event.seq
            ));
        }
    }

    /// Somebody was shown a state (G5).
    pub(crate) fn showed(&mut self, snapshot: &Snapshot) {
        if snapshot.seq == Seq::ZERO {
            return;
        }
        let known = self
            .streams
            .get(&snapshot.stream)
            .is_some_and(|twin| twin.ever_was(snapshot.seq, snapshot.digest));
        if !known {
            self.fail(format!(
                "G5: {}: a state at {} has another digest than the log",
                snapshot.stream, snapshot.seq
            ));
        }
    }

    /// A device was told where its event is (G1). `since_rollback`: nothing was rolled back meanwhile.
    pub(crate) fn told_saved(
        &mut self,
        stream: &StreamId,
        place: (DeviceId, DeviceSeq),
        seq: Seq,
        rollbacks: u32,
    ) {
        let Some(twin) = self.streams.get_mut(stream) else {
            return self.fail(format!(
                "G1: {stream}: {seq} is acknowledged and nothing is on disk"
            ));
        };
        if twin.place_at(seq) == Some(place) {
            twin.acknowledged = twin.acknowledged.max(seq);
        } else if twin.rollbacks == rollbacks {
            let (device, number) = place;
            self.fail(format!(
                "G1: {stream}: {number} of {device} is acknowledged at {seq} and not on disk"
            ));
        }
    }

    /// G7: an intent that now says to have seen more than its author had must be about an entry that did not change.
    pub(crate) fn sent(&mut self, stream: &StreamId, intent: &Intent) {
        let said = workload::said(&intent.event_data);
        let made = said.and_then(|said| self.intents.get(&said)?.made);
        let (Some(made), Some(base_seq), Some(twin)) =
            (made, intent.base_seq, self.streams.get(stream))
        else {
            return;
        };
        if made.epoch != intent.epoch || base_seq <= made.base_seq || twin.rollbacks > 0 {
            return;
        }
        self.tally.count("OUTBOX-12 renewed");
        let own = intent.device;
        if let Some(seq) = twin.changed(intent, (made.base_seq, base_seq), own) {
            let from = made.base_seq;
            self.fail(format!(
                "G7: {stream}: an intent made on {from} says to have seen {base_seq}, and its entry changed at {seq}: {intent:?}"
            ));
        }
    }

    /// How often the disk was rolled back under a stream.
    pub(crate) fn rollbacks(&self, stream: &StreamId) -> u32 {
        self.streams.get(stream).map_or(0, |twin| twin.rollbacks)
    }

    /// Every intent that was told durable is in the log once, or was set aside (G1, G4, G11).
    pub(crate) fn settle_intents(&mut self) {
        let mut found: BTreeMap<u64, usize> = BTreeMap::new();
        for twin in self.streams.values() {
            let said = twin
                .events()
                .filter_map(|it| workload::said(&it.event_data));
            said.for_each(|said| *found.entry(said).or_default() += 1);
        }
        let verdicts = self.intents.iter().filter_map(|(said, fate)| {
            let times = found.get(said).copied().unwrap_or_default();
            let lost = self.streams.values().any(|twin| twin.lost.contains(said));
            verdict(fate, times, lost)
                .map(|what| format!("{what}: intent {said}, {times} times in the log, {fate:?}"))
        });
        if let Some(what) = verdicts.collect::<Vec<_>>().into_iter().next() {
            self.fail(what);
        }
        let streams: Vec<&Twin> = self.streams.values().collect();
        if let Some(what) = streams.into_iter().find_map(|twin| self.disorder(twin)) {
            self.fail(what);
        }
    }

    /// G3: what one installation says comes in the order in which it said it.
    fn disorder(&self, twin: &Twin) -> Option<String> {
        let mut last: BTreeMap<usize, u64> = BTreeMap::new();
        if twin.rollbacks > 0 {
            return None;
        }
        for event in twin.events() {
            let said = workload::said(&event.event_data)?;
            let fate = self.intents.get(&said)?;
            let author = fate.author?;
            // What was made anew may stand behind later ones.
            let as_made =
                fate.made.map(|made| made.place) == event.device_seq.map(|n| (event.device, n));
            if !as_made || fate.shared {
                continue;
            }
            let before = last.insert(author, said).unwrap_or_default();
            if before > said {
                return Some(format!(
                    "G3: device {author} said {said} before {before}, and the log has it behind"
                ));
            }
        }
        None
    }
}

/// What is wrong with an intent's fate.
fn verdict(fate: &Fate, times: usize, lost: bool) -> Option<&'static str> {
    let unknown = fate.set_aside.as_deref() == Some("expired");
    match (times, &fate.set_aside) {
        (0, _) if lost || fate.superseded => None,
        // FORK-4: the refusal was told to the other installation.
        (0, Some(_)) if fate.shared => None,
        (0, None) if fate.stored || fate.saved => Some("G11: a durable intent is lost"),
        (0, _) if fate.saved => Some("G1: an acknowledged intent is lost"),
        (1, Some(_)) if !unknown && !fate.shared => Some("an accepted intent was set aside"),
        (2.., _) if !fate.shared => Some("G4: an intent took effect more than once"),
        _ => None,
    }
}
