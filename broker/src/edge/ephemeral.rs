//! Messages that are not stored: presence, errors, the schema.

use std::sync::Arc;

use bytes::Bytes;
use syncline_protocol::Topic;

/// A message that is not stored, in both encodings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ephemeral {
    topic: Arc<str>,
    msgpack: Bytes,
    json: Bytes,
}

impl Ephemeral {
    pub(in crate::edge) fn new(
        topic: &Topic,
        msgpack: impl Into<Bytes>,
        json: impl Into<Bytes>,
    ) -> Self {
        Self {
            topic: topic.to_string().into(),
            msgpack: msgpack.into(),
            json: json.into(),
        }
    }

    /// JSON text in both encodings.
    pub(in crate::edge) fn text(topic: &Topic, text: &str) -> Self {
        let text = Bytes::copy_from_slice(text.as_bytes());
        Self::new(topic, text.clone(), text)
    }

    /// Text on a topic below `$SYS/`.
    pub(in crate::edge) fn figure(topic: &str, text: String) -> Self {
        let text = Bytes::from(text);
        Self {
            topic: topic.into(),
            msgpack: text.clone(),
            json: text,
        }
    }

    /// What clears a retained topic.
    pub(in crate::edge) fn cleared(topic: Arc<str>) -> Self {
        Self {
            topic,
            msgpack: Bytes::new(),
            json: Bytes::new(),
        }
    }

    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    pub(crate) fn shared_topic(&self) -> Arc<str> {
        Arc::clone(&self.topic)
    }

    pub(crate) fn payload(&self, json: bool) -> &Bytes {
        if json { &self.json } else { &self.msgpack }
    }

    /// Whether it clears a retained topic.
    pub(crate) fn is_cleared(&self) -> bool {
        self.msgpack.is_empty()
    }
}
