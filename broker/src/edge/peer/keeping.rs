//! The session of a connection, where it is kept: opened with what was kept, saved now and then, and left.
//!
//! What a client is told is on disk before: the session before its CONNACK, subscriptions before their SUBACK. How far they
//! are is saved lazily, and always when the connection ends.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use syncline_protocol::{Filter, Start, StreamId, Subscription, UnixMillis};

use super::Peer;
use super::subscribing::named_group;
use crate::edge::clients::Entered;
use crate::edge::delivery::{Footing, Resumed, Standing};
use crate::edge::fetch::{self, Fetched};
use crate::edge::identity::Identity;
use crate::edge::redelivery::Redelivery;
use crate::edge::resume::{self, Found};
use crate::edge::session::{NoSession, Opening, Request, Retained, Verdict, Wanted};
use crate::edge::wills::{self, LastWill};
use crate::store::sessions::{
    Cursor, LoadedSession, Progress, Reaches, SessionChange, SessionKey, StoredSubscription,
};
use crate::store::{StoreError, StreamHead};

/// Streams of a session that lag, for a lazy save: it is put off where there are more.
const LAGS_MAX: usize = 4_096;

/// What a connection knows of its session.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    key: Option<SessionKey>,
    opening: Option<Opening>,
    /// The store has it, or is about to.
    is_kept: bool,
    /// It has all that was kept.
    is_open: bool,
    is_left: bool,
    /// What the store says of its progress.
    saved: Standing,
    /// Of the writes that are under way.
    answers: VecDeque<Answer>,
    /// When to save.
    due: Option<Instant>,
    /// What the session's last connection left to be published, until it is known whether the session goes on.
    will: Option<(UnixMillis, LastWill)>,
    /// Events that are sent and not acknowledged.
    pub(super) redelivery: Redelivery,
    /// Whoever holds it puts off that the session is left.
    departure: Arc<Departure>,
}

/// Lets the next connection have the session, once nobody needs it to stay.
#[derive(Default)]
pub(super) struct Departure(Mutex<Option<Go>>);

type Go = Box<dyn FnOnce() + Send>;

impl Departure {
    /// What is done when nobody holds it any more.
    fn then(&self, go: Go) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(go);
    }
}

impl Drop for Departure {
    fn drop(&mut self) {
        let go = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(go) = go.take() {
            go();
        }
    }
}

impl std::fmt::Debug for Departure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Departure")
    }
}

/// What is done once a write is on disk.
#[derive(Debug)]
enum Answer {
    Suback(u16, Vec<Verdict>),
    Unsuback(u16, Vec<bool>),
    Nothing,
}

impl Keeping {
    /// Something is on its way to the disk that the client must be told before anything else.
    pub(super) fn holds_back(&self) -> bool {
        let suback = |it: &Answer| matches!(it, Answer::Suback(..));
        self.answers.iter().any(suback)
    }

    /// When [`Peer::save_if_due`] has something to do.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.due.filter(|_| self.answers.is_empty())
    }

    /// Puts off that the session is left.
    pub(super) fn stay(&self) -> Arc<Departure> {
        Arc::clone(&self.departure)
    }

    /// Whose session is kept and open.
    pub(super) fn keeps(&self) -> Option<&SessionKey> {
        self.key.as_ref().filter(|_| self.is_kept && self.is_open)
    }

    /// The store has nothing more of a subscription's progress.
    fn forget(&mut self, filter: &Filter) {
        self.saved.scans.remove(filter);
        self.saved.cursors.retain(|(of, _), _| of != filter);
    }

    /// What has to be written so that the store knows of `standing`.
    fn step(&mut self, standing: Standing, position: u64) -> Progress {
        let before = std::mem::replace(&mut self.saved, standing);
        let after = &self.saved;
        let filters = before.scans.keys().chain(after.scans.keys());
        let mut scans: Vec<(Filter, Reaches)> = Vec::new();
        for filter in filters {
            let now = after.scans.get(filter);
            if now != before.scans.get(filter) && scans.last().is_none_or(|(it, _)| it != filter) {
                scans.push((filter.clone(), now.cloned().unwrap_or_default()));
            }
        }
        let changed = after
            .cursors
            .iter()
            .filter(|(key, lag)| before.cursors.get(*key) != Some(*lag));
        let put = changed.map(|((filter, stream), (events, state))| Cursor {
            filter: filter.clone(),
            stream: stream.clone(),
            events: *events,
            state: *state,
        });
        let put = put.collect();
        let gone = before.cursors.into_keys();
        let drop = gone
            .filter(|key| !after.cursors.contains_key(key))
            .collect();
        Progress {
            position,
            scans,
            put,
            drop,
        }
    }
}

