//! Where clients meet the broker: sockets, MQTT sessions, identity, limits, delivery.
//!
//! Read in the order of the modules: what a client is and sends (`session`, pure), what it gets (`delivery`, pure), what
//! others tell it (`hub`, `mailbox`), and what ties these together (`peer`, `connection`, the transports).
//!
//! Calling contract: [`Edge::prepare`], then the router with [`Prepared::consumer`], then the sequencer, then
//! [`Prepared::start`] inside a tokio runtime.

mod devices;
mod identity;
mod sight;
mod submission;

mod session;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use session::oracle;

mod ephemeral;
mod errors;
mod presence;

mod clients;
mod counters;
mod index;
mod keeper;
mod limits;
mod mailbox;
mod tails;
mod tree;

mod ordinary;
mod wills;

mod hub;

mod delivery;
mod fetch;
mod redelivery;
mod resume;
mod rollback;

mod shared;
mod sys;

mod peer;

mod accept;
mod connection;
mod entrance;
mod websocket;

#[cfg(feature = "simulation")]
pub mod simulation;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::ws::WebSocket;
use syncline_protocol::{Schema, SyncId, Topic};
use tokio::task::JoinHandle;

use crate::acl::Policy;
use crate::auth::{Guard, OpenDoor};
use crate::compactor::States;
use crate::router::{Consumer, RouterProbe};
use crate::sequencer::Sequencer;
use crate::store::sessions::{SessionChange, SessionKey, SessionStore};
use crate::store::{EventStore, ReadLimit, StoreError, Tell};
use crate::transport::{Caller, Listener};
use clients::Clients;
use counters::{Count, Counters};
use ephemeral::Ephemeral;
use hub::Hub;
use keeper::{Keeper, Shelf};
use ordinary::Topics;
use shared::{BeforeWaiting, Parts, Shared};
use sys::{Figures, Sys};

pub use counters::HttpRefusal;
pub use entrance::Entrance;
pub use limits::{CrowdOptions, PortOptions, Ports, PublishOptions};
pub use ordinary::{OrdinaryOptions, RetainedLimit};
pub use shared::{EdgeOptions, SessionsOptions, WallClock};
pub use submission::Submission;
#[cfg(test)]
pub(crate) use submission::submission;

/// How often `acked` and the retention of presence are looked at.
const TICK: Duration = Duration::from_millis(250);

/// How often it is measured how late tasks are.
const MEASURE: Duration = Duration::from_millis(100);

/// An edge that can hear the router and does not serve yet.
pub struct Prepared {
    options: EdgeOptions,
    store: Arc<dyn EventStore>,
    sessions: Arc<dyn SessionStore>,
    hub: Arc<Hub>,
    on_fatal: Tell,
    guard: Guard,
}

impl Prepared {
    /// What the router is started with.
    pub fn consumer(&self) -> Consumer {
        let hub = Arc::clone(&self.hub);
        Box::new(move |message| hub.hear(message))
    }

    /// Has somebody told that a sync of a session's write failed, who ends the process.
    pub fn on_fatal(self, tell: Tell) -> Self {
        Self {
            on_fatal: tell,
            ..self
        }
    }

    /// Has somebody look at what clients show. Without it everybody may do everything.
    pub fn guarded_by(self, guard: Guard) -> Self {
        Self { guard, ..self }
    }

    fn shelf(&self) -> Shelf {
        Shelf {
            store: Arc::clone(&self.sessions),
            on_fatal: Arc::clone(&self.on_fatal),
        }
    }

    /// Takes over the sessions that are kept, and begins to serve. Blocks. Inside a tokio runtime.
    pub fn start(
        self,
        sequencer: Arc<Sequencer>,
        states: Arc<States>,
        now: WallClock,
    ) -> Result<Edge, StoreError> {
        let keeper = Keeper::start(self.shelf())?;
        let outside = (
            fetch::on_blocking_threads(),
            Arc::new(|| ()) as BeforeWaiting,
        );
        let shared = Arc::new(self.share(sequencer, states, now, keeper, outside)?);
        let ticker = tokio::spawn(tick(Arc::clone(&shared)));
        let measure = tokio::spawn(measure(Arc::clone(&shared)));
        Ok(Edge {
            shared,
            ticker: Arc::new(Ticker([ticker, measure])),
        })
    }

