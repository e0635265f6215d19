//! Where an item of a list stands (LIST-1, LIST-5).

use std::fmt;

use crate::value::{Integer, Value};

/// A place between others: 1 to 32 integers, compared element by element; a beginning of another is the lower.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(Box<[Integer]>);

impl Position {
    /// How many elements a position may have.
    pub const LENGTH_MAX: usize = 32;

    /// Of its elements; `None` if there are none, too many, or one of them is no integer of VALUE-1.
    pub fn new(elements: &[i64]) -> Option<Self> {
        let elements = elements.iter().copied().map(Integer::new);
        Self::of(elements.collect::<Option<Vec<_>>>()?)
    }

    /// Its elements.
    pub fn elements(&self) -> impl ExactSizeIterator<Item = i64> {
        self.0.iter().map(|element| element.get())
    }

    /// LIST-5: behind `lower` and before `upper`, where they are given, and `lower < upper`.
    #[must_use]
    pub fn between(lower: Option<&Self>, upper: Option<&Self>) -> Self {
        let found = match (lower, upper) {
            (None, None) => Self::new(&[0]),
            (Some(lower), None) => lower.0[0].plus(1).and_then(|it| Self::of(vec![it])),
            (None, Some(upper)) => upper.0[0].plus(-1).and_then(|it| Self::of(vec![it])),
            (Some(lower), Some(upper)) => within(&lower.0, &upper.0).and_then(Self::of),
        };
        // No room: the same place twice, where the keys decide.
        found
            .or_else(|| lower.or(upper).cloned())
            .expect("without neighbours there is room")
    }

    /// The lowest of all that are above this one: only to search by, it may be too long for a place.
    pub(super) fn above(&self) -> Self {
        Self(self.0.iter().copied().chain([Integer::MIN]).collect())
    }

    /// What it takes in memory beside itself.
    pub(super) fn weight(&self) -> usize {
        self.0.len() * size_of::<Integer>()
    }

    pub(super) fn to_value(&self) -> Value {
        Value::Array(self.0.iter().copied().map(Value::Integer).collect())
    }

    pub(super) fn from_value(value: &Value) -> Option<Self> {
        let Value::Array(items) = value else {
            return None;
        };
        if items.len() > Self::LENGTH_MAX {
            return None;
        }
        let elements = items.iter().map(|item| match item {
            Value::Integer(n) => Some(*n),
            _ => None,
        });
        Self::of(elements.collect::<Option<_>>()?)
    }

    fn of(elements: Vec<Integer>) -> Option<Self> {
        (1..=Self::LENGTH_MAX)
            .contains(&elements.len())
            .then(|| Self(elements.into()))
    }
}

/// `None` if that would leave the integers; it may be too long.
fn within(lower: &[Integer], upper: &[Integer]) -> Option<Vec<Integer>> {
    let Some(at) = lower.iter().zip(upper).position(|(l, u)| l != u) else {
        let next = upper.get(lower.len())?;
        return Some([lower, &[next.plus(-1)?]].concat());
    };
    let (low, high) = (lower[at], upper[at]);
    if high.get() - low.get() >= 2 {
        return Some([&lower[..at], &[low.plus(1)?]].concat());
    }
    let next = match lower.get(at + 1) {
        Some(element) => element.plus(1)?,
        None => Integer::ZERO,
    };
    Some([&lower[..=at], &[next]].concat())
}

/// As in `[4,-1]`.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to_value().to_json())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn position(elements: &[i64]) -> Position {
        Position::new(elements).unwrap()
    }

    fn between(lower: &[i64], upper: &[i64]) -> Vec<i64> {
        let lower = Position::new(lower);
        let upper = Position::new(upper);
        Position::between(lower.as_ref(), upper.as_ref())
            .elements()
            .collect()
    }

    #[test]
    fn list_5_a_place_between_two_others() {
        assert_eq!(between(&[], &[]), [0]);
        assert_eq!(between(&[4, 7], &[]), [5]);
        assert_eq!(between(&[], &[4, 7]), [3]);
        assert_eq!(between(&[4], &[4, 0, 3]), [4, -1]);
        assert_eq!(between(&[4], &[6]), [5]);
        assert_eq!(between(&[4], &[5]), [4, 0]);
        assert_eq!(between(&[4, 2, 9], &[5, 1]), [4, 3]);
        assert_eq!(between(&[4, 2], &[4, 3, -8]), [4, 2, 0]);
    }

    #[test]
    fn list_5_without_room_the_place_is_taken_twice() {
        let (mut low, mut high) = ([1; 32], [1; 32]);
        (low[31], high[31]) = (2, 3);
        assert_eq!(between(&low, &high), low);
        let end = (1 << 53) - 1;
        assert_eq!(between(&[end], &[]), [end]);
        assert_eq!(between(&[], &[-end]), [-end]);
        assert_eq!(between(&[3], &[3, -end]), [3]);
    }

    #[test]
    fn list_1_a_position_is_one_to_32_integers() {
        assert!(Position::new(&[]).is_none());
        assert!(Position::new(&[0; 33]).is_none());
        assert!(Position::new(&[1 << 53]).is_none());
        assert!(position(&[1]) < position(&[1, -5]));
        assert!(position(&[1, -5]) < position(&[2]));
        assert!(position(&[1]).above() <= position(&[1, -5]));
        assert!(position(&[1]).above() > position(&[1]));
    }

    fn any_position() -> impl Strategy<Value = Position> {
        prop::collection::vec(-3..4i64, 1..=Position::LENGTH_MAX).prop_map(|it| position(&it))
    }

    proptest! {
        #[test]
        fn list_5_what_is_between_is_between(a in any_position(), b in any_position()) {
            let (low, high) = (a.clone().min(b.clone()), a.max(b));
            if low < high {
                let found = Position::between(Some(&low), Some(&high));
                prop_assert!(found < high);
                prop_assert!(found > low || (found == low && low.elements().len() == Position::LENGTH_MAX));
                prop_assert!(Position::between(None, Some(&low)) < low);
                prop_assert!(Position::between(Some(&high), None) > high);
                prop_assert!(low.above() > low && low.above() <= high);
            }
        }

        #[test]
        fn list_5_any_row_of_insertions_stays_in_order(at in prop::collection::vec(any::<prop::sample::Index>(), 0..200)) {
            let mut row: Vec<Position> = Vec::new();
            for at in at {
                let at = at.index(row.len() + 1);
                let lower = at.checked_sub(1).map(|at| row[at].clone());
                let upper = row[at..].iter().find(|it| lower.as_ref().is_none_or(|lower| *it > lower));
                let found = Position::between(lower.as_ref(), upper);
                row.insert(at, found);
                prop_assert!(row.is_sorted());
            }
        }
    }
}
