//! The rule file: who may do what.

use std::collections::BTreeMap;

use serde::Deserialize;
use syncline_protocol::SyncId;
use toml::Spanned;

use super::rights::{Access, Rights, TopicRule};

/// What a rule file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    everyone: Rights,
    anonymous: Rights,
    users: BTreeMap<String, Rights>,
}

/// Why a rule file is not taken. The texts are for the person who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// It is not TOML, or has names that there are none of.
    #[error("line {line}: {message}")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A rule is none.
    #[error("line {line}: [{section}] {message}")]
    Rule {
        /// Counted from 1.
        line: usize,
        /// Of whom.
        section: String,
        /// What is wrong.
        message: String,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPolicy {
    #[serde(default)]
    everyone: RawRights,
    #[serde(default)]
    anonymous: RawRights,
    #[serde(default)]
    users: BTreeMap<String, RawRights>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRights {
    #[serde(default)]
    everything: bool,
    #[serde(default)]
    groups: BTreeMap<Spanned<String>, String>,
    #[serde(default)]
    topics: Vec<Spanned<String>>,
    #[serde(default)]
    gateway: bool,
}

impl Policy {
    /// Nobody has a rule, and the anonymous one may do everything: a broker for whoever reaches it.
    pub fn open() -> Self {
        Self {
            anonymous: Rights::everything(),
            ..Self::default()
        }
    }

    /// Reads a rule file.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let raw: RawPolicy = toml::from_str(text).map_err(|error| syntax(text, &error))?;
        let users = raw.users.into_iter().map(|(name, raw)| {
            let rights = raw.rights(text, &format!("users.{name}"))?;
            Ok((name, rights))
        });
        Ok(Self {
            everyone: raw.everyone.rights(text, "everyone")?,
            anonymous: raw.anonymous.rights(text, "anonymous")?,
            users: users.collect::<Result<_, _>>()?,
        })
    }

    /// What a user may do; an empty name is the anonymous one, for whom nothing counts that is for everyone.
    pub fn rights(&self, user: &str) -> Rights {
        match (user, self.users.get(user)) {
            ("", _) => self.anonymous.clone(),
            (_, Some(own)) => self.everyone.and(own),
            (_, None) => self.everyone.clone(),
        }
    }
}

impl RawRights {
    fn rights(self, file: &str, section: &str) -> Result<Rights, PolicyError> {
        let wrong = |at: usize, message: String| PolicyError::Rule {
            line: line(file, at),
            section: section.to_owned(),
            message,
        };
        let groups = self.groups.into_iter().map(|(group, access)| {
            let access = group_access(group.get_ref(), &access)
                .map_err(|message| wrong(group.span().start, message))?;
            Ok((group.into_inner(), access))
        });
        let topics = self.topics.iter().map(|rule| {
            let parsed = rule.get_ref().parse::<TopicRule>();
            parsed.map_err(|message| wrong(rule.span().start, message))
        });
        Ok(Rights {
            everything: self.everything,
            groups: groups.collect::<Result<_, _>>()?,
            topics: topics.collect::<Result<_, _>>()?,
            gateway: self.gateway,
        })
    }
}

pub(super) fn group_access(group: &str, access: &str) -> Result<Access, String> {
    if matches!(group, "%c" | "%d") {
        return Err(format!(
            "groups: `{group}` is what a client says of itself, so it would open every group; use %u, or name the group"
        ));
    }
    if !matches!(group, "*" | "%u") && group.parse::<SyncId>().is_err() {
        return Err(format!(
            "groups: `{group}` is neither a sync_id nor one of *, %u"
        ));
    }
    let access = access.parse().ok().filter(|it| *it != Access::Write);
    access.ok_or_else(|| format!("groups: `{group}` must be \"r\" or \"rw\""))
}

fn syntax(text: &str, error: &toml::de::Error) -> PolicyError {
    let at = error.span().map_or(0, |span| span.start);
    PolicyError::Syntax {
        line: line(text, at),
        message: error.message().to_owned(),
    }
}

fn line(text: &str, at: usize) -> usize {
    let before = text.get(..at).unwrap_or(text);
    1 + before.matches('\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acl::{Connected, Grant};
    use syncline_protocol::DeviceId;

    const FILE: &str = r#"
        [everyone]
        groups = { "%u" = "rw", lobby = "r" }
        topics = ["rw chat/%u/#"]
        [anonymous]
        groups = { lobby = "r" }
        [users.ana]
        groups = { home = "rw", lobby = "rw" }
        [users.bridge]
        groups = { "*" = "rw" }
        gateway = true
        [users.root]
        everything = true
    "#;

    fn grant(user: &str) -> Grant {
        let who = Connected {
            user,
            client_id: "k",
            device: DeviceId::from_bytes([7; 16]),
        };
        Policy::parse(FILE).unwrap().rights(user).grant(who)
    }

    #[test]
    fn a_user_has_what_everyone_has_and_its_own() {
        let writes = |user, group: &str| {
            let stream = syncline_protocol::StreamId {
                sync_id: group.parse().unwrap(),
                channel: None,
            };
            (grant(user).reads(&stream), grant(user).writes(&stream))
        };
        assert_eq!(writes("ana", "home"), (true, true));
        assert_eq!(writes("ana", "ana"), (true, true));
        assert_eq!(writes("ana", "lobby"), (true, true));
        assert_eq!(writes("ana", "bob"), (false, false));
        assert_eq!(writes("bob", "lobby"), (true, false));
        assert_eq!(writes("bob", "home"), (false, false));
        assert_eq!(writes("", "lobby"), (true, false));
        assert_eq!(writes("", "home"), (false, false));
        assert_eq!(writes("bridge", "any"), (true, true));
        assert_eq!(grant("root"), Grant::All);
        assert!(grant("bob").writes_topic("chat/bob/x") && !grant("").reads_topic("chat//x"));
    }

    #[test]
    fn the_file_that_comes_with_the_broker_is_taken() {
        let policy = Policy::parse(include_str!("../../../config/acl.toml")).unwrap();
        assert!(!policy.rights("admin").is_gateway());
        assert!(policy.rights("bridge").is_gateway());
    }

    #[test]
    fn a_file_that_is_wrong_says_where() {
        for (text, about) in [
            ("[users.ana]\ngroup = {}", "line 2"),
            ("[users.ana]\ngroups = { home = \"x\" }", "[users.ana]"),
            ("[everyone]\ngroups = { \"a b\" = \"r\" }", "`a b`"),
            (
                "[everyone]\n[users.ana.groups]\nhome = \"r\"\n\"%c\" = \"r\"",
                "line 4: [users.ana] groups: `%c` is what a client says of itself",
            ),
            (
                "[users.ana]\n\ngroups = { \"%d\" = \"rw\" }",
                "line 3: [users.ana] groups: `%d`",
            ),
            ("[users.ana]\ntopics = [\n\"r a\",\n\"x a\"]", "line 4"),
            ("[everyone]\ntopics = [\"home\"]", "[everyone]"),
            (
                "[everyone]\ngroups = { home = \"w\" }",
                "must be \"r\" or \"rw\"",
            ),
        ] {
            let error = Policy::parse(text).unwrap_err().to_string();
            assert!(error.contains(about), "{text}: {error}");
        }
    }
}
