//! What one connection may do.

use std::collections::BTreeMap;

use syncline_protocol::{Filter, StreamId, Topic};

use super::rights::Access;

/// Who a connection is, after authentication, and what it may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    name: String,
    grant: Grant,
    is_gateway: bool,
}

impl Principal {
    /// Nobody in particular, who may do everything: the principal of a broker without authentication.
    pub fn anonymous() -> Self {
        Self::new(String::new(), Grant::All, false)
    }

    /// Somebody. The name of whoever is not authenticated is empty. A gateway may publish for other devices than its own.
    pub fn new(name: String, grant: Grant, is_gateway: bool) -> Self {
        Self {
            name,
            grant,
            is_gateway,
        }
    }

    /// The name; empty for the anonymous one.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it said who it is.
    pub fn is_authenticated(&self) -> bool {
        !self.name.is_empty()
    }

    /// What it may do.
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// Whether it may publish events of devices that are not its own (EVENT-4).
    pub fn is_gateway(&self) -> bool {
        self.is_gateway
    }
}

/// What a principal may read and write over one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// Everything.
    All,
    /// What is named, and nothing else.
    Only(Named),
}

/// What is granted by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    /// By sync group.
    pub(super) groups: BTreeMap<Box<str>, Access>,
    /// To all other groups.
    pub(super) any_group: Option<Access>,
    /// To ordinary topics and those below `$SYS`.
    pub(super) topics: Vec<(Access, Filter)>,
}

impl Grant {
    /// Whether events and states of this stream may be read.
    pub fn reads(&self, stream: &StreamId) -> bool {
        self.reads_group(stream.sync_id.as_str())
    }

    /// Whether events may be written to this stream.
    pub fn writes(&self, stream: &StreamId) -> bool {
        let access = self.access(stream.sync_id.as_str());
        access.is_some_and(Access::writes)
    }

    /// Whether messages of this ordinary topic may be read.
    pub fn reads_topic(&self, topic: &str) -> bool {
        self.allows_topic(topic, Access::reads)
    }

    /// Whether messages may be published on this ordinary topic.
    pub fn writes_topic(&self, topic: &str) -> bool {
        self.allows_topic(topic, Access::writes)
    }

    /// Whether a message on this topic, of whatever kind, may be delivered. The schema belongs to everybody: without it no
    /// state can be understood.
    pub fn may_read(&self, topic: &str) -> bool {
        match (self, group(topic)) {
            (Self::All, _) => true,
            (_, Some(group)) => self.reads_group(group),
            (_, None) => topic == Topic::Schema.to_string() || self.reads_topic(topic),
        }
    }

    /// Whether a subscription may begin (G9): without a wildcard if what it names may be read, with one always, because it
    /// brings what may be read and nothing else.
    pub fn may_subscribe(&self, filter: &Filter) -> bool {
        filter.has_wildcard() || self.may_read(filter.as_str())
    }

    fn reads_group(&self, group: &str) -> bool {
        self.access(group).is_some_and(Access::reads)
    }

    fn access(&self, group: &str) -> Option<Access> {
        match self {
            Self::All => Some(Access::ReadWrite),
            Self::Only(named) => named.groups.get(group).copied().or(named.any_group),
        }
    }

    fn allows_topic(&self, topic: &str, allows: impl Fn(Access) -> bool) -> bool {
        match self {
            Self::All => true,
            // Sync groups have rules of their own.
            Self::Only(_) if group(topic).is_some() => false,
            Self::Only(named) => {
                let mut rules = named.topics.iter();
                rules.any(|(access, filter)| allows(*access) && filter.matches_text(topic))
            }
        }
    }
}

/// The group in whose part of the tree a topic lies; an empty one where there is none.
fn group(topic: &str) -> Option<&str> {
    let rest = match topic.strip_prefix("sync") {
        Some("") => return Some(""),
        Some(rest) => rest.strip_prefix('/')?,
        None => return None,
    };
    Some(rest.split('/').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g9_what_no_rule_names_is_not_granted() {
        let nothing = Grant::Only(Named::default());
        for topic in [
            "sync/home/events",
            "sync",
            "sync/",
            "a",
            "$SYS/broker/uptime",
        ] {
            assert!(!nothing.may_read(topic), "{topic}");
            assert!(!nothing.writes_topic(topic), "{topic}");
            assert!(Grant::All.may_read(topic), "{topic}");
        }
        assert!(nothing.may_read("$SYS/broker/schema"));
        assert!(!nothing.writes_topic("$SYS/broker/schema"));
    }

    #[test]
    fn g9_a_rule_for_all_topics_opens_no_group() {
        let filter = "#".parse().unwrap();
        let grant = Grant::Only(Named {
            topics: vec![(Access::ReadWrite, filter)],
            ..Named::default()
        });
        assert!(grant.reads_topic("synchrony") && grant.writes_topic("a/b"));
        assert!(!grant.reads_topic("sync/home/events") && !grant.writes_topic("sync/home/events"));
        assert!(!grant.may_read("sync/home/state") && !grant.may_read("$SYS/broker/uptime"));
    }
}
