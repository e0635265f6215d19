//! A token bucket that may be overdrawn: what came is counted in full, and the debt is waited for.

use std::time::{Duration, Instant};

/// How many seconds' worth may come at once.
const BURST: Duration = Duration::from_secs(1);

/// What came beyond this is forgiven, so that one large message, or somebody else of the same user, costs nobody hours.
pub(super) const DEBT_MAX: Duration = Duration::from_secs(60);

/// Something that flows at a bounded rate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    per_s: u64,
    /// When everything that came so far would have come at the rate.
    paid_at: Instant,
}

impl Bucket {
    /// Full. `per_s` is above 0.
    pub(crate) fn new(per_s: u64, now: Instant) -> Self {
        Self {
            per_s: per_s.max(1),
            paid_at: now,
        }
    }

    /// Counts what came, and tells how long it takes until as much came as may.
    pub(crate) fn take(&mut self, amount: u64, now: Instant) -> Duration {
        let from = now.checked_sub(BURST).unwrap_or(now).max(self.paid_at);
        let takes = Duration::from_secs_f64(amount as f64 / self.per_s as f64);
        self.paid_at = (from + takes).min(now + DEBT_MAX);
        self.debt(now)
    }

    /// Counts one, unless that would be too much.
    pub(crate) fn admits(&mut self, now: Instant) -> bool {
        let before = *self;
        let admits = self.take(1, now).is_zero();
        if !admits {
            *self = before;
        }
        admits
    }

    /// Whether it is as if nothing had ever come.
    pub(crate) fn is_full(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.paid_at) >= BURST
    }

    fn debt(&self, now: Instant) -> Duration {
        self.paid_at.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_comes_at_once_and_the_rest_at_the_rate() {
        let begin = Instant::now() + Duration::from_secs(9);
        let at = |ms| begin + Duration::from_millis(ms);
        let mut bucket = Bucket::new(10, at(0));
        // It begins with what a second brings.
        assert!(bucket.take(10, at(1_000)).is_zero());
        assert_eq!(bucket.take(5, at(1_000)), Duration::from_millis(500));
        assert_eq!(bucket.take(1, at(1_500)), Duration::from_millis(100));
        assert!(!bucket.is_full(at(2_500)) && bucket.is_full(at(2_600)));
        assert_eq!((0..99).filter(|_| bucket.admits(at(9_000))).count(), 10);
        assert_eq!((0..99).filter(|_| bucket.admits(at(9_100))).count(), 1);
    }
    #[test]
    fn a_debt_has_an_end() {
        let now = Instant::now() + Duration::from_secs(9);
        let mut bucket = Bucket::new(1, now);
        assert_eq!(bucket.take(1 << 40, now), DEBT_MAX);
        assert!(!bucket.is_full(now + DEBT_MAX));
        assert!(bucket.is_full(now + DEBT_MAX + BURST));
    }
}
