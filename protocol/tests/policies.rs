//! Every kind with every policy, on logs that nobody chose: against a slow model, through snapshots, and with old
//! removals collected or not.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

mod log;
mod model;

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use syncline_protocol::state::Act;
use syncline_protocol::{Digest, Entry, Event, Overlay, Seq, Snapshot, State, Value};

use crate::log::{Step, any_collection, any_steps, events, schema, stream};
use crate::model::Model;

/// What a state shows, removed entries left out.
fn live(state: &State) -> BTreeMap<(String, String), Entry> {
    let names = state.schema().collections().keys();
    let entries = names.flat_map(|name| {
        state
            .entries(name)
            .map(move |(key, entry)| (name, key, entry))
    });
    entries
        .filter(|(_, _, entry)| entry.is_live())
        .map(|(name, key, entry)| ((name.clone(), key.to_owned()), entry.clone()))
        .collect()
}

fn all_lists(state: &State) -> Vec<Vec<(String, Value)>> {
    let names = state.schema().collections().keys();
    let lists =
        names.flat_map(|name| [None, Some("l0"), Some("l1")].map(|list| state.list(name, list)));
    let owned = |(key, value): (&str, &Value)| (key.to_owned(), value.clone());
    lists
        .map(|list| list.into_iter().map(owned).collect())
        .collect()
}

fn apply_all(state: &mut State, log: &[Event]) {
    for event in log {
        state.apply(event).unwrap();
    }
}

fn agrees(state: &State, model: &Model) {
    for (collection, key) in model.keys() {
        let (entry, standing) = (
            state.entry(collection, key),
            model.standing(collection, key),
        );
        let Some(standing) = standing else {
            assert_eq!(entry, None, "{collection}/{key}");
            continue;
        };
        let entry = entry.unwrap();
        let open: Vec<u64> = entry.acts().map(|act| act.seq.get()).collect();
        assert_eq!(open, standing.open, "{collection}/{key}");
        assert_eq!(entry.changed.get(), standing.changed, "{collection}/{key}");
        assert_eq!(
            entry.value(),
            standing.shown.value.as_ref(),
            "{collection}/{key}"
        );
        let place = entry.shown.place.clone().map(|it| (it.list, it.position));
        assert_eq!(place, standing.shown.place, "{collection}/{key}");
    }
    let names = state.schema().collections().keys();
    for (name, list) in
        names.flat_map(|name| [None, Some("l0"), Some("l1")].map(|list| (name, list)))
    {
        let keys: Vec<_> = state
            .list(name, list)
            .into_iter()
            .map(|(key, _)| key.to_owned())
            .collect();
        let expected: Vec<_> = model
            .list(name, list)
            .into_iter()
            .map(|(_, key)| key)
            .collect();
        assert_eq!(keys, expected, "{name}/{list:?}");
    }
}

/// Everything that is kept beside the entries is as it would be if made anew.
fn is_consistent(state: &State) {
    let again = rebuilt(state);
    assert_eq!(state.digests(), again.digests());
    assert_eq!(state.digest(), again.digest());
    assert_eq!(state.bytes(), again.bytes());
    assert_eq!(all_lists(state), all_lists(&again));
    let mut sum = Digest::default();
    state
        .digests()
        .into_values()
        .for_each(|digest| sum.add(digest));
    assert_eq!(state.digest(), sum);
}

fn rebuilt(state: &State) -> State {
    let entries = state.changed_since(Seq::ZERO).into_iter();
    let entries = entries.flat_map(|(name, entries)| {
        let read = |bytes: Vec<u8>| Entry::decode(&bytes).unwrap();
        let entries = entries.into_iter();
        entries.map(move |(key, entry)| (name.clone(), key, read(entry.encode())))
    });
    State::restore(
        Arc::clone(state.schema()),
        state.epoch(),
        state.seq(),
        entries,
    )
}

/// How far raw events are gone after each step, and whether old removals are collected then.
#[derive(Debug, Clone)]
struct Compaction {
    raise: prop::sample::Index,
    collects: bool,
}

fn any_compactions() -> impl Strategy<Value = Vec<Option<Compaction>>> {
    let one = (any::<prop::sample::Index>(), any::<bool>())
        .prop_map(|(raise, collects)| Compaction { raise, collects });
    prop::collection::vec(prop::option::weighted(0.2, one), 80)
}

