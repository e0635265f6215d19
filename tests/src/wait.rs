//! Waiting for a condition with a deadline. The only place that may pause.

use std::thread;
use std::time::{Duration, Instant};

/// Long enough for a loaded machine with two cores; a test that passes never waits that long.
pub const PATIENCE: Duration = Duration::from_secs(20);

const PAUSE: Duration = Duration::from_millis(5);

/// Asks until `probe` answers, and returns the answer; none after `patience`.
pub fn poll<T>(patience: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(answer) = probe() {
            return Some(answer);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(PAUSE);
    }
}

/// Asks until `probe` answers.
///
/// # Panics
/// After [`PATIENCE`], with the name of what did not come.
pub fn until<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    match poll(PATIENCE, probe) {
        Some(answer) => answer,
        None => panic!("waited {PATIENCE:?} in vain for {what}"),
    }
}

/// Lets `time` pass, for faults that must happen at a moment rather than after a condition.
pub fn let_pass(time: Duration) {
    let _ = poll(time, || None::<()>);
}
