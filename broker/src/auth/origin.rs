//! Where a client comes from, as far as it is counted.

use std::net::{IpAddr, Ipv6Addr};

/// A place that clients come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Origin {
    /// Of IPv6 the first of a /64: whoever has one of its addresses has all of them.
    Network(IpAddr),
    /// A Unix socket.
    Local,
}

impl Origin {
    pub(super) fn of(address: Option<IpAddr>) -> Self {
        match address.map(|address| address.to_canonical()) {
            None => Self::Local,
            Some(IpAddr::V6(it)) => {
                Self::Network(Ipv6Addr::from(u128::from(it) >> 64 << 64).into())
            }
            Some(v4) => Self::Network(v4),
        }
    }
}
