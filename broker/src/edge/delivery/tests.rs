//! Deliveries against a naive model, and the rules one by one.

use super::*;

use std::collections::HashMap;

use proptest::prelude::*;
use syncline_protocol::{Clock, DeviceId, Epoch, Event, Subscription, UnixMillis, Value};

/// A world of three streams, a connection, and what each of its subscriptions has.
struct World {
    delivery: Delivery,
    now: Instant,
    streams: Vec<Arc<StreamId>>,
    /// The store's heads and how far the bus has brought them.
    heads: Vec<u64>,
    bus: Vec<u64>,
    pending: Advances,
    /// By Subscription Identifier.
    subs: HashMap<u32, Seen>,
    by_filter: HashMap<String, u32>,
    next: u32,
    /// Streams in a page of a scan.
    page: usize,
    received: Vec<Outgoing>,
}

/// What one subscription has: per stream the seq up to which it has everything.
#[derive(Default)]
struct Seen {
    filter: String,
    upto: HashMap<usize, u64>,
}

fn seq(n: u64) -> Seq {
    Seq::new(n).unwrap()
}

fn stream(text: &str) -> Arc<StreamId> {
    let Ok(Topic::Events(stream)) = format!("{text}/events").parse() else {
        panic!("{text}")
    };
    Arc::new(stream)
}

/// A committed event, by way of its frame.
fn committed(stream: &StreamId, n: u64) -> Committed {
    let event = Event {
        stream: stream.clone(),
        epoch: Epoch::new(1),
        seq: seq(n),
        accepted_at: UnixMillis::new(n),
        event_type: "star".parse().unwrap(),
        event_data: Value::Nil,
        device: DeviceId::from_bytes([1; 16]),
        device_seq: None,
        clock: Clock::default(),
        base_seq: seq(0),
        extra: Default::default(),
    };
    let (position, epoch) = (n, 1_u64);
    let mut frame = [position, epoch, n].map(u64::to_be_bytes).concat();
    let channel = stream
        .channel
        .as_ref()
        .map_or("", |channel| channel.as_str());
    for text in [stream.sync_id.as_str(), channel] {
        frame.push(text.len() as u8);
        frame.extend(text.as_bytes());
    }
    frame.extend(event.encode());
    Committed::from_frame(frame.into()).unwrap()
}

impl World {
    fn new() -> Self {
        Self {
            delivery: Delivery::new(16, 1_000_000),
            now: Instant::now(),
            streams: ["sync/a", "sync/a/x", "sync/b"].map(stream).to_vec(),
            heads: vec![0; 3],
            bus: vec![0; 3],
            pending: Advances::new(),
            subs: HashMap::new(),
            by_filter: HashMap::new(),
            next: 0,
            page: 1,
            received: Vec::new(),
        }
    }

    fn index(&self, topic: &str) -> (usize, bool) {
        let of = |end: &str| {
            self.streams
                .iter()
                .position(|it| format!("{it}/{end}") == topic)
        };
        of("events").map_or_else(|| (of("state").unwrap(), true), |at| (at, false))
    }

    fn publish(&mut self, at: usize, n: u64) {
        self.heads[at] += n;
    }

    /// The bus brings a stream up to the store's head.
    fn bring(&mut self, at: usize) {
        if self.bus[at] == self.heads[at] {
            return;
        }
        let step = Advance {
            from: seq(self.bus[at]),
            to: seq(self.heads[at]),
        };
        let entry = self
            .pending
            .entry(Arc::clone(&self.streams[at]))
            .or_insert(step);
        entry.to = step.to;
        self.bus[at] = self.heads[at];
    }

    fn drain(&mut self) {
        let advances = std::mem::take(&mut self.pending);
        self.delivery.advance(self.now, &advances);
    }

