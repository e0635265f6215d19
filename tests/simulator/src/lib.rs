//! One broker, its clients and the network between them, in virtual time, on one thread.
//!
//! The devices are the real client core; the broker is the real edge, sequencer, store and compactor. What is made up is
//! what no program owns: time, the network, disks that forget, users. Everything that is made up follows from a seed, so
//! a run that fails can be looked at again, step by step ([`simulate`] with `trace`).

mod agenda;
#[path = "../../src/dice.rs"]
pub mod dice;
mod trace;

mod link;
mod wire;

mod broker;
mod disk;

mod device;
mod observer;
mod session;
mod workload;

mod model;
mod oracle;
mod watch;

mod tally;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use tally::Tally;
pub use world::Size;

use trace::Trace;
use world::World;

/// A run that kept every promise, or the first one that it broke.
#[derive(Debug)]
pub struct Run {
    /// What it was made of.
    pub seed: u64,
    /// What went wrong, if anything did.
    pub violation: Option<String>,
    /// What it injected and met.
    pub tally: Tally,
    /// Equal for equal runs.
    pub fingerprint: u64,
}

/// Runs one seed. With `trace`, every step is written to standard error.
pub fn simulate(seed: u64, size: &Size, trace: bool) -> Run {
    let run = || World::new(seed, size.clone(), Trace::new(trace)).run();
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(end) => Run {
            seed,
            violation: end.violation,
            tally: end.tally,
            fingerprint: end.fingerprint,
        },
        Err(panic) => Run {
            seed,
            violation: Some(format!("panic: {}", said(&*panic))),
            tally: Tally::default(),
            fingerprint: 0,
        },
    }
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_else(|| "without words".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_replays_exactly() {
        let size = Size::default();
        let (one, other) = (simulate(7, &size, false), simulate(7, &size, false));
        assert_eq!(one.violation, None);
        assert_eq!(
            (one.fingerprint, one.tally),
            (other.fingerprint, other.tally)
        );
    }
}
