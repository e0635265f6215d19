//! Which version of MQTT a client speaks: 5, unless the broker takes 3.1.1 only.

use std::time::Duration;

use tokio::time::Instant;

/// How long 3.1.1 is spoken before 5 is tried again, with the next connection after that.
const OLD_FOR: Duration = Duration::from_secs(60 * 60);
/// So many connections in a row that end right behind their CONNECT mean that version 5 is not understood.
const CLOSED_MAX: u8 = 2;
/// A connection at 3.1.1 that stood for less may have been taken over, for which 3.1.1 has no word (FORK-5).
const BRIEF: Duration = Duration::from_secs(60);
/// The longest pause after the first such ones; each further one doubles it.
const PAUSE: Duration = Duration::from_millis(500);
/// Well below the time that an opening may take (LINK-4).
const PAUSE_MAX: Duration = Duration::from_secs(15);

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
    /// When the present connection at 3.1.1 began to stand.
    stands_since: Option<Instant>,
    /// So many in a row stood only briefly.
    brief: u32,
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

    /// How long to wait before connecting, `random` in [0, 1). Two installations that take the session from each other at 3.1.1
    /// give way more and more, so that each has its time (FORK-5); one that is cut off now and then waits for next to nothing.
    pub(crate) fn pause(&self, spoken: Version, random: f64) -> Duration {
        match (spoken, self.brief) {
            (Version::Five, _) | (_, 0 | 1) => Duration::ZERO,
            (Version::ThreeOneOne, n) => {
                let doubled = PAUSE.saturating_mul(2_u32.saturating_pow(n - 1));
                doubled.min(PAUSE_MAX).mul_f64(random)
            }
        }
    }

    /// A connection that stood has ended.
    pub(crate) fn ended(&mut self, now: Instant) {
        if let Some(since) = self.stands_since.take() {
            self.brief = match now.saturating_duration_since(since) < BRIEF {
                true => self.brief.saturating_add(1),
                false => 0,
            };
        }
    }

    pub(crate) fn learn(&mut self, spoken: Version, opened: Opened, now: Instant) {
        match spoken {
            Version::Five => self.learn_of_5(opened, now),
            // Whoever refuses both was not too old; it may have been about to restart.
            Version::ThreeOneOne if matches!(opened, Opened::VersionRefused | Opened::Closed) => {
                *self = Self::default();
            }
            Version::ThreeOneOne if opened == Opened::Stands => self.stands_since = Some(now),
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
            *self = Self {
                old_since: Some(now),
                ..Self::default()
            };
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
    fn link_5_version_5_is_spoken_until_it_is_refused() {
        assert_eq!(after(&[]), Five);
        assert_eq!(after(&[Opened::Stands]), Five);
        assert_eq!(after(&[Opened::Otherwise, Opened::Otherwise]), Five);
        assert_eq!(after(&[Opened::VersionRefused]), ThreeOneOne);
    }

    #[test]
    fn link_5_closed_twice_in_a_row_is_a_refusal_and_once_is_not() {
        assert_eq!(after(&[Opened::Closed]), Five);
        assert_eq!(after(&[Opened::Closed, Opened::Closed]), ThreeOneOne);
        for between in [Opened::Stands, Opened::Otherwise] {
            assert_eq!(after(&[Opened::Closed, between, Opened::Closed]), Five);
        }
    }

    #[test]
    fn link_5_version_5_is_tried_again_after_an_hour_and_at_once_where_both_are_refused() {
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

    #[test]
    fn fork_5_at_3_1_1_who_is_thrown_out_again_and_again_gives_way_more_and_more() {
        let mut now = ambient::steady();
        let mut versions = Versions::default();
        versions.learn(Five, Opened::VersionRefused, now);
        let mut longest = Vec::new();
        for _ in 0..7 {
            longest.push(versions.pause(ThreeOneOne, 1.0).as_millis());
            versions.learn(ThreeOneOne, Opened::Stands, now);
            now += Duration::from_secs(5);
            versions.ended(now);
        }
        assert_eq!(longest, [0, 0, 1_000, 2_000, 4_000, 8_000, 15_000]);
        assert_eq!(versions.pause(ThreeOneOne, 0.5).as_millis(), 7_500);
        assert_eq!(versions.pause(Five, 1.0), Duration::ZERO);
        // One that never stood says nothing, and one that stood for long ends it.
        versions.ended(now);
        assert_eq!(versions.pause(ThreeOneOne, 1.0), PAUSE_MAX);
        versions.learn(ThreeOneOne, Opened::Stands, now);
        versions.ended(now + BRIEF);
        assert_eq!(versions.pause(ThreeOneOne, 1.0), Duration::ZERO);
    }
}
