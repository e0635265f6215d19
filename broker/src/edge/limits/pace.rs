//! What one connection may publish. Over its rate first its acknowledgements wait, then it is not read.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Bucket;

/// A debt above this is not waited for by holding back acknowledgements alone.
const HELD_MAX: Duration = Duration::from_secs(1);

/// Messages and bytes, each at its rate if there is one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rate {
    messages: Option<Bucket>,
    bytes: Option<Bucket>,
}

/// A rate that several connections have together.
pub(crate) type SharedRate = Arc<Mutex<Rate>>;

/// The rates of one connection: its own, and those of its user and its address.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    own: Rate,
    shared: Vec<SharedRate>,
    /// Acknowledgements wait until then. What comes later does not move it: else steady traffic would hold them for ever.
    held_until: Option<Instant>,
    /// Nothing is read until then.
    unread_until: Option<Instant>,
}

impl Rate {
    /// So many per second; 0: as many as come.
    pub(crate) fn new(messages_per_s: u32, bytes_per_s: u64, now: Instant) -> Self {
        let begin = now.checked_sub(Duration::from_secs(1)).unwrap_or(now);
        let bucket = |per_s: u64| (per_s > 0).then(|| Bucket::new(per_s, begin));
        Self {
            messages: bucket(u64::from(messages_per_s)),
            bytes: bucket(bytes_per_s),
        }
    }

    /// Whether it lets everything through.
    pub(super) fn is_none(&self) -> bool {
        self.messages.is_none() && self.bytes.is_none()
    }

    /// Whether it is as if nothing had ever come.
    pub(super) fn is_full(&self, now: Instant) -> bool {
        let mut buckets = self.messages.iter().chain(&self.bytes);
        buckets.all(|bucket| bucket.is_full(now))
    }

    fn take(&mut self, bytes: u64, now: Instant) -> Duration {
        let of = |bucket: &mut Option<Bucket>, amount| {
            bucket
                .as_mut()
                .map_or(Duration::ZERO, |it| it.take(amount, now))
        };
        of(&mut self.messages, 1).max(of(&mut self.bytes, bytes))
    }
}

impl Pace {
    /// Its own rate.
    pub(crate) fn new(own: Rate) -> Self {
        Self {
            own,
            ..Self::default()
        }
    }

    /// With others, too.
    pub(crate) fn share(&mut self, rate: SharedRate) {
        self.shared.push(rate);
    }

    /// A message came. `unread_max`: how long the client may go unread.
    pub(crate) fn take(&mut self, bytes: usize, unread_max: Duration, now: Instant) {
        let bytes = bytes as u64;
        let mut debt = self.own.take(bytes, now);
        for rate in &self.shared {
            let mut rate = rate.lock().unwrap_or_else(PoisonError::into_inner);
            debt = debt.max(rate.take(bytes, now));
        }
        if debt.is_zero() {
            return;
        }
        let until = now + debt.min(unread_max);
        self.held_until.get_or_insert(until);
        if debt > HELD_MAX {
            self.unread_until = Some(now + (debt - HELD_MAX).min(unread_max));
        }
    }

    /// Whether acknowledgements wait.
    pub(crate) fn holds(&self) -> bool {
        self.held_until.is_some()
    }

    /// Whether nothing is read.
    pub(crate) fn is_unread(&self) -> bool {
        self.unread_until.is_some()
    }

    /// When [`Pace::expired`] has something to tell.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.held_until.into_iter().chain(self.unread_until).min()
    }

    /// Whether something that waited does so no longer: acknowledgements, reading.
    pub(crate) fn expired(&mut self, now: Instant) -> (bool, bool) {
        let mut is_over = |until: fn(&mut Self) -> &mut Option<Instant>| {
            until(self).take_if(|until| *until <= now).is_some()
        };
        (
            is_over(|it| &mut it.held_until),
            is_over(|it| &mut it.unread_until),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNREAD_MAX: Duration = Duration::from_secs(5);

    #[test]
    fn g10_first_acknowledgements_wait_and_then_reading_for_a_bounded_time() {
        let begin = Instant::now() + Duration::from_secs(9);
        let at = |ms| begin + Duration::from_millis(ms);
        let mut pace = Pace::new(Rate::new(10, 0, begin));
        (0..10).for_each(|_| pace.take(1, UNREAD_MAX, at(0)));
        assert!(!pace.holds());
        (0..9).for_each(|_| pace.take(1, UNREAD_MAX, at(0)));
        assert_eq!((pace.holds(), pace.is_unread()), (true, false));
        (0..3).for_each(|_| pace.take(1, UNREAD_MAX, at(0)));
        assert!(pace.is_unread());
        assert_eq!(pace.next_timeout(), Some(at(100)));
        assert_eq!(pace.expired(at(100)), (true, false));
        assert_eq!(pace.expired(at(200)), (false, true));
        (0..900).for_each(|_| pace.take(1, UNREAD_MAX, at(1_200)));
        assert_eq!(pace.expired(at(6_199)), (true, false));
        assert_eq!(pace.expired(at(6_200)), (false, true), "as long as may be");
    }

    #[test]
    fn g10_connections_of_one_user_share_its_rate() {
        let now = Instant::now() + Duration::from_secs(9);
        let users = Arc::new(Mutex::new(Rate::new(0, 100, now)));
        let [mut one, mut other] = [Pace::default(), Pace::default()];
        one.share(Arc::clone(&users));
        other.share(users);
        one.take(100, UNREAD_MAX, now);
        assert!(!one.holds());
        other.take(50, UNREAD_MAX, now);
        assert!(other.holds() && !one.holds());
    }

    /// How long acknowledgements wait at most, and how many come, where a message comes every `every_ms` for `for_s` and each
    /// `acked`th one is acknowledged.
    fn steady(every_ms: u64, for_s: u64, acked: u64) -> (Duration, u64) {
        let begin = Instant::now() + Duration::from_secs(9);
        let mut pace = Pace::new(Rate::new(10, 0, begin));
        let (mut waiting, mut longest, mut told) = (Vec::new(), Duration::ZERO, 0);
        let mut due = 0;
        for ms in 0..for_s * 1_000 {
            let now = begin + Duration::from_millis(ms);
            if pace.expired(now).0 {
                told += waiting.drain(..).len() as u64;
            }
            if ms >= due && !pace.is_unread() {
                due += every_ms;
                pace.take(1, UNREAD_MAX, now);
                if (due / every_ms).is_multiple_of(acked) {
                    waiting.push(now);
                }
            }
            if let Some(first) = waiting.first() {
                longest = longest.max(now - *first);
            }
            if !pace.holds() {
                told += waiting.drain(..).len() as u64;
            }
        }
        (longest, told)
    }

    #[test]
    fn g10_steady_traffic_gets_its_acknowledgements_at_the_rate_and_above_it() {
        assert_eq!(
            steady(100, 60, 1),
            (Duration::ZERO, 600),
            "exactly the rate"
        );
        for (every_ms, acked) in [(95, 1), (95, 2), (50, 1), (50, 3)] {
            let (longest, told) = steady(every_ms, 60, acked);
            assert!(longest <= Duration::from_millis(2_200), "{longest:?}");
            let at_rate = 600 / acked;
            assert!((at_rate - 20..=at_rate + 30).contains(&told), "{told}");
        }
    }
}
