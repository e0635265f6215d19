//! The hybrid logical clock: wall time with a logical part, so that it never runs backwards (CLOCK-1 … CLOCK-3).
//!
//! After Kulkarni et al., "Logical Physical Clocks", 2014: take the wall clock where it is ahead, else count.

use crate::ids::UnixMillis;

/// When an event happened, as its author saw it. Compares by `timestamp`, then `counter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Clock {
    /// Unix milliseconds.
    pub timestamp: UnixMillis,
    /// Orders what happened within one `timestamp`.
    pub counter: u32,
}

impl Clock {
    /// The wall clock's moment.
    pub const fn at(timestamp: UnixMillis) -> Self {
        Self {
            timestamp,
            counter: 0,
        }
    }

    /// The next clock above this one, given the wall clock (CLOCK-2).
    #[must_use]
    pub fn tick(self, now: UnixMillis) -> Self {
        if now > self.timestamp {
            Self::at(now)
        } else {
            self.above()
        }
    }

    /// What is stored for a clock given by a device (CLOCK-3). `previous` is that device's stored one.
    #[must_use]
    pub fn clamp(self, accepted_at: UnixMillis, skew_ms_max: u64, previous: Option<Self>) -> Self {
        let limit = Self::at(accepted_at.plus(skew_ms_max));
        if self.timestamp <= limit.timestamp {
            return self;
        }
        match previous {
            Some(previous) if previous >= limit => previous.above(),
            _ => limit,
        }
    }

    fn above(self) -> Self {
        match self.counter.checked_add(1) {
            Some(counter) => Self { counter, ..self },
            None => Self::at(self.timestamp.plus(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(ms: u64, counter: u32) -> Clock {
        Clock {
            timestamp: UnixMillis::new(ms),
            counter,
        }
    }

    #[test]
    fn clock_2_follows_the_wall_and_never_goes_back() {
        assert_eq!(clock(5, 9).tick(UnixMillis::new(6)), clock(6, 0));
        assert_eq!(clock(5, 9).tick(UnixMillis::new(5)), clock(5, 10));
        assert_eq!(clock(5, 9).tick(UnixMillis::new(1)), clock(5, 10));
        assert_eq!(clock(5, u32::MAX).tick(UnixMillis::new(1)), clock(6, 0));
    }

    #[test]
    fn clock_3_pulls_back_what_is_too_far_ahead_and_keeps_the_devices_order() {
        let now = UnixMillis::new(1_000);
        assert_eq!(clock(1_100, 7).clamp(now, 100, None), clock(1_100, 7));
        let first = clock(9_000, 3).clamp(now, 100, None);
        assert_eq!(first, clock(1_100, 0));
        let second = clock(9_001, 0).clamp(now, 100, Some(first));
        assert_eq!(second, clock(1_100, 1));
        assert_eq!(clock(3, 0).clamp(now, 100, Some(second)), clock(3, 0));
    }
}
