//! Events of the music library as JSON text, the way a person types them.

use serde_json::{Map, Value, json};

/// An event that is being put together.
#[derive(Debug, Clone)]
pub struct Star(Map<String, Value>);

impl Star {
    /// Stars an album.
    #[must_use]
    pub fn album(id: &str) -> Self {
        Self::of("star_album", json!({ "album_id": id }))
    }

    /// Takes the star from an album.
    #[must_use]
    pub fn no_album(id: &str) -> Self {
        Self::of("unstar_album", json!({ "album_id": id }))
    }

    /// Any event.
    #[must_use]
    pub fn of(event_type: &str, data: Value) -> Self {
        let mut map = Map::new();
        map.insert("event_type".to_owned(), event_type.into());
        map.insert("event_data".to_owned(), data);
        Self(map)
    }

    /// From a device that counts its events.
    #[must_use]
    pub fn from_device(self, device: &str, device_seq: u64) -> Self {
        self.with("device_uuid", device.into())
            .with("device_seq", device_seq.into())
    }

    /// With the clock of its author.
    #[must_use]
    pub fn at(self, timestamp: u64, counter: u64) -> Self {
        self.with("timestamp", timestamp.into())
            .with("counter", counter.into())
    }

    /// With any further name.
    #[must_use]
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.0.insert(name.to_owned(), value);
        self
    }

    /// The payload.
    #[must_use]
    pub fn json(&self) -> String {
        Value::Object(self.0.clone()).to_string()
    }
}
