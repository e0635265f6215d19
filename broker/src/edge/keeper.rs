//! The thread that reads and writes sessions. What is asked is done in order, and what is written meanwhile goes into one
//! commit. Bounded by its askers: each connection has one question, one save and as many messages open as it may have
//! unacknowledged.
//!
//! A failed sync is told to whoever ends the process; any other failure only to the connection whose session it is.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use syncline_protocol::UnixMillis;

use super::session::Opening;
use crate::store::sessions::{
    LoadedSession, MqttVersion, PacketId, SessionChange, SessionKey, SessionStore, Side,
    StoredSession,
};
use crate::store::{StoreError, Tell};

/// Sessions in one page of the store's list.
const PAGE: usize = 256;

/// Changes in one commit, give or take those of one asker.
const COMMIT_CHANGES_MAX: usize = 1_024;

/// Hears whether a write is on disk, and which of its changes, counted from 0, are messages that had no room.
pub(crate) type Written = Box<dyn FnOnce(Result<Vec<usize>, StoreError>) + Send>;

/// Hears what there is of a session.
pub(crate) type Opened = Box<dyn FnOnce(Result<Option<LoadedSession>, StoreError>) + Send>;

/// What is to be written as of the moment at which that begins, and who hears of it.
pub(crate) type Gather = Box<dyn FnOnce() -> (Vec<SessionChange>, Option<Written>) + Send>;

enum Job {
    Write(Vec<SessionChange>, Option<Written>),
    Gather(Gather),
    Open(SessionKey, Opening, UnixMillis, Opened),
    Flush(Sender<()>),
}

/// The handle of the thread. Dropped, it ends once all is done.
pub(crate) struct Keeper {
    jobs: Mutex<Option<Sender<Job>>>,
    thread: Option<JoinHandle<()>>,
    /// In place of the thread: what is asked is done at once.
    #[cfg(feature = "simulation")]
    by_hand: Option<Shelf>,
}

/// Where sessions are kept, and who has to hear that it is dead.
pub(crate) struct Shelf {
    pub(crate) store: Arc<dyn SessionStore>,
    pub(crate) on_fatal: Tell,
}

impl Shelf {
    fn act<T>(
        &self,
        act: impl FnOnce(&dyn SessionStore) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let acted = guarded(|| act(&*self.store));
        if let Err(error) = &acted
            && error.is_failed_sync()
        {
            (self.on_fatal)(error);
        }
        acted
    }
}

impl Keeper {
    /// Starts the thread.
    pub(crate) fn start(shelf: Shelf) -> Result<Self, StoreError> {
        let (jobs, waiting) = mpsc::channel();
        let builder = thread::Builder::new().name("sessions".to_owned());
        let thread = builder.spawn(move || run(&shelf, &waiting));
        let thread = thread.map_err(|error| StoreError::Thread(error.to_string()))?;
        Ok(Self {
            jobs: Mutex::new(Some(jobs)),
            thread: Some(thread),
            #[cfg(feature = "simulation")]
            by_hand: None,
        })
    }

    /// Without a thread: whoever asks does it, at once.
    #[cfg(feature = "simulation")]
    pub(crate) fn by_hand(shelf: Shelf) -> Self {
        Self {
            jobs: Mutex::new(None),
            thread: None,
            by_hand: Some(shelf),
        }
    }

    /// Writes, and tells who asked.
    pub(crate) fn write(&self, changes: Vec<SessionChange>, written: Option<Written>) {
        self.ask(Job::Write(changes, written));
    }

    /// Writes what there is to write when its turn comes. So whoever asks once for much that changes waits in no longer queue.
    pub(crate) fn gather(&self, gather: Gather) {
        self.ask(Job::Gather(gather));
    }

    /// Begins a session, with what was kept of it, unless the opening is clean or its time is over.
    pub(crate) fn open(&self, key: SessionKey, opening: Opening, now: UnixMillis, opened: Opened) {
        self.ask(Job::Open(key, opening, now, opened));
    }

    /// Waits until everything that was asked before is done. Blocks.
    pub(crate) fn flush(&self) {
        let (done, is_done) = mpsc::channel();
        self.ask(Job::Flush(done));
        // Whether it was done or never will be.
        let _ = is_done.recv();
    }

    /// A job of a keeper that has ended is dropped, and with it the asker's connection: the broker ends.
    fn ask(&self, job: Job) {
        #[cfg(feature = "simulation")]
        if let Some(shelf) = &self.by_hand {
            let mut commit = Commit::default();
            commit.take(shelf, job);
            return commit.make(shelf);
        }
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(jobs) = jobs.as_ref() {
            let _ = jobs.send(job);
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.jobs.get_mut().map(Option::take));
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the sessions panicked");
        }
    }
}

