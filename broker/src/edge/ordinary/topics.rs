//! The sessions that follow ordinary topics, connected or away, and what is retained there.
//!
//! Calling contract: a session enters before it subscribes, and leaves once. Nothing here blocks; what must be on disk is
//! handed to the keeper while the lock is held, so that the order of the disk is the order in which messages came.
//!
//! What a kept session gets at QoS 1 and 2 waits in the store, whether it is connected or not, and its connection reads it
//! there. Everything else goes into the connection's mailbox or is lost with a count.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use syncline_protocol::{Filter, UnixMillis};

use super::follow::Follow;
use super::followers::{Followers, Published, SubscriberId, Terms, Willing};
use super::letter::{Letter, Pending};
use super::parcel::{Parcel, Rooms};
use super::retained::{Moment, Page, RetainedLimit, RetainedTopics};
use super::subscriber::Subscriber;
use crate::acl::Principal;
use crate::edge::counters::{Count, Counters};
use crate::edge::keeper::Keeper;
use crate::edge::mailbox::Mailbox;
use crate::store::StoreError;
use crate::store::sessions::{Message, QueueLimit, SessionChange, SessionKey, SessionStore};

/// Retained messages that are read at once at the start.
const RETAINED_PAGE: usize = 256;

/// The limits of ordinary topics.
#[derive(Debug, Clone)]
pub struct OrdinaryOptions {
    /// What waits in memory for one connection at most.
    pub pending: QueueLimit,
    /// Bytes that wait in memory for all connections together; 0: as many as come.
    pub pending_total_bytes_max: u64,
    /// What is retained at most.
    pub retained: RetainedLimit,
    /// Topic aliases of a v5 client at most; 0: none.
    pub topic_alias_max: u16,
    /// The longest Keep Alive of a v5 client in seconds, also for one that asks for none; 0: as it asks.
    pub keep_alive_s_max: u16,
    /// How often `$SYS` is told; 0: never.
    pub sys_interval: Duration,
}

impl Default for OrdinaryOptions {
    fn default() -> Self {
        Self {
            pending: QueueLimit {
                messages_max: 1_000,
                bytes_max: 4 << 20,
            },
            pending_total_bytes_max: 64 << 20,
            retained: RetainedLimit {
                messages_max: 100_000,
                bytes_max: 256 << 20,
            },
            topic_alias_max: 16,
            keep_alive_s_max: 0,
            sys_interval: Duration::from_secs(10),
        }
    }
}

/// A message of a client.
#[derive(Debug)]
pub(crate) struct Post {
    pub(crate) message: Message,
    pub(crate) from: Option<SubscriberId>,
    /// What else of its session goes to the disk with it.
    pub(crate) with: Vec<SessionChange>,
}

/// What came of a post.
#[derive(Debug)]
pub(crate) enum Posted {
    /// It is on its way, and on disk where it has to be. `matched`: somebody gets it.
    Taken { matched: bool },
    /// Somebody had no room for it, or it could not be retained.
    Full(Over),
    /// The disk did not take it.
    Failed(StoreError),
}

/// Which limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    Queue,
    Retained,
}

/// Hears what came of a post.
pub(crate) type Told = Box<dyn FnOnce(Posted) + Send>;

/// See the module.
pub(crate) struct Topics {
    options: OrdinaryOptions,
    rooms: Rooms,
    counters: Arc<Counters>,
    pending: Arc<Pending>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    followers: Followers,
    subscribers: HashMap<SubscriberId, Subscriber>,
    by_key: HashMap<SessionKey, SubscriberId>,
    next: u64,
    retained: RetainedTopics,
}

/// A session that gets a connection.
pub(crate) struct Entering<'a> {
    pub(crate) key: &'a SessionKey,
    /// It has a queue in the store.
    pub(crate) kept: bool,
    /// It was there before.
    pub(crate) resumed: bool,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) who: Option<Arc<Principal>>,
}

