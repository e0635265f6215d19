//! The configuration as text has it, section by section. Read once, resolved at once, then gone.

use std::collections::BTreeMap;

use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    pub(super) mqtt: Mqtt,
    pub(super) http: Http,
    pub(super) tls: Tls,
    pub(super) proxy: Proxy,
    pub(super) auth: Auth,
    pub(super) store: Store,
    pub(super) sequencer: Sequencer,
    pub(super) history: History,
    pub(super) router: Router,
    pub(super) limits: Limits,
    pub(super) sessions: Sessions,
    pub(super) presence: Presence,
    pub(super) sys: Sys,
    pub(super) log: Log,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mqtt {
    pub(super) address: String,
    pub(super) tls_address: String,
    pub(super) unix_socket: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Http {
    pub(super) address: String,
    pub(super) tls_address: String,
    pub(super) pages: String,
    pub(super) allowed_hosts: Vec<String>,
    pub(super) allowed_origins: Vec<String>,
    pub(super) header_timeout_ms: u64,
    pub(super) write_timeout_ms: u64,
    pub(super) websocket_message_bytes_max: usize,
    pub(super) websocket_read_buffer_bytes: usize,
    pub(super) websocket_write_buffer_bytes_max: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    pub(super) certificate: String,
    pub(super) key: String,
    pub(super) client_ca: String,
    pub(super) client_certificate_required: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Proxy {
    pub(super) ports: Vec<String>,
    pub(super) trusted: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Auth {
    pub(super) passwords: String,
    pub(super) acl: String,
    pub(super) tokens: Tokens,
    pub(super) http: AuthHttp,
    pub(super) certificates: String,
    pub(super) anonymous: bool,
    pub(super) failures_max: u64,
    pub(super) address_failures_max: u64,
    pub(super) failure_interval_ms: u64,
    pub(super) threads: usize,
    pub(super) queue_max: usize,
    pub(super) queue_per_address_max: usize,
    pub(super) anonymous_on_public_addresses: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tokens {
    pub(super) secret: String,
    pub(super) public_keys: Vec<String>,
    pub(super) jwks: String,
    pub(super) issuer: String,
    pub(super) audience: String,
    pub(super) user_name: String,
    pub(super) leeway_s: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AuthHttp {
    pub(super) url: String,
    pub(super) timeout_ms: u64,
    pub(super) cache_ms: u64,
    pub(super) cache_max: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Store {
    pub(super) data: String,
    pub(super) schema: String,
    pub(super) mark_window: usize,
    pub(super) table_lag_events_max: usize,
    pub(super) table_lag_bytes_max: usize,
    pub(super) table_apply_interval_ms: u64,
    pub(super) table_cache_bytes: usize,
    pub(super) min_free_bytes: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sequencer {
    pub(super) queue_max: usize,
    pub(super) batch_events_max: usize,
    pub(super) batch_bytes_max: usize,
    pub(super) max_clock_skew_ms: u64,
    pub(super) active_streams_max: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct History {
    pub(super) max_age_ms: u64,
    pub(super) max_events: u64,
    pub(super) max_bytes: u64,
    pub(super) min_age_ms: u64,
    pub(super) tombstone_retention_ms: u64,
    pub(super) device_retention_ms: u64,
    pub(super) interval_ms: u64,
    pub(super) round_ms: u64,
    #[serde(default)]
    pub(super) channels: BTreeMap<String, HistoryChannel>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HistoryChannel {
    pub(super) max_age_ms: Option<u64>,
    pub(super) max_events: Option<u64>,
    pub(super) max_bytes: Option<u64>,
    pub(super) min_age_ms: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Router {
    pub(super) outstanding_max: usize,
    pub(super) outstanding_bytes_max: usize,
    pub(super) intake_max: usize,
    pub(super) intake_bytes_max: usize,
    pub(super) canary_interval_ms: u64,
    pub(super) canary_timeout_ms: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    pub(super) packet_bytes_max: u32,
    pub(super) event_bytes_max: usize,
    pub(super) receive_maximum: u16,
    pub(super) subscriptions_max: usize,
    pub(super) connections_max: usize,
    pub(super) connect_timeout_ms: u64,
    pub(super) inflight_max: u16,
    pub(super) tail_events_max: usize,
    pub(super) tail_bytes_max: usize,
    pub(super) state_bytes_per_s: u64,
    pub(super) state_part_bytes: usize,
    pub(super) state_cache_bytes_max: usize,
    pub(super) pending_messages_max: u64,
    pub(super) pending_bytes_max: u64,
    pub(super) pending_total_bytes_max: u64,
    pub(super) retained_messages_max: usize,
    pub(super) retained_bytes_max: u64,
    pub(super) topic_alias_max: u16,
    pub(super) keep_alive_max_s: u16,
    pub(super) connections_per_address_max: u32,
    pub(super) connections_per_user_max: u32,
    pub(super) connections_per_address_per_s: u32,
    pub(super) connections_per_s: u32,
    pub(super) publish_messages_per_s: u32,
    pub(super) publish_bytes_per_s: u64,
    pub(super) user_publish_messages_per_s: u32,
    pub(super) user_publish_bytes_per_s: u64,
    pub(super) address_publish_messages_per_s: u32,
    pub(super) address_publish_bytes_per_s: u64,
    pub(super) streams_max: u64,
    pub(super) streams_per_user_per_h: u64,
    pub(super) stream_events_max: u64,
    pub(super) stream_bytes_max: u64,
    pub(super) stream_state_bytes_max: u64,
    pub(super) load_lag_ms_max: u64,
    #[serde(default)]
    pub(super) ports: BTreeMap<String, PortLimits>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PortLimits {
    pub(super) connections_max: Option<i64>,
    pub(super) connections_per_s: Option<i64>,
    pub(super) connect_timeout_ms: Option<i64>,
    pub(super) packet_bytes_max: Option<i64>,
    pub(super) publish_messages_per_s: Option<i64>,
    pub(super) publish_bytes_per_s: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sessions {
    pub(super) sessions_max: usize,
    pub(super) expiry_max_ms: u64,
    pub(super) save_interval_ms: u64,
    pub(super) queue_messages_max: u64,
    pub(super) queue_bytes_max: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Presence {
    pub(super) retention_ms: u64,
    pub(super) devices_max: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sys {
    pub(super) interval_s: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    pub(super) level: String,
}
