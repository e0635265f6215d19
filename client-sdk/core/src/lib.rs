//! The pure heart of a Syncline client: outbox, replica, catch-up, reconnect policy. Rules: `client-sdk/SPEC.md`.
//!
//! [`Core`] has no input, output, clock or chance of its own. The calling contract:
//!
//! 1. [`Core::open`] once, with what the storage holds; carry out the outputs that it returns.
//! 2. From then on [`Core::publish`] for the app and [`Core::handle`] for everything that happens, each with a `now`
//!    that never goes back and, for `handle`, a random number in [0, 1). Carry out the outputs in their order.
//! 3. After each call, arrange for [`Input::Timeout`] at [`Core::next_timeout`].
//! 4. Report every [`Output::Write`] as [`Input::Persisted`] once it is durable, in order.
//! 5. After [`Output::Disconnect`], report nothing more of that connection.

mod input;
mod output;
mod rows;

mod core;
mod link;
mod opening;
mod resume;

mod publish;
mod undo;

mod answers;
mod fork;
mod outbox;
mod rebase;

mod saves;
mod saw;
mod view;

pub use crate::core::{Core, OpenOptions, Rejected};
pub use input::{Answer, Input, Refusal};
pub use output::{FaultKind, Label, Outcome, Output, Pending, PendingStage, Phase, Status};
pub use rows::{DeviceRow, IntentId, Row, Saw, Stored, Write, WriteId};
pub use undo::NotUndone;
pub use view::OpenValue;
