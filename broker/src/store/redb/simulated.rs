//! The real store on a simulated disk, for simulators and tests.
//!
//! A [`SimDisk`] keeps files in memory and knows what of them was synced. [`SimDisk::crash`] gives what the next boot finds: all that
//! was synced, and of the rest any part. [`SimDisk::open_store`] opens a [`RedbStore`] without a thread: what is journaled
//! goes into the tables when [`RedbStore::apply_now`] is called, or when somebody would have to wait for it. So the same calls lead to
//! the same bytes.
//!
//! Clones are the same disk. A store that was opened before a crash goes on with the old one, whose writes nobody finds.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

use super::applier::Applier;
use super::disk::Media;
use super::{RedbOptions, RedbStore};
use crate::store::StoreError;

/// What the system writes back at a time: a longer write can be torn at its borders.
const PAGE: usize = 4096;

/// Files in memory that lose power, run full and fail on demand.
#[derive(Debug, Clone, Default)]
pub struct SimDisk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    files: Vec<File>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// Since the names were synced; a crash keeps a beginning of them.
    renamings: Vec<Naming>,
    steps: u64,
    syncs: u64,
    bytes_read: u64,
    bytes_written: u64,
    lost_at: Option<u64>,
    free_bytes: Option<u64>,
    failing: Option<(String, Failure)>,
}

#[derive(Debug, Clone, Default)]
struct File {
    live: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Write(usize, Vec<u8>),
    SetLen(usize),
}

#[derive(Debug, Clone)]
enum Naming {
    Create(String, usize),
    Rename(String, String),
    Remove(String),
}

/// What a named file refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Every sync; for ever, as far as the store is concerned.
    Sync,
    /// Every write, as a full disk does.
    Write,
    /// Every read.
    Read,
}

impl SimDisk {
    /// An empty disk.
    pub fn new() -> SimDisk {
        SimDisk::default()
    }

    /// Opens a store that applies when it is told to.
    pub fn open_store(&self, options: &RedbOptions) -> Result<RedbStore, StoreError> {
        RedbStore::open_on(self, options, |tables, journal, options| {
            Ok(Applier::by_hand(tables, journal, options))
        })
    }

    /// What the next boot finds. `survives` is asked for each page, length and name that was not synced.
    #[must_use]
    pub fn crash(&self, mut survives: impl FnMut() -> bool) -> SimDisk {
        let state = self.state();
        let mut names = state.durable_names.clone();
        let kept = state.renamings.iter().take_while(|_| survives());
        kept.for_each(|naming| naming.apply(&mut names));
        let mut found = State {
            free_bytes: state.free_bytes,
            ..State::default()
        };
        for (name, file) in names {
            let bytes = state.files[file].after_crash(&mut survives);
            found.durable_names.insert(name, found.files.len());
            found.files.push(File {
                live: bytes.clone(),
                durable: bytes,
                unsynced: Vec::new(),
            });
        }
        found.names = found.durable_names.clone();
        SimDisk(Arc::new(Mutex::new(found)))
    }

    /// The power is lost at a step, counted from 1: it and what follows it leave no trace, and the process does not notice.
    pub fn lose_power_at(&self, step: u64) {
        self.state().lost_at = Some(step);
    }

    /// From now on nothing reaches the disk, not even what is synced.
    pub fn lose_power(&self) {
        let next = self.steps() + 1;
        self.lose_power_at(next);
    }

    /// Whether the power is lost.
    pub fn power_is_lost(&self) -> bool {
        self.state().power_is_lost()
    }

    /// Writes, changes of length, syncs and changes of names so far.
    pub fn steps(&self) -> u64 {
        self.state().steps
    }

    /// Syncs of files so far.
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// Bytes read so far.
    pub fn bytes_read(&self) -> u64 {
        self.state().bytes_read
    }

    /// Bytes written so far.
    pub fn bytes_written(&self) -> u64 {
        self.state().bytes_written
    }

    /// A file refuses from now on; only one at a time does.
    pub fn fail(&self, name: &str, failure: Failure) {
        self.state().failing = Some((name.to_owned(), failure));
    }

    /// No file refuses any more.
    pub fn heal(&self) {
        self.state().failing = None;
    }

