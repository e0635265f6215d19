//! What the edge counts: traffic, and everything that it drops or refuses, by reason.

use std::sync::atomic::{AtomicU64, Ordering};

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    /// Packets of any kind from clients.
    PacketsIn,
    /// Packets of any kind to clients.
    PacketsOut,
    /// PUBLISHes from clients.
    PublishIn,
    /// PUBLISHes to clients.
    PublishOut,
    BytesIn,
    BytesOut,
    /// An ordinary message at QoS 0 that a slow subscriber had no room for.
    DroppedSlow,
    /// An ordinary message at QoS 1 or 2 that a connected subscriber had no room for.
    RefusedSlow,
    /// An ordinary message that the queue of a kept session had no room for.
    RefusedQueueFull,
    /// A message that was not retained because as much is retained as may be.
    RefusedRetained,
    /// A message that expired before it could be delivered.
    Expired,
    /// A message that is larger than its subscriber takes.
    TooLargeForClient,
    /// A message that its subscriber may not read (any more).
    NotGranted,
}

/// How many kinds there are.
const KINDS: usize = Count::NotGranted as usize + 1;

/// What was dropped or refused.
const LOSSES: [Count; 7] = [
    Count::DroppedSlow,
    Count::RefusedSlow,
    Count::RefusedQueueFull,
    Count::RefusedRetained,
    Count::Expired,
    Count::TooLargeForClient,
    Count::NotGranted,
];

/// The counters of one edge.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    counts: [AtomicU64; KINDS],
}

impl Counters {
    /// One more.
    pub(crate) fn count(&self, what: Count) {
        self.add(what, 1);
    }

    /// Some more.
    pub(crate) fn add(&self, what: Count, more: u64) {
        self.counts[what as usize].fetch_add(more, Ordering::Relaxed);
    }

    /// How many there were.
    pub(crate) fn of(&self, what: Count) -> u64 {
        self.counts[what as usize].load(Ordering::Relaxed)
    }

    /// Everything that was dropped or refused.
    pub(crate) fn dropped(&self) -> u64 {
        LOSSES.iter().map(|what| self.of(*what)).sum()
    }
}

/// What one client lost, told to the log at its first, second, fourth, eighth … loss.
#[derive(Debug, Default)]
pub(crate) struct Losses(AtomicU64);

impl Losses {
    /// One more; how many there were, if it is time to say so.
    pub(crate) fn lose(&self) -> Option<u64> {
        let losses = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        losses.is_power_of_two().then_some(losses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_loss_is_in_the_sum_and_traffic_is_not() {
        let counters = Counters::default();
        counters.add(Count::BytesIn, 50);
        counters.count(Count::PublishOut);
        LOSSES.iter().for_each(|what| counters.count(*what));
        assert_eq!(counters.dropped(), LOSSES.len() as u64);
        assert_eq!(counters.of(Count::BytesIn), 50);
    }

    #[test]
    fn a_client_that_loses_much_is_told_of_rarely() {
        let losses = Losses::default();
        let told: Vec<_> = (0..9).filter_map(|_| losses.lose()).collect();
        assert_eq!(told, [1, 2, 4, 8]);
    }
}