/// Takes over from an earlier run: who was connected then left just now. Every session and when it ends. Blocks.
pub(crate) fn take_over(
    store: &dyn SessionStore,
    now: UnixMillis,
    mut found: impl FnMut(SessionKey, UnixMillis) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let page = store.sessions(after.as_ref(), PAGE)?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = Some(last.key.clone());
        let cut = page.iter().filter(|it| it.left_at.is_none());
        store.write(&cut.flat_map(|it| cut_off(it, now)).collect::<Vec<_>>())?;
        for session in page {
            let ends_at = session.ends_at().unwrap_or(now.plus(session.expiry_ms));
            found(session.key, ends_at)?;
        }
    }
}

/// A session whose connection the end of an earlier run cut. Nobody knows what of its queue was sent.
fn cut_off(session: &StoredSession, now: UnixMillis) -> [SessionChange; 2] {
    let leave = SessionChange::Leave {
        key: session.key.clone(),
        expiry_ms: session.expiry_ms,
        left_at: now,
    };
    let whatever = PacketId {
        side: Side::Sent,
        id: 0,
    };
    [leave, SessionChange::Open(session.key.clone(), whatever)]
}

fn run(shelf: &Shelf, waiting: &Receiver<Job>) {
    let mut commit = Commit::default();
    while let Ok(job) = waiting.recv() {
        commit.take(shelf, job);
        while commit.changes.len() < COMMIT_CHANGES_MAX
            && let Ok(job) = waiting.try_recv()
        {
            commit.take(shelf, job);
        }
        commit.make(shelf);
    }
}

/// Writes that share a commit.
#[derive(Default)]
struct Commit {
    changes: Vec<SessionChange>,
    /// With the number of the first and of the last change of each.
    askers: Vec<(Range<usize>, Written)>,
}

impl Commit {
    fn take(&mut self, shelf: &Shelf, job: Job) {
        match job {
            Job::Write(changes, written) => self.add(changes, written),
            Job::Gather(gather) => {
                let (changes, written) = gather();
                self.add(changes, written);
            }
            Job::Open(key, opening, now, opened) => {
                self.make(shelf);
                opened(shelf.act(|store| open(store, &key, opening, now)));
            }
            Job::Flush(done) => {
                self.make(shelf);
                drop(done);
            }
        }
    }

    fn add(&mut self, changes: Vec<SessionChange>, written: Option<Written>) {
        let first = self.changes.len();
        self.changes.extend(changes);
        let of = first..self.changes.len();
        self.askers.extend(written.map(|asker| (of, asker)));
    }

    fn make(&mut self, shelf: &Shelf) {
        let (changes, askers) = (
            std::mem::take(&mut self.changes),
            std::mem::take(&mut self.askers),
        );
        if changes.is_empty() && askers.is_empty() {
            return;
        }
        let written = shelf.act(|store| store.write(&changes));
        if let Err(error) = &written {
            tracing::warn!(%error, changes = changes.len(), "sessions were not kept");
        }
        for (of, asker) in askers {
            asker(match &written {
                Ok(written) => Ok(refused_of(&written.refused, &of)),
                Err(error) => Err(error.clone()),
            });
        }
    }
}

/// Which changes of one asker had no room, counted from its first.
fn refused_of(refused: &[usize], of: &Range<usize>) -> Vec<usize> {
    let its = refused.iter().filter(|at| of.contains(at));
    its.map(|at| at - of.start).collect()
}

/// Whoever waits is told, come what may.
fn guarded<T>(act: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    let panicked = || StoreError::Thread("the thread of the sessions panicked".to_owned());
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|_| Err(panicked()))
}

