//! A state on its way: encoded once for everybody, in parts (SNAP-8), with what one connection alone gets put in when
//! a part goes out.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use syncline_protocol::{DeviceSeq, Epoch, Seq, Snapshot, StreamId, Topic};

use super::super::session::Tag;
use super::subscriptions::{Outgoing, Sub, copies};

/// What a PUBLISH has beside its topic, its payload and its Subscription Identifiers, at most: fixed header, lengths, packet id.
const PACKET_OVERHEAD: usize = 5 + 2 + 2 + 4;

/// A Subscription Identifier in a PUBLISH, at most.
const IDENTIFIER_BYTES: usize = 5;

/// The longest `mark`, in JSON: `"mark":9007199254740991,`.
const MARK_BYTES: usize = 24;

/// A snapshot in the encodings that were asked for.
#[derive(Debug, Clone)]
pub(crate) struct Rendered {
    pub(crate) seq: Seq,
    pub(crate) epoch: Epoch,
    pub(crate) msgpack: Option<Parts>,
    pub(crate) json: Option<Parts>,
}

/// The encoded parts of a snapshot, in their order.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    bodies: Arc<[Bytes]>,
    /// What goes into each of them.
    marks: Option<Arc<[Insert]>>,
}

impl Parts {
    /// The same for everybody.
    pub(crate) fn new(bodies: Arc<[Bytes]>) -> Self {
        Self {
            bodies,
            marks: None,
        }
    }

    /// The parts of `snapshot`, as `encode` writes them, with the mark of a device in each.
    pub(crate) fn with_mark(
        self,
        snapshot: &Snapshot,
        mark: Option<DeviceSeq>,
        encode: impl Fn(&Snapshot) -> Bytes,
    ) -> Self {
        let count = u32::try_from(self.bodies.len()).unwrap_or(u32::MAX);
        let insert = |part| Insert::mark(snapshot, (part, count), mark, &encode);
        let marks = Some((1..=count).map(insert).collect());
        Self { marks, ..self }
    }
}

/// What an encoded map gets in addition. So a large state that opens many subscriptions is in memory once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Insert {
    /// The first byte of the whole: a MessagePack map begins with its size.
    first: u8,
    bytes: Bytes,
    /// How many bytes come behind.
    behind: usize,
}

impl Insert {
    /// What makes of a part of a snapshot, encoded by `encode`, the same with the mark of a device.
    fn mark(
        snapshot: &Snapshot,
        part: (u32, u32),
        mark: Option<DeviceSeq>,
        encode: impl Fn(&Snapshot) -> Bytes,
    ) -> Self {
        // The collections stand in front of `mark`, so they need not be there to see what comes in and what comes behind.
        let mut bare = without_entries(snapshot, part);
        let without = encode(&bare);
        bare.mark = Some(mark);
        let with = encode(&bare);
        let backwards = without.iter().rev().zip(with.iter().rev());
        let same = backwards.take_while(|(a, b)| a == b).count();
        let behind = same.min(without.len() - 1);
        let end = with.len() - behind;
        let bytes = with.slice(end - (with.len() - without.len())..end);
        Self {
            first: with[0],
            bytes,
            behind,
        }
    }

    /// The whole.
    pub(super) fn apply(&self, body: &[u8]) -> Bytes {
        let mut whole = BytesMut::with_capacity(body.len() + self.bytes.len());
        let at = body.len().saturating_sub(self.behind);
        whole.put_slice(&body[..at]);
        whole.put_slice(&self.bytes);
        whole.put_slice(&body[at..]);
        if let Some(first) = whole.first_mut() {
            *first = self.first;
        }
        whole.freeze()
    }
}

/// Everything of a part of a snapshot but its entries.
fn without_entries(of: &Snapshot, (part, parts): (u32, u32)) -> Snapshot {
    Snapshot {
        stream: of.stream.clone(),
        epoch: of.epoch,
        seq: of.seq,
        since: of.since,
        head: of.head,
        digest: of.digest,
        digests: of.digests.clone(),
        schema: of.schema,
        part,
        parts,
        collections: Default::default(),
        mark: None,
    }
}

