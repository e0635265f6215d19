//! A broker without authentication.

use super::{Admission, Authenticator, Credentials, Denied, Proof};
use crate::acl::{Policy, Rights};

/// Lets everybody in as the anonymous one, whatever they show.
#[derive(Debug, Clone)]
pub struct OpenDoor {
    policy: Policy,
}

impl OpenDoor {
    /// With what the anonymous one may do.
    pub fn new(policy: Policy) -> Self {
        Self { policy }
    }
}

impl Authenticator for OpenDoor {
    fn at_once(&self, credentials: &Credentials) -> Option<Result<Admission, Denied>> {
        Some(self.authenticate(credentials))
    }

    fn authenticate(&self, credentials: &Credentials) -> Result<Admission, Denied> {
        if credentials.token.is_some() {
            return Err(Denied::Method);
        }
        Ok(Admission {
            user: String::new(),
            rights: self.policy.rights(""),
            expires_at: None,
            proof: Proof::Anonymous,
        })
    }

    fn rights_of(&self, user: &str) -> Option<Rights> {
        Some(self.policy.rights(user))
    }

    fn review(&self, admission: &Admission) -> Result<Admission, Denied> {
        Ok(admission.clone())
    }
}