impl Peer {
    /// The CONNECT is in order: the session is this connection's, perhaps once another one has left it.
    pub(super) fn open(
        &mut self,
        now: Instant,
        client_id: String,
        identity: Arc<Identity>,
        opening: Opening,
    ) {
        tracing::debug!(peer = self.id.0, client_id, device = %identity.device, "connected");
        let key = SessionKey {
            principal: identity.principal.name().to_owned(),
            client_id,
        };
        // Whoever takes its own session over has a connection in its place soon.
        let takes_over = self.shared.clients.is_connected(&key);
        let Ok(seat) = self.shared.crowd.know(&key.principal, takes_over) else {
            return self.session.refused(NoSession::TooManyOfUser);
        };
        self.seat = Some(seat);
        if let Some(rate) = self.shared.rate_of_user(&key.principal, now) {
            self.session.share_rate(rate);
        }
        self.delivery.limit_packets(self.session.packet_bytes_max());
        self.introduce(now, identity);
        let keeps = opening.expiry_ms > 0;
        let mailbox = self.mailbox();
        let entered = self.shared.clients.enter(&key, self.id, mailbox, keeps);
        if entered == Entered::Full {
            return self.session.refused(NoSession::TooMany);
        }
        self.keeping.key = Some(key);
        self.keeping.opening = Some(opening);
        if let Entered::Now { kept } = entered {
            self.admitted(now, kept);
        }
    }

    /// The session is this connection's. `kept`: there is something in the store.
    pub(super) fn admitted(&mut self, now: Instant, kept: bool) {
        let (Some(key), Some(opening)) = (self.keeping.key.clone(), self.keeping.opening) else {
            return;
        };
        self.keeping.will = self.shared.wills.take(&key);
        self.keeping.redelivery = self.shared.redeliveries.take(&key);
        let now_is = (self.shared.now)();
        let is_due = |will: &mut (UnixMillis, LastWill)| opening.clean || will.0 <= now_is;
        if let Some((_, will)) = self.keeping.will.take_if(is_due) {
            // The session that it belongs to ends here, or its time has come.
            wills::publish(&self.shared, will);
        }
        if !kept && opening.expiry_ms == 0 {
            self.enter_topics(&key, None);
            return self.session.opened(now, false);
        }
        if opening.clean {
            self.shared.topics.forget(&key);
        }
        self.keeping.is_kept = true;
        let mailbox = self.mailbox();
        let tell = move |session| mailbox.fetched(Fetched::Session(session));
        let wall = (self.shared.now)();
        self.shared.keeper.open(key, opening, wall, Box::new(tell));
    }

    /// What was kept of the session, if anything was.
    pub(super) fn loaded(
        &mut self,
        now: Instant,
        loaded: Result<Option<LoadedSession>, StoreError>,
    ) {
        match loaded {
            Err(error) => self.failed(&error),
            Ok(None) => {
                if let Some((_, will)) = self.keeping.will.take() {
                    // Its session has ended.
                    wills::publish(&self.shared, will);
                }
                self.keeping.redelivery = Redelivery::default();
                self.delivery.keep();
                self.keeping.is_open = true;
                if let Some(key) = self.keeping.key.clone() {
                    self.enter_topics(&key, None);
                }
                self.session.opened(now, false);
            }
            Ok(Some(loaded)) => self.seek(loaded),
        }
    }

    fn seek(&self, loaded: LoadedSession) {
        let shared = Arc::clone(&self.shared);
        fetch::spawn(&self.shared.reader, self.mailbox(), move || {
            let found = resume::find(&shared, loaded)?;
            Ok(Fetched::Found(Box::new(found)))
        });
    }

