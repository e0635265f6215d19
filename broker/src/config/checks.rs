//! Limits: each by itself, and those that depend on each other.

use std::net::SocketAddr;

use tracing_subscriber::EnvFilter;

use super::layers::Layers;
use super::{ConfigError, Contradiction, Origin, Setting};
use crate::transport::Port;

/// Every integer is at least 1, and small enough to be added to others without a thought, unless it stands here.
const BOUNDS: &[(&str, i64, i64)] = &[
    ("http.websocket_read_buffer_bytes", 512, 1 << 24),
    ("limits.packet_bytes_max", 2_048, 268_435_455),
    // The store keeps an event in one row.
    ("limits.event_bytes_max", 1, 1 << 24),
    ("limits.receive_maximum", 1, 65_535),
    // The packet ids above are those of messages that wait in the store.
    ("limits.inflight_max", 1, 32_767),
    ("limits.topic_alias_max", 0, 65_535),
    ("limits.keep_alive_max_s", 0, 65_535),
    ("limits.connections_per_address_max", 0, 1 << 31),
    ("limits.connections_per_user_max", 0, 1 << 31),
    ("limits.connections_per_address_per_s", 0, 1 << 31),
    ("limits.connections_per_s", 0, 1 << 31),
    ("limits.publish_messages_per_s", 0, 1 << 31),
    ("limits.publish_bytes_per_s", 0, 1 << 40),
    ("limits.user_publish_messages_per_s", 0, 1 << 31),
    ("limits.user_publish_bytes_per_s", 0, 1 << 40),
    ("limits.address_publish_messages_per_s", 0, 1 << 31),
    ("limits.address_publish_bytes_per_s", 0, 1 << 40),
    ("limits.streams_max", 0, 1 << 40),
    // Above it one would begin faster than each millisecond.
    ("limits.streams_per_user_per_h", 0, 3_600_000),
    ("limits.stream_events_max", 0, 1 << 40),
    ("limits.stream_bytes_max", 0, 1 << 40),
    ("limits.stream_state_bytes_max", 0, 1 << 40),
    ("limits.load_lag_ms_max", 0, 3_600_000),
    ("sys.interval_s", 0, 86_400),
    ("http.websocket_write_buffer_bytes_max", 131_072, 1 << 40),
    ("router.outstanding_bytes_max", 65_536, 1 << 40),
    // A page of a wildcard's scan must be known as a whole.
    ("sequencer.active_streams_max", 64, 1 << 40),
    ("router.canary_interval_ms", 10, 3_600_000),
    ("auth.threads", 1, 64),
    ("auth.queue_max", 1, 65_536),
    ("auth.tokens.leeway_s", 0, 3_600),
    ("auth.http.timeout_ms", 1, 60_000),
    ("auth.http.cache_ms", 0, 86_400_000),
    ("auth.http.cache_max", 1, 1_000_000),
    ("auth.failures_max", 1, 1_000_000),
    ("auth.address_failures_max", 1, 1_000_000),
    ("auth.failure_interval_ms", 1, 86_400_000),
];
const INTEGER_MIN: i64 = 1;
const INTEGER_MAX: i64 = 1 << 40;

/// `small` plus `margin` is at most `large`, unless that is 0, which means none where it may stand.
struct Relation {
    small: &'static str,
    margin: i64,
    large: &'static str,
    why: &'static str,
}

const fn at_most(small: &'static str, large: &'static str, why: &'static str) -> Relation {
    Relation {
        small,
        margin: 0,
        large,
        why,
    }
}

pub(super) const WHY_MIN_AGE: &str =
    "events younger than the one stay, events older than the other go";
pub(super) const WHY_TOMBSTONES: &str =
    "a deletion must be remembered as long as events that it must be compared with can come";
pub(super) const WHY_DEVICES: &str = "a device must be remembered as long as its events are kept, or it could have one accepted twice";

const WHY_FOLDED: &str = "history is folded once there is more of it, and a stream that is full before would stay full until its events are old";

