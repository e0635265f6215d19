//! The only place that sees every room: starts them, joins them, drains them.
//!
//! Rooms start from the back of the one way to its front, so that nothing is taken in before it can go through, and end
//! from the front to the back, so that what was taken in does go through.

use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use syncline_protocol::{StreamId, SyncId, UnixMillis};
use tokio::sync::watch;

use crate::admin::{Admin, AdminOptions};
use crate::auth::{Accounts, AccountsOptions, AuthError, Authenticator, Guard};
use crate::compactor::{Compactor, CompactorThread, States, Written};
use crate::config::Options;
use crate::edge::{Edge, WallClock};
use crate::history::{self, Deeds, Desk, HistoryError};
use crate::http::{HttpServices, Readiness};
use crate::listeners::{Addresses, Listeners, Serving};
use crate::router::{Router, RouterError, RouterProbe};
use crate::sequencer::{
    self, AskCounter, AskFarthestCounter, AskState, Hooks, Sequencer, StateSize,
};
use crate::startup::{self, DataDir, StartupError};
use crate::store::sessions::SessionStore;
use crate::store::{Committed, EventStore, RedbStore, StoreError, Tell};
pub use reload::Configuration;
use reload::Reloads;

/// How long connections may take to say goodbye, and requests of the owner to stop.
const DRAIN_DEADLINE: Duration = Duration::from_secs(5);

/// Why a broker did not start or did not go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// What a process needs is not to be had.
    #[error(transparent)]
    Startup(#[from] StartupError),
    /// The store cannot be opened.
    #[error("the store cannot be opened: {0}")]
    Store(#[from] StoreError),
    /// Users or rules are not taken.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// A thread that looks at passwords did not start.
    #[error("a thread that looks at passwords does not start: {0}")]
    Guard(std::io::Error),
    /// The bus did not start.
    #[error(transparent)]
    Router(#[from] RouterError),
    /// The sequencer did not start.
    #[error(transparent)]
    Sequencer(#[from] sequencer::StartError),
    /// The compactor did not start.
    #[error("the compactor's thread does not start: {0}")]
    Compactor(std::io::Error),
    /// The disk did not keep what it was given: what is in memory is worth nothing, so the process ends.
    #[error(
        "ended because a write to disk failed: {0}; what was acknowledged is on disk, start again once the disk is well"
    )]
    Disk(String),
    /// Nothing would be accepted any more, so the process ends.
    #[error(
        "ended because the sequencer's thread died; what was acknowledged is on disk, start again"
    )]
    SequencerDied,
    /// The store was written by another schema, or says something that cannot be read.
    #[error(transparent)]
    Schema(#[from] HistoryError),
    /// The data directory cannot have a socket.
    #[error("the admin socket in the data directory cannot be made: {0}")]
    Admin(std::io::Error),
    /// A part of the start panicked.
    #[error("the start was interrupted: {0}")]
    Interrupted(#[from] tokio::task::JoinError),
}

/// Runs a broker until `shutdown`, then drains it. Each `reloads` has it read its configuration, schema, certificates, users
/// and rules again.
pub async fn run(
    options: Options,
    (configuration, mut reloads): (Configuration, tokio::sync::mpsc::Receiver<()>),
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let mut broker = Broker::start(options).await?;
    broker.reloads.with(configuration);
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            error = broker.failed() => return Err(error),
            Some(()) = reloads.recv() => broker.reload_apart(),
        }
    }
    tracing::info!("shutting down");
    broker.drain().await;
    Ok(())
}

/// A running broker, for host applications and tests. Needs a tokio runtime with more than one thread.
pub struct Broker {
    addresses: Addresses,
    reloads: Arc<Reloads>,
    serving: Serving,
    rooms: Rooms,
    fatal: watch::Receiver<Option<String>>,
    draining: Arc<AtomicBool>,
    /// Where the owner of the data asks.
    admin: Option<Admin>,
    /// Held as long as the store is.
    data: Option<DataDir>,
}

/// The rooms behind the listeners.
struct Rooms {
    /// None: the host application knows everybody.
    accounts: Option<Arc<Accounts>>,
    edge: Edge,
    compactor: CompactorThread,
    sequencer: Arc<Sequencer>,
    router: Arc<Router>,
    states: Arc<States>,
    store: Arc<dyn EventStore>,
}

