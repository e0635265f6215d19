//! The outbox and the replica on disk: one redb file, one row per intent (STORE-1).
//!
//! redb locks its file, so a second client on the same file is refused and not mixed in.
//!
//! Formats: in `syncline outbox 1` the row of an intent is the intent as it is sent. In 2 it is a map: `intent` (those
//! bytes) and, where they are there, `saw` and `overtaken`. Opening a file of format 1 makes it one of format 2.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{
    Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, Table, TableDefinition,
    WriteTransaction,
};
use syncline_client_core::{DeviceRow, IntentId, Row, Saw, Stored, Write};
use syncline_protocol::{Clock, DeviceSeq, Intent, Schema, Snapshot, StreamId, UnixMillis, Value};

use crate::aside::{self, SetAside, SetAsideId};

/// Raised whenever an older program could misread the file.
const FORMAT: &[u8] = b"syncline outbox 2";
const FORMAT_1: &[u8] = b"syncline outbox 1";

/// Single rows by name.
const ROWS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("rows");
/// Intents by id.
const INTENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("intents");

/// What was set aside, by its number.
const ASIDE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("aside");

/// One change of the file, durable whole or not at all.
#[derive(Debug, Default)]
pub(crate) struct Job {
    /// What the core asks for.
    pub(crate) write: Option<Write>,
    /// What it sets aside with that.
    pub(crate) aside: Vec<SetAside>,
    /// What is forgotten of it.
    pub(crate) dismissed: Vec<SetAsideId>,
}

/// All that a file holds.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// For the core; `None`: it is new.
    pub(crate) stored: Option<Stored>,
    /// Oldest first.
    pub(crate) aside: Vec<SetAside>,
}

/// Whose a file is.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    pub(crate) stream: StreamId,
    /// None where nobody is named.
    pub(crate) user: Option<String>,
}

/// Why a store does not serve.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another client has it.
    #[error("{0} is in use by another client: give each its own file, or its own folder")]
    InUse(PathBuf),
    /// It was made for something else.
    #[error(
        "{path} holds {found}, not {wanted}: give each stream its own file, or all of them a folder"
    )]
    OtherStream {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose it should be.
        wanted: String,
    },
    /// It was made for another user, who may not be meant to see it, or to send it.
    #[error(
        "{path} holds what the user {found:?} did: give each user a folder of their own (`Store::Folder` does), or wipe it first"
    )]
    OtherUser {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: String,
    },
    /// It was made by a newer version, or is no outbox.
    #[error("{0} is not an outbox that this version can read")]
    Format(PathBuf),
    /// A row cannot be read.
    #[error("{path}: the row {row} is damaged: {why}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Which row.
        row: String,
        /// In what way.
        why: String,
    },
    /// The disk, or redb.
    #[error("{path}: {error}")]
    Disk {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        error: Box<redb::Error>,
    },
}

/// An open file.
#[derive(Debug)]
pub(crate) struct FileStore {
    path: PathBuf,
    database: Database,
}

impl FileStore {
    /// Makes a folder for files, if it is missing. Blocks.
    pub(crate) fn make_folder(path: &Path) -> Result<(), StoreError> {
        std::fs::create_dir_all(path).map_err(|error| disk(path, redb::Error::Io(error)))
    }

