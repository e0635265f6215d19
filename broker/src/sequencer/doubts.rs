//! When epochs began because somebody had seen what is not there (EPOCH-1).

use std::collections::HashMap;

use syncline_protocol::{StreamId, UnixMillis};

/// How long a stream is left alone after it.
const PAUSE_MS: u64 = 3_600_000;

/// Streams remembered at most; beyond, none more begins until the pause of one is over.
const STREAMS_MAX: usize = 10_000;

/// The streams whose epoch began in the last hour. A process that starts anew has forgotten them.
#[derive(Debug, Default)]
pub(crate) struct Doubts {
    begun: HashMap<StreamId, UnixMillis>,
}

impl Doubts {
    /// Whether an epoch may begin now.
    pub(crate) fn may_begin(&mut self, stream: &StreamId, now: UnixMillis) -> bool {
        self.begun.retain(|_, begun| begun.plus(PAUSE_MS) > now);
        !self.begun.contains_key(stream) && self.begun.len() < STREAMS_MAX
    }

    /// One did, and is on disk.
    pub(crate) fn begun(&mut self, stream: StreamId, now: UnixMillis) {
        self.begun.insert(stream, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::stream;

    #[test]
    fn epoch_1_at_most_once_an_hour_and_stream() {
        let (mut doubts, at) = (Doubts::default(), UnixMillis::new(5));
        assert!(doubts.may_begin(&stream("a"), at));
        doubts.begun(stream("a"), at);
        assert!(!doubts.may_begin(&stream("a"), at.plus(PAUSE_MS - 1)));
        assert!(doubts.may_begin(&stream("b"), at));
        assert!(doubts.may_begin(&stream("a"), at.plus(PAUSE_MS)));
    }
}
