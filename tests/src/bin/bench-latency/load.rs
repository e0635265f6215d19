//! One publisher and one subscriber, each on a connection and a thread of its own.

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use syncline_tests::star::Star;
use syncline_tests::wait::PATIENCE;
use syncline_tests::wire::{Connect, Packet, Version, Wire};

pub(crate) struct Load {
    pub(crate) address: SocketAddr,
    pub(crate) window: usize,
    pub(crate) events: usize,
    pub(crate) round: u32,
}

pub(crate) struct Measured {
    pub(crate) acknowledged: Vec<Duration>,
    pub(crate) delivered: Vec<Duration>,
    pub(crate) sent_bytes: usize,
    pub(crate) delivered_bytes: usize,
}

/// When a message arrived, and how large it was.
type Arrivals = Receiver<(Instant, usize)>;

impl Load {
    pub(crate) fn run(&self) -> io::Result<Measured> {
        let topic = format!("sync/bench-{}-{}/events", self.window, self.round);
        let arrivals = self.subscribe(&topic)?;
        let mut wire = Wire::connect(self.address, &Connect::new(Version::V5, ""))?;
        let payloads: Vec<String> = (0..self.events)
            .map(|at| Star::album(&format!("album-{at:06}")).json())
            .collect();
        let mut sent = Vec::with_capacity(self.events);
        let mut acked = Vec::with_capacity(self.events);
        let mut arrived = Vec::with_capacity(self.events);
        while acked.len() < self.events {
            while sent.len() < self.events && sent.len() - acked.len() < self.window {
                let payload = &payloads[sent.len()];
                sent.push(Instant::now());
                wire.send(&topic, payload)?;
            }
            success(&wire.receive()?)?;
            acked.push(Instant::now());
            if self.window == 1 {
                arrived.push(arrival(&arrivals)?);
            }
        }
        while arrived.len() < self.events {
            arrived.push(arrival(&arrivals)?);
        }
        let delivered_bytes = arrived.last().map_or(0, |(_, bytes)| *bytes);
        Ok(Measured {
            acknowledged: differences(&sent, acked),
            delivered: differences(&sent, arrived.into_iter().map(|(at, _)| at)),
            sent_bytes: payloads[0].len(),
            delivered_bytes,
        })
    }

    /// Messages come in the order of their publishing, so the n-th arrival is the n-th event.
    fn subscribe(&self, topic: &str) -> io::Result<Arrivals> {
        let mut wire = Wire::connect(self.address, &Connect::new(Version::V5, ""))?;
        wire.subscribe(topic)?;
        let (sender, arrivals) = mpsc::channel();
        let events = self.events;
        thread::spawn(move || {
            for _ in 0..events {
                let Ok(message) = wire.message() else { return };
                if sender
                    .send((Instant::now(), message.payload.len()))
                    .is_err()
                {
                    return;
                }
            }
        });
        Ok(arrivals)
    }
}

fn arrival(arrivals: &Arrivals) -> io::Result<(Instant, usize)> {
    arrivals
        .recv_timeout(PATIENCE)
        .map_err(|error| io::Error::other(format!("a delivery: {error}")))
}

fn success(packet: &Packet) -> io::Result<()> {
    match packet {
        // Mosquitto says 0x10 where nobody is subscribed.
        Packet::PubAck { code: 0 | 0x10, .. } => Ok(()),
        other => Err(io::Error::other(format!("{other:?} instead of a PUBACK"))),
    }
}

fn differences(begins: &[Instant], ends: impl IntoIterator<Item = Instant>) -> Vec<Duration> {
    ends.into_iter()
        .zip(begins)
        .map(|(end, begin)| end.duration_since(*begin))
        .collect()
}
