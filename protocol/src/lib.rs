//! What Syncline says on the wire and what it means.
//!
//! Pure: no sockets, no clock, no randomness. The rules, with their ids, are in `protocol/SPEC.md`; both the
//! broker and the Rust client use this crate, and the golden files in `protocol/golden` hold it and the
//! TypeScript client to the same bytes.

pub mod ids;
pub mod value;

pub mod topic;

pub mod clock;
pub mod event;
pub mod refusal;

pub mod schema;
pub mod state;

pub mod notice;
pub mod presence;
pub mod snapshot;

#[doc(hidden)]
pub mod planted;

mod fields;

pub use clock::Clock;
pub use event::{Event, Intent, IntentHash};
pub use ids::{Channel, DeviceId, DeviceSeq, Epoch, EventType, Seq, StreamId, SyncId, UnixMillis};
pub use notice::Notice;
pub use presence::Presence;
pub use refusal::{RefusalName, Refused, TransientName};
pub use schema::{Action, Operation, Schema, SchemaHash};
pub use snapshot::{Assembler, Snapshot};
pub use state::{Digest, Entry, Overlay, State};
pub use topic::{Filter, Start, Subscription, Topic};
pub use value::Value;