    /// The subscriptions go on where they were left.
    pub(super) fn found(&mut self, now: Instant, found: Found) {
        let subscriptions = &found.loaded.subscriptions;
        let filters: Vec<_> = subscriptions.iter().map(|it| &it.filter).collect();
        let named: Vec<(&StreamId, &StreamHead)> = found
            .places
            .iter()
            .map(|it| (&it.stream, &it.head))
            .collect();
        let hub = Arc::clone(&self.shared.hub);
        let Some((advances, buses)) = hub.subscribe(self.id, &filters, &named, found.reading)
        else {
            return self.seek(found.loaded);
        };
        self.delivery.keep();
        self.delivery.advance(now, &advances);
        for (of, subscription) in subscriptions.iter().enumerate() {
            if let Some(group) = named_group(&subscription.filter) {
                self.visit(&group);
            }
            let places = found
                .places
                .iter()
                .zip(&buses)
                .filter(|(it, _)| it.of == of);
            let footings = places.map(|(it, bus)| Footing {
                stream: Arc::new(it.stream.clone()),
                head: it.head.seq,
                epoch: it.head.epoch,
                bus: *bus,
                events: it.events,
                state: it.state,
            });
            let resumed = Resumed {
                wanted: wanted(subscription),
                footings: footings.collect(),
                reaches: found.reaches[of].clone(),
                topics: hub.retained_topics(&subscription.filter),
            };
            self.delivery.go_on(now, &resumed);
        }
        self.keeping.saved = standing(&found.loaded);
        self.keeping.is_open = true;
        let packets = &found.loaded.packets;
        if let Some(key) = self.keeping.key.clone() {
            self.enter_topics(&key, Some(&found.loaded));
        }
        self.session.opened(now, true);
        self.session.reserve(self.keeping.redelivery.reserved());
        self.keeping.will = None;
        self.resume_exchanges(packets);
    }

    /// Answers a SUBSCRIBE, of a session that is kept once it is on disk. `began`: the hub's position before it.
    pub(super) fn answer_subscribe(
        &mut self,
        now: Instant,
        packet_id: u16,
        requests: &[Request],
        verdicts: Vec<Verdict>,
        began: u64,
    ) {
        let Some(key) = self.keeping.keeps().cloned() else {
            return self.session.subscribed(packet_id, &verdicts);
        };
        let mut changes = Vec::new();
        for (request, verdict) in requests.iter().zip(&verdicts) {
            let (Ok(wanted), Verdict::Granted { .. }) = (request, verdict) else {
                continue;
            };
            let filter = &wanted.subscription.filter;
            self.keeping.forget(filter);
            changes.push(match wanted.subscription.start {
                // VIEW-7: nothing follows, so nothing is kept.
                Start::At(_) => SessionChange::Unsubscribe(key.clone(), filter.clone()),
                _ => SessionChange::Subscribe(key.clone(), stored(wanted, began)),
            });
        }
        changes.push(self.progress(now, key));
        self.write(changes, Answer::Suback(packet_id, verdicts));
    }

    /// Answers an UNSUBSCRIBE, of a session that is kept once it is on disk.
    pub(super) fn answer_unsubscribe(
        &mut self,
        packet_id: u16,
        filters: &[Option<Filter>],
        existed: Vec<bool>,
    ) {
        let Some(key) = self.keeping.keeps().cloned() else {
            return self.session.unsubscribed(packet_id, &existed);
        };
        let filters = filters.iter().flatten();
        filters.clone().for_each(|it| self.keeping.forget(it));
        let unsubscribe = |it: &Filter| SessionChange::Unsubscribe(key.clone(), it.clone());
        let changes = filters.map(unsubscribe).collect();
        self.write(changes, Answer::Unsuback(packet_id, existed));
    }

    /// Something was sent or acknowledged, so that there is something to save after a while.
    pub(super) fn moved(&mut self, now: Instant) {
        if self.keeping.due.is_none() && self.keeping.keeps().is_some() {
            self.keeping.due = Some(now + self.shared.options.sessions.save_interval);
        }
    }

    /// Saves how far the session is, lazily.
    pub(super) fn save_if_due(&mut self, now: Instant) {
        if self.keeping.next_timeout().is_none_or(|due| due > now) {
            return;
        }
        self.keeping.due = None;
        self.dequeue(true);
        let Some(key) = self.keeping.keeps().cloned() else {
            return;
        };
        let (advances, position) = self.shared.hub.level(self.id);
        self.delivery.advance(now, &advances);
        let standing = self.delivery.standing(position);
        if standing.cursors.len() > LAGS_MAX {
            let lags = standing.cursors.len();
            return tracing::debug!(peer = self.id.0, lags, "its progress is not saved yet");
        }
        let progress = self.keeping.step(standing, position);
        self.write(
            vec![SessionChange::Progress(key, progress)],
            Answer::Nothing,
        );
    }

