//! One network connection: bytes on their way in both directions, in order, each with its moment of arrival.
//!
//! Nothing overtakes within a connection; between connections everything may: what an abandoned one still carries
//! arrives when its successor has long been up.

use std::collections::{BTreeMap, VecDeque};

use syncline_broker::edge::simulation::Connection;
use syncline_client_core::IntentId;
use syncline_protocol::snapshot::Assembler;
use syncline_protocol::{DeviceId, DeviceSeq, Seq, StreamId};

use crate::oracle::Asked;
use crate::watch::Watch;
use crate::wire::Decoder;

/// Names a connection of one run.
pub(crate) type LinkId = u64;

/// Who made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    Device(usize),
    Observer(usize),
}

/// What arrives.
#[derive(Debug)]
pub(crate) enum Chunk {
    Bytes(Vec<u8>),
    /// The other end is gone.
    End,
}

/// One direction.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    chunks: VecDeque<(u64, Chunk)>,
    last: u64,
    bytes: usize,
}

impl Pipe {
    /// Puts something on its way. Returns when it arrives: not before what was put there earlier.
    pub(crate) fn push(&mut self, arrival: u64, chunk: Chunk) -> u64 {
        self.last = self.last.max(arrival);
        if let Chunk::Bytes(bytes) = &chunk {
            self.bytes += bytes.len();
        }
        self.chunks.push_back((self.last, chunk));
        self.last
    }

    /// What has arrived by now.
    pub(crate) fn pop(&mut self, now: u64) -> Option<Chunk> {
        let (_, chunk) = self.chunks.pop_front_if(|(at, _)| *at <= now)?;
        if let Chunk::Bytes(bytes) = &chunk {
            self.bytes -= bytes.len();
        }
        Some(chunk)
    }

    /// Loses what is on its way but for the first `kept`.
    pub(crate) fn lose_after(&mut self, kept: usize) {
        self.chunks.truncate(kept);
        let lengths = self.chunks.iter().map(|(_, chunk)| match chunk {
            Chunk::Bytes(bytes) => bytes.len(),
            Chunk::End => 0,
        });
        self.bytes = lengths.sum();
    }

    /// Bytes on their way.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.chunks.len()
    }
}

/// A PUBLISH on its way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    pub(crate) intent: IntentId,
    pub(crate) place: Option<(DeviceId, DeviceSeq)>,
    /// How often the disk had been rolled back when it was sent.
    pub(crate) rollbacks: u32,
}

/// A connection and both of its ends.
pub(crate) struct Link {
    pub(crate) owner: Owner,
    /// The broker's end, once it has accepted.
    pub(crate) server: Option<Connection>,
    /// Its CONNECT asks for a session without anything in it.
    pub(crate) clean_start: bool,
    /// The client takes no notice of it any more.
    pub(crate) abandoned: bool,
    /// The broker's end is gone for good.
    pub(crate) closed: bool,
    /// The broker's end was over, though something of it may still be on its way.
    pub(crate) left: bool,
    /// When bytes last came to the broker's end.
    pub(crate) heard_at: u64,
    pub(crate) up: Pipe,
    pub(crate) down: Pipe,
    /// Nothing more is put on its way.
    pub(crate) broken: bool,
    /// Until then nothing arrives at either end.
    pub(crate) blocked_until: u64,
    pub(crate) latency_ms: u64,
    /// Bytes that may be on their way to the client.
    pub(crate) window: usize,
    pub(crate) decoder: Decoder,
    /// PUBLISHes without an answer.
    pub(crate) sent: BTreeMap<u16, Sent>,
    pub(crate) last_packet_id: u16,
    pub(crate) watch: Watch,
    /// What was known when it subscribed, per opening that is awaited (G6, G8).
    pub(crate) asked: VecDeque<Asked>,
    /// The parts of an opening.
    pub(crate) opening: Assembler,
    /// Deliveries that the client has acknowledged and the broker has not heard of yet.
    pub(crate) unheard: BTreeMap<u16, (StreamId, Seq)>,
    /// A turn of the broker's end is scheduled.
    pub(crate) turn_at: Option<u64>,
}

impl Link {
    pub(crate) fn new(owner: Owner, clean_start: bool, latency_ms: u64, window: usize) -> Self {
        Self {
            owner,
            server: None,
            clean_start,
            abandoned: false,
            closed: false,
            left: false,
            heard_at: 0,
            up: Pipe::default(),
            down: Pipe::default(),
            broken: false,
            blocked_until: 0,
            latency_ms,
            window,
            decoder: Decoder::default(),
            sent: BTreeMap::new(),
            last_packet_id: 0,
            watch: Watch::default(),
            asked: VecDeque::new(),
            opening: Assembler::default(),
            unheard: BTreeMap::new(),
            turn_at: None,
        }
    }

    pub(crate) fn next_packet_id(&mut self) -> u16 {
        self.last_packet_id = self.last_packet_id % 60_000 + 1;
        self.last_packet_id
    }

    /// Nobody has anything to do with it any more.
    pub(crate) fn is_over(&self) -> bool {
        self.abandoned && self.closed
    }
}
