//! The router's consumer: how far the bus has brought every stream, whom that concerns, and what is not stored.
//!
//! Calling contract: [`Hub::hear`] is called on the router's thread, one message at a time. Everything else may be
//! called from any thread and never blocks for longer than the lock is held, [`Hub::catch_up`] and [`Hub::settle`]
//! excepted, which read the store.
//!
//! A connection learns of a stream through its mailbox alone, as `from → to`, so what it knows is always one
//! consistent step behind or level with the hub. [`Hub::subscribe`] and [`Hub::heads`] hand over the mailbox's steps
//! together with the head that they lead to. The hub knows only the streams by name that moved of late; of others it says
//! where they are from the head that the caller has read, and of the few of which that does not say it, after
//! [`Hub::settle`].
//!
//! The bus brings events in the order of their positions, but for those of a failed commit that was kept after all.

mod heads;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use syncline_protocol::{Filter, Seq, StreamId, Topic};

use super::ephemeral::Ephemeral;
use super::index::{Index, PeerId};
use super::mailbox::{Advance, Mailbox, Summons, Turn};
use super::tails::Tails;
use crate::router::BusMessage;
use crate::store::{Committed, EventStore, ReadLimit, StoreError, StreamHead};
use heads::{Heads, Known};

pub(crate) use heads::Reading;

/// Streams in one page of the store's list.
const STREAMS_PAGE: usize = 256;

/// Steps that a connection has not seen yet.
pub(crate) type Advances = BTreeMap<Arc<StreamId>, Advance>;

/// The hub.
pub(crate) struct Hub {
    store: Arc<dyn EventStore>,
    state: Mutex<State>,
    /// Held while comparing with the store.
    comparing: Mutex<()>,
}

struct State {
    heads: Heads,
    /// How often the bus lost something.
    losses: u64,
    /// Something that it lost has not been looked up yet.
    behind: bool,
    tails: Tails,
    index: Index,
    peers: HashMap<PeerId, Arc<Mailbox>>,
    next_peer: u64,
    retained: BTreeMap<Arc<str>, Arc<Ephemeral>>,
}

impl Hub {
    /// A hub for which everything in the store has been brought. `tail`: recent events kept in memory at most;
    /// `streams_max`: streams known by name, about.
    pub(crate) fn new(
        store: Arc<dyn EventStore>,
        tail: ReadLimit,
        streams_max: usize,
    ) -> Result<Self, StoreError> {
        let state = State {
            heads: Heads::new(store.position()?, streams_max),
            losses: 0,
            behind: false,
            tails: Tails::new(tail),
            index: Index::default(),
            peers: HashMap::new(),
            next_peer: 0,
            retained: BTreeMap::new(),
        };
        Ok(Self {
            store,
            state: Mutex::new(state),
            comparing: Mutex::default(),
        })
    }

    /// Takes what the bus brings.
    pub(crate) fn hear(&self, message: BusMessage) {
        match message {
            BusMessage::Event(event) => self.arrived(event),
            BusMessage::Resync => {
                self.lock().lose();
                self.catch_up();
            }
        }
    }

    /// How often the bus lost something, so that the store was compared with.
    pub(crate) fn losses(&self) -> u64 {
        self.lock().losses
    }

    /// Whether [`Hub::catch_up`] is due.
    pub(crate) fn is_behind(&self) -> bool {
        self.lock().behind
    }

    /// Treats whatever the store has beyond the known heads as arrived, if that is due. Reads the store.
    pub(crate) fn catch_up(&self) {
        let _alone = self
            .comparing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        loop {
            let losses = {
                let state = self.lock();
                if !state.behind {
                    return;
                }
                state.losses
            };
            match self.compare_with_store() {
                Ok(position) => self.lock().compared(position, losses),
                Err(error) => {
                    let late = "deliveries may be late: the store did not list its streams";
                    return tracing::warn!(%error, "{late}");
                }
            }
        }
    }

