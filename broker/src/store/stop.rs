//! Ending long work before it is done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::StoreError;

/// Asks work on other threads to stop where it can. Clones are one and the same.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// From now on, work stops at its next [`Stop::check`].
    pub fn order(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// [`StoreError::Stopped`] once it was ordered. For between bounded pieces of work.
    pub fn check(&self) -> Result<(), StoreError> {
        match self.0.load(Ordering::Acquire) {
            true => Err(StoreError::Stopped),
            false => Ok(()),
        }
    }
}
