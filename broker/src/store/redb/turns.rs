//! Turns at the one writer of a file: first come, first served, so that nobody who writes again and again keeps
//! others waiting.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A queue of writers.
#[derive(Debug, Default)]
pub(super) struct Turns {
    numbers: Mutex<Numbers>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct Numbers {
    next: u64,
    serving: u64,
}

/// The right to write; ends when dropped.
#[derive(Debug)]
pub(super) struct Turn<'a>(&'a Turns);

impl Turns {
    /// Waits for all who came before.
    pub(super) fn take(&self) -> Turn<'_> {
        let mut numbers = self.numbers();
        let mine = numbers.next;
        numbers.next += 1;
        let waited = self
            .ended
            .wait_while(numbers, |numbers| numbers.serving != mine);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        Turn(self)
    }

    fn numbers(&self) -> MutexGuard<'_, Numbers> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.numbers().serving += 1;
        self.0.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_takes_turns_in_a_loop_lets_others_in() {
        let (turns, order) = (Turns::default(), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            let first = turns.take();
            for name in 1..=3 {
                scope.spawn({
                    let (turns, order) = (&turns, &order);
                    move || {
                        let _turn = turns.take();
                        order.lock().unwrap().push(name);
                    }
                });
                while turns.numbers().next != name + 1 {
                    std::thread::yield_now();
                }
            }
            drop(first);
            // Comes last although it is back at once.
            let _again = turns.take();
            order.lock().unwrap().push(0);
        });
        assert_eq!(*order.lock().unwrap(), [1, 2, 3, 0]);
    }
}