    /// Makes a stream known of which a head does not say how far the bus has brought it. Reads the store.
    pub(crate) fn settle(&self, stream: &StreamId) -> Result<(), StoreError> {
        loop {
            let (brought, reading) = {
                let state = self.lock();
                if state.heads.get(stream).is_some() {
                    return Ok(());
                }
                (state.heads.brought(), state.heads.reading())
            };
            let seq = self.store.seq_at(stream, brought)?;
            let epoch = self.store.head(stream)?.epoch;
            let mut state = self.lock();
            // Nothing came of it since, or it would be known or forgotten by now.
            if state.heads.get(stream).is_none() && state.heads.reading() == reading {
                let position = brought;
                state.heads.set(
                    stream,
                    Known {
                        epoch,
                        seq,
                        position,
                    },
                );
                return Ok(());
            }
        }
    }

    /// An epoch began in a stream (EPOCH-1): whoever follows it hears so before its first event.
    pub(crate) fn turn(&self, stream: &StreamId, head: &StreamHead) {
        let mut state = self.lock();
        let before = state.heads.get(stream);
        if before.is_some_and(|known| known.epoch == head.epoch) {
            return;
        }
        let from = before.map_or(head.seq, |known| known.seq);
        let turn = Turn {
            at: head.seq,
            epoch: head.epoch,
        };
        let step = Advance {
            turn: Some(turn),
            ..Advance::new(from, head.seq.max(from))
        };
        let known = Known {
            epoch: head.epoch,
            seq: step.to,
            position: head.position,
        };
        state.tell_step(stream, known, step, None);
    }

    fn arrived(&self, event: Committed) {
        let mut state = self.lock();
        let stream = event.stream().clone();
        let before = match state.heads.get(&stream) {
            Some(known) => Some(known.seq),
            None if state.heads.was_compared(event.position()) => return,
            // What came before it was brought or is brought: the bus keeps the order.
            None if !state.behind => None,
            // Or it was lost.
            None => {
                let brought = state.heads.brought();
                drop(state);
                return self.arrived_behind(event, brought);
            }
        };
        if !state.behind {
            state.heads.bring(event.position());
        }
        let before = before.unwrap_or_else(|| event.seq().previous());
        state.advance(before, event);
    }

    /// An event of a stream of which something may have been lost.
    fn arrived_behind(&self, event: Committed, brought: u64) {
        let before = self.store.seq_at(event.stream(), brought);
        let mut state = self.lock();
        let settled = state.heads.get(event.stream()).is_some();
        match before {
            _ if settled || !state.behind || state.heads.brought() != brought => {
                drop(state);
                self.arrived(event);
            }
            Ok(before) => state.advance(before, event),
            // It is found when the store is compared with once more.
            Err(_) => state.lose(),
        }
    }

    /// Tells of everything that was not told yet. Returns the position up to which that is all.
    fn compare_with_store(&self) -> Result<u64, StoreError> {
        let position = self.store.position()?;
        let brought = self.lock().heads.brought();
        let mut after: Option<StreamId> = None;
        loop {
            let page = self.store.streams(after.as_ref(), STREAMS_PAGE)?;
            let full = page.len() == STREAMS_PAGE;
            after = page.last().map(|(stream, _)| stream.clone());
            for (stream, head) in page {
                if head.position > brought {
                    self.found(&stream, &head, brought)?;
                }
            }
            if !full {
                return Ok(position);
            }
        }
    }

    /// A stream has moved since `brought`.
    fn found(&self, stream: &StreamId, head: &StreamHead, brought: u64) -> Result<(), StoreError> {
        let before = self.store.seq_at(stream, brought)?;
        self.lock().jump(stream, before, head);
        Ok(())
    }

    /// Takes in a connection.
    pub(crate) fn join(&self, mailbox: Arc<Mailbox>) -> PeerId {
        let mut state = self.lock();
        let peer = PeerId(state.next_peer);
        state.next_peer += 1;
        state.peers.insert(peer, mailbox);
        peer
    }

    /// Asks every connection to end.
    pub(crate) fn summon_all(&self) {
        self.lock()
            .peers
            .values()
            .for_each(|mailbox| mailbox.summon(Summons::Drain));
    }

