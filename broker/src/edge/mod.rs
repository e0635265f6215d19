//! Where clients meet the broker.

mod identity;
mod submission;

pub use identity::{Grant, Principal};
pub use submission::Submission;
#[cfg(test)]
pub(crate) use submission::submission;