    /// What the disk says is free. Nothing keeps writers from taking more.
    pub fn set_free_bytes(&self, bytes: u64) {
        self.state().free_bytes = Some(bytes);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RedbStore {
    /// Brings the oldest journaled records into the tables, one commit of them; gives their number. Only for a store of
    /// [`SimDisk::open_store`].
    pub fn apply_now(&self) -> Result<usize, StoreError> {
        self.applier.apply_now()
    }
}

impl State {
    fn power_is_lost(&self) -> bool {
        self.lost_at.is_some_and(|step| self.steps >= step)
    }

    /// Whether this step still leaves a trace.
    fn step(&mut self) -> bool {
        self.steps += 1;
        !self.power_is_lost()
    }

    fn name(&mut self, naming: Naming) {
        naming.apply(&mut self.names);
        if self.step() {
            self.renamings.push(naming);
        }
    }

    fn check(&self, name: &str, failure: Failure) -> io::Result<()> {
        match &self.failing {
            Some((failing, kind)) if failing == name && *kind == failure => {
                Err(io::Error::other("no space left on this device"))
            }
            _ => Ok(()),
        }
    }
}

impl File {
    fn after_crash(&self, survives: &mut impl FnMut() -> bool) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        for change in &self.unsynced {
            match change {
                Change::SetLen(_) if survives() => change.apply(&mut bytes),
                Change::SetLen(_) => {}
                Change::Write(offset, data) => {
                    for (at, page) in pages(*offset, data) {
                        if survives() {
                            write(&mut bytes, at, page);
                        }
                    }
                }
            }
        }
        bytes
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Change::SetLen(len) => bytes.resize(*len, 0),
            Change::Write(offset, data) => write(bytes, *offset, data),
        }
    }
}

impl Naming {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Naming::Create(name, file) => {
                names.insert(name.clone(), *file);
            }
            Naming::Rename(from, to) => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
            Naming::Remove(name) => {
                names.remove(name);
            }
        }
    }
}

fn write(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(data);
}

/// Cuts a write where pages of the file begin.
fn pages(offset: usize, data: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut rest = data;
    let mut at = offset;
    std::iter::from_fn(move || {
        let len = (PAGE - at % PAGE).min(rest.len());
        let (page, left) = rest.split_at_checked(len).filter(|_| len > 0)?;
        let piece = (at, page);
        (at, rest) = (at + len, left);
        Some(piece)
    })
}

impl Media for SimDisk {
    fn share(&self) -> Box<dyn Media> {
        Box::new(self.clone())
    }

    fn exists(&self, name: &str) -> bool {
        self.state().names.contains_key(name)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageBackend>> {
        let mut state = self.state();
        let file = match state.names.get(name) {
            Some(file) => *file,
            None => {
                let file = state.files.len();
                state.files.push(File::default());
                state.name(Naming::Create(name.to_owned(), file));
                file
            }
        };
        drop(state);
        Ok(Box::new(SimFile {
            disk: self.clone(),
            name: name.to_owned(),
            file,
        }))
    }

    fn sync_names(&self) -> Result<(), StoreError> {
        let mut state = self.state();
        if state.step() {
            let State {
                renamings,
                durable_names,
                ..
            } = &mut *state;
            for naming in renamings.drain(..) {
                naming.apply(durable_names);
            }
        }
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let naming = Naming::Rename(from.to_owned(), to.to_owned());
        self.state().name(naming);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.state().name(Naming::Remove(name.to_owned()));
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        name.into()
    }

    fn free_bytes(&self) -> Result<u64, StoreError> {
        Ok(self.state().free_bytes.unwrap_or(u64::MAX))
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    name: String,
    file: usize,
}

impl SimFile {
    fn change(&self, change: Change) -> io::Result<()> {
        let mut state = self.disk.state();
        state.check(&self.name, Failure::Write)?;
        let leaves_a_trace = state.step();
        let file = &mut state.files[self.file];
        change.apply(&mut file.live);
        if leaves_a_trace {
            file.unsynced.push(change);
        }
        Ok(())
    }
}

impl StorageBackend for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state().files[self.file].live.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        state.check(&self.name, Failure::Read)?;
        state.bytes_read += out.len() as u64;
        let start = offset as usize;
        match state.files[self.file].live.get(start..start + out.len()) {
            Some(bytes) => {
                out.copy_from_slice(bytes);
                Ok(())
            }
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::SetLen(len as usize))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.check(&self.name, Failure::Sync)?;
        state.syncs += 1;
        if state.step() {
            let File {
                durable, unsynced, ..
            } = &mut state.files[self.file];
            for change in unsynced.drain(..) {
                change.apply(durable);
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.state().bytes_written += data.len() as u64;
        self.change(Change::Write(offset as usize, data.to_vec()))
    }
}
