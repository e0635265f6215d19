//! Streams as people name them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use syncline_protocol::StreamId;

/// `<sync_id>` or `<sync_id>/<channel>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StreamName(pub StreamId);

/// Not the name of a stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no stream; write <sync_id> or <sync_id>/<channel>, as in home or home/room")]
pub struct NoStream(String);

impl FromStr for StreamName {
    type Err = NoStream;

    fn from_str(text: &str) -> Result<Self, NoStream> {
        let error = || NoStream(text.to_owned());
        let text = text.strip_prefix("sync/").unwrap_or(text);
        let (sync_id, channel) = match text.split_once('/') {
            None => (text, None),
            Some((sync_id, channel)) => (sync_id, Some(channel)),
        };
        Ok(Self(StreamId {
            sync_id: sync_id.parse().map_err(|_| error())?,
            channel: channel.map(str::parse).transpose().map_err(|_| error())?,
        }))
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topic = self.0.to_string();
        let short = topic.strip_prefix("sync/").unwrap_or(&topic);
        // A channel of a group that is called `sync` would be read as a group of its own.
        let is_read_back = !short.starts_with("sync/");
        f.write_str(if is_read_back { short } else { &topic })
    }
}

impl TryFrom<String> for StreamName {
    type Error = NoStream;

    fn try_from(text: String) -> Result<Self, NoStream> {
        text.parse()
    }
}

impl From<StreamName> for String {
    fn from(name: StreamName) -> Self {
        name.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_named_with_or_without_its_channel() {
        for name in ["home", "home/room"] {
            assert_eq!(name.parse::<StreamName>().unwrap().to_string(), name);
        }
        assert_eq!("sync/home/room".parse::<StreamName>(), "home/room".parse());
        for name in ["sync", "sync/sync/room"] {
            let read: StreamName = name.parse().unwrap();
            assert_eq!(read.0.sync_id.as_str(), "sync", "{name}");
            assert_eq!(read.to_string().parse(), Ok(read), "{name}");
        }
        for bad in ["", "a b", "home/", "home/state", "home/a/b"] {
            assert!(bad.parse::<StreamName>().is_err(), "{bad}");
        }
    }
}