impl Broker {
    /// Starts a broker on its data directory.
    pub async fn start(options: Options) -> Result<Self, RunError> {
        // First, so that a start that fails on a busy port leaves no folder behind.
        let listeners = Listeners::bind(&options).await?;
        let data = DataDir::open(&options.data)?;
        let redb = options.store.clone();
        let path = data.path().to_owned();
        let open = move || RedbStore::open(&path, &redb);
        let store = Arc::new(tokio::task::spawn_blocking(open).await??);
        tracing::info!("data in {}", shown(data.path()));
        let sessions = Arc::clone(&store) as Arc<dyn SessionStore>;
        let held: Arc<dyn EventStore> = Arc::<RedbStore>::clone(&store);
        let broker = Self::start_behind(listeners, options, held, sessions).await?;
        let desk = Arc::new(broker.rooms.desk(store, Arc::clone(&broker.reloads)));
        let admin = Admin::start(data.path(), desk, AdminOptions::default());
        Ok(Self {
            admin: Some(admin.map_err(RunError::Admin)?),
            data: Some(data),
            ..broker
        })
    }

    /// Starts a broker on stores of the caller's.
    pub async fn start_on(
        options: Options,
        store: Arc<dyn EventStore>,
        sessions: Arc<dyn SessionStore>,
    ) -> Result<Self, RunError> {
        let listeners = Listeners::bind(&options).await?;
        Self::start_behind(listeners, options, store, sessions).await
    }

    async fn start_behind(
        listeners: Listeners,
        options: Options,
        store: Arc<dyn EventStore>,
        sessions: Arc<dyn SessionStore>,
    ) -> Result<Self, RunError> {
        startup::raise_file_limit(options.edge.connections_max);
        listeners.announce();
        tracing::info!(
            "schema {} ({})",
            options.schema.hash(),
            options.schema_source
        );
        let (http_options, settings) = (options.http.clone(), options.settings.clone());
        warn_of_plain_ports(&options);
        let runtime = tokio::runtime::Handle::current();
        let (tell_fatal, fatal) = watch::channel(None);
        let start = move || {
            let _inside = runtime.enter();
            Rooms::start(options, store, sessions, tell_fatal)
        };
        let rooms = tokio::task::spawn_blocking(start).await??;
        let reloads = Arc::new(Reloads::new(listeners.tls.clone(), &rooms, settings));
        let draining = Arc::new(AtomicBool::new(false));
        let services = rooms.services(&draining);
        Ok(Self {
            addresses: listeners.addresses,
            reloads,
            serving: listeners.serve(&rooms.edge, &http_options, &services),
            rooms,
            fatal,
            draining,
            admin: None,
            data: None,
        })
    }

    /// Where MQTT over TCP is served.
    pub fn mqtt_address(&self) -> SocketAddr {
        self.addresses.mqtt
    }

    /// Where MQTT over TLS is served, if it is.
    pub fn mqtt_tls_address(&self) -> Option<SocketAddr> {
        self.addresses.mqtt_tls
    }

    /// Where HTTP and MQTT over WebSocket are served.
    pub fn http_address(&self) -> SocketAddr {
        self.addresses.http
    }

    /// Where HTTPS and MQTT over secure WebSocket are served, if they are.
    pub fn https_address(&self) -> Option<SocketAddr> {
        self.addresses.http_tls
    }

    /// Reads certificates, keys, users and rules again, and where [`run`] runs it, configuration and schema. If anything is
    /// wrong, nothing changes, and the log has the reason.
    pub async fn reload(&self) {
        let reloads = Arc::clone(&self.reloads);
        let reloaded = tokio::task::spawn_blocking(move || reloads.reload());
        if reloaded.await.is_err() {
            tracing::error!("reading the files again panicked");
        }
    }

    /// What [`Options::authenticator`] would say of those who are here has changed: each is reviewed, and whoever may not be here
    /// any more ends.
    pub fn review(&self) {
        self.rooms.edge.review();
    }

    /// Not waited for, because a file that hangs would hold up everything else; nor does the end of the process wait for it.
    fn reload_apart(&self) {
        let reloads = Arc::clone(&self.reloads);
        let thread = std::thread::Builder::new().name("reload".to_owned());
        if let Err(error) = thread.spawn(move || reloads.reload()) {
            tracing::error!(%error, "nothing was read again: no thread could be started");
        }
    }

    /// The truth.
    pub fn store(&self) -> &Arc<dyn EventStore> {
        &self.rooms.store
    }

    /// Looks at the bus and injures it.
    pub fn router_probe(&self) -> RouterProbe {
        self.rooms.router.probe()
    }

    /// Waits until the broker cannot go on.
    pub async fn failed(&mut self) -> RunError {
        match self.fatal.wait_for(Option::is_some).await {
            Ok(reason) => RunError::Disk(reason.clone().unwrap_or_default()),
            // Whoever could tell is gone: the sequencer's thread has panicked.
            Err(_) => RunError::SequencerDied,
        }
    }

