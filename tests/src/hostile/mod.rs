//! Clients that mean harm: every attack by itself, its bytes the same against a broker and against a [`Sink`], so that what they
//! cost others can be told from what the attacker's own computing costs.
//!
//! No attack waits for an answer, because a sink gives none: an attack is a row of blows, and a blow is a connection, bytes,
//! and a manner of sending them.

mod attacks;
mod packets;
mod run;
mod sink;

pub use attacks::{ATTACKS, Attack};
pub use run::{Arena, Struck};
pub use sink::Sink;

/// One connection of an attacker.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Blow {
    door: Door,
    bytes: Vec<u8>,
    manner: Manner,
}

/// Where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    Mqtt,
    Http,
}

/// How its bytes are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Manner {
    /// At once; the connection is read and closed a few blows later.
    AtOnce,
    /// At once; the connection stays and is never read.
    Stays,
    /// One byte ten times a second.
    ByteByByte,
    /// At once, and then these again and again as fast as they are taken.
    Repeats(Vec<u8>),
}

impl Blow {
    fn mqtt(bytes: Vec<u8>) -> Self {
        Self {
            door: Door::Mqtt,
            bytes,
            manner: Manner::AtOnce,
        }
    }

    fn http(bytes: &[u8]) -> Self {
        Self {
            door: Door::Http,
            ..Self::mqtt(bytes.to_vec())
        }
    }

    fn in_manner(self, manner: Manner) -> Self {
        Self { manner, ..self }
    }
}
