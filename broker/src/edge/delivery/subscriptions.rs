//! The subscriptions of one connection, and the copies of a message that they get (VIEW-6).

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use syncline_protocol::{Filter, Start, StreamId, Topic};

use super::super::session::{Tag, Wanted};
use super::parts::Insert;

/// Names a subscription of one connection; a replaced one gets a new id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct SubId(u64);

/// One subscription.
#[derive(Debug)]
pub(super) struct Sub {
    pub(super) id: SubId,
    pub(super) filter: Filter,
    pub(super) json: bool,
    /// VIEW-7: it has got what it asked for, or will; nothing else matches it.
    once: bool,
    at_least_once: bool,
    identifier: Option<u32>,
}

/// A message on its way to the client.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) topic: Arc<str>,
    body: Bytes,
    /// What this connection alone gets put into the body.
    pub(super) insert: Option<Insert>,
    pub(crate) at_least_once: bool,
    pub(crate) retain: bool,
    /// It is a state or a part of one: what follows is worth nothing without it.
    pub(crate) is_state: bool,
    /// It is a state, and the events after it cannot go on without it.
    pub(super) leads: bool,
    /// It was sent before, over another connection.
    pub(crate) again: bool,
    subs: Vec<Arc<Sub>>,
    pub(crate) tag: Option<Tag>,
}

/// All subscriptions.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    exact: HashMap<Box<str>, Arc<Sub>>,
    wild: Vec<Arc<Sub>>,
    next: u64,
}

impl Subscriptions {
    pub(super) fn len(&self) -> usize {
        self.exact.len() + self.wild.len()
    }

    pub(super) fn contains(&self, filter: &Filter) -> bool {
        self.exact.contains_key(filter.as_str()) || self.wild.iter().any(|it| it.filter == *filter)
    }

    /// Whether this very one is there, not one that replaced it.
    pub(super) fn holds(&self, sub: &Sub) -> bool {
        let same = |it: &Arc<Sub>| it.id == sub.id;
        self.exact.get(sub.filter.as_str()).is_some_and(same) || self.wild.iter().any(same)
    }

    pub(super) fn filters(&self) -> impl Iterator<Item = &Filter> {
        self.exact.values().chain(&self.wild).map(|sub| &sub.filter)
    }

    /// Those that name a state.
    pub(super) fn of_states(&self) -> impl Iterator<Item = (&Arc<Sub>, StreamId)> {
        let exact = self.exact.values();
        exact.filter_map(|sub| match sub.filter.exact() {
            Some(Topic::State(stream)) => Some((sub, stream)),
            _ => None,
        })
    }

    /// Whether one with this base filter is there to which something may come.
    pub(super) fn follows(&self, filter: &Filter) -> bool {
        self.with(filter).is_some_and(|sub| !sub.once)
    }

    pub(super) fn get(&self, id: SubId) -> Option<&Arc<Sub>> {
        self.exact
            .values()
            .chain(&self.wild)
            .find(|sub| sub.id == id)
    }

    fn with(&self, filter: &Filter) -> Option<&Arc<Sub>> {
        self.exact
            .get(filter.as_str())
            .or_else(|| self.wild.iter().find(|sub| sub.filter == *filter))
    }

    /// Adds one whose base filter is not there.
    pub(super) fn add(&mut self, wanted: &Wanted) -> Arc<Sub> {
        self.next += 1;
        self.put(wanted, SubId(self.next))
    }

    /// Puts another one in place of the one with its base filter, which has the same id.
    pub(super) fn renew(&mut self, wanted: &Wanted) -> Arc<Sub> {
        match self.remove(&wanted.subscription.filter) {
            Some(before) => self.put(wanted, before.id),
            None => self.add(wanted),
        }
    }

    fn put(&mut self, wanted: &Wanted, id: SubId) -> Arc<Sub> {
        let sub = Arc::new(Sub {
            id,
            filter: wanted.subscription.filter.clone(),
            json: wanted.subscription.json,
            once: matches!(wanted.subscription.start, Start::At(_)),
            at_least_once: wanted.qos > 0,
            identifier: wanted.identifier,
        });
        if sub.filter.has_wildcard() {
            self.wild.push(Arc::clone(&sub));
        } else {
            self.exact
                .insert(sub.filter.as_str().into(), Arc::clone(&sub));
        }
        sub
    }

    pub(super) fn remove(&mut self, filter: &Filter) -> Option<Arc<Sub>> {
        if let Some(at) = self.wild.iter().position(|sub| sub.filter == *filter) {
            return Some(self.wild.remove(at));
        }
        self.exact.remove(filter.as_str())
    }

    /// Those that a topic is delivered to.
    pub(super) fn matching(&self, topic: &str) -> Vec<Arc<Sub>> {
        let wild = self
            .wild
            .iter()
            .filter(|sub| sub.filter.matches_text(topic));
        let exact = self.exact.get(topic).filter(|sub| !sub.once);
        exact.into_iter().chain(wild).cloned().collect()
    }
}

/// One copy per encoding, at the highest QoS (VIEW-6). `like` is what the copies share; `payload` makes the rest.
pub(super) fn copies(
    subs: &[Arc<Sub>],
    like: &Outgoing,
    payload: impl Fn(bool) -> Option<Bytes>,
) -> Vec<Outgoing> {
    let copy = |json: bool| {
        let mut of = subs.iter().filter(|sub| sub.json == json).peekable();
        of.peek()?;
        let mut copy = Outgoing {
            body: payload(json)?,
            ..like.clone()
        };
        copy.subs.extend(of.cloned());
        copy.at_least_once = copy.subs.iter().any(|sub| sub.at_least_once);
        Some(copy)
    };
    [false, true].into_iter().filter_map(copy).collect()
}

impl Outgoing {
    /// What copies share.
    pub(super) fn on(topic: Arc<str>, retain: bool, tag: Option<Tag>) -> Self {
        Self {
            topic,
            body: Bytes::new(),
            insert: None,
            at_least_once: false,
            retain,
            is_state: false,
            leads: false,
            again: false,
            subs: Vec::new(),
            tag,
        }
    }

    /// What the client gets.
    pub(crate) fn payload(&self) -> Bytes {
        match &self.insert {
            Some(insert) => insert.apply(&self.body),
            None => self.body.clone(),
        }
    }

    /// Those that it is for.
    pub(super) fn subs(&self) -> &[Arc<Sub>] {
        &self.subs
    }

    pub(super) fn sub_ids(&self) -> Vec<SubId> {
        self.subs.iter().map(|sub| sub.id).collect()
    }

    /// Those to whom it is new are in `fresh`.
    pub(super) fn was_sent_but_to(&mut self, fresh: &[SubId]) {
        self.again = !self.subs.iter().any(|sub| fresh.contains(&sub.id));
    }

    /// The Subscription Identifiers of those that it is for.
    pub(crate) fn identifiers(&self) -> Vec<u32> {
        self.subs.iter().filter_map(|sub| sub.identifier).collect()
    }

    /// Whether it is for somebody who named its topic; from now on it is for nobody else.
    pub(super) fn stays_with_those_that_name_it(&mut self) -> bool {
        self.subs.retain(|sub| !sub.filter.has_wildcard());
        !self.subs.is_empty()
    }

    /// Whether it is still for somebody when a subscription is gone.
    pub(super) fn survives(&mut self, gone: SubId) -> bool {
        self.subs.retain(|sub| sub.id != gone);
        !self.subs.is_empty()
    }
}
