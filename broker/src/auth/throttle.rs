//! Those who guess are slowed down, by address. Pure: `now` comes in.
//!
//! Every failure fills a bucket that runs out slowly; while it is full, nothing that comes from there is looked at. A success
//! does not empty it, or whoever has one account could guess at all others.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};

use syncline_protocol::UnixMillis;

/// How patient.
#[derive(Debug, Clone)]
pub struct ThrottleOptions {
    /// Failures in a row until nothing more is looked at.
    pub failures_max: u64,
    /// How long it takes until one of them is forgotten.
    pub interval_ms: u64,
    /// Addresses that are remembered at most; the one that failed first is forgotten first.
    pub addresses_max: usize,
}

/// Who has failed.
#[derive(Debug)]
pub struct Throttle {
    options: ThrottleOptions,
    /// When the bucket is empty again.
    empty_at: HashMap<IpAddr, UnixMillis>,
    order: VecDeque<IpAddr>,
}

impl Throttle {
    /// Nobody has failed.
    pub fn new(options: ThrottleOptions) -> Self {
        Self {
            options,
            empty_at: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// Whether what comes from there is not looked at.
    pub fn is_blocked(&self, address: IpAddr, now: UnixMillis) -> bool {
        let full = self.options.failures_max.saturating_sub(1) * self.options.interval_ms;
        let empty_at = self.empty_at.get(&network(address));
        empty_at.is_some_and(|at| at.get() > now.plus(full).get())
    }

    /// Something that came from there was wrong.
    pub fn failed(&mut self, address: IpAddr, now: UnixMillis) {
        let network = network(address);
        if !self.empty_at.contains_key(&network) {
            self.forget_one();
            self.order.push_back(network);
        }
        let interval_ms = self.options.interval_ms;
        let full = now.plus(self.options.failures_max * interval_ms);
        let empty_at = self.empty_at.entry(network).or_insert(now);
        *empty_at = (*empty_at).max(now).plus(interval_ms).min(full);
    }

    fn forget_one(&mut self) {
        if self.order.len() >= self.options.addresses_max
            && let Some(oldest) = self.order.pop_front()
        {
            self.empty_at.remove(&oldest);
        }
    }
}

/// Whoever has an IPv6 address has the 2^64 beside it.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(it) => Ipv6Addr::from(u128::from(it) >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn throttle() -> Throttle {
        Throttle::new(ThrottleOptions {
            failures_max: 3,
            interval_ms: 1_000,
            addresses_max: 4,
        })
    }

    fn at(ms: u64) -> UnixMillis {
        UnixMillis::new(1_000_000 + ms)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn g10_after_some_failures_nothing_is_looked_at_for_a_while() {
        let mut throttle = throttle();
        let (here, there) = (ip("10.0.0.1"), ip("10.0.0.2"));
        for n in 0..3 {
            assert!(!throttle.is_blocked(here, at(n)), "{n}");
            throttle.failed(here, at(n));
        }
        assert!(throttle.is_blocked(here, at(3)) && !throttle.is_blocked(there, at(3)));
        (0..100).for_each(|_| throttle.failed(here, at(4)));
        assert!(throttle.is_blocked(here, at(900)));
        assert!(!throttle.is_blocked(here, at(1_010)), "one is forgotten");
        throttle.failed(here, at(1_010));
        assert!(throttle.is_blocked(here, at(1_011)));
    }

    #[test]
    fn g10_neighbours_of_ipv6_count_as_one_and_the_table_is_bounded() {
        let mut throttle = throttle();
        for n in 1..=3 {
            throttle.failed(ip(&format!("2001:db8::{n}")), at(0));
        }
        assert!(throttle.is_blocked(ip("2001:db8::ffff"), at(0)));
        assert!(!throttle.is_blocked(ip("2001:db8:0:1::1"), at(0)));
        (0..100).for_each(|n| throttle.failed(ip(&format!("10.1.0.{n}")), at(0)));
        assert_eq!((throttle.empty_at.len(), throttle.order.len()), (4, 4));
    }
}
