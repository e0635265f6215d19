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
mod hook;
mod origin;
mod passwords;
mod throttle;
mod tokens;
mod waiting;

use std::fmt;

use crate::acl::Rights;

pub use accounts::{Accounts, AccountsOptions, Now};
pub use admission::{Admission, Denied, Proof};
pub use book::{AuthError, AuthFile, Book};
pub use certificates::CertificateName;
pub use credentials::{Credentials, Secret};
pub use guard::{Answered, Guard, GuardOptions};
pub use hook::{HookOptions, HookUrl, HookUrlError};
pub use open_door::OpenDoor;
pub(crate) use origin::Origin;
pub use passwords::{Hash, PasswordError, Passwords, SALT_BYTES, edited};
pub use throttle::ThrottleOptions;
pub use tokens::{KeyError, KeyId, TokenOptions, TokenProof};

/// Decides who somebody is. A host application may bring its own:
///
/// ```no_run
/// use std::sync::Arc;
///
/// use syncline_broker::acl::Rights;
/// use syncline_broker::auth::{Admission, Authenticator, Credentials, Denied, Proof};
/// use syncline_broker::config::{Environment, Flags, load};
/// use syncline_broker::run::Broker;
///
/// struct Household;
///
/// impl Household {
///     fn member(&self, name: &str) -> Result<Admission, Denied> {
///         let home = "home".parse().map_err(|_| Denied::NotAuthorised)?;
///         match name {
///             "ana" | "bob" => Ok(Admission {
///                 user: name.to_owned(),
///                 rights: Rights::to_groups([(home, syncline_broker::acl::Access::ReadWrite)]),
///                 expires_at: None,
///                 proof: Proof::Host("by name".into()),
///             }),
///             _ => Err(Denied::BadCredentials),
///         }
///     }
/// }
///
/// impl Authenticator for Household {
///     fn at_once(&self, shown: &Credentials) -> Option<Result<Admission, Denied>> {
///         Some(self.authenticate(shown))
///     }
///
///     fn authenticate(&self, shown: &Credentials) -> Result<Admission, Denied> {
///         self.member(shown.user.as_deref().unwrap_or_default())
///     }
///
///     fn review(&self, admission: &Admission) -> Result<Admission, Denied> {
///         self.member(&admission.user)
///     }
/// }
///
/// # async fn start() -> Result<(), Box<dyn std::error::Error>> {
/// let mut options = load(&Flags::default(), &Environment::new())?;
/// options.authenticator = Some(Arc::new(Household));
/// let broker = Broker::start(options).await?;
/// // Whenever the members of the household, or what they may do, have changed:
/// broker.review();
/// # Ok(())
/// # }
/// ```
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

impl fmt::Debug for dyn Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authenticator")
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
