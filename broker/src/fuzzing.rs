//! Doors for the fuzzer: what the rooms read back of their own bytes, what a browser says before it is let in, and programs
//! for an MQTT session. Only with the feature `fuzzing`.
//!
//! Each takes any bytes and must not panic. What was read is written and read again as the same: byte for byte where there is
//! no time among it, because a time beyond the integers is read as the last one. A session does what a naive model says.

use std::time::Instant;

pub use crate::http::fuzzing::host_and_origin;
pub use crate::router::fuzzing::bus_frame;
pub use crate::store::fuzzing::{journal_record, session_rows, table_rows};

/// What is done with bytes.
pub type Door = fn(&[u8]);

/// All of them, by their names.
pub const DOORS: [(&str, Door); 6] = [
    ("bus_frame", bus_frame),
    ("host_and_origin", host_and_origin),
    ("journal_record", journal_record),
    ("session", session),
    ("session_rows", session_rows),
    ("table_rows", table_rows),
];

/// A program for an MQTT session: bytes of a client, and what the driver does.
pub fn session(data: &[u8]) {
    crate::edge::oracle::run(data, Instant::now());
}

/// What each door is handed first, made by the writers themselves.
pub fn seeds() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    vec![
        ("bus_frame", crate::router::fuzzing::seeds()),
        ("host_and_origin", crate::http::fuzzing::seeds()),
        ("journal_record", crate::store::fuzzing::journal_seeds()),
        ("session", crate::edge::oracle::seeds()),
        ("session_rows", crate::store::fuzzing::session_seeds()),
        ("table_rows", crate::store::fuzzing::table_seeds()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every seed as it is, cut at every place, and with every byte changed in some ways.
    #[test]
    fn rows_and_frames_of_any_bytes_do_no_harm() {
        for ((name, door), (of, seeds)) in DOORS.into_iter().zip(seeds()) {
            assert_eq!(name, of);
            assert!(!seeds.is_empty(), "{name}");
            for seed in &seeds {
                door(seed);
                for at in 0..seed.len() {
                    door(&seed[..at]);
                    for change in [1, 0x20, 0x80, 0xff] {
                        let mut changed = seed.clone();
                        changed[at] ^= change;
                        door(&changed);
                    }
                }
            }
        }
    }
}