    /// Opens or makes the file for a stream, and reads what it holds. Blocks.
    pub(crate) fn open(path: &Path, owner: &Owner) -> Result<(Self, Contents), StoreError> {
        let database = Database::create(path).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => StoreError::InUse(path.to_owned()),
            other => disk(path, other),
        })?;
        let store = Self {
            path: path.to_owned(),
            database,
        };
        store.claim(owner)?;
        let stored = store.load()?;
        let aside = store.aside()?;
        Ok((store, Contents { stored, aside }))
    }

    /// Makes the tables of a new file; checks whose an old one is.
    fn claim(&self, owner: &Owner) -> Result<(), StoreError> {
        let wanted = owner.stream.to_string();
        let transaction = self.begin()?;
        {
            let mut rows = transaction.open_table(ROWS).map_err(self.disk())?;
            let found = rows
                .get("format")
                .map_err(self.disk())?
                .map(|row| row.value().to_vec());
            match found {
                Some(format) if format == FORMAT_1 => {
                    self.upgrade(&transaction)?;
                    rows.insert("format", FORMAT).map_err(self.disk())?;
                }
                Some(format) if format != FORMAT => {
                    return Err(StoreError::Format(self.path.clone()));
                }
                Some(_) => {}
                None => {
                    rows.insert("format", FORMAT).map_err(self.disk())?;
                    rows.insert("stream", wanted.as_bytes())
                        .map_err(self.disk())?;
                }
            }
            let found = rows
                .get("stream")
                .map_err(self.disk())?
                .map(|row| row.value().to_vec());
            let found = String::from_utf8_lossy(&found.unwrap_or_default()).into_owned();
            if found != wanted {
                return Err(StoreError::OtherStream {
                    path: self.path.clone(),
                    found,
                    wanted,
                });
            }
            self.claim_for_user(&mut rows, owner)?;
            transaction.open_table(INTENTS).map_err(self.disk())?;
            transaction.open_table(ASIDE).map_err(self.disk())?;
        }
        transaction.commit().map_err(self.disk())
    }

    /// A file that is nobody's becomes the user's.
    fn claim_for_user(
        &self,
        rows: &mut Table<'_, &'static str, &'static [u8]>,
        owner: &Owner,
    ) -> Result<(), StoreError> {
        let found = rows.get("user").map_err(self.disk())?;
        let found = found.map(|row| String::from_utf8_lossy(row.value()).into_owned());
        match (found, &owner.user) {
            (Some(found), user) if Some(&found) != user.as_ref() => Err(StoreError::OtherUser {
                path: self.path.clone(),
                found,
            }),
            (None, Some(user)) => {
                let inserted = rows.insert("user", user.as_bytes());
                inserted.map(drop).map_err(self.disk())
            }
            _ => Ok(()),
        }
    }

    /// From format 1.
    fn upgrade(&self, transaction: &WriteTransaction) -> Result<(), StoreError> {
        let mut intents = transaction.open_table(INTENTS).map_err(self.disk())?;
        let mut old = Vec::new();
        for row in intents.iter().map_err(self.disk())? {
            let (id, bytes) = row.map_err(self.disk())?;
            old.push((id.value(), bytes.value().to_vec()));
        }
        for (id, intent) in old {
            let row = crate::map([("intent", Value::Bytes(intent))]).to_msgpack();
            intents.insert(id, row.as_slice()).map_err(self.disk())?;
        }
        Ok(())
    }

    fn load(&self) -> Result<Option<Stored>, StoreError> {
        let Some(device) = self.row("device", read_device)? else {
            return Ok(None);
        };
        let schema = self.row("schema", |bytes| {
            let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
            Schema::from_document(text)
                .map(Arc::new)
                .map_err(|error| error.to_string())
        })?;
        let replica = self.row("replica", |bytes| {
            Snapshot::decode(bytes).map_err(|error| error.to_string())
        })?;
        Ok(Some(Stored {
            device,
            intents: self.intents()?,
            replica,
            schema,
        }))
    }

    fn row<T>(
        &self,
        name: &str,
        read: impl FnOnce(&[u8]) -> Result<T, String>,
    ) -> Result<Option<T>, StoreError> {
        let transaction = self.database.begin_read().map_err(self.disk())?;
        let rows = transaction.open_table(ROWS).map_err(self.disk())?;
        let row = rows.get(name).map_err(self.disk())?;
        row.map(|row| read(row.value()).map_err(|why| self.damaged(name, why)))
            .transpose()
    }

    fn intents(&self) -> Result<Vec<Row>, StoreError> {
        let transaction = self.database.begin_read().map_err(self.disk())?;
        let table = transaction.open_table(INTENTS).map_err(self.disk())?;
        let mut intents = Vec::new();
        for row in table.iter().map_err(self.disk())? {
            let (id, bytes) = row.map_err(self.disk())?;
            let id = IntentId::new(id.value());
            let row = read_intent(id, bytes.value())
                .map_err(|why| self.damaged(&format!("intent {}", id.get()), why))?;
            intents.push(row);
        }
        Ok(intents)
    }

    fn aside(&self) -> Result<Vec<SetAside>, StoreError> {
        let transaction = self.database.begin_read().map_err(self.disk())?;
        let table = transaction.open_table(ASIDE).map_err(self.disk())?;
        let mut all = Vec::new();
        for row in table.iter().map_err(self.disk())? {
            let (id, bytes) = row.map_err(self.disk())?;
            let id = id.value();
            let row = aside::read(id, bytes.value())
                .map_err(|why| self.damaged(&format!("set aside {id}"), why))?;
            all.push(row);
        }
        Ok(all)
    }

    /// Removes the file, which nobody has open.
    pub(crate) fn remove(path: &Path) -> std::io::Result<()> {
        std::fs::remove_file(path)
    }

    /// Makes changes durable, all in one commit. Blocks until the disk has them.
    pub(crate) fn write(&self, jobs: &[Job]) -> Result<(), StoreError> {
        let transaction = self.begin()?;
        {
            let mut rows = transaction.open_table(ROWS).map_err(self.disk())?;
            let mut intents = transaction.open_table(INTENTS).map_err(self.disk())?;
            let mut kept = transaction.open_table(ASIDE).map_err(self.disk())?;
            for job in jobs {
                for set_aside in &job.aside {
                    let bytes = aside::write(set_aside);
                    kept.insert(set_aside.id.get(), bytes.as_slice())
                        .map_err(self.disk())?;
                }
                for id in &job.dismissed {
                    kept.remove(id.get()).map_err(self.disk())?;
                }
            }
            for write in jobs.iter().filter_map(|job| job.write.as_ref()) {
                for id in &write.delete {
                    intents.remove(id.get()).map_err(self.disk())?;
                }
                for row in &write.intents {
                    let bytes = write_intent(row);
                    intents
                        .insert(row.id.get(), bytes.as_slice())
                        .map_err(self.disk())?;
                }
                for (name, bytes) in single_rows(write) {
                    rows.insert(name, bytes.as_slice()).map_err(self.disk())?;
                }
            }
        }
        transaction.commit().map_err(self.disk())
    }

    fn begin(&self) -> Result<WriteTransaction, StoreError> {
        let mut transaction = self.database.begin_write().map_err(self.disk())?;
        transaction
            .set_durability(Durability::Immediate)
            .map_err(self.disk())?;
        Ok(transaction)
    }

    fn disk<E: Into<redb::Error>>(&self) -> impl FnOnce(E) -> StoreError + use<'_, E> {
        |error| disk(&self.path, error)
    }

    fn damaged(&self, row: &str, why: String) -> StoreError {
        StoreError::Damaged {
            path: self.path.clone(),
            row: row.to_owned(),
            why,
        }
    }
}

