//! Topics, filters and views: parsed and printed here and nowhere else.

use std::fmt;
use std::str::FromStr;

use crate::ids::{Channel, DeviceId, Epoch, IdError, Seq, StreamId, SyncId};

/// A topic that the broker delivers on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// A stream's events.
    Events(StreamId),
    /// A stream's snapshot.
    State(StreamId),
    /// Whether a device is here.
    Presence(SyncId, DeviceId),
    /// What was refused of a device.
    Errors(SyncId, DeviceId),
    /// The schema and its hash.
    Schema,
}

/// Why a text is not a topic of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// Not one of the table's shapes.
    #[error(
        "not a topic of Syncline: sync/<sync_id>[/<channel>]/events is what can be published on"
    )]
    Unknown,
    /// One of the shapes, with a part that is no id.
    #[error("{0}")]
    Id(#[from] IdError),
}

const SCHEMA_TOPIC: &str = "$SYS/broker/schema";

impl FromStr for Topic {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        if text == SCHEMA_TOPIC {
            return Ok(Self::Schema);
        }
        let levels: Vec<&str> = text.splitn(6, '/').collect();
        match levels[..] {
            ["sync", id, "events"] => Ok(Self::Events(stream(id, None)?)),
            ["sync", id, "state"] => Ok(Self::State(stream(id, None)?)),
            ["sync", id, "presence", it] => Ok(Self::Presence(id.parse()?, device(it)?)),
            ["sync", id, "errors", it] => Ok(Self::Errors(id.parse()?, device(it)?)),
            ["sync", id, channel, "events"] => Ok(Self::Events(stream(id, Some(channel))?)),
            ["sync", id, channel, "state"] => Ok(Self::State(stream(id, Some(channel))?)),
            _ => Err(TopicError::Unknown),
        }
    }
}

/// As topics write it. MQTT compares topics by their bytes, so another spelling is another topic, and none of ours.
fn device(text: &str) -> Result<DeviceId, IdError> {
    let device: DeviceId = text.parse()?;
    if device.to_string() == text {
        Ok(device)
    } else {
        Err(IdError::Device)
    }
}

fn stream(sync_id: &str, channel: Option<&str>) -> Result<StreamId, IdError> {
    let channel = channel.map(Channel::from_str).transpose()?;
    Ok(StreamId {
        sync_id: sync_id.parse()?,
        channel,
    })
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Events(stream) => write!(f, "{stream}/events"),
            Self::State(stream) => write!(f, "{stream}/state"),
            Self::Presence(sync_id, device) => write!(f, "sync/{sync_id}/presence/{device}"),
            Self::Errors(sync_id, device) => write!(f, "sync/{sync_id}/errors/{device}"),
            Self::Schema => f.write_str(SCHEMA_TOPIC),
        }
    }
}

/// An MQTT topic filter, any that MQTT allows.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Filter(Box<str>);

/// Why a text is not a filter or not a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// MQTT does not allow it.
    #[error("not an MQTT topic filter")]
    Malformed,
    /// VIEW-8.
    #[error("shared subscriptions are not served")]
    Shared,
    /// VIEW-1 … VIEW-4.
    #[error(
        "a view that breaks its rules: $json/, then $since/<seq>/, $since/<seq>-<epoch>/ or $at/<seq>/, then the filter"
    )]
    View,
}

impl Filter {
    /// As MQTT writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its levels, wildcards as `+` and `#`.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// Whether it contains `+` or `#`.
    pub fn has_wildcard(&self) -> bool {
        self.levels().any(is_wildcard)
    }

    /// The one topic that it names, if it has no wildcard and names one of ours.
    pub fn exact(&self) -> Option<Topic> {
        if self.has_wildcard() {
            None
        } else {
            self.0.parse().ok()
        }
    }

    /// Whether MQTT delivers a topic to it (TOPIC-5).
    pub fn matches(&self, topic: &Topic) -> bool {
        self.matches_text(&topic.to_string())
    }

