//! A sequencer without a thread: whoever holds the stepper decides when it works.

use super::worker::Worker;

/// The other end of a [`super::Sequencer`] that was made by hand. Replies are called in [`Stepper::step`].
pub struct Stepper {
    worker: Worker,
}

impl Stepper {
    pub(super) fn new(worker: Worker) -> Stepper {
        Stepper { worker }
    }

    /// Settles one batch of what is queued, and says how many jobs that were. With none it looks after commits whose
    /// outcome was unknown.
    pub fn step(&mut self) -> usize {
        let jobs = self.worker.queued_jobs();
        let count = jobs.len();
        self.worker.settle(jobs);
        count
    }
}
