//! Which version of MQTT a client speaks: 5, unless the broker takes 3.1.1 only.

use std::time::Duration;

use tokio::time::Instant;

/// How long 3.1.1 is spoken before 5 is tried again, with the next connection after that.
const OLD_FOR: Duration = Duration::from_secs(60 * 60);
/// So many connections in a row that end right behind their CONNECT mean that version 5 is not understood.
const CLOSED_MAX: u8 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    Five,
    ThreeOneOne,
}

/// What became of a CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opened {
    /// The broker took it.
    Stands,
    /// The broker does not speak this version, it says.
    VersionRefused,
    /// The connection stood and was closed without a byte: what an old broker or proxy may do, but also one that restarts.
    Closed,
    /// Anything else, which has nothing to do with versions.
    Otherwise,
}

/// What one client has learned of its broker.
#[derive(Debug, Default)]
pub(crate) struct Versions {
    /// Since when the broker is known to take 3.1.1 only.
    old_since: Option<Instant>,
    closed: u8,
}

impl Versions {
    pub(crate) fn choose(&self, now: Instant) -> Version {
        let is_old = |since| now.saturating_duration_since(since) < OLD_FOR;
        if self.old_since.is_some_and(is_old) {
            Version::ThreeOneOne
        } else {
            Version::Five
        }
    }

    pub(crate) fn learn(&mut self, spoken: Version, opened: Opened, now: Instant) {
        match spoken {
            Version::Five => self.learn_of_5(opened, now),
            // Whoever refuses both was not too old; it may have been about to restart.
            Version::ThreeOneOne if matches!(opened, Opened::VersionRefused | Opened::Closed) => {
                *self = Self::default();
            }
            Version::ThreeOneOne => {}
        }
    }

    fn learn_of_5(&mut self, opened: Opened, now: Instant) {
        self.closed = match opened {
            Opened::Closed => self.closed + 1,
            _ => 0,
        };
        if opened == Opened::Stands {
            self.old_since = None;
        }
        if opened == Opened::VersionRefused || self.closed >= CLOSED_MAX {
            let (old_since, closed) = (Some(now), 0);
            *self = Self { old_since, closed };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ambient;
    use Version::{Five, ThreeOneOne};

    /// Which version follows when 5 met this.
    fn after(story: &[Opened]) -> Version {
        let now = ambient::steady();
        let mut versions = Versions::default();
        for opened in story {
            versions.learn(Five, *opened, now);
        }
        versions.choose(now)
    }

    #[test]
    fn version_5_is_spoken_until_it_is_refused() {
        assert_eq!(after(&[]), Five);
        assert_eq!(after(&[Opened::Stands]), Five);
        assert_eq!(after(&[Opened::Otherwise, Opened::Otherwise]), Five);
        assert_eq!(after(&[Opened::VersionRefused]), ThreeOneOne);
    }

    #[test]
    fn closed_twice_in_a_row_is_a_refusal_and_once_is_not() {
        assert_eq!(after(&[Opened::Closed]), Five);
        assert_eq!(after(&[Opened::Closed, Opened::Closed]), ThreeOneOne);
        for between in [Opened::Stands, Opened::Otherwise] {
            assert_eq!(after(&[Opened::Closed, between, Opened::Closed]), Five);
        }
    }

    #[test]
    fn version_5_is_tried_again_after_an_hour_and_at_once_where_both_are_refused() {
        let now = ambient::steady();
        let old = || {
            let mut versions = Versions::default();
            versions.learn(Five, Opened::VersionRefused, now);
            versions
        };
        let just_before = now + OLD_FOR - Duration::from_millis(1);
        assert_eq!(old().choose(just_before), ThreeOneOne);
        assert_eq!(old().choose(now + OLD_FOR), Five);
        let then = |opened| {
            let mut versions = old();
            versions.learn(ThreeOneOne, opened, now);
            versions.choose(now)
        };
        assert_eq!(then(Opened::Stands), ThreeOneOne);
        assert_eq!(then(Opened::Otherwise), ThreeOneOne);
        assert_eq!(then(Opened::Closed), Five);
        assert_eq!(then(Opened::VersionRefused), Five);
    }
}
