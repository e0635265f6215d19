//! On which topics something is retained. Pure: the messages themselves are in the store.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use syncline_protocol::{Filter, UnixMillis};

use crate::store::sessions::Message;

/// Topics that one call of [`RetainedTopics::page`] looks at.
const STEPS_MAX: usize = 4_096;

/// How much may be retained.
#[derive(Debug, Clone, Copy)]
pub struct RetainedLimit {
    /// Messages at most.
    pub messages_max: usize,
    /// Bytes of topics, payloads and properties at most.
    pub bytes_max: u64,
}

/// When something was retained, among all that ever was in this process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

/// Nothing more may be retained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// The topics.
#[derive(Debug, Default)]
pub(crate) struct RetainedTopics {
    held: BTreeMap<Arc<str>, Held>,
    agenda: BTreeSet<(UnixMillis, Arc<str>)>,
    bytes: u64,
    last: Moment,
}

#[derive(Debug)]
struct Held {
    since: Moment,
    bytes: u64,
    expires_at: Option<UnixMillis>,
}

/// A part of the topics that a filter matches.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) topics: Vec<Arc<str>>,
    /// After which topic to go on; `None`: this was the last page.
    pub(crate) next: Option<Arc<str>>,
}

impl RetainedTopics {
    /// A message is retained in place of what was, if there is room.
    pub(crate) fn keep(&mut self, message: &Message, limit: &RetainedLimit) -> Result<(), Full> {
        let topic = message.topic.as_str();
        let before = self.held.get(topic).map_or(0, |held| held.bytes);
        let messages = self.held.len() + usize::from(before == 0);
        let bytes = self.bytes - before + message.weight();
        if messages > limit.messages_max || bytes > limit.bytes_max {
            return Err(Full);
        }
        self.clear(topic);
        self.take(message);
        Ok(())
    }

    /// A message that the store has retained.
    pub(crate) fn found(&mut self, message: &Message) {
        self.take(message);
    }

    fn take(&mut self, message: &Message) {
        let topic: Arc<str> = message.topic.as_str().into();
        self.last = Moment(self.last.0 + 1);
        let held = Held {
            since: self.last,
            bytes: message.weight(),
            expires_at: message.expires_at,
        };
        self.bytes += held.bytes;
        let expires = held.expires_at.map(|at| (at, Arc::clone(&topic)));
        self.agenda.extend(expires);
        self.held.insert(topic, held);
    }

    /// Nothing is retained on a topic any more; whether something was.
    pub(crate) fn clear(&mut self, topic: &str) -> bool {
        let Some((topic, held)) = self.held.remove_entry(topic) else {
            return false;
        };
        self.bytes -= held.bytes;
        if let Some(at) = held.expires_at {
            self.agenda.remove(&(at, topic));
        }
        true
    }

    /// Up to now.
    pub(crate) fn now(&self) -> Moment {
        self.last
    }

    /// Whether what is retained on a topic has been since `moment` or longer: nothing came there after it.
    pub(crate) fn is_since(&self, topic: &str, moment: Moment) -> bool {
        self.held
            .get(topic)
            .is_some_and(|held| held.since <= moment)
    }

    /// Up to `limit` topics that a filter matches and on which nothing came after `moment`, those after `after`.
    pub(crate) fn page(
        &self,
        filter: &Filter,
        moment: Moment,
        after: Option<&str>,
        limit: usize,
    ) -> Page {
        let text = filter.as_str();
        let prefix = text[..text.find(['+', '#']).unwrap_or(text.len())].trim_end_matches('/');
        let start = after.map_or(Bound::Included(prefix), Bound::Excluded);
        let near = self.held.range::<str, _>((start, Bound::Unbounded));
        let mut topics = Vec::new();
        for (step, (topic, held)) in near.enumerate() {
            if !topic.starts_with(prefix) {
                break;
            }
            if held.since <= moment && filter.matches_text(topic) {
                topics.push(Arc::clone(topic));
            }
            if topics.len() == limit || step + 1 == STEPS_MAX {
                let next = Some(Arc::clone(topic));
                return Page { topics, next };
            }
        }
        Page { topics, next: None }
    }

