use proptest::prelude::*;

use super::*;
use crate::clock::Clock;
use crate::event::Intent;
use crate::event::tests::placed;
use crate::ids::{DeviceId, UnixMillis};
use crate::schema::tests::MUSIC;
use crate::value::Value;

fn schema() -> Arc<Schema> {
    Arc::new(Schema::parse(MUSIC).unwrap())
}

fn device(n: u8) -> DeviceId {
    DeviceId::from_bytes([n; 16])
}

#[derive(Debug)]
struct Said {
    author: u8,
    star: bool,
    album: u8,
    base_seq: u64,
    ms: u64,
}

fn event(seq: u64, said: &Said) -> Event {
    let event_type = if said.star {
        "star_album"
    } else {
        "unstar_album"
    };
    let album = Value::text(format!("a{}", said.album));
    let data = Value::Map(BTreeMap::from([("album_id".to_owned(), album)]));
    let mut intent = Intent::new(event_type.parse().unwrap(), data);
    intent.device = Some(device(said.author));
    intent.base_seq = Seq::new(said.base_seq.min(seq - 1));
    intent.clock = Some(Clock::at(UnixMillis::new(said.ms)));
    placed(intent, seq)
}

fn fold(log: &[Event]) -> State {
    let mut state = State::new(schema());
    log.iter().for_each(|event| {
        state.apply(event).unwrap();
    });
    state
}

fn snapshot(state: &State, since: u64) -> Snapshot {
    let stream = event(1, &star(1, 0, 1)).stream;
    Snapshot::of(state, stream, Seq::new(since).unwrap())
}

fn star(author: u8, base_seq: u64, ms: u64) -> Said {
    Said {
        author,
        star: true,
        album: 1,
        base_seq,
        ms,
    }
}

fn unstar(author: u8, base_seq: u64, ms: u64) -> Said {
    Said {
        star: false,
        ..star(author, base_seq, ms)
    }
}

fn is_starred(said: &[Said]) -> bool {
    let log: Vec<_> = (1..)
        .zip(said)
        .map(|(seq, said)| event(seq, said))
        .collect();
    fold(&log)
        .entry("albums", "a1")
        .is_some_and(|entry| entry.value().is_some())
}

#[test]
fn state_4_a_later_act_that_saw_the_winner_replaces_it_whatever_its_clock() {
    assert!(!is_starred(&[star(1, 0, 1_000), unstar(2, 1, 1)]));
    assert!(!is_starred(&[star(1, 0, 1_000), unstar(1, 0, 1)]));
}

#[test]
fn state_4_concurrent_acts_compare_clock_then_device() {
    assert!(is_starred(&[star(1, 0, 1_000), unstar(2, 0, 900)]));
    assert!(!is_starred(&[star(1, 0, 900), unstar(2, 0, 1_000)]));
    assert!(!is_starred(&[star(1, 0, 900), unstar(2, 0, 900)]));
    assert!(is_starred(&[star(2, 0, 900), unstar(1, 0, 900)]));
}

#[test]
fn state_1_types_without_a_meaning_move_the_seq_only() {
    let mut state = State::new(schema());
    let played = placed(Intent::new("played".parse().unwrap(), Value::Nil), 1);
    assert_eq!(state.apply(&played), Ok(None));
    assert_eq!(
        (state.seq(), state.digest()),
        (Seq::new(1).unwrap(), Digest::default())
    );
}

#[test]
fn events_that_are_not_the_next_are_named() {
    let mut state = fold(&[event(1, &star(1, 0, 1))]);
    assert!(matches!(
        state.apply(&event(1, &star(1, 0, 1))),
        Err(NotNext::Applied(_))
    ));
    assert!(matches!(
        state.apply(&event(3, &star(1, 0, 1))),
        Err(NotNext::Gap(_))
    ));
    let mut other = event(2, &star(1, 0, 1));
    other.epoch = Epoch::new(8);
    assert!(matches!(state.apply(&other), Err(NotNext::Epoch(_))));
}

#[test]
fn digest_1_removed_entries_count_nothing() {
    let removed = fold(&[event(1, &star(1, 0, 1)), event(2, &unstar(1, 1, 2))]);
    assert_eq!(removed.digest(), Digest::default());
    assert_eq!(removed.entries("albums").count(), 1);
}

#[test]
fn a_snapshot_that_does_not_add_up_changes_nothing() {
    let full = fold(&[event(1, &star(1, 0, 1))]);
    let mut bad = snapshot(&full, 0);
    bad.digest = Digest::default();
    let mut state = State::new(schema());
    assert!(matches!(
        state.take(&bad),
        Err(SnapshotError::Digest { .. })
    ));
    assert_eq!(state.seq(), Seq::ZERO);
}

#[test]
fn a_delta_for_another_history_or_from_further_on_does_not_fit() {
    let full = fold(&[event(1, &star(1, 0, 1)), event(2, &unstar(1, 1, 2))]);
    let mut state = State::new(schema());
    assert!(matches!(
        state.take(&snapshot(&full, 1)),
        Err(SnapshotError::DoesNotFit { .. })
    ));
}

fn any_said() -> impl Strategy<Value = Said> {
    (1..5u8, any::<bool>(), 0..6u8, 0..60u64, 0..50u64).prop_map(
        |(author, star, album, base_seq, ms)| Said {
            author,
            star,
            album,
            base_seq,
            ms,
        },
    )
}

proptest! {
    #[test]
    fn g5_any_split_into_snapshot_and_tail_gives_the_same_digest(
        said in prop::collection::vec(any_said(), 1..60),
        cut in any::<prop::sample::Index>(),
        held in any::<prop::sample::Index>(),
    ) {
        let log: Vec<_> = (1..).zip(&said).map(|(seq, said)| event(seq, said)).collect();
        let whole = fold(&log);
        let cut = cut.index(log.len() + 1);
        let held = held.index(cut + 1);
        let mut state = fold(&log[..held]);
        let encoded = snapshot(&fold(&log[..cut]), held as u64).encode();
        if cut > 0 {
            state.take(&Snapshot::decode(&encoded).unwrap()).unwrap();
        }
        for event in &log[cut..] {
            state.apply(event).unwrap();
        }
        prop_assert_eq!(state.digest(), whole.digest());
        prop_assert_eq!(state.digests(), whole.digests());
        prop_assert_eq!(state.changed_since(Seq::ZERO), whole.changed_since(Seq::ZERO));
    }

    #[test]
    fn digest_2_is_the_sum_over_the_entries_that_are_there(said in prop::collection::vec(any_said(), 0..60)) {
        let log: Vec<_> = (1..).zip(&said).map(|(seq, said)| event(seq, said)).collect();
        let state = fold(&log);
        let mut sum = Digest::default();
        state.entries("albums").for_each(|(key, entry)| sum.add(entry.digest("albums", key)));
        prop_assert_eq!(state.digest(), sum);
    }
}
