//! Where the subscriptions of a kept session go on: read of the store, on a thread that may block.

use syncline_protocol::{Epoch, Seq, StreamId, Topic};

use super::delivery::GoOn;
use super::fetch::{self, FetchError};
use super::hub::Reading;
use super::shared::Shared;
use crate::store::sessions::{Lag, LoadedSession, Reach, Reaches, StoredSubscription};
use crate::store::{Committed, EventStore, ReadLimit, StoreError, StreamHead};

/// A kept session and where its subscriptions go on.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) loaded: LoadedSession,
    /// Per subscription.
    pub(crate) reaches: Vec<Reaches>,
    pub(crate) places: Vec<FoundPlace>,
    /// The heads were read after this.
    pub(crate) reading: Reading,
}

/// One stream in which one subscription goes on by itself.
#[derive(Debug)]
pub(crate) struct FoundPlace {
    /// Which of the subscriptions.
    pub(crate) of: usize,
    pub(crate) stream: StreamId,
    pub(crate) head: StreamHead,
    pub(crate) events: Option<GoOn>,
    pub(crate) state: bool,
}

/// A stream to look at.
struct Sought {
    of: usize,
    stream: StreamId,
    lag: Lag,
    state: bool,
    /// What does not lag is there up to here.
    position: u64,
}

/// Looks up where a session's subscriptions go on. Blocks.
pub(crate) fn find(shared: &Shared, loaded: LoadedSession) -> Result<Found, FetchError> {
    let sought = sought(&loaded);
    let streams: Vec<_> = sought.iter().map(|it| Some(it.stream.clone())).collect();
    let (heads, reading) = fetch::heads(shared, &streams)?;
    let store = &*shared.store;
    let places: Result<Vec<_>, StoreError> = sought
        .into_iter()
        .zip(heads)
        .map(|(it, head)| place(store, it, head))
        .collect();
    let position = store.position()?;
    let reaches = loaded.subscriptions.iter();
    let reaches = reaches.map(|it| scan_from(it, base(&loaded, it), position));
    Ok(Found {
        reaches: reaches.collect(),
        places: places?,
        reading,
        loaded,
    })
}

/// Where a stream is that somebody had up to `position`: at which seq, and of which history.
pub(crate) fn footing(
    store: &dyn EventStore,
    stream: &StreamId,
    head: &StreamHead,
    position: u64,
) -> Result<GoOn, StoreError> {
    let seq = match position >= head.position {
        true => head.seq,
        false => store.seq_at(stream, position)?,
    };
    if seq == Seq::ZERO && store.base(stream)?.seq > Seq::ZERO {
        // What was there then is folded away.
        return Ok(GoOn::State);
    }
    let epoch = match position >= head.position {
        true => Some(head.epoch).filter(|epoch| *epoch != Epoch::NONE),
        false => epoch_of(store, stream, seq)?,
    };
    let sent = Seq::ZERO;
    Ok(GoOn::After { seq, epoch, sent })
}

/// What a subscription has that neither lags nor scans.
fn base(loaded: &LoadedSession, subscription: &StoredSubscription) -> u64 {
    loaded.session.position.max(subscription.began)
}

fn sought(loaded: &LoadedSession) -> Vec<Sought> {
    let mut sought = Vec::new();
    for (of, subscription) in loaded.subscriptions.iter().enumerate() {
        let position = base(loaded, subscription);
        let filter = &subscription.filter;
        let lagging = loaded.cursors.iter().filter(|it| it.filter == *filter);
        let before = sought.len();
        sought.extend(lagging.map(|it| Sought {
            of,
            stream: it.stream.clone(),
            lag: it.events,
            state: it.state,
            position,
        }));
        if let Some(Topic::Events(stream) | Topic::State(stream)) = filter.exact()
            && sought.len() == before
        {
            sought.push(Sought {
                of,
                stream,
                lag: Lag::None,
                state: false,
                position,
            });
        }
    }
    sought
}

fn place(
    store: &dyn EventStore,
    sought: Sought,
    head: StreamHead,
) -> Result<FoundPlace, StoreError> {
    let Sought {
        of,
        stream,
        lag,
        state,
        position,
    } = sought;
    let events = match lag {
        Lag::None => footing(store, &stream, &head, position)?,
        // The history does not reach so far any more.
        Lag::After { seq, .. } if seq > head.seq => GoOn::State,
        Lag::After { epoch, seq, sent } => {
            let epoch = match epoch {
                Epoch::NONE => epoch_of(store, &stream, seq.max(sent))?,
                known => Some(known),
            };
            GoOn::After { seq, epoch, sent }
        }
        Lag::State => GoOn::State,
    };
    Ok(FoundPlace {
        of,
        state: state || head.position > position,
        events: Some(events),
        stream,
        head,
    })
}

