//! Whether there is so much to do that nobody more should come: by how late a task wakes that wants to wake at a moment. Pure:
//! whoever measures tells.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// So often in a row it must be late: one long step of something else, or of the machine, is no overload.
const IN_A_ROW: u32 = 3;

/// How late everybody's tasks are.
#[derive(Debug)]
pub(crate) struct Load {
    /// Zero: it is never too much.
    lag_max: Duration,
    late: AtomicU32,
    sheds: AtomicBool,
}

impl Load {
    /// Nothing was measured yet.
    pub(crate) fn new(lag_max: Duration) -> Self {
        Self {
            lag_max,
            late: AtomicU32::new(0),
            sheds: AtomicBool::new(false),
        }
    }

    /// Whether there is anything to measure for.
    pub(crate) fn is_bounded(&self) -> bool {
        !self.lag_max.is_zero()
    }

    /// Whether new connections are refused.
    pub(crate) fn sheds(&self) -> bool {
        self.sheds.load(Ordering::Relaxed)
    }

    /// So late a task woke; whether that begins or ends something. Told by one task.
    pub(crate) fn note(&self, lag: Duration) -> Option<bool> {
        let late = match lag > self.lag_max {
            true => self.late.load(Ordering::Relaxed).saturating_add(1),
            false => 0,
        };
        self.late.store(late, Ordering::Relaxed);
        let sheds = match self.sheds() {
            true => lag >= self.lag_max / 2,
            false => self.is_bounded() && late >= IN_A_ROW,
        };
        let before = self.sheds.swap(sheds, Ordering::Relaxed);
        (sheds != before).then_some(sheds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g10_lag_that_stays_is_overload_until_it_is_below_half_of_what_may_be() {
        let load = Load::new(Duration::from_millis(100));
        let sheds = |lags: &[u64]| {
            let lags = lags.iter();
            lags.for_each(|ms| {
                load.note(Duration::from_millis(*ms));
            });
            load.sheds()
        };
        assert!(!sheds(&[]));
        assert!(!sheds(&[9_000, 101]), "not for long");
        assert!(!sheds(&[100, 101, 101]));
        assert!(sheds(&[101]));
        assert!(sheds(&[99, 50, 7_000]));
        assert!(!sheds(&[49]));
        assert!(!sheds(&[101, 101]));
        let changes = [1_000, 1_000, 1].map(|ms| load.note(Duration::from_millis(ms)));
        assert_eq!(changes, [Some(true), None, Some(false)]);
    }

    #[test]
    fn g10_without_a_bound_nothing_is_overload() {
        let load = Load::new(Duration::ZERO);
        (0..9).for_each(|_| assert_eq!(load.note(Duration::from_secs(60)), None));
        assert!(!load.sheds());
    }
}
