//! Devices that publish events, and those who follow them: from a cursor of their own, or by a session that is kept.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use syncline_tests::dice::Dice;
use syncline_tests::star::Star;
use syncline_tests::wait;
use syncline_tests::wire::{Connect, Packet, Publish, Version, Wire};

use crate::life::{Life, Next, Trouble, unless_done, wrong};

pub(crate) const STREAM: &str = "sync/soak";
const WINDOW: usize = 8;
/// Between two full windows of one device.
const PACE: Duration = Duration::from_millis(400);
/// How long a follower stays on one connection, and how long one whose session is kept is away.
const STAY: Duration = Duration::from_secs(15);
const SHORT_STAY: Duration = Duration::from_secs(4);
const AWAY: Duration = Duration::from_secs(2);

/// One device. What is not acknowledged is sent again after a restart.
pub(crate) struct Device {
    uuid: String,
    composed: u64,
    pending: VecDeque<(u64, String)>,
    /// `device_seq` to seq.
    pub(crate) acked: BTreeMap<u64, u64>,
    pub(crate) repeats: u64,
    dice: Dice,
}

impl Device {
    pub(crate) fn new(mut dice: Dice) -> Self {
        Self {
            uuid: dice.uuid(),
            composed: 0,
            pending: VecDeque::new(),
            acked: BTreeMap::new(),
            repeats: 0,
            dice,
        }
    }

    pub(crate) fn turn(&mut self, address: SocketAddr, life: &Life) -> Result<Next, Trouble> {
        let connect = Connect::new(Version::V5, "").user("device", &self.uuid);
        let mut wire = Wire::connect(address, &connect)?;
        loop {
            self.exchange(&mut wire)?;
            if life.is_stopping() {
                wire.disconnect()?;
                return Ok(Next::Done);
            }
            (0..WINDOW).for_each(|_| self.compose());
            wait::let_pass(PACE);
        }
    }

    fn compose(&mut self) {
        self.composed += 1;
        let album = format!("album-{}", self.dice.below(200));
        let star = match self.dice.below(3) {
            0 => Star::no_album(&album),
            _ => Star::album(&album),
        };
        let event = star.from_device(&self.uuid, self.composed).json();
        self.pending.push_back((self.composed, event));
    }

    /// Everything that is pending is sent, in order, and acknowledged, in order.
    fn exchange(&mut self, wire: &mut Wire) -> Result<(), Trouble> {
        let topic = format!("{STREAM}/events");
        let mut sent = VecDeque::new();
        for (_, event) in &self.pending {
            sent.push_back(wire.send(&topic, event)?);
        }
        while let Some((device_seq, _)) = self.pending.front() {
            let answer = wire.receive()?;
            let Some(seq) = success(&answer, sent.pop_front())? else {
                let ended = std::io::ErrorKind::ConnectionAborted;
                return Err(std::io::Error::from(ended).into());
            };
            self.repeats += u64::from(is_repeat(&answer));
            self.acked.insert(*device_seq, seq);
            self.pending.pop_front();
        }
        Ok(())
    }
}

/// The seq that a PUBACK names; none when the broker says that it ends.
fn success(packet: &Packet, expected: Option<u16>) -> Result<Option<u64>, Trouble> {
    match packet {
        Packet::PubAck {
            id,
            code: 0,
            properties,
        } if Some(*id) == expected => {
            let named = properties.user("seq").or(properties.user("repeat"));
            match named.and_then(|it| it.parse().ok()) {
                Some(seq) => Ok(Some(seq)),
                None => wrong(format!("a PUBACK without a seq: {properties:?}")),
            }
        }
        Packet::Disconnect { .. } => Ok(None),
        other => wrong(format!("{other:?} instead of the PUBACK of {expected:?}")),
    }
}

fn is_repeat(packet: &Packet) -> bool {
    matches!(packet, Packet::PubAck { properties, .. } if properties.user("repeat").is_some())
}

/// Follows from a cursor: everything once, in order, without a hole.
#[derive(Default)]
pub(crate) struct Follower {
    /// By seq: of which device, and its `device_seq`.
    pub(crate) seen: HashMap<u64, (String, u64)>,
    last: u64,
}

