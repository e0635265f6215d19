//! The files of `[auth]`, all read together.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::accounts::AccountsOptions;
use super::passwords::{PasswordError, Passwords};
use super::tokens::{KeyError, Keys};
use crate::acl::{Policy, PolicyError};

/// A file, and who named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthFile {
    /// Where it is.
    pub path: PathBuf,
    /// The key that names it and where that was set, for messages.
    pub named_by: String,
}

/// Why files are not taken. Each names the file and who named it.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// It cannot be read.
    #[error("{}: cannot read {}: {source}", file.named_by, file.path.display())]
    Unreadable {
        /// The file.
        file: AuthFile,
        /// Why not.
        source: io::Error,
    },
    /// The password file is not taken.
    #[error("{}: {}, {source}", file.named_by, file.path.display())]
    Passwords {
        /// The file.
        file: AuthFile,
        /// Why not.
        source: PasswordError,
    },
    /// The rule file is not taken.
    #[error("{}: {}, {source}", file.named_by, file.path.display())]
    Policy {
        /// The file.
        file: AuthFile,
        /// Why not.
        source: PolicyError,
    },
    /// A file with keys for tokens is not taken.
    #[error("{}: {}: {source}", file.named_by, file.path.display())]
    Keys {
        /// The file.
        file: AuthFile,
        /// Why not.
        source: KeyError,
    },
}

/// What the files say.
#[derive(Debug)]
pub struct Book {
    pub(super) passwords: Passwords,
    pub(super) policy: Policy,
    pub(super) keys: Keys,
}

impl Book {
    /// Reads the files. Blocks.
    pub fn read(options: &AccountsOptions) -> Result<Self, AuthError> {
        let passwords = options.passwords.as_ref().map(AuthFile::passwords);
        let policy = match &options.acl {
            Some(file) => file.policy()?,
            None if options.authenticates() => Policy::default(),
            None => Policy::open(),
        };
        let keys = options.tokens.as_ref().map(Keys::read);
        Ok(Self {
            passwords: passwords.transpose()?.unwrap_or_default(),
            policy,
            keys: keys.transpose()?.unwrap_or_default(),
        })
    }

    /// How many users have a password.
    pub fn users(&self) -> usize {
        self.passwords.len()
    }

    /// How many keys there are for tokens.
    pub fn token_keys(&self) -> usize {
        self.keys.len()
    }
}

impl AuthFile {
    fn passwords(&self) -> Result<Passwords, AuthError> {
        Passwords::parse(&self.text()?).map_err(|source| AuthError::Passwords {
            file: self.clone(),
            source,
        })
    }

    fn policy(&self) -> Result<Policy, AuthError> {
        Policy::parse(&self.text()?).map_err(|source| AuthError::Policy {
            file: self.clone(),
            source,
        })
    }

    /// What `parse` makes of its bytes.
    pub(super) fn keys<T>(
        &self,
        parse: impl Fn(&[u8]) -> Result<T, KeyError>,
    ) -> Result<T, AuthError> {
        let bytes = fs::read(&self.path).map_err(|source| self.unreadable(source))?;
        parse(&bytes).map_err(|source| AuthError::Keys {
            file: self.clone(),
            source,
        })
    }

    fn text(&self) -> Result<String, AuthError> {
        fs::read_to_string(&self.path).map_err(|source| self.unreadable(source))
    }

    fn unreadable(&self, source: io::Error) -> AuthError {
        AuthError::Unreadable {
            file: self.clone(),
            source,
        }
    }
}