    /// Takes no more connections, answers what is open, says goodbye, and closes the store.
    pub async fn drain(self) {
        let Self {
            rooms,
            mut serving,
            draining,
            admin,
            data,
            ..
        } = self;
        draining.store(true, Ordering::Release);
        serving.end_mqtt();
        let close = move || admin.into_iter().for_each(|it| it.close(DRAIN_DEADLINE));
        let admin = tokio::task::spawn_blocking(close);
        if !rooms.edge.drain(DRAIN_DEADLINE).await {
            tracing::warn!("some connections did not end in {DRAIN_DEADLINE:?} and were cut");
        }
        serving.end().await;
        // It has said why, if it panicked.
        let _ = admin.await;
        if tokio::task::spawn_blocking(|| rooms.close()).await.is_err() {
            tracing::error!("closing the rooms panicked; the next start recovers from the journal");
        }
        drop(data);
    }
}

/// Who knows everybody, and whose files can be read again.
type Doors = (Arc<dyn Authenticator>, Option<Arc<Accounts>>);

/// The host application's authenticator, or that of the configuration. Blocks, inside a runtime.
fn doors(
    host: Option<Arc<dyn Authenticator>>,
    options: AccountsOptions,
) -> Result<Doors, AuthError> {
    match host {
        Some(host) => Ok((host, None)),
        None => {
            let accounts = Arc::new(Accounts::load(options, Box::new(wall_clock))?);
            Ok((
                Arc::clone(&accounts) as Arc<dyn Authenticator>,
                Some(accounts),
            ))
        }
    }
}

/// Also while nobody appends.
fn tell_of_failed_sync(fatal: Weak<watch::Sender<Option<String>>>) -> Tell {
    Arc::new(move |error| {
        if let Some(tell_fatal) = fatal.upgrade() {
            tell_fatal.send_replace(Some(error.to_string()));
        }
    })
}

impl Rooms {
    /// From the back to the front. Blocks, inside a runtime.
    fn start(
        options: Options,
        store: Arc<dyn EventStore>,
        sessions: Arc<dyn SessionStore>,
        tell_fatal: watch::Sender<Option<String>>,
    ) -> Result<Self, RunError> {
        let now: WallClock = Arc::new(wall_clock);
        let (known, accounts) = doors(options.authenticator, options.accounts)?;
        let guard = Guard::start(known, &options.guard).map_err(RunError::Guard)?;
        let schema = Arc::new(history::adopt(&*store, options.schema, wall_clock())?);
        let states = Arc::new(States::new(
            Arc::clone(&store),
            Arc::clone(&schema),
            options.states.cache_bytes_max,
        ));
        let edge = Edge::prepare(options.edge, Arc::clone(&store), sessions, &schema)?;
        let router = Arc::new(Router::start(options.router, edge.consumer())?);
        let written = Written::default();
        // The sequencer's hook alone keeps it, so that whoever waits learns when the sequencer is gone.
        let tell_fatal = Arc::new(tell_fatal);
        let fatal = Arc::downgrade(&tell_fatal);
        let tell_dead = tell_of_failed_sync(fatal);
        store.when_dead(Arc::clone(&tell_dead));
        let edge = edge.on_fatal(Arc::clone(&tell_dead)).guarded_by(guard);
        let hooks = Hooks {
            now: Arc::clone(&now),
            random: Box::new(random_bits),
            sink: Box::new(sink(&router, &written)),
            on_fatal: Box::new(move |error| {
                tell_fatal.send_replace(Some(error.to_string()));
            }),
            counter: counter(&states),
            farthest_counter: farthest_counter(&states),
            state: state(&states),
            full: full(&written),
        };
        let sequencer = Arc::new(Sequencer::start(
            &options.sequencer,
            Arc::clone(&store),
            Arc::clone(&schema),
            hooks,
        )?);
        let raises = Arc::clone(&sequencer);
        let compactor = Compactor::new(
            options.compactor,
            Arc::clone(&store),
            Arc::clone(&states),
            written,
            Box::new(move |stream, to, done| raises.raise_horizon(stream, to, done)),
            Box::new(move |error| tell_dead(error)),
        );
        let compactor = CompactorThread::start(compactor, Arc::clone(&now));
        let compactor = compactor.map_err(RunError::Compactor)?;
        let edge = edge.start(Arc::clone(&sequencer), Arc::clone(&states), now)?;
        edge.watch_bus(router.probe());
        Ok(Self {
            accounts,
            edge,
            compactor,
            sequencer,
            router,
            states,
            store,
        })
    }

