//! The clock and the chance that the core does without.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use syncline_protocol::{DeviceId, UnixMillis};
use tokio::time::Instant;

/// A wall clock that neither goes back nor stands still while the process lives. When the system's clock is set back, it
/// goes on from where it was; else whatever is due would wait until that clock has caught up.
#[derive(Debug)]
pub(crate) struct WallClock {
    /// What it showed, and when.
    set: (UnixMillis, Instant),
}

impl WallClock {
    pub(crate) fn new() -> Self {
        Self {
            set: (UnixMillis::default(), Instant::now()),
        }
    }

    pub(crate) fn now(&mut self) -> UnixMillis {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let wall = UnixMillis::new(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        self.read(wall, Instant::now())
    }

    fn read(&mut self, wall: UnixMillis, steady: Instant) -> UnixMillis {
        let (shown, at) = self.set;
        let passed = steady.saturating_duration_since(at).as_millis();
        let shown = shown.plus(u64::try_from(passed).unwrap_or(u64::MAX));
        if wall < shown {
            return shown;
        }
        self.set = (wall, steady);
        wall
    }

    /// The moment of the runtime's clock at which this one shows `at`.
    pub(crate) fn instant_of(&mut self, at: UnixMillis) -> Instant {
        let wait_ms = at.get().saturating_sub(self.now().get());
        Instant::now() + Duration::from_millis(wait_ms)
    }
}

/// Now, of the runtime's clock.
pub(crate) fn steady() -> Instant {
    Instant::now()
}

/// The operating system has no randomness to give.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the operating system gives no random numbers: {0}")]
pub struct NoRandomness(getrandom::Error);

/// A number in [0, 1).
pub(crate) fn random() -> Result<f64, NoRandomness> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(NoRandomness)?;
    // 53 bits are as many as a double tells apart.
    Ok((u64::from_le_bytes(bytes) >> 11) as f64 / (1u64 << 53) as f64)
}

/// A fresh device: a UUID of version 4 (RFC 9562, section 5.4).
pub(crate) fn random_device() -> Result<DeviceId, NoRandomness> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(NoRandomness)?;
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    Ok(DeviceId::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_1_a_clock_that_is_set_back_does_not_stop_time() {
        let (mut clock, start) = (WallClock::new(), Instant::now());
        let read = |clock: &mut WallClock, wall, after_ms| {
            let steady = start + Duration::from_millis(after_ms);
            clock.read(UnixMillis::new(wall), steady).get()
        };
        assert_eq!(read(&mut clock, 9_000_000, 0), 9_000_000);
        assert_eq!(read(&mut clock, 1_000_000, 10), 9_000_010);
        assert_eq!(read(&mut clock, 1_000_490, 500), 9_000_500);
        assert_eq!(read(&mut clock, 9_000_700, 600), 9_000_700);
    }

    #[test]
    fn devices_are_uuids_of_version_4_and_differ() {
        let (a, b) = (random_device().unwrap(), random_device().unwrap());
        assert_eq!(a.to_string().as_bytes()[14], b'4');
        assert_ne!(a, b);
    }

    #[test]
    fn chance_is_below_one() {
        assert!((0..1_000).all(|_| (0.0..1.0).contains(&random().unwrap())));
    }
}