const RELATIONS: &[Relation] = &[
    at_most(
        "limits.receive_maximum",
        "store.mark_window",
        "a client may repeat everything that was not acknowledged, and a repeat that is not remembered looks like a fork",
    ),
    Relation {
        small: "limits.event_bytes_max",
        margin: 1_024,
        large: "limits.packet_bytes_max",
        why: "a packet holds the event, its topic and its properties",
    },
    at_most(
        "limits.packet_bytes_max",
        "http.websocket_message_bytes_max",
        "a WebSocket message holds at least one packet",
    ),
    at_most(
        "limits.event_bytes_max",
        "sequencer.batch_bytes_max",
        "a commit holds at least one event",
    ),
    at_most(
        "sequencer.batch_events_max",
        "sequencer.queue_max",
        "a batch is taken from the queue",
    ),
    at_most(
        "limits.event_bytes_max",
        "router.outstanding_bytes_max",
        "the bus must be able to hold an event",
    ),
    at_most(
        "sequencer.batch_events_max",
        "router.intake_max",
        "a commit goes to the router at once, and what does not fit is read again from the store",
    ),
    at_most(
        "sequencer.batch_bytes_max",
        "router.intake_bytes_max",
        "a commit goes to the router at once, and what does not fit is read again from the store",
    ),
    at_most(
        "auth.failures_max",
        "auth.address_failures_max",
        "the failures of one user at an address are failures of the address",
    ),
    at_most(
        "auth.queue_per_address_max",
        "auth.queue_max",
        "those of one address are some of all",
    ),
    at_most("history.min_age_ms", "history.max_age_ms", WHY_MIN_AGE),
    at_most(
        "history.max_age_ms",
        "history.tombstone_retention_ms",
        WHY_TOMBSTONES,
    ),
    at_most(
        "history.max_age_ms",
        "history.device_retention_ms",
        WHY_DEVICES,
    ),
    Relation {
        small: "history.max_events",
        margin: 1,
        large: "limits.stream_events_max",
        why: WHY_FOLDED,
    },
    Relation {
        small: "history.max_bytes",
        margin: 1,
        large: "limits.stream_bytes_max",
        why: WHY_FOLDED,
    },
    Relation {
        small: "limits.event_bytes_max",
        margin: 1_024,
        large: "limits.stream_bytes_max",
        why: "a stream holds at least one event",
    },
    at_most(
        "history.interval_ms",
        "history.round_ms",
        "a round looks at every stream, an interval at those that were written to",
    ),
    at_most(
        "sessions.save_interval_ms",
        "sessions.expiry_max_ms",
        "a session must be saved before its time is over",
    ),
    at_most(
        "limits.packet_bytes_max",
        "sessions.queue_bytes_max",
        "a queue holds at least one message",
    ),
    at_most(
        "limits.packet_bytes_max",
        "limits.retained_bytes_max",
        "at least one message can be retained",
    ),
    at_most(
        "router.canary_interval_ms",
        "router.canary_timeout_ms",
        "a bus that was not asked cannot have answered",
    ),
    at_most(
        "sequencer.batch_events_max",
        "store.table_lag_events_max",
        "a commit must fit into what the tables may lag behind",
    ),
    at_most(
        "sequencer.batch_bytes_max",
        "store.table_lag_bytes_max",
        "a commit must fit into what the tables may lag behind",
    ),
];

pub(super) fn bounds(layers: &Layers) -> Result<(), ConfigError> {
    for key in Layers::integers() {
        let value = layers.integer(&key);
        bound(layers.origin(&key), key, value)?;
    }
    Ok(())
}

/// Whether a value is within the bounds of its key.
pub(super) fn bound(origin: Origin, key: String, value: i64) -> Result<(), ConfigError> {
    let setting = Setting { key, value, origin };
    bound_as(&setting, &setting.key)
}

