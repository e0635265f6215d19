//! Past horizons, and which tombstones they let go (HORIZON-5). Pure.
//!
//! A tombstone may go once nobody can come any more who has not seen it: when the first event above the present horizon
//! was accepted, a horizon at or above all its acts was in force already. It must be old enough, too, because it is what
//! tells the devices that come back that something was removed.

use syncline_protocol::planted::{Planted, planted};
use syncline_protocol::{Seq, UnixMillis};

use crate::store::{Base, Move};

/// Moves that are remembered; of more every other one goes, which makes tombstones wait for the next.
const MOVES_MAX: usize = 64;

/// The highest seq up to which tombstones may go, if they may.
pub(super) fn floor(base: &Base, tombstone_retention_ms: u64, now: UnixMillis) -> Option<Seq> {
    let early = planted(Planted::TombstoneTooEarly);
    let ripe = base.moves.iter().filter(|it| {
        (it.at <= base.seq || early) && it.accepted_at.plus(tombstone_retention_ms) <= now
    });
    ripe.map(|it| it.horizon).max()
}

/// Notes a horizon that is to be folded to.
pub(super) fn note(base: &mut Base, raised: Move) {
    let last = base.moves.last().map_or(Seq::ZERO, |it| it.horizon);
    if raised.horizon <= last {
        return;
    }
    base.moves.push(raised);
    if base.moves.len() > MOVES_MAX {
        let mut place = 0;
        base.moves.retain(|_| {
            place += 1;
            place % 2 == 1
        });
    }
}

/// The tombstones up to `floor` are gone; the last of them changed at `removed`.
pub(super) fn collected(base: &mut Base, floor: Seq, removed: Seq) {
    base.moves.retain(|it| it.horizon > floor);
    base.removed_floor = base.removed_floor.max(removed);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(n: u64) -> Seq {
        Seq::new(n).unwrap()
    }

    fn base(seq: u64, moves: &[(u64, u64, u64)]) -> Base {
        let moves = moves.iter().map(|(horizon, head, ms)| Move {
            horizon: at(*horizon),
            at: at(*head),
            accepted_at: UnixMillis::new(*ms),
        });
        Base {
            seq: at(seq),
            moves: moves.collect(),
            ..Base::EMPTY
        }
    }

    fn floor_of(seq: u64, moves: &[(u64, u64, u64)], now: u64) -> Option<u64> {
        floor(&base(seq, moves), 100, UnixMillis::new(now)).map(Seq::get)
    }

    #[test]
    fn horizon_5_the_head_of_that_time_must_be_history_and_the_event_old() {
        let moves = [(10, 15, 1_000), (20, 30, 2_000)];
        assert_eq!(floor_of(14, &moves, 5_000), None);
        assert_eq!(floor_of(15, &moves, 5_000), Some(10));
        assert_eq!(floor_of(15, &moves, 1_099), None);
        assert_eq!(floor_of(30, &moves, 2_099), Some(10));
        assert_eq!(floor_of(30, &moves, 2_100), Some(20));
    }

    #[test]
    fn horizon_5_few_moves_are_remembered_and_never_a_wrong_one() {
        let mut base = base(0, &[]);
        for n in 1..=1_000 {
            let raised = Move {
                horizon: at(n),
                at: at(n + 5),
                accepted_at: UnixMillis::new(n),
            };
            note(&mut base, raised);
            assert!(base.moves.len() <= MOVES_MAX);
        }
        assert!(base.moves.is_sorted_by_key(|it| it.horizon));
        assert!(
            base.moves
                .iter()
                .all(|it| it.at == at(it.horizon.get() + 5))
        );
    }

    #[test]
    fn what_is_collected_is_not_collected_again() {
        let mut base = base(30, &[(10, 15, 1_000), (20, 30, 2_000)]);
        collected(&mut base, at(10), at(12));
        assert_eq!((base.moves.len(), base.removed_floor), (1, at(12)));
    }
}
