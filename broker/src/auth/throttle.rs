//! Those who guess are slowed down: by user at one address, and by address. Pure: `now` comes in.
//!
//! Every failure fills a bucket that runs out slowly; while it is full, nothing that would go into it is looked at. A success
//! does not empty it, or whoever has one account could guess at all others. The bucket of an address is the larger one, so that
//! one who guesses at one user locks out nobody else behind the same address.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hash};

use syncline_protocol::UnixMillis;

use super::origin::Origin;

/// How patient.
#[derive(Debug, Clone)]
pub struct ThrottleOptions {
    /// Failures of one user at one address in a row until nothing more is looked at.
    pub failures_max: u64,
    /// Failures of one address, over all users.
    pub address_failures_max: u64,
    /// How long it takes until one of them is forgotten.
    pub interval_ms: u64,
    /// Addresses, and users at them, that are remembered at most; the one that failed first is forgotten first.
    pub remembered_max: usize,
}

/// Who tries.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt<'a> {
    pub(super) origin: Origin,
    /// As whom; None where it is a token that says so, which nobody guesses.
    pub(super) user: Option<&'a str>,
}

/// Who has failed.
#[derive(Debug)]
pub(super) struct Throttle {
    /// Names are as long as clients like; this is all that is kept of them.
    names: RandomState,
    users: Buckets<(Origin, u64)>,
    origins: Buckets<Origin>,
}

impl Throttle {
    /// Nobody has failed.
    pub(super) fn new(options: &ThrottleOptions) -> Self {
        Self {
            names: RandomState::new(),
            users: Buckets::new(options, options.failures_max),
            origins: Buckets::new(options, options.address_failures_max),
        }
    }

    /// Whether it is not looked at.
    pub(super) fn is_blocked(&self, attempt: Attempt<'_>, now: UnixMillis) -> bool {
        let user = self.user(attempt);
        user.is_some_and(|user| self.users.is_full(&user, now))
            || self.origins.is_full(&attempt.origin, now)
    }

    /// It was wrong. All programs of a machine share its Unix socket, so there only users count.
    pub(super) fn failed(&mut self, attempt: Attempt<'_>, now: UnixMillis) {
        if let Some(user) = self.user(attempt) {
            self.users.fill(user, now);
        }
        if attempt.origin != Origin::Local {
            self.origins.fill(attempt.origin, now);
        }
    }

    fn user(&self, attempt: Attempt<'_>) -> Option<(Origin, u64)> {
        let name = attempt.user.map(|name| self.names.hash_one(name))?;
        Some((attempt.origin, name))
    }
}

#[derive(Debug)]
struct Buckets<K> {
    failures_max: u64,
    interval_ms: u64,
    remembered_max: usize,
    /// When the bucket is empty again.
    empty_at: HashMap<K, UnixMillis>,
    order: VecDeque<K>,
}

impl<K: Copy + Eq + Hash> Buckets<K> {
    fn new(options: &ThrottleOptions, failures_max: u64) -> Self {
        Self {
            failures_max,
            interval_ms: options.interval_ms,
            remembered_max: options.remembered_max,
            empty_at: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    fn is_full(&self, key: &K, now: UnixMillis) -> bool {
        let full = self.failures_max.saturating_sub(1) * self.interval_ms;
        let empty_at = self.empty_at.get(key);
        empty_at.is_some_and(|at| at.get() > now.plus(full).get())
    }

    fn fill(&mut self, key: K, now: UnixMillis) {
        if !self.empty_at.contains_key(&key) {
            self.forget_one();
            self.order.push_back(key);
        }
        let full = now.plus(self.failures_max * self.interval_ms);
        let empty_at = self.empty_at.entry(key).or_insert(now);
        *empty_at = (*empty_at).max(now).plus(self.interval_ms).min(full);
    }

    fn forget_one(&mut self) {
        if self.order.len() >= self.remembered_max
            && let Some(oldest) = self.order.pop_front()
        {
            self.empty_at.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn throttle() -> Throttle {
        Throttle::new(&ThrottleOptions {
            failures_max: 3,
            address_failures_max: 9,
            interval_ms: 1_000,
            remembered_max: 4,
        })
    }

    fn at(ms: u64) -> UnixMillis {
        UnixMillis::new(1_000_000 + ms)
    }

    fn by<'a>(user: &'a str, address: &str) -> Attempt<'a> {
        Attempt {
            origin: Origin::of(Some(address.parse().unwrap())),
            user: Some(user),
        }
    }

    #[test]
    fn g10_after_some_failures_a_user_at_an_address_is_not_looked_at_for_a_while() {
        let mut throttle = throttle();
        let ana = by("ana", "10.0.0.1");
        for n in 0..3 {
            assert!(!throttle.is_blocked(ana, at(n)), "{n}");
            throttle.failed(ana, at(n));
        }
        assert!(throttle.is_blocked(ana, at(3)));
        for other in [by("bob", "10.0.0.1"), by("ana", "10.0.0.2")] {
            assert!(!throttle.is_blocked(other, at(3)), "{other:?}");
        }
        assert!(throttle.is_blocked(ana, at(900)));
        assert!(!throttle.is_blocked(ana, at(1_010)), "one is forgotten");
        throttle.failed(ana, at(1_010));
        assert!(throttle.is_blocked(ana, at(1_011)));
    }

    #[test]
    fn g10_who_guesses_at_many_users_is_slowed_down_by_address() {
        let mut throttle = throttle();
        let names: Vec<_> = (0..9).map(|n| format!("user {n}")).collect();
        for name in &names {
            throttle.failed(by(name, "10.0.0.1"), at(0));
        }
        assert!(throttle.is_blocked(by("ana", "10.0.0.1"), at(0)));
        assert!(!throttle.is_blocked(by("ana", "10.0.0.2"), at(0)));
        assert!(!throttle.is_blocked(by("ana", "10.0.0.1"), at(1_000)));
    }

    #[test]
    fn g10_without_an_address_users_are_slowed_down_one_by_one() {
        let mut throttle = throttle();
        let local = |user| Attempt {
            origin: Origin::of(None),
            user: Some(user),
        };
        (0..100).for_each(|_| throttle.failed(local("ana"), at(0)));
        assert!(throttle.is_blocked(local("ana"), at(0)));
        assert!(!throttle.is_blocked(local("bob"), at(0)));
    }

    #[test]
    fn g10_neighbours_of_ipv6_count_as_one_and_the_tables_are_bounded() {
        let mut throttle = throttle();
        for n in 1..=3 {
            throttle.failed(by("ana", &format!("2001:db8::{n}")), at(0));
        }
        assert!(throttle.is_blocked(by("ana", "2001:db8::ffff"), at(0)));
        assert!(!throttle.is_blocked(by("ana", "2001:db8:0:1::1"), at(0)));
        (0..100).for_each(|n| throttle.failed(by("eve", &format!("10.1.0.{n}")), at(0)));
        let sizes = [throttle.users.order.len(), throttle.users.empty_at.len()];
        assert_eq!(sizes, [4, 4]);
        assert_eq!(throttle.origins.empty_at.len(), 4);
    }
}
