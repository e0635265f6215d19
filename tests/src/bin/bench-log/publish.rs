//! Publishes many events over one connection, a window at a time.

use std::io;
use std::net::SocketAddr;

use syncline_tests::wire::{Connect, Packet, Version, Wire};

const WINDOW: usize = 200;

/// Publishes all and waits until all are acknowledged.
pub(crate) fn all(
    address: SocketAddr,
    topic: impl Fn(usize) -> String,
    payloads: &[String],
) -> io::Result<()> {
    let mut wire = Wire::connect(address, &Connect::new(Version::V5, ""))?;
    let (mut sent, mut acked) = (0, 0);
    while acked < payloads.len() {
        while sent < payloads.len() && sent - acked < WINDOW {
            wire.send(&topic(sent), &payloads[sent])?;
            sent += 1;
        }
        match wire.receive()? {
            Packet::PubAck { code, .. } if code < 0x80 => acked += 1,
            other => return Err(io::Error::other(format!("{other:?}"))),
        }
    }
    Ok(())
}
