//! How much history is kept, and where the horizon goes next. Pure.
//!
//! A limit that is reached makes room for an eighth of it, so that a busy stream is folded now and then and not with
//! every event.

use std::collections::BTreeMap;

use syncline_protocol::{Channel, Seq, UnixMillis};

/// The limits of one stream's kept events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Older ones go.
    pub max_age_ms: u64,
    /// More go.
    pub max_events: u64,
    /// Payload bytes; more go.
    pub max_bytes: u64,
    /// Younger ones stay, whatever the other limits say (HORIZON-1).
    pub min_age_ms: u64,
}

/// The limits of all streams.
#[derive(Debug, Clone)]
pub struct History {
    /// Where the channel has none of its own.
    pub limits: Limits,
    /// By the streams' channel.
    pub channels: BTreeMap<Channel, Limits>,
}

impl History {
    /// Those of the streams of a channel.
    pub fn limits(&self, channel: Option<&Channel>) -> &Limits {
        let own = channel.and_then(|channel| self.channels.get(channel));
        own.unwrap_or(&self.limits)
    }
}

/// Kept events that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) last: Seq,
    pub(super) events: u64,
    pub(super) bytes: u64,
    pub(super) oldest: UnixMillis,
    pub(super) newest: UnixMillis,
}

/// As fine as this is the horizon placed: parts of each limit.
const RUNS_PER_LIMIT: u64 = 128;

/// So many events are always worth a move.
const WORTH_EVENTS: u64 = 512;

/// What of a limit is left when it was reached and room was made.
const fn lowered(limit: u64) -> u64 {
    limit - limit / 8
}

impl Limits {
    /// Where the horizon goes, if it is worth it; `kept` are the events above it.
    pub(super) fn plan(&self, kept: &[Run], now: UnixMillis) -> Option<Seq> {
        let oldest = kept.first()?.oldest;
        let is_old = oldest.plus(self.max_age_ms) < now;
        let all = Amount::of(kept);
        if !is_old && !all.exceeds(self.max_events, self.max_bytes) {
            return None;
        }
        let mut rest = all;
        let mut to = None;
        for run in kept {
            let is_young = run.newest.plus(self.min_age_ms) > now;
            if is_young || !self.should_go(run, &rest, now) {
                break;
            }
            rest = rest.without(run);
            to = Some(run.last);
        }
        to.filter(|_| is_old || rest.is_worth_it(&all))
    }

    fn should_go(&self, run: &Run, rest: &Amount, now: UnixMillis) -> bool {
        rest.exceeds(lowered(self.max_events), lowered(self.max_bytes))
            || run.newest.plus(lowered(self.max_age_ms)) < now
    }

    /// Whether an event may join a run.
    pub(super) fn joins(&self, run: &Run, bytes: u64, accepted_at: UnixMillis) -> bool {
        let span = accepted_at.get().saturating_sub(run.oldest.get());
        run.events < self.max_events / RUNS_PER_LIMIT
            && run.bytes + bytes <= self.max_bytes / RUNS_PER_LIMIT
            && span <= self.max_age_ms / RUNS_PER_LIMIT
    }
}

/// So much history.
#[derive(Debug, Clone, Copy)]
struct Amount {
    events: u64,
    bytes: u64,
}

impl Amount {
    fn of(runs: &[Run]) -> Amount {
        Amount {
            events: runs.iter().map(|run| run.events).sum(),
            bytes: runs.iter().map(|run| run.bytes).sum(),
        }
    }

    fn without(self, run: &Run) -> Amount {
        Amount {
            events: self.events - run.events,
            bytes: self.bytes - run.bytes,
        }
    }

    fn exceeds(&self, events: u64, bytes: u64) -> bool {
        self.events > events || self.bytes > bytes
    }

