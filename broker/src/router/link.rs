//! The thread that takes messages out of the bus and hands them to the consumer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::bus::{Dead, Receiver};
use super::desk::{Amount, Desk, Link};
use super::frame::{self, Header, Kind};
use super::{BusMessage, Consumer};
use crate::store::Committed;

/// Everything that the thread owns while it runs.
pub(super) struct LinkThread {
    pub(super) desk: Arc<Desk>,
    pub(super) receiver: Receiver,
    /// Set by the pump: leave the bus and end.
    pub(super) stop: Arc<AtomicBool>,
    /// The counter of the next message, if none is lost.
    pub(super) expected: u64,
    /// How long to wait for the bus before looking at `stop` again.
    pub(super) patience: Duration,
    pub(super) consumer: Consumer,
}

impl LinkThread {
    /// Runs until it is stopped or the bus is dead, and gives the consumer back.
    pub(super) fn run(mut self) -> Consumer {
        let _down = Down(Arc::clone(&self.desk));
        self.desk.link(Link::Waiting {
            since: Instant::now(),
        });
        match self.receive() {
            Ok(()) => self.receiver.leave(),
            Err(Dead) => tracing::debug!("the bus is dead"),
        }
        self.consumer
    }

    fn receive(&mut self) -> Result<(), Dead> {
        while !self.stop.load(Ordering::Acquire) {
            if let Some(message) = self.receiver.recv(Instant::now() + self.patience)? {
                self.deliver(&message);
            }
        }
        Ok(())
    }

    /// Something that is not a message leaves a hole in the counter, or is the bell that rings at the end.
    fn deliver(&mut self, message: &Bytes) {
        let Some((header, body)) = frame::decode(message) else {
            return;
        };
        self.desk.link(Link::Delivering);
        if header.counter != self.expected {
            self.desk.jumped();
            (self.consumer)(BusMessage::Resync);
        }
        self.expected = header.counter + 1;
        self.consume(header.kind, body);
        self.desk.drained(header.amount(), Instant::now());
    }

    fn consume(&mut self, kind: Kind, body: Bytes) {
        match kind {
            Kind::Canary => {}
            Kind::Resync => (self.consumer)(BusMessage::Resync),
            Kind::Event => (self.consumer)(event(body)),
        }
    }
}

fn event(body: Bytes) -> BusMessage {
    Committed::from_frame(body).map_or(BusMessage::Resync, BusMessage::Event)
}

impl Header {
    fn amount(self) -> Amount {
        Amount {
            messages: self.counter,
            bytes: self.cost,
        }
    }
}

/// Tells the pump that the thread ended, also when the consumer panicked.
struct Down(Arc<Desk>);

impl Drop for Down {
    fn drop(&mut self) {
        self.0.link(Link::Down);
    }
}
