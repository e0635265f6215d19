//! What travels inside the bus: a header and, for an event, the store's own frame of it.

use bytes::Bytes;

/// In front of every message: where it stands in the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// 1, 2, 3 … over the life of the router, rebuilds included. A hole is a loss.
    pub(super) counter: u64,
    /// What this message and all before it cost, in bytes: a drained message pays back what was lost before it, too.
    pub(super) cost: u64,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Event,
    Resync,
    Canary,
}

/// Bytes of an encoded header: kind, counter, cost.
pub(super) const HEADER_LEN: usize = 1 + 8 + 8;

/// The message as it goes into the bus; the body is copied.
pub(super) fn encode(header: Header, body: &[u8]) -> Bytes {
    let mut frame = Vec::with_capacity(HEADER_LEN + body.len());
    frame.push(header.kind.byte());
    frame.extend_from_slice(&header.counter.to_be_bytes());
    frame.extend_from_slice(&header.cost.to_be_bytes());
    frame.extend_from_slice(body);
    frame.into()
}

/// The message as it came out; `None`: not one of ours.
pub(super) fn decode(frame: &Bytes) -> Option<(Header, Bytes)> {
    let (kind, rest) = frame.split_first()?;
    let (counter, rest) = rest.split_first_chunk::<8>()?;
    let (cost, _) = rest.split_first_chunk::<8>()?;
    let header = Header {
        counter: u64::from_be_bytes(*counter),
        cost: u64::from_be_bytes(*cost),
        kind: Kind::from_byte(*kind)?,
    };
    Some((header, frame.slice(HEADER_LEN..)))
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Self::Event => 1,
            Self::Resync => 2,
            Self::Canary => 3,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Event, Self::Resync, Self::Canary]
            .into_iter()
            .find(|kind| kind.byte() == byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_out_as_it_went_in() {
        for kind in [Kind::Event, Kind::Resync, Kind::Canary] {
            let header = Header {
                counter: 7,
                cost: 1 << 40,
                kind,
            };
            assert_eq!(
                decode(&encode(header, b"body")),
                Some((header, Bytes::from_static(b"body")))
            );
        }
    }

    #[test]
    fn what_is_not_a_message_is_none() {
        assert_eq!(decode(&Bytes::new()), None);
        assert_eq!(decode(&Bytes::from_static(&[1; HEADER_LEN - 1])), None);
        assert_eq!(decode(&Bytes::from_static(&[9; HEADER_LEN])), None);
    }
}
