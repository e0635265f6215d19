//! `[history.channels.<name>]`: what a channel has of its own.

use std::collections::BTreeMap;

use syncline_protocol::Channel;

use super::layers::Layers;
use super::raw::{HistoryChannel, Raw};
use super::{ConfigError, Contradiction, Setting, checks};
use crate::compactor::{History, Limits};

/// Before the channel's name.
pub(super) const PREFIX: &str = "history.channels.";

/// What of `[history]` a channel may have of its own.
const KEYS: [&str; 4] = ["max_age_ms", "max_events", "max_bytes", "min_age_ms"];

/// Whether a key is a table of the file: that of all channels, or one channel's.
pub(super) fn is_table(key: &str) -> bool {
    let of_all = PREFIX.trim_end_matches('.');
    let name = key.strip_prefix(PREFIX);
    key == of_all || name.is_some_and(|name| split(name).is_none())
}

/// The key of `[history]` in whose place this one stands, if it is a channel's.
pub(super) fn overridden(key: &str) -> Option<String> {
    let (_, own) = split(key.strip_prefix(PREFIX)?)?;
    Some(format!("history.{own}"))
}

/// For whoever wrote another key.
pub(super) fn known() -> String {
    format!("[{PREFIX}<name>] has {}", KEYS.join(", "))
}

/// A name, which may have dots in it, and a key of its own.
fn split(rest: &str) -> Option<(&str, &str)> {
    let (name, own) = rest.rsplit_once('.')?;
    (KEYS.contains(&own) && !name.is_empty()).then_some((name, own))
}

/// The limits of all channels, checked.
pub(super) fn history(layers: &Layers, raw: &Raw) -> Result<History, ConfigError> {
    let history = &raw.history;
    let limits = Limits {
        max_age_ms: history.max_age_ms,
        max_events: history.max_events,
        max_bytes: history.max_bytes,
        min_age_ms: history.min_age_ms,
    };
    let mut channels = BTreeMap::new();
    for (name, own) in &history.channels {
        let channel = channel(layers, name)?;
        check(layers, name, own, &limits)?;
        let own = Limits {
            max_age_ms: own.max_age_ms.unwrap_or(limits.max_age_ms),
            max_events: own.max_events.unwrap_or(limits.max_events),
            max_bytes: own.max_bytes.unwrap_or(limits.max_bytes),
            min_age_ms: own.min_age_ms.unwrap_or(limits.min_age_ms),
        };
        channels.insert(channel, own);
    }
    Ok(History { limits, channels })
}

fn channel(layers: &Layers, name: &str) -> Result<Channel, ConfigError> {
    name.parse().map_err(|_| {
        let key = KEYS.map(|own| format!("{PREFIX}{name}.{own}"));
        let origin = key.iter().find_map(|key| layers.origin_of(key));
        ConfigError::BadValue {
            origin: origin.unwrap_or(super::Origin::Default),
            key: format!("{PREFIX}{name}"),
            expected:
                "a channel: 1 to 64 of A-Z a-z 0-9 . _ -, and not events, state, presence or errors"
                    .to_owned(),
        }
    })
}

/// The bounds and relations of the keys in whose place these stand.
fn check(
    layers: &Layers,
    name: &str,
    own: &HistoryChannel,
    general: &Limits,
) -> Result<(), ConfigError> {
    let values = [
        own.max_age_ms,
        own.max_events,
        own.max_bytes,
        own.min_age_ms,
    ];
    for (key, value) in KEYS.iter().zip(values) {
        let Some(value) = value else { continue };
        let key = format!("{PREFIX}{name}.{key}");
        let origin = layers.origin(&key);
        checks::bound(origin, key, i64::try_from(value).unwrap_or(i64::MAX))?;
    }
    for (key, value) in [("max_events", own.max_events), ("max_bytes", own.max_bytes)] {
        let Some(value) = value else { continue };
        let own = format!("{PREFIX}{name}.{key}");
        let own = Setting {
            origin: layers.origin(&own),
            key: own,
            value: i64::try_from(value).unwrap_or(i64::MAX),
        };
        checks::in_place(layers, &format!("history.{key}"), &own, None)?;
    }
    let setting = |key: &str, own: Option<u64>, general: u64| match own {
        None => layers.setting(&format!("history.{key}")),
        Some(_) => {
            let key = format!("{PREFIX}{name}.{key}");
            Setting {
                origin: layers.origin(&key),
                key,
                value: i64::try_from(own.unwrap_or(general)).unwrap_or(i64::MAX),
            }
        }
    };
    let max_age = setting("max_age_ms", own.max_age_ms, general.max_age_ms);
    let min_age = setting("min_age_ms", own.min_age_ms, general.min_age_ms);
    at_most(min_age, max_age.clone(), checks::WHY_MIN_AGE)?;
    let tombstones = layers.setting("history.tombstone_retention_ms");
    at_most(max_age.clone(), tombstones, checks::WHY_TOMBSTONES)?;
    let devices = layers.setting("history.device_retention_ms");
    at_most(max_age, devices, checks::WHY_DEVICES)
}

fn at_most(small: Setting, large: Setting, why: &'static str) -> Result<(), ConfigError> {
    if small.value <= large.value {
        return Ok(());
    }
    let relation = "at most".to_owned();
    let contradiction = Contradiction {
        small,
        relation,
        large,
        why,
    };
    Err(ConfigError::Contradiction(Box::new(contradiction)))
}
