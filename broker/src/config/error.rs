//! Why a configuration is not taken, and where the culprit stands.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Where a value was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A flag of the command line.
    Flag(&'static str),
    /// A variable of the environment.
    Variable(String),
    /// A line of a file.
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// The compiled-in defaults.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => f.write_str(flag),
            Self::Variable(name) => f.write_str(name),
            Self::Line { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// Why a configuration is not taken. The texts are for the person at the terminal.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file that was named cannot be read.
    #[error("{origin}: cannot read {}: {source}", path.display())]
    Unreadable {
        /// Who named the file.
        origin: Origin,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is not TOML.
    #[error("{origin}: {message}")]
    Syntax {
        /// The line.
        origin: Origin,
        /// What the parser says.
        message: String,
    },
    /// A key that does not exist.
    #[error("{origin}: `{key}` is not a key; {known}")]
    UnknownKey {
        /// Where it stands.
        origin: Origin,
        /// Its name.
        key: String,
        /// What there is instead.
        known: String,
    },
    /// A value that the key does not take.
    #[error("{origin}: `{key}` must be {expected}")]
    BadValue {
        /// Where it stands.
        origin: Origin,
        /// The key.
        key: String,
        /// What it takes.
        expected: String,
    },
    /// Two limits that contradict each other.
    #[error(transparent)]
    Contradiction(Box<Contradiction>),
    /// An address for everybody, without authentication.
    #[error(
        "{origin}: `{key}` is {address}, which other machines can reach, and there is no authentication. \
         Use a loopback address such as 127.0.0.1:{port}, name users and rules with `auth.passwords` and `auth.acl` (see \
         `syncline passwd --help`), or let everybody who reaches it read and write everything, with this \
         in the configuration file:\n\n    [auth]\n    anonymous_on_public_addresses = true\n\n\
         or SYNCLINE__AUTH__ANONYMOUS_ON_PUBLIC_ADDRESSES=true in the environment.",
        port = address.port()
    )]
    Public {
        /// Where it was set.
        origin: Origin,
        /// The key.
        key: &'static str,
        /// The address.
        address: std::net::SocketAddr,
    },
    /// The schema is not taken.
    #[error("{origin}: {message}")]
    Schema {
        /// The schema's file, and the line if it is known.
        origin: String,
        /// What is wrong.
        message: String,
    },
}

/// Two limits that contradict each other: `small` is too large for `large`.
#[derive(Debug, thiserror::Error)]
#[error(
    "{small} must be {relation} {large}: {why}. Lower `{}` or raise `{}`.",
    small.key,
    large.key
)]
pub struct Contradiction {
    /// The one that must be smaller.
    pub small: Setting,
    /// `at most`, or by how much.
    pub relation: String,
    /// The one that must be larger.
    pub large: Setting,
    /// What goes wrong otherwise.
    pub why: &'static str,
}

/// A key, what it is set to, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The key.
    pub key: String,
    /// Its value.
    pub value: i64,
    /// Where it was set.
    pub origin: Origin,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ({}, {})", self.key, self.value, self.origin)
    }
}
