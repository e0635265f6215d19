//! Questions that wait, in turns by where they come from, so that a flood from one place takes nobody else's turn.

use std::collections::{HashMap, VecDeque};

use super::origin::Origin;

/// How many may wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) all: usize,
    /// From one place.
    pub(super) of_one: usize,
}

/// The queue.
#[derive(Debug)]
pub(super) struct Waiting<T> {
    limits: Limits,
    by_origin: HashMap<Origin, VecDeque<T>>,
    /// Each place that has something waiting, once.
    turns: VecDeque<Origin>,
    len: usize,
}

impl<T> Waiting<T> {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            by_origin: HashMap::new(),
            turns: VecDeque::new(),
            len: 0,
        }
    }

    /// Puts one at the end of those of its place, or gives it back where as many wait as may.
    pub(super) fn put(&mut self, origin: Origin, it: T) -> Result<(), T> {
        let waiting = self.by_origin.get(&origin).map_or(0, VecDeque::len);
        if self.len >= self.limits.all || waiting >= self.limits.of_one {
            return Err(it);
        }
        self.by_origin.entry(origin).or_default().push_back(it);
        if waiting == 0 {
            self.turns.push_back(origin);
        }
        self.len += 1;
        Ok(())
    }

    /// The oldest one of the place whose turn it is.
    pub(super) fn take(&mut self) -> Option<T> {
        let origin = self.turns.pop_front()?;
        let of_it = self.by_origin.get_mut(&origin)?;
        let it = of_it.pop_front();
        if of_it.is_empty() {
            self.by_origin.remove(&origin);
        } else {
            self.turns.push_back(origin);
        }
        self.len -= usize::from(it.is_some());
        it
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(last: u8) -> Origin {
        Origin::of(Some([10, 0, 0, last].into()))
    }

    #[test]
    fn g10_a_flood_from_one_address_takes_nobody_elses_turn() {
        let mut waiting = Waiting::new(Limits { all: 6, of_one: 4 });
        for n in 0..4 {
            assert_eq!(waiting.put(from(1), format!("flood {n}")), Ok(()));
        }
        let one_more = "one more".to_owned();
        assert_eq!(waiting.put(from(1), one_more.clone()), Err(one_more));
        for (last, who) in [(2, "ana"), (3, "bob")] {
            assert_eq!(waiting.put(from(last), who.to_owned()), Ok(()));
        }
        let late = "late".to_owned();
        assert_eq!(waiting.put(from(4), late.clone()), Err(late), "six wait");
        let order: Vec<_> = std::iter::from_fn(|| waiting.take()).collect();
        assert_eq!(
            order,
            ["flood 0", "ana", "bob", "flood 1", "flood 2", "flood 3"]
        );
        assert!(waiting.by_origin.is_empty() && waiting.turns.is_empty());
        assert_eq!(waiting.put(from(1), "again".to_owned()), Ok(()));
        assert_eq!(waiting.take().as_deref(), Some("again"));
    }
}
