//! Files in memory that lose power: what was not synced before a chosen moment may be gone, in any
//! combination. They also fail on demand and count what is read.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use redb::StorageBackend;

use super::disk::Media;
use crate::store::StoreError;

/// Files by name. Clones are the same files.
#[derive(Debug, Clone, Default)]
pub(super) struct SimDisk {
    files: Arc<Mutex<BTreeMap<String, Contents>>>,
    power: Arc<Mutex<Power>>,
}

#[derive(Debug, Default)]
struct Power {
    syncs: u64,
    lost_at: Option<u64>,
    fail: Option<(String, Failure)>,
    bytes_read: u64,
    free_bytes: Option<u64>,
}

/// What the named file refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    Sync,
    Write,
}

#[derive(Debug, Clone, Default)]
struct Contents {
    live: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
    name_is_durable: bool,
}

#[derive(Debug, Clone)]
enum Change {
    Write(usize, Vec<u8>),
    SetLen(usize),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Change::SetLen(len) => bytes.resize(*len, 0),
            Change::Write(offset, data) => {
                let end = offset + data.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*offset..end].copy_from_slice(data);
            }
        }
    }
}

impl SimDisk {
    /// The power is lost at the sync with this number, counted over all files from 1; the process does not notice.
    pub(super) fn lose_power_at(sync: u64) -> SimDisk {
        let media = SimDisk::default();
        media.power().lost_at = Some(sync);
        media
    }

    pub(super) fn power_is_lost(&self) -> bool {
        self.power().is_lost()
    }

    pub(super) fn fail(&self, name: &str, failure: Failure) {
        self.power().fail = Some((name.to_owned(), failure));
    }

    pub(super) fn bytes_read(&self) -> u64 {
        self.power().bytes_read
    }

    pub(super) fn syncs(&self) -> u64 {
        self.power().syncs
    }

    /// What the next boot finds: everything synced, and of the rest what `survives` says.
    pub(super) fn after_power_loss(&self, mut survives: impl FnMut() -> bool) -> SimDisk {
        let media = SimDisk::default();
        for (name, contents) in self.files.lock().unwrap().iter() {
            if !contents.name_is_durable {
                continue;
            }
            let mut bytes = contents.durable.clone();
            for change in contents.unsynced.iter().filter(|_| survives()) {
                change.apply(&mut bytes);
            }
            let found = Contents {
                live: bytes.clone(),
                durable: bytes,
                unsynced: Vec::new(),
                name_is_durable: true,
            };
            media.files.lock().unwrap().insert(name.clone(), found);
        }
        media
    }

    fn power(&self) -> MutexGuard<'_, Power> {
        self.power.lock().unwrap()
    }

    fn check(&self, name: &str, failure: Failure) -> io::Result<()> {
        match &self.power().fail {
            Some((failing, kind)) if failing == name && *kind == failure => {
                Err(io::Error::other("no space left on this device"))
            }
            _ => Ok(()),
        }
    }
}

impl Power {
    fn is_lost(&self) -> bool {
        self.lost_at.is_some_and(|sync| self.syncs >= sync)
    }
}

impl Media for SimDisk {
    fn share(&self) -> Box<dyn Media> {
        Box::new(self.clone())
    }

    fn exists(&self, name: &str) -> bool {
        self.files.lock().unwrap().contains_key(name)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageBackend>> {
        self.files
            .lock()
            .unwrap()
            .entry(name.to_owned())
            .or_default();
        Ok(Box::new(SimFile {
            media: self.clone(),
            name: name.to_owned(),
        }))
    }

    fn sync_names(&self) -> Result<(), StoreError> {
        if !self.power_is_lost() {
            self.files
                .lock()
                .unwrap()
                .values_mut()
                .for_each(|file| file.name_is_durable = true);
        }
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        name.into()
    }

    fn free_bytes(&self) -> Result<u64, StoreError> {
        Ok(self.power().free_bytes.unwrap_or(u64::MAX))
    }
}

#[derive(Debug)]
struct SimFile {
    media: SimDisk,
    name: String,
}

impl SimFile {
    fn with<T>(&self, act: impl FnOnce(&mut Contents) -> T) -> T {
        act(self
            .media
            .files
            .lock()
            .unwrap()
            .get_mut(&self.name)
            .unwrap())
    }

    fn change(&self, change: Change) -> io::Result<()> {
        self.media.check(&self.name, Failure::Write)?;
        let can_survive = !self.media.power_is_lost();
        self.with(|file| {
            change.apply(&mut file.live);
            if can_survive {
                file.unsynced.push(change);
            }
        });
        Ok(())
    }
}

impl StorageBackend for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.with(|file| file.live.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.media.power().bytes_read += out.len() as u64;
        let start = offset as usize;
        self.with(|file| match file.live.get(start..start + out.len()) {
            Some(bytes) => {
                out.copy_from_slice(bytes);
                Ok(())
            }
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::SetLen(len as usize))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.media.check(&self.name, Failure::Sync)?;
        let mut power = self.media.power();
        power.syncs += 1;
        if power.is_lost() {
            return Ok(());
        }
        drop(power);
        self.with(|file| {
            let Contents {
                durable, unsynced, ..
            } = file;
            unsynced.drain(..).for_each(|change| change.apply(durable));
        });
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(Change::Write(offset as usize, data.to_vec()))
    }
}
