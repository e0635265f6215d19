//! Programs against a naive model of what a server owes: bytes of a client in any chunks, right ones and wrong ones, answers of
//! the driver at any time and in any order, deliveries, the clock, and all of it once more after the end.
//!
//! A program is bytes, and any bytes are one, so that libFuzzer writes them as well as chance does. The model knows MQTT and
//! nothing of the session: it encodes and decodes by itself, and is told how many bytes the session has taken and what its driver
//! did. It says what goes out, byte for byte but for sentences to people; what the driver is asked for; whether more is read;
//! when the session looks at the clock; and how it ends.

mod deeds;
mod delivering;
mod entering;
mod model;
mod packets;
mod program;
mod rig;
mod words;

#[cfg(test)]
mod tests;

use std::time::Instant;

use program::{Header, Step};

const PACKET_BYTES_MAX: u32 = 4_096;
const EVENT_BYTES_MAX: usize = 1_024;
const RECEIVE_MAXIMUM: usize = 4;
const INFLIGHT_MAX: u16 = 9;
const EXPIRY_MS_MAX: u64 = 1_000_000;

/// More than any client says at once.
const WHOLE: usize = 1_000_000;

/// What a program came to.
#[derive(Debug, PartialEq, Eq)]
struct Played {
    /// What the client heard in each step.
    heard: Vec<Vec<u8>>,
    /// How many of them there were before the end.
    alive: usize,
}

/// Plays a program; panics where the session does not do what the model says, or where it matters how its bytes were cut.
pub(crate) fn run(bytes: &[u8], begin: Instant) {
    let (header, steps) = program::program(bytes);
    let played = play(&header, &steps, WHOLE, begin);
    if header.chunk < WHOLE {
        let cut = play(&header, &steps, header.chunk, begin);
        assert_eq!(cut, played, "cut into {} bytes and whole", header.chunk);
    }
}

fn play(header: &Header, steps: &[Step], chunk: usize, begin: Instant) -> Played {
    let mut rig = entering::entered(header, chunk, begin);
    let mut heard = vec![std::mem::take(&mut rig.log)];
    let mut alive = 0;
    for step in steps {
        alive += usize::from(!rig.model.ended);
        rig.step(step);
        heard.push(std::mem::take(&mut rig.log));
    }
    rig.leaves();
    Played { heard, alive }
}

/// Programs to begin with: at both versions, plain ones and such that were kept.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let steps: Vec<u8> = (0..160_u32).map(|n| (n * n * 7 + n * 13) as u8).collect();
    let headers = [
        [0x08, 0, 0, 0, 0, 2],
        [0x09, 0, 0, 0, 0, 2],
        [0x39, 0x21, 0x0e, 0, 0xff, 6],
        [0xf3, 0x1a, 0xfa, 0, 0x3f, 4],
        [0x1d, 0x04, 0x1b, 0, 0, 5],
        [0x36, 0, 0, 0, 0x7f, 7],
    ];
    headers.map(|it| [&it[..], &steps].concat()).into()
}
