//! How the rows of sessions are read and written.

use redb::ReadTransaction;
use syncline_protocol::{Epoch, Filter, Seq, StreamId, SyncId, UnixMillis};

use super::{
    CURSORS, CursorColumns, CursorKey, PACKETS, SUBSCRIPTIONS, SessionColumns, SessionNames,
};
use crate::store::redb::tables::{corrupted, key as stream_key, stream_id};
use crate::store::sessions::codec::{read_message, read_subscription};
use crate::store::sessions::{
    Cursor, Lag, Message, MqttVersion, PacketId, SessionKey, Side, StoredSession,
    StoredSubscription, names_group,
};

pub(super) fn load_subscriptions(
    txn: &ReadTransaction,
    number: u64,
) -> Result<Vec<StoredSubscription>, redb::Error> {
    let table = txn.open_table(SUBSCRIPTIONS)?;
    table
        .range((number, "")..(number + 1, ""))?
        .map(|entry| {
            let (key, row) = entry?;
            stored_subscription(key.value().1, row.value())
        })
        .collect()
}

pub(super) fn load_cursors(txn: &ReadTransaction, number: u64) -> Result<Vec<Cursor>, redb::Error> {
    let table = txn.open_table(CURSORS)?;
    let mut cursors = Vec::new();
    for entry in table.range((number, "", "", "")..(number + 1, "", "", ""))? {
        let (key, columns) = entry?;
        let (_, filter, sync_id, channel) = key.value();
        let (events, state) = read_cursor(columns.value())?;
        cursors.push(Cursor {
            filter: stored_filter(filter)?,
            stream: stream_id((sync_id, channel)).ok_or_else(|| corrupted("a stream's name"))?,
            events,
            state,
        });
    }
    Ok(cursors)
}

pub(super) fn load_packets(
    txn: &ReadTransaction,
    number: u64,
) -> Result<Vec<PacketId>, redb::Error> {
    let table = txn.open_table(PACKETS)?;
    table
        .range((number, 0, 0)..(number + 1, 0, 0))?
        .map(|entry| {
            let (key, _) = entry?;
            let (_, side, id) = key.value();
            let side = match side {
                0 => Side::Client,
                1 => Side::Broker,
                2 => Side::Sent,
                _ => return Err(corrupted("the side of a packet id")),
            };
            Ok(PacketId { side, id })
        })
        .collect()
}

pub(super) fn read_session(
    (principal, client_id): SessionNames<'_>,
    (number, version, expiry_ms, left_at, position): SessionColumns,
) -> Result<(u64, StoredSession), redb::Error> {
    let version = match version {
        3 => MqttVersion::V3,
        5 => MqttVersion::V5,
        _ => return Err(corrupted("the version of a session")),
    };
    let session = StoredSession {
        key: SessionKey {
            principal: principal.to_owned(),
            client_id: client_id.to_owned(),
        },
        version,
        expiry_ms,
        left_at: (left_at > 0).then(|| UnixMillis::new(left_at)),
        position,
    };
    Ok((number, session))
}

pub(super) fn names(key: &SessionKey) -> SessionNames<'_> {
    (&key.principal, &key.client_id)
}

pub(super) fn cursor_key<'a>(
    number: u64,
    filter: &'a Filter,
    stream: &'a StreamId,
) -> CursorKey<'a> {
    let (sync_id, channel) = stream_key(stream);
    (number, filter.as_str(), sync_id, channel)
}

pub(super) fn cursor_columns(cursor: &Cursor) -> CursorColumns {
    match cursor.events {
        Lag::None => (0, 0, 0, 0, cursor.state),
        Lag::After { epoch, seq, sent } => (1, epoch.get(), seq.get(), sent.get(), cursor.state),
        Lag::State => (2, 0, 0, 0, cursor.state),
    }
}

pub(super) fn read_cursor(columns: CursorColumns) -> Result<(Lag, bool), redb::Error> {
    let (kind, epoch, seq, sent, state) = columns;
    let lag = match kind {
        0 => Lag::None,
        1 => Lag::After {
            epoch: Epoch::new(epoch),
            seq: stored_seq(seq)?,
            sent: stored_seq(sent)?,
        },
        2 => Lag::State,
        _ => return Err(corrupted("a cursor")),
    };
    Ok((lag, state))
}

pub(super) fn side(side: Side) -> u8 {
    match side {
        Side::Client => 0,
        Side::Broker => 1,
        Side::Sent => 2,
    }
}

fn stored_filter(text: &str) -> Result<Filter, redb::Error> {
    text.parse()
        .map_err(|_| corrupted("the filter of a subscription"))
}

pub(super) fn stored_subscription(
    filter: &str,
    row: &[u8],
) -> Result<StoredSubscription, redb::Error> {
    read_subscription(stored_filter(filter)?, row).ok_or_else(|| corrupted("a subscription"))
}

pub(super) fn stored_message(row: &[u8]) -> Result<Message, redb::Error> {
    read_message(row).ok_or_else(|| corrupted("a message"))
}

fn stored_seq(seq: u64) -> Result<Seq, redb::Error> {
    Seq::new(seq).ok_or_else(|| corrupted("a seq"))
}

pub(super) fn text_names_group(filter: &str, group: &SyncId) -> bool {
    filter
        .parse()
        .is_ok_and(|filter: Filter| names_group(&filter, group))
}
