//! For the fuzzer: the records of the journal; the rows of the tables are at their modules.

use syncline_protocol::{
    Clock, DeviceId, DeviceSeq, Epoch, Event, IntentHash, Seq, StreamId, UnixMillis, Value,
};

use super::codec::{read_moves, read_record, write_moves, write_record};
use super::pending::{Pending, What};
use crate::store::{Committed, Control, Move, Record};

pub(crate) use super::sessions::fuzzing::seeds as session_seeds;
pub use super::sessions::fuzzing::session_rows;
pub(crate) use super::tables::fuzzing::seeds as table_seeds;
pub use super::tables::fuzzing::table_rows;

/// A record of the journal, at some position; and the moves of a base, whose reader is a neighbour.
pub fn journal_record(data: &[u8]) {
    if let Ok(record) = read_record(7, data) {
        assert_eq!(write_record(&record), data);
        assert!(record.bytes() <= data.len());
    }
    if let Ok(moves) = read_moves(data) {
        assert_eq!(read_moves(&write_moves(&moves)), Ok(moves));
    }
}

/// An event with and without a hash, a horizon, and moves.
pub(crate) fn journal_seeds() -> Vec<Vec<u8>> {
    let hash = Some(IntentHash([9; 16]));
    let events = [hash, None].map(|hash| {
        let event = event();
        write_record(&Pending::event(9, &Record { event, hash }))
    });
    let control = What::Control(Control {
        stream: stream(),
        epoch: Epoch::new(8),
        horizon: seq(5),
    });
    let control = write_record(&Pending {
        position: 10,
        what: control,
    });
    let moved = Move {
        horizon: seq(3),
        at: seq(9),
        accepted_at: UnixMillis::new(7),
    };
    let others = [control, write_moves(&[moved, moved])];
    events.into_iter().chain(others).collect()
}

/// An event that is on disk.
pub(crate) fn committed() -> Committed {
    Committed::of(&event(), 65_537)
}

fn event() -> Event {
    Event {
        stream: stream(),
        epoch: Epoch::new(7),
        seq: seq(258),
        accepted_at: UnixMillis::new(1_700_000_000_000),
        event_type: "star_album".parse().expect("a type"),
        event_data: Value::Map([("album_id".to_owned(), Value::text("a"))].into()),
        device: DeviceId::from_bytes([1; 16]),
        device_seq: DeviceSeq::new(3),
        clock: Clock::at(UnixMillis::new(1_700_000_000_000)),
        base_seq: seq(2),
        extra: Default::default(),
    }
}

/// One that has a channel.
pub(crate) fn stream() -> StreamId {
    StreamId {
        sync_id: "home".parse().expect("a sync id"),
        channel: "albums".parse().ok(),
    }
}

fn seq(number: u64) -> Seq {
    Seq::new(number).expect("a seq")
}
