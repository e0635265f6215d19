//! A world of three streams around one connection, which checks every message that the connection gets.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use syncline_protocol::{Clock, DeviceId, Epoch, Event, Subscription, UnixMillis, Value};

use super::super::*;
use crate::acl::Principal;
use crate::edge::mailbox::Turn;

pub(super) struct World {
    pub(super) delivery: Delivery,
    pub(super) now: Instant,
    pub(super) streams: Vec<Arc<StreamId>>,
    pub(super) store: Vec<Stored>,
    /// How far the bus has brought them.
    pub(super) bus: Vec<u64>,
    pending: Advances,
    /// By Subscription Identifier.
    subs: HashMap<u32, Seen>,
    by_filter: HashMap<String, u32>,
    next: u32,
    /// Subscriptions that were asked for once more, and as what.
    renewed: HashMap<u32, u32>,
    /// Streams in a page of a scan.
    pub(super) page: usize,
    /// Parts of a state.
    pub(super) parts: usize,
    /// What happens while a page of a scan is on its way: nothing, steps that come with it, steps that come before it.
    pub(super) meanwhile: usize,
    pub(super) received: Vec<Outgoing>,
    /// Per topic the part that must come next there.
    open: HashMap<Arc<str>, Open>,
}

/// A state of which not all parts have come.
struct Open {
    next: usize,
    json: bool,
    /// Somebody who gets it has unsubscribed meanwhile.
    may_break: bool,
}

/// What the store has of a stream.
#[derive(Default)]
pub(super) struct Stored {
    pub(super) head: u64,
    pub(super) horizon: u64,
    /// After which seqs an epoch began.
    turns: Vec<u64>,
}

/// What one subscription has, per stream.
#[derive(Default)]
struct Seen {
    filter: String,
    /// The seq up to which it has everything.
    upto: HashMap<usize, u64>,
    /// The epoch in which it began, or of the last state: later ones begin with a state. They are numbered.
    epoch: HashMap<usize, Epoch>,
    /// The seqs of the states.
    states: HashMap<usize, Vec<u64>>,
    /// The last state had more than the bus had brought, so it may come again when the bus brings that.
    early: HashMap<usize, bool>,
    /// SUBSCRIBEs that a retained state has not answered yet.
    owed: usize,
    /// It begins in each stream when its scan comes there.
    scans: bool,
    /// VIEW-7: what it asked for.
    once: Option<u64>,
}

pub(super) fn seq(n: u64) -> Seq {
    Seq::new(n).unwrap()
}

fn stream(text: &str) -> Arc<StreamId> {
    let Ok(Topic::Events(stream)) = format!("{text}/events").parse() else {
        panic!("{text}")
    };
    Arc::new(stream)
}

