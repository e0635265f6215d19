//! How much one stream may hold: events above its horizon, and state. Pure: `now` comes in.
//!
//! Events are counted here. What the state takes is asked, as of what is kept; from then on it takes at most that and all that
//! was accepted since, so that nobody need be asked while there is room in any case.

use std::collections::VecDeque;

use syncline_protocol::{Intent, RefusalName, Refused, Seq, UnixMillis};

use super::weight::{memory, weight};
use crate::store::{Committed, StreamHead};

/// Kept events are forgotten in runs; one is at most such a part of what may be kept.
const RUNS: u64 = 64;

/// How soon it is asked again what a state takes that was too large: tombstones go from it without an event.
const AGAIN_MS: u64 = 1_000;

/// What an entry takes in a state beside what the event says, with everything to spare.
const ENTRY_BYTES: u64 = 1_024;

/// What one stream may hold; 0: as much as comes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StreamOptions {
    /// Events above the horizon.
    pub events_max: u64,
    /// Their bytes, as they are delivered.
    pub bytes_max: u64,
    /// Bytes of memory that its state takes. Above them nothing is accepted but what makes it smaller.
    pub state_bytes_max: u64,
}

/// What a state takes, as of what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateSize {
    /// Bytes of memory, roughly.
    pub bytes: u64,
    /// Whether there is the entry that was asked for.
    pub is_live: bool,
}

/// Of what a stream holds as much as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    Events,
    Bytes,
    State,
}

impl From<Full> for Refused {
    fn from(full: Full) -> Self {
        let reason = match full {
            Full::Events => {
                "the stream holds as many events as limits.stream_events_max allows, until some are history"
            }
            Full::Bytes => {
                "the events of the stream take as much as limits.stream_bytes_max allows, until some are history"
            }
            Full::State => {
                "the state of the stream takes more than limits.stream_state_bytes_max; remove something first"
            }
        };
        Refused::new(RefusalName::QuotaExceeded, reason)
    }
}

/// What is known of what a stream holds, with everything that was decided, kept or not.
#[derive(Debug, Default)]
pub(crate) struct Holding {
    /// The bytes of the events that are kept, once they were read.
    kept: Option<Kept>,
    /// Those of events that were decided and are not kept yet, roughly.
    pending: u64,
    state: Bound,
}

/// Kept events above a horizon, in runs.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// The last seq of each, and its bytes.
    runs: VecDeque<(Seq, u64)>,
    bytes: u64,
}

/// What a state takes at most.
#[derive(Debug, Default)]
struct Bound {
    /// None: not known.
    bytes: Option<u64>,
    /// Of it, what is not kept yet: whoever is asked does not know that.
    pending: u64,
    /// The last answer and when it came, as long as nothing was kept since.
    answer: Option<(u64, UnixMillis)>,
}

impl Kept {
    /// Takes the next events.
    pub(crate) fn extend(&mut self, events: &[Committed], options: &StreamOptions) {
        let run_max = options.bytes_max / RUNS;
        for event in events {
            let bytes = event.payload().len() as u64;
            self.push(event.seq(), bytes, run_max);
        }
    }

    fn push(&mut self, seq: Seq, bytes: u64, run_max: u64) {
        self.bytes += bytes;
        match self.runs.back_mut() {
            Some((last, run)) if *run + bytes <= run_max => {
                *last = seq;
                *run += bytes;
            }
            _ => self.runs.push_back((seq, bytes)),
        }
    }

    /// A run that the horizon is in the middle of is counted as a whole.
    fn drop_through(&mut self, horizon: Seq) {
        while let Some((last, bytes)) = self.runs.front()
            && *last <= horizon
        {
            self.bytes -= bytes;
            self.runs.pop_front();
        }
    }
}

impl Holding {
    /// Whether the events that are kept must be read before [`Holding::full`].
    pub(crate) fn must_read(&self, options: &StreamOptions) -> bool {
        options.bytes_max > 0 && self.kept.is_none()
    }

    /// All that is kept above the horizon.
    pub(crate) fn learn_kept(&mut self, kept: Kept) {
        self.kept = Some(kept);
    }

    /// Whether there is no room for an event in a stream with this head.
    pub(crate) fn full(
        &mut self,
        options: &StreamOptions,
        head: &StreamHead,
        intent: &Intent,
    ) -> Option<Full> {
        let events = head.seq.get().saturating_sub(head.horizon.get());
        if options.events_max > 0 && events >= options.events_max {
            return Some(Full::Events);
        }
        if options.bytes_max == 0 {
            return None;
        }
        let kept = self.kept.get_or_insert_default();
        kept.drop_through(head.horizon);
        let bytes = kept.bytes + self.pending + weight(intent) as u64;
        (bytes > options.bytes_max).then_some(Full::Bytes)
    }