impl Rendered {
    /// How large it is, in the larger encoding.
    pub(super) fn bytes(&self) -> usize {
        let encodings = [&self.msgpack, &self.json].into_iter().flatten();
        let sizes = encodings.map(|parts| parts.bodies.iter().map(Bytes::len).sum());
        sizes.max().unwrap_or_default()
    }
}

/// How large a payload on a topic may be for a client that takes packets of `packet_bytes_max`.
pub(super) fn payload_bytes_max(
    packet_bytes_max: usize,
    topic: &str,
    subscriptions: usize,
) -> usize {
    let overhead = PACKET_OVERHEAD + topic.len() + IDENTIFIER_BYTES * subscriptions + MARK_BYTES;
    packet_bytes_max.saturating_sub(overhead).max(1)
}

/// The topic of a stream's states.
pub(super) fn state_topic(stream: &StreamId) -> String {
    Topic::State(stream.clone()).to_string()
}

/// The messages that carry a state, all parts of one encoding and then those of the other: SNAP-8 allows nothing between them.
/// Whoever acknowledges the last one has it whole; `acknowledges`: that this means everything up to its seq.
pub(super) fn state_copies(
    stream: &Arc<StreamId>,
    subs: &[Arc<Sub>],
    retain: bool,
    acknowledges: bool,
    rendered: &Rendered,
) -> Vec<Outgoing> {
    let topic: Arc<str> = state_topic(stream).into();
    let mut messages = Vec::new();
    for (json, parts) in [(false, &rendered.msgpack), (true, &rendered.json)] {
        let Some(parts) = parts else { continue };
        let subs: Vec<_> = subs
            .iter()
            .filter(|sub| sub.json == json)
            .cloned()
            .collect();
        for (at, body) in parts.bodies.iter().enumerate() {
            let tag = (acknowledges && at + 1 == parts.bodies.len()).then(|| Tag {
                stream: Arc::clone(stream),
                seq: rendered.seq,
            });
            let mut like = Outgoing::on(Arc::clone(&topic), retain, tag);
            like.is_state = true;
            like.insert = parts
                .marks
                .as_ref()
                .and_then(|marks| marks.get(at).cloned());
            messages.extend(copies(&subs, &like, |_| Some(body.clone())));
        }
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    use syncline_protocol::{Schema, State};

    fn part(n: u32) -> Snapshot {
        let schema = Schema::parse(include_str!("../../../../config/schemas/music.toml")).unwrap();
        let Ok(Topic::State(stream)) = "sync/home/state".parse() else {
            panic!("a state topic")
        };
        let state = State::new(Arc::new(schema));
        let whole = Snapshot::of(&state, stream, Seq::ZERO);
        Snapshot {
            part: n,
            parts: 70_000,
            ..whole
        }
    }

    #[test]
    fn snap_7_a_mark_put_into_an_encoded_part_is_the_part_encoded_with_it() {
        let marks = [
            None,
            DeviceSeq::new(1),
            DeviceSeq::new(0x6b72_616d),
            DeviceSeq::new((1 << 53) - 1),
        ];
        for (n, mark) in [1, 200, 69_999]
            .into_iter()
            .flat_map(|n| marks.map(|mark| (n, mark)))
        {
            let part = part(n);
            let marked = Snapshot {
                mark: Some(mark),
                ..part.clone()
            };
            let msgpack = |it: &Snapshot| Bytes::from(it.encode());
            let json = |it: &Snapshot| Bytes::from(it.to_json());
            let insert = Insert::mark(&part, (n, 70_000), mark, msgpack);
            assert_eq!(
                insert.apply(&msgpack(&part)),
                msgpack(&marked),
                "{n} {mark:?}"
            );
            assert!(insert.bytes.len() <= MARK_BYTES);
            let insert = Insert::mark(&part, (n, 70_000), mark, json);
            assert_eq!(insert.apply(&json(&part)), json(&marked), "{n} {mark:?}");
            assert!(insert.bytes.len() <= MARK_BYTES);
        }
    }
}