/// Whether a value is within the bounds of the key in whose place it stands.
pub(super) fn bound_as(setting: &Setting, place: &str) -> Result<(), ConfigError> {
    let special = BOUNDS.iter().find(|(bounded, ..)| *bounded == place);
    let (min, max) = special.map_or((INTEGER_MIN, INTEGER_MAX), |(_, min, max)| (*min, *max));
    if (min..=max).contains(&setting.value) {
        return Ok(());
    }
    Err(ConfigError::BadValue {
        origin: setting.origin.clone(),
        key: setting.key.clone(),
        expected: format!("from {min} to {max}"),
    })
}

pub(super) fn relations(layers: &Layers) -> Result<(), ConfigError> {
    RELATIONS
        .iter()
        .try_for_each(|relation| relation.check(layers))
}

/// Whether a setting keeps the relations of the key in whose place it stands, but for those with `foreign`.
pub(super) fn in_place(
    layers: &Layers,
    place: &str,
    own: &Setting,
    foreign: Option<&str>,
) -> Result<(), ConfigError> {
    for relation in RELATIONS {
        let keys = [relation.small, relation.large];
        if keys.contains(&place) && !foreign.is_some_and(|it| keys.contains(&it)) {
            let [small, large] = keys.map(|key| match key == place {
                true => own.clone(),
                false => layers.setting(key),
            });
            relation.between(small, large)?;
        }
    }
    Ok(())
}

pub(super) fn address(layers: &Layers, key: &str, text: &str) -> Result<SocketAddr, ConfigError> {
    text.parse().map_err(|_| ConfigError::BadValue {
        origin: layers.origin(key),
        key: key.to_owned(),
        expected: format!("an IP address and a port, such as 127.0.0.1:1883, not `{text}`"),
    })
}

/// A filter that the logs take.
pub(super) fn log_level(layers: &Layers, level: &str) -> Result<(), ConfigError> {
    let key = "log.level";
    EnvFilter::try_new(level)
        .map(drop)
        .map_err(|error| ConfigError::BadValue {
            origin: layers.origin(key),
            key: key.to_owned(),
            expected: format!("a filter for logs such as info ({error})"),
        })
}

/// No two listeners can share an address, unless the system chooses the ports.
pub(super) fn distinct(
    layers: &Layers,
    ports: &[(Port, Option<SocketAddr>)],
) -> Result<(), ConfigError> {
    for (at, (port, address)) in ports.iter().enumerate() {
        let Some(address) = address.filter(|it| it.port() != 0) else {
            continue;
        };
        let same = ports[..at]
            .iter()
            .find(|(_, other)| *other == Some(address));
        if let Some((other, _)) = same {
            return Err(ConfigError::BadValue {
                origin: layers.origin(port.key()),
                key: port.key().to_owned(),
                expected: format!(
                    "another address than `{}`, which is {address} too",
                    other.key()
                ),
            });
        }
    }
    Ok(())
}

/// Nobody else can reach it.
pub(super) fn private(
    layers: &Layers,
    key: &'static str,
    address: SocketAddr,
) -> Result<(), ConfigError> {
    if address.ip().to_canonical().is_loopback() {
        Ok(())
    } else {
        Err(ConfigError::Public {
            origin: layers.origin(key),
            key,
            address,
        })
    }
}

impl Relation {
    fn check(&self, layers: &Layers) -> Result<(), ConfigError> {
        let [small, large] = [self.small, self.large].map(|key| layers.setting(key));
        self.between(small, large)
    }

    fn between(&self, small: Setting, large: Setting) -> Result<(), ConfigError> {
        if large.value == 0 || small.value + self.margin <= large.value {
            return Ok(());
        }
        let relation = match self.margin {
            0 => "at most".to_owned(),
            margin => format!("at least {margin} below"),
        };
        let contradiction = Contradiction {
            small,
            relation,
            large,
            why: self.why,
        };
        Err(ConfigError::Contradiction(Box::new(contradiction)))
    }
}