proptest! {
    #[test]
    fn state_4_to_10_and_list_1_to_5_agree_with_the_model(steps in any_steps(50)) {
        let schema = schema();
        let (mut state, mut model) = (State::new(Arc::clone(&schema)), Model::new(schema));
        for event in events(&steps, 0) {
            let before = state.digests();
            let changed = state.apply(&event).unwrap();
            model.apply(&event);
            agrees(&state, &model);
            prop_assert!(changed.is_some() || before == state.digests());
        }
        is_consistent(&state);
    }

    /// Many events on few keys of one collection: conflicts above the bound, deep positions, neighbours that go away.
    #[test]
    fn state_8_and_list_3_agree_with_the_model_where_one_collection_is_busy(
        steps in any_steps(40),
        which in any_collection(),
    ) {
        let schema = schema();
        let (mut state, mut model) = (State::new(Arc::clone(&schema)), Model::new(schema));
        let steps: Vec<Step> = steps.into_iter().map(|step| step.within(which)).collect();
        for event in events(&steps, 0) {
            state.apply(&event).unwrap();
            model.apply(&event);
        }
        agrees(&state, &model);
        is_consistent(&state);
    }

    /// HORIZON-4, HORIZON-5: no later event is judged against what is collected.
    #[test]
    fn g5_g7_collecting_old_removals_changes_no_outcome(
        steps in any_steps(80),
        compactions in any_compactions(),
        which in prop::option::of(any_collection()),
    ) {
        let steps: Vec<Step> = match which {
            None => steps,
            Some(which) => steps.into_iter().map(|step| step.within(which)).collect(),
        };
        let (mut kept, mut collected) = (State::new(schema()), State::new(schema()));
        let mut horizon = 0;
        for (at, step) in steps.iter().enumerate() {
            let event = step.event(at as u64 + 1, horizon);
            let did = kept.apply(&event).unwrap();
            prop_assert_eq!(collected.apply(&event).unwrap(), did);
            if let Some(compaction) = compactions.get(at).cloned().flatten() {
                let more = compaction.raise.index(at + 2 - usize::try_from(horizon).unwrap());
                horizon += more as u64;
                if compaction.collects {
                    let floor = Seq::new(horizon).unwrap();
                    for (name, key, changed) in collected.collect(floor) {
                        let entry = kept.entry(&name, &key).unwrap();
                        prop_assert!(!entry.is_live() && entry.changed == changed);
                        prop_assert!(entry.acts().all(|act| act.seq <= floor));
                    }
                }
            }
            prop_assert_eq!(kept.digests(), collected.digests());
            prop_assert_eq!(live(&kept), live(&collected));
            prop_assert_eq!(all_lists(&kept), all_lists(&collected));
        }
        is_consistent(&collected);
    }

    #[test]
    fn g5_snap_2_any_split_into_snapshots_and_tail_gives_the_same(
        steps in any_steps(60),
        cut in any::<prop::sample::Index>(),
        held in any::<prop::sample::Index>(),
        bytes_max in 300..4_000usize,
    ) {
        let log = events(&steps, 0);
        let cut = cut.index(log.len()) + 1;
        let held = held.index(cut + 1);
        let (mut whole, mut state, mut at_cut) = (State::new(schema()), State::new(schema()), State::new(schema()));
        apply_all(&mut whole, &log);
        apply_all(&mut at_cut, &log[..cut]);
        apply_all(&mut state, &log[..held]);
        let snapshot = Snapshot::of(&at_cut, stream(), Seq::new(held as u64).unwrap());
        let changed = snapshot.collections.values().flat_map(BTreeMap::values);
        prop_assert!(changed.clone().all(|entry| entry.changed.get() > held as u64));
        let expected = at_cut.changed_since(Seq::ZERO).into_values().flat_map(BTreeMap::into_values);
        prop_assert_eq!(changed.count(), expected.filter(|entry| entry.changed.get() > held as u64).count());
        state.take(&through_parts(snapshot, bytes_max)).unwrap();
        prop_assert_eq!(state.changed_since(Seq::ZERO), at_cut.changed_since(Seq::ZERO));
        apply_all(&mut state, &log[cut..]);
        prop_assert_eq!(state.digests(), whole.digests());
        prop_assert_eq!(state.changed_since(Seq::ZERO), whole.changed_since(Seq::ZERO));
        is_consistent(&state);
    }

    #[test]
    fn a_delta_that_does_not_add_up_changes_nothing(steps in any_steps(60), cut in any::<prop::sample::Index>()) {
        let log = events(&steps, 0);
        let held = cut.index(log.len());
        let (mut whole, mut state) = (State::new(schema()), State::new(schema()));
        apply_all(&mut whole, &log);
        apply_all(&mut state, &log[..held]);
        let before = (state.seq(), state.epoch(), state.bytes(), state.changed_since(Seq::ZERO));
        let mut delta = Snapshot::of(&whole, stream(), Seq::new(held as u64).unwrap());
        delta.digest = format!("{:032x}", 1).parse().unwrap();
        prop_assert!(state.take(&delta).is_err());
        prop_assert_eq!((state.seq(), state.epoch(), state.bytes(), state.changed_since(Seq::ZERO)), before);
        is_consistent(&state);
    }

    /// What a client shows of its intents is what the state becomes once they are events.
    #[test]
    fn an_overlay_shows_what_applying_would_make(steps in any_steps(60), cut in any::<prop::sample::Index>()) {
        let log = events(&steps, 0);
        let cut = cut.index(log.len());
        let (mut whole, mut under) = (State::new(schema()), State::new(schema()));
        apply_all(&mut whole, &log);
        apply_all(&mut under, &log[..cut]);
        let mut overlay = Overlay::default();
        for event in &log[cut..] {
            let operation = schema().operation(&event.event_type, &event.event_data).unwrap().unwrap();
            overlay.act(&under, &operation, &Act::of(event));
        }
        for name in whole.schema().collections().keys() {
            for (key, entry) in whole.entries(name) {
                prop_assert_eq!(overlay.entry(&under, name, key), Some(entry));
            }
            for list in [None, Some("l0"), Some("l1")] {
                let shown: Vec<_> = overlay.list(&under, name, list).collect();
                prop_assert_eq!(shown, whole.list(name, list));
            }
        }
    }
}

fn through_parts(snapshot: Snapshot, bytes_max: usize) -> Snapshot {
    let mut assembler = syncline_protocol::Assembler::default();
    let mut whole = None;
    for part in snapshot.parts(bytes_max) {
        assert_eq!(whole, None);
        whole = assembler
            .push(Snapshot::decode(&part.encode()).unwrap())
            .unwrap();
    }
    whole.unwrap()
}
