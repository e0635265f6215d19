//! How much clients may: how many connections, how often, and what each may publish. Pure: `now` comes in. A limit of 0 is none.

mod bucket;
mod crowd;
mod load;
mod pace;
mod port;
mod rates;

pub(crate) use bucket::Bucket;
pub(crate) use crowd::{Crowd, Crowded, Seat, UserSeat};
pub(crate) use load::Load;
pub(crate) use pace::{Pace, Rate, SharedRate};
pub use port::{PortOptions, Ports};
pub(crate) use rates::Rates;

/// How many connections, and how often.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CrowdOptions {
    /// Connections of one address (of IPv6: of one /64).
    pub per_address_max: u32,
    /// Connections of one user.
    pub per_user_max: u32,
    /// New connections of one address, per second.
    pub per_address_per_s: u32,
    /// New connections of all addresses, per second.
    pub per_s: u32,
}

/// What may be published, per second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PublishOptions {
    /// Messages of one connection.
    pub messages_per_s: u32,
    /// Bytes of one connection: topics and payloads.
    pub bytes_per_s: u64,
    /// Messages of one user, over all its connections.
    pub user_messages_per_s: u32,
    /// Bytes of one user.
    pub user_bytes_per_s: u64,
    /// Messages of one address, over all its connections.
    pub address_messages_per_s: u32,
    /// Bytes of one address.
    pub address_bytes_per_s: u64,
}
