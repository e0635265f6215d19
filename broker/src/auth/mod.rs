//! Who a connection is: what it shows is looked at off its task, and what comes of it is looked at again when the rules
//! change or its time is over.
//!
//! Calling contract: [`Guard::ask`] for every CONNECT, [`Guard::review`] for every connection after a change, in
//! any order. An [`Authenticator`] may block in `authenticate` and `renew`, and must not in the others.

mod admission;
mod credentials;
mod guard;
mod open_door;

mod accounts;
mod book;
mod certificates;
mod origin;
mod passwords;
mod throttle;
mod tokens;
mod waiting;

pub use accounts::{Accounts, AccountsOptions, Now};
pub use admission::{Admission, Denied, Proof};
pub use book::{AuthError, AuthFile, Book};
pub use certificates::CertificateName;
pub use credentials::{Credentials, Secret};
pub use guard::{Answered, Guard, GuardOptions};
pub use open_door::OpenDoor;
pub use passwords::{Hash, PasswordError, Passwords, SALT_BYTES, edited};
pub use throttle::ThrottleOptions;
pub use tokens::{KeyError, KeyId, TokenOptions, TokenProof};

use crate::acl::Rights;

/// Decides who somebody is. The host application may bring its own.
pub trait Authenticator: Send + Sync {
    /// What can be told at once, without reading, waiting or computing for long; `None`: ask [`Authenticator::authenticate`].
    fn at_once(&self, credentials: &Credentials) -> Option<Result<Admission, Denied>>;

    /// Who shows these credentials. May block.
    fn authenticate(&self, credentials: &Credentials) -> Result<Admission, Denied>;

    /// What is true now of somebody who was let in earlier: the rules may have changed, or the proof be worth nothing.
    fn review(&self, admission: &Admission) -> Result<Admission, Denied>;

    /// What a user may do who has a session and no connection, so that no more waits for them than they may read; `None` where
    /// that cannot be told: then everything waits, and is looked at once they come.
    fn rights_of(&self, user: &str) -> Option<Rights> {
        let _ = user;
        None
    }

    /// Somebody who was let in shows a fresh token in [`Credentials::token`], so that the connection can go on. What comes of
    /// it must be the same user's. May block.
    fn renew(&self, admission: &Admission, credentials: &Credentials) -> Result<Admission, Denied> {
        let _ = (admission, credentials);
        Err(Denied::NotRenewable)
    }
}

/// The anonymous one of a broker without authentication, for the tests of other rooms.
#[cfg(test)]
pub(crate) fn anybody() -> Admission {
    Admission {
        user: String::new(),
        rights: crate::acl::Rights::everything(),
        expires_at: None,
        proof: Proof::Anonymous,
    }
}
