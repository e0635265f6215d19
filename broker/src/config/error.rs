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
    #[error(
        "`{small}` ({small_value}, {small_origin}) must be {relation} `{large}` ({large_value}, {large_origin}): {why}. \
         Lower `{small}` or raise `{large}`."
    )]
    Contradiction {
        /// The key that must be smaller.
        small: &'static str,
        /// Its value.
        small_value: i64,
        /// Where it was set.
        small_origin: Origin,
        /// The key that must be larger.
        large: &'static str,
        /// Its value.
        large_value: i64,
        /// Where it was set.
        large_origin: Origin,
        /// `at most`, or by how much it must be smaller.
        relation: String,
        /// What goes wrong otherwise.
        why: &'static str,
    },
    /// An address for everybody, without authentication.
    #[error(
        "{origin}: `{key}` is {address}, which other machines can reach, and there is no authentication. \
         Use a loopback address such as 127.0.0.1:{port}, or let everybody who reaches it read and write everything, with this \
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