/// The epoch of the event at a seq, if that can still be told.
fn epoch_of(
    store: &dyn EventStore,
    stream: &StreamId,
    seq: Seq,
) -> Result<Option<Epoch>, StoreError> {
    let Some(before) = seq.get().checked_sub(1).and_then(Seq::new) else {
        return Ok(None);
    };
    let one = ReadLimit {
        events: 1,
        bytes: 1,
    };
    match store.read(stream, before, one) {
        Ok(events) => Ok(events.first().map(Committed::epoch)),
        Err(StoreError::Folded { .. }) => {
            let base = store.base(stream)?;
            Ok((base.seq == seq).then_some(base.epoch))
        }
        Err(error) => Err(error),
    }
}

/// A filter with wildcards goes through all streams, unless nothing has come since and nothing was left over.
fn scan_from(subscription: &StoredSubscription, position: u64, now: u64) -> Reaches {
    let ours = !subscription.filter.as_str().starts_with('$');
    let Reaches { events, states } = subscription.scans.clone();
    let nothing_new = events.is_none() && states.is_none() && now <= position;
    if !subscription.filter.has_wildcard() || !ours || nothing_new {
        return Reaches::default();
    }
    let rest = || Reach::all(position);
    Reaches {
        events: Some(events.unwrap_or_else(rest)),
        states: Some(states.unwrap_or_else(rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::history::{fold, fold_of, raise};
    use crate::store::contract::{append, batch, stream};
    use crate::store::memory::MemoryStore;

    /// Where somebody goes on in a stream with two events who had everything up to a position but for a lag.
    fn found(position: u64, lag: Lag, state: bool) -> FoundPlace {
        let store = MemoryStore::new(8);
        let home = stream("home");
        append(&store, batch(&home, 1, 2));
        let sought = Sought {
            of: 0,
            stream: home.clone(),
            lag,
            state,
            position,
        };
        let head = store.head(&home).unwrap();
        place(&store, sought, head).unwrap()
    }

    #[test]
    fn session_2_a_state_is_due_that_changed_since_or_was_due_then() {
        let cases = [(1, false), (2, false), (2, true)];
        let due = cases.map(|(at, state)| found(at, Lag::None, state).state);
        assert_eq!(due, [true, false, true]);
    }

    #[test]
    fn epoch_3_a_lag_goes_on_in_the_history_of_its_event_or_with_a_state() {
        let lag = |seq: u64, sent: u64| Lag::After {
            epoch: Epoch::NONE,
            seq: Seq::new(seq).unwrap(),
            sent: Seq::new(sent).unwrap(),
        };
        let store = MemoryStore::new(8);
        append(&store, batch(&stream("home"), 1, 1));
        let epoch = store.head(&stream("home")).unwrap().epoch;
        let after = |seq: u64, sent: u64| GoOn::After {
            seq: Seq::new(seq).unwrap(),
            epoch: Some(epoch),
            sent: Seq::new(sent).unwrap(),
        };
        assert_eq!(found(2, lag(1, 0), false).events, Some(after(1, 0)));
        assert_eq!(found(2, lag(0, 1), false).events, Some(after(0, 1)));
        assert_eq!(found(2, lag(3, 3), false).events, Some(GoOn::State));
        assert_eq!(found(2, Lag::State, false).events, Some(GoOn::State));
    }

    #[test]
    fn session_2_a_state_comes_first_where_what_was_had_is_folded_away() {
        let (store, home) = (MemoryStore::new(8), stream("home"));
        append(&store, batch(&home, 1, 9));
        raise(&store, &home, 4);
        fold(&store, &fold_of(&home, 0, 4));
        let head = store.head(&home).unwrap();
        let goes_on = |position| footing(&store, &home, &head, position).unwrap();
        assert_eq!([0, 1, 3].map(goes_on), [GoOn::State; 3]);
        let after_4 = matches!(goes_on(4), GoOn::After { seq, .. } if seq.get() == 4);
        assert!(after_4, "{:?}", goes_on(4));
    }

    #[test]
    fn session_2_who_was_away_goes_through_what_came_since_and_no_more() {
        let store = crate::store::sessions::contract::subscription("sync/#");
        let scans = |it: &StoredSubscription, at, now| scan_from(it, at, now);
        let after = |at| Reaches {
            events: Some(Reach::all(at)),
            states: Some(Reach::all(at)),
        };
        assert_eq!(scans(&store, 5, 5), Reaches::default());
        assert_eq!(scans(&store, 5, 9), after(5));
        let left_over = StoredSubscription {
            scans: after(3),
            ..store
        };
        assert_eq!(scans(&left_over, 9, 9), after(3));
    }
}
