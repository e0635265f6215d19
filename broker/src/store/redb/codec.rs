//! How records, marks and moves are written. Numbers are big endian.

use bytes::Bytes;
use syncline_protocol::{Epoch, Event, IntentHash, Seq, UnixMillis};

use super::pending::{Pending, What};
use crate::store::committed::{take_stream, take_u64, write_stream};
use crate::store::{Committed, Control, Footprint, FrameError, Move};

/// Bytes that this program never wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Garbled;

impl From<FrameError> for Garbled {
    fn from(_: FrameError) -> Garbled {
        Garbled
    }
}

/// First byte of a record.
const PLAIN: u8 = 0;
const HASHED: u8 = 1;
const CONTROL: u8 = 2;

/// A record of the journal, whose key is its position. An event: 1 and the intent's hash, or 0; then
/// [`Committed::write_body`]. A control record (since format 2): 2, epoch, horizon, stream.
pub(super) fn write_record(record: &Pending) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    match &record.what {
        What::Event { event, footprint } => {
            match footprint.hash {
                None => bytes.push(PLAIN),
                Some(hash) => {
                    bytes.push(HASHED);
                    bytes.extend_from_slice(&hash.0);
                }
            }
            event.write_body(&mut bytes);
        }
        What::Control(control) => {
            bytes.push(CONTROL);
            bytes.extend_from_slice(&control.epoch.get().to_be_bytes());
            bytes.extend_from_slice(&control.horizon.get().to_be_bytes());
            write_stream(&control.stream, &mut bytes);
        }
    }
    bytes
}

/// Reads what [`write_record`] wrote.
pub(super) fn read_record(position: u64, record: &[u8]) -> Result<Pending, Garbled> {
    let (kind, rest) = record.split_first().ok_or(Garbled)?;
    let what = match *kind {
        PLAIN => read_event(position, None, rest)?,
        HASHED => {
            let (hash, rest) = rest.split_first_chunk().ok_or(Garbled)?;
            read_event(position, Some(IntentHash(*hash)), rest)?
        }
        CONTROL => What::Control(read_control(rest)?),
        _ => return Err(Garbled),
    };
    Ok(Pending { position, what })
}

fn read_event(position: u64, hash: Option<IntentHash>, body: &[u8]) -> Result<What, Garbled> {
    let committed = Committed::read_body(Bytes::copy_from_slice(body), position)?;
    let event = Event::decode(committed.payload()).map_err(|_| Garbled)?;
    let footprint = Footprint::of(&event, hash);
    Ok(What::Event {
        event: committed,
        footprint,
    })
}

fn read_control(body: &[u8]) -> Result<Control, Garbled> {
    let mut rest = Bytes::copy_from_slice(body);
    let epoch = Epoch::new(take_u64(&mut rest)?);
    let horizon = Seq::new(take_u64(&mut rest)?).ok_or(Garbled)?;
    let stream = take_stream(&mut rest)?;
    match rest.is_empty() {
        true => Ok(Control {
            stream,
            epoch,
            horizon,
        }),
        false => Err(Garbled),
    }
}

/// Moves: horizon, at, accepted_at of each.
pub(super) fn write_moves(moves: &[Move]) -> Vec<u8> {
    moves
        .iter()
        .flat_map(|it| [it.horizon.get(), it.at.get(), it.accepted_at.get()])
        .flat_map(u64::to_be_bytes)
        .collect()
}

/// Reads what [`write_moves`] wrote.
pub(super) fn read_moves(bytes: &[u8]) -> Result<Vec<Move>, Garbled> {
    let mut rest = Bytes::copy_from_slice(bytes);
    let mut moves = Vec::with_capacity(rest.len() / 24);
    while !rest.is_empty() {
        moves.push(Move {
            horizon: Seq::new(take_u64(&mut rest)?).ok_or(Garbled)?,
            at: Seq::new(take_u64(&mut rest)?).ok_or(Garbled)?,
            accepted_at: UnixMillis::new(take_u64(&mut rest)?),
        });
    }
    Ok(moves)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::{at, record, stream};

    #[test]
    fn records_and_moves_read_back_as_what_was_written() {
        let said = record(&stream("home/albums"), 7);
        let event = Pending::event(9, &said);
        let control = Pending {
            position: 10,
            what: What::Control(Control {
                stream: stream("home/albums"),
                epoch: Epoch::new(8),
                horizon: at(5),
            }),
        };
        for written in [event, control] {
            let bytes = write_record(&written);
            let read = read_record(written.position, &bytes).unwrap();
            assert_eq!(format!("{read:?}"), format!("{written:?}"));
        }
        let moves = vec![
            Move {
                horizon: at(3),
                at: at(9),
                accepted_at: UnixMillis::new(7),
            };
            2
        ];
        let bytes = write_moves(&moves);
        assert_eq!(read_moves(&bytes).unwrap(), moves);
        assert_eq!(read_moves(&bytes[1..]), Err(Garbled));
    }

    #[test]
    fn a_cut_record_is_garbled() {
        let control = Pending {
            position: 1,
            what: What::Control(Control {
                stream: stream("home"),
                epoch: Epoch::new(8),
                horizon: at(5),
            }),
        };
        let bytes = write_record(&control);
        for len in 0..bytes.len() {
            assert!(read_record(1, &bytes[..len]).is_err(), "{len}");
        }
        assert!(read_record(1, &[3]).is_err());
    }
}
