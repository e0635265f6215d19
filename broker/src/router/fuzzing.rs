//! For the fuzzer: what comes out of the bus.

use bytes::Bytes;

use super::frame::{Header, Kind, decode, encode};
use crate::store::Committed;

/// A message of the bus, and the event in it.
pub fn bus_frame(data: &[u8]) {
    let frame = Bytes::copy_from_slice(data);
    let Some((header, body)) = decode(&frame) else {
        return;
    };
    assert_eq!(encode(header, &body), frame);
    if let Ok(event) = Committed::from_frame(body.clone()) {
        assert_eq!(event.to_frame(), body);
    }
}

/// One of each kind.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let event = crate::store::fuzzing::committed();
    [Kind::Event, Kind::Resync, Kind::Canary]
        .map(|kind| {
            let header = Header {
                counter: 7,
                cost: 1 << 40,
                kind,
            };
            encode(header, &event.to_frame()).to_vec()
        })
        .into()
}
