//! What comes of a CONNECT.

use syncline_protocol::UnixMillis;

use super::passwords::Hash;
use super::tokens::TokenProof;
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

impl Admission {
    /// Whether its time is over.
    pub fn has_ended(&self, now: UnixMillis) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

/// What somebody has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// Nothing.
    Anonymous,
    /// The password that this line of the password file stands for.
    Password(Hash),
    /// A token.
    Token(TokenProof),
    /// The certificate of its connection, which names it.
    Certificate,
}

/// Why somebody was not let in. A client is not told more than that, so that nobody learns which names there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// What it shows is wrong, or it shows nothing where something is asked for.
    #[error("bad user name, password or token")]
    BadCredentials,
    /// It may not come in, whatever it shows.
    #[error("not authorised")]
    NotAuthorised,
    /// What it shows was right once.
    #[error("the token has expired")]
    Expired,
    /// The new token is another user's.
    #[error("the token is another user's")]
    OtherUser,
    /// It came in by something that cannot be renewed.
    #[error("only who came in with a token renews it")]
    NotRenewable,
    /// It asks for an authentication method that is not served.
    #[error("this authentication method is not served")]
    Method,
    /// It has failed too often of late, or too many of its address have.
    #[error("too many failed attempts; wait a minute")]
    Throttled,
    /// As many wait as may.
    #[error("too many clients connect at once; try again")]
    Busy,
}