    fn subscribe(&mut self, text: &str) -> u32 {
        self.next += 1;
        let id = self.next;
        let subscription: Subscription = text.parse().unwrap();
        let filter = subscription.filter.as_str().to_owned();
        let mut seen = Seen {
            filter: filter.clone(),
            upto: HashMap::new(),
        };
        let exact = subscription.filter.exact();
        self.drain();
        let mut ground = Ground::default();
        for at in 0..self.streams.len() {
            let topic = Topic::Events(StreamId::clone(&self.streams[at]));
            if !subscription.filter.matches(&topic) {
                continue;
            }
            let start = match (subscription.start, exact.is_some()) {
                (Start::Now, true) => Some(self.heads[at]),
                (Start::Now, false) => Some(self.bus[at]),
                (Start::Since(from), _) => Some(from.get().min(self.heads[at])),
                _ => None,
            };
            seen.upto.extend(start.map(|start| (at, start)));
            if exact.is_some() {
                ground.head = seq(self.heads[at]);
                ground.bus = seq(self.bus[at]);
            }
        }
        if let Some(old) = self.by_filter.insert(filter, id) {
            self.subs.remove(&old);
        }
        self.subs.insert(id, seen);
        let retained = Retained::Always;
        let wanted = Wanted {
            subscription,
            at_least_once: true,
            retained,
            identifier: Some(id),
        };
        assert_eq!(
            self.delivery.subscribe(&wanted, &ground),
            Verdict::Granted {
                at_least_once: true
            }
        );
        id
    }

    fn unsubscribe(&mut self, text: &str) -> bool {
        let filter = text.parse::<Subscription>().unwrap().filter;
        let known = self.by_filter.remove(filter.as_str());
        known.and_then(|id| self.subs.remove(&id));
        let existed = self.delivery.unsubscribe(&filter);
        assert_eq!(existed, known.is_some());
        existed
    }

    /// Lets the connection have up to `messages`.
    fn run(&mut self, messages: usize) {
        self.drain();
        let mut left = messages;
        while left > 0 {
            if let Some(message) = self.delivery.next_message(true) {
                self.receive(message);
                left -= 1;
            } else if let Some(need) = self.delivery.need(self.now) {
                self.provide(need);
            } else {
                return;
            }
        }
    }

    fn provide(&mut self, need: Need) {
        match need {
            Need::Events { stream, after } => {
                let at = self.streams.iter().position(|it| *it == stream).unwrap();
                let until = self.heads[at].min(after.get() + 3);
                let events = (after.get() + 1..=until)
                    .map(|n| committed(&stream, n))
                    .collect();
                self.delivery.events(events).unwrap();
            }
            Need::Snapshot {
                stream,
                want,
                msgpack,
                json,
            } => {
                let at = self.streams.iter().position(|it| *it == stream).unwrap();
                let body = |on: bool| on.then(|| Bytes::from_static(b"state"));
                let head = self.heads[at];
                let rendered = Rendered {
                    seq: seq(head),
                    msgpack: body(msgpack),
                    json: body(json),
                };
                let some = head > 0 || want != Want::Full;
                self.delivery
                    .snapshot(self.now, some.then_some(rendered))
                    .unwrap();
            }
            Need::Streams { after } => {
                let later: Vec<_> = (0..self.streams.len())
                    .filter(|at| self.heads[*at] > 0)
                    .filter(|at| {
                        after
                            .as_ref()
                            .is_none_or(|after| *self.streams[*at] > *after)
                    })
                    .collect();
                let last = later.len() < self.page;
                // What arrives between the store's answer and the hub's.
                let heads = self.heads.clone();
                (0..self.streams.len()).for_each(|at| self.bring(at));
                let scanned = |at: &usize| Scanned {
                    stream: Arc::clone(&self.streams[*at]),
                    head: seq(heads[*at]),
                    bus: seq(self.bus[*at]),
                };
                let page: Vec<_> = later.iter().take(self.page).map(scanned).collect();
                let advances = std::mem::take(&mut self.pending);
                self.delivery.streams(self.now, &page, last, &advances);
            }
            Need::Topic(_) => self.delivery.topic(None),
        }
    }

    /// G3: per subscription and stream, the next seq and no other.
    fn receive(&mut self, message: Outgoing) {
        let (at, is_state) = self.index(&message.topic);
        let got = message.tag.as_ref().unwrap().seq.get();
        for id in &message.identifiers() {
            let seen = self
                .subs
                .get_mut(id)
                .expect("a message for a subscription that is gone");
            if is_state {
                if seen.filter.ends_with("/events") {
                    seen.upto.insert(at, got);
                }
                continue;
            }
            let upto = seen
                .upto
                .get_mut(&at)
                .expect("an event before the opening state");
            assert_eq!(got, *upto + 1, "{} in {}", seen.filter, message.topic);
            *upto = got;
        }
        self.received.push(message);
    }

