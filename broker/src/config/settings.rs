//! All keys with their values, to tell what differs from one configuration to the next.

use std::collections::BTreeMap;

use config::{Config, Map, Source, Value, ValueKind};

use super::ConfigError;
use super::error::Origin;

/// What a running broker takes of a configuration that is read again.
const LIVE: [&str; 2] = ["log.level", "store.schema"];

/// Every key with its value as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings(BTreeMap<String, String>);

impl Settings {
    pub(super) fn of(merged: &Config) -> Result<Self, ConfigError> {
        let sections = merged.collect().map_err(|error| ConfigError::BadValue {
            origin: Origin::Default,
            key: String::new(),
            expected: error.to_string(),
        })?;
        let mut settings = BTreeMap::new();
        flatten(&mut settings, "", sections);
        Ok(Self(settings))
    }

    /// The keys of a later configuration that differ and count from the next start on.
    pub fn needing_a_restart(&self, later: &Settings) -> Vec<String> {
        let keys = self.0.keys().chain(later.0.keys());
        let mut differing: Vec<_> = keys
            .filter(|key| self.0.get(*key) != later.0.get(*key))
            .filter(|key| !LIVE.contains(&key.as_str()))
            .cloned()
            .collect();
        differing.sort();
        differing.dedup();
        differing
    }
}

fn flatten(into: &mut BTreeMap<String, String>, above: &str, table: Map<String, Value>) {
    for (key, value) in table {
        let name = match above {
            "" => key,
            above => format!("{above}.{key}"),
        };
        match value.kind {
            ValueKind::Table(table) => flatten(into, &name, table),
            _ => drop(into.insert(name, value.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Environment, Flags, load};

    #[test]
    fn what_differs_and_is_not_live_is_named() {
        let with = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(key, value)| {
                let name = format!("SYNCLINE__{}", key.replace('.', "__").to_uppercase());
                (name, (*value).to_owned())
            });
            let environment: Environment = pairs.collect();
            load(&Flags::default(), &environment).unwrap().settings
        };
        let before = with(&[("limits.inflight_max", "7")]);
        let after = with(&[
            ("limits.inflight_max", "8"),
            ("log.level", "debug"),
            ("history.channels.room.max_events", "5"),
        ]);
        assert_eq!(
            before.needing_a_restart(&after),
            ["history.channels.room.max_events", "limits.inflight_max"]
        );
        assert!(before.needing_a_restart(&before).is_empty());
    }
}
