//! What comes of a CONNECT.

use syncline_protocol::UnixMillis;

use super::passwords::Hash;
use crate::acl::Rights;

/// Somebody was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// Who; empty for the anonymous one.
    pub user: String,
    /// What the rules say of them.
    pub rights: Rights,
    /// When that ends.
    pub expires_at: Option<UnixMillis>,
    /// By what they were let in.
    pub proof: Proof,
}

/// What somebody has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// Nothing.
    Anonymous,
    /// The password that this line of the password file stands for.
    Password(Hash),
}

/// Why somebody was not let in. A client is not told more than that, so that nobody learns which names there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// What it shows is wrong, or it shows nothing where something is asked for.
    #[error("bad user name or password")]
    BadCredentials,
    /// It may not come in, whatever it shows.
    #[error("not authorised")]
    NotAuthorised,
    /// Too many of its address have failed of late.
    #[error("too many failed attempts from this address; wait a minute")]
    Throttled,
    /// As many wait as may.
    #[error("too many clients connect at once; try again")]
    Busy,
}
