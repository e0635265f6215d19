//! Flags, environment, file and defaults become one small options struct per room. Nothing keeps the configuration itself.
//!
//! `config/broker.toml` is compiled in and is the one list of keys: its values are the defaults, their kinds are the kinds.
//! What is not in it is refused. Errors name the key and where it was set: the flag, the variable, or the file and line.

mod auth;
mod channels;
mod checks;
mod error;
mod layers;
mod ports;
mod raw;
mod settings;
mod transports;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use syncline_protocol::Schema;

use crate::auth::{AccountsOptions, Authenticator, GuardOptions};
use crate::compactor::{self, History};
use crate::edge::{
    CrowdOptions, EdgeOptions, OrdinaryOptions, Ports, PublishOptions, RetainedLimit,
    SessionsOptions,
};
use crate::http::{HttpOptions, WebSocketOptions};
use crate::router::RouterOptions;
use crate::sequencer;
use crate::store::RedbOptions;
use crate::store::sessions::QueueLimit;
use crate::transport::TransportOptions;
pub use error::{ConfigError, Contradiction, Origin, Setting};
use layers::Layers;
use raw::Raw;
pub use settings::Settings;
use transports::Resolved;

/// The defaults, with every key and its reason.
pub const DEFAULTS: &str = include_str!("../../../config/broker.toml");
/// The schema of a broker that was given none.
pub const MUSIC_SCHEMA: &str = include_str!("../../../config/schemas/music.toml");

/// What the command line can set; wins over everything else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    /// The configuration file.
    pub config: Option<PathBuf>,
    /// `store.data`.
    pub data: Option<PathBuf>,
    /// `mqtt.address`.
    pub mqtt: Option<String>,
    /// `http.address`.
    pub http: Option<String>,
    /// `store.schema`.
    pub schema: Option<PathBuf>,
}

/// Variables of the environment, by name.
pub type Environment = BTreeMap<String, String>;

/// Everything that the broker is told at its start, one part per room.
#[derive(Debug)]
pub struct Options {
    /// Where MQTT over TCP is served.
    pub mqtt: SocketAddr,
    /// The HTTP port.
    pub http: HttpOptions,
    /// The other listeners, and what stands before them.
    pub transports: TransportOptions,
    /// Who may come in.
    pub accounts: AccountsOptions,
    /// A host application's own, in place of `accounts`.
    pub authenticator: Option<Arc<dyn Authenticator>>,
    /// How many may ask at once.
    pub guard: GuardOptions,
    /// The folder for everything that must survive.
    pub data: PathBuf,
    /// The store in that folder.
    pub store: RedbOptions,
    /// What events mean.
    pub schema: Schema,
    /// Where the schema came from: a path, or what is built in.
    pub schema_source: String,
    /// The one owner of order.
    pub sequencer: sequencer::Options,
    /// The in-process bus.
    pub router: RouterOptions,
    /// Sockets and sessions.
    pub edge: EdgeOptions,
    /// How much history is kept.
    pub compactor: compactor::Options,
    /// States in memory.
    pub states: StatesOptions,
    /// A filter for logs, as in `info,syncline_broker::router=debug`.
    pub log_level: String,
    /// All of it by key.
    pub settings: Settings,
}

/// How much state is kept in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatesOptions {
    /// Bytes of states.
    pub cache_bytes_max: usize,
}

/// Resolves all layers. Reads the configuration file and the schema file, nothing else: certificates, passwords and rules
/// are for whoever listens.
pub fn load(flags: &Flags, environment: &Environment) -> Result<Options, ConfigError> {
    let layers = Layers::read(flags, environment)?;
    checks::bounds(&layers)?;
    let raw = layers.merged()?;
    checks::relations(&layers)?;
    let accounts = auth::accounts(&layers, &raw)?;
    let is_closed = accounts.authenticates() && !accounts.anonymous;
    let resolved = transports::resolve(&layers, &raw, is_closed)?;
    transports::origins(&layers, &raw)?;
    checks::log_level(&layers, &raw.log.level)?;
    let history = channels::history(&layers, &raw)?;
    let (schema_source, schema) = layers.schema(&raw.store.schema)?;
    let settings = layers.settings()?;
    let ports = ports::limits(&layers, &raw, &resolved.transports)?;
    let mut options = raw.options(resolved, accounts, (schema_source, schema), history);
    options.edge.ports = ports;
    Ok(Options {
        settings,
        ..options
    })
}

impl Raw {
    fn options(
        self,
        resolved: Resolved,
        accounts: AccountsOptions,
        (schema_source, schema): (String, Schema),
        history: History,
    ) -> Options {
        let Resolved {
            mqtt,
            http,
            transports,
        } = resolved;
        Options {
            mqtt,
            http: self.http_options(http),
            transports,
            accounts,
            authenticator: None,
            guard: auth::guard(&self),
            data: PathBuf::from(&self.store.data),
            store: self.store_options(),
            schema,
            schema_source,
            sequencer: self.sequencer_options(),
            router: self.router_options(),
            edge: self.edge_options(),
            compactor: self.compactor_options(history),
            states: StatesOptions {
                cache_bytes_max: self.limits.state_cache_bytes_max,
            },
            log_level: self.log.level,
            settings: Settings::default(),
        }
    }

