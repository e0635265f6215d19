//! What a connection shows.

use std::fmt;

use crate::transport::Caller;

/// What a connection shows of itself.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// The user name of the CONNECT.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// A token that comes by itself: in a CONNECT with the authentication method `token`, or to renew an older one.
    pub token: Option<Secret>,
    /// What the transport knows.
    pub caller: Caller,
}

impl Credentials {
    /// Whether the client says nothing of itself.
    pub fn shows_nothing(&self) -> bool {
        self.user.is_none() && !self.shows_secret()
    }

    /// Whether it shows something that can be wrong.
    pub fn shows_secret(&self) -> bool {
        self.password.is_some() || self.token.is_some()
    }
}

/// Bytes that no log gets to see.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes the bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// For whoever compares them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
