//! The clock and the chance that the core does without.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use syncline_protocol::{DeviceId, UnixMillis};
use tokio::time::Instant;

/// A wall clock that never goes back while the process lives.
#[derive(Debug)]
pub(crate) struct WallClock {
    last: UnixMillis,
}

impl WallClock {
    pub(crate) fn new() -> Self {
        Self {
            last: UnixMillis::default(),
        }
    }

    pub(crate) fn now(&mut self) -> UnixMillis {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let now = UnixMillis::new(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        self.last = self.last.max(now);
        self.last
    }

    /// The moment of the runtime's clock at which this one shows `at`.
    pub(crate) fn instant_of(&mut self, at: UnixMillis) -> Instant {
        let wait_ms = at.get().saturating_sub(self.now().get());
        Instant::now() + Duration::from_millis(wait_ms)
    }
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
