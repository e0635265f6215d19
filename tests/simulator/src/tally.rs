//! What a run injected and what it met: counted by name, so that a rule that never occurs is noticed.

use std::collections::BTreeMap;

/// Counts by name. Names of faults begin with `fault `, those of rules with the rule's id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    counts: BTreeMap<String, u64>,
}

impl Tally {
    /// One more.
    pub fn count(&mut self, name: impl Into<String>) {
        self.add(name, 1);
    }

    /// Some more.
    pub fn add(&mut self, name: impl Into<String>, n: u64) {
        *self.counts.entry(name.into()).or_default() += n;
    }

    /// All of another one.
    pub fn take(&mut self, other: &Tally) {
        let counts = &other.counts;
        counts
            .iter()
            .for_each(|(name, n)| self.add(name.as_str(), *n));
    }

    /// How often.
    pub fn of(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or_default()
    }

    /// The sum of all whose name begins so.
    pub fn sum(&self, beginning: &str) -> u64 {
        let named = self.counts.iter();
        named
            .filter(|(name, _)| name.starts_with(beginning))
            .map(|(_, n)| n)
            .sum()
    }

    /// Names and counts, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.counts.iter().map(|(name, n)| (name.as_str(), *n))
    }
}
