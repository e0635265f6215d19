//! Every decoder on bytes that nobody meant: the fuzz targets, on golden inputs and on changed ones. `cargo xtask fuzz`
//! looks further; this keeps the targets alive and what they found from coming back.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

#[path = "../../fuzz/src/seeds.rs"]
#[allow(unreachable_pub, reason = "of a crate of its own")]
mod seeds;
#[path = "../../fuzz/src/targets.rs"]
#[allow(unreachable_pub, missing_docs, reason = "of a crate of its own")]
mod targets;

/// Changed inputs per target and golden input; `SYNCLINE_HOSTILE_CHANGES` says another number.
const CHANGES: usize = 40;

fn changes() -> usize {
    let given = std::env::var("SYNCLINE_HOSTILE_CHANGES").ok();
    given.map_or(CHANGES, |text| text.parse().unwrap())
}

/// A small generator of numbers that look random (xorshift64).
struct Dice(u64);

impl Dice {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % below.max(1)
    }

    /// One to four small changes, of the sorts that break decoders: bits, lengths, what is missing, what is twice.
    fn change(&mut self, input: &[u8], other: &[u8]) -> Vec<u8> {
        let mut bytes = input.to_vec();
        for _ in 0..=self.next(4) {
            let at = self.next(bytes.len() + 1);
            let end = (at + self.next(9)).min(bytes.len());
            match self.next(6) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.next(8),
                1 if at < bytes.len() => {
                    bytes[at] = [0, 1, 0x7f, 0x80, 0xc1, 0xdd, 0xdf, 0xff][self.next(8)];
                }
                2 => drop(bytes.drain(at..end)),
                3 => {
                    let again = bytes[at..end].to_vec();
                    drop(bytes.splice(at..at, again));
                }
                4 => bytes.truncate(at),
                _ => {
                    let from = self.next(other.len() + 1);
                    let to = (from + self.next(30)).min(other.len());
                    drop(bytes.splice(at..end, other[from..to].iter().copied()));
                }
            }
        }
        bytes
    }
}

#[test]
fn value_5_no_bytes_make_a_decoder_panic_or_hold_more_than_they_allow() {
    let seeds = seeds::seeds();
    let (mut dice, changes) = (Dice(0x5eed), changes());
    for (name, target) in targets::TARGETS {
        let inputs = &seeds[name];
        for input in inputs {
            target(input);
            for _ in 0..changes {
                let other = &inputs[dice.next(inputs.len())];
                target(&dice.change(input, other));
            }
        }
    }
    assert_eq!(seeds.len(), targets::TARGETS.len());
}

/// Heads that promise four billion items, on all levels.
#[test]
fn value_4_lengths_that_lie_cost_nothing() {
    for head in [0xdd, 0xdf, 0xdb, 0xc6] {
        for depth in 0..40 {
            let mut bytes = [0xdd, 0, 0, 0, 1].repeat(depth);
            bytes.extend([head, 0xff, 0xff, 0xff, 0xff]);
            targets::TARGETS
                .iter()
                .for_each(|(_, target)| target(&bytes));
        }
    }
}
