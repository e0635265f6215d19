//! The proofs that only a store makes.

use bytes::Bytes;
use syncline_protocol::{Epoch, Event, Seq, StreamId};

/// Proof that something is on disk: without one there is no success PUBACK (G1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt(());

impl Receipt {
    pub(in crate::store) fn new() -> Receipt {
        Receipt(())
    }
}

/// An event that is on disk, as it is delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    stream: StreamId,
    epoch: Epoch,
    seq: Seq,
    position: u64,
    payload: Bytes,
}

/// Bytes that are not a frame of [`Committed::to_frame`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a frame of a committed event")]
pub struct FrameError;

impl Committed {
    pub(in crate::store) fn new(
        stream: StreamId,
        epoch: Epoch,
        seq: Seq,
        position: u64,
        payload: Bytes,
    ) -> Committed {
        Committed {
            stream,
            epoch,
            seq,
            position,
            payload,
        }
    }

    /// What `event` is once it is on disk as the record at `position`.
    pub(in crate::store) fn of(event: &Event, position: u64) -> Committed {
        let payload = Bytes::from(event.encode());
        let stream = event.stream.clone();
        Committed::new(stream, event.epoch, event.seq, position, payload)
    }

    /// The event's stream.
    pub fn stream(&self) -> &StreamId {
        &self.stream
    }

    /// The incarnation of the stream's history.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The event's place in its stream.
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// Its place among the records of all streams: the later, the higher; a record need not be an event.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The event in canonical MessagePack.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Self-contained bytes, for a bus that carries nothing but bytes.
    ///
    /// position (8, big endian), then [`Committed::write_body`].
    pub fn to_frame(&self) -> Vec<u8> {
        let mut frame = self.position.to_be_bytes().to_vec();
        self.write_body(&mut frame);
        frame
    }

    /// What the event is wherever its position is known: epoch (8, big endian), seq (8), length of the sync id (1), sync id, length of the channel (1; 0 for the
    /// default one), channel, payload.
    pub(in crate::store) fn write_body(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.epoch.get().to_be_bytes());
        bytes.extend_from_slice(&self.seq.get().to_be_bytes());
        write_stream(&self.stream, bytes);
        bytes.extend_from_slice(&self.payload);
    }

    /// Reads what [`Committed::to_frame`] wrote. Only for bytes that this process put on its own bus.
    pub(crate) fn from_frame(frame: Bytes) -> Result<Committed, FrameError> {
        let mut rest = frame;
        let position = take_u64(&mut rest)?;
        Committed::read_body(rest, position)
    }

    /// Reads what [`Committed::write_body`] wrote.
    pub(in crate::store) fn read_body(body: Bytes, position: u64) -> Result<Committed, FrameError> {
        let mut rest = body;
        let epoch = Epoch::new(take_u64(&mut rest)?);
        let seq = Seq::new(take_u64(&mut rest)?).ok_or(FrameError)?;
        let stream = take_stream(&mut rest)?;
        Ok(Committed::new(stream, epoch, seq, position, rest))
    }
}

/// Length of the sync id (1), sync id, length of the channel (1; 0 for the default one), channel.
pub(in crate::store) fn write_stream(stream: &StreamId, bytes: &mut Vec<u8>) {
    let channel = stream
        .channel
        .as_ref()
        .map_or("", |channel| channel.as_str());
    for text in [stream.sync_id.as_str(), channel] {
        // Ids are at most 64 bytes long (TOPIC-1).
        bytes.push(text.len() as u8);
        bytes.extend_from_slice(text.as_bytes());
    }
}

/// Reads what [`write_stream`] wrote.
pub(in crate::store) fn take_stream(rest: &mut Bytes) -> Result<StreamId, FrameError> {
    let sync_id = take_text(rest)?.parse().map_err(|_| FrameError)?;
    let channel = match take_text(rest)?.as_str() {
        "" => None,
        name => Some(name.parse().map_err(|_| FrameError)?),
    };
    Ok(StreamId { sync_id, channel })
}

fn take(rest: &mut Bytes, len: usize) -> Result<Bytes, FrameError> {
    if rest.len() < len {
        Err(FrameError)
    } else {
        Ok(rest.split_to(len))
    }
}

pub(in crate::store) fn take_u64(rest: &mut Bytes) -> Result<u64, FrameError> {
    let bytes = take(rest, 8)?;
    Ok(bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn take_text(rest: &mut Bytes) -> Result<String, FrameError> {
    let len = take(rest, 1)?[0];
    let bytes = take(rest, usize::from(len))?;
    std::str::from_utf8(&bytes)
        .map(str::to_owned)
        .map_err(|_| FrameError)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn committed(channel: Option<&str>) -> Committed {
        let stream = StreamId {
            sync_id: "home".parse().unwrap(),
            channel: channel.map(|name| name.parse().unwrap()),
        };
        Committed::new(
            stream,
            Epoch::new(7),
            Seq::new(258).unwrap(),
            65_537,
            Bytes::from_static(b"\x80"),
        )
    }

    #[test]
    fn a_frame_reads_back_as_what_was_written() {
        for channel in [None, Some("albums")] {
            let written = committed(channel);
            assert_eq!(
                Committed::from_frame(Bytes::from(written.to_frame())),
                Ok(written)
            );
        }
    }

    #[test]
    fn a_cut_frame_is_refused() {
        let frame = Bytes::from(committed(Some("albums")).to_frame());
        let head = frame.len() - 1;
        for len in 0..head {
            assert_eq!(
                Committed::from_frame(frame.slice(..len)),
                Err(FrameError),
                "{len}"
            );
        }
    }
}
