//! Who is on a connection: the principal, what it may do, and the device that it speaks for.

use std::sync::Arc;

use syncline_protocol::{DeviceId, StreamId};

/// Who a connection is, after authentication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    name: String,
    grant: Grant,
}

impl Principal {
    /// Nobody in particular, who may do everything: the principal of a broker without authentication.
    pub fn anonymous() -> Self {
        Self {
            name: String::new(),
            grant: Grant::All,
        }
    }

    /// The name; empty for the anonymous one.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it may do.
    pub fn grant(&self) -> &Grant {
        &self.grant
    }
}

/// What a principal may read and write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// Every stream.
    All,
}

impl Grant {
    /// Whether events may be written to this stream.
    pub fn writes(&self, _stream: &StreamId) -> bool {
        match self {
            Self::All => true,
        }
    }

    /// Whether messages of this ordinary topic may be read.
    pub fn reads_topic(&self, _topic: &str) -> bool {
        match self {
            Self::All => true,
        }
    }

    /// Whether messages may be published on this ordinary topic.
    pub fn writes_topic(&self, _topic: &str) -> bool {
        match self {
            Self::All => true,
        }
    }
}

/// What a connection is known by once its CONNECT is accepted.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// Who.
    pub(crate) principal: Arc<Principal>,
    /// The connection's device (EVENT-4).
    pub(crate) device: DeviceId,
    /// Whether the client gave that UUID itself; only then is there presence (PRESENCE-2).
    pub(crate) given: bool,
    /// The user property `name` of a v5 CONNECT.
    pub(crate) name: Option<String>,
}

impl Identity {
    /// The identity of an anonymous connection. `device` is the user property of that name, already parsed.
    pub(crate) fn new(
        principal: Arc<Principal>,
        device: Option<DeviceId>,
        client_id: &str,
        name: Option<String>,
    ) -> Self {
        let given = device.or_else(|| client_id.parse().ok());
        let device = given.unwrap_or_else(|| DeviceId::of_client_id(principal.name(), client_id));
        Self {
            principal,
            device,
            given: given.is_some(),
            name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "6a3b0c52-8d64-4d5e-9f39-2f1f2a3b4c5d";

    fn identity(device: Option<&str>, client_id: &str) -> Identity {
        let device = device.map(|text| text.parse().unwrap());
        Identity::new(Arc::new(Principal::anonymous()), device, client_id, None)
    }

    #[test]
    fn event_4_the_property_wins_then_the_client_id_then_a_made_one() {
        let other = "00000000-0000-4000-8000-000000000001";
        assert_eq!(identity(Some(other), UUID).device.to_string(), other);
        assert_eq!(identity(None, UUID).device.to_string(), UUID);
        assert!(identity(None, UUID).given);
        let made = identity(None, "kitchen");
        assert!(!made.given);
        assert_eq!(made.device, DeviceId::of_client_id("", "kitchen"));
    }
}
