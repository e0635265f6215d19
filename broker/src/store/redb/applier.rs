//! The applier: a thread that brings the tables up to the journal, off the way of acknowledgements.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use syncline_protocol::StreamId;

use super::RedbOptions;
use super::journal::{Journal, Trimmer};
use super::pending::Pending;
use super::tables::Tables;
use super::tail::Tail;
use crate::store::{StoreError, StreamHead};

/// Records in one commit of the tables at most.
pub(super) const BATCH_RECORDS_MAX: usize = 4096;

/// Payload bytes in one commit of the tables, give or take one event.
const BATCH_BYTES_MAX: usize = 8 << 20;

/// How soon tables that refused are tried again.
const RETRY: Duration = Duration::from_millis(500);

/// The tail, and who works it off: a thread, or whoever calls [`Applier::apply_now`].
#[derive(Debug)]
pub(super) struct Applier {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    tables: Arc<Tables>,
    trimmer: Trimmer,
    lag: Mutex<Lag>,
    /// There is something to apply, or it is time to close.
    work: Condvar,
    /// Something was applied, or never will be.
    room: Condvar,
    records_max: usize,
    bytes_max: usize,
    interval: Duration,
}

#[derive(Debug, Default)]
struct Lag {
    tail: Tail,
    closing: bool,
    /// Somebody waits for what is in the tail.
    hurry: bool,
    /// The tables refuse, so nothing is accepted. For ever if a sync failed, else until they take the same again.
    failed: Option<StoreError>,
}

impl Applier {
    /// Without a thread: what is due is applied by [`Applier::apply_now`], or when somebody would have to wait for it.
    pub(super) fn by_hand(
        tables: Arc<Tables>,
        journal: &Journal,
        options: &RedbOptions,
    ) -> Applier {
        let lag = Lag {
            tail: Tail::behind(journal.next() - 1),
            ..Lag::default()
        };
        let shared = Arc::new(Shared {
            tables,
            trimmer: journal.trimmer(),
            lag: Mutex::new(lag),
            work: Condvar::new(),
            room: Condvar::new(),
            records_max: options.lag_events_max.max(1),
            bytes_max: options.lag_bytes_max.max(1),
            interval: options.apply_interval,
        });
        Applier {
            shared,
            thread: None,
        }
    }

    /// With a thread.
    pub(super) fn start(
        tables: Arc<Tables>,
        journal: &Journal,
        options: &RedbOptions,
    ) -> Result<Applier, StoreError> {
        let mut applier = Applier::by_hand(tables, journal, options);
        let worker = Arc::clone(&applier.shared);
        let builder = std::thread::Builder::new().name("applier".to_owned());
        let thread = builder.spawn(move || worker.run());
        let thread = thread.map_err(|error| StoreError::Thread(error.to_string()))?;
        applier.thread = Some(thread);
        Ok(applier)
    }

    /// Asks the tail.
    pub(super) fn tail<T>(&self, ask: impl FnOnce(&Tail) -> T) -> T {
        ask(&self.shared.lag().tail)
    }

    /// The tables took positions up to this one for themselves.
    pub(super) fn skip_to(&self, position: u64) {
        self.shared.lag().tail.skip_to(position);
    }

    pub(super) fn trimmer(&self) -> &Trimmer {
        &self.shared.trimmer
    }

    /// Waits until the lag is within its bounds; fails once the tables refuse.
    pub(super) fn wait_for_room(&self) -> Result<(), StoreError> {
        self.wait_while(|tail, shared| shared.is_full(tail))
    }

    /// Waits until the tables have everything; fails once they refuse.
    pub(super) fn drain(&self) -> Result<(), StoreError> {
        self.hurry()?;
        self.wait_while(|tail, _| tail.len() > 0)
    }

    fn wait_while(&self, due: impl Fn(&Tail, &Shared) -> bool) -> Result<(), StoreError> {
        let mut lag = self.shared.lag();
        while lag.failed.is_none() && due(&lag.tail, &self.shared) {
            if self.thread.is_none() {
                drop(lag);
                self.apply_now()?;
                lag = self.shared.lag();
            } else {
                let waited = self.shared.room.wait(lag);
                lag = waited.unwrap_or_else(PoisonError::into_inner);
            }
        }
        lag.failed.clone().map_or(Ok(()), Err)
    }

    /// Has the tail applied without gathering more.
    pub(super) fn hurry(&self) -> Result<(), StoreError> {
        if self.thread.is_none() {
            return self.apply_now().map(drop);
        }
        let mut lag = self.shared.lag();
        lag.hurry = lag.tail.len() > 0;
        drop(lag);
        self.shared.work.notify_one();
        Ok(())
    }

    /// Applies the oldest records, one commit of them; gives their number. Not beside a thread.
    pub(super) fn apply_now(&self) -> Result<usize, StoreError> {
        let records = self.shared.oldest(&self.shared.lag());
        self.shared.apply(&records)?;
        Ok(records.len())
    }

    /// Takes what the journal has, all at once for every reader.
    pub(super) fn take(&self, records: Vec<Arc<Pending>>, heads: &BTreeMap<StreamId, StreamHead>) {
        let mut lag = self.shared.lag();
        let was_empty = lag.tail.len() == 0;
        lag.tail.push(records, heads);
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
        tail.len() >= self.records_max || tail.bytes() >= self.bytes_max
    }

    /// Whether gathering more would only make others wait.
    fn is_urgent(&self, lag: &Lag) -> bool {
        lag.closing || lag.hurry || lag.tail.len() >= BATCH_RECORDS_MAX || self.is_full(&lag.tail)
    }

    fn run(&self) {
        while let Some(records) = self.next_batch() {
            let goes_on = match self.apply(&records) {
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

    /// The oldest records once they are worth a commit; `None` when everything is applied and it is time to close.
    fn next_batch(&self) -> Option<Vec<Arc<Pending>>> {
        let idle = |lag: &mut Lag| lag.tail.len() == 0 && !lag.closing;
        let waited = self.work.wait_while(self.lag(), idle);
        let lag = waited.unwrap_or_else(PoisonError::into_inner);
        let gathering = |lag: &mut Lag| !self.is_urgent(lag);
        let waited = self.work.wait_timeout_while(lag, self.interval, gathering);
        let (lag, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let records = self.oldest(&lag);
        (!records.is_empty()).then_some(records)
    }

    fn oldest(&self, lag: &Lag) -> Vec<Arc<Pending>> {
        lag.tail.oldest(BATCH_RECORDS_MAX, BATCH_BYTES_MAX)
    }

    fn apply(&self, records: &[Arc<Pending>]) -> Result<(), StoreError> {
        let Some(last) = records.last() else {
            return Ok(());
        };
        self.tables.apply(records)?;
        self.drop_through(last.position);
        match self.trimmer.trim(last.position) {
            Err(error) if error.is_failed_sync() => Err(error),
            // The next trim takes it with it.
            Err(error) => {
                tracing::debug!(%error, "the journal was not trimmed");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    fn drop_through(&self, position: u64) {
        let mut lag = self.lag();
        lag.tail.drop_through(position);
        lag.hurry &= lag.tail.len() > 0;
        drop(lag);
        self.room.notify_all();
    }
}
