//! Slow and obviously right: the live values that a whole log amounts to, by SPEC's own words, key by key.

use std::collections::BTreeMap;

use syncline_protocol::{Clock, DeviceId, Event, Seq, Value};

use crate::workload::{self, OPEN_VALUES_MAX, Policy, What};

/// Collection, key, live value.
pub(crate) type Live = BTreeMap<(String, String), Value>;

/// One event on one key.
#[derive(Debug, Clone)]
struct Act {
    seq: Seq,
    base_seq: Seq,
    device: DeviceId,
    clock: Clock,
    what: What,
}

impl Act {
    /// STATE-2.
    fn saw(&self, other: &Act) -> bool {
        other.seq <= self.base_seq || (other.device == self.device && other.seq < self.seq)
    }

    /// STATE-3.
    fn rank(&self) -> (Clock, [u8; 16], Seq) {
        (self.clock, *self.device.as_bytes(), self.seq)
    }

    fn is_live(&self) -> bool {
        self.what != What::Remove
    }

    fn value(&self) -> Option<Value> {
        match &self.what {
            What::Put(value) => Some(value.clone()),
            What::Remove | What::Count(_) => None,
        }
    }
}

/// What a log amounts to.
pub(crate) fn live<'a>(log: impl Iterator<Item = &'a Event>) -> Live {
    let mut keys: BTreeMap<(String, String), (Policy, Vec<Act>)> = BTreeMap::new();
    for event in log {
        let Some(deed) = workload::deed(&event.event_type, &event.event_data) else {
            continue;
        };
        let act = Act {
            seq: event.seq,
            base_seq: event.base_seq,
            device: event.device,
            clock: event.clock,
            what: deed.what,
        };
        let name = (deed.collection.name.to_owned(), deed.key.to_owned());
        let policy = deed.collection.policy;
        let entry = keys.entry(name).or_insert_with(|| (policy, Vec::new()));
        entry.1.push(act);
    }
    let values = keys.into_iter().filter_map(|(name, (policy, acts))| {
        let value = match policy {
            Policy::LastWriteWins => last_write_wins(&acts),
            Policy::AddWins => add_wins(&acts),
            Policy::RemoveWins => remove_wins(&acts),
            Policy::KeepBoth => keep_both(&acts),
            Policy::Sum => sum(&acts),
        };
        Some((name, value?))
    });
    values.collect()
}

/// STATE-4.
fn later<'a>(before: Option<&'a Act>, act: &'a Act) -> Option<&'a Act> {
    match before {
        Some(before) if !act.saw(before) && act.rank() < before.rank() => Some(before),
        _ => Some(act),
    }
}

fn last_write_wins(acts: &[Act]) -> Option<Value> {
    acts.iter().fold(None, later)?.value()
}

/// STATE-6: the adds that no later act saw.
fn add_wins(acts: &[Act]) -> Option<Value> {
    let is_open = |at: usize| !acts[at + 1..].iter().any(|later| later.saw(&acts[at]));
    let open = (0..acts.len()).filter(|at| acts[*at].is_live() && is_open(*at));
    let shown = open.max_by_key(|at| acts[*at].rank())?;
    acts[shown].value()
}

/// STATE-7.
fn remove_wins(acts: &[Act]) -> Option<Value> {
    let mut removals: Vec<&Act> = Vec::new();
    let mut live: Option<&Act> = None;
    for act in acts {
        removals.retain(|removal| !act.saw(removal));
        if !act.is_live() {
            live = None;
            removals.push(act);
        } else if removals.is_empty() {
            live = later(live, act);
        }
    }
    live?.value()
}

/// STATE-8.
fn keep_both(acts: &[Act]) -> Option<Value> {
    let mut open: Vec<&Act> = Vec::new();
    for act in acts {
        open.retain(|before| !act.saw(before));
        open.push(act);
        if open.len() > OPEN_VALUES_MAX {
            open.sort_by_key(|it| it.rank());
            open.remove(0);
        }
    }
    let live = open.into_iter().filter(|act| act.is_live());
    live.max_by_key(|act| act.rank())?.value()
}

/// STATE-10; the sums of a run stay small.
fn sum(acts: &[Act]) -> Option<Value> {
    let amounts = acts.iter().map(|act| match act.what {
        What::Count(amount) => amount,
        What::Put(_) | What::Remove => 0,
    });
    Value::integer(amounts.sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn act(seq: u64, base_seq: u64, device: u8, at: u64, what: What) -> Act {
        let number = |n| Seq::new(n).unwrap();
        Act {
            seq: number(seq),
            base_seq: number(base_seq),
            device: DeviceId::from_bytes([device; 16]),
            clock: Clock::at(syncline_protocol::UnixMillis::new(at)),
            what,
        }
    }

    fn put(n: i64) -> What {
        What::Put(Value::integer(n).unwrap())
    }

    #[test]
    fn state_4_to_8_two_who_did_not_see_each_other() {
        let acts = [
            act(1, 0, 1, 10, put(1)),
            act(2, 1, 2, 30, What::Remove),
            act(3, 1, 3, 20, put(3)),
        ];
        let three = Value::integer(3);
        assert_eq!(
            last_write_wins(&acts),
            None,
            "the removal's clock is higher"
        );
        assert_eq!(add_wins(&acts), three);
        assert_eq!(remove_wins(&acts), None);
        assert_eq!(keep_both(&acts), three);
    }

    #[test]
    fn state_4_who_saw_it_wins_with_a_slow_clock() {
        let acts = [act(1, 0, 1, 90, put(1)), act(2, 1, 2, 5, What::Remove)];
        assert_eq!(last_write_wins(&acts), None);
        assert_eq!(add_wins(&acts), None);
        assert_eq!(remove_wins(&acts), None);
        assert_eq!(keep_both(&acts), None);
    }
}
