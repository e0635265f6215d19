use std::sync::Arc;

use super::*;
use crate::event::Intent;
use crate::event::tests::placed;
use crate::schema::{Schema, tests::MUSIC};
use crate::state::State;
use crate::{DeviceSeq, Seq};

fn state(entries: u64) -> State {
    let mut state = State::new(Arc::new(Schema::parse(MUSIC).unwrap()));
    for seq in 1..=entries {
        let (event_type, key) =
            [("star_album", "album_id"), ("star_track", "track_id")][seq as usize % 2];
        let key_text = "k".repeat(seq as usize % 50 + 1) + &seq.to_string();
        let json =
            format!(r#"{{"event_type":"{event_type}","event_data":{{"{key}":"{key_text}"}}}}"#);
        let intent = Intent::decode(json.as_bytes()).unwrap();
        state.apply(&placed(intent, seq)).unwrap();
    }
    state
}

fn snapshot(entries: u64) -> Snapshot {
    let stream = placed(Intent::new("x".parse().unwrap(), Value::Nil), 1).stream;
    Snapshot {
        mark: Some(DeviceSeq::new(4)),
        ..Snapshot::of(&state(entries), stream, Seq::ZERO)
    }
}

#[test]
fn snap_8_parts_hold_each_entry_once_and_none_is_too_large() {
    let whole = snapshot(300);
    for bytes_max in [1_000, 1_500, 4_096, 20_000] {
        let packed = whole.clone().parts(bytes_max);
        let json = whole.clone().json_parts(bytes_max);
        assert!(packed.len() > 1 && packed.len() < json.len());
        assert!(packed.iter().all(|part| part.encode().len() <= bytes_max));
        assert!(json.iter().all(|part| part.to_json().len() <= bytes_max));
        let counted = |parts: &[Snapshot]| -> usize {
            let collections = parts.iter().flat_map(|part| part.collections.values());
            collections.map(BTreeMap::len).sum()
        };
        assert_eq!((counted(&packed), counted(&json)), (300, 300));
        assert!(
            packed
                .iter()
                .all(|part| part.collections.len() == whole.collections.len())
        );
    }
    assert_eq!(whole.clone().parts(1 << 20), [whole]);
}

#[test]
fn snap_8_an_entry_that_fits_nowhere_has_a_part_of_its_own() {
    let parts = snapshot(3).parts(1);
    assert_eq!(parts.len(), 3);
    assert_eq!(snapshot(0).parts(1).len(), 1);
}

#[test]
fn snap_8_parts_are_put_together_or_not_at_all() {
    let whole = snapshot(100);
    let parts = whole.clone().parts(1_500);
    let last = parts.len() - 1;
    let mut assembler = Assembler::default();
    for part in &parts[..last] {
        assert_eq!(assembler.push(part.clone()), Ok(None));
    }
    assert_eq!(assembler.push(parts[last].clone()), Ok(Some(whole.clone())));
    assert_eq!(assembler.push(whole.clone()), Ok(Some(whole)));
}

#[test]
fn snap_8_a_part_1_starts_over() {
    let whole = snapshot(100);
    let parts = whole.clone().parts(1_500);
    let mut assembler = Assembler::default();
    assembler.push(parts[0].clone()).unwrap();
    assembler.push(parts[1].clone()).unwrap();
    let again = parts
        .iter()
        .map(|part| assembler.push(part.clone()).unwrap());
    assert_eq!(again.last(), Some(Some(whole)));
}

#[test]
fn snap_8_parts_that_do_not_follow_are_named() {
    let parts = snapshot(100).parts(1_500);
    let expect = |pushed: &[&Snapshot]| {
        let mut assembler = Assembler::default();
        let mut last = Ok(None);
        for part in pushed {
            last = assembler.push((*part).clone());
        }
        last.unwrap_err()
    };
    let order = |expected, given| PartError::Order { expected, given };
    assert_eq!(expect(&[&parts[1]]), order(1, 2));
    assert_eq!(expect(&[&parts[0], &parts[2]]), order(2, 3));
    let mut other = parts[1].clone();
    other.seq = other.seq.next();
    assert_eq!(expect(&[&parts[0], &other]), PartError::Other(2));
    let mut repeated = parts[1].clone();
    repeated.collections.clone_from(&parts[0].collections);
    assert_eq!(expect(&[&parts[0], &repeated]), PartError::Repeated(2));
}
