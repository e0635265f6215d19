//! A device that publishes without pause, keeps what is not acknowledged, and sends it again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;
use syncline_tests::dice::Dice;
use syncline_tests::star::Star;
use syncline_tests::wire::{Connect, Packet, Version, Wire, is_closed};

const WINDOW: usize = 8;
const ALBUMS: u64 = 20;

/// One event in so many is a play.
const PLAYS: u64 = 4;

/// The clocks of the devices are wrong by up to this much, so that winners depend on the rules.
const CLOCK_SPREAD_MS: u64 = 60_000;
const CLOCK_BASE_MS: u64 = 1_700_000_000_000;

/// How many acknowledgements each publisher got in this round.
pub(crate) struct Progress(Vec<Arc<AtomicU64>>);

impl Progress {
    pub(crate) fn new(count: usize) -> Self {
        Self((0..count).map(|_| Arc::default()).collect())
    }

    pub(crate) fn counter(&self, index: usize) -> Arc<AtomicU64> {
        Arc::clone(&self.0[index])
    }

    pub(crate) fn all(&self) -> bool {
        self.0.iter().all(|count| count.load(Ordering::Relaxed) > 0)
    }
}

pub(crate) struct Publisher {
    pub(crate) stream: &'static str,
    pub(crate) device: String,
    /// What was sent, by `device_seq` from 1: the audit compares the stored events with it.
    pub(crate) sent: Vec<String>,
    /// `device_seq` to seq, as acknowledged.
    pub(crate) acked: BTreeMap<u64, u64>,
    pub(crate) repeats: u64,
    /// The `device_seq` of those that are plays; the track is the device's own, so its count is theirs.
    pub(crate) plays: BTreeSet<u64>,
    /// What was seen is named, so that concurrent events occur; a horizon that moves would overtake them.
    names_base: bool,
    pending: VecDeque<u64>,
    dice: Dice,
}

impl Publisher {
    pub(crate) fn new(stream: &'static str, names_base: bool, mut dice: Dice) -> Self {
        let device = dice.uuid();
        let (sent, acked, pending) = (Vec::new(), BTreeMap::new(), VecDeque::new());
        Self {
            stream,
            device,
            sent,
            acked,
            repeats: 0,
            plays: BTreeSet::new(),
            names_base,
            pending,
            dice,
        }
    }

    pub(crate) fn open(&self) -> usize {
        self.pending.len()
    }

    /// Publishes until the connection is cut.
    pub(crate) fn load(mut self, address: SocketAddr, acked: &AtomicU64) -> Result<Self, String> {
        let mut link = Link::open(address, &self)?;
        loop {
            while self.pending.len() < WINDOW {
                self.compose();
            }
            let Some(answer) = link.exchange(&self)? else {
                return Ok(self);
            };
            self.take(&answer)?;
            acked.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sends again what is open, until everything is acknowledged.
    pub(crate) fn flush(mut self, address: SocketAddr) -> Result<Self, String> {
        let mut link = Link::open(address, &self)?;
        while !self.pending.is_empty() {
            let answer = link
                .exchange(&self)?
                .ok_or("the broker closed the last connection")?;
            self.take(&answer)?;
        }
        Ok(self)
    }

    fn compose(&mut self) {
        let device_seq = self.sent.len() as u64 + 1;
        let event = self.event(device_seq).from_device(&self.device, device_seq);
        let clock = CLOCK_BASE_MS + self.dice.below(CLOCK_SPREAD_MS);
        let event = event.at(clock, self.dice.below(3));
        let known = self.acked.values().next_back().copied().unwrap_or(0);
        let base_seq = self.dice.below(known + 1);
        let event = match self.names_base {
            true => event.with("base_seq", base_seq.into()),
            false => event,
        };
        self.sent.push(event.json());
        self.pending.push_back(device_seq);
    }

    fn event(&mut self, device_seq: u64) -> Star {
        if self.dice.below(PLAYS) == 0 {
            self.plays.insert(device_seq);
            return Star::of("play_track", json!({ "track_id": self.device }));
        }
        let album = format!("album-{:02}", self.dice.below(ALBUMS));
        match self.dice.below(3) {
            0 => Star::no_album(&album),
            _ => Star::album(&album),
        }
    }

    fn take(&mut self, answer: &Answered) -> Result<(), String> {
        let device_seq = self
            .pending
            .pop_front()
            .ok_or("an acknowledgement for nothing")?;
        let (seq, is_repeat) = match answer {
            Answered::Saved(seq) => (*seq, false),
            Answered::Repeat(seq) => (*seq, true),
        };
        self.repeats += u64::from(is_repeat);
        match self.acked.insert(device_seq, seq) {
            None => Ok(()),
            Some(_) => Err(format!(
                "{} {device_seq} was acknowledged twice",
                self.device
            )),
        }
    }
}

enum Answered {
    Saved(u64),
    Repeat(u64),
}

/// One connection; what is pending is sent on it once, in order.
struct Link {
    wire: Wire,
    topic: String,
    in_flight: VecDeque<u16>,
}

impl Link {
    fn open(address: SocketAddr, publisher: &Publisher) -> Result<Self, String> {
        let connect = Connect::new(Version::V5, "").user("device", &publisher.device);
        let wire = Wire::connect(address, &connect).map_err(|error| format!("CONNECT: {error}"))?;
        Ok(Self {
            wire,
            topic: format!("{}/events", publisher.stream),
            in_flight: VecDeque::new(),
        })
    }

    /// Sends what is not in flight, then takes one acknowledgement; none when the connection is cut.
    fn exchange(&mut self, publisher: &Publisher) -> Result<Option<Answered>, String> {
        for device_seq in publisher.pending.iter().skip(self.in_flight.len()) {
            let payload = &publisher.sent[*device_seq as usize - 1];
            match self.wire.send(&self.topic, payload) {
                Ok(id) => self.in_flight.push_back(id),
                Err(error) if is_closed(&error) => return Ok(None),
                Err(error) => return Err(format!("PUBLISH: {error}")),
            }
        }
        match self.wire.receive() {
            Ok(packet) => self.answered(&packet).map(Some),
            Err(error) if is_closed(&error) => Ok(None),
            Err(error) => Err(format!("waiting for a PUBACK: {error}")),
        }
    }

    fn answered(&mut self, packet: &Packet) -> Result<Answered, String> {
        let Packet::PubAck {
            id,
            code: 0,
            properties,
        } = packet
        else {
            return Err(format!("{packet:?} instead of a success"));
        };
        if self.in_flight.pop_front() != Some(*id) {
            return Err(format!("the PUBACK of {id} is out of order (ANSWER-2)"));
        }
        let number = |name| properties.user(name).and_then(|text| text.parse().ok());
        let saved = number("seq").map(Answered::Saved);
        saved
            .or_else(|| number("repeat").map(Answered::Repeat))
            .ok_or_else(|| format!("a success that names no seq (ANSWER-1): {properties:?}"))
    }
}
