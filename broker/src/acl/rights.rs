//! What the rules say of one user, before it is known over which connection.

use std::collections::BTreeMap;
use std::str::FromStr;

use syncline_protocol::{DeviceId, Filter, SyncId};

use super::grant::{Grant, Named};
use super::policy::group_access;

/// What may be done with something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Reading.
    Read,
    /// Writing; only a rule about ordinary topics can say this alone.
    Write,
    /// Both.
    ReadWrite,
}

impl Access {
    /// Whether reading is in it.
    pub fn reads(self) -> bool {
        self != Self::Write
    }

    /// Whether writing is in it.
    pub fn writes(self) -> bool {
        self != Self::Read
    }

    /// What either allows.
    pub(super) fn or(self, other: Self) -> Self {
        if self == other { self } else { Self::ReadWrite }
    }
}

impl FromStr for Access {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "r" => Ok(Self::Read),
            "w" => Ok(Self::Write),
            "rw" => Ok(Self::ReadWrite),
            _ => Err(()),
        }
    }
}

/// A rule about ordinary topics: `r home/%u/#`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicRule {
    access: Access,
    filter: String,
}

impl FromStr for TopicRule {
    type Err = String;

    /// Placeholders stand for a whole level, so that a name can never become a part of another one.
    fn from_str(text: &str) -> Result<Self, String> {
        let form = || format!("`{text}` is not a rule such as `rw home/%u/#`, `r` or `w`");
        let (access, filter) = text.split_once(' ').ok_or_else(form)?;
        let access = access.parse().map_err(|()| form())?;
        let parsed = filter.parse::<Filter>().map_err(|_| form())?;
        let partly = |level: &str| level.contains('%') && Placeholder::of(level).is_none();
        if let Some(level) = parsed.levels().find(|level| partly(level)) {
            return Err(format!(
                "`{text}`: `{level}` must be a name, or one of %u (user), %c (client id), %d (device) alone"
            ));
        }
        if parsed.levels().next() == Some("sync") {
            return Err(format!("`{text}`: sync groups stand under `groups`"));
        }
        Ok(Self {
            access,
            filter: filter.to_owned(),
        })
    }
}

/// A name that a connection has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Placeholder {
    User,
    ClientId,
    Device,
}

impl Placeholder {
    fn of(text: &str) -> Option<Self> {
        match text {
            "%u" => Some(Self::User),
            "%c" => Some(Self::ClientId),
            "%d" => Some(Self::Device),
            _ => None,
        }
    }
}

/// The names that placeholders stand for.
#[derive(Debug, Clone, Copy)]
pub struct Connected<'a> {
    /// Empty for the anonymous one.
    pub user: &'a str,
    /// As the client gave it or was given it.
    pub client_id: &'a str,
    /// The connection's device.
    pub device: DeviceId,
}

impl Connected<'_> {
    /// A level with what it stands for. A name with a separator or a wildcard in it, one that begins with `$`, or none,
    /// matches nothing.
    fn level(&self, level: &str) -> Option<String> {
        let name = match Placeholder::of(level) {
            None => return Some(level.to_owned()),
            Some(Placeholder::User) => self.user.to_owned(),
            Some(Placeholder::ClientId) => self.client_id.to_owned(),
            Some(Placeholder::Device) => self.device.to_string(),
        };
        let sound = !name.is_empty() && !name.starts_with('$') && !name.contains(['/', '+', '#']);
        sound.then_some(name)
    }
}

/// What a user may do, over whatever connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    /// Everything.
    pub(super) everything: bool,
    /// By group, `*` for any, or a placeholder.
    pub(super) groups: BTreeMap<String, Access>,
    pub(super) topics: Vec<TopicRule>,
    pub(super) gateway: bool,
}

impl Rights {
    /// Everything.
    pub fn everything() -> Self {
        Self {
            everything: true,
            ..Self::default()
        }
    }

    /// These groups and nothing else.
    pub fn to_groups(groups: impl IntoIterator<Item = (SyncId, Access)>) -> Self {
        let groups = groups.into_iter();
        let named = groups.map(|(group, access)| (group.as_str().to_owned(), access));
        Self {
            groups: named.collect(),
            ..Self::default()
        }
    }

