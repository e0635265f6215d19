//! Ordinary topics: everything outside `sync/` and `$`. Who follows them, what is retained there, what waits for whom.

pub(crate) mod follow;
mod followers;
mod letter;
mod outbox;
mod parcel;
mod retained;
mod subscriber;
mod topics;

pub(crate) use followers::{SubscriberId, Terms};
pub(crate) use letter::{Letter, Letters, Pending};
pub(crate) use outbox::{Greeting, Mail, OrdinaryNeed, Outbox, QUEUE_IDS, Slip};
pub use retained::RetainedLimit;
pub use topics::OrdinaryOptions;
pub(crate) use topics::{Entering, Over, Post, Posted, Topics};
