//! For the fuzzer: what is kept of sessions.

use syncline_protocol::{Filter, UnixMillis};

use super::super::fuzzing::stream;
use super::rows::read_cursor;
use super::{cursor_columns, read_session};
use crate::store::redb::tables::{key, stream_id};
use crate::store::sessions::codec::{
    read_message, read_subscription, write_message, write_subscription,
};
use crate::store::sessions::{Cursor, Message, Reach, Reaches, StoredSession, StoredSubscription};

/// A row; the first byte says of which table.
pub fn session_rows(data: &[u8]) {
    let Some((table, row)) = data.split_first() else {
        return;
    };
    match table % 4 {
        0 => subscription(row),
        1 => message(row),
        2 => cursor(row),
        _ => session(row),
    }
}

/// One of each.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let reach = Reach::all(5).passed(&stream(), 90);
    let subscription = StoredSubscription {
        filter: filter(),
        json: true,
        qos: 1,
        no_local: false,
        retain_as_published: true,
        identifier: Some(7),
        began: 3,
        scans: Reaches {
            events: Some(reach),
            states: None,
        },
    };
    let message = Message {
        topic: "home/lamp".to_owned(),
        payload: "on".into(),
        qos: 1,
        retain: true,
        properties: "\x01\x01".into(),
        expires_at: Some(UnixMillis::new(1_700_000_000_000)),
    };
    let numbers = |numbers: &[u64]| {
        let numbers = numbers.iter().flat_map(|number| number.to_be_bytes());
        numbers.collect::<Vec<u8>>()
    };
    vec![
        [vec![0], write_subscription(&subscription)].concat(),
        [vec![1], write_message(&message)].concat(),
        [vec![2, 1, 0], numbers(&[7, 9, 11])].concat(),
        [vec![3, 5], numbers(&[1, 60_000, 0, 9])].concat(),
    ]
}

fn filter() -> Filter {
    "sync/#".parse().expect("a filter")
}

fn subscription(row: &[u8]) {
    if let Some(read) = read_subscription(filter(), row) {
        assert_eq!(write_subscription(&read), row);
        let steps = [&read.scans.events, &read.scans.states];
        for reach in steps.into_iter().flatten() {
            assert!(reach.lowest() <= reach.of(&stream()));
            let passed = reach.passed(&stream(), 7);
            assert!(passed.of(&stream()) <= 7);
        }
    }
}

fn message(row: &[u8]) {
    if let Some(read) = read_message(row) {
        assert_eq!(read_message(&write_message(&read)), Some(read));
    }
}

fn cursor(row: &[u8]) {
    let Some(([kind, state], rest)) = row.split_first_chunk() else {
        return;
    };
    let columns = (
        *kind,
        number(rest, 0),
        number(rest, 1),
        number(rest, 2),
        *state == 1,
    );
    if let Ok((events, state)) = read_cursor(columns) {
        let cursor = Cursor {
            filter: filter(),
            stream: stream_id(key(&stream())).expect("it is one"),
            events,
            state,
        };
        let again = read_cursor(cursor_columns(&cursor));
        assert_eq!(again.expect("it was written"), (events, state));
    }
}

fn session(row: &[u8]) {
    let Some((version, rest)) = row.split_first() else {
        return;
    };
    let [number, expiry_ms, left_at, position] = [0, 1, 2, 3].map(|at| number(rest, at));
    let columns = (number, *version, expiry_ms, left_at, position);
    if let Ok((
        read,
        StoredSession {
            left_at: gone,
            expiry_ms: expiry,
            ..
        },
    )) = read_session(("", "phone"), columns)
    {
        assert_eq!((read, expiry), (number, expiry_ms));
        assert_eq!(gone, (left_at > 0).then(|| UnixMillis::new(left_at)));
    }
}

/// Zeros stand for what is missing.
fn number(row: &[u8], at: usize) -> u64 {
    let bytes = row
        .get(at * 8..at * 8 + 8)
        .and_then(|it| it.try_into().ok());
    bytes.map_or(0, u64::from_be_bytes)
}
