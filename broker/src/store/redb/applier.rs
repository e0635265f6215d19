//! The applier: a thread that brings the tables up to the journal, off the way of acknowledgements.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use syncline_protocol::StreamId;

use super::RedbOptions;
use super::journal::Trimmer;
use super::tables::Tables;
use super::tail::Tail;
use crate::store::{Committed, Footprint, StoreError, StreamHead};

/// Events in one commit of the tables at most.
pub(super) const BATCH_EVENTS_MAX: usize = 4096;

/// Payload bytes in one commit of the tables, give or take one event.
const BATCH_BYTES_MAX: usize = 8 << 20;

/// How soon tables that refused are tried again.
const RETRY: Duration = Duration::from_millis(500);

/// An event that is in the journal.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) position: u64,
    pub(super) event: Committed,
    pub(super) footprint: Footprint,
}

/// Handle of the thread, and the tail that it works off.
#[derive(Debug)]
pub(super) struct Applier {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    lag: Mutex<Lag>,
    /// There is something to apply, or it is time to close.
    work: Condvar,
    /// Something was applied, or never will be.
    room: Condvar,
    events_max: usize,
    bytes_max: usize,
    interval: Duration,
}

#[derive(Debug, Default)]
struct Lag {
    tail: Tail,
    closing: bool,
    /// The tables refuse, so nothing is accepted. For ever if a sync failed, else until they take the same again.
    failed: Option<StoreError>,
}

impl Applier {
    pub(super) fn start(
        tables: Arc<Tables>,
        trimmer: Trimmer,
        options: &RedbOptions,
    ) -> Result<Applier, StoreError> {
        let shared = Arc::new(Shared {
            lag: Mutex::default(),
            work: Condvar::new(),
            room: Condvar::new(),
            events_max: options.lag_events_max.max(1),
            bytes_max: options.lag_bytes_max.max(1),
            interval: options.apply_interval,
        });
        let worker = Arc::clone(&shared);
        let builder = std::thread::Builder::new().name("applier".to_owned());
        let thread = builder.spawn(move || worker.run(&tables, &trimmer));
        let thread = thread.map_err(|error| StoreError::Thread(error.to_string()))?;
        Ok(Applier {
            shared,
            thread: Some(thread),
        })
    }

    /// Asks the tail.
    pub(super) fn tail<T>(&self, ask: impl FnOnce(&Tail) -> T) -> T {
        ask(&self.shared.lag().tail)
    }

    /// Waits until the lag is within its bounds; fails once the tables refuse.
    pub(super) fn wait_for_room(&self) -> Result<(), StoreError> {
        let lag = self.shared.lag();
        let full = |lag: &mut Lag| lag.failed.is_none() && self.shared.is_full(&lag.tail);
        let waited = self.shared.room.wait_while(lag, full);
        let lag = waited.unwrap_or_else(PoisonError::into_inner);
        lag.failed.clone().map_or(Ok(()), Err)
    }

    /// Takes what the journal has, all at once for every reader.
    pub(super) fn take(
        &self,
        first: u64,
        events: Vec<(Committed, Footprint)>,
        heads: &BTreeMap<StreamId, StreamHead>,
    ) {
        let pending = (first..).zip(events).map(|(position, (event, footprint))| {
            Arc::new(Pending {
                position,
                event,
                footprint,
            })
        });
        let mut lag = self.shared.lag();
        let was_empty = lag.tail.len() == 0;
        lag.tail.push(pending, heads);
        if was_empty || self.shared.is_urgent(&lag) {
            self.shared.work.notify_one();
        }
    }
}

impl Drop for Applier {
    fn drop(&mut self) {
        self.shared.lag().closing = true;
        self.shared.work.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the applier's thread panicked");
        }
    }
}

impl Shared {
    fn lag(&self) -> MutexGuard<'_, Lag> {
        self.lag.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_full(&self, tail: &Tail) -> bool {
        tail.len() >= self.events_max || tail.bytes() >= self.bytes_max
    }

    /// Whether gathering more would only make appends wait.
    fn is_urgent(&self, lag: &Lag) -> bool {
        lag.closing || lag.tail.len() >= BATCH_EVENTS_MAX || self.is_full(&lag.tail)
    }

    fn run(&self, tables: &Tables, trimmer: &Trimmer) {
        while let Some(events) = self.next_batch() {
            let goes_on = match self.apply(&events, tables, trimmer) {
                Ok(()) => self.recover(),
                Err(error) => self.may_retry(error),
            };
            if !goes_on {
                return;
            }
        }
    }

    fn recover(&self) -> bool {
        if self.lag().failed.take().is_some() {
            tracing::warn!("the tables take events again");
        }
        true
    }

    /// Tells everybody that the tables refuse, then waits a little; `false`: they will not be asked again.
    fn may_retry(&self, error: StoreError) -> bool {
        let mut lag = self.lag();
        if lag.failed.is_none() {
            tracing::error!(%error, "the tables refuse; nothing is accepted until they do not");
        }
        let is_final = lag.closing || error.is_failed_sync();
        lag.failed = Some(error);
        self.room.notify_all();
        if is_final {
            return false;
        }
        let waited = self.work.wait_timeout_while(lag, RETRY, |lag| !lag.closing);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        true
    }

    /// The oldest events once they are worth a commit; `None` when everything is applied and it is time to close.
    fn next_batch(&self) -> Option<Vec<Arc<Pending>>> {
        let idle = |lag: &mut Lag| lag.tail.len() == 0 && !lag.closing;
        let waited = self.work.wait_while(self.lag(), idle);
        let lag = waited.unwrap_or_else(PoisonError::into_inner);
        let gathering = |lag: &mut Lag| !self.is_urgent(lag);
        let waited = self.work.wait_timeout_while(lag, self.interval, gathering);
        let (lag, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let events = lag.tail.oldest(BATCH_EVENTS_MAX, BATCH_BYTES_MAX);
        (!events.is_empty()).then_some(events)
    }

    fn apply(
        &self,
        events: &[Arc<Pending>],
        tables: &Tables,
        trimmer: &Trimmer,
    ) -> Result<(), StoreError> {
        let events: Vec<&Pending> = events.iter().map(Arc::as_ref).collect();
        tables.apply(&events)?;
        let Some(last) = events.last() else {
            return Ok(());
        };
        self.lag().tail.drop_through(last.position);
        self.room.notify_all();
        match trimmer.trim(last.position) {
            Err(error) if error.is_failed_sync() => Err(error),
            // The next trim takes it with it.
            Err(error) => {
                tracing::debug!(%error, "the journal was not trimmed");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }
}