    /// [`Filter::matches`], for a topic in its printed form.
    pub fn matches_text(&self, topic: &str) -> bool {
        if topic.starts_with('$') && self.levels().next().is_some_and(is_wildcard) {
            return false;
        }
        let mut topic = topic.split('/');
        for level in self.levels() {
            match (level, topic.next()) {
                ("#", _) => return true,
                ("+", Some(_)) => {}
                (exact, Some(name)) if exact == name => {}
                _ => return false,
            }
        }
        topic.next().is_none()
    }
}

fn is_wildcard(level: &str) -> bool {
    level == "+" || level == "#"
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        let sound = !text.is_empty() && text.len() <= 65_535 && !text.contains('\0');
        let mut levels = text.split('/').peekable();
        let mut allowed = true;
        while let Some(level) = levels.next() {
            let inside = level.contains(['+', '#']) && !is_wildcard(level);
            allowed &= !inside && (level != "#" || levels.peek().is_none());
        }
        if sound && allowed {
            Ok(Self(text.into()))
        } else {
            Err(FilterError::Malformed)
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// From where a subscription starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Start {
    /// What comes after the SUBSCRIBE.
    Now,
    /// VIEW-3.
    Since(Seq),
    /// VIEW-4.
    Resume {
        /// Up to where the client has everything.
        seq: Seq,
        /// Of which history; `Epoch::NONE` the first time.
        epoch: Epoch,
    },
    /// VIEW-7.
    At(Seq),
}

/// A SUBSCRIBE filter with its view.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subscription {
    /// VIEW-2.
    pub json: bool,
    /// VIEW-3, VIEW-4, VIEW-7.
    pub start: Start,
    /// The base filter: what identifies the subscription (VIEW-5).
    pub filter: Filter,
}

impl FromStr for Subscription {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        let (json, text) = match text.strip_prefix("$json/") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (start, text) = parse_start(text)?;
        if ["$share/", "$json/", "$since/", "$at/"]
            .iter()
            .any(|prefix| text.starts_with(prefix))
        {
            let shared = text.starts_with("$share/");
            return Err(if shared {
                FilterError::Shared
            } else {
                FilterError::View
            });
        }
        let subscription = Self {
            json,
            start,
            filter: text.parse()?,
        };
        if subscription.start_fits() {
            Ok(subscription)
        } else {
            Err(FilterError::View)
        }
    }
}

impl Subscription {
    fn start_fits(&self) -> bool {
        let exact = self.filter.exact();
        match self.start {
            Start::Now => true,
            Start::Since(seq) if seq == Seq::ZERO && self.filter.has_wildcard() => true,
            Start::Since(_) | Start::Resume { .. } => matches!(exact, Some(Topic::Events(_))),
            Start::At(_) => matches!(exact, Some(Topic::State(_))),
        }
    }
}

impl fmt::Display for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.json {
            f.write_str("$json/")?;
        }
        match self.start {
            Start::Now => {}
            Start::Since(seq) => write!(f, "$since/{seq}/")?,
            Start::Resume { seq, epoch } if epoch == Epoch::NONE => write!(f, "$since/{seq}-0/")?,
            Start::Resume { seq, epoch } => write!(f, "$since/{seq}-{epoch}/")?,
            Start::At(seq) => write!(f, "$at/{seq}/")?,
        }
        write!(f, "{}", self.filter)
    }
}

fn parse_start(text: &str) -> Result<(Start, &str), FilterError> {
    if let Some(rest) = text.strip_prefix("$since/") {
        let (given, filter) = rest.split_once('/').ok_or(FilterError::View)?;
        return Ok((parse_since(given)?, filter));
    }
    if let Some(rest) = text.strip_prefix("$at/") {
        let (given, filter) = rest.split_once('/').ok_or(FilterError::View)?;
        return Ok((Start::At(parse_seq(given)?), filter));
    }
    Ok((Start::Now, text))
}

fn parse_since(given: &str) -> Result<Start, FilterError> {
    let Some((seq, epoch)) = given.split_once('-') else {
        return parse_seq(given).map(Start::Since);
    };
    let epoch = if epoch == "0" {
        Epoch::NONE
    } else {
        epoch.parse().map_err(|_| FilterError::View)?
    };
    Ok(Start::Resume {
        seq: parse_seq(seq)?,
        epoch,
    })
}

