//! Sessions in `tables.redb`. Each session has a number; its rows are found by it.

mod devices;
mod rows;

#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzzing;

use std::ops::Bound;

use redb::{ReadableTable, Table, TableDefinition, TableError, Value, WriteTransaction};
use syncline_protocol::{SyncId, UnixMillis};

use self::rows::{
    cursor_columns, cursor_key, load_cursors, load_packets, load_subscriptions, names,
    read_session, side, stored_message, stored_subscription, text_names_group,
};
use super::RedbStore;
use super::file::{DbFile, meta_of, set_meta};
use crate::store::sessions::codec::{write_message, write_subscription};
use crate::store::sessions::message::QueueSum;
use crate::store::sessions::{
    DeviceKey, LoadedSession, Message, MqttVersion, Progress, QueueLimit, QueueNumber, Queued,
    SessionChange, SessionKey, SessionStore, StoredOwner, StoredPresence, StoredSession,
    StoredSubscription, Written,
};
use crate::store::{ReadLimit, StoreError};

const LAST_NUMBER: &str = "last_session_number";

/// Principal and client id to number, version, expiry, when it left (0: connected), position.
pub(super) const SESSIONS: TableDefinition<'_, SessionNames<'_>, SessionColumns> =
    TableDefinition::new("sessions");
/// Number and filter to [`write_subscription`].
pub(super) const SUBSCRIPTIONS: TableDefinition<'_, (u64, &str), &[u8]> =
    TableDefinition::new("session_subscriptions");
/// Number, filter, sync id and channel to how it lags (0: not, 1: after a seq, 2: after a state), epoch, seq, sent, and
/// whether a state is due.
pub(super) const CURSORS: TableDefinition<'_, CursorKey<'_>, CursorColumns> =
    TableDefinition::new("session_cursors");
/// Number and place to [`write_message`].
pub(super) const QUEUES: TableDefinition<'_, (u64, u64), &[u8]> =
    TableDefinition::new("session_queues");
/// Number to the last place given, messages and bytes.
pub(super) const SUMS: TableDefinition<'_, u64, (u64, u64, u64)> =
    TableDefinition::new("session_queue_sums");
/// Number, side and packet id.
pub(super) const PACKETS: TableDefinition<'_, (u64, u8, u16), ()> =
    TableDefinition::new("session_packets");
/// Topic to [`write_message`].
pub(super) const RETAINED: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("retained");
/// Sync id and device to the owner's name, and when it used it.
pub(super) const OWNERS: TableDefinition<'_, DeviceNames<'_>, (&str, u64)> =
    TableDefinition::new("device_owners");
/// Sync id and device to its presence, as it is sent.
pub(super) const PRESENCES: TableDefinition<'_, DeviceNames<'_>, &[u8]> =
    TableDefinition::new("presences");

pub(super) type SessionNames<'a> = (&'a str, &'a str);
pub(super) type DeviceNames<'a> = (&'a str, [u8; 16]);
pub(super) type SessionColumns = (u64, u8, u64, u64, u64);
pub(super) type CursorKey<'a> = (u64, &'a str, &'a str, &'a str);
pub(super) type CursorColumns = (u8, u64, u64, u64, bool);

/// Makes the tables if they are not there.
pub(super) fn make(file: &DbFile) -> Result<(), StoreError> {
    // The youngest of the tables.
    let made = file.view(|txn| match txn.open_table(PRESENCES) {
        Ok(_) => Ok(true),
        Err(TableError::TableDoesNotExist(_)) => Ok(false),
        Err(error) => Err(error.into()),
    })?;
    if made {
        return Ok(());
    }
    file.change(|txn| {
        txn.open_table(SESSIONS)?;
        txn.open_table(SUBSCRIPTIONS)?;
        txn.open_table(CURSORS)?;
        txn.open_table(QUEUES)?;
        txn.open_table(SUMS)?;
        txn.open_table(PACKETS)?;
        txn.open_table(RETAINED)?;
        txn.open_table(OWNERS)?;
        txn.open_table(PRESENCES)?;
        Ok(())
    })
}

impl SessionStore for RedbStore {
    fn write(&self, changes: &[SessionChange]) -> Result<Written, StoreError> {
        if changes.is_empty() {
            return Ok(Written::default());
        }
        self.tables.file().change(|txn| {
            txn.set_quick_repair(true);
            let writing = Writing { txn };
            let mut written = Written::default();
            for (at, change) in changes.iter().enumerate() {
                if !writing.change(change)? {
                    written.refused.push(at);
                }
            }
            Ok(written)
        })
    }

