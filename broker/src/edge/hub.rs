//! The router's consumer: how far the bus has brought every stream, whom that concerns, and what is not stored.
//!
//! Calling contract: [`Hub::hear`] is called on the router's thread, one message at a time. Everything else may be
//! called from any thread and never blocks for longer than the lock is held, [`Hub::catch_up`] excepted, which reads
//! the store.
//!
//! A connection learns of a stream through its mailbox alone, as `from → to`, so what it knows is always one
//! consistent step behind or level with the hub. [`Hub::subscribe`] and [`Hub::heads`] hand over the mailbox's steps
//! together with the head that they lead to.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use syncline_protocol::{Filter, Seq, StreamId, Topic};

use super::ephemeral::Ephemeral;
use super::index::{Index, PeerId};
use super::mailbox::{Advance, Mailbox, Summons};
use super::tails::Tails;
use crate::router::BusMessage;
use crate::store::{Committed, EventStore, ReadLimit, StoreError};

/// Streams in one page of the store's list.
const STREAMS_PAGE: usize = 256;

/// Steps that a connection has not seen yet.
pub(crate) type Advances = BTreeMap<Arc<StreamId>, Advance>;

/// The hub.
pub(crate) struct Hub {
    store: Arc<dyn EventStore>,
    state: Mutex<State>,
    /// A catch-up is due that the store did not answer.
    behind: AtomicBool,
}

struct State {
    /// How far the bus has brought each stream.
    heads: HashMap<Arc<StreamId>, Seq>,
    tails: Tails,
    index: Index,
    peers: HashMap<PeerId, Arc<Mailbox>>,
    next_peer: u64,
    retained: BTreeMap<Arc<str>, Arc<Ephemeral>>,
}

impl Hub {
    /// A hub whose heads are the store's. `tail`: recent events kept in memory at most.
    pub(crate) fn new(store: Arc<dyn EventStore>, tail: ReadLimit) -> Result<Self, StoreError> {
        let state = State {
            heads: HashMap::new(),
            tails: Tails::new(tail),
            index: Index::default(),
            peers: HashMap::new(),
            next_peer: 0,
            retained: BTreeMap::new(),
        };
        let hub = Self {
            store,
            state: Mutex::new(state),
            behind: AtomicBool::new(false),
        };
        hub.compare_with_store()?;
        Ok(hub)
    }

    /// Takes what the bus brings.
    pub(crate) fn hear(&self, message: BusMessage) {
        match message {
            BusMessage::Event(event) => self.lock().arrived(event),
            BusMessage::Resync => {
                self.behind.store(true, Ordering::Release);
                self.catch_up();
            }
        }
    }

    /// Whether [`Hub::catch_up`] is due.
    pub(crate) fn is_behind(&self) -> bool {
        self.behind.load(Ordering::Acquire)
    }

    /// Treats whatever the store has beyond the known heads as arrived, if that is due. Reads the store.
    pub(crate) fn catch_up(&self) {
        if !self.behind.swap(false, Ordering::AcqRel) {
            return;
        }
        if let Err(error) = self.compare_with_store() {
            tracing::warn!(%error, "deliveries may be late: the store did not list its streams");
            self.behind.store(true, Ordering::Release);
        }
    }

    fn compare_with_store(&self) -> Result<(), StoreError> {
        let mut after: Option<StreamId> = None;
        loop {
            let page = self.store.streams(after.as_ref(), STREAMS_PAGE)?;
            let full = page.len() == STREAMS_PAGE;
            after = page.last().map(|(stream, _)| stream.clone());
            let mut state = self.lock();
            page.into_iter()
                .for_each(|(stream, head)| state.advance(stream, head.seq, None));
            if !full {
                return Ok(());
            }
        }
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

    /// Forgets a connection and its filters.
    pub(crate) fn leave<'a>(&self, peer: PeerId, filters: impl Iterator<Item = &'a Filter>) {
        let mut state = self.lock();
        filters.for_each(|filter| state.index.remove(filter, peer));
        state.peers.remove(&peer);
    }

