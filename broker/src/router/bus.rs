//! The only module that names rumqttd: one instance, one publishing link, one subscribing link.
//!
//! What rumqttd 0.20 needs to stay alive and lose nothing, as measured and read in its source:
//! - Topics are ASCII: it cuts the first *byte* off a topic, which panics inside a longer character. Here there is one
//!   fixed topic, QoS 0, no retain flag, no will, no `$share`, no properties, clean sessions with fixed link ids.
//! - Its log forgets whole segments when it is full, and a reader that is behind jumps ahead without a word. So
//!   [`config`] makes the log hold the whole credit window, and the pump never has more outstanding than that.
//! - After about 200 waiting messages it stops a link with `Unschedule` and forgets it until the link says `ready`. Said
//!   exactly once per `Unschedule`, and never after the link left: both would panic its thread.
//! - A dropped link keeps its slot for ever: it must say DISCONNECT.
//! - Its thread has no end but a panic. A replaced instance whose links left stays parked, with at most one window of memory.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rumqttd::local::{LinkBuilder, LinkRx, LinkTx};
use rumqttd::protocol::{Disconnect, DisconnectReasonCode, Packet};
use rumqttd::{Notification, RouterConfig};

/// The one topic. Its first character is ASCII, and not `$`.
const TOPIC: &str = "bus";
/// A topic that nobody subscribes to.
const NOWHERE: &str = "nowhere";
/// A topic whose first character is not ASCII: rumqttd's thread panics on it.
const POISON: &str = "é";
/// rumqttd counts 4 bytes and the topic on top of each payload.
const OVERHEAD: usize = 4 + TOPIC.len();
/// Full segments that the log keeps beside the one that it fills.
const SEGMENTS_FULL: usize = 4;
/// rumqttd panics below this.
const SEGMENT_BYTES_MIN: usize = 1024;
/// Messages that rumqttd moves from its log to the link at a time.
const FORWARD_MAX: u64 = 512;
/// For an instance that was just started to answer a SUBSCRIBE.
const OPEN_DEADLINE: Duration = Duration::from_secs(5);

/// Why an instance did not come up.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// It could not start its thread.
    #[error("no thread")]
    NoThread,
    /// A link was not taken.
    #[error("a link was refused")]
    NoLink,
    /// It did not answer the one SUBSCRIBE.
    #[error("the subscription was not answered")]
    NotSubscribed,
}

/// The instance's thread is gone, or it dropped the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dead;

/// Starts an instance and opens both links. `window_bytes`: what will be outstanding at most, by [`cost`].
pub(super) fn open(window_bytes: usize) -> Result<(Sender, Receiver), BusError> {
    let router = rumqttd::Router::new(0, config(window_bytes));
    // `spawn` panics when the system has no thread left; that must not end the pump.
    let events =
        catch_unwind(AssertUnwindSafe(|| router.spawn())).map_err(|_| BusError::NoThread)?;
    let subscriber = LinkBuilder::new("subscriber", events.clone()).build();
    let (tx, rx, _) = subscriber.map_err(|_| BusError::NoLink)?;
    let mut receiver = Receiver { tx, rx };
    receiver.subscribe()?;
    let publisher = LinkBuilder::new("publisher", events).build();
    let (tx, rx, _) = publisher.map_err(|_| BusError::NoLink)?;
    Ok((
        Sender {
            tx,
            _rx: rx,
            topic: TOPIC,
        },
        receiver,
    ))
}

/// What a message of `len` bytes takes of the window.
pub(super) fn cost(len: usize) -> u64 {
    (len + OVERHEAD) as u64
}

/// Before a segment is forgotten, `SEGMENTS_FULL` later ones are full: more than the window.
fn config(window_bytes: usize) -> RouterConfig {
    RouterConfig {
        max_connections: 2,
        max_outgoing_packet_count: FORWARD_MAX,
        max_segment_size: window_bytes.div_ceil(SEGMENTS_FULL).max(SEGMENT_BYTES_MIN),
        max_segment_count: SEGMENTS_FULL + 1,
        ..RouterConfig::default()
    }
}

/// The publishing link.
pub(super) struct Sender {
    tx: LinkTx,
    /// Dropping it would close the channel that rumqttd tells us things on.
    _rx: LinkRx,
    topic: &'static str,
}

/// Sending never blocks and cannot fail in a way that matters here. A full channel is no loss: the message lies in the
/// link's buffer, and one of the signals that fill the channel makes rumqttd empty that buffer. A closed one is
/// noticed by the [`Receiver`].
impl Sender {
    /// Puts a message into the bus.
    pub(super) fn send(&mut self, message: Bytes) {
        let _ = self.tx.try_publish(self.topic, message);
    }

    /// Makes the instance's thread panic.
    pub(super) fn poison(&mut self) {
        let _ = self.tx.try_publish(POISON, "kill");
    }

    /// From now on messages are taken and go nowhere.
    pub(super) fn silence(&mut self) {
        self.topic = NOWHERE;
    }

    /// Says goodbye.
    pub(super) fn leave(mut self) {
        disconnect(&mut self.tx);
    }
}

/// The subscribing link.
pub(super) struct Receiver {
    tx: LinkTx,
    rx: LinkRx,
}

impl Receiver {
    /// The next message; `None` when there is none until `deadline`.
    pub(super) fn recv(&mut self, deadline: Instant) -> Result<Option<Bytes>, Dead> {
        loop {
            match self.notification(deadline)? {
                Some(Notification::Forward(forward)) => return Ok(Some(forward.publish.payload)),
                Some(Notification::Unschedule) => self.rx.ready().map_err(|_| Dead)?,
                Some(Notification::Disconnect(..)) => return Err(Dead),
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }

    /// Answers what is still open, so that no `Unschedule` is left behind, then says goodbye.
    pub(super) fn leave(mut self) {
        while let Ok(Some(_)) = self.recv(Instant::now()) {}
        disconnect(&mut self.tx);
    }

    fn subscribe(&mut self) -> Result<(), BusError> {
        self.tx.try_subscribe(TOPIC).map_err(|_| BusError::NoLink)?;
        let deadline = Instant::now() + OPEN_DEADLINE;
        match self.notification(deadline) {
            Ok(Some(Notification::DeviceAck(_))) => Ok(()),
            _ => Err(BusError::NotSubscribed),
        }
    }

    /// A wake-up without a notification is possible: rumqttd signals once per batch and once per acknowledgement.
    fn notification(&mut self, deadline: Instant) -> Result<Option<Notification>, Dead> {
        loop {
            match self.rx.recv_deadline(deadline) {
                Ok(Some(notification)) => return Ok(Some(notification)),
                Ok(None) => {}
                // The error does not tell a deadline from a closed channel; a closed one fails again at once.
                Err(_) if Instant::now() >= deadline => return Ok(None),
                Err(_) => return Err(Dead),
            }
        }
    }
}

/// Says DISCONNECT through the link's buffer: rumqttd's own door for it would block on a full channel. The message after
/// it only rings the bell; rumqttd reads nothing behind a DISCONNECT.
fn disconnect(tx: &mut LinkTx) {
    let reason_code = DisconnectReasonCode::NormalDisconnection;
    tx.buffer()
        .push_back(Packet::Disconnect(Disconnect { reason_code }, None));
    let _ = tx.try_publish(TOPIC, "bell");
}
