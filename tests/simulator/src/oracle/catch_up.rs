//! G6: what opens a subscription costs no more than the cheapest of what there is, so what changed, and not the history.

use syncline_protocol::{Entry, Epoch, Seq, Snapshot, State};

use super::Oracle;
use crate::workload;

/// Bytes around an entry's value and its key.
const ENTRY_BYTES: usize = 3;

/// By how much the way taken may cost more: the broker counts bytes a little differently.
const SLACK_BYTES: usize = 16;

/// What a device knew when it subscribed, and what was known of its stream.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Asked {
    /// Acknowledged everywhere (G8).
    pub(crate) owed: Seq,
    /// Where the device is.
    pub(crate) seq: Seq,
    pub(crate) epoch: Epoch,
}

impl Asked {
    /// By the filter that it subscribes, if this asks for an opening.
    pub(crate) fn by(filter: &str, owed: Seq) -> Option<Self> {
        let place = filter.strip_prefix("$since/")?.split('/').next()?;
        let (seq, epoch) = place.split_once('-')?;
        Some(Self {
            owed,
            seq: seq.parse().ok().and_then(Seq::new)?,
            epoch: epoch.parse().unwrap_or(Epoch::NONE),
        })
    }
}

impl Oracle {
    /// SNAP-7: an opening and the events that it makes necessary are the cheapest that is possible. `removed_floor`: of
    /// the deltas. Horizon and floor only rise, so what is possible now was possible when the broker chose.
    pub(crate) fn is_cheapest(
        &self,
        asked: Asked,
        opening: &Snapshot,
        removed_floor: Seq,
    ) -> Result<(), String> {
        let Some(twin) = self.streams.get(&opening.stream) else {
            return Ok(());
        };
        let head = opening.head;
        if head == Seq::ZERO || head > twin.head() {
            return Ok(());
        }
        let sent = entries(opening) + twin.bytes_between(opening.seq, head);
        let state = twin.state_at(head);
        let mut cheapest = ("the full state", cost(&state, Seq::ZERO));
        let same = asked.epoch == opening.epoch && asked.seq > Seq::ZERO && asked.seq <= head;
        let mut offer = |possible: bool, way: &'static str, bytes: usize| {
            if same && possible && bytes < cheapest.1 {
                cheapest = (way, bytes);
            }
        };
        let kept = asked.seq >= twin.horizon;
        let events = twin.bytes_between(asked.seq, head);
        offer(kept, "the events", events);
        let has_delta = asked.seq >= removed_floor;
        offer(has_delta, "a delta", cost(&state, asked.seq));
        let (way, bytes) = cheapest;
        if sent <= bytes + SLACK_BYTES {
            return Ok(());
        }
        let (stream, since, seq) = (&opening.stream, opening.since, opening.seq);
        Err(format!(
            "G6: {stream}: the opening of {} to {head} costs {sent} bytes (since {since}, at {seq}), and {way} {bytes}",
            asked.seq
        ))
    }
}

fn entries(snapshot: &Snapshot) -> usize {
    let entries = snapshot.collections.values().flatten();
    entries.map(|(key, entry)| entry_cost(key, entry)).sum()
}

fn cost(state: &State, since: Seq) -> usize {
    let names = workload::COLLECTIONS.iter().map(|it| it.name);
    let entries = names.flat_map(|name| state.entries(name));
    entries
        .filter(|(_, entry)| entry.changed > since)
        .map(|(key, entry)| entry_cost(key, entry))
        .sum()
}

fn entry_cost(key: &str, entry: &Entry) -> usize {
    key.len() + ENTRY_BYTES + entry.encode().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn view_4_asks_for_an_opening_and_no_other_view_does() {
        let asked = Asked::by("$since/7-00000000000000aa/sync/demo/events", Seq::ZERO).unwrap();
        assert_eq!((asked.seq.get(), asked.epoch), (7, Epoch::new(0xaa)));
        assert!(Asked::by("$since/7/sync/demo/events", Seq::ZERO).is_none());
        assert!(Asked::by("sync/demo/errors/x", Seq::ZERO).is_none());
    }
}
