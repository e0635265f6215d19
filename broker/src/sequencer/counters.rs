//! What the counters of one stream stand at, as far as it can matter (STATE-10). Pure.
//!
//! An add overflows only near the end of VALUE-1's integers. As long as no counter of the stream can be near it, nobody
//! needs to know a single one: that is the [`Counters::bound`]. Only beyond it the states are asked for single counters.

use std::collections::HashMap;

/// The last integer of VALUE-1, either way.
const LAST: u64 = (1 << 53) - 1;

/// Sums kept at most; what is dropped is asked again.
const SUMS_MAX: usize = 256;

/// A counter: collection and key.
pub(crate) type CounterKey = (String, String);

/// What must be known before an add can be decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ask {
    /// The distance from 0 of the stream's farthest counter.
    Farthest,
    /// What this counter stands at.
    Value,
}

/// What is known of a stream's counters, with everything that was decided, kept or not.
#[derive(Debug)]
pub(crate) struct Counters {
    /// No counter is farther from 0 than this, once it is known.
    bound: Option<u64>,
    sums: HashMap<CounterKey, i64>,
    /// Decided and not yet kept: whoever is asked does not know them.
    pending: Vec<(CounterKey, i64)>,
}

impl Counters {
    /// Of a stream without events.
    pub(crate) fn empty() -> Counters {
        Counters {
            bound: Some(0),
            ..Counters::unknown()
        }
    }

    /// Of a stream with a history.
    pub(crate) fn unknown() -> Counters {
        Counters {
            bound: None,
            sums: HashMap::new(),
            pending: Vec::new(),
        }
    }

    /// What must be learned before [`Counters::overflows`] can tell.
    pub(crate) fn asks(&self, key: &CounterKey, amount: i64) -> Option<Ask> {
        match self.bound {
            None => Some(Ask::Farthest),
            Some(_) if self.is_far_away(amount) || self.sums.contains_key(key) => None,
            Some(_) => Some(Ask::Value),
        }
    }

    /// The answer to [`Ask::Farthest`], of what is kept.
    pub(crate) fn learn_farthest(&mut self, farthest: u64) {
        let pending = self.pending.iter().map(|(_, amount)| amount.unsigned_abs());
        self.bound = Some(pending.fold(farthest, u64::saturating_add));
    }

    /// The answer to [`Ask::Value`], of what is kept.
    pub(crate) fn learn_value(&mut self, key: CounterKey, value: i64) {
        if self.sums.len() >= SUMS_MAX {
            self.sums.clear();
        }
        let pending = self.pending.iter().filter(|(pending, _)| *pending == key);
        let sum = pending.fold(value, |sum, (_, amount)| sum.saturating_add(*amount));
        self.sums.insert(key, sum);
    }

    /// Whether an add leaves VALUE-1's integers. What it asks for must have been learned.
    pub(crate) fn overflows(&self, key: &CounterKey, amount: i64) -> bool {
        if self.is_far_away(amount) {
            return false;
        }
        let sum = self.sums.get(key);
        sum.is_some_and(|sum| sum.saturating_add(amount).unsigned_abs() > LAST)
    }

    /// An add that was decided.
    pub(crate) fn absorb(&mut self, key: CounterKey, amount: i64) {
        self.bound = self
            .bound
            .map(|bound| bound.saturating_add(amount.unsigned_abs()));
        if let Some(sum) = self.sums.get_mut(&key) {
            *sum = sum.saturating_add(amount);
        }
        self.pending.push((key, amount));
    }

    /// Everything that was decided is kept.
    pub(crate) fn settled(&mut self) {
        self.pending.clear();
    }

    fn is_far_away(&self, amount: i64) -> bool {
        self.bound
            .is_some_and(|bound| bound.saturating_add(amount.unsigned_abs()) <= LAST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> CounterKey {
        ("plays".to_owned(), name.to_owned())
    }

    #[test]
    fn state_10_nothing_is_asked_while_every_counter_is_far_away() {
        let mut counters = Counters::empty();
        for _ in 0..100 {
            assert_eq!(counters.asks(&key("a"), -7), None);
            assert!(!counters.overflows(&key("a"), -7));
            counters.absorb(key("a"), -7);
        }
        let mut counters = Counters::unknown();
        assert_eq!(counters.asks(&key("a"), 1), Some(Ask::Farthest));
        counters.learn_farthest(1_000);
        assert_eq!(counters.asks(&key("a"), 1), None);
    }

    #[test]
    fn state_10_near_the_end_each_counter_counts_for_itself() {
        let mut counters = Counters::unknown();
        counters.learn_farthest(LAST);
        assert_eq!(counters.asks(&key("a"), 1), Some(Ask::Value));
        counters.learn_value(key("a"), LAST as i64 - 1);
        counters.learn_value(key("b"), 0);
        assert!(!counters.overflows(&key("a"), 1));
        counters.absorb(key("a"), 1);
        assert!(counters.overflows(&key("a"), 1));
        assert!(!counters.overflows(&key("a"), -1));
        assert!(!counters.overflows(&key("b"), 1));
    }

    #[test]
    fn state_10_what_is_not_kept_yet_counts_for_an_answer_that_comes_later() {
        let mut counters = Counters::empty();
        counters.absorb(key("a"), LAST as i64 - 1);
        assert_eq!(counters.asks(&key("a"), 2), Some(Ask::Value));
        counters.learn_value(key("a"), 0);
        assert!(counters.overflows(&key("a"), 2));
        assert!(!counters.overflows(&key("a"), 1));
        counters.settled();
        counters.learn_value(key("c"), 5);
        assert!(!counters.overflows(&key("c"), 2));
    }
}
