//! The devices of a group, as presence messages tell them (PRESENCE-1). Known only while connected.

use std::collections::BTreeMap;

use syncline_protocol::{DeviceId, Presence, Seq, StreamId, Topic, UnixMillis};

/// A device of the group, as the broker tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Which.
    pub id: DeviceId,
    /// What its owner calls it.
    pub name: Option<String>,
    /// Whether it has a connection.
    pub online: bool,
    /// When that last changed.
    pub since: UnixMillis,
    /// Up to where it has everything of this client's stream; it is told at most once a second.
    pub acked: Option<Seq>,
    /// Whether it is this very device.
    pub own: bool,
}

/// What was told so far on a connection.
#[derive(Debug)]
pub(crate) struct Devices {
    stream: StreamId,
    known: BTreeMap<DeviceId, Presence>,
}

impl Devices {
    pub(crate) fn new(stream: StreamId) -> Self {
        Self {
            stream,
            known: BTreeMap::new(),
        }
    }

    /// Every device of the group.
    pub(crate) fn filter(&self) -> String {
        format!("sync/{}/presence/+", self.stream.sync_id)
    }

    /// Takes a message; false if it is about something else. An empty one says that the device is forgotten (PRESENCE-3).
    pub(crate) fn take(&mut self, topic: &str, payload: &[u8]) -> bool {
        let Ok(Topic::Presence(sync_id, device)) = topic.parse::<Topic>() else {
            return false;
        };
        if sync_id != self.stream.sync_id {
            return false;
        }
        if payload.is_empty() {
            self.known.remove(&device);
            return true;
        }
        match Presence::decode(payload) {
            Ok(presence) => drop(self.known.insert(device, presence)),
            Err(error) => tracing::warn!(%device, %error, "a presence message cannot be read"),
        }
        true
    }

    /// Without a connection nobody is known to be here.
    pub(crate) fn clear(&mut self) {
        self.known.clear();
    }

    pub(crate) fn list(&self, own: DeviceId) -> Vec<Device> {
        let channel = self.stream.channel.as_ref();
        let channel = channel.map(ToString::to_string).unwrap_or_default();
        let device = |(id, presence): (&DeviceId, &Presence)| Device {
            id: *id,
            name: presence.name.clone(),
            online: presence.online,
            since: presence.since,
            acked: presence.acked.get(&channel).copied(),
            own: *id == own,
        };
        self.known.iter().map(device).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phone() -> DeviceId {
        DeviceId::from_bytes([1; 16])
    }

    fn presence(name: Option<&str>) -> Vec<u8> {
        let presence = Presence {
            device: phone(),
            online: true,
            since: UnixMillis::new(7),
            name: name.map(str::to_owned),
            acked: [("jam".to_owned(), Seq::new(4).unwrap())].into(),
        };
        presence.encode()
    }

    #[test]
    fn told_2_presence_1_a_device_is_told_with_what_it_has_of_this_stream() {
        let stream = StreamId {
            sync_id: "music".parse().unwrap(),
            channel: Some("jam".parse().unwrap()),
        };
        let mut devices = Devices::new(stream);
        let topic = format!("sync/music/presence/{}", phone());
        assert!(devices.take(&topic, &presence(Some("phone"))));
        let list = devices.list(phone());
        assert_eq!((list[0].acked, list[0].own), (Seq::new(4), true));
        assert_eq!(list[0].name.as_deref(), Some("phone"));
        // What cannot be read changes nothing; what is empty, forgets.
        assert!(devices.take(&topic, b"x"));
        assert_eq!(devices.list(phone()), list);
        assert!(devices.take(&topic, b""));
        assert_eq!(devices.list(phone()), []);
    }

    #[test]
    fn messages_about_something_else_are_left_to_others() {
        let sync_id = "music".parse().unwrap();
        let mut devices = Devices::new(StreamId {
            sync_id,
            channel: None,
        });
        for topic in [
            "sync/music/events".to_owned(),
            format!("sync/other/presence/{}", phone()),
            "sync/music/presence/phone".to_owned(),
        ] {
            assert!(!devices.take(&topic, &presence(None)), "{topic}");
        }
    }
}
