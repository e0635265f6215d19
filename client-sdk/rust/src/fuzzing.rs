//! A door for the fuzzer: the rows that a client's file holds. Only with the feature `fuzzing`.

use syncline_client_core::{DeviceRow, IntentId, Row, Saw};
use syncline_protocol::{Clock, DeviceId, DeviceSeq, Intent, Seq, UnixMillis};

use crate::store::{read_device, read_intent, write_device, write_intent};

/// The row of an intent, or that of the device; the first byte says which. What was read reads back as the same.
pub fn rows(data: &[u8]) {
    match data.split_first() {
        Some((0, row)) => intent(row),
        Some((_, row)) => device(row),
        None => {}
    }
}

/// One of each.
pub fn seeds() -> Vec<Vec<u8>> {
    let clock = Clock::at(UnixMillis::new(1_700_000_000_000));
    let mut intent = Intent::new(
        "star_album".parse().expect("a type"),
        crate::map([("album_id", "a")]),
    );
    intent.device = Some(DeviceId::from_bytes([7; 16]));
    intent.device_seq = DeviceSeq::new(2);
    intent.clock = Some(clock);
    let saw = Saw::Entry {
        changed: Seq::new(7).expect("a seq"),
        device: DeviceId::from_bytes([8; 16]),
        clock,
        removed: true,
    };
    let row = Row {
        id: IntentId::FIRST,
        intent,
        saw: Some(saw),
        overtaken: true,
    };
    let bare = Row {
        saw: Some(Saw::Nothing),
        overtaken: false,
        ..row.clone()
    };
    let device = DeviceRow {
        offered: DeviceSeq::new(2),
        clock,
        ..DeviceRow::new(DeviceId::from_bytes([7; 16]))
    };
    vec![
        [vec![0], write_intent(&row)].concat(),
        [vec![0], write_intent(&bare)].concat(),
        [vec![1], write_device(device)].concat(),
    ]
}

fn intent(row: &[u8]) {
    if let Ok(read) = read_intent(IntentId::FIRST, row) {
        assert_eq!(read_intent(IntentId::FIRST, &write_intent(&read)), Ok(read));
    }
}

fn device(row: &[u8]) {
    if let Ok(read) = read_device(row) {
        assert_eq!(read_device(&write_device(read)), Ok(read));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_any_bytes_do_no_harm() {
        for seed in seeds() {
            rows(&seed);
            for at in 0..seed.len() {
                rows(&seed[..at]);
                for change in [1, 0x20, 0x80, 0xff] {
                    let mut changed = seed.clone();
                    changed[at] ^= change;
                    rows(&changed);
                }
            }
        }
    }
}
