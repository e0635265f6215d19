//! Ordinary messages that are numbered: a publisher and a subscriber whose sessions are kept, at QoS 1 or 2.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use syncline_tests::wait;
use syncline_tests::wire::{Connect, Outgoing, Packet, Publish, Version, Wire};

use crate::events::come_back;
use crate::life::{Life, Next, Trouble, unless_done, wrong};

const PACE: Duration = Duration::from_millis(20);
const STAY: Duration = Duration::from_secs(4);
const AWAY: Duration = Duration::from_secs(1);
const IDS: u64 = 60_000;

fn kept(name: &str, qos: u8) -> Connect {
    let id = format!("soak-{name}-{qos}");
    Connect::new(Version::V5, &id).expiry(3_600).back()
}

fn topic(qos: u8) -> String {
    format!("soak/numbers/{qos}")
}

/// A message that is under way.
struct Open {
    number: u64,
    /// Whether a PUBLISH of it has left.
    is_sent: bool,
    /// Whether the broker has it (QoS 2) and only the end is missing.
    is_received: bool,
}

pub(crate) struct Publisher {
    qos: u8,
    connect: Connect,
    open: Open,
}

impl Publisher {
    pub(crate) fn start(address: SocketAddr, qos: u8) -> io::Result<Self> {
        let connect = kept("publisher", qos);
        Wire::connect(address, &connect)?.disconnect()?;
        Ok(Self {
            qos,
            connect,
            open: open(1),
        })
    }

    /// How many were published to the end.
    pub(crate) fn published(&self) -> u64 {
        self.open.number - 1
    }

    pub(crate) fn turn(&mut self, address: SocketAddr, life: &Life) -> Result<Next, Trouble> {
        let mut wire = come_back(address, &self.connect)?;
        loop {
            self.publish(&mut wire)?;
            if life.is_stopping() {
                wire.disconnect()?;
                return Ok(Next::Done);
            }
            wait::let_pass(PACE);
        }
    }

    fn publish(&mut self, wire: &mut Wire) -> Result<(), Trouble> {
        let id = (self.open.number % IDS) as u16 + 1;
        if !self.open.is_received {
            let message =
                Outgoing::new(&topic(self.qos), self.open.number.to_string()).qos(self.qos);
            let message = if self.open.is_sent {
                message.dup()
            } else {
                message
            };
            self.open.is_sent = true;
            wire.publish_as(id, &message)?;
            let answer = match self.qos {
                1 => wire.puback(id)?,
                _ => wire.pubrec(id)?,
            };
            if answer.code >= 0x80 {
                return wrong(format!(
                    "number {} was refused: {answer:?}",
                    self.open.number
                ));
            }
            self.open.is_received = true;
        }
        if self.qos == 2 {
            wire.send_ack(0x62, id)?;
            wire.pubcomp(id)?;
        }
        self.open = open(self.open.number + 1);
        Ok(())
    }
}

fn open(number: u64) -> Open {
    Open {
        number,
        is_sent: false,
        is_received: false,
    }
}

/// Comes and goes. At QoS 2 each number comes once; at QoS 1 some may come again.
pub(crate) struct Subscriber {
    qos: u8,
    connect: Connect,
    last: u64,
    /// Packet ids that were received and not released yet.
    held: HashSet<u16>,
    turns: u32,
    pub(crate) repeats: u64,
}

impl Subscriber {
    pub(crate) fn start(address: SocketAddr, qos: u8) -> io::Result<Self> {
        let connect = kept("subscriber", qos);
        let mut wire = Wire::connect(address, &connect)?;
        wire.subscribe_all(&[(&topic(qos), qos)])?;
        wire.disconnect()?;
        Ok(Self {
            qos,
            connect,
            last: 0,
            held: HashSet::new(),
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
        while begin.elapsed() < STAY {
            if self.last >= target.load(Ordering::SeqCst) {
                return Ok(Next::Done);
            }
            let taken = self.take(&mut wire);
            let is_done = self.last >= target.load(Ordering::SeqCst);
            unless_done(is_done, taken)?;
        }
        if self.turns.is_multiple_of(2) {
            wire.disconnect()?;
        }
        wait::let_pass(AWAY);
        Ok(Next::Again)
    }

    fn take(&mut self, wire: &mut Wire) -> Result<(), Trouble> {
        match wire.receive()? {
            Packet::Publish(message) => self.message(wire, &message),
            Packet::PubRel { id } => {
                self.held.remove(&id);
                Ok(wire.send_ack(0x70, id)?)
            }
            Packet::Disconnect { .. } => {
                Err(io::Error::from(io::ErrorKind::ConnectionAborted).into())
            }
            other => wrong(format!("{other:?} to a subscriber of numbers")),
        }
    }

    fn message(&mut self, wire: &mut Wire, message: &Publish) -> Result<(), Trouble> {
        let Some(id) = message.id.filter(|_| message.qos == self.qos) else {
            return wrong(format!("QoS {} instead of {}", message.qos, self.qos));
        };
        let is_new = self.qos == 1 || self.held.insert(id);
        if is_new {
            self.count(message)?;
        }
        let first = if self.qos == 1 { 0x40 } else { 0x50 };
        Ok(wire.send_ack(first, id)?)
    }

    fn count(&mut self, message: &Publish) -> Result<(), Trouble> {
        let text = String::from_utf8_lossy(&message.payload);
        let Ok(number) = text.parse::<u64>() else {
            return wrong(format!("{text:?} is no number"));
        };
        if number == self.last + 1 {
            self.last = number;
            return Ok(());
        }
        if self.qos == 1 && number <= self.last {
            self.repeats += 1;
            return Ok(());
        }
        let (qos, last) = (self.qos, self.last);
        wrong(format!(
            "number {number} after {last} at QoS {qos} (DUP {})",
            message.dup
        ))
    }
}
