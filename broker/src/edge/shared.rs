//! What all connections share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use syncline_protocol::{DeviceId, SyncId, UnixMillis};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::clients::Clients;
use super::counters::{BUS, Counters};
use super::devices::{Claim, Devices, Receipt};
use super::entrance::Entrance;
use super::ephemeral::Ephemeral;
use super::fetch::Reader;
use super::hub::Hub;
use super::keeper::{Keeper, Written};
use super::limits::{
    Crowd, CrowdOptions, Crowded, Load, PortOptions, Ports, PublishOptions, Rate, Rates, SharedRate,
};
use super::ordinary::{OrdinaryOptions, Topics};
use super::presence::{Attendance, AttendanceOptions};
use super::redelivery::Redeliveries;
use super::session::SessionOptions;
use super::sys::Figures;
use super::wills::Wills;
use crate::acl::Principal;
use crate::auth::{Guard, Origin};
use crate::compactor::States;
use crate::router::RouterProbe;
use crate::sequencer::Sequencer;
use crate::store::sessions::{DeviceKey, QueueLimit, SessionChange, SessionStore};
use crate::store::{EventStore, StoreError};
use crate::transport::{Caller, Port};

/// Devices in one page of the store's lists.
const PAGE: usize = 1_024;

/// The wall clock.
pub type WallClock = Arc<dyn Fn() -> UnixMillis + Send + Sync>;

/// Lets a simulator take the steps that a waiting thread waits for; nothing in life.
pub(crate) type BeforeWaiting = Arc<dyn Fn() + Send + Sync>;

/// How edges behave: every limit on clients.
#[derive(Debug, Clone)]
pub struct EdgeOptions {
    /// Connections at most; more are closed at once.
    pub connections_max: usize,
    /// How long a CONNECT may take.
    pub connect_timeout: Duration,
    /// The largest packet that is read.
    pub packet_bytes_max: u32,
    /// The largest event.
    pub event_bytes_max: usize,
    /// Unacknowledged PUBLISHes of a client at most (the Receive Maximum).
    pub receive_maximum: u16,
    /// Unacknowledged deliveries to a client at most.
    pub inflight_max: u16,
    /// Subscriptions of a connection at most.
    pub subscriptions_max: usize,
    /// Recent events that are kept in memory at most, over all streams.
    pub tail_events_max: usize,
    /// The same in bytes.
    pub tail_bytes_max: usize,
    /// Paces live `state` (SNAP-5).
    pub state_bytes_per_s: u64,
    /// The largest part of a state (SNAP-8).
    pub state_part_bytes: usize,
    /// Streams that are known by name because they moved of late, about.
    pub active_streams_max: usize,
    /// Sessions that are kept.
    pub sessions: SessionsOptions,
    /// Ordinary topics.
    pub ordinary: OrdinaryOptions,
    /// How long a device that left is remembered (PRESENCE-3).
    pub presence_retention: Duration,
    /// Devices that are shown at most (PRESENCE-5).
    pub presence_devices_max: usize,
    /// How long it is remembered whose a device is that nobody uses (EVENT-11).
    pub device_retention: Duration,
    /// How many connections, and how often.
    pub crowd: CrowdOptions,
    /// What may be published per second.
    pub publish: PublishOptions,
    /// Ports with limits of their own.
    pub ports: Ports,
    /// How late tasks may wake, for a while, before new connections are refused; zero: as late as they do.
    pub load_lag_max: Duration,
}