    /// The topics whose message has expired by now; nothing is retained there any more.
    pub(crate) fn expired(&mut self, now: UnixMillis) -> Vec<Arc<str>> {
        let mut expired = Vec::new();
        while let Some((at, topic)) = self.agenda.pop_first() {
            if at > now {
                self.agenda.insert((at, topic));
                break;
            }
            self.clear(&topic);
            expired.push(topic);
        }
        expired
    }

    /// How many messages are retained, and their bytes.
    pub(crate) fn size(&self) -> (usize, u64) {
        (self.held.len(), self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    const LIMIT: RetainedLimit = RetainedLimit {
        messages_max: 3,
        bytes_max: 20,
    };

    fn message(topic: &str, payload: &'static str) -> Message {
        Message {
            topic: topic.to_owned(),
            payload: Bytes::from(payload),
            qos: 1,
            retain: true,
            properties: Bytes::new(),
            expires_at: None,
        }
    }

    fn kept(topics: &[&str]) -> RetainedTopics {
        let mut retained = RetainedTopics::default();
        let limit = RetainedLimit {
            messages_max: 99,
            bytes_max: 999,
        };
        for topic in topics {
            retained.keep(&message(topic, "1"), &limit).unwrap();
        }
        retained
    }

    fn page(retained: &RetainedTopics, filter: &str, after: Option<&str>) -> Vec<String> {
        let page = retained.page(&filter.parse().unwrap(), retained.now(), after, 2);
        page.topics.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn g10_no_more_is_retained_than_may_be() {
        let mut retained = RetainedTopics::default();
        for topic in ["a", "b", "c"] {
            retained.keep(&message(topic, "123"), &LIMIT).unwrap();
        }
        assert_eq!(retained.keep(&message("d", "1"), &LIMIT), Err(Full));
        assert_eq!(retained.size(), (3, 12));
        retained.keep(&message("c", "12345678901"), &LIMIT).unwrap();
        assert_eq!(retained.size(), (3, 20));
        assert_eq!(retained.keep(&message("a", "1234"), &LIMIT), Err(Full));
        assert!(retained.clear("b") && !retained.clear("b"));
        retained.keep(&message("a", "1234"), &LIMIT).unwrap();
        assert_eq!(retained.size(), (2, 17));
    }

    #[test]
    fn pages_name_what_a_filter_matches_in_order() {
        let retained = kept(&["a/1", "a/2", "a/3", "a", "ab", "b/1", "é/x"]);
        assert_eq!(page(&retained, "a/#", None), ["a", "a/1"]);
        assert_eq!(page(&retained, "a/#", Some("a/1")), ["a/2", "a/3"]);
        assert_eq!(page(&retained, "+/1", None), ["a/1", "b/1"]);
        assert_eq!(page(&retained, "a/2", None), ["a/2"]);
        assert_eq!(page(&retained, "é/+", None), ["é/x"]);
        let all = retained.page(&"#".parse().unwrap(), retained.now(), Some("a/3"), 9);
        assert_eq!((all.topics.len(), all.next), (3, None));
    }

    #[test]
    fn what_came_after_the_subscription_is_not_taken_for_retained() {
        let mut retained = kept(&["a", "b"]);
        let moment = retained.now();
        retained.clear("a");
        retained.found(&message("a", "new"));
        let all = retained.page(&"#".parse().unwrap(), moment, None, 9);
        assert_eq!(all.topics, [Arc::from("b")]);
        assert!(retained.is_since("b", moment) && !retained.is_since("a", moment));
    }

    #[test]
    fn what_expired_is_not_retained_any_more() {
        let mut retained = kept(&["stays"]);
        for (topic, at) in [("a", 5), ("b", 9)] {
            let expires_at = Some(UnixMillis::new(at));
            let brief = Message {
                expires_at,
                ..message(topic, "1")
            };
            retained.found(&brief);
        }
        assert_eq!(retained.expired(UnixMillis::new(4)), []);
        assert_eq!(retained.expired(UnixMillis::new(5)), [Arc::from("a")]);
        retained.clear("b");
        assert_eq!(retained.expired(UnixMillis::new(99)), []);
        assert_eq!(retained.size().0, 1);
    }
}
