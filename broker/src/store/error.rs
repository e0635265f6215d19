//! What can go wrong in a store, and whose turn it is.

use std::path::PathBuf;

use syncline_protocol::Seq;

/// A store could not do what it was asked. After a failed append the outcome is unknown.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The sync of a commit failed. What reached the disk is unknown and asking again would lie:
    /// the process must end.
    #[error("{file}: the sync to disk failed: {cause}")]
    SyncFailed {
        /// The file that could not be synced.
        file: PathBuf,
        /// What the operating system said.
        cause: String,
    },
    /// Reading or writing failed; the file refuses further work until it is opened anew.
    #[error("{file}: {cause}")]
    Io {
        /// The file.
        file: PathBuf,
        /// What failed.
        cause: String,
    },
    /// The file holds what this version never wrote.
    #[error("{file}: damaged: {what}. Restore the data directory from a backup")]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What does not add up.
        what: String,
    },
    /// The file was written by a newer version. It was not changed.
    #[error(
        "{file}: its format is version {found}, this program knows versions up to {known}; \
         start the newer program again, or point --data at another directory"
    )]
    NewerFormat {
        /// The file.
        file: PathBuf,
        /// Its version.
        found: u64,
        /// The highest version that this program knows.
        known: u64,
    },
    /// Somebody else has the file open.
    #[error("{file}: in use by another process; stop it, or point --data at another directory")]
    InUse {
        /// The file.
        file: PathBuf,
    },
    /// Not a file that a store can be restored from or backed up to.
    #[error("{file}: {why}; name a file that `syncline backup` wrote, or is to write")]
    BadBackup {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A store is where another one was to be restored. It was not changed.
    #[error("{directory}: there is a store already; restore into an empty directory")]
    Occupied {
        /// Where it is.
        directory: PathBuf,
    },
    /// A restoration into this directory was cut.
    #[error("{directory}: a restoration was not finished; run it again")]
    Unfinished {
        /// Where it was to be.
        directory: PathBuf,
    },
    /// A thread of the store does not start.
    #[error("a thread of the store does not start: {0}")]
    Thread(String),
    /// The events after the asked place are gone: only the base stands for them.
    #[error("the events up to seq {kept_after} are folded away")]
    Folded {
        /// Events after this seq are kept.
        kept_after: Seq,
    },
    /// The disk is nearly full. Nothing was kept; it is tried again with the next append.
    #[error(
        "{directory}: {free} bytes are free, store.min_free_bytes keeps {needed} of them; \
         free some space, or lower store.min_free_bytes"
    )]
    LowSpace {
        /// Where the files are.
        directory: PathBuf,
        /// What is free there.
        free: u64,
        /// What must be.
        needed: u64,
    },
    /// The batch contradicts itself. Nothing was kept.
    #[error("a batch that contradicts itself: {0}")]
    BadAppend(&'static str),
    /// A fold that contradicts itself. Nothing was changed.
    #[error("a fold that contradicts itself: {0}")]
    BadFold(&'static str),
    /// The work was ended before it was done. Nothing of it counts.
    #[error("stopped before it was done, because the broker is shutting down; try again")]
    Stopped,
    /// A fault that a test asked for.
    #[error("a fault was injected")]
    Injected,
}

impl StoreError {
    /// Whether the process must end because a sync failed.
    pub fn is_failed_sync(&self) -> bool {
        matches!(self, StoreError::SyncFailed { .. })
    }
}