impl Follower {
    pub(crate) fn turn(
        &mut self,
        address: SocketAddr,
        target: &AtomicU64,
    ) -> Result<Next, Trouble> {
        let mut wire = Wire::connect(address, &Connect::new(Version::V311, ""))?;
        wire.subscribe(&format!("$json/$since/{}/{STREAM}/events", self.last))?;
        let begin = Instant::now();
        while begin.elapsed() < STAY {
            if self.last >= target.load(Ordering::SeqCst) {
                return Ok(Next::Done);
            }
            let heard = wire.message().map_err(Trouble::from);
            let is_done = self.last >= target.load(Ordering::SeqCst);
            let Some(message) = unless_done(is_done, heard)? else {
                return Ok(Next::Done);
            };
            let event = message.json();
            let seq = number(&event, "seq")?;
            if seq != self.last + 1 {
                return wrong(format!("seq {seq} after {} ({})", self.last, message.topic));
            }
            let device = event["device_uuid"].as_str().unwrap_or("").to_owned();
            self.seen
                .insert(seq, (device, number(&event, "device_seq")?));
            self.last = seq;
        }
        Ok(Next::Again)
    }

    /// Everything that this device was acknowledged stands where it was said to.
    pub(crate) fn has_all_of(&self, device: &Device) -> Result<(), String> {
        for (device_seq, seq) in &device.acked {
            let expected = (device.uuid.clone(), *device_seq);
            match self.seen.get(seq) {
                Some(seen) if *seen == expected => {}
                other => {
                    return Err(format!(
                        "acknowledged as seq {seq}: {expected:?}; delivered: {other:?}"
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Follows by a session that is kept: repeats after it came back, never a hole.
pub(crate) struct Kept {
    connect: Connect,
    last: Option<u64>,
    turns: u32,
    pub(crate) repeats: u64,
}

impl Kept {
    /// Subscribes, so that its session is there.
    pub(crate) fn start(address: SocketAddr) -> std::io::Result<Self> {
        let connect = Connect::new(Version::V5, "soak-kept").expiry(3_600).back();
        let mut wire = Wire::connect(address, &connect)?;
        wire.subscribe(&format!("$json/{STREAM}/events"))?;
        wire.disconnect()?;
        Ok(Self {
            connect,
            last: None,
            turns: 0,
            repeats: 0,
        })
    }

    pub(crate) fn turn(
        &mut self,
        address: SocketAddr,
        target: &AtomicU64,
    ) -> Result<Next, Trouble> {
        let mut wire = come_back(address, &self.connect)?;
        let begin = Instant::now();
        self.turns += 1;
        while begin.elapsed() < SHORT_STAY {
            if self.last.unwrap_or(0) >= target.load(Ordering::SeqCst) {
                return Ok(Next::Done);
            }
            let heard = wire.message().map_err(Trouble::from);
            let is_done = self.last.unwrap_or(0) >= target.load(Ordering::SeqCst);
            let Some(message) = unless_done(is_done, heard)? else {
                return Ok(Next::Done);
            };
            self.take(&message)?;
        }
        // Every other time it is cut, without a DISCONNECT.
        if self.turns.is_multiple_of(2) {
            wire.disconnect()?;
        }
        wait::let_pass(AWAY);
        Ok(Next::Again)
    }

    fn take(&mut self, message: &Publish) -> Result<(), Trouble> {
        let seq = number(&message.json(), "seq")?;
        match self.last {
            Some(last) if seq > last + 1 => {
                wrong(format!("seq {seq} after {last} in a kept session"))
            }
            Some(last) if seq <= last => {
                self.repeats += 1;
                Ok(())
            }
            _ => {
                self.last = Some(seq);
                Ok(())
            }
        }
    }
}

/// Comes back to a session that has to be there.
pub(crate) fn come_back(address: SocketAddr, connect: &Connect) -> Result<Wire, Trouble> {
    match Wire::connect_raw(address, connect)? {
        (
            wire,
            Packet::ConnAck {
                session_present: true,
                code: 0,
                ..
            },
        ) => Ok(wire),
        (_, Packet::ConnAck { code: 0, .. }) => wrong("a kept session was forgotten".to_owned()),
        (_, other) => {
            Err(std::io::Error::other(format!("CONNECT was answered with {other:?}")).into())
        }
    }
}

/// The states of the stream, whose seq never goes back.
pub(crate) fn states(address: SocketAddr) -> Result<(), Trouble> {
    let mut wire = Wire::connect(address, &Connect::new(Version::V5, ""))?;
    wire.subscribe(&format!("$json/{STREAM}/state"))?;
    let (begin, mut last) = (Instant::now(), 0);
    while begin.elapsed() < SHORT_STAY {
        let seq = number(&wire.message()?.json(), "seq")?;
        if seq < last {
            return wrong(format!("a state at {seq} after one at {last}"));
        }
        last = seq;
    }
    Ok(wire.disconnect()?)
}

pub(crate) fn number(value: &Value, name: &str) -> Result<u64, Trouble> {
    match value[name].as_u64() {
        Some(number) => Ok(number),
        None => wrong(format!("{name} is no number in {value}")),
    }
}