    /// A write is on disk, or is not.
    pub(super) fn written(&mut self, written: Result<(), StoreError>) {
        let answer = self.keeping.answers.pop_front();
        if let Err(error) = written {
            return self.failed(&error);
        }
        match answer {
            Some(Answer::Suback(packet_id, verdicts)) => {
                self.session.subscribed(packet_id, &verdicts);
            }
            Some(Answer::Unsuback(packet_id, existed)) => {
                self.session.unsubscribed(packet_id, &existed);
            }
            Some(Answer::Nothing) | None => {}
        }
    }

    /// Leaves the session once the connection has ended: what there is to keep is on its way to the disk.
    pub(super) fn leave_if_ended(&mut self, now: Instant) {
        let Some(end) = self.session.ended().filter(|_| !self.keeping.is_left) else {
            return;
        };
        if let Some(count) = end.count() {
            self.shared.counters.count(count);
        }
        let progress = match self.keeping.keeps().cloned() {
            Some(key) if self.session.expiry_ms() > 0 => Some(self.progress(now, key)),
            _ => None,
        };
        self.leave(progress);
    }

    /// Leaves the session, however the connection ended.
    pub(super) fn leave(&mut self, progress: Option<SessionChange>) {
        if std::mem::replace(&mut self.keeping.is_left, true) {
            return;
        }
        let Some(key) = self.keeping.key.take() else {
            return;
        };
        if let Some((at, will)) = self.keeping.will.take() {
            self.shared.wills.wait(key.clone(), at, will);
        }
        let (left_at, expiry_ms) = ((self.shared.now)(), self.session.expiry_ms());
        let kept = self.keeping.is_kept && expiry_ms > 0;
        let mut changes: Vec<_> = progress.into_iter().collect();
        match (self.keeping.is_kept, kept) {
            (false, _) => {}
            (true, false) => changes.push(SessionChange::End(key.clone())),
            (true, true) => {
                let redelivery = std::mem::take(&mut self.keeping.redelivery);
                self.shared.redeliveries.put(key.clone(), redelivery);
                changes.extend(self.last_of_queue(&key));
                changes.push(SessionChange::Leave {
                    key: key.clone(),
                    expiry_ms,
                    left_at,
                });
            }
        }
        self.leave_topics(kept);
        let ends_at = kept.then(|| left_at.plus(expiry_ms));
        let (shared, peer) = (Arc::clone(&self.shared), self.id);
        let departure = std::mem::take(&mut self.keeping.departure);
        departure.then(Box::new(move || {
            if !changes.is_empty() {
                shared.keeper.write(changes, None);
            }
            shared.clients.leave(&key, peer, ends_at);
        }));
    }

    fn progress(&mut self, now: Instant, key: SessionKey) -> SessionChange {
        let (advances, position) = self.shared.hub.level(self.id);
        self.delivery.advance(now, &advances);
        let standing = self.delivery.standing(position);
        SessionChange::Progress(key, self.keeping.step(standing, position))
    }

    fn write(&mut self, changes: Vec<SessionChange>, answer: Answer) {
        self.keeping.answers.push_back(answer);
        let mailbox = self.mailbox();
        let tell =
            move |written: Result<_, _>| mailbox.fetched(Fetched::Written(written.map(drop)));
        self.shared.keeper.write(changes, Some(Box::new(tell)));
    }
}

fn stored(wanted: &Wanted, began: u64) -> StoredSubscription {
    StoredSubscription {
        filter: wanted.subscription.filter.clone(),
        json: wanted.subscription.json,
        qos: wanted.qos,
        no_local: wanted.no_local,
        retain_as_published: wanted.retain_as_published,
        identifier: wanted.identifier,
        began,
        scans: Reaches::default(),
    }
}

fn wanted(stored: &StoredSubscription) -> Wanted {
    Wanted {
        subscription: Subscription {
            filter: stored.filter.clone(),
            json: stored.json,
            start: Start::Now,
        },
        qos: stored.qos,
        retained: Retained::Never,
        no_local: stored.no_local,
        retain_as_published: stored.retain_as_published,
        identifier: stored.identifier,
    }
}

/// What the store says of a session's progress.
fn standing(loaded: &LoadedSession) -> Standing {
    let subscriptions = loaded.subscriptions.iter();
    let scans = subscriptions.filter(|it| it.scans != Reaches::default());
    let cursors = loaded.cursors.iter();
    Standing {
        scans: scans
            .map(|it| (it.filter.clone(), it.scans.clone()))
            .collect(),
        cursors: cursors
            .map(|it| {
                (
                    (it.filter.clone(), it.stream.clone()),
                    (it.events, it.state),
                )
            })
            .collect(),
    }
}
