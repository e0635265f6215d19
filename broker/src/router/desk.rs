//! What the router's threads share: the intake, the credit, the signs of life. One lock, held for moments.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Injury, RouterOptions, RouterStats};
use crate::store::Committed;

/// See the module's words. Every public call takes the lock once; none blocks but `hold`, `close` and `wait`.
#[derive(Debug)]
pub(super) struct Desk {
    state: Mutex<State>,
    /// Something for the pump: an event, credit, a wish, a link that ended.
    wake: Condvar,
    /// Something for those who wait for the pump: it has sent, or it has ended.
    settled: Condvar,
    intake_max: usize,
    intake_bytes_max: usize,
    /// Half of the window: a starved pump is woken at this, not for every single message.
    refill_at: Amount,
}

/// What the pump and the link thread read and write under the lock.
#[derive(Debug, Default)]
pub(super) struct State {
    intake: VecDeque<Entry>,
    intake_bytes: usize,
    pub(super) held: bool,
    pub(super) closing: bool,
    pub(super) injury: Option<Injury>,
    /// The pump is between the lock and the bus.
    pub(super) sending: bool,
    pub(super) ended: bool,
    /// The pump waits for credit.
    pub(super) starved: bool,
    pub(super) sent: Amount,
    pub(super) drained: Amount,
    pub(super) link: Link,
    pub(super) stats: RouterStats,
}

/// The link thread, as the others see it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Link {
    /// It waits for the bus, since then.
    Waiting { since: Instant },
    /// The consumer has it, for as long as that takes.
    Delivering,
    /// It has ended, or was not started.
    #[default]
    Down,
}

/// A number of messages and what they cost, counted from the router's start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) messages: u64,
    pub(super) bytes: u64,
}

/// What waits for the bus.
#[derive(Debug)]
pub(super) enum Entry {
    Event(Committed),
    Resync,
}

impl Desk {
    pub(super) fn new(options: &RouterOptions) -> Self {
        Self {
            state: Mutex::default(),
            wake: Condvar::new(),
            settled: Condvar::new(),
            intake_max: options.intake_max,
            intake_bytes_max: options.intake_bytes_max,
            refill_at: Amount {
                messages: options.outstanding_max as u64 / 2,
                bytes: options.outstanding_bytes_max as u64 / 2,
            },
        }
    }

    /// Takes what fits, in order. A Resync stands where events were dropped.
    pub(super) fn take_in(&self, events: Vec<Committed>) {
        let mut state = self.lock();
        for event in events {
            let bytes = event.payload().len();
            let full = state.intake.len() >= self.intake_max
                || state.intake_bytes.saturating_add(bytes) > self.intake_bytes_max;
            if full {
                state.overflow();
            } else {
                state.intake_bytes += bytes;
                state.intake.push_back(Entry::Event(event));
            }
        }
        drop(state);
        self.wake.notify_one();
    }

    pub(super) fn hold(&self) {
        let mut state = self.lock();
        state.held = true;
        while state.sending {
            state = self
                .settled
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(super) fn release(&self) {
        self.lock().held = false;
        self.wake.notify_one();
    }

    pub(super) fn injure(&self, injury: Injury) {
        self.lock().injury = Some(injury);
        self.wake.notify_one();
    }

    pub(super) fn stats(&self) -> RouterStats {
        let state = self.lock();
        RouterStats {
            published: state.sent.messages,
            drained: state.drained.messages,
            ..state.stats
        }
    }

    /// Asks the pump to end and waits for it; `false`: not within `patience`.
    pub(super) fn close(&self, patience: Duration) -> bool {
        let mut state = self.lock();
        state.closing = true;
        self.wake.notify_one();
        let waited = self
            .settled
            .wait_timeout_while(state, patience, |state| !state.ended);
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.ended
    }

    /// The pump sleeps for `patience` at most (`None`: any time), or until somebody wakes it.
    pub(super) fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        patience: Option<Duration>,
    ) -> MutexGuard<'a, State> {
        match patience {
            None => self
                .wake
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner),
            Some(patience) => {
                let waited = self.wake.wait_timeout(state, patience);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }

    /// The pump is through with a step.
    pub(super) fn settle(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.settled.notify_all();
    }

    /// The link thread changes its state.
    pub(super) fn link(&self, link: Link) {
        self.lock().link = link;
        if matches!(link, Link::Down) {
            self.wake.notify_one();
        }
    }

    /// The link thread has consumed everything up to `drained`.
    pub(super) fn drained(&self, drained: Amount, now: Instant) {
        let mut state = self.lock();
        state.drained = drained;
        state.link = Link::Waiting { since: now };
        state.stats.healthy = true;
        let refill = state.starved && state.outstanding().within(self.refill_at);
        state.starved &= !refill;
        drop(state);
        if refill {
            self.wake.notify_one();
        }
    }

    /// The link thread has noticed a hole.
    pub(super) fn jumped(&self) {
        self.lock().stats.jumps += 1;
    }

    /// A thread that panicked under the lock has left plain counters behind, never half a step.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The next entries for the bus, `max` at most.
    pub(super) fn take_out(&mut self, max: usize) -> Vec<Entry> {
        let max = max.min(self.intake.len());
        let entries: Vec<Entry> = self.intake.drain(..max).collect();
        self.intake_bytes -= entries.iter().map(Entry::bytes).sum::<usize>();
        entries
    }

    pub(super) fn has_intake(&self) -> bool {
        !self.intake.is_empty()
    }

    /// What is in the bus and not consumed. The link may be ahead of a pump that has not written down what it sent.
    pub(super) fn outstanding(&self) -> Amount {
        Amount {
            messages: self.sent.messages.saturating_sub(self.drained.messages),
            bytes: self.sent.bytes.saturating_sub(self.drained.bytes),
        }
    }

    /// One Resync stands for any number of drops in one place, so the intake holds one entry above its maximum at most.
    fn overflow(&mut self) {
        self.stats.overflows += 1;
        if !matches!(self.intake.back(), Some(Entry::Resync)) {
            self.intake.push_back(Entry::Resync);
        }
    }
}

impl Entry {
    fn bytes(&self) -> usize {
        match self {
            Self::Event(event) => event.payload().len(),
            Self::Resync => 0,
        }
    }
}

impl Amount {
    pub(super) fn is_nothing(self) -> bool {
        self == Self::default()
    }

    fn within(self, limit: Self) -> bool {
        self.messages <= limit.messages && self.bytes <= limit.bytes
    }
}
