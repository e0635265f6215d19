//! The way for the person who owns the data directory to ask a running broker: a Unix socket in that directory, which nobody
//! else may enter.
//!
//! One request per connection: one line of JSON ([`Request`](crate::history::Request)). The answer is lines: `=` and a line of text, any number of
//! them, then `.` if that was all, or `!` and the reason if it failed. Whoever keeps the broker waiting, in either direction, is cut off.

mod answer;
mod client;
mod places;
mod server;

#[cfg(test)]
mod tests;

pub use client::{AskError, ask};
pub use server::{Admin, AdminOptions};

use std::path::{Path, PathBuf};

/// The longest request in bytes.
const REQUEST_BYTES_MAX: usize = 64 << 10;

/// Where the socket of a data directory is.
pub fn socket(data: &Path) -> PathBuf {
    data.join("admin.sock")
}