    fn sessions(
        &self,
        after: Option<&SessionKey>,
        limit: usize,
    ) -> Result<Vec<StoredSession>, StoreError> {
        self.tables.file().view(|txn| {
            let table = txn.open_table(SESSIONS)?;
            let start = after.map_or(Bound::Unbounded, |key| Bound::Excluded(names(key)));
            let found = table.range::<SessionNames<'_>>((start, Bound::Unbounded))?;
            found
                .take(limit)
                .map(|entry| {
                    let (key, columns) = entry?;
                    Ok(read_session(key.value(), columns.value())?.1)
                })
                .collect()
        })
    }

    fn load(&self, key: &SessionKey) -> Result<Option<LoadedSession>, StoreError> {
        self.tables.file().view(|txn| {
            let Some(columns) = txn.open_table(SESSIONS)?.get(names(key))? else {
                return Ok(None);
            };
            let (number, session) = read_session(names(key), columns.value())?;
            Ok(Some(LoadedSession {
                session,
                subscriptions: load_subscriptions(txn, number)?,
                cursors: load_cursors(txn, number)?,
                packets: load_packets(txn, number)?,
                queued_to: QueueNumber(sum_of(&txn.open_table(SUMS)?, number)?.last),
            }))
        })
    }

    fn queued(
        &self,
        key: &SessionKey,
        after: QueueNumber,
        limit: ReadLimit,
    ) -> Result<Vec<Queued>, StoreError> {
        self.tables.file().view(|txn| {
            let Some(columns) = txn.open_table(SESSIONS)?.get(names(key))? else {
                return Ok(Vec::new());
            };
            let number = columns.value().0;
            let table = txn.open_table(QUEUES)?;
            let later = (
                Bound::Excluded((number, after.0)),
                Bound::Included((number, u64::MAX)),
            );
            let (mut queued, mut bytes) = (Vec::new(), 0);
            for entry in table.range::<(u64, u64)>(later)?.take(limit.events) {
                let (place, message) = entry?;
                let message = stored_message(message.value())?;
                bytes += message.weight();
                if bytes > limit.bytes as u64 && !queued.is_empty() {
                    break;
                }
                let number = QueueNumber(place.value().1);
                queued.push(Queued { number, message });
            }
            Ok(queued)
        })
    }

    fn waiting(&self) -> Result<u64, StoreError> {
        self.tables.file().view(|txn| {
            let table = txn.open_table(SUMS)?;
            let messages = table.iter()?.map(|row| Ok(row?.1.value().1));
            messages.sum()
        })
    }

    fn retained(&self, topic: &str) -> Result<Option<Message>, StoreError> {
        self.tables.file().view(|txn| {
            let message = txn.open_table(RETAINED)?.get(topic)?;
            message.map(|it| stored_message(it.value())).transpose()
        })
    }

    fn retained_after(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        self.tables.file().view(|txn| {
            let table = txn.open_table(RETAINED)?;
            let start = after.map_or(Bound::Unbounded, Bound::Excluded);
            let found = table.range::<&str>((start, Bound::Unbounded))?;
            found
                .take(limit)
                .map(|entry| stored_message(entry?.1.value()))
                .collect()
        })
    }

    fn owners(
        &self,
        after: Option<&DeviceKey>,
        limit: usize,
    ) -> Result<Vec<StoredOwner>, StoreError> {
        self.tables
            .file()
            .view(|txn| devices::owners(txn, after, limit))
    }

    fn presences(
        &self,
        after: Option<&DeviceKey>,
        limit: usize,
    ) -> Result<Vec<StoredPresence>, StoreError> {
        self.tables
            .file()
            .view(|txn| devices::presences(txn, after, limit))
    }

    fn erase_group(&self, group: &SyncId) -> Result<usize, StoreError> {
        self.tables.file().change(|txn| {
            txn.set_quick_repair(true);
            let mut erased = devices::erase(txn, group)?;
            txn.open_table(CURSORS)?.retain(|(_, filter, of, _), _| {
                let goes = of == group.as_str() || text_names_group(filter, group);
                erased += usize::from(goes);
                !goes
            })?;
            txn.open_table(SUBSCRIPTIONS)?.retain(|(_, filter), _| {
                let goes = text_names_group(filter, group);
                erased += usize::from(goes);
                !goes
            })?;
            Ok(erased)
        })
    }
}