/// The limits of sessions that outlive their connections.
#[derive(Debug, Clone)]
pub struct SessionsOptions {
    /// Sessions at most.
    pub sessions_max: usize,
    /// How long one is kept at most once its connection is gone.
    pub expiry_max: Duration,
    /// How often it is saved how far a connected one is.
    pub save_interval: Duration,
    /// How much may wait for one that is away.
    pub queue: QueueLimit,
}

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) options: EdgeOptions,
    session_options: Arc<SessionOptions>,
    /// Of the ports that have limits of their own.
    at_ports: BTreeMap<Port, Arc<SessionOptions>>,
    pub(crate) guard: Guard,
    pub(crate) devices: Arc<Devices>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) store: Arc<dyn EventStore>,
    pub(crate) states: Arc<States>,
    pub(crate) sequencer: Arc<Sequencer>,
    pub(crate) clients: Clients,
    pub(crate) keeper: Keeper,
    pub(crate) sessions: Arc<dyn SessionStore>,
    pub(crate) topics: Topics,
    pub(crate) wills: Wills,
    pub(crate) redeliveries: Redeliveries,
    pub(crate) counters: Arc<Counters>,
    pub(crate) now: WallClock,
    pub(crate) reader: Reader,
    /// Called before a thread waits for the sequencer.
    pub(crate) before_waiting: BeforeWaiting,
    pub(crate) crowd: Arc<Crowd>,
    pub(crate) load: Load,
    user_rates: Rates<String>,
    address_rates: Rates<Origin>,
    /// How the bus fares, once that is known.
    pub(crate) bus: OnceLock<RouterProbe>,
    attendance: Arc<Mutex<Attendance>>,
    /// It was asked for that what is known of devices is written.
    saving: Arc<AtomicBool>,
    places: Arc<Semaphore>,
    draining: AtomicBool,
}

/// What a new [`Shared`] is made of.
pub(crate) struct Parts {
    pub(crate) options: EdgeOptions,
    pub(crate) hub: Arc<Hub>,
    pub(crate) store: Arc<dyn EventStore>,
    pub(crate) states: Arc<States>,
    pub(crate) sequencer: Arc<Sequencer>,
    pub(crate) now: WallClock,
    pub(crate) clients: Clients,
    pub(crate) keeper: Keeper,
    pub(crate) sessions: Arc<dyn SessionStore>,
    pub(crate) topics: Topics,
    pub(crate) counters: Arc<Counters>,
    pub(crate) reader: Reader,
    pub(crate) before_waiting: BeforeWaiting,
    pub(crate) guard: Guard,
}

