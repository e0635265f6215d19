//! Who is on a connection: the principal, and the device that it speaks for.

use std::sync::Arc;

use syncline_protocol::DeviceId;

use crate::acl::{Connected, Principal};
use crate::auth::{Admission, Guard};
use crate::store::sessions::SessionKey;

/// What a connection is known by once its CONNECT is accepted.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// Who, and what it may do.
    pub(crate) principal: Arc<Principal>,
    /// By what.
    pub(crate) admission: Admission,
    /// As the client gave it or was given it.
    pub(crate) client_id: String,
    /// The connection's device (EVENT-4).
    pub(crate) device: DeviceId,
    /// Whether the client gave that UUID itself; only then is there presence (PRESENCE-2).
    pub(crate) given: bool,
    /// The user property `name` of a v5 CONNECT.
    pub(crate) name: Option<String>,
}

impl Identity {
    /// Of a connection that was let in. `device` is the user property of that name, already parsed.
    pub(crate) fn new(
        admission: Admission,
        device: Option<DeviceId>,
        client_id: &str,
        name: Option<String>,
    ) -> Self {
        let given = device.or_else(|| client_id.parse().ok());
        let device = given.unwrap_or_else(|| DeviceId::of_client_id(&admission.user, client_id));
        Self {
            principal: Arc::new(principal(&admission, client_id, device)),
            admission,
            client_id: client_id.to_owned(),
            device,
            given: given.is_some(),
            name,
        }
    }

    /// The same connection with what is true of it now.
    pub(crate) fn reviewed(&self, admission: Admission) -> Self {
        Self {
            principal: Arc::new(principal(&admission, &self.client_id, self.device)),
            admission,
            ..self.clone()
        }
    }
}

/// Whoever a session belongs to that has no connection, as far as it can be told what they may read. `None`: let it wait for them.
pub(crate) fn absent(guard: &Guard, key: &SessionKey) -> Option<Arc<Principal>> {
    let rights = guard.rights_of(&key.principal)?;
    let given = key.client_id.parse().ok();
    if given.is_none() && rights.names_devices() {
        // Its last connection may have named another device.
        return None;
    }
    let made = || DeviceId::of_client_id(&key.principal, &key.client_id);
    let grant = rights.grant(Connected {
        user: &key.principal,
        client_id: &key.client_id,
        device: given.unwrap_or_else(made),
    });
    let name = key.principal.clone();
    Some(Arc::new(Principal::new(name, grant, rights.is_gateway())))
}

fn principal(admission: &Admission, client_id: &str, device: DeviceId) -> Principal {
    let user = &admission.user;
    let grant = admission.rights.grant(Connected {
        user,
        client_id,
        device,
    });
    Principal::new(user.clone(), grant, admission.rights.is_gateway())
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "6a3b0c52-8d64-4d5e-9f39-2f1f2a3b4c5d";

    fn identity(device: Option<&str>, client_id: &str) -> Identity {
        let device = device.map(|text| text.parse().unwrap());
        Identity::new(crate::auth::anybody(), device, client_id, None)
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
