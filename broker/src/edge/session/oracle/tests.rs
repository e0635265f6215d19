//! Programs by chance, the same ones in every run.

use super::*;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestError, TestRunner};

const CASES: u32 = 3_000;
const SEED: u64 = 20_261_123;

/// `PROPTEST_CASES` for more programs, `PROPTEST_RNG_SEED` for others.
fn config() -> ProptestConfig {
    let mut config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    config.cases = config.cases.max(CASES);
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(SEED);
    }
    config
}

/// Hands programs to `test`; says what a program is that fails.
fn all_programs(test: impl Fn(&[u8])) {
    let bytes = prop::collection::vec(any::<u8>(), 0..300);
    let mut runner = TestRunner::new(config());
    let outcome = runner.run(&bytes, |bytes| {
        test(&bytes);
        Ok(())
    });
    if let Err(TestError::Fail(why, bytes)) = &outcome {
        let (header, steps) = program::program(bytes);
        panic!("{why}\n{runner}\n{header:?}\n{steps:?}\n{bytes:?}");
    }
    assert_eq!(outcome, Ok(()));
}

#[test]
fn mqtt_a_session_owes_what_a_naive_model_says_whatever_comes() {
    let begin = Instant::now();
    all_programs(|bytes| run(bytes, begin));
}

/// What the programs of a test run reach: without it, an oracle that agrees with everything says little.
#[test]
fn the_programs_go_far() {
    let begin = Instant::now();
    let (count, codes) = (Cell::new([0; 3]), RefCell::new(BTreeSet::new()));
    all_programs(|bytes| {
        let (header, steps) = program::program(bytes);
        let played = play(&header, &steps, WHOLE, begin);
        let [all, far, farther] = count.get();
        let is = |least| u32::from(played.alive >= least);
        count.set([all + 1, far + is(20), farther + is(40)]);
        let heard = played.heard.iter().flat_map(|it| packets::heard(it));
        codes
            .borrow_mut()
            .extend(heard.filter_map(|it| code(header.v5, &it)));
    });
    let [all, far, farther] = count.get();
    assert!(far * 2 > all, "{far} of {all} go on for 20 steps");
    assert!(farther * 5 > all, "{farther} of {all} for 40");
    let codes = codes.into_inner();
    for (v5, kind, expected) in CODES {
        let heard = codes.range((*v5, *kind, 0)..=(*v5, *kind, 0xff));
        let heard: Vec<_> = heard.map(|it| it.2).collect();
        assert_eq!(heard, *expected, "{kind} of version 5 ({v5})");
    }
}

/// The reason codes that are heard: version 5, type of packet, and which.
const CODES: &[(bool, u8, &[u8])] = &[
    (false, packets::CONNACK, &[0, 1, 2, 3, 4, 5]),
    (false, packets::SUBACK, &[0, 1, 2, 0x80]),
    (false, packets::DISCONNECT, &[]),
    (false, packets::AUTH, &[]),
    (
        true,
        packets::CONNACK,
        &[0, 1, 0x80, 0x86, 0x87, 0x88, 0x89, 0x8c, 0x97, 0x9f],
    ),
    (
        true,
        packets::PUBACK,
        &[0, 0x10, 0x83, 0x87, 0x90, 0x97, 0x99],
    ),
    (
        true,
        packets::PUBREC,
        &[0, 0x10, 0x83, 0x87, 0x90, 0x97, 0x99],
    ),
    (true, packets::PUBREL, &[0]),
    (true, packets::PUBCOMP, &[0, 0x92]),
    (true, packets::SUBACK, &[0, 1, 2, 0x83, 0x87, 0x8f, 0x97]),
    (true, packets::UNSUBACK, &[0, 0x11]),
    (true, packets::AUTH, &[0]),
    (
        true,
        packets::DISCONNECT,
        &[
            0x81, 0x82, 0x83, 0x87, 0x89, 0x8b, 0x8d, 0x8e, 0x90, 0x93, 0x94, 0x95,
        ],
    ),
];

/// The last code of a packet.
fn code(v5: bool, packet: &packets::Packet) -> Option<(bool, u8, u8)> {
    let body = &packet.body[..];
    let code = match packet.kind {
        packets::CONNACK => body.get(1),
        packets::SUBACK | packets::UNSUBACK => body.last(),
        packets::AUTH | packets::DISCONNECT => body.first(),
        _ => body.get(2),
    };
    let has_code = packet.kind != packets::PUBLISH && packet.kind != packets::PINGRESP;
    has_code.then(|| (v5, packet.kind, code.copied().unwrap_or(0)))
}

#[test]
fn the_programs_that_the_fuzzer_begins_with_are_in_order() {
    for seed in seeds() {
        run(&seed, Instant::now());
    }
}
