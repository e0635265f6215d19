//! What the events of a stream amount to, made from the store's log.
//!
//! State is pulled: a [`States::snapshot`] first brings the cached state up to the store's head and then answers, so
//! it includes every event acknowledged before it was asked for (G8), and nobody has to keep the cache told.
//! Calls block; they belong on a thread that may.

mod snapshot;
mod states;

pub use snapshot::{EncodedSnapshot, Want};
pub use states::{States, StatesError};

#[cfg(test)]
mod tests;
