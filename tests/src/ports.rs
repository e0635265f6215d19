//! Free ports on the loopback address.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range from which the system takes ports for outgoing connections, so that a port stays
/// free while its broker is down.
const FIRST: u16 = 12_000;
const COUNT: u16 = 18_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port that nobody listens on. Every call gives another, and processes begin at different ones.
///
/// # Panics
/// When no port of the range is free.
#[must_use]
pub fn free() -> SocketAddr {
    let start = (process::id().wrapping_mul(97) % u32::from(COUNT)) as u16;
    let candidates = (0..COUNT).map(|_| NEXT.fetch_add(1, Ordering::Relaxed));
    let mut addresses = candidates.map(|next| {
        let offset = (u32::from(start) + u32::from(next)) % u32::from(COUNT);
        SocketAddr::from((Ipv4Addr::LOCALHOST, FIRST + offset as u16))
    });
    match addresses.find(|address| TcpListener::bind(address).is_ok()) {
        Some(address) => address,
        None => panic!("no free port from {FIRST} on"),
    }
}
