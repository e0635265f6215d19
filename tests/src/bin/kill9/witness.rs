//! Somebody who watches a stream from its beginning until the broker dies.

use std::net::SocketAddr;

use syncline_tests::wire::{Connect, Version, Wire, is_closed};

pub(crate) struct Witness {
    pub(crate) stream: &'static str,
    /// The events that were shown, byte for byte.
    pub(crate) shown: Vec<Vec<u8>>,
}

impl Witness {
    pub(crate) fn watch(address: SocketAddr, stream: &'static str) -> Result<Self, String> {
        let mut shown = Vec::new();
        let mut wire = Wire::connect(address, &Connect::new(Version::V5, ""))
            .map_err(|error| format!("the witness's CONNECT: {error}"))?;
        let filter = format!("$since/0/{stream}/events");
        match wire.subscribe(&filter) {
            Ok(1) => {}
            Ok(code) => return Err(format!("{filter} was answered with {code:#x}")),
            Err(error) if is_closed(&error) => return Ok(Self { stream, shown }),
            Err(error) => return Err(format!("{filter}: {error}")),
        }
        loop {
            match wire.message() {
                Ok(message) if message.topic.ends_with("/events") => shown.push(message.payload),
                // Where the horizon is above the beginning, a state comes first.
                Ok(_) => {}
                Err(error) if is_closed(&error) => return Ok(Self { stream, shown }),
                Err(error) => return Err(format!("the witness of {stream}: {error}")),
            }
        }
    }
}
