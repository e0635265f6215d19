//! What holds at one port in place of what holds at all, and what holds there besides.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::transport::Port;

/// The ports that have limits of their own.
pub type Ports = BTreeMap<Port, PortOptions>;

/// The limits of one port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortOptions {
    /// Connections that came in there, some of all; 0: as many as come.
    pub connections_max: u32,
    /// New connections there per second, some of all; 0: as many as come.
    pub connections_per_s: u32,
    /// How long a CONNECT may take.
    pub connect_timeout: Duration,
    /// The largest packet that is read.
    pub packet_bytes_max: u32,
    /// Messages that one connection may publish per second; 0: as many as come.
    pub publish_messages_per_s: u32,
    /// The same in bytes of topics and payloads.
    pub publish_bytes_per_s: u64,
}