    fn share(
        self,
        sequencer: Arc<Sequencer>,
        states: Arc<States>,
        now: WallClock,
        keeper: Keeper,
        (reader, before_waiting): (fetch::Reader, BeforeWaiting),
    ) -> Result<Shared, StoreError> {
        let clients = Clients::new(self.options.sessions.sessions_max);
        let counters = Arc::new(Counters::default());
        let topics = self.topics(&counters);
        keeper::take_over(&*self.sessions, now(), |key, ends_at| {
            topics.find(&*self.sessions, &key, identity::absent(&self.guard, &key))?;
            clients.found(key, ends_at);
            Ok(())
        })?;
        topics.find_retained(&*self.sessions)?;
        let shared = Shared::new(Parts {
            options: self.options,
            hub: self.hub,
            store: self.store,
            states,
            sequencer,
            now,
            clients,
            keeper,
            sessions: self.sessions,
            topics,
            counters,
            reader,
            before_waiting,
            guard: self.guard,
        });
        shared.find_devices()?;
        Ok(shared)
    }

    fn topics(&self, counters: &Arc<Counters>) -> Topics {
        let (options, queue) = (&self.options.ordinary, self.options.sessions.queue);
        Topics::new(options.clone(), queue, Arc::clone(counters))
    }
}

/// The running edge. Clones are the same one.
#[derive(Clone)]
pub struct Edge {
    shared: Arc<Shared>,
    #[expect(dead_code, reason = "ends with the last edge")]
    ticker: Arc<Ticker>,
}

struct Ticker([JoinHandle<()>; 2]);

impl Drop for Ticker {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

impl Edge {
    /// Asks the store where it stands. Blocks.
    pub fn prepare(
        options: EdgeOptions,
        store: Arc<dyn EventStore>,
        sessions: Arc<dyn SessionStore>,
        schema: &Schema,
    ) -> Result<Prepared, StoreError> {
        let tail = ReadLimit {
            events: options.tail_events_max,
            bytes: options.tail_bytes_max,
        };
        let hub = Hub::new(Arc::clone(&store), tail, options.active_streams_max)?;
        let hub = Arc::new(hub);
        hub.retain(Ephemeral::text(&Topic::Schema, &schema.document()));
        Ok(Prepared {
            options,
            store,
            sessions,
            hub,
            on_fatal: Arc::new(|_| ()),
            guard: Guard::at_once(Arc::new(OpenDoor::new(Policy::open()))),
        })
    }

    /// Waits until the sessions of those who have left are on disk. Blocks.
    pub fn close(&self) {
        self.shared.save_devices();
        self.shared.keeper.flush();
    }

    /// Serves MQTT on a listener, until the handle is aborted.
    pub fn serve(&self, listener: Listener) -> JoinHandle<()> {
        tokio::spawn(accept::accept(Arc::clone(&self.shared), listener))
    }

    /// The rules have changed: every connection looks again at what it may do, and whoever may not be here any more ends. Nothing
    /// more waits for those who are away than they may read.
    pub fn review(&self) {
        self.shared.hub.review_all();
        let guard = &self.shared.guard;
        let who = |key: &SessionKey| identity::absent(guard, key);
        self.shared.topics.review_absent(who);
    }

    /// Another schema counts from now on.
    pub fn tell_schema(&self, schema: &Schema) {
        let message = Ephemeral::text(&Topic::Schema, &schema.document());
        self.shared.hub.retain(message);
    }

    /// A group was erased: nothing of its devices is shown or known any more.
    pub fn forget_group(&self, group: &SyncId) {
        self.shared.forget_group(group);
    }

    /// A connection comes to a port that the edge does not listen to itself. `may_wait`: it can get to know that it is one too many;
    /// else, and where places are few, there is nothing then, and it is counted and to be closed.
    pub fn enter(&self, caller: &Caller, may_wait: bool) -> Option<Entrance> {
        connection::admit(&self.shared, caller, may_wait)
    }

    /// A request over HTTP was refused.
    pub fn refused_http(&self, refusal: HttpRefusal) {
        self.shared.counters.count(refusal.count());
    }

