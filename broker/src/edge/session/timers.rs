//! The timers of a session, in one table.

use std::time::Instant;

/// What a session waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timer {
    /// The CONNECT must have come.
    Connect = 0,
    /// Some packet must have come (1.5 times the Keep Alive).
    KeepAlive = 1,
}

const ALL: [Timer; 2] = [Timer::Connect, Timer::KeepAlive];

/// When which timer ends.
#[derive(Debug, Default)]
pub(super) struct Timers {
    ends: [Option<Instant>; ALL.len()],
}

impl Timers {
    pub(super) fn set(&mut self, timer: Timer, at: Instant) {
        self.ends[timer as usize] = Some(at);
    }

    pub(super) fn clear(&mut self, timer: Timer) {
        self.ends[timer as usize] = None;
    }

    /// When to look again.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.ends.iter().flatten().min().copied()
    }

    /// A timer that has ended; it is cleared.
    pub(super) fn expired(&mut self, now: Instant) -> Option<Timer> {
        let ended = |timer: &&Timer| self.ends[**timer as usize].is_some_and(|end| end <= now);
        let timer = ALL.iter().find(ended).copied()?;
        self.clear(timer);
        Some(timer)
    }
}
