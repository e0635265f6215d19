//! A place in a stream's history, as people name it: a seq or a time.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use syncline_protocol::{Seq, StreamId, UnixMillis};

use crate::store::{EventStore, ReadLimit, StoreError, StreamHead};

/// A seq (`1042`), or a time (`2026-11-22T18:30:00Z`, UTC).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// After this event.
    Seq(u64),
    /// After the last event accepted at or before this, in Unix milliseconds.
    Time(u64),
}

/// Neither a seq nor a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither a seq like 1042 nor a time like 2026-11-22T18:30:00Z")]
pub struct NoMoment(String);

impl FromStr for Moment {
    type Err = NoMoment;

    fn from_str(text: &str) -> Result<Self, NoMoment> {
        if let Ok(seq) = text.parse() {
            return Ok(Self::Seq(seq));
        }
        let time = humantime::parse_rfc3339_weak(text).map_err(|_| NoMoment(text.to_owned()))?;
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Self::Time(
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
        ))
    }
}

impl Moment {
    /// The seq in a stream that has this head. A time before everything that is kept is the horizon, as no other place can be told
    /// from it; `accepted_at` never decreases, so the place is found by halving.
    pub fn seq(
        self,
        store: &dyn EventStore,
        stream: &StreamId,
        head: &StreamHead,
    ) -> Result<Seq, StoreError> {
        let time = match self {
            Self::Seq(seq) => return Ok(Seq::new(seq).unwrap_or(head.seq)),
            Self::Time(time) => UnixMillis::new(time),
        };
        let (mut low, mut high) = (head.horizon.get(), head.seq.get());
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if accepted_at(store, stream, middle)?.is_some_and(|at| at > time) {
                high = middle - 1;
            } else {
                low = middle;
            }
        }
        Ok(Seq::new(low).unwrap_or(head.seq))
    }
}

fn accepted_at(
    store: &dyn EventStore,
    stream: &StreamId,
    seq: u64,
) -> Result<Option<UnixMillis>, StoreError> {
    let before = Seq::new(seq.saturating_sub(1)).unwrap_or(Seq::ZERO);
    let one = ReadLimit {
        events: 1,
        bytes: 1,
    };
    let read = match store.read(stream, before, one) {
        Err(StoreError::Folded { .. }) => return Ok(None),
        other => other?,
    };
    let event = read
        .first()
        .and_then(|event| syncline_protocol::event::Event::decode(event.payload()).ok());
    Ok(event.map(|event| event.accepted_at))
}

/// A time as people read it: `2026-11-22T18:30:00.000Z`.
pub(crate) struct Shown(pub(crate) UnixMillis);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Beyond the year 9999 there is no such text.
        let time = UNIX_EPOCH
            .checked_add(Duration::from_millis(self.0.get()))
            .filter(|_| self.0.get() < 253_402_300_800_000);
        match time {
            Some(time) => write!(
                f,
                "{}",
                humantime::format_rfc3339_millis(SystemTime::max(time, UNIX_EPOCH))
            ),
            None => write!(f, "{} ms", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_seq_or_a_time() {
        assert_eq!("7".parse(), Ok(Moment::Seq(7)));
        let noon = Moment::Time(1_700_000_000_000);
        assert_eq!("2023-11-14T22:13:20Z".parse(), Ok(noon));
        assert_eq!("2023-11-14 22:13:20".parse(), Ok(noon));
        let error = "yesterday".parse::<Moment>().unwrap_err();
        assert!(error.to_string().contains("yesterday"), "{error}");
    }

    #[test]
    fn times_are_shown_as_they_are_asked_for() {
        let shown = Shown(UnixMillis::new(1_700_000_000_123)).to_string();
        assert_eq!(shown, "2023-11-14T22:13:20.123Z");
        assert_eq!(shown.parse(), Ok(Moment::Time(1_700_000_000_123)));
        assert!(Shown(UnixMillis::new(u64::MAX)).to_string().ends_with("ms"));
    }
}