/// One commit.
struct Writing<'a> {
    txn: &'a WriteTransaction,
}

impl Writing<'_> {
    /// Makes a change; `false` if there was no room for a message.
    fn change(&self, change: &SessionChange) -> Result<bool, redb::Error> {
        match change {
            SessionChange::Begin(session) => self.begin(session)?,
            SessionChange::Retain(message) => {
                let mut table = self.txn.open_table(RETAINED)?;
                table.insert(message.topic.as_str(), write_message(message).as_slice())?;
            }
            SessionChange::Clear(topic) => {
                self.txn.open_table(RETAINED)?.remove(topic.as_str())?;
            }
            SessionChange::Own(_)
            | SessionChange::Disown(_)
            | SessionChange::Attend(_)
            | SessionChange::Depart(_) => devices::change(self.txn, change)?,
            SessionChange::Enqueue(key, message, limit) => {
                return match self.row(key)? {
                    Some((number, ..)) => self.enqueue(number, message, limit),
                    None => Ok(true),
                };
            }
            SessionChange::End(key)
            | SessionChange::Leave { key, .. }
            | SessionChange::Subscribe(key, _)
            | SessionChange::Unsubscribe(key, _)
            | SessionChange::Progress(key, _)
            | SessionChange::Dequeue(key, _)
            | SessionChange::Open(key, _)
            | SessionChange::Close(key, _) => {
                if let Some(row) = self.row(key)? {
                    self.change_of(key, row, change)?;
                }
            }
        }
        Ok(true)
    }

    fn row(&self, key: &SessionKey) -> Result<Option<SessionColumns>, redb::Error> {
        let table = self.txn.open_table(SESSIONS)?;
        let row = table.get(names(key))?;
        Ok(row.map(|row| row.value()))
    }

    fn put_row(&self, key: &SessionKey, row: SessionColumns) -> Result<(), redb::Error> {
        self.txn.open_table(SESSIONS)?.insert(names(key), row)?;
        Ok(())
    }

    fn begin(&self, session: &StoredSession) -> Result<(), redb::Error> {
        let (number, position) = match self.row(&session.key)? {
            Some((number, _, _, _, position)) => (number, position),
            None => (self.new_number()?, session.position),
        };
        let left_at = session.left_at.map_or(0, UnixMillis::get);
        let version = match session.version {
            MqttVersion::V3 => 3,
            MqttVersion::V5 => 5,
        };
        let row = (number, version, session.expiry_ms, left_at, position);
        self.put_row(&session.key, row)
    }

    fn new_number(&self) -> Result<u64, redb::Error> {
        let number = meta_of(self.txn, LAST_NUMBER)?.unwrap_or(0) + 1;
        set_meta(self.txn, LAST_NUMBER, number)?;
        Ok(number)
    }

    /// A change to a session that is there.
    fn change_of(
        &self,
        key: &SessionKey,
        row: SessionColumns,
        change: &SessionChange,
    ) -> Result<(), redb::Error> {
        let (number, version, _, _, position) = row;
        match change {
            SessionChange::End(_) => self.end(key, number),
            SessionChange::Leave {
                expiry_ms, left_at, ..
            } => self.put_row(key, (number, version, *expiry_ms, left_at.get(), position)),
            SessionChange::Subscribe(_, it) => self.subscribe(number, it),
            SessionChange::Unsubscribe(_, filter) => self.unsubscribe(number, filter.as_str()),
            SessionChange::Progress(_, progress) => {
                let (number, version, expiry, left_at, _) = row;
                self.put_row(key, (number, version, expiry, left_at, progress.position))?;
                self.progress(number, progress)
            }
            SessionChange::Dequeue(_, place) => self.dequeue(number, *place),
            SessionChange::Open(_, id) => {
                let mut table = self.txn.open_table(PACKETS)?;
                table.insert((number, side(id.side), id.id), ())?;
                Ok(())
            }
            SessionChange::Close(_, id) => {
                let mut table = self.txn.open_table(PACKETS)?;
                table.remove((number, side(id.side), id.id))?;
                Ok(())
            }
            SessionChange::Begin(_)
            | SessionChange::Enqueue(..)
            | SessionChange::Retain(_)
            | SessionChange::Clear(_)
            | SessionChange::Own(_)
            | SessionChange::Disown(_)
            | SessionChange::Attend(_)
            | SessionChange::Depart(_) => Ok(()),
        }
    }

    fn end(&self, key: &SessionKey, number: u64) -> Result<(), redb::Error> {
        let txn = self.txn;
        txn.open_table(SESSIONS)?.remove(names(key))?;
        let next = number + 1;
        clear(
            &mut txn.open_table(SUBSCRIPTIONS)?,
            (number, "")..(next, ""),
        )?;
        let cursors = (number, "", "", "")..(next, "", "", "");
        clear(&mut txn.open_table(CURSORS)?, cursors)?;
        clear(&mut txn.open_table(QUEUES)?, (number, 0)..(next, 0))?;
        txn.open_table(SUMS)?.remove(number)?;
        clear(&mut txn.open_table(PACKETS)?, (number, 0, 0)..(next, 0, 0))
    }

    fn subscribe(&self, number: u64, it: &StoredSubscription) -> Result<(), redb::Error> {
        let filter = it.filter.as_str();
        self.unsubscribe(number, filter)?;
        let mut table = self.txn.open_table(SUBSCRIPTIONS)?;
        table.insert((number, filter), write_subscription(it).as_slice())?;
        Ok(())
    }

    fn unsubscribe(&self, number: u64, filter: &str) -> Result<(), redb::Error> {
        self.txn
            .open_table(SUBSCRIPTIONS)?
            .remove((number, filter))?;
        let next = format!("{filter}\0");
        let cursors = (number, filter, "", "")..(number, next.as_str(), "", "");
        clear(&mut self.txn.open_table(CURSORS)?, cursors)
    }

    fn progress(&self, number: u64, progress: &Progress) -> Result<(), redb::Error> {
        let mut subscriptions = self.txn.open_table(SUBSCRIPTIONS)?;
        for (filter, scans) in &progress.scans {
            let key = (number, filter.as_str());
            let before = subscriptions
                .get(key)?
                .map(|row| stored_subscription(filter.as_str(), row.value()))
                .transpose()?;
            if let Some(mut it) = before {
                it.scans = scans.clone();
                subscriptions.insert(key, write_subscription(&it).as_slice())?;
            }
        }
        let mut cursors = self.txn.open_table(CURSORS)?;
        for (filter, stream) in &progress.drop {
            cursors.remove(cursor_key(number, filter, stream))?;
        }
        for it in &progress.put {
            if subscriptions.get((number, it.filter.as_str()))?.is_some() {
                let key = cursor_key(number, &it.filter, &it.stream);
                cursors.insert(key, cursor_columns(it))?;
            }
        }
        Ok(())
    }

    /// Whether there was room.
    fn enqueue(
        &self,
        number: u64,
        message: &Message,
        limit: &QueueLimit,
    ) -> Result<bool, redb::Error> {
        let mut sums = self.txn.open_table(SUMS)?;
        let mut sum = sum_of(&sums, number)?;
        let Some(place) = sum.take(message, limit) else {
            return Ok(false);
        };
        sums.insert(number, (sum.last, sum.messages, sum.bytes))?;
        let mut queues = self.txn.open_table(QUEUES)?;
        queues.insert((number, place.0), write_message(message).as_slice())?;
        Ok(true)
    }

    fn dequeue(&self, number: u64, place: QueueNumber) -> Result<(), redb::Error> {
        let mut queues = self.txn.open_table(QUEUES)?;
        let Some(message) = queues.remove((number, place.0))? else {
            return Ok(());
        };
        let mut sums = self.txn.open_table(SUMS)?;
        let mut sum = sum_of(&sums, number)?;
        sum.give(&stored_message(message.value())?);
        sums.insert(number, (sum.last, sum.messages, sum.bytes))?;
        Ok(())
    }
}

fn clear<'k, K: redb::Key + 'static, V: Value + 'static>(
    table: &mut Table<'_, K, V>,
    range: std::ops::Range<K::SelfType<'k>>,
) -> Result<(), redb::Error> {
    table.retain_in::<K::SelfType<'k>, _>(range, |_, _| false)?;
    Ok(())
}

fn sum_of(
    table: &impl ReadableTable<u64, (u64, u64, u64)>,
    number: u64,
) -> Result<QueueSum, redb::Error> {
    let (last, messages, bytes) = table.get(number)?.map_or((0, 0, 0), |row| row.value());
    Ok(QueueSum {
        last,
        messages,
        bytes,
    })
}

#[cfg(test)]
mod tests;
