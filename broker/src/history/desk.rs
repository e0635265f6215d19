//! Who answers, and what can be asked.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use clap::Args;
use serde::{Deserialize, Serialize};
use syncline_protocol::{SyncId, UnixMillis};

use super::export::ExportRequest;
use super::state::StateRequest;
use super::verify::VerifyRequest;
use super::{HistoryError, LogRequest, export, log, state, verify};
use crate::compactor::States;
use crate::store::{Erased, EventStore, Stop};

/// What can be asked of a store.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Request {
    /// Events.
    Log(LogRequest),
    /// The state of a stream as of a place.
    State(StateRequest),
    /// Streams as a file of lines.
    Export(ExportRequest),
    /// Whether everything adds up.
    Verify(VerifyRequest),
    /// A copy of everything.
    Backup(BackupRequest),
    /// Forgets a group.
    Erase(EraseRequest),
    /// Reads files again that can change while the broker runs.
    Reload,
}

impl Request {
    /// The command's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Log(_) => "log",
            Self::State(_) => "state",
            Self::Export(_) => "export",
            Self::Verify(_) => "verify",
            Self::Backup(_) => "backup",
            Self::Erase(_) => "erase",
            Self::Reload => "reload",
        }
    }
}

/// Where the copy goes.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupRequest {
    /// The file to write; it must not exist yet. Make a data directory of it with `syncline restore`.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Whom to forget.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EraseRequest {
    /// The sync group: all its channels, events, states, marks and cursors go.
    #[arg(long = "sync", value_name = "SYNC_ID")]
    pub sync_id: String,
    /// Without this, it only says what would go.
    #[arg(long)]
    pub yes: bool,
}

/// Writes a copy of everything into a file that does not exist, unless it is ordered to stop.
pub type BackUp = Box<dyn Fn(&Path, &Stop) -> Result<(), String> + Send + Sync>;

/// Forgets a group.
pub type Erase = Box<dyn Fn(&SyncId) -> Result<Erased, String> + Send + Sync>;

/// Reads files again that can change while the broker runs, and says what it has now. An error changes nothing.
pub type Reload = Box<dyn Fn() -> Result<String, String> + Send + Sync>;

/// What is done to a store, rather than read from it. A running broker does it in order with its events.
pub struct Deeds {
    /// For `backup`.
    pub backup: BackUp,
    /// For `erase`.
    pub erase: Erase,
    /// For `reload`.
    pub reload: Reload,
    /// The wall clock.
    pub now: Box<dyn Fn() -> UnixMillis + Send + Sync>,
}

/// Answers requests about one store.
pub struct Desk {
    store: Arc<dyn EventStore>,
    states: Arc<States>,
    deeds: Deeds,
    /// Held by a backup, and by an erasing. The store would have the second wait for the first, and writers with it.
    whole: Mutex<()>,
}

impl Desk {
    /// At a store with its states.
    pub fn new(store: Arc<dyn EventStore>, states: Arc<States>, deeds: Deeds) -> Self {
        Self {
            store,
            states,
            deeds,
            whole: Mutex::default(),
        }
    }

    /// Writes the answer. What was written before an error stands. Ordered to stop, it ends between two pieces of its work.
    pub fn answer(
        &self,
        request: &Request,
        stop: &Stop,
        out: &mut dyn Write,
    ) -> Result<(), HistoryError> {
        let (store, states) = (&*self.store, &*self.states);
        match request {
            Request::Log(request) => log::log(store, request, stop, out),
            Request::State(request) => state::state(store, states, request, out),
            Request::Export(request) => {
                let now = (self.deeds.now)();
                export::export(store, &states.schema(), now, request, stop, out)
            }
            Request::Verify(request) => {
                verify::verify(store, states, &states.schema(), request, stop, out)
            }
            Request::Backup(request) => self.backup(request, stop, out),
            Request::Erase(request) => self.erase(request, stop, out),
            Request::Reload => self.reload(out),
        }?;
        out.flush()?;
        Ok(())
    }

    fn alone<T>(&self, deed: impl FnOnce(&Deeds) -> T) -> T {
        let _whole = self.whole.lock().unwrap_or_else(PoisonError::into_inner);
        deed(&self.deeds)
    }

