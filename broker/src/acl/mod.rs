//! What a principal may read and write. Pure: rules and names in, answers out.
//!
//! A [`Policy`] is what a rule file says of everybody; [`Policy::rights`] is what it says of one user, with placeholders;
//! [`Rights::grant`] is what that means for one connection. Only the [`Grant`] is asked when something is subscribed,
//! published or delivered. Rules only ever allow: what no rule names is not allowed.

mod grant;
mod policy;
mod rights;

#[cfg(test)]
mod model_tests;

pub use grant::{Grant, Named, Principal};
pub use policy::{Policy, PolicyError};
pub use rights::{Access, Connected, Rights, TopicRule};