    /// Has every connection look again at what it may do.
    pub(crate) fn review_all(&self) {
        self.lock().peers.values().for_each(|it| it.review());
    }

    /// Forgets a connection and its filters.
    pub(crate) fn leave<'a>(&self, peer: PeerId, filters: impl Iterator<Item = &'a Filter>) {
        let mut state = self.lock();
        filters.for_each(|filter| state.index.remove(filter, peer));
        state.peers.remove(&peer);
    }

    /// Every event up to this position was told to those who followed it.
    pub(crate) fn brought(&self) -> u64 {
        self.lock().heads.brought()
    }

    /// The steps so far, and the position up to which they and those before are all that there was to tell.
    pub(crate) fn level(&self, peer: PeerId) -> (Advances, u64) {
        let state = self.lock();
        (state.advances(peer), state.heads.brought())
    }

    /// What is read of the store after this can tell where streams are.
    pub(crate) fn reading(&self) -> Reading {
        self.lock().heads.reading()
    }

    /// Whether a head that was read after `reading` says how far the bus has brought its stream.
    pub(crate) fn tells(&self, stream: &StreamId, head: &StreamHead, reading: Reading) -> bool {
        self.lock().heads.of(stream, head, reading).is_some()
    }

    /// Adds filters. From here on the mailbox hears of what matches. Returns the steps so far, and where they lead for
    /// the streams that come with them, as their heads were read after `reading`. `None`, and nothing is added, if they
    /// do not say that.
    pub(crate) fn subscribe(
        &self,
        peer: PeerId,
        filters: &[&Filter],
        streams: &[(&StreamId, &StreamHead)],
        reading: Reading,
    ) -> Option<(Advances, Vec<Seq>)> {
        let mut state = self.lock();
        let heads = state.places(streams, reading)?;
        for filter in filters {
            state.index.insert(filter, peer);
        }
        Some((state.advances(peer), heads))
    }

    /// Removes a filter.
    pub(crate) fn unsubscribe(&self, peer: PeerId, filter: &Filter) {
        self.lock().index.remove(filter, peer);
    }

    /// The steps so far, and where they lead for these streams, as in [`Hub::subscribe`].
    pub(crate) fn heads(
        &self,
        peer: PeerId,
        streams: &[(&StreamId, &StreamHead)],
        reading: Reading,
    ) -> Option<(Advances, Vec<Seq>)> {
        let state = self.lock();
        let heads = state.places(streams, reading)?;
        Some((state.advances(peer), heads))
    }

    /// Events after `after`, if they are still in memory.
    pub(crate) fn tail(
        &self,
        stream: &StreamId,
        after: Seq,
        limit: ReadLimit,
    ) -> Option<Vec<Committed>> {
        self.lock().tails.read(stream, after, limit)
    }

    /// Replaces what is retained on a topic and tells those who follow it.
    pub(crate) fn retain(&self, message: Ephemeral) {
        let mut state = self.lock();
        let topic = message.shared_topic();
        if message.is_cleared() {
            state.retained.remove(&topic);
        } else {
            state.retained.insert(Arc::clone(&topic), Arc::new(message));
        }
        let peers = state.matching(&topic);
        state.tell(peers, |mailbox| mailbox.topic(Arc::clone(&topic)));
    }

    /// Sends a message that is not retained to those who follow its topic, `except` one.
    pub(crate) fn send(&self, message: &Arc<Ephemeral>, except: Option<PeerId>) {
        let state = self.lock();
        let mut peers = state.matching(message.topic());
        peers.retain(|peer| Some(*peer) != except);
        state.tell(peers, |mailbox| mailbox.report(Arc::clone(message)));
    }

    /// What is retained on a topic.
    pub(crate) fn retained(&self, topic: &str) -> Option<Arc<Ephemeral>> {
        self.lock().retained.get(topic).cloned()
    }

    /// The retained topics that a filter matches.
    pub(crate) fn retained_topics(&self, filter: &Filter) -> Vec<Arc<str>> {
        let literal = filter
            .as_str()
            .find(['+', '#'])
            .unwrap_or(filter.as_str().len());
        let prefix = filter.as_str()[..literal].trim_end_matches('/');
        let state = self.lock();
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let near = state.retained.range::<str, _>(from).map(|(topic, _)| topic);
        near.take_while(|topic| topic.starts_with(prefix))
            .filter(|topic| filter.matches_text(topic))
            .cloned()
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The bus has lost something.
    fn lose(&mut self) {
        self.losses += 1;
        self.behind = true;
    }

    /// Everything up to a position was looked up that had been lost when there were `losses`.
    fn compared(&mut self, position: u64, losses: u64) {
        self.heads.compare(position);
        self.behind = self.losses != losses;
    }

    fn places(&self, streams: &[(&StreamId, &StreamHead)], reading: Reading) -> Option<Vec<Seq>> {
        let of = |(stream, head): &(&StreamId, &StreamHead)| self.heads.of(stream, head, reading);
        streams.iter().map(of).collect()
    }

    fn advances(&self, peer: PeerId) -> Advances {
        self.peers
            .get(&peer)
            .map(|mailbox| mailbox.take_advances())
            .unwrap_or_default()
    }

    /// The bus has brought an event of a stream that stood at `before`.
    fn advance(&mut self, before: Seq, event: Committed) {
        let stream = event.stream().clone();
        let known = Known {
            epoch: event.epoch(),
            seq: event.seq(),
            position: event.position(),
        };
        if known.seq > before {
            let step = self.step(&stream, before, known);
            self.tell_step(&stream, known, step, Some(event));
        }
    }

    /// The store has a stream further than `before`, where it stood unless it is known better.
    fn jump(&mut self, stream: &StreamId, before: Seq, head: &StreamHead) {
        let known = Known {
            epoch: head.epoch,
            seq: head.seq,
            position: head.position,
        };
        let before = self.heads.get(stream).map_or(before, |known| known.seq);
        let step = self.step(stream, before, known);
        if known.seq > before || step.turn.is_some() {
            self.tell_step(stream, known, step, None);
        }
    }

    /// From `before` to where a stream is now; perhaps into another epoch.
    fn step(&self, stream: &StreamId, before: Seq, now: Known) -> Advance {
        let epoch = self.heads.get(stream).map(|known| known.epoch);
        let turned = before > Seq::ZERO && epoch.is_some_and(|epoch| epoch != now.epoch);
        let turn = turned.then_some(Turn {
            at: before,
            epoch: now.epoch,
        });
        Advance {
            turn,
            ..Advance::new(before, now.seq)
        }
    }

    /// Tells of a step whom it concerns. `event` is the one at its end, if it is at hand.
    fn tell_step(
        &mut self,
        stream: &StreamId,
        known: Known,
        step: Advance,
        event: Option<Committed>,
    ) {
        let stream = self.heads.set(stream, known);
        let events = Topic::Events(StreamId::clone(&stream)).to_string();
        let mut peers = self.matching(&events);
        let followed = !peers.is_empty();
        let state = Topic::State(StreamId::clone(&stream)).to_string();
        peers.extend(self.matching(&state));
        self.tell(peers, |mailbox| mailbox.advance(&stream, step));
        match event {
            Some(event) if followed => self.tails.push(&stream, event),
            _ => self.tails.forget(&stream),
        }
    }

    /// The peers with a filter that matches, each as often as it has such filters.
    fn matching(&self, topic: &str) -> Vec<PeerId> {
        let mut peers = Vec::new();
        self.index.matching(topic, &mut |peer| peers.push(peer));
        peers
    }

    /// Tells each of them once: who empties its box between two tellings of one step would take it for two.
    fn tell(&self, mut peers: Vec<PeerId>, tell: impl Fn(&Mailbox)) {
        peers.sort_unstable();
        peers.dedup();
        let boxes = peers.iter().filter_map(|peer| self.peers.get(peer));
        boxes.for_each(|mailbox| tell(mailbox));
    }
}