fn disk(path: &Path, error: impl Into<redb::Error>) -> StoreError {
    StoreError::Disk {
        path: path.to_owned(),
        error: Box::new(error.into()),
    }
}

fn single_rows(write: &Write) -> Vec<(&'static str, Vec<u8>)> {
    let device = write.device.map(|row| ("device", write_device(row)));
    let replica = write
        .replica
        .as_ref()
        .map(|replica| ("replica", replica.encode()));
    let schema = write
        .schema
        .as_ref()
        .map(|schema| ("schema", schema.document().into_bytes()));
    device.into_iter().chain(replica).chain(schema).collect()
}

pub(crate) fn write_intent(row: &Row) -> Vec<u8> {
    let intent = ("intent", Value::Bytes(row.intent.encode()));
    let saw = row.saw.map(|saw| ("saw", saw.to_value()));
    let overtaken = row.overtaken.then(|| ("overtaken", Value::from(true)));
    crate::map([intent].into_iter().chain(saw).chain(overtaken)).to_msgpack()
}

pub(crate) fn read_intent(id: IntentId, bytes: &[u8]) -> Result<Row, String> {
    let value = Value::from_msgpack(bytes).map_err(|error| error.to_string())?;
    let map = value.as_map().ok_or("it is no map")?;
    let Some(Value::Bytes(intent)) = map.get("intent") else {
        return Err("the intent is missing".to_owned());
    };
    let saw = map.get("saw");
    let saw = saw.map(|saw| Saw::from_value(saw).ok_or("what it saw cannot be read"));
    Ok(Row {
        id,
        intent: Intent::decode(intent).map_err(|refused| refused.reason)?,
        saw: saw.transpose()?,
        overtaken: map.contains_key("overtaken"),
    })
}

pub(crate) fn write_device(row: DeviceRow) -> Vec<u8> {
    let number = |n: u64| Value::number(n as f64).unwrap_or_default();
    crate::map([
        ("device_uuid", Value::Bytes(row.device.as_bytes().to_vec())),
        ("next_device_seq", number(row.next_device_seq.get())),
        ("offered", number(row.offered.map_or(0, DeviceSeq::get))),
        ("timestamp", number(row.clock.timestamp.get())),
        ("counter", Value::from(row.clock.counter)),
    ])
    .to_msgpack()
}

pub(crate) fn read_device(bytes: &[u8]) -> Result<DeviceRow, String> {
    let value = Value::from_msgpack(bytes).map_err(|error| error.to_string())?;
    let number = |name: &str| value.as_map()?.get(name)?.as_u64();
    let read = || {
        let Value::Bytes(device) = value.as_map()?.get("device_uuid")? else {
            return None;
        };
        let counter = u32::try_from(number("counter")?).ok()?;
        Some(DeviceRow {
            device: syncline_protocol::DeviceId::from_bytes(device.as_slice().try_into().ok()?),
            next_device_seq: DeviceSeq::new(number("next_device_seq")?)?,
            offered: DeviceSeq::new(number("offered")?),
            clock: Clock {
                timestamp: UnixMillis::new(number("timestamp")?),
                counter,
            },
        })
    };
    read().ok_or_else(|| "a number or the UUID is missing".to_owned())
}

#[cfg(test)]
mod tests;