/// A committed event, by way of its frame.
pub(super) fn committed(stream: &StreamId, n: u64, epoch: Epoch) -> Committed {
    let event = Event {
        stream: stream.clone(),
        epoch,
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
    let mut frame = [n, epoch.get(), n].map(u64::to_be_bytes).concat();
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

impl Stored {
    /// The epoch of the event after `after`; of the stream, if that is its head.
    fn epoch_after(&self, after: u64) -> Epoch {
        let begun = self.turns.iter().filter(|at| **at <= after).count();
        Epoch::new(1 + begun as u64)
    }

    fn epoch(&self) -> Epoch {
        match self.head {
            0 => Epoch::NONE,
            head => self.epoch_after(head),
        }
    }
}

pub(super) fn everything() -> Sight {
    Sight::new(Arc::new(Principal::anonymous()), Arc::default())
}

impl World {
    pub(super) fn new() -> Self {
        let options = DeliveryOptions {
            subscriptions_max: 16,
            state_bytes_per_s: 1_000_000,
            state_part_bytes: 1_000,
        };
        Self {
            delivery: Delivery::new(options, everything()),
            now: Instant::now(),
            streams: ["sync/a", "sync/a/x", "sync/b"].map(stream).to_vec(),
            store: Default::default(),
            bus: vec![0; 3],
            pending: Advances::new(),
            subs: HashMap::new(),
            by_filter: HashMap::new(),
            next: 0,
            renewed: HashMap::new(),
            page: 1,
            parts: 1,
            meanwhile: 0,
            received: Vec::new(),
            open: HashMap::new(),
        }
        .with_empty_streams()
    }

    fn with_empty_streams(mut self) -> Self {
        self.store = self.streams.iter().map(|_| Stored::default()).collect();
        self
    }

    fn index(&self, topic: &str) -> (usize, bool) {
        let of = |end: &str| {
            self.streams
                .iter()
                .position(|it| format!("{it}/{end}") == topic)
        };
        of("events").map_or_else(|| (of("state").unwrap(), true), |at| (at, false))
    }

    pub(super) fn publish(&mut self, at: usize, n: u64) {
        self.store[at].head += n;
    }

    /// The horizon goes up, and what is below it is gone at once.
    pub(super) fn raise(&mut self, at: usize, n: u64) {
        let stored = &mut self.store[at];
        stored.horizon = (stored.horizon + n).min(stored.head);
    }

    /// An epoch begins; the horizon stays or goes to the head.
    pub(super) fn turn(&mut self, at: usize, keeps: bool) {
        let stored = &mut self.store[at];
        if stored.head == 0 || stored.turns.last() == Some(&stored.head) {
            return;
        }
        stored.turns.push(stored.head);
        if !keeps {
            stored.horizon = stored.head;
        }
        let turn = Turn {
            at: seq(stored.head),
            epoch: stored.epoch(),
        };
        self.tell(at, Some(turn));
    }

    /// The bus brings a stream up to the store's head.
    pub(super) fn bring(&mut self, at: usize) {
        if self.bus[at] < self.store[at].head {
            self.tell(at, None);
        }
    }

    fn tell(&mut self, at: usize, turn: Option<Turn>) {
        let step = Advance {
            turn,
            ..Advance::new(seq(self.bus[at]), seq(self.store[at].head))
        };
        let entry = self.pending.entry(Arc::clone(&self.streams[at]));
        entry.or_insert(step).extend(step);
        self.bus[at] = self.store[at].head;
    }

    pub(super) fn drain(&mut self) {
        let advances = std::mem::take(&mut self.pending);
        self.delivery.advance(self.now, &advances);
    }

    fn ground(&self, at: usize) -> Ground {
        Ground {
            head: seq(self.store[at].head),
            horizon: seq(self.store[at].horizon),
            epoch: self.store[at].epoch(),
            bus: seq(self.bus[at]),
            topics: Vec::new(),
        }
    }

    /// What a subscription has before anything comes.
    fn seen(&self, subscription: &Subscription) -> Seen {
        let mut seen = Seen {
            filter: subscription.filter.as_str().to_owned(),
            owed: 1,
            ..Seen::default()
        };
        if let Start::At(asked) = subscription.start {
            seen.once = Some(asked.get());
        }
        let exact = subscription.filter.exact();
        seen.scans = exact.is_none() && subscription.start != Start::Now;
        for (at, stored) in self.store.iter().enumerate() {
            let topic = Topic::Events(StreamId::clone(&self.streams[at]));
            if !subscription.filter.matches(&topic) {
                continue;
            }
            let start = match (subscription.start, exact.is_some()) {
                (Start::Now, true) => Some(stored.head),
                (Start::Now, false) => Some(self.bus[at]),
                (Start::Since(from), true) if from.get() < stored.horizon => None,
                (Start::Since(from), _) => Some(from.get().min(stored.head)),
                _ => None,
            };
            if let Some(start) = start {
                seen.upto.insert(at, start);
            }
            if start.is_some() && stored.head > 0 {
                seen.epoch.insert(at, stored.epoch());
            }
        }
        seen
    }

    pub(super) fn subscribe(&mut self, text: &str) -> Verdict {
        self.next += 1;
        let id = self.next;
        let subscription: Subscription = text.parse().unwrap();
        self.drain();
        let named = match subscription.filter.exact() {
            Some(Topic::Events(stream) | Topic::State(stream)) => {
                self.streams.iter().position(|it| **it == stream)
            }
            _ => None,
        };
        let ground = self.ground(named.unwrap_or_default());
        let seen = self.seen(&subscription);
        let filter = seen.filter.clone();
        let retained = Retained::Always;
        let wanted = Wanted {
            subscription,
            qos: 1,
            retained,
            no_local: false,
            retain_as_published: false,
            identifier: Some(id),
        };
        let verdict = self.delivery.subscribe(&wanted, &ground);
        if let Verdict::Granted { .. } = verdict {
            self.open
                .values_mut()
                .for_each(|open| open.may_break = true);
            let old = self.by_filter.insert(filter, id);
            let old = old.and_then(|old| Some((old, self.subs.remove(&old)?)));
            let stays = wanted.subscription.start == Start::Now;
            let seen = match old {
                // What is on its way may still name it as it was.
                Some((old, mut before)) if stays && before.once.is_none() => {
                    self.renewed.insert(old, id);
                    // It is retained for the new SUBSCRIBE as it was for the old one, whose answer may be under way.
                    before.owed += 1;
                    before
                }
                _ => seen,
            };
            self.subs.insert(id, seen);
        }
        verdict
    }

    pub(super) fn unsubscribe(&mut self, text: &str) -> bool {
        self.open
            .values_mut()
            .for_each(|open| open.may_break = true);
        let filter = text.parse::<Subscription>().unwrap().filter;
        let known = self.by_filter.remove(filter.as_str());
        known.and_then(|id| self.subs.remove(&id));
        let existed = self.delivery.unsubscribe(&filter);
        assert_eq!(existed, known.is_some());
        existed
    }

    /// Lets the connection have up to `messages`.
    pub(super) fn run(&mut self, messages: usize) {
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

    pub(super) fn provide(&mut self, need: Need) {
        let at = |world: &Self, stream: &StreamId| {
            let mut streams = world.streams.iter();
            streams.position(|it| **it == *stream).unwrap()
        };
        match need {
            Need::Events { stream, after } => self.provide_events(at(self, &stream), after.get()),
            Need::Snapshot { stream, want, form } => {
                let rendered = self.rendered(at(self, &stream), want, form);
                self.delivery.snapshot(self.now, rendered).unwrap();
            }
            Need::Streams { after, .. } => self.provide_streams(after.as_ref()),
            Need::Topic(_) => self.delivery.topic(None),
        }
    }

    fn provide_events(&mut self, at: usize, after: u64) {
        let stored = &self.store[at];
        if after < stored.horizon {
            return self.delivery.overtaken(seq(stored.horizon)).unwrap();
        }
        let until = stored.head.min(after + 3);
        let events = after..until;
        let events = events.map(|n| committed(&self.streams[at], n + 1, stored.epoch_after(n)));
        self.delivery.events(events.collect()).unwrap();
    }

    fn rendered(&self, at: usize, want: Want, form: Form) -> Option<Rendered> {
        let stored = &self.store[at];
        assert!(form.part_bytes_max <= 1_000);
        let upto = match want {
            Want::Full => stored.head,
            Want::Horizon => stored.horizon,
            Want::At(upto) => upto.get(),
            // An empty opening, wherever that is allowed.
            Want::Opening { seq, epoch } => {
                let kept = stored.horizon <= seq.get() && seq.get() <= stored.head;
                match epoch == stored.epoch() && kept {
                    true => seq.get(),
                    false => stored.head,
                }
            }
        };
        let bodies = |on: bool, sign: &str| {
            let epoch = stored.epoch().get();
            let part = |n| Bytes::from(format!("{sign}{n}/{}@{epoch}", self.parts));
            on.then(|| Parts::new((1..=self.parts).map(part).collect()))
        };
        let some = stored.head > 0 || !matches!(want, Want::Full);
        some.then(|| Rendered {
            seq: seq(upto),
            epoch: stored.epoch(),
            msgpack: bodies(form.msgpack, ""),
            json: bodies(form.json, "j"),
        })
    }

    fn provide_streams(&mut self, after: Option<&StreamId>) {
        let is_later = |at: &usize| after.is_none_or(|after| *self.streams[*at] > *after);
        let later = (0..self.streams.len()).filter(|at| self.store[*at].head > 0);
        let later: Vec<_> = later.filter(is_later).collect();
        let last = later.len() < self.page;
        let page: Vec<_> = later.into_iter().take(self.page).collect();
        let grounds: Vec<_> = page.iter().map(|at| self.ground(*at)).collect();
        for at in &page {
            let epoch = self.store[*at].epoch();
            let begins = |seen: &&mut Seen| seen.scans && seen.begins(*at);
            self.subs.values_mut().filter(begins).for_each(|seen| {
                seen.epoch.insert(*at, epoch);
            });
        }
        // What arrives between the store's answer and the hub's.
        let all = 0..self.streams.len();
        all.clone().for_each(|at| self.bring(at));
        if self.meanwhile > 0 {
            all.clone().for_each(|at| self.publish(at, 1));
            all.for_each(|at| self.bring(at));
        }
        if self.meanwhile > 1 {
            self.drain();
        }
        let scanned = |(at, ground): (&usize, Ground)| Scanned {
            stream: Arc::clone(&self.streams[*at]),
            head: ground.head,
            horizon: ground.horizon,
            epoch: ground.epoch,
            bus: seq(self.bus[*at]),
            from: None,
            changed: true,
        };
        let page: Vec<_> = page.iter().zip(grounds).map(scanned).collect();
        let advances = std::mem::take(&mut self.pending);
        self.delivery.streams(self.now, &page, last, &advances);
    }

    pub(super) fn receive(&mut self, message: Outgoing) {
        let (at, is_state) = self.index(&message.topic);
        if is_state {
            self.receive_part(at, &message);
        } else {
            let n = message.tag.as_ref().unwrap().seq.get();
            let epoch = self.store[at].epoch_after(n - 1);
            for id in message.identifiers() {
                let id = self.newest(id);
                let seen = self.subs.get_mut(&id).expect("a subscription that is gone");
                seen.event(at, n, epoch);
            }
        }
        self.received.push(message);
    }

    /// What a subscription is called by now.
    fn newest(&self, id: u32) -> u32 {
        self.renewed
            .get(&id)
            .map_or(id, |newer| self.newest(*newer))
    }

    /// SNAP-8: one part after the other, and nothing between them.
    fn receive_part(&mut self, at: usize, message: &Outgoing) {
        let payload = message.payload();
        let text = std::str::from_utf8(&payload).unwrap();
        let (json, text) = (text.starts_with('j'), text.trim_start_matches('j'));
        let (text, epoch) = text.split_once('@').unwrap();
        let (part, parts) = text.split_once('/').unwrap();
        let (part, parts): (usize, usize) = (part.parse().unwrap(), parts.parse().unwrap());
        let begins = match self.open.remove(&message.topic) {
            Some(open) if (part, json) == (open.next, open.json) => true,
            Some(open) => part == 1 && open.may_break,
            None => part == 1,
        };
        assert!(begins, "{text} on {} is out of turn", message.topic);
        if part < parts {
            let open = Open {
                next: part + 1,
                json,
                may_break: false,
            };
            self.open.insert(Arc::clone(&message.topic), open);
            return assert_eq!(message.tag, None, "only the last part acknowledges");
        }
        for id in message.identifiers() {
            let id = self.newest(id);
            let seen = self.subs.get_mut(&id).expect("a subscription that is gone");
            let epoch = Epoch::new(epoch.parse().unwrap());
            let n = seen.state(at, message, epoch, self.store[at].horizon);
            seen.early.insert(at, n > self.bus[at]);
        }
    }

    pub(super) fn settle(&mut self) {
        (0..self.streams.len()).for_each(|at| self.bring(at));
        self.meanwhile = 0;
        self.run(usize::MAX);
        self.now += Duration::from_secs(60);
        self.run(usize::MAX);
        for seen in self.subs.values() {
            for (at, upto) in &seen.upto {
                let head = self.store[*at].head;
                let done = *upto == head || seen.is_led_on(*at, head + 1);
                assert!(
                    done,
                    "{} in {}: {upto}, not {head}",
                    seen.filter, self.streams[*at]
                );
            }
            assert!(seen.once.is_none() || seen.states.len() == 1, "VIEW-7");
        }
    }

    pub(super) fn seqs(&self) -> Vec<u64> {
        self.received
            .iter()
            .filter_map(|it| Some(it.tag.as_ref()?.seq.get()))
            .collect()
    }

    /// What came: `e` an event, `S` a state in answer to a SUBSCRIBE, `s` another state, each with its seq.
    pub(super) fn story(&self) -> String {
        let told = self.received.iter().filter(|it| it.tag.is_some());
        let told = told.map(|it| {
            let kind = match (self.index(&it.topic).1, it.retain) {
                (true, true) => 'S',
                (true, false) => 's',
                _ => 'e',
            };
            format!("{kind}{}", it.tag.as_ref().unwrap().seq)
        });
        told.collect::<Vec<_>>().join(" ")
    }
}

impl Seen {
    /// Whether nothing has come of a stream.
    fn begins(&self, at: usize) -> bool {
        self.upto.get(&at).is_none_or(|upto| *upto == 0)
    }

    /// Whether a filter that brings both has had a state right before an event.
    fn is_led_on(&self, at: usize, n: u64) -> bool {
        let upto = self.upto.get(&at).copied().unwrap_or_default();
        let leads = |state: &u64| state + 1 == n && upto <= *state;
        let mut states = self.states.get(&at).into_iter().flatten();
        self.filter.ends_with('#') && states.any(leads)
    }

    /// G3: the next seq and no other. EPOCH-3: of the epoch that it knows.
    fn event(&mut self, at: usize, n: u64, epoch: Epoch) {
        if self.is_led_on(at, n) {
            let known = self.epoch.entry(at).or_insert(epoch);
            *known = Epoch::new(known.get().max(epoch.get()));
        } else {
            let upto = self.upto.get(&at);
            let upto = upto.expect("an event before the opening state");
            assert_eq!(n, upto + 1, "{} in {at}", self.filter);
            let known = self.epoch.get(&at);
            // Of a filter that brings states, too, it is not clear which of them opened.
            let unclear = self.scans && self.filter.ends_with('#');
            let fits = unclear || known.is_none_or(|it| epoch.get() <= it.get());
            assert!(
                fits,
                "{} in {at}: {n} of {epoch}, not {known:?} {:?}",
                self.filter, self.states
            );
        }
        self.upto.insert(at, n);
        self.epoch.entry(at).or_insert(epoch);
    }

    fn state(&mut self, at: usize, message: &Outgoing, epoch: Epoch, horizon: u64) -> u64 {
        let states = self.states.entry(at).or_default();
        if let Some(asked) = self.once {
            assert!(message.retain && message.tag.is_none());
            assert!(states.is_empty(), "VIEW-7: once");
            states.push(asked);
            return asked;
        }
        let n = message.tag.as_ref().unwrap().seq.get();
        let repeats = states.last().is_some_and(|before| *before >= n);
        states.push(n);
        if self.filter.ends_with('#') {
            return n;
        }
        if self.filter.ends_with("/state") {
            let early = self.early.get(&at).is_some_and(|it| *it);
            let turned = self.epoch.insert(at, epoch) != Some(epoch);
            let answers = message.retain && self.owed > 0;
            self.owed -= usize::from(answers);
            let may_repeat = early || turned || answers;
            assert!(may_repeat || !repeats, "{}: {n} again", self.filter);
            return n;
        }
        let upto = self.upto.insert(at, n);
        let known = self.epoch.remove(&at);
        if epoch != Epoch::NONE {
            self.epoch.insert(at, epoch);
        }
        let back = upto.is_some_and(|upto| upto > n);
        assert!(!back, "{}: back to {n}", self.filter);
        if !message.retain {
            let gone = upto.is_none_or(|upto| upto < horizon);
            // While a scan comes to a stream it is not clear in which epoch it began there.
            let turned = self.scans || known.is_none_or(|known| known != epoch);
            assert!(gone || turned, "{}: a needless bridge to {n}", self.filter);
        }
        n
    }
}
