//! Where the files are, and a wrapper that notices failed syncs and can keep writes away from the file.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

use super::regions;
use crate::store::{StoreError, Tell};

/// Holds files by name. A directory; in tests also something that loses power.
pub(super) trait Media: fmt::Debug + Send + Sync {
    /// The same files, for whoever opens them again later.
    fn share(&self) -> Box<dyn Media>;
    fn exists(&self, name: &str) -> bool;
    /// Opens a file, made if it does not exist.
    fn open(&self, name: &str) -> io::Result<Box<dyn StorageBackend>>;
    /// Makes the existence of the files durable.
    fn sync_names(&self) -> Result<(), StoreError>;
    /// Gives a file another name, in place of what has that.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, name: &str) -> io::Result<()>;
    fn path(&self, name: &str) -> PathBuf;
    /// What is free for more of them.
    fn free_bytes(&self) -> Result<u64, StoreError>;
}

/// A directory of the file system.
#[derive(Debug, Clone)]
pub(super) struct Directory(PathBuf);

impl Directory {
    pub(super) fn new(path: &Path) -> Directory {
        Directory(path.to_owned())
    }
}

impl Media for Directory {
    fn share(&self) -> Box<dyn Media> {
        Box::new(self.clone())
    }

    fn exists(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageBackend>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(self.path(name))?;
        let backend = FileBackend::new(file).map_err(io::Error::other)?;
        Ok(Box::new(backend))
    }

    fn sync_names(&self) -> Result<(), StoreError> {
        let synced = File::open(&self.0).and_then(|directory| directory.sync_all());
        synced.map_err(|error| StoreError::SyncFailed {
            file: self.0.clone(),
            cause: error.to_string(),
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path(name))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn free_bytes(&self) -> Result<u64, StoreError> {
        let found = rustix::fs::statvfs(&self.0);
        let found = found.map_err(|error| StoreError::Io {
            file: self.0.clone(),
            cause: error.to_string(),
        })?;
        // What everybody may use; the rest is root's.
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }
}

/// Whether a sync of a file has ever failed, and whom to tell.
#[derive(Clone, Default)]
pub(super) struct SyncWatch(Arc<Syncs>);

#[derive(Default)]
struct Syncs {
    has_failed: AtomicBool,
    file: PathBuf,
    tell: OnceLock<Tell>,
}

impl SyncWatch {
    pub(super) fn new(file: PathBuf) -> SyncWatch {
        SyncWatch(Arc::new(Syncs {
            file,
            ..Syncs::default()
        }))
    }

    pub(super) fn has_failed(&self) -> bool {
        self.0.has_failed.load(Ordering::Acquire)
    }

    /// Tells of the first failure. Only the first who wants to know is told.
    pub(super) fn tell(&self, tell: Tell) {
        // A second one has no use for it.
        let _ = self.0.tell.set(tell);
    }

    fn fail(&self, cause: &io::Error) {
        if self.0.has_failed.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Some(tell) = self.0.tell.get() {
            tell(&StoreError::SyncFailed {
                file: self.0.file.clone(),
                cause: cause.to_string(),
            });
        }
    }
}

impl fmt::Debug for SyncWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SyncWatch")
            .field(&self.has_failed())
            .finish()
    }
}

/// A file as redb uses it.
pub(super) struct Disk {
    inner: Box<dyn StorageBackend>,
    syncs: SyncWatch,
    overlay: Option<Mutex<Overlay>>,
    is_new: bool,
}

impl Disk {
    /// Passes everything on.
    pub(super) fn new(inner: Box<dyn StorageBackend>, syncs: SyncWatch) -> Disk {
        Disk {
            inner,
            syncs,
            overlay: None,
            is_new: false,
        }
    }

    /// For making a file: it gets small regions.
    pub(super) fn making(inner: Box<dyn StorageBackend>, syncs: SyncWatch) -> Disk {
        Disk {
            is_new: true,
            ..Disk::new(inner, syncs)
        }
    }

