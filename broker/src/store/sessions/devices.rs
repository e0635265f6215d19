//! What survives of devices: whose they are, and when they were last here.

use syncline_protocol::{DeviceId, Presence, SyncId, UnixMillis};

/// A device in a sync group.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceKey {
    /// Where.
    pub group: SyncId,
    /// Which.
    pub device: DeviceId,
}

/// Whose a device is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredOwner {
    /// Which device.
    pub key: DeviceKey,
    /// The principal's name.
    pub owner: String,
    /// When the owner used it, to the day.
    pub used_at: UnixMillis,
}

/// What is shown of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPresence {
    /// Where.
    pub group: SyncId,
    /// What; names the device.
    pub presence: Presence,
}

impl StoredPresence {
    /// Which device.
    pub fn key(&self) -> DeviceKey {
        DeviceKey {
            group: self.group.clone(),
            device: self.presence.device,
        }
    }
}
