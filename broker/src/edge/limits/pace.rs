//! What one connection may publish. Over its rate first its acknowledgements wait, then it is not read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::{Bucket, PublishOptions};

/// A debt above this is not waited for by holding back acknowledgements alone.
const HELD_MAX: Duration = Duration::from_secs(1);

/// Messages and bytes, each at its rate if there is one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rate {
    messages: Option<Bucket>,
    bytes: Option<Bucket>,
}

/// The rates of one connection: its own, and that of its user.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    own: Rate,
    users: Option<Arc<Mutex<Rate>>>,
    /// Acknowledgements wait until then.
    held_until: Option<Instant>,
    /// Nothing is read until then.
    unread_until: Option<Instant>,
}

/// The rates of all users who are connected.
#[derive(Debug, Default)]
pub(crate) struct UserRates {
    rates: Mutex<HashMap<String, Weak<Mutex<Rate>>>>,
}

impl UserRates {
    /// What all connections of a user share; none if there is no such limit or it is nobody in particular.
    pub(crate) fn of(
        &self,
        user: &str,
        options: &PublishOptions,
        now: Instant,
    ) -> Option<Arc<Mutex<Rate>>> {
        let rate = Rate::new(options.user_messages_per_s, options.user_bytes_per_s, now);
        if rate.is_none() || user.is_empty() {
            return None;
        }
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = rates.get(user).and_then(Weak::upgrade) {
            return Some(known);
        }
        if rates.len() == rates.capacity() {
            rates.retain(|_, rate| rate.strong_count() > 0);
        }
        let rate = Arc::new(Mutex::new(rate));
        rates.insert(user.to_owned(), Arc::downgrade(&rate));
        Some(rate)
    }
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

    fn is_none(&self) -> bool {
        self.messages.is_none() && self.bytes.is_none()
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

    /// With others of its user.
    pub(crate) fn share(&mut self, users: Arc<Mutex<Rate>>) {
        self.users = Some(users);
    }

    /// A message came. `unread_max`: how long the client may go unread.
    pub(crate) fn take(&mut self, bytes: usize, unread_max: Duration, now: Instant) {
        let bytes = bytes as u64;
        let mut debt = match self.own.is_none() {
            true => Duration::ZERO,
            false => self.own.take(bytes, now),
        };
        if let Some(users) = &self.users {
            let mut users = users.lock().unwrap_or_else(PoisonError::into_inner);
            debt = debt.max(users.take(bytes, now));
        }
        if debt.is_zero() {
            return;
        }
        self.held_until = Some(now + debt.min(unread_max));
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
        assert_eq!(pace.next_timeout(), Some(at(200)));
        assert_eq!(pace.expired(at(200)), (false, true));
        assert_eq!(pace.expired(at(1_200)), (true, false));
        (0..900).for_each(|_| pace.take(1, UNREAD_MAX, at(1_200)));
        assert_eq!(
            pace.next_timeout(),
            Some(at(6_200)),
            "no longer than may be"
        );
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
}
