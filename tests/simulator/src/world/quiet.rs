//! When the trouble is over: everything has to come to rest, and all have to agree.

use std::collections::BTreeMap;

use syncline_broker::compactor::{States, Want};
use syncline_client_core::{Input, Phase};
use syncline_protocol::{Schema, Seq, Snapshot, State, StreamId};

use super::{Happening, World};
use crate::model::{self, Live};
use crate::observer::View;

/// How long it may take after the last trouble.
const PATIENCE_MS: u64 = 600_000;

/// How long a state as of a seq may take.
const WISH_MS_MAX: u64 = 60_000;

/// How often it is looked at.
const LOOK_MS: u64 = 500;

impl World {
    pub(super) fn look(&mut self) {
        if let Some(healed) = self.healed_at {
            let unrest = self.unrest();
            self.quiet = unrest.is_none();
            if let Some(unrest) = unrest.filter(|_| self.now() > healed + PATIENCE_MS) {
                self.oracle.fail(format!("liveness: {unrest}"));
            }
        }
        self.agenda.after(LOOK_MS, Happening::Look);
    }

    /// What is not at rest yet.
    fn unrest(&self) -> Option<String> {
        if self.broker.is_none() {
            return Some("the broker is down".to_owned());
        }
        let devices = 0..self.devices.len();
        let device = devices.filter_map(|n| {
            let what = self.device_unrest(n)?;
            Some(format!("device {n}: {what}"))
        });
        let observers = 0..self.observers.len();
        let observer = observers.filter_map(|n| {
            let what = self.observer_unrest(n)?;
            Some(format!("observer {n}: {what}"))
        });
        device.chain(observer).next()
    }

    fn device_unrest(&self, n: usize) -> Option<String> {
        let device = &self.devices[n];
        let Some(core) = device.core() else {
            return Some("it is off".to_owned());
        };
        let status = core.status();
        if status.phase != Phase::Online || status.pending > 0 || device.is_writing() {
            return Some(format!("{status:?}"));
        }
        let id = device.link?;
        let link = self.links.get(&id)?;
        let head = self.oracle.head(&device.stream);
        let seen = link.watch.seen(&device.stream);
        (seen != Some(head)).then(|| format!("it has seen {seen:?} of {head}"))
    }

    fn observer_unrest(&self, n: usize) -> Option<String> {
        let observer = &self.observers[n];
        let wish = observer.wish.filter(|_| observer.link.is_some());
        if let Some(wish) = wish.filter(|it| it.at + WISH_MS_MAX < self.now()) {
            return Some(format!("nobody answers {wish:?}"));
        }
        if observer.begins_anew {
            // What it has may be as long as the new history and is not the same.
            return Some("it has not begun anew".to_owned());
        }
        for (stream, twin) in self.oracle.twins() {
            // Of an empty log a plain client is told nothing.
            let seq = observer.states.get(stream).map_or(Seq::ZERO, State::seq);
            let follows = match observer.view {
                View::Since { .. } | View::Kept { wild: false } => *stream == observer.stream,
                View::Everything | View::States | View::Kept { wild: true } => true,
                View::Live | View::At => false,
            };
            if follows && seq != twin.head() {
                return Some(format!(
                    "{:?} of {stream} up to {seq} of {}",
                    observer.view,
                    twin.head()
                ));
            }
        }
        None
    }

    /// All agree: the replicas with the broker, and the broker with a log that nobody ever compacted.
    pub(super) fn last_checks(&mut self) {
        self.oracle.settle_intents();
        self.crash_broker();
        let (store, rolled_back) = match self.disk.open() {
            Ok(opened) => opened,
            Err(error) => {
                return self
                    .oracle
                    .fail(format!("G12: the disk does not open: {error}"));
            }
        };
        if rolled_back {
            return self
                .oracle
                .fail("the disk was rolled back behind the trouble's back");
        }
        self.oracle.reopened(&*store, false);
        let states = States::new(store, self.schema.clone(), 1 << 20);
        let streams: Vec<StreamId> = self
            .oracle
            .twins()
            .map(|(stream, _)| stream.clone())
            .collect();
        for stream in streams {
            match states.snapshot(&stream, Want::Full) {
                Ok(snapshot) => self.agreement(&stream, snapshot.snapshot()),
                Err(error) => self.oracle.fail(format!("G12: {stream}: {error}")),
            }
        }
        let events: u64 = self.oracle.twins().map(|(_, twin)| twin.head().get()).sum();
        self.oracle.tally.add("events", events);
    }

    fn agreement(&mut self, stream: &StreamId, truth: &Snapshot) {
        let Some(twin) = self.oracle.twin(stream) else {
            return;
        };
        let (seq, digest) = (twin.head(), twin.state().digest());
        let slow = model::live(twin.events());
        if (truth.seq, truth.digest) != (seq, digest) {
            self.oracle.fail(format!(
                "G5: {stream}: the broker's state at {} is not the log's at {seq}",
                truth.seq
            ));
        }
        let live = live_of(truth, &self.schema);
        if live != slow {
            let difference = difference(&live, &slow);
            self.oracle.fail(format!(
                "G7: {stream}: the broker's state is not what the log says: {difference}"
            ));
        }
        for n in 0..self.devices.len() {
            if self.devices[n].stream == *stream {
                self.replica_agrees(n, truth, &slow);
            }
        }
        self.observers_agree(stream, truth);
    }

    fn replica_agrees(&mut self, n: usize, truth: &Snapshot, slow: &Live) {
        let view = self.devices[n].view();
        if view != *slow {
            let difference = difference(&view, slow);
            self.oracle
                .fail(format!("G5: device {n} shows something else: {difference}"));
        }
        // What it keeps is written when it is told to end.
        self.input(n, Input::SetOnline(false));
        while self.devices[n].is_writing() {
            self.written(n);
        }
        let replica = self.devices[n].storage.replica();
        let place = replica.map(|it| (it.epoch, it.seq, it.digest));
        if place != Some((truth.epoch, truth.seq, truth.digest)) {
            self.oracle.fail(format!(
                "G5: device {n} keeps {place:?}, the broker has {} of {}",
                truth.seq, truth.epoch
            ));
        }
    }

    fn observers_agree(&mut self, stream: &StreamId, truth: &Snapshot) {
        for n in 0..self.observers.len() {
            let at = self.observers[n].view == View::At;
            let state = self.observers[n].states.get(stream).filter(|_| !at);
            let place = state.map(|state| (state.seq(), state.digest()));
            if place.is_some_and(|place| place != (truth.seq, truth.digest)) {
                self.oracle.fail(format!(
                    "G5: observer {n} has another state of {stream} at {}",
                    truth.seq
                ));
            }
        }
    }
}

fn live_of(snapshot: &Snapshot, schema: &Schema) -> Live {
    let mut live = BTreeMap::new();
    for name in schema.collections().keys() {
        let entries = snapshot.collections.get(name).into_iter().flatten();
        for (key, entry) in entries {
            if let Some(value) = entry.value() {
                live.insert((name.clone(), key.clone()), value.clone());
            }
        }
    }
    live
}

fn difference(one: &Live, other: &Live) -> String {
    let keys = one.keys().chain(other.keys());
    let differs = keys.filter(|key| one.get(*key) != other.get(*key));
    let mut told: Vec<String> = differs
        .map(|key| format!("{key:?}: {:?} and not {:?}", one.get(key), other.get(key)))
        .collect();
    told.sort();
    told.dedup();
    told.truncate(3);
    told.join("; ")
}
