//! A slice of what `cargo xtask simulate` runs.

use syncline_simulator::{Size, simulate};

/// Seeds of this slice: half a minute in a debug build.
const SEEDS: u64 = 12;

#[test]
fn g1_to_g8_and_g12_hold_under_faults_and_all_comes_to_rest() {
    for seed in 1..=SEEDS {
        let run = simulate(seed, &Size::default(), false);
        assert_eq!(
            run.violation, None,
            "look again: cargo xtask simulate --seed {seed} --trace"
        );
        let events = run.tally.of("events") + run.tally.of("events rolled back");
        assert!(events >= 500, "seed {seed}");
        assert!(run.tally.sum("fault ") >= 20, "seed {seed}");
    }
}