    /// Adds a filter. From here on the mailbox hears of what matches. Returns the steps so far, and where they
    /// lead for the filter's stream, if it names one.
    pub(crate) fn subscribe(&self, peer: PeerId, filter: &Filter) -> (Advances, Seq) {
        let mut state = self.lock();
        state.index.insert(filter, peer);
        let head = match filter.exact() {
            Some(Topic::Events(stream) | Topic::State(stream)) => state.head(&stream),
            _ => Seq::ZERO,
        };
        (state.advances(peer), head)
    }

    /// Removes a filter.
    pub(crate) fn unsubscribe(&self, peer: PeerId, filter: &Filter) {
        self.lock().index.remove(filter, peer);
    }

    /// The steps so far, and where they lead for these streams.
    pub(crate) fn heads(&self, peer: PeerId, streams: &[Arc<StreamId>]) -> (Advances, Vec<Seq>) {
        let state = self.lock();
        let heads = streams.iter().map(|stream| state.head(stream)).collect();
        (state.advances(peer), heads)
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
    fn arrived(&mut self, event: Committed) {
        let (stream, seq) = (event.stream().clone(), event.seq());
        self.advance(stream, seq, Some(event));
    }

    fn head(&self, stream: &StreamId) -> Seq {
        self.heads.get(stream).copied().unwrap_or_default()
    }

    fn advances(&self, peer: PeerId) -> Advances {
        self.peers
            .get(&peer)
            .map(|mailbox| mailbox.take_advances())
            .unwrap_or_default()
    }

    /// Moves a head forward and tells whom it concerns. `event` is the one at the head, if it is at hand.
    fn advance(&mut self, stream: StreamId, to: Seq, event: Option<Committed>) {
        let from = self.head(&stream);
        if to <= from {
            return;
        }
        let stream = match self.heads.get_key_value(&stream) {
            Some((known, _)) => Arc::clone(known),
            None => Arc::new(stream),
        };
        self.heads.insert(Arc::clone(&stream), to);
        let step = Advance { from, to };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;
    use crate::store::{Append, Record};
    use syncline_protocol::{Clock, DeviceId, Epoch, Event, UnixMillis, Value};

    fn stream(name: &str) -> StreamId {
        StreamId {
            sync_id: name.parse().unwrap(),
            channel: None,
        }
    }

    fn event(stream: &StreamId, seq: Seq) -> Event {
        Event {
            stream: stream.clone(),
            epoch: Epoch::new(1),
            seq,
            accepted_at: UnixMillis::new(1),
            event_type: "star".parse().unwrap(),
            event_data: Value::Nil,
            device: DeviceId::from_bytes([1; 16]),
            device_seq: None,
            clock: Clock::default(),
            base_seq: Seq::ZERO,
            extra: BTreeMap::new(),
        }
    }

    /// Commits the next event of a stream.
    fn commit(store: &MemoryStore, stream: &StreamId) -> Committed {
        let expected_head = store.head(stream).unwrap().seq;
        let event = event(stream, expected_head.next());
        let records = vec![Record { event, hash: None }];
        let epoch = Epoch::new(1);
        let append = Append::events(stream.clone(), expected_head, epoch, records);
        store
            .append(vec![append])
            .unwrap()
            .remove(0)
            .unwrap()
            .committed
            .remove(0)
    }

    struct Rig {
        store: Arc<MemoryStore>,
        hub: Hub,
        mailbox: Arc<Mailbox>,
        peer: PeerId,
    }

    fn rig(before: &[&str]) -> Rig {
        let store = Arc::new(MemoryStore::new(8));
        before
            .iter()
            .for_each(|name| drop(commit(&store, &stream(name))));
        let tail = ReadLimit {
            events: 4,
            bytes: 1 << 20,
        };
        let hub = Hub::new(Arc::clone(&store) as Arc<dyn EventStore>, tail).unwrap();
        let mailbox = Arc::new(Mailbox::default());
        let peer = hub.join(Arc::clone(&mailbox));
        Rig {
            store,
            hub,
            mailbox,
            peer,
        }
    }

    fn seq(n: u64) -> Seq {
        Seq::new(n).unwrap()
    }

    fn filter(text: &str) -> Filter {
        text.parse().unwrap()
    }

    #[test]
    fn a_step_tells_from_where_to_where_and_only_those_it_concerns() {
        let rig = rig(&["a", "a", "b"]);
        assert_eq!(
            rig.hub.subscribe(rig.peer, &filter("sync/a/events")).1,
            seq(2)
        );
        for name in ["a", "a", "b"] {
            rig.hub
                .hear(BusMessage::Event(commit(&rig.store, &stream(name))));
        }
        let advances = rig.mailbox.take().advances;
        let expected = Advance {
            from: seq(2),
            to: seq(4),
        };
        assert_eq!(advances, BTreeMap::from([(Arc::new(stream("a")), expected)]));
    }

    #[test]
    fn a_resync_finds_in_the_store_what_the_bus_lost() {
        let rig = rig(&["a"]);
        rig.hub.subscribe(rig.peer, &filter("sync/#"));
        let lost = ["a", "b", "b"].map(|name| commit(&rig.store, &stream(name)));
        assert!(rig.mailbox.take().advances.is_empty());
        rig.hub.hear(BusMessage::Resync);
        let advances = rig.mailbox.take().advances;
        assert_eq!(
            advances[&stream("a")],
            Advance {
                from: seq(1),
                to: seq(2)
            }
        );
        assert_eq!(
            advances[&stream("b")],
            Advance {
                from: seq(0),
                to: seq(2)
            }
        );
        lost.into_iter()
            .for_each(|event| rig.hub.hear(BusMessage::Event(event)));
        assert!(
            rig.mailbox.take().advances.is_empty(),
            "what is known does not come again"
        );
    }

    #[test]
    fn the_tail_has_no_holes_and_a_budget() {
        let rig = rig(&[]);
        rig.hub.subscribe(rig.peer, &filter("sync/a/events"));
        let hear = |n| {
            for _ in 0..n {
                rig.hub
                    .hear(BusMessage::Event(commit(&rig.store, &stream("a"))));
            }
        };
        let tail = |after| {
            let limit = ReadLimit {
                events: 9,
                bytes: 1 << 20,
            };
            let events = rig.hub.tail(&stream("a"), seq(after), limit);
            events.map(|events| events.iter().map(|it| it.seq().get()).collect::<Vec<_>>())
        };
        hear(6);
        assert_eq!(tail(1), None, "the budget is 4 events");
        assert_eq!(tail(2), Some(vec![3, 4, 5, 6]));
        assert_eq!(tail(6), None);
        drop(commit(&rig.store, &stream("a")));
        hear(1);
        assert_eq!(tail(2), None, "7 was lost on the bus");
        assert_eq!(tail(7), Some(vec![8]));
    }

    #[test]
    fn a_peer_that_left_hears_nothing_and_leaves_nothing() {
        let rig = rig(&[]);
        let filters = [filter("sync/#"), filter("sync/a/events")];
        filters
            .iter()
            .for_each(|it| drop(rig.hub.subscribe(rig.peer, it)));
        rig.hub.leave(rig.peer, filters.iter());
        rig.hub
            .hear(BusMessage::Event(commit(&rig.store, &stream("a"))));
        assert!(rig.mailbox.take().advances.is_empty());
        assert!(rig.hub.lock().index.is_empty() && rig.hub.lock().peers.is_empty());
    }

    #[test]
    fn retained_messages_are_found_by_their_filters() {
        let rig = rig(&[]);
        let device = DeviceId::from_bytes([1; 16]);
        let topic = Topic::Presence("a".parse().unwrap(), device);
        rig.hub.retain(Ephemeral::text(&topic, "here"));
        rig.hub.retain(Ephemeral::text(&Topic::Schema, "{}"));
        let count = |text: &str| rig.hub.retained_topics(&filter(text)).len();
        let counts = ["#", "sync/a/#", "sync/+/presence/+", "sync/b/#", "$SYS/#"].map(count);
        assert_eq!(counts, [1, 1, 1, 0, 1]);
        assert_eq!(count(&topic.to_string()), 1);
        rig.hub.retain(Ephemeral::cleared(topic.to_string().into()));
        assert_eq!(count("#"), 0);
    }
}