fn open(
    store: &dyn SessionStore,
    key: &SessionKey,
    opening: Opening,
    now: UnixMillis,
) -> Result<Option<LoadedSession>, StoreError> {
    let lives = |it: &LoadedSession| it.session.ends_at().is_none_or(|ends_at| ends_at > now);
    let loaded = match opening.clean {
        true => None,
        false => store.load(key)?.filter(lives),
    };
    let mut changes = Vec::new();
    if loaded.is_none() {
        changes.push(SessionChange::End(key.clone()));
    }
    if loaded.is_some() || opening.expiry_ms > 0 {
        changes.push(SessionChange::Begin(StoredSession {
            key: key.clone(),
            version: match opening.v5 {
                true => MqttVersion::V5,
                false => MqttVersion::V3,
            },
            expiry_ms: opening.expiry_ms,
            left_at: None,
            position: 0,
        }));
    }
    // What was sent before is told to this connection, which says so again when it leaves.
    let packets = loaded.iter().flat_map(|it| &it.packets);
    let sent = packets.filter(|it| it.side == Side::Sent);
    let close = |it: &PacketId| SessionChange::Close(key.clone(), *it);
    changes.extend(sent.map(close));
    store.write(&changes)?;
    Ok(loaded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::RedbOptions;
    use crate::store::sessions::contract::{key, session, subscription};
    use crate::store::sessions::memory::MemorySessions;
    use crate::store::simulated::{Failure, SimDisk};

    const NOW: UnixMillis = UnixMillis::new(1_000_000);

    fn kept(left_at: Option<UnixMillis>) -> Arc<MemorySessions> {
        let store = Arc::new(MemorySessions::default());
        let changes = [
            SessionChange::Begin(StoredSession {
                left_at,
                ..session("a")
            }),
            SessionChange::Subscribe(key("a"), subscription("sync/#")),
        ];
        store.write(&changes).unwrap();
        store
    }

    fn keeper(store: &Arc<MemorySessions>) -> Keeper {
        let store = Arc::clone(store) as Arc<dyn SessionStore>;
        let on_fatal: Tell = Arc::new(|error| panic!("{error}"));
        Keeper::start(Shelf { store, on_fatal }).unwrap()
    }

    fn opening(clean: bool, expiry_ms: u64) -> Opening {
        Opening {
            clean,
            expiry_ms,
            v5: true,
        }
    }

    fn opened(store: &Arc<MemorySessions>, opening: Opening, now: UnixMillis) -> bool {
        let keeper = keeper(store);
        let (tell, told) = mpsc::channel();
        let tell = move |loaded: Result<Option<LoadedSession>, StoreError>| {
            tell.send(loaded.unwrap().is_some()).unwrap();
        };
        keeper.open(key("a"), opening, now, Box::new(tell));
        told.recv().unwrap()
    }

    #[test]
    fn a_session_is_resumed_until_its_time_is_over() {
        for (now, present) in [(NOW.plus(59_999), true), (NOW.plus(60_000), false)] {
            let store = kept(Some(NOW));
            assert_eq!(opened(&store, opening(false, 9_000), now), present);
            let loaded = store.load(&key("a")).unwrap().unwrap();
            assert_eq!(loaded.subscriptions.len(), usize::from(present));
            assert_eq!(
                (loaded.session.expiry_ms, loaded.session.left_at),
                (9_000, None)
            );
        }
    }

    #[test]
    fn a_clean_start_removes_what_was_kept() {
        let store = kept(Some(NOW));
        assert!(!opened(&store, opening(true, 0), NOW));
        assert_eq!(store.load(&key("a")).unwrap(), None);
        let store = kept(None);
        assert!(!opened(&store, opening(true, 5), NOW));
        assert!(
            store
                .load(&key("a"))
                .unwrap()
                .unwrap()
                .subscriptions
                .is_empty()
        );
    }

    #[test]
    fn who_was_connected_when_the_broker_died_left_when_it_started_again() {
        for (left_at, ends_at) in [
            (None, NOW.plus(60_000)),
            (Some(UnixMillis::new(5)), UnixMillis::new(60_005)),
        ] {
            let store = kept(left_at);
            let mut found = Vec::new();
            take_over(&*store, NOW, |key, at| {
                found.push((key, at));
                Ok(())
            })
            .unwrap();
            assert_eq!(found, [(key("a"), ends_at)]);
            let session = store.load(&key("a")).unwrap().unwrap().session;
            assert_eq!(
                session.ends_at(),
                Some(ends_at),
                "and stays so at the next start"
            );
        }
    }

    #[test]
    fn what_was_asked_before_the_end_is_done() {
        let store = kept(None);
        let keeper = keeper(&store);
        for n in 0..50 {
            let follow = subscription(&format!("sync/g{n}/events"));
            keeper.write(vec![SessionChange::Subscribe(key("a"), follow)], None);
        }
        keeper.flush();
        assert_eq!(
            store.load(&key("a")).unwrap().unwrap().subscriptions.len(),
            51
        );
        keeper.write(vec![SessionChange::End(key("a"))], None);
        drop(keeper);
        assert_eq!(store.load(&key("a")).unwrap(), None);
    }

    /// What a keeper tells of its disk, at which `failure` happens, when a session is written and when one begins.
    fn told_of(failure: Failure) -> Vec<String> {
        let disk = SimDisk::new();
        let options = RedbOptions::default();
        let store: Arc<dyn SessionStore> = Arc::new(disk.open_store(&options).unwrap());
        let (tell, told) = mpsc::channel();
        let tell = Mutex::new(tell);
        let on_fatal: Tell =
            Arc::new(move |error| tell.lock().unwrap().send(error.to_string()).unwrap());
        let keeper = Keeper::start(Shelf { store, on_fatal }).unwrap();
        disk.fail("tables.redb", failure);
        keeper.write(vec![SessionChange::Begin(session("a"))], None);
        keeper.flush();
        let (tell, opened) = mpsc::channel();
        let hear = move |loaded: Result<_, _>| tell.send(loaded.is_err()).unwrap();
        keeper.open(key("b"), opening(false, 9_000), NOW, Box::new(hear));
        assert!(opened.recv().unwrap());
        drop(keeper);
        told.iter().collect()
    }

    #[test]
    fn a_failed_sync_is_told_to_whoever_ends_the_process_and_other_failures_are_not() {
        let told = told_of(Failure::Sync);
        assert_eq!(told.len(), 2, "the write and the beginning: {told:?}");
        assert!(told[0].contains("tables.redb"), "{told:?}");
        assert_eq!(told_of(Failure::Write), Vec::<String>::new());
    }
}
