//! Where clients meet the broker: sockets, MQTT sessions, identity, limits, delivery.

mod identity;
mod submission;

mod session;

mod ephemeral;
mod errors;

mod index;
mod mailbox;
mod tails;

mod hub;

mod delivery;

pub use identity::{Grant, Principal};
pub use submission::Submission;
#[cfg(test)]
pub(crate) use submission::submission;
