//! How records and marks are written. Numbers are big endian.

use std::collections::VecDeque;

use bytes::Bytes;
use syncline_protocol::{Clock, DeviceSeq, Event, IntentHash, Seq, UnixMillis};

use super::tables::AppliedMark;
use crate::store::{Committed, Footprint, Mark, Recent};

/// Bytes that this program never wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Garbled;

/// A record of the journal: 1 and the intent's hash, or 0; then [`Committed::to_frame`].
pub(super) fn write_record(event: &Committed, footprint: &Footprint) -> Vec<u8> {
    let frame = event.to_frame();
    let mut record = Vec::with_capacity(17 + frame.len());
    match footprint.hash {
        None => record.push(0),
        Some(hash) => {
            record.push(1);
            record.extend_from_slice(&hash.0);
        }
    }
    record.extend_from_slice(&frame);
    record
}

/// Reads what [`write_record`] wrote.
pub(super) fn read_record(record: &[u8]) -> Result<(Committed, Footprint), Garbled> {
    let mut rest = record;
    let hash = match take::<1>(&mut rest)? {
        [0] => None,
        [1] => Some(IntentHash(take(&mut rest)?)),
        _ => return Err(Garbled),
    };
    let committed = Committed::from_frame(Bytes::copy_from_slice(rest)).map_err(|_| Garbled)?;
    let event = Event::decode(committed.payload()).map_err(|_| Garbled)?;
    Ok((committed, Footprint::of(&event, hash)))
}

/// A mark: through, device_seq (0: none), base_seq, timestamp, counter, then device_seq, hash and seq of
/// each recent event.
pub(super) fn write_mark(applied: &AppliedMark) -> Vec<u8> {
    let AppliedMark { through, mark } = applied;
    let mut bytes = Vec::with_capacity(36 + 32 * mark.recent.len());
    let device_seq = mark.device_seq.map_or(0, DeviceSeq::get);
    let timestamp = mark.clock.timestamp.get();
    for number in [through.get(), device_seq, mark.base_seq.get(), timestamp] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    bytes.extend_from_slice(&mark.clock.counter.to_be_bytes());
    for recent in &mark.recent {
        bytes.extend_from_slice(&recent.device_seq.get().to_be_bytes());
        bytes.extend_from_slice(&recent.hash.0);
        bytes.extend_from_slice(&recent.seq.get().to_be_bytes());
    }
    bytes
}

/// Reads what [`write_mark`] wrote.
pub(super) fn read_mark(bytes: &[u8]) -> Result<AppliedMark, Garbled> {
    let mut rest = bytes;
    let through = take_seq(&mut rest)?;
    let device_seq = DeviceSeq::new(take_u64(&mut rest)?);
    let base_seq = take_seq(&mut rest)?;
    let timestamp = UnixMillis::new(take_u64(&mut rest)?);
    let counter = u32::from_be_bytes(take(&mut rest)?);
    let mut recent = VecDeque::with_capacity(rest.len() / 32);
    while !rest.is_empty() {
        let device_seq = DeviceSeq::new(take_u64(&mut rest)?).ok_or(Garbled)?;
        let hash = IntentHash(take(&mut rest)?);
        let seq = take_seq(&mut rest)?;
        recent.push_back(Recent {
            device_seq,
            hash,
            seq,
        });
    }
    let clock = Clock { timestamp, counter };
    Ok(AppliedMark {
        through,
        mark: Mark {
            device_seq,
            base_seq,
            clock,
            recent,
        },
    })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Garbled> {
    let (taken, left) = rest.split_first_chunk::<N>().ok_or(Garbled)?;
    *rest = left;
    Ok(*taken)
}

fn take_u64(rest: &mut &[u8]) -> Result<u64, Garbled> {
    take(rest).map(u64::from_be_bytes)
}

fn take_seq(rest: &mut &[u8]) -> Result<Seq, Garbled> {
    Seq::new(take_u64(rest)?).ok_or(Garbled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::{at, record, stream};

    #[test]
    fn records_and_marks_read_back_as_what_was_written() {
        let written = record(&stream("home/albums"), 7);
        let footprint = Footprint::of(&written.event, written.hash);
        let bytes = write_record(&Committed::of(&written.event), &footprint);
        let (committed, read) = read_record(&bytes).unwrap();
        assert_eq!(committed, Committed::of(&written.event));
        assert_eq!(
            (read.hash, read.device_seq),
            (footprint.hash, footprint.device_seq)
        );

        let mut mark = AppliedMark::default();
        mark.absorb(&footprint, 4);
        assert_eq!(mark.through, at(7));
        let bytes = write_mark(&mark);
        assert_eq!(read_mark(&bytes).unwrap(), mark);
        assert_eq!(read_mark(&bytes[..bytes.len() - 1]), Err(Garbled));
    }
}