    fn reload(&self, out: &mut dyn Write) -> Result<(), HistoryError> {
        let reloaded = (self.deeds.reload)().map_err(HistoryError::Request)?;
        writeln!(out, "{reloaded}")?;
        Ok(())
    }

    fn backup(
        &self,
        request: &BackupRequest,
        stop: &Stop,
        out: &mut dyn Write,
    ) -> Result<(), HistoryError> {
        if request.file.exists() {
            let file = request.file.display();
            return Err(HistoryError::Request(format!(
                "{file} exists; name another file"
            )));
        }
        let backed_up = self.alone(|deeds| (deeds.backup)(&request.file, stop));
        backed_up.map_err(HistoryError::Request)?;
        writeln!(out, "written to {}", request.file.display())?;
        Ok(())
    }

    fn erase(
        &self,
        request: &EraseRequest,
        stop: &Stop,
        out: &mut dyn Write,
    ) -> Result<(), HistoryError> {
        let bad = |error| HistoryError::Request(format!("{:?}: {error}", request.sync_id));
        let sync_id: SyncId = request
            .sync_id
            .parse()
            .map_err(|error: syncline_protocol::ids::IdError| bad(error.to_string()))?;
        if request.yes {
            let erased = self.alone(|deeds| (deeds.erase)(&sync_id));
            let Erased {
                streams, events, ..
            } = erased.map_err(HistoryError::Request)?;
            writeln!(
                out,
                "erased {sync_id}: {streams} streams, {events} kept events"
            )?;
            writeln!(
                out,
                "the freed pages are used again; `syncline compact` removes them from the files"
            )?;
            return Ok(());
        }
        let mut streams = 0;
        super::each_stream(&*self.store, stop, |stream, head| {
            if stream.sync_id == sync_id {
                streams += 1;
                let name = super::StreamName(stream.clone());
                writeln!(out, "would erase {name}: {} events", head.seq)?;
            }
            Ok(())
        })?;
        writeln!(
            out,
            "{streams} streams; nothing was erased, add --yes to do it"
        )?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use syncline_protocol::Schema;

    use super::*;
    use crate::store::memory::MemoryStore;

    /// How long a backup looks whether somebody erases beside it.
    const LOOK: Duration = Duration::from_millis(200);

    #[test]
    fn g10_who_erases_waits_for_a_backup_before_it_holds_up_writers() {
        let (in_backup, is_in_backup) = mpsc::channel();
        let (in_erase, is_in_erase) = mpsc::channel();
        let is_in_erase = Mutex::new(is_in_erase);
        let desk = desk(Deeds {
            backup: Box::new(move |_, _| {
                in_backup.send(()).unwrap();
                let erasing = is_in_erase.lock().unwrap().recv_timeout(LOOK);
                assert_eq!(erasing, Err(mpsc::RecvTimeoutError::Timeout));
                Ok(())
            }),
            erase: Box::new(move |_| {
                in_erase.send(()).unwrap();
                Ok(Erased::default())
            }),
            reload: Box::new(|| Ok(String::new())),
            now: Box::new(|| UnixMillis::new(1)),
        });
        std::thread::scope(|scope| {
            let backup = scope.spawn(|| {
                let file = PathBuf::from("no/such/file");
                ask(&desk, &Request::Backup(BackupRequest { file }))
            });
            is_in_backup.recv().unwrap();
            let (sync_id, yes) = ("home".to_owned(), true);
            assert!(ask(&desk, &Request::Erase(EraseRequest { sync_id, yes })));
            assert!(backup.join().unwrap());
        });
    }

    fn desk(deeds: Deeds) -> Desk {
        let store: Arc<dyn EventStore> = Arc::new(MemoryStore::new(8));
        let schema = Arc::new(Schema::parse("").unwrap());
        let states = States::new(Arc::clone(&store), schema, 1 << 20);
        Desk::new(store, Arc::new(states), deeds)
    }

    fn ask(desk: &Desk, request: &Request) -> bool {
        let answered = desk.answer(request, &Stop::default(), &mut Vec::new());
        answered.is_ok()
    }
}