    fn settle(&mut self) {
        (0..self.streams.len()).for_each(|at| self.bring(at));
        self.now += Duration::from_secs(60);
        self.run(usize::MAX);
        for seen in self.subs.values() {
            for (at, upto) in &seen.upto {
                assert_eq!(
                    *upto, self.heads[*at],
                    "{} in {}",
                    seen.filter, self.streams[*at]
                );
            }
        }
    }

    fn seqs(&self) -> Vec<u64> {
        self.received
            .iter()
            .map(|it| it.tag.as_ref().unwrap().seq.get())
            .collect()
    }
}

#[derive(Debug, Clone)]
enum Op {
    Publish(usize, u64),
    Bring(usize),
    Subscribe(&'static str),
    Unsubscribe(&'static str),
    Run(usize),
    Sleep(u64),
}

fn filter() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "sync/a/events",
        "$since/0/sync/a/events",
        "$since/2/sync/a/events",
        "$since/0-0/sync/a/events",
        "$json/$since/1/sync/a/x/events",
        "$since/0-0/sync/b/events",
        "sync/+/events",
        "$since/0/sync/+/events",
        "$json/sync/#",
        "$since/0/sync/#",
        "sync/a/state",
        "$json/#",
    ])
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..3_usize, 1..6_u64).prop_map(|(at, n)| Op::Publish(at, n)),
        4 => (0..3_usize).prop_map(Op::Bring),
        3 => filter().prop_map(Op::Subscribe),
        1 => filter().prop_map(Op::Unsubscribe),
        4 => (1..12_usize).prop_map(Op::Run),
        1 => (0..500_u64).prop_map(Op::Sleep),
    ]
}

proptest! {
    #[test]
    fn g3_each_subscription_gets_every_seq_once_in_order(
        ops in prop::collection::vec(op(), 0..40),
        page in 1..3_usize,
    ) {
        let mut world = World::new();
        world.page = page;
        for op in ops {
            match op {
                Op::Publish(at, n) => world.publish(at, n),
                Op::Bring(at) => world.bring(at),
                Op::Subscribe(text) => { world.subscribe(text); }
                Op::Unsubscribe(text) => { world.unsubscribe(text); }
                Op::Run(messages) => world.run(messages),
                Op::Sleep(ms) => world.now += Duration::from_millis(ms),
            }
        }
        world.settle();
    }
}

#[test]
fn what_the_bus_has_not_brought_is_not_delivered_but_in_a_replay() {
    let mut world = World::new();
    world.subscribe("sync/a/events");
    world.publish(0, 2);
    world.run(10);
    assert_eq!(world.seqs(), [0; 0]);
    world.subscribe("$since/0/sync/a/events");
    world.publish(0, 1);
    world.run(10);
    assert_eq!(world.seqs(), [1, 2]);
    world.bring(0);
    world.run(10);
    assert_eq!(world.seqs(), [1, 2, 3]);
}

#[test]
fn view_6_where_subscriptions_overlap_one_copy_per_encoding_arrives() {
    let mut world = World::new();
    let exact = world.subscribe("sync/a/events");
    let wild = world.subscribe("sync/+/events");
    let json = world.subscribe("$json/sync/#");
    world.publish(0, 1);
    world.bring(0);
    world.run(10);
    let events: Vec<_> = world
        .received
        .iter()
        .filter(|it| it.topic.ends_with("events"))
        .collect();
    assert_eq!(events[0].identifiers(), [exact, wild]);
    assert_eq!(events[1].identifiers(), [json]);
    assert_eq!(events.len(), 2);
    assert_eq!(events[1].payload[0], b'{');
}

#[test]
fn view_5_subscribing_again_moves_the_cursor_and_any_form_unsubscribes() {
    let mut world = World::new();
    world.publish(0, 4);
    world.bring(0);
    world.subscribe("sync/a/events");
    world.subscribe("$since/2/sync/a/events");
    world.run(10);
    assert_eq!(world.seqs(), [3, 4]);
    world.subscribe("$since/9/sync/a/events");
    assert!(world.unsubscribe("$json/sync/a/events"));
    world.publish(0, 1);
    world.settle();
    assert_eq!(world.seqs(), [3, 4]);
}