impl Shared {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts {
            options,
            hub,
            store,
            states,
            sequencer,
            now,
            clients,
            keeper,
            sessions,
            topics,
            counters,
            reader,
            before_waiting,
            guard,
        } = parts;
        Self {
            session_options: Arc::new(session_options(&options)),
            at_ports: at_ports(&options),
            guard,
            devices: Arc::new(Devices::new(options.device_retention)),
            hub,
            store,
            states,
            sequencer,
            clients,
            keeper,
            sessions,
            topics,
            wills: Wills::default(),
            redeliveries: Redeliveries::default(),
            counters,
            now,
            reader,
            before_waiting,
            crowd: Arc::new(Crowd::new(options.crowd, options.ports.clone())),
            load: Load::new(options.load_lag_max),
            user_rates: Rates::default(),
            address_rates: Rates::default(),
            bus: OnceLock::new(),
            attendance: Arc::new(Mutex::new(Attendance::new(attendance_options(&options)))),
            saving: Arc::default(),
            places: Arc::new(Semaphore::new(options.connections_max)),
            draining: AtomicBool::new(false),
            options,
        }
    }

    /// What sessions are held to that come in there.
    pub(crate) fn session_options(&self, port: Option<Port>) -> Arc<SessionOptions> {
        let own = port.and_then(|port| self.at_ports.get(&port));
        Arc::clone(own.unwrap_or(&self.session_options))
    }

    /// What all connections of a user share, if it is anybody in particular.
    pub(crate) fn rate_of_user(&self, user: &str, now: Instant) -> Option<SharedRate> {
        let publish = &self.options.publish;
        let rate = Rate::new(publish.user_messages_per_s, publish.user_bytes_per_s, now);
        match user {
            "" => None,
            user => self.user_rates.of(user.to_owned(), rate, now),
        }
    }

    /// What all connections of an address share. Those of a Unix socket have none.
    pub(crate) fn rate_of_address(&self, caller: &Caller, now: Instant) -> Option<SharedRate> {
        let origin = origin(caller);
        let publish = &self.options.publish;
        let (messages, bytes) = (publish.address_messages_per_s, publish.address_bytes_per_s);
        match origin {
            Origin::Local => None,
            origin => self
                .address_rates
                .of(origin, Rate::new(messages, bytes, now), now),
        }
    }

    /// A connection comes. One that is too many may wait to be told so, as long as there are places to say it in.
    pub(crate) fn admit(&self, caller: &Caller, may_wait: bool, now: Instant) -> Option<Entrance> {
        let seat = match self.load.sheds() {
            true => Err(Crowded::Overload),
            false => self.crowd.enter(origin(caller), caller.port, now),
        };
        let entrance = Entrance::new(seat);
        if let Some(crowded) = entrance.crowded()
            && (!may_wait || self.is_nearly_full())
        {
            self.counters.count(crowded.count());
            tracing::debug!(%caller, %crowded, "closed");
            return None;
        }
        Some(entrance)
    }

    /// A place for a connection, if there is one.
    pub(crate) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// Whether so few places are left that nobody gets one to be refused in.
    pub(crate) fn is_nearly_full(&self) -> bool {
        self.places.available_permits() < self.options.connections_max / 8
    }

    /// Waits until every place is free.
    pub(crate) async fn empty(&self) {
        let all = u32::try_from(self.options.connections_max).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        let _ = self.places.acquire_many(all).await;
    }

    /// How many connections there are.
    pub(crate) fn connections(&self) -> usize {
        self.options
            .connections_max
            .saturating_sub(self.places.available_permits())
    }

    /// How things stand, but for what only the store knows.
    pub(crate) fn figures(&self) -> Figures {
        let (connected, disconnected) = self.clients.size();
        let (subscriptions, retained) = self.topics.size();
        let refusals = self.sequencer.refusals();
        Figures {
            connected,
            disconnected,
            subscriptions,
            retained,
            streams: [refusals.founding, refusals.full],
            bus: self.bus_figures(),
            ..Figures::default()
        }
    }

    /// In the order of [`BUS`](super::counters::BUS).
    fn bus_figures(&self) -> [u64; BUS.len()] {
        let stats = self.bus.get().map(RouterProbe::stats).unwrap_or_default();
        [
            stats.jumps,
            stats.overflows,
            stats.rebuilds,
            self.hub.losses(),
        ]
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Asks every connection to end; later ones end at once.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.hub.summon_all();
    }

    /// Changes who is here, publishes what that makes, and has it written.
    pub(crate) fn attend<I: IntoIterator<Item = Ephemeral>>(
        &self,
        change: impl FnOnce(&mut Attendance, UnixMillis) -> I,
    ) {
        let now = (self.now)();
        // Kept while publishing, so that what is retained is the latest.
        let mut attendance = lock(&self.attendance);
        for message in change(&mut attendance, now) {
            self.hub.retain(message);
        }
        let owes = attendance.owes();
        drop(attendance);
        if owes {
            self.save_devices();
        }
    }

    /// Has written what has changed of devices, unless that was asked for and has not begun: so a thousand who come and go
    /// wait in no queue.
    pub(crate) fn save_devices(&self) {
        let owes = self.devices.owe() || lock(&self.attendance).owes();
        if !owes || self.saving.swap(true, Ordering::AcqRel) {
            return;
        }
        let (attendance, devices) = (Arc::clone(&self.attendance), Arc::clone(&self.devices));
        let saving = Arc::clone(&self.saving);
        self.keeper.gather(Box::new(move || {
            saving.store(false, Ordering::Release);
            let presence = lock(&attendance).take_unwritten();
            let (mut changes, receipts) = devices.take_unwritten();
            changes.extend(presence.iter().cloned());
            let tell = move |written: Result<Vec<usize>, _>| match written {
                Ok(_) => receipts.iter().for_each(Receipt::written),
                Err(_) => lock(&attendance).not_written(&presence),
            };
            (changes, Some(Box::new(tell) as Written))
        }));
    }

    /// Writes whose a device is, if that is not on disk, and `changes` with it.
    pub(crate) fn save_owner(
        &self,
        device: DeviceKey,
        mut changes: Vec<SessionChange>,
        tell: Written,
    ) {
        let devices = Arc::clone(&self.devices);
        self.keeper.gather(Box::new(move || {
            let owner = devices.take_one(&device);
            let receipt = owner.map(|(own, receipt)| {
                changes.push(own);
                receipt
            });
            let tell = move |written: Result<Vec<usize>, _>| {
                if let (Ok(_), Some(receipt)) = (&written, receipt) {
                    receipt.written();
                }
                tell(written);
            };
            (changes, Some(Box::new(tell) as Written))
        }));
    }

    /// A principal uses a device in a group (EVENT-11).
    pub(crate) fn claim(&self, who: &Principal, group: &SyncId, device: DeviceId) -> Claim {
        let claim = self.devices.claim(who, group, device, (self.now)());
        if claim == Claim::New {
            self.save_devices();
        }
        claim
    }

    /// Takes over what an earlier run knew of devices. Blocks.
    pub(crate) fn find_devices(&self) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let page = self.sessions.owners(after.as_ref(), PAGE)?;
            let Some(last) = page.last() else {
                break;
            };
            after = Some(last.key.clone());
            page.into_iter().for_each(|it| self.devices.found(it));
        }
        let mut after = None;
        loop {
            let page = self.sessions.presences(after.as_ref(), PAGE)?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = Some(last.key());
            self.attend(|attendance, now| {
                let found = page.into_iter().flat_map(|it| attendance.found(it, now));
                found.collect::<Vec<_>>()
            });
        }
    }

    /// Forgets whose the devices are that nobody uses.
    pub(crate) fn forget_old_devices(&self) {
        self.devices.forget_old((self.now)());
    }

    /// Forgets the devices of a group, as the store did.
    pub(crate) fn forget_group(&self, group: &SyncId) {
        self.devices.forget_group(group);
        self.attend(|attendance, _| attendance.forget_group(group));
        self.save_devices();
    }
}