    /// Whether enough is gone of `all` that this is left.
    fn is_worth_it(&self, all: &Amount) -> bool {
        let (events, bytes) = (all.events - self.events, all.bytes - self.bytes);
        events >= WORTH_EVENTS || events * 8 >= all.events || bytes * 8 >= all.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        max_age_ms: 800,
        max_events: 80,
        max_bytes: 8_000,
        min_age_ms: 10,
    };

    /// One event each, `every` ms after the other from 1,000 on.
    fn kept(count: u64, bytes: u64, every: u64) -> Vec<Run> {
        let event = |n| Run {
            last: Seq::new(n).unwrap(),
            events: 1,
            bytes,
            oldest: UnixMillis::new(1_000 + (n - 1) * every),
            newest: UnixMillis::new(1_000 + (n - 1) * every),
        };
        (1..=count).map(event).collect()
    }

    fn plan(kept: &[Run], now: u64) -> Option<u64> {
        LIMITS.plan(kept, UnixMillis::new(now)).map(Seq::get)
    }

    #[test]
    fn horizon_1_within_every_limit_nothing_moves() {
        assert_eq!(plan(&[], 1_000_000), None);
        assert_eq!(plan(&kept(80, 100, 1), 1_200), None);
        assert_eq!(plan(&kept(3, 1, 1), 1_800), None);
    }

    #[test]
    fn horizon_1_each_limit_makes_room_for_an_eighth_of_itself() {
        // (events, bytes each, ms apart, now) -> the horizon
        let cases = [
            ((81, 1, 1, 1_200), Some(11)),
            ((200, 1, 1, 1_300), Some(130)),
            ((41, 200, 1, 1_200), Some(6)),
            ((10, 1, 90, 1_811), Some(2)),
            ((1, 1, 1, 1_801), Some(1)),
        ];
        for ((events, bytes, every, now), horizon) in cases {
            assert_eq!(plan(&kept(events, bytes, every), now), horizon, "{events}");
        }
    }

    #[test]
    fn horizon_1_what_is_younger_than_min_age_stays() {
        assert_eq!(plan(&kept(200, 1, 1), 1_150), Some(130));
        assert_eq!(plan(&kept(200, 1, 1), 1_110), Some(101));
        assert_eq!(plan(&kept(200, 1, 1), 1_009), None);
    }

    #[test]
    fn a_horizon_that_the_youngest_hold_back_does_not_move_event_by_event() {
        // Of 200 events 12 are old enough, then 25.
        assert_eq!(plan(&kept(200, 1, 1), 1_021), None);
        assert_eq!(plan(&kept(200, 1, 1), 1_034), Some(25));
    }

    #[test]
    fn runs_are_fractions_of_every_limit() {
        let limits = Limits {
            max_age_ms: 128_000,
            max_events: 1_280,
            max_bytes: 12_800,
            min_age_ms: 0,
        };
        let run = Run {
            last: Seq::new(9).unwrap(),
            events: 9,
            bytes: 90,
            oldest: UnixMillis::new(5_000),
            newest: UnixMillis::new(5_500),
        };
        assert!(limits.joins(&run, 10, UnixMillis::new(6_000)));
        assert!(!limits.joins(&run, 11, UnixMillis::new(6_000)));
        assert!(!limits.joins(&run, 10, UnixMillis::new(6_001)));
        let full = Run { events: 10, ..run };
        assert!(!limits.joins(&full, 1, UnixMillis::new(6_000)));
    }

    #[test]
    fn a_channel_may_have_limits_of_its_own() {
        let room: Channel = "listening-room".parse().unwrap();
        let own = Limits {
            max_events: 7,
            ..LIMITS
        };
        let history = History {
            limits: LIMITS,
            channels: BTreeMap::from([(room.clone(), own)]),
        };
        assert_eq!(history.limits(Some(&room)), &own);
        assert_eq!(history.limits(None), &LIMITS);
        assert_eq!(history.limits(Some(&"x".parse().unwrap())), &LIMITS);
    }
}
