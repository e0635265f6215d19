//! The bus: from what the store has committed to every edge worker, through an in-process rumqttd.
//!
//! The store is the truth and the router is disposable. It may drop, jump or die at any time; it then says
//! [`BusMessage::Resync`], and whoever listens compares its heads with the store and reads what it lacks there.
//! The router knows no client and no topic filter: it has one internal topic, and rumqttd is named in `bus.rs` alone.
//!
//! The calling contract: [`Router::start`] once, with the one consumer; [`Router::publish`] from any thread, in
//! the order of the commits, never blocks; [`Router::close`] (or drop) ends the threads. The consumer is called on one
//! thread at a time, in order; it may block, and while it does the bus waits, within its bounds.
//!
//! ```text
//! publish -> intake (bounded) -> pump thread -> rumqttd -> link thread -> consumer
//!                                    ^---- credit, progress ----'
//! ```

mod bus;
mod desk;
mod frame;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod link;
mod pump;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::store::Committed;
pub use bus::BusError;
use desk::Desk;
use pump::Pump;

/// What the consumer hears.
#[derive(Debug)]
pub enum BusMessage {
    /// One committed event; events of one stream come in the order of their seq.
    Event(Committed),
    /// Something may have been missed: compare heads with the store. Also the first thing that a started router says.
    Resync,
}

/// The one listener. It may block: the bus then waits within its bounds.
pub type Consumer = Box<dyn FnMut(BusMessage) + Send>;

/// How much the router holds and how it notices its own death.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouterOptions {
    /// Messages that are in the bus and not yet consumed, at most.
    pub outstanding_max: usize,
    /// The same in bytes. The bus keeps a little more than this in memory.
    pub outstanding_bytes_max: usize,
    /// Events that wait for the bus, at most; what comes on top is dropped and answered with a Resync.
    pub intake_max: usize,
    /// The same in bytes of payload.
    pub intake_bytes_max: usize,
    /// How often a canary is sent through the bus.
    pub canary_interval: Duration,
    /// A bus that owes a message for so long, with an idle consumer, is dead.
    pub canary_timeout: Duration,
}

/// Why a router could not be started.
#[derive(Debug, thiserror::Error)]
pub enum RouterError {
    /// The bus did not come up.
    #[error("the in-process bus did not start: {0}")]
    Bus(#[from] BusError),
    /// No thread could be started.
    #[error("a thread of the router could not be started: {0}")]
    Thread(#[from] std::io::Error),
}

/// The running bus; see the module's words for its contract.
#[derive(Debug)]
pub struct Router {
    desk: Arc<Desk>,
    pump: Option<JoinHandle<()>>,
}

/// How long [`Router::close`] waits for the threads. One that a consumer blocks for longer is left behind.
const CLOSE_DEADLINE: Duration = Duration::from_secs(5);

impl Router {
    /// Starts the bus and its threads. `consumer` first hears a [`BusMessage::Resync`].
    pub fn start(options: RouterOptions, consumer: Consumer) -> Result<Self, RouterError> {
        let desk = Arc::new(Desk::new(&options));
        let pump = Pump::start(options, Arc::clone(&desk), consumer)?;
        let thread = std::thread::Builder::new().name("router-pump".into());
        let pump = Some(thread.spawn(move || pump.run())?);
        Ok(Self { desk, pump })
    }

    /// Hands events to the bus, in order. Never blocks: what does not fit is dropped and followed by a Resync.
    pub fn publish(&self, events: Vec<Committed>) {
        self.desk.take_in(events);
    }

    /// A handle for tests and for readiness.
    pub fn probe(&self) -> RouterProbe {
        RouterProbe {
            desk: Arc::clone(&self.desk),
        }
    }

    /// Ends the threads, within a deadline. What still waits is not delivered: the store has it.
    pub fn close(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let Some(pump) = self.pump.take() else { return };
        if self.desk.close(CLOSE_DEADLINE) {
            // A pump that panicked has told so on stderr; there is nothing left to close.
            let _ = pump.join();
        } else {
            tracing::warn!("the router's consumer did not return; its thread is left behind");
        }
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.end();
    }
}

/// What the router has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RouterStats {
    /// Messages sent into the bus: events, canaries and resyncs.
    pub published: u64,
    /// Of those, the ones that came out and were consumed, or were lost in the bus and noticed.
    pub drained: u64,
    /// How often the bus had silently jumped ahead.
    pub jumps: u64,
    /// Events that did not fit into the intake.
    pub overflows: u64,
    /// How often a dead bus was replaced.
    pub rebuilds: u64,
    /// The bus is up and has carried a message since it was built.
    pub healthy: bool,
}

/// Looks at a router and injures it, for readiness and for tests.
#[derive(Debug, Clone)]
pub struct RouterProbe {
    desk: Arc<Desk>,
}

impl RouterProbe {
    /// From its return on nothing is published into the bus, canaries included, until [`Self::release`]. Not a death.
    pub fn hold(&self) {
        self.desk.hold();
    }

    /// Ends a hold.
    pub fn release(&self) {
        self.desk.release();
    }

    /// Kills the bus as client bytes once could: its thread panics.
    pub fn kill(&self) {
        self.desk.injure(Injury::Panic);
    }

    /// Makes the bus look alive and carry nothing, so that only the canary can tell.
    pub fn silence(&self) {
        self.desk.injure(Injury::Silence);
    }

    /// The figures so far.
    pub fn stats(&self) -> RouterStats {
        self.desk.stats()
    }
}

/// What a probe can do to the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Injury {
    Panic,
    Silence,
}

#[cfg(test)]
mod tests;
