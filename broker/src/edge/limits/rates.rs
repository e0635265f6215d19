//! Rates that connections have together: those of users and of addresses. They outlive the connections.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::{Rate, SharedRate};

/// Rates of those who are gone that are remembered at most; then all of these begin anew.
const REMEMBERED_MAX: usize = 65_536;

/// Fewer than these are never looked through.
const FEW: usize = 64;

/// Rates by whose they are. One is remembered until it is as if nothing had ever come, so that whoever comes again gains nothing.
#[derive(Debug)]
pub(crate) struct Rates<K> {
    state: Mutex<State<K>>,
}

#[derive(Debug)]
struct State<K> {
    rates: HashMap<K, SharedRate>,
    /// So many there are when they are looked through again.
    sweep_at: usize,
}

impl<K> Default for Rates<K> {
    fn default() -> Self {
        let state = State {
            rates: HashMap::new(),
            sweep_at: FEW,
        };
        Self {
            state: Mutex::new(state),
        }
    }
}

impl<K: Hash + Eq + Clone> Rates<K> {
    /// What all connections of somebody share: `rate`, if nothing is known; nothing, if that is no limit.
    pub(crate) fn of(&self, whose: K, rate: Rate, now: Instant) -> Option<SharedRate> {
        if rate.is_none() {
            return None;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = state.rates.get(&whose) {
            return Some(Arc::clone(known));
        }
        state.make_room(now);
        let rate = Arc::new(Mutex::new(rate));
        state.rates.insert(whose, Arc::clone(&rate));
        Some(rate)
    }
}

impl<K: Hash + Eq> State<K> {
    fn make_room(&mut self, now: Instant) {
        if self.rates.len() < self.sweep_at {
            return;
        }
        let is_owed = |rate: &SharedRate| {
            let rate = rate.lock().unwrap_or_else(PoisonError::into_inner);
            !rate.is_full(now)
        };
        self.rates.retain(|_, rate| is_used(rate) || is_owed(rate));
        let used = self.rates.values().filter(|it| is_used(it)).count();
        if self.rates.len() - used > REMEMBERED_MAX / 2 {
            self.rates.retain(|_, rate| is_used(rate));
        }
        self.sweep_at = (2 * self.rates.len()).clamp(FEW, used + REMEMBERED_MAX);
    }
}

/// Somebody is connected who has it.
fn is_used(rate: &SharedRate) -> bool {
    Arc::strong_count(rate) > 1
}

#[cfg(test)]
mod tests {
    use super::super::Pace;
    use super::*;
    use std::time::Duration;

    const UNREAD_MAX: Duration = Duration::from_secs(5);

    fn pace(rates: &Rates<u64>, whose: u64, now: Instant) -> Pace {
        let mut pace = Pace::default();
        pace.share(rates.of(whose, Rate::new(0, 100, now), now).unwrap());
        pace
    }

    #[test]
    fn g10_whoever_comes_again_owes_what_it_owed() {
        let now = Instant::now() + Duration::from_secs(99);
        let rates = Rates::default();
        pace(&rates, 1, now).take(300, UNREAD_MAX, now);
        // Others come, and what is owed by nobody any more is forgotten.
        for whose in 2..1_000 {
            drop(pace(&rates, whose, now));
        }
        let mut again = pace(&rates, 1, now);
        again.take(1, UNREAD_MAX, now);
        assert!(again.holds() && again.is_unread());
        assert!(rates.state.lock().unwrap().rates.len() < 2 * FEW);
        assert!(rates.of(7, Rate::new(0, 0, now), now).is_none());
    }

    #[test]
    fn g10_what_is_remembered_is_bounded_and_who_is_here_stays() {
        let now = Instant::now() + Duration::from_secs(99);
        let rates = Rates::default();
        let mut here = pace(&rates, 0, now);
        here.take(300, UNREAD_MAX, now);
        for whose in 1..2 * REMEMBERED_MAX as u64 {
            pace(&rates, whose, now).take(300, UNREAD_MAX, now);
        }
        assert!(rates.state.lock().unwrap().rates.len() <= REMEMBERED_MAX + 1);
        let mut again = pace(&rates, 0, now);
        again.take(1, UNREAD_MAX, now);
        assert!(again.is_unread());
    }
}
