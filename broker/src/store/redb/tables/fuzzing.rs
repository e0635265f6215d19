//! For the fuzzer: rows of the tables, the columns of redb's tuples taken from bytes, eight to a number.

use super::marks::AppliedMark;
use super::migrate::Mark1;
use super::rows::{BaseRow, StreamRow, key, stream_id};

/// A row; the first byte says of which table.
pub fn table_rows(data: &[u8]) {
    let Some((table, row)) = data.split_first() else {
        return;
    };
    match table % 5 {
        0 => stream_row(row),
        1 => base_row(row),
        2 => mark_row(row),
        3 => stream_key(row),
        _ => drop(Mark1::read(row)),
    }
}

/// One of each.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let row = |table: u8, numbers: &[u64]| {
        let numbers = numbers.iter().flat_map(|number| number.to_be_bytes());
        std::iter::once(table).chain(numbers).collect::<Vec<u8>>()
    };
    vec![
        row(0, &[1, 7, 9, 1_700_000_000_000, 1_700_000_000_000, 0, 3, 9]),
        row(1, &[7, 3, 2, 9, 3, 9, 1_700_000_000_000]),
        row(2, &[9, 4, 3, 1_700_000_000_000, 0, 1_700_000_000_000, 2]),
        b"\x03home\0albums".to_vec(),
        row(4, &[9, 4, 3, 1_700_000_000_000, 0, 4, 1, 2, 9]),
    ]
}

fn stream_row(row: &[u8]) {
    let (n, _) = numbers::<8>(row);
    let counter = n[5] as u32;
    let columns = (n[0], n[1], n[2], n[3], n[4], counter, n[6], n[7]);
    if let Ok(row) = StreamRow::read(columns) {
        let again = StreamRow::read(row.columns()).expect("it was written");
        assert_eq!(again.columns(), row.columns());
    }
}

fn base_row(row: &[u8]) {
    let (n, moves) = numbers::<4>(row);
    if let Ok(row) = BaseRow::read((n[0], n[1], n[2], n[3], moves)) {
        let (epoch, seq, removed_floor, position, moves) = row.columns();
        let again = BaseRow::read((epoch, seq, removed_floor, position, &moves));
        assert_eq!(again.expect("it was written").columns(), row.columns());
    }
}

fn mark_row(row: &[u8]) {
    let (n, _) = numbers::<7>(row);
    let columns = (n[0], n[1], n[2], n[3], n[4] as u32, n[5], n[6]);
    if let Ok((mark, recent)) = AppliedMark::read(columns) {
        let again = AppliedMark::read(mark.columns(recent));
        assert_eq!(again.expect("it was written"), (mark, recent));
    }
}

/// Sync id and channel, a zero between them.
fn stream_key(row: &[u8]) {
    let Some((sync_id, channel)) = std::str::from_utf8(row)
        .ok()
        .and_then(|it| it.split_once('\0'))
    else {
        return;
    };
    if let Some(stream) = stream_id((sync_id, channel)) {
        assert_eq!(key(&stream), (sync_id, channel));
    }
}

/// Zeros stand for what is missing.
fn numbers<const N: usize>(row: &[u8]) -> ([u64; N], &[u8]) {
    let mut numbers = [0; N];
    let mut rest = row;
    for number in &mut numbers {
        let Some((bytes, left)) = rest.split_first_chunk() else {
            return (numbers, &[]);
        };
        *number = u64::from_be_bytes(*bytes);
        rest = left;
    }
    (numbers, rest)
}
