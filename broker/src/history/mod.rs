//! History for people: what happened, what was so when, and whether all of it adds up.
//!
//! A [`Desk`] answers a [`Request`] by writing text. It is the same whether a running broker answers (through its admin
//! socket) or `syncline` has opened the store itself. Calls block, and end early when they are ordered to stop.

mod adoption;
mod desk;
mod export;
mod import;
mod log;
mod migrate;
mod moment;
mod state;
mod stream_name;
mod verify;

#[cfg(test)]
pub(crate) mod tests;

use std::io;

use syncline_protocol::{Seq, StreamId};

pub use adoption::{Adoption, adopt, schema_of};
pub use desk::{BackUp, BackupRequest, Deeds, Desk, Erase, EraseRequest, Reload, Request};
pub use export::ExportRequest;
pub use import::{ImportRequest, import};
pub use log::LogRequest;
pub use migrate::{MigrateRequest, migrate};
pub use moment::{Moment, NoMoment};
pub use state::{StateRequest, state_at};
pub use stream_name::{NoStream, StreamName};
pub use verify::VerifyRequest;

use crate::compactor::StatesError;
pub use crate::store::Stop;
use crate::store::{EventStore, ReadLimit, StoreError, StreamHead};

/// How much of a log is read at a time.
const READ: ReadLimit = ReadLimit {
    events: 1_024,
    bytes: 1 << 20,
};

/// Streams asked for at a time.
const STREAMS_PAGE: usize = 1_024;

/// Why a question was not answered.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A state could not be made.
    #[error(transparent)]
    State(#[from] StatesError),
    /// The question cannot be answered as it stands.
    #[error("{0}")]
    Request(String),
    /// What was written by this program before cannot be read.
    #[error("{stream}: the event at {seq} cannot be read: {reason}; restore a backup")]
    Damaged {
        /// In which stream.
        stream: StreamId,
        /// At which place.
        seq: Seq,
        /// What is wrong.
        reason: String,
    },
    /// The answer could not be written.
    #[error("the output ended: {0}")]
    Output(#[from] io::Error),
}

impl HistoryError {
    fn damaged(stream: &StreamId, seq: Seq, reason: &(impl ToString + ?Sized)) -> Self {
        Self::Damaged {
            stream: stream.clone(),
            seq,
            reason: reason.to_string(),
        }
    }
}

/// Goes through all streams that have events, in the order of their names, until it is ordered to stop.
fn each_stream(
    store: &dyn EventStore,
    stop: &Stop,
    mut each: impl FnMut(&StreamId, &StreamHead) -> Result<(), HistoryError>,
) -> Result<(), HistoryError> {
    let mut after: Option<StreamId> = None;
    loop {
        let page = store.streams(after.as_ref(), STREAMS_PAGE)?;
        let Some((last, _)) = page.last() else {
            return Ok(());
        };
        for (stream, head) in &page {
            stop.check()?;
            each(stream, head)?;
        }
        after = Some(last.clone());
    }
}