    /// Where people ask. What changes the store goes through the sequencer.
    fn desk(&self, store: Arc<RedbStore>, reloads: Arc<Reloads>) -> Desk {
        let (sequencer, edge) = (Arc::clone(&self.sequencer), self.edge.clone());
        let erase = move |sync_id: &SyncId| {
            let (tell, told) = mpsc::sync_channel(1);
            let done = move |erased| drop(tell.send(erased));
            sequencer.erase(sync_id.clone(), Box::new(done));
            let erased = told.recv().map_err(|_| "the broker is shutting down")?;
            erased.inspect(|_| edge.forget_group(sync_id))
        };
        let deeds = Deeds {
            backup: Box::new(move |file, stop| {
                store.backup(file, stop).map_err(|error| error.to_string())
            }),
            erase: Box::new(erase),
            reload: Box::new(move || reloads.reload()),
            now: Box::new(wall_clock),
        };
        Desk::new(Arc::clone(&self.store), Arc::clone(&self.states), deeds)
    }

    fn services(&self, draining: &Arc<AtomicBool>) -> HttpServices {
        let [edge, enters, refuses] = [(); 3].map(|()| self.edge.clone());
        let (probe, states) = (self.router.probe(), Arc::clone(&self.states));
        let (sequencer, draining) = (Arc::clone(&self.sequencer), Arc::clone(draining));
        HttpServices {
            mqtt: Arc::new(move |socket, caller, entrance| {
                let edge = edge.clone();
                Box::pin(async move { edge.serve_websocket(socket, caller, &entrance).await })
            }),
            enter: Arc::new(move |caller, may_wait| enters.enter(caller, may_wait)),
            refused: Arc::new(move |refusal| refuses.refused_http(refusal)),
            readiness: Arc::new(move || Readiness {
                store: sequencer.is_running(),
                router: probe.stats().healthy,
                draining: draining.load(Ordering::Acquire),
            }),
            schema_document: Arc::new(move || states.schema().document()),
        }
    }

    /// From the front to the back. Blocks.
    fn close(self) {
        let Self {
            edge,
            compactor,
            sequencer,
            router,
            states,
            store,
            ..
        } = self;
        drop(compactor);
        sequencer.drain();
        edge.close();
        drop((edge, sequencer, states));
        if let Ok(router) = Arc::try_unwrap(router) {
            router.close();
        }
        drop(store);
    }
}

/// What is on disk goes to the bus, and its streams to the compactor.
fn sink(router: &Arc<Router>, written: &Written) -> impl Fn(Vec<Committed>) + Send + use<> {
    let (router, written) = (Arc::clone(router), written.clone());
    move |events| {
        written.note(&events);
        router.publish(events);
    }
}

fn counter(states: &Arc<States>) -> AskCounter {
    let states = Arc::clone(states);
    Box::new(move |stream, collection, key| {
        let value = states.counter(stream, collection, key);
        value.map_err(|error| error.to_string())
    })
}

fn farthest_counter(states: &Arc<States>) -> AskFarthestCounter {
    let states = Arc::clone(states);
    Box::new(move |stream| {
        let farthest = states.farthest_counter(stream);
        farthest.map_err(|error| error.to_string())
    })
}

fn state(states: &Arc<States>) -> AskState {
    let states = Arc::clone(states);
    Box::new(move |stream, entry| {
        let (bytes, is_live) = states.size(stream, entry).map_err(|it| it.to_string())?;
        let bytes = bytes as u64;
        Ok(StateSize { bytes, is_live })
    })
}

/// Whoever is refused need not wait for the next round of the compactor.
fn full(written: &Written) -> Box<dyn Fn(&StreamId) + Send> {
    let written = written.clone();
    Box::new(move |stream| written.look_at(stream))
}

/// Passwords are for nobody else's eyes.
fn warn_of_plain_ports(options: &Options) {
    let plain = [options.mqtt, options.http.address];
    let mut reachable = plain
        .iter()
        .filter(|it| !it.ip().to_canonical().is_loopback());
    if options.accounts.authenticates()
        && let Some(address) = reachable.next()
    {
        let remedy = "use mqtt.tls_address and http.tls_address";
        tracing::warn!(%address, "passwords travel unencrypted to an address that others can reach: {remedy}");
    }
}

fn shown(path: &Path) -> std::path::Display<'_> {
    path.display()
}

/// The one place where the broker reads the wall clock for what it stores.
pub(crate) fn wall_clock() -> UnixMillis {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    UnixMillis::new(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

pub(crate) fn random_bits() -> u64 {
    getrandom::u64().expect("the operating system has randomness")
}

mod reload;

#[cfg(test)]
mod tests;
