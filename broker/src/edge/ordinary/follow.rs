//! What a subscription to ordinary topics names: a filter, perhaps as a member of a group that shares it.

use syncline_protocol::Filter;

const SHARE: &str = "$share/";

/// What is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Follow {
    /// Of `$share/<group>/<filter>`.
    pub(crate) group: Option<Box<str>>,
    pub(crate) filter: Filter,
}

impl Follow {
    /// What a base filter follows outside `sync/` and `$`; `None` if no ordinary topic can match it.
    pub(crate) fn of(base: &Filter) -> Option<Self> {
        match base.as_str().strip_prefix(SHARE) {
            Some(shared) => Self::shared(shared),
            None => is_outside(base.as_str()).then(|| Self {
                group: None,
                filter: base.clone(),
            }),
        }
    }

    fn shared(text: &str) -> Option<Self> {
        let (group, filter) = text.split_once('/')?;
        let sound = !group.is_empty() && !group.contains(['+', '#']);
        (sound && is_outside(filter)).then_some(())?;
        Some(Self {
            group: Some(group.into()),
            filter: filter.parse().ok()?,
        })
    }
}

/// Whether the text of a SUBSCRIBE asks for a share.
pub(crate) fn is_share(text: &str) -> bool {
    text.starts_with(SHARE)
}

/// Whether messages on a topic, or those that match a filter, may be ordinary ones.
pub(crate) fn is_outside(topic: &str) -> bool {
    let first = topic.split('/').next().unwrap_or_default();
    first != "sync" && !first.starts_with('$')
}

/// Levels of a topic or a filter at most: whoever matches them goes down one step of its stack for each.
const LEVELS_MAX: usize = 128;

/// Whether a client may publish under this name, as far as MQTT goes, and no deeper than is served.
pub(crate) fn is_topic_name(topic: &str) -> bool {
    !topic.is_empty() && !topic.contains(['+', '#', '\0']) && !is_too_deep(topic)
}

/// Whether a topic or a filter has more levels than are served.
pub(crate) fn is_too_deep(text: &str) -> bool {
    text.split('/').nth(LEVELS_MAX).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(text: &str) -> Option<(Option<String>, String)> {
        let follow = Follow::of(&text.parse().unwrap())?;
        let group = follow.group.map(String::from);
        Some((group, follow.filter.to_string()))
    }

    #[test]
    fn topic_6_what_lies_outside_sync_is_followed_as_it_is() {
        let plain = |text: &str| Some((None, text.to_owned()));
        for text in ["a/b", "#", "+/x", "/", "synchrony/x"] {
            assert_eq!(follow(text), plain(text));
        }
        for text in ["sync", "sync/#", "sync/a/events", "$SYS/#", "$x"] {
            assert_eq!(follow(text), None, "{text}");
        }
    }

    #[test]
    fn topic_7_a_share_names_a_group_and_a_filter_outside_sync() {
        let shared = |group: &str, filter: &str| Some((Some(group.into()), filter.into()));
        assert_eq!(follow("$share/g/a/+"), shared("g", "a/+"));
        assert_eq!(follow("$share/g/#"), shared("g", "#"));
        assert_eq!(follow("$share/g//a"), shared("g", "/a"));
        for text in [
            "$share/g",
            "$share//a",
            "$share/+/a",
            "$share/g/sync/x",
            "$share/g/$SYS/x",
            "$share/g/",
        ] {
            assert_eq!(follow(text), None, "{text}");
        }
    }
}