    fn http_options(&self, address: SocketAddr) -> HttpOptions {
        HttpOptions {
            address,
            pages: PathBuf::from(&self.http.pages),
            allowed_hosts: self.http.allowed_hosts.clone(),
            allowed_origins: self.http.allowed_origins.clone(),
            connections_max: self.limits.connections_max,
            header_timeout: Duration::from_millis(self.http.header_timeout_ms),
            write_timeout: Duration::from_millis(self.http.write_timeout_ms),
            websocket: WebSocketOptions {
                message_bytes_max: self.http.websocket_message_bytes_max,
                read_buffer_bytes: self.http.websocket_read_buffer_bytes,
                write_buffer_bytes_max: self.http.websocket_write_buffer_bytes_max,
            },
        }
    }

    fn store_options(&self) -> RedbOptions {
        RedbOptions {
            mark_window: self.store.mark_window,
            cache_bytes: self.store.table_cache_bytes,
            lag_events_max: self.store.table_lag_events_max,
            lag_bytes_max: self.store.table_lag_bytes_max,
            apply_interval: Duration::from_millis(self.store.table_apply_interval_ms),
            min_free_bytes: self.store.min_free_bytes,
        }
    }

    fn sequencer_options(&self) -> sequencer::Options {
        sequencer::Options {
            queue_len_max: self.sequencer.queue_max,
            batch_events_max: self.sequencer.batch_events_max,
            batch_bytes_max: self.sequencer.batch_bytes_max,
            receive_maximum: usize::from(self.limits.receive_maximum),
            max_clock_skew_ms: self.sequencer.max_clock_skew_ms,
            active_streams_max: self.sequencer.active_streams_max,
            device_retention_ms: self.history.device_retention_ms,
            founding: sequencer::FoundingOptions {
                streams_max: self.limits.streams_max,
                per_user_per_h: self.limits.streams_per_user_per_h,
            },
            stream: sequencer::StreamOptions {
                events_max: self.limits.stream_events_max,
                bytes_max: self.limits.stream_bytes_max,
                state_bytes_max: self.limits.stream_state_bytes_max,
            },
        }
    }

    fn compactor_options(&self, history: History) -> compactor::Options {
        compactor::Options {
            history,
            tombstone_retention_ms: self.history.tombstone_retention_ms,
            device_retention_ms: self.history.device_retention_ms,
            interval_ms: self.history.interval_ms,
            round_ms: self.history.round_ms,
        }
    }

    fn router_options(&self) -> RouterOptions {
        RouterOptions {
            outstanding_max: self.router.outstanding_max,
            outstanding_bytes_max: self.router.outstanding_bytes_max,
            intake_max: self.router.intake_max,
            intake_bytes_max: self.router.intake_bytes_max,
            canary_interval: Duration::from_millis(self.router.canary_interval_ms),
            canary_timeout: Duration::from_millis(self.router.canary_timeout_ms),
        }
    }

    fn edge_options(&self) -> EdgeOptions {
        let limits = &self.limits;
        EdgeOptions {
            connections_max: limits.connections_max,
            connect_timeout: Duration::from_millis(limits.connect_timeout_ms),
            packet_bytes_max: limits.packet_bytes_max,
            event_bytes_max: limits.event_bytes_max,
            receive_maximum: limits.receive_maximum,
            inflight_max: limits.inflight_max,
            subscriptions_max: limits.subscriptions_max,
            tail_events_max: limits.tail_events_max,
            tail_bytes_max: limits.tail_bytes_max,
            state_bytes_per_s: limits.state_bytes_per_s,
            state_part_bytes: limits.state_part_bytes,
            active_streams_max: self.sequencer.active_streams_max,
            sessions: SessionsOptions {
                sessions_max: self.sessions.sessions_max,
                expiry_max: Duration::from_millis(self.sessions.expiry_max_ms),
                save_interval: Duration::from_millis(self.sessions.save_interval_ms),
                queue: QueueLimit {
                    messages_max: self.sessions.queue_messages_max,
                    bytes_max: self.sessions.queue_bytes_max,
                },
            },
            presence_retention: Duration::from_millis(self.presence.retention_ms),
            presence_devices_max: self.presence.devices_max,
            device_retention: Duration::from_millis(self.history.device_retention_ms),
            ordinary: self.ordinary_options(),
            crowd: CrowdOptions {
                per_address_max: limits.connections_per_address_max,
                per_user_max: limits.connections_per_user_max,
                per_address_per_s: limits.connections_per_address_per_s,
                per_s: limits.connections_per_s,
            },
            publish: PublishOptions {
                messages_per_s: limits.publish_messages_per_s,
                bytes_per_s: limits.publish_bytes_per_s,
                user_messages_per_s: limits.user_publish_messages_per_s,
                user_bytes_per_s: limits.user_publish_bytes_per_s,
                address_messages_per_s: limits.address_publish_messages_per_s,
                address_bytes_per_s: limits.address_publish_bytes_per_s,
            },
            ports: Ports::new(),
            load_lag_max: Duration::from_millis(limits.load_lag_ms_max),
        }
    }

    fn ordinary_options(&self) -> OrdinaryOptions {
        let limits = &self.limits;
        OrdinaryOptions {
            pending: QueueLimit {
                messages_max: limits.pending_messages_max,
                bytes_max: limits.pending_bytes_max,
            },
            pending_total_bytes_max: limits.pending_total_bytes_max,
            retained: RetainedLimit {
                messages_max: limits.retained_messages_max,
                bytes_max: limits.retained_bytes_max,
            },
            topic_alias_max: limits.topic_alias_max,
            keep_alive_s_max: limits.keep_alive_max_s,
            sys_interval: Duration::from_secs(u64::from(self.sys.interval_s)),
        }
    }
}

#[cfg(test)]
mod tests;