    /// Whether the state may take more than that, as far as is known.
    pub(crate) fn may_exceed(&self, max: u64) -> bool {
        self.state.bytes.is_none_or(|bytes| bytes > max)
    }

    /// Whether it must be asked what the state takes, because the last answer is too old.
    pub(crate) fn must_ask(&self, now: UnixMillis) -> bool {
        let answer = self.state.answer;
        answer.is_none_or(|(_, at)| at.plus(AGAIN_MS) <= now)
    }

    /// What the state takes as of what is kept.
    pub(crate) fn learn_state(&mut self, bytes: u64, now: UnixMillis) {
        let state = &mut self.state;
        state.bytes = Some(bytes + state.pending);
        state.answer = Some((bytes, now));
    }

    /// Whether by the last answer the state takes more than that.
    pub(crate) fn exceeds(&self, max: u64) -> bool {
        self.state.answer.is_some_and(|(bytes, _)| bytes > max)
    }

    /// What the state takes must be asked again: it is another one.
    pub(crate) fn forget_state(&mut self) {
        self.state = Bound::default();
    }

    /// An event was decided.
    pub(crate) fn absorb(&mut self, intent: &Intent) {
        self.pending += weight(intent) as u64;
        let growth = ENTRY_BYTES + memory(intent) as u64;
        self.state.pending += growth;
        self.state.bytes = self.state.bytes.map(|bytes| bytes + growth);
    }

    /// All that was decided is kept: these events.
    pub(crate) fn settled(&mut self, events: &[Committed], options: &StreamOptions) {
        (self.pending, self.state.pending) = (0, 0);
        self.state.answer = None;
        if let Some(kept) = &mut self.kept {
            kept.extend(events, options);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syncline_protocol::Value;

    fn seq(n: u64) -> Seq {
        Seq::new(n).unwrap()
    }

    fn head(at: u64, horizon: u64) -> StreamHead {
        StreamHead {
            seq: seq(at),
            horizon: seq(horizon),
            ..StreamHead::EMPTY
        }
    }

    fn intent(bytes: usize) -> Intent {
        let text = Value::text("x".repeat(bytes));
        Intent::new("note".parse().unwrap(), text)
    }

    #[test]
    fn g10_a_stream_holds_so_many_events_above_its_horizon() {
        let options = StreamOptions {
            events_max: 10,
            ..StreamOptions::default()
        };
        let mut holding = Holding::default();
        let mut full = |at, horizon| holding.full(&options, &head(at, horizon), &intent(9));
        assert_eq!((full(9, 0), full(10, 0)), (None, Some(Full::Events)));
        assert_eq!((full(10, 1), full(11, 1)), (None, Some(Full::Events)));
    }

    #[test]
    fn g10_a_stream_holds_so_many_bytes_and_those_that_are_history_do_not_count() {
        let options = StreamOptions {
            bytes_max: 64_000,
            ..StreamOptions::default()
        };
        let mut holding = Holding::default();
        assert!(holding.must_read(&options));
        let mut kept = Kept::default();
        (1..=600).for_each(|n| kept.push(seq(n), 100, 1_000));
        assert_eq!(kept.runs.len(), 60);
        holding.learn_kept(kept);
        let full = |holding: &mut Holding, horizon, bytes| {
            holding.full(&options, &head(600, horizon), &intent(bytes))
        };
        assert_eq!(full(&mut holding, 0, 3_000), None);
        assert_eq!(full(&mut holding, 0, 4_000), Some(Full::Bytes));
        holding.absorb(&intent(1_500));
        assert_eq!(full(&mut holding, 0, 3_000), Some(Full::Bytes));
        // The run is dropped with its last event.
        assert_eq!(full(&mut holding, 19, 3_000), Some(Full::Bytes));
        assert_eq!(full(&mut holding, 20, 3_000), None);
    }

    #[test]
    fn g10_nobody_is_asked_for_a_state_while_there_is_room_for_all_that_came() {
        let max = 100_000;
        let now = UnixMillis::new(5_000);
        let mut holding = Holding::default();
        assert!(holding.may_exceed(max) && holding.must_ask(now));
        holding.learn_state(10_000, now);
        let mut came = 0;
        while !holding.may_exceed(max) {
            holding.absorb(&intent(100));
            came += 1;
        }
        assert!((30..=90).contains(&came), "{came}");
        holding.settled(&[], &StreamOptions::default());
        assert!(holding.must_ask(now));
        holding.learn_state(10_000, now);
        assert!(!holding.may_exceed(max));
        holding.learn_state(max + 1, now);
        assert!(holding.exceeds(max) && !holding.must_ask(now));
        assert!(holding.must_ask(now.plus(AGAIN_MS)));
        holding.forget_state();
        assert!(holding.may_exceed(max) && !holding.exceeds(max));
    }
}