    /// Tells how the bus fares, too.
    pub fn watch_bus(&self, probe: RouterProbe) {
        // There is one bus only.
        let _ = self.shared.bus.set(probe);
    }

    /// Serves MQTT over a WebSocket, until it ends.
    pub async fn serve_websocket(&self, socket: WebSocket, caller: Caller, entrance: &Entrance) {
        let Some(_place) = self.shared.place() else {
            self.shared.counters.count(Count::ConnectNoPlace);
            tracing::warn!(%caller, "closed: there are limits.connections_max connections");
            return;
        };
        tracing::debug!(%caller, "accepted over WebSocket");
        let bytes = websocket::ByteSocket::new(socket);
        let crowded = entrance.crowded();
        connection::serve(Arc::clone(&self.shared), bytes, caller, crowded).await;
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.shared.connections()
    }

    /// Answers what is open, says goodbye to everybody, and waits for them. Whether all were gone in time.
    /// The listeners are the caller's to end.
    pub async fn drain(&self, within: Duration) -> bool {
        self.shared.drain();
        tokio::time::timeout(within, self.shared.empty())
            .await
            .is_ok()
    }
}

/// What comes with time: sessions and retained messages end, and wills are published.
fn end_expired(shared: &Shared) {
    let now = (shared.now)();
    shared.clients.expired(now, |expired| {
        tracing::debug!(sessions = expired.len(), "ended after their time");
        for key in expired {
            shared.topics.forget(key);
            shared.redeliveries.take(key);
        }
        let changes = expired.iter().cloned().map(SessionChange::End).collect();
        shared.keeper.write(changes, None);
    });
    shared.forget_old_devices();
    shared.topics.tick(now, &shared.keeper);
    for (key, posting) in shared.wills.due(now) {
        tracing::debug!(
            client_id = key.client_id,
            "its will is published after its delay"
        );
        wills::publish(shared, posting);
    }
}

/// Tells of `$SYS` from time to time.
struct Telling {
    sys: Sys,
    began: Option<Instant>,
    told: Option<Instant>,
}

impl Telling {
    fn new() -> Self {
        Self {
            sys: Sys::default(),
            began: None,
            told: None,
        }
    }

    async fn tell_if_due(&mut self, shared: &Arc<Shared>, now: Instant) {
        let interval = shared.options.ordinary.sys_interval;
        let began = *self.began.get_or_insert(now);
        let since = self.told.map(|told| now.duration_since(told));
        if interval.is_zero() || since.is_some_and(|since| since < interval) {
            return;
        }
        self.told = Some(now);
        let sessions = Arc::clone(&shared.sessions);
        let waiting = tokio::task::spawn_blocking(move || sessions.waiting());
        let waiting = waiting.await.ok().and_then(Result::ok).unwrap_or_default();
        let figures = Figures {
            uptime: now.duration_since(began),
            waiting,
            ..shared.figures()
        };
        let passed = since.unwrap_or_default();
        for (topic, text) in self.sys.tell(&figures, &shared.counters, passed) {
            let topic = format!("$SYS/broker/{topic}");
            shared.hub.retain(Ephemeral::figure(&topic, text));
        }
    }
}

/// How late this task wakes, all others do, too.
async fn measure(shared: Arc<Shared>) {
    let mut interval = tokio::time::interval(MEASURE);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while shared.load.is_bounded() {
        let lag = interval.tick().await.elapsed();
        match shared.load.note(lag) {
            Some(true) => tracing::warn!(?lag, "overload: new connections are refused"),
            Some(false) => tracing::info!("new connections are taken again"),
            None => {}
        }
    }
}

async fn tick(shared: Arc<Shared>) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut figures = Telling::new();
    loop {
        let now = interval.tick().await.into_std();
        shared.attend(presence::Attendance::tick);
        shared.save_devices();
        end_expired(&shared);
        figures.tell_if_due(&shared, now).await;
        let hub = Arc::clone(&shared.hub);
        if hub.is_behind()
            && tokio::task::spawn_blocking(move || hub.catch_up())
                .await
                .is_err()
        {
            tracing::error!("the hub's catching up panicked");
        }
    }
}