impl Topics {
    /// Nobody is there. `queue`: what waits in the store for one session at most.
    pub(crate) fn new(
        options: OrdinaryOptions,
        queue: QueueLimit,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            pending: Arc::new(Pending::new(options.pending_total_bytes_max)),
            rooms: Rooms {
                pending: options.pending,
                queue,
            },
            options,
            counters,
            state: Mutex::default(),
        }
    }

    /// What waits in memory for all connections.
    pub(crate) fn pending(&self) -> Arc<Pending> {
        Arc::clone(&self.pending)
    }

    /// A session that the store has kept from an earlier run, and whose it is, as far as that is known. Blocks.
    pub(crate) fn find(
        &self,
        store: &dyn SessionStore,
        key: &SessionKey,
        who: Option<Arc<Principal>>,
    ) -> Result<(), StoreError> {
        let Some(loaded) = store.load(key)? else {
            return Ok(());
        };
        let id = self.lock().begin(key.clone(), true, None);
        who.into_iter().for_each(|who| self.review(id, who));
        for subscription in &loaded.subscriptions {
            self.follow(id, &subscription.filter, Terms::of(subscription));
        }
        Ok(())
    }

    /// What the store has retained from earlier runs. Blocks.
    pub(crate) fn find_retained(&self, store: &dyn SessionStore) -> Result<(), StoreError> {
        let mut after: Option<String> = None;
        loop {
            let page = store.retained_after(after.as_deref(), RETAINED_PAGE)?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = Some(last.topic.clone());
            let mut state = self.lock();
            page.iter()
                .for_each(|message| state.retained.found(message));
        }
    }

    /// A session has a connection. If it was not resumed, nothing is left of what it was.
    pub(crate) fn enter(&self, entering: Entering<'_>) -> SubscriberId {
        let Entering {
            key,
            kept,
            resumed,
            mailbox,
            who,
        } = entering;
        let mut state = self.lock();
        if resumed
            && let Some(id) = state.by_key.get(key).copied()
            && let Some(subscriber) = state.subscribers.get_mut(&id)
        {
            (subscriber.kept, subscriber.who) = (kept, who);
            subscriber.mailbox = Some(mailbox);
            return id;
        }
        state.forget(key);
        let id = state.begin(key.clone(), kept, Some(mailbox));
        if let Some(subscriber) = state.subscribers.get_mut(&id) {
            subscriber.who = who;
        }
        id
    }

    /// Other topics may be read by it from now on.
    pub(crate) fn review(&self, id: SubscriberId, who: Arc<Principal>) {
        if let Some(subscriber) = self.lock().subscribers.get_mut(&id) {
            subscriber.who = Some(who);
        }
    }

    /// The rules have changed: what sessions without a connection may read, as far as that is known. Those with one are told.
    pub(crate) fn review_absent(&self, who: impl Fn(&SessionKey) -> Option<Arc<Principal>>) {
        let mut state = self.lock();
        let absent = state.subscribers.values_mut();
        for subscriber in absent.filter(|it| it.mailbox.is_none()) {
            if let Some(who) = who(&subscriber.key) {
                subscriber.who = Some(who);
            }
        }
    }

    /// The connection is gone. What it leaves unsent of groups goes to other members, unless the session is kept: then it
    /// keeps its own.
    pub(crate) fn leave(
        &self,
        id: SubscriberId,
        kept: bool,
        (unsent, mailbox): (Vec<Letter>, &Mailbox),
        keeper: &Keeper,
    ) {
        let mut state = self.lock();
        let key = state.subscribers.get_mut(&id).map(|subscriber| {
            (subscriber.mailbox, subscriber.kept) = (None, kept);
            subscriber.key.clone()
        });
        if kept {
            return;
        }
        // It may be gone already, because its successor did not wait.
        key.iter().for_each(|key| state.forget(key));
        // Nothing more comes into the mailbox.
        let letters = std::iter::from_fn(|| mailbox.next_letter(true));
        for letter in unsent.into_iter().chain(letters) {
            self.pass_on(&state, letter, keeper);
        }
    }

    /// The session has ended.
    pub(crate) fn forget(&self, key: &SessionKey) {
        self.lock().forget(key);
    }

    /// A session follows what a base filter names outside `sync/`; since when, for what is retained.
    pub(crate) fn follow(&self, id: SubscriberId, base: &Filter, terms: Terms) -> Moment {
        let mut state = self.lock();
        let moment = state.retained.now();
        if let Some(follow) = Follow::of(base)
            && let Some(subscriber) = state.subscribers.get_mut(&id)
        {
            subscriber.follows.insert(base.clone());
            state.followers.add(&follow, id, terms);
        }
        moment
    }

    /// It does not follow it any more.
    pub(crate) fn unfollow(&self, id: SubscriberId, base: &Filter) {
        let mut state = self.lock();
        if let Some(follow) = Follow::of(base)
            && let Some(subscriber) = state.subscribers.get_mut(&id)
        {
            subscriber.follows.remove(base);
            state.followers.remove(&follow, id);
        }
    }

    /// Passes a message on to whoever follows its topic, and retains it if it says so. `told` hears of it once everything
    /// that has to be on disk is there. Returns for how many there was no room in memory.
    pub(crate) fn post(&self, post: Post, keeper: &Keeper, told: Told) -> u64 {
        let Post {
            message,
            from,
            with: mut changes,
        } = post;
        let mut state = self.lock();
        let retained = match message.retain {
            true => self.retain(&mut state, &message, &mut changes),
            false => Ok(()),
        };
        let published = Published {
            topic: &message.topic,
            qos: message.qos,
            retain: message.retain,
            from,
        };
        let willing = |it| state.willing(it, &published);
        let copies = state.followers.copies(&published, willing);
        let message = Arc::new(message);
        let mut parcel = Parcel::new(changes);
        for copy in copies {
            // Whoever may not read it has no queue to be full of it either.
            let subscriber = state.subscribers.get(&copy.to);
            if let Some(subscriber) = subscriber.filter(|it| it.reads(&message.topic)) {
                parcel.deliver(subscriber, &message, copy, &self.rooms);
            }
        }
        let posted = parcel.close(retained, &self.counters);
        let losses = parcel.losses();
        self.write(parcel, keeper, posted, told);
        // Whoever publishes without end has it again at once; those who wait go first.
        MutexGuard::unlock_fair(state);
        losses
    }

    /// Retained topics for a SUBSCRIBE, see [`RetainedTopics::page`].
    pub(crate) fn retained_page(
        &self,
        filter: &Filter,
        moment: Moment,
        after: Option<&str>,
        limit: usize,
    ) -> Page {
        self.lock().retained.page(filter, moment, after, limit)
    }

    /// Whether nothing came on a topic after `moment`, and something is retained there.
    pub(crate) fn is_since(&self, topic: &str, moment: Moment) -> bool {
        self.lock().retained.is_since(topic, moment)
    }

    /// Puts letters that answer a SUBSCRIBE into the queue of a kept session, those that are not outdated. `told` hears of
    /// it once they are on disk.
    pub(crate) fn enqueue(
        &self,
        id: SubscriberId,
        letters: Vec<Letter>,
        keeper: &Keeper,
        told: Told,
    ) {
        let state = self.lock();
        let mut parcel = Parcel::default();
        for letter in letters {
            let since = letter.since.unwrap_or_default();
            if let Some(subscriber) = state.subscribers.get(&id)
                && state.retained.is_since(&letter.message.topic, since)
            {
                parcel.enqueue(subscriber, &letter, &self.rooms);
            }
        }
        self.write(parcel, keeper, Posted::Taken { matched: true }, told);
    }

    /// Clears what has expired.
    pub(crate) fn tick(&self, now: UnixMillis, keeper: &Keeper) {
        let mut state = self.lock();
        let expired = state.retained.expired(now);
        self.counters.add(Count::Expired, expired.len() as u64);
        if !expired.is_empty() {
            let clear = |topic: &Arc<str>| SessionChange::Clear(topic.to_string());
            keeper.write(expired.iter().map(clear).collect(), None);
        }
    }

    /// How many subscriptions, and how many messages are retained.
    pub(crate) fn size(&self) -> (usize, usize) {
        let state = self.lock();
        (state.followers.count(), state.retained.size().0)
    }

    fn retain(
        &self,
        state: &mut State,
        message: &Message,
        changes: &mut Vec<SessionChange>,
    ) -> Result<(), Over> {
        if message.payload.is_empty() {
            if state.retained.clear(&message.topic) {
                changes.push(SessionChange::Clear(message.topic.clone()));
            }
            return Ok(());
        }
        if state
            .retained
            .keep(message, &self.options.retained)
            .is_err()
        {
            self.counters.count(Count::RefusedRetained);
            return Err(Over::Retained);
        }
        changes.push(SessionChange::Retain(message.clone()));
        Ok(())
    }

    /// `told` hears what came of it once what goes to the disk is there.
    fn write(&self, parcel: Parcel, keeper: &Keeper, posted: Posted, told: Told) {
        let (changes, waiting) = parcel.split();
        if changes.is_empty() {
            return told(posted);
        }
        let counters = Arc::clone(&self.counters);
        let written = move |written: Result<Vec<usize>, StoreError>| match written {
            Err(error) => told(Posted::Failed(error)),
            Ok(refused) if waiting.settle(&refused, &counters) => told(posted),
            Ok(_) => told(Posted::Full(Over::Queue)),
        };
        keeper.write(changes, Some(Box::new(written)));
    }

    /// A letter of a group for another member.
    fn pass_on(&self, state: &State, letter: Letter, keeper: &Keeper) {
        let Some(share) = letter.share else {
            return;
        };
        let message = letter.message;
        let published = Published {
            topic: &message.topic,
            qos: message.qos,
            retain: message.retain,
            from: None,
        };
        let willing = |it| state.willing(it, &published);
        let Some(copy) = state.followers.copy_in(&share, &published, willing) else {
            return;
        };
        let mut parcel = Parcel::default();
        if let Some(subscriber) = state.subscribers.get(&copy.to) {
            parcel.deliver(subscriber, &message, copy, &self.rooms);
        }
        // Nobody waits to be told; it is counted.
        let posted = parcel.close(Ok(()), &self.counters);
        self.write(parcel, keeper, posted, Box::new(|_| ()));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    fn begin(
        &mut self,
        key: SessionKey,
        kept: bool,
        mailbox: Option<Arc<Mailbox>>,
    ) -> SubscriberId {
        let id = SubscriberId(self.next);
        self.next += 1;
        self.by_key.insert(key.clone(), id);
        let subscriber = Subscriber::new(key, kept, mailbox);
        self.subscribers.insert(id, subscriber);
        id
    }

    fn forget(&mut self, key: &SessionKey) {
        let Some(id) = self.by_key.remove(key) else {
            return;
        };
        let follows = self.subscribers.remove(&id).map(|it| it.follows);
        for follow in follows.iter().flatten().filter_map(Follow::of) {
            self.followers.remove(&follow, id);
        }
    }

    fn willing(&self, id: SubscriberId, published: &Published<'_>) -> Willing {
        let subscriber = self.subscribers.get(&id);
        subscriber.map_or(Willing::Never, |it| {
            it.willing(published.topic, published.qos)
        })
    }
}
