//! What the events of a stream amount to, made from the store's log; and the keeping of that log short.
//!
//! State is pulled: a [`States::snapshot`] first brings the cached state up to the store's head and then answers, so
//! it includes every event acknowledged before it was asked for (G8), and nobody has to keep the cache told.
//! Calls block; they belong on a thread that may.
//!
//! The [`Compactor`] raises horizons through the sequencer, so that they are in order with the events and on disk before
//! anything goes (HORIZON-1); then it folds what they cover into the store's base, in bounded steps. A crash in between
//! leaves a base below its horizon, which is where the next start goes on.

#[allow(clippy::module_inception)]
mod compactor;
mod fold;
mod held;
mod moves;
mod policy;
mod profile;
mod recent;
mod replay;
mod snapshot;
mod states;
mod thread;
mod written;

pub use compactor::{Compactor, Options, Progress, Raise};
pub use policy::{History, Limits};
pub use snapshot::{EncodedSnapshot, Want};
pub use states::{States, StatesError};
pub use thread::CompactorThread;
pub use written::Written;

#[cfg(test)]
mod tests;