#[test]
fn view_4_an_opening_state_comes_first_also_of_an_empty_stream() {
    let mut world = World::new();
    world.subscribe("$since/0-0/sync/a/events");
    world.run(10);
    assert_eq!(&*world.received[0].topic, "sync/a/state");
    assert!(world.received[0].retain);
    world.publish(0, 2);
    world.settle();
    assert_eq!(world.seqs(), [0, 1, 2]);
    world.subscribe("$since/0-0/sync/a/events");
    world.publish(0, 1);
    world.run(10);
    assert_eq!(world.seqs()[3..], [3]);
    world.settle();
    assert_eq!(
        world.seqs()[3..],
        [3],
        "what the state stands for does not come again"
    );
}

#[test]
fn snap_5_states_are_coalesced_and_the_last_is_sent() {
    let mut world = World::new();
    world.publish(0, 1);
    world.bring(0);
    world.subscribe("sync/a/state");
    world.run(10);
    assert!(world.received[0].retain);
    for _ in 0..5 {
        world.publish(0, 1);
        world.bring(0);
        world.run(10);
    }
    assert_eq!(world.received.len(), 1);
    let wait = world.delivery.next_timeout().unwrap() - world.now;
    assert_eq!(wait, Duration::from_millis(100));
    world.now += wait;
    world.run(10);
    assert_eq!(world.seqs(), [1, 6]);
    assert!(!world.received[1].retain);
    world.now += Duration::from_secs(9);
    world.run(10);
    assert_eq!(world.received.len(), 2);
    assert_eq!(world.delivery.next_timeout(), None);
}

#[test]
fn snap_6_a_stream_without_events_has_no_retained_state() {
    let mut world = World::new();
    world.publish(1, 3);
    world.subscribe("sync/a/state");
    world.subscribe("sync/#");
    world.run(100);
    let mut topics = world.received.iter().map(|it| &*it.topic);
    assert_eq!(topics.next(), Some("sync/a/x/state"));
    assert!(topics.all(|topic| topic.ends_with("/events")));
}

#[test]
fn g10_a_client_without_room_costs_no_queue() {
    let mut world = World::new();
    world.subscribe("$since/0/sync/a/events");
    world.publish(0, 100);
    world.bring(0);
    world.drain();
    let need = world.delivery.need(world.now).unwrap();
    world.provide(need);
    assert!(world.delivery.next_message(false).is_none());
    assert_eq!(
        world.delivery.need(world.now),
        None,
        "nothing is read while a message waits"
    );
    assert!(world.delivery.next_message(true).is_some());
}

#[test]
fn g10_a_state_that_is_due_does_not_ring_while_messages_wait() {
    let mut world = World::new();
    world.subscribe("sync/a/events");
    world.subscribe("sync/a/state");
    world.settle();
    world.publish(0, 1);
    world.bring(0);
    world.drain();
    let need = world.delivery.need(world.now).unwrap();
    assert_eq!(world.delivery.next_timeout(), None, "a need is open");
    world.provide(need);
    assert!(world.delivery.next_message(false).is_none());
    assert_eq!(world.delivery.next_timeout(), None, "a message waits");
    let message = world.delivery.next_message(true).unwrap();
    world.receive(message);
    world.settle();
    assert_eq!(world.seqs(), [1, 1]);
}

#[test]
fn the_limit_of_subscriptions_spares_those_that_replace() {
    let mut world = World::new();
    for n in 0..16 {
        world.subscribe(&format!("sync/s{n}/+"));
    }
    assert!(!world.delivery.takes(&"sync/b/events".parse().unwrap()));
    assert!(world.delivery.takes(&"sync/s3/+".parse().unwrap()));
}

#[test]
fn a_hole_in_what_was_read_is_never_delivered() {
    let mut world = World::new();
    world.subscribe("sync/a/events");
    world.publish(0, 3);
    world.bring(0);
    world.drain();
    assert!(matches!(
        world.delivery.need(world.now),
        Some(Need::Events { .. })
    ));
    let later = committed(&world.streams[0], 2);
    assert_eq!(world.delivery.events(vec![later]), Err(Hole));
}