fn lock(attendance: &Mutex<Attendance>) -> MutexGuard<'_, Attendance> {
    attendance.lock().unwrap_or_else(PoisonError::into_inner)
}

fn origin(caller: &Caller) -> Origin {
    Origin::of(caller.address.map(|address| address.ip()))
}

fn attendance_options(options: &EdgeOptions) -> AttendanceOptions {
    let retention_ms = u64::try_from(options.presence_retention.as_millis());
    AttendanceOptions {
        retention_ms: retention_ms.unwrap_or(u64::MAX),
        devices_max: options.presence_devices_max,
    }
}

fn session_options(options: &EdgeOptions) -> SessionOptions {
    SessionOptions {
        connect_timeout: options.connect_timeout,
        packet_bytes_max: options.packet_bytes_max,
        event_bytes_max: options.event_bytes_max,
        receive_maximum: options.receive_maximum,
        inflight_max: options.inflight_max,
        expiry_ms_max: u64::try_from(options.sessions.expiry_max.as_millis()).unwrap_or(u64::MAX),
        topic_alias_max: options.ordinary.topic_alias_max,
        keep_alive_s_max: options.ordinary.keep_alive_s_max,
        publish: options.publish,
    }
}

fn at_ports(options: &EdgeOptions) -> BTreeMap<Port, Arc<SessionOptions>> {
    let of_port = |(port, own): (&Port, &PortOptions)| {
        let general = session_options(options);
        let publish = PublishOptions {
            messages_per_s: own.publish_messages_per_s,
            bytes_per_s: own.publish_bytes_per_s,
            ..general.publish
        };
        let own = SessionOptions {
            connect_timeout: own.connect_timeout,
            packet_bytes_max: own.packet_bytes_max,
            publish,
            ..general
        };
        (*port, Arc::new(own))
    };
    options.ports.iter().map(of_port).collect()
}
