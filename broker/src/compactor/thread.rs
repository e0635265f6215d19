//! The compactor's thread: steps, and pauses between them so that those who wait for an acknowledgement do not notice.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use syncline_protocol::UnixMillis;

use super::{Compactor, Progress};

/// For each moment of work so many of rest: a step writes to the disk on which acknowledgements wait.
const REST: u32 = 3;

/// The longest rest after a step.
const REST_MAX: Duration = Duration::from_millis(500);

/// How soon it is looked again for what others have to do first.
const WAIT: Duration = Duration::from_millis(20);

/// A compactor at work. Dropping it ends it after its step.
pub struct CompactorThread {
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Stop {
    asked: Mutex<bool>,
    rung: Condvar,
}

impl CompactorThread {
    /// Starts it, with the wall clock.
    pub fn start(
        compactor: Compactor,
        now: Arc<dyn Fn() -> UnixMillis + Send + Sync>,
    ) -> io::Result<CompactorThread> {
        let stop = Arc::new(Stop::default());
        let told = Arc::clone(&stop);
        let work = move || {
            let work = AssertUnwindSafe(|| work(compactor, &*now, &told));
            if catch_unwind(work).is_err() {
                tracing::error!("the compactor panicked; histories grow until the next start");
            }
        };
        let thread = std::thread::Builder::new()
            .name("compactor".to_owned())
            .spawn(work)?;
        Ok(CompactorThread {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for CompactorThread {
    fn drop(&mut self) {
        *self
            .stop
            .asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.rung.notify_all();
        // It catches its own panics.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn work(mut compactor: Compactor, now: &dyn Fn() -> UnixMillis, stop: &Stop) {
    let interval = Duration::from_millis(compactor.interval_ms());
    loop {
        let begun = Instant::now();
        let pause = match compactor.step(now()) {
            Progress::Worked => (begun.elapsed() * REST).min(REST_MAX),
            Progress::Waiting => WAIT,
            Progress::Idle => interval,
        };
        if stop.is_asked_within(pause) {
            return;
        }
    }
}

impl Stop {
    fn is_asked_within(&self, pause: Duration) -> bool {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.rung.wait_timeout_while(asked, pause, |asked| !*asked);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}