    /// Keeps all writes in memory: the file can be read, even one that needs repair, and stays as it is.
    pub(super) fn untouched(inner: Box<dyn StorageBackend>) -> io::Result<Disk> {
        let len = inner.len()?;
        let overlay = Overlay {
            blocks: BTreeMap::new(),
            len,
            inner_len: len,
        };
        Ok(Disk {
            inner,
            syncs: SyncWatch::default(),
            overlay: Some(Mutex::new(overlay)),
            is_new: false,
        })
    }

    fn overlay(&self) -> Option<MutexGuard<'_, Overlay>> {
        let overlay = self.overlay.as_ref()?;
        Some(overlay.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        match self.overlay() {
            Some(overlay) => Ok(overlay.len),
            None => self.inner.len(),
        }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match self.overlay() {
            Some(overlay) => overlay.read(&*self.inner, offset, out),
            None => self.inner.read(offset, out),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        match self.overlay() {
            Some(mut overlay) => {
                overlay.set_len(len);
                Ok(())
            }
            None => self.inner.set_len(len),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.overlay.is_some() {
            return Ok(());
        }
        let synced = self.inner.sync_data();
        synced.inspect_err(|error| self.syncs.fail(error))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        match self.overlay() {
            Some(mut overlay) => overlay.write(&*self.inner, offset, data),
            None if self.is_new => self.inner.write(offset, &regions::small(offset, data)),
            None => self.inner.write(offset, data),
        }
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.inner.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.query_lock_range(start, end)
    }
}

const BLOCK: u64 = 4096;

/// Written blocks over a file that stays as it is.
struct Overlay {
    blocks: BTreeMap<u64, Box<[u8]>>,
    len: u64,
    /// Up to here the file still shows through.
    inner_len: u64,
}

impl Overlay {
    fn read(&self, inner: &dyn StorageBackend, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if offset + out.len() as u64 > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (block, within, range) in pieces(offset, out.len()) {
            let out = &mut out[range];
            match self.blocks.get(&block) {
                Some(bytes) => out.copy_from_slice(&bytes[within..within + out.len()]),
                None => self.read_inner(inner, block * BLOCK + within as u64, out)?,
            }
        }
        Ok(())
    }

    fn read_inner(
        &self,
        inner: &dyn StorageBackend,
        offset: u64,
        out: &mut [u8],
    ) -> io::Result<()> {
        let there = self.inner_len.saturating_sub(offset).min(out.len() as u64) as usize;
        out[there..].fill(0);
        match there {
            0 => Ok(()),
            _ => inner.read(offset, &mut out[..there]),
        }
    }

    fn write(&mut self, inner: &dyn StorageBackend, offset: u64, data: &[u8]) -> io::Result<()> {
        self.len = self.len.max(offset + data.len() as u64);
        for (block, within, range) in pieces(offset, data.len()) {
            if !self.blocks.contains_key(&block) {
                let mut bytes = vec![0; BLOCK as usize].into_boxed_slice();
                self.read_inner(inner, block * BLOCK, &mut bytes)?;
                self.blocks.insert(block, bytes);
            }
            let data = &data[range];
            let bytes = self.blocks.get_mut(&block).expect("was just inserted");
            bytes[within..within + data.len()].copy_from_slice(data);
        }
        Ok(())
    }

    fn set_len(&mut self, len: u64) {
        self.len = len;
        self.inner_len = self.inner_len.min(len);
        let kept = len.div_ceil(BLOCK);
        self.blocks.retain(|block, _| *block < kept);
        if let Some(last) = self.blocks.get_mut(&(len / BLOCK)) {
            last[(len % BLOCK) as usize..].fill(0);
        }
    }
}

/// Cuts a range of bytes at the borders of blocks: block, offset in it, range of the data.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = offset + done as u64;
        let within = (at % BLOCK) as usize;
        let size = (BLOCK as usize - within).min(len - done);
        let range = done..done + size;
        done += size;
        Some((at / BLOCK, within, range))
    })
}
