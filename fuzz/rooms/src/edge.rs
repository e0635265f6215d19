//! The bytes of connections, handed to the real edge in front of the real sequencer, states and a store in memory.
//!
//! [`CUT`] parts the bytes into reads. What follows the end of a connection is said by the next one, up to
//! [`CONNECTIONS_MAX`]; an empty read is a transport that is gone. Beside them somebody follows everything, whose
//! every message must be one that a client can read.

pub(crate) mod wire;
mod world;

use world::World;

/// Parts the bytes into reads.
pub(crate) const CUT: &[u8] = b"\xff\xfe\xff";

const CONNECTIONS_MAX: usize = 4;

/// A connection from its first byte on.
pub fn connection(data: &[u8]) {
    talk(&[], data);
}

/// What is said after a CONNECT of 3.1.1 whose session is kept.
pub fn connection_3(data: &[u8]) {
    talk(wire::CONNECT_3, data);
}

/// What is said after a CONNECT of 5 whose session is kept.
pub fn connection_5(data: &[u8]) {
    talk(wire::CONNECT_5, data);
}

fn talk(greeting: &[u8], data: &[u8]) {
    let mut world = World::new();
    let mut left = CONNECTIONS_MAX;
    world.connect(greeting);
    for piece in pieces(data) {
        if world.has_ended() {
            left -= 1;
            if left == 0 {
                break;
            }
            world.connect(greeting);
        }
        match piece {
            [] => world.lose(),
            piece => world.say(piece),
        }
    }
    world.wait();
    world.leave();
}

fn pieces(data: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    let mut rest = data;
    while let Some(at) = rest.windows(CUT.len()).position(|it| it == CUT) {
        pieces.push(&rest[..at]);
        rest = &rest[at + CUT.len()..];
    }
    pieces.push(rest);
    pieces
}