    /// The groups that are named, by a `sync_id` or `*` for all, each with `r` or `rw`.
    pub fn to_named_groups(
        groups: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, String> {
        let groups = groups.into_iter().map(|(group, access)| {
            let access = group_access(&group, &access)?;
            match Placeholder::of(&group) {
                None => Ok((group, access)),
                Some(_) => Err(format!("groups: `{group}` stands for nobody's name here")),
            }
        });
        Ok(Self {
            groups: groups.collect::<Result<_, String>>()?,
            ..Self::default()
        })
    }

    /// What either allows.
    pub fn and(&self, more: &Self) -> Self {
        let mut both = self.clone();
        for (group, access) in &more.groups {
            let entry = both.groups.entry(group.clone()).or_insert(*access);
            *entry = entry.or(*access);
        }
        both.everything |= more.everything;
        both.gateway |= more.gateway;
        both.topics.extend(more.topics.iter().cloned());
        both
    }

    /// Whether events of other devices may be published.
    pub fn is_gateway(&self) -> bool {
        self.gateway
    }

    /// Whether it depends on the device what ordinary topics are named.
    pub fn names_devices(&self) -> bool {
        let mut filters = self.topics.iter().map(|rule| &rule.filter);
        filters.any(|filter| filter.split('/').any(|level| level == "%d"))
    }

    /// What that means for one connection.
    pub fn grant(&self, who: Connected<'_>) -> Grant {
        if self.everything {
            return Grant::All;
        }
        let mut named = Named {
            any_group: self.groups.get("*").copied(),
            ..Named::default()
        };
        for (group, access) in self.groups.iter().filter(|(group, _)| *group != "*") {
            // Whoever may do something with every group may do that with a named one, too.
            let access = named.any_group.map_or(*access, |any| access.or(any));
            if let Some(group) = who.level(group) {
                let entry = named.groups.entry(group.into()).or_insert(access);
                *entry = entry.or(access);
            }
        }
        let topics = self.topics.iter();
        named.topics = topics
            .filter_map(|rule| Some((rule.access, resolve(&rule.filter, who)?)))
            .collect();
        Grant::Only(named)
    }
}

/// A filter with what its placeholders stand for; `None` if that matches nothing.
fn resolve(filter: &str, who: Connected<'_>) -> Option<Filter> {
    let levels = filter.split('/').map(|level| who.level(level));
    let levels: Option<Vec<_>> = levels.collect();
    levels?.join("/").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who<'a>(user: &'a str, client_id: &'a str) -> Connected<'a> {
        Connected {
            user,
            client_id,
            device: DeviceId::from_bytes([7; 16]),
        }
    }

    fn topics(rules: &[&str], who: Connected<'_>) -> Grant {
        let rules = rules.iter().map(|rule| rule.parse().unwrap());
        let rights = Rights {
            topics: rules.collect(),
            ..Rights::default()
        };
        rights.grant(who)
    }

    #[test]
    fn g9_placeholders_stand_for_whole_levels() {
        let grant = topics(&["rw home/%u/#", "w in/%c", "r dev/%d/+"], who("ana", "k1"));
        assert!(grant.reads_topic("home/ana/lamp") && grant.writes_topic("home/ana"));
        assert!(!grant.reads_topic("home/bob/lamp") && !grant.reads_topic("home/%u/lamp"));
        assert!(grant.writes_topic("in/k1") && !grant.reads_topic("in/k1"));
        let device = DeviceId::from_bytes([7; 16]);
        assert!(grant.reads_topic(&format!("dev/{device}/x")));
        assert!(!grant.writes_topic(&format!("dev/{device}/x")));
    }

    #[test]
    fn g9_a_name_with_a_separator_or_a_wildcard_matches_nothing() {
        for name in ["", "a/b", "+", "#", "a#", "/", "+/+"] {
            let grant = topics(&["rw home/%u/x", "rw in/%c"], who(name, name));
            for topic in ["home/a/b/x", "home//x", "home/q/x", "in/q", "in/", "in/a/b"] {
                assert!(!grant.reads_topic(topic), "{name:?} {topic}");
            }
            let own = Rights {
                groups: BTreeMap::from([("%u".to_owned(), Access::ReadWrite)]),
                ..Rights::default()
            };
            assert!(!own.grant(who(name, "k")).may_read("sync/home/events"));
        }
    }

    #[test]
    fn rules_that_are_none_are_refused_with_the_remedy() {
        for (rule, about) in [
            ("home/#", "such as"),
            ("x home", "such as"),
            ("r a#", "such as"),
            ("r a/x%u", "alone"),
            ("rw sync/home/events", "groups"),
        ] {
            let error = rule.parse::<TopicRule>().unwrap_err();
            assert!(error.contains(about), "{error}");
        }
    }

    #[test]
    fn every_group_is_a_floor_for_the_named_ones() {
        let groups = [("*", Access::ReadWrite), ("home", Access::Read)];
        let rights = Rights {
            groups: groups
                .map(|(name, access)| (name.to_owned(), access))
                .into(),
            ..Rights::default()
        };
        let stream = |name: &str| syncline_protocol::StreamId {
            sync_id: name.parse().unwrap(),
            channel: None,
        };
        let grant = rights.grant(who("ana", "k"));
        assert!(grant.writes(&stream("home")) && grant.writes(&stream("other")));
    }
}