fn parse_seq(text: &str) -> Result<Seq, FilterError> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let seq = text.parse().ok().and_then(Seq::new).filter(|_| digits);
    seq.ok_or(FilterError::View)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: &str = "6a3b0c52-8d64-4d5e-9f39-2f1f2a3b4c5d";

    fn subscription(text: &str) -> Result<Subscription, FilterError> {
        text.parse()
    }

    #[test]
    fn topics_print_as_they_are_parsed() {
        let device = format!("sync/a/presence/{DEVICE}");
        let errors = format!("sync/a/errors/{DEVICE}");
        let topics = [
            "sync/a/events",
            "sync/a/b/events",
            "sync/a/state",
            "sync/a/b/state",
            SCHEMA_TOPIC,
            &device,
            &errors,
        ];
        for text in topics {
            assert_eq!(text.parse::<Topic>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn topic_2_and_3_other_topics_are_none() {
        for text in [
            "a",
            "sync",
            "sync/a",
            "sync/a/b",
            "sync//events",
            "sync/a/presence/events",
            "sync/a/b/c/events",
            "sync/ä/events",
            "ünsync/a/events",
            "sync/a/events/",
            "/sync/a/events",
            "sync/a/presence/x",
            "$SYS/broker",
        ] {
            assert!(text.parse::<Topic>().is_err(), "{text}");
        }
    }

    #[test]
    fn topic_5_filters_match_as_mqtt_says() {
        let events: Topic = "sync/a/events".parse().unwrap();
        for (filter, expected) in [
            ("sync/a/events", true),
            ("sync/#", true),
            ("#", true),
            ("+/+/+", true),
            ("sync/a/events/#", true),
            ("sync/+/events", true),
            ("sync/a", false),
            ("sync/+", false),
            ("+/a/state", false),
        ] {
            assert_eq!(
                filter.parse::<Filter>().unwrap().matches(&events),
                expected,
                "{filter}"
            );
        }
        assert!(!"#".parse::<Filter>().unwrap().matches(&Topic::Schema));
        assert!(
            !"+/broker/schema"
                .parse::<Filter>()
                .unwrap()
                .matches(&Topic::Schema)
        );
        assert!("$SYS/#".parse::<Filter>().unwrap().matches(&Topic::Schema));
    }

    #[test]
    fn filters_that_mqtt_forbids_are_malformed() {
        for text in ["", "a#", "a/#/b", "a+/b", "#/", "a\0"] {
            assert_eq!(
                text.parse::<Filter>(),
                Err(FilterError::Malformed),
                "{text:?}"
            );
        }
    }

    #[test]
    fn view_1_prefixes_come_in_their_order() {
        let both = subscription("$json/$since/7/sync/a/events").unwrap();
        assert!(both.json);
        assert_eq!(both.start, Start::Since(Seq::new(7).unwrap()));
        assert_eq!(both.filter.as_str(), "sync/a/events");
        assert_eq!(
            subscription("$since/7/$json/sync/a/events"),
            Err(FilterError::View)
        );
    }

    #[test]
    fn view_3_and_4_starts_fit_their_filters() {
        for good in [
            "$since/0/sync/#",
            "$since/0/sync/a/events",
            "$since/5/sync/a/b/events",
            "$since/0-0/sync/a/events",
            "$since/9-00000000000000ff/sync/a/events",
            "$at/3/sync/a/state",
            "sync/+/events",
        ] {
            assert_eq!(subscription(good).unwrap().to_string(), good);
        }
        for bad in [
            "$since/1/sync/#",
            "$since/0-0/sync/#",
            "$since/x/sync/a/events",
            "$since/+1/sync/a/events",
            "$since/1-ff/sync/a/events",
            "$since/9007199254740992/sync/a/events",
            "$at/1/sync/a/events",
            "$since/1/sync/a/state",
            "$since/1",
            "$json/$json/a",
        ] {
            assert_eq!(subscription(bad), Err(FilterError::View), "{bad}");
        }
    }

    #[test]
    fn view_8_shares_are_refused_under_any_view() {
        assert_eq!(
            subscription("$share/g/sync/a/events"),
            Err(FilterError::Shared)
        );
        assert_eq!(
            subscription("$json/$share/g/sync/a/events"),
            Err(FilterError::Shared)
        );
    }
}
