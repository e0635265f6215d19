//! What other threads leave for a connection. Bounded: streams and topics are sets, reports have a limit, and
//! there are no more answers than open PUBLISHes. Ordinary messages stay in the box until they are sent.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use syncline_protocol::{Epoch, Seq, StreamId};
use tokio::sync::Notify;

use super::counters::Losses;
use super::ephemeral::Ephemeral;
use super::fetch::Fetched;
use super::ordinary::{Letter, Letters, Pending};
use super::session::{Answer, RenewedBy, Ticket};
use crate::auth::{Admission, Denied};
use crate::store::sessions::QueueLimit;

/// Reports that wait for one connection at most; the oldest goes first.
pub(super) const REPORTS_MAX: usize = 64;

/// How far the bus has brought a stream since the connection last looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Advance {
    /// Where it stood.
    pub(crate) from: Seq,
    /// Where it stands.
    pub(crate) to: Seq,
    /// An epoch began in it (EPOCH-3): whoever stands at its beginning cannot go on from there.
    pub(crate) turn: Option<Turn>,
}

/// The beginning of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turn {
    /// The head when it began.
    pub(crate) at: Seq,
    pub(crate) epoch: Epoch,
}

impl Advance {
    /// A step in one history.
    pub(crate) fn new(from: Seq, to: Seq) -> Self {
        Self {
            from,
            to,
            turn: None,
        }
    }

    /// Goes on with a later step. Of two beginnings the first counts, and that it leads to the last epoch.
    pub(crate) fn extend(&mut self, later: Self) {
        self.to = self.to.max(later.to);
        self.turn = match (self.turn, later.turn) {
            (Some(first), Some(last)) => Some(Turn {
                at: first.at,
                ..last
            }),
            (first, last) => first.or(last),
        };
    }
}

/// Why a connection is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Summons {
    /// Another connection has its client id.
    TakenOver,
    /// The broker shuts down.
    Drain,
}

/// What has come in.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    pub(crate) answers: Vec<(Ticket, Answer)>,
    pub(crate) advances: BTreeMap<Arc<StreamId>, Advance>,
    pub(crate) topics: BTreeSet<Arc<str>>,
    pub(crate) reports: VecDeque<Arc<Ephemeral>>,
    pub(crate) fetched: Vec<Fetched>,
    /// There is more in the store's queue.
    pub(crate) queue_grew: bool,
    /// The session that the connection waits for is its own now; whether something was kept of it.
    pub(crate) admitted: Option<bool>,
    pub(crate) summons: Option<Summons>,
    /// Who the client is, or that it may not come in.
    pub(crate) authenticated: Option<Result<Admission, Denied>>,
    /// What came of a fresh token.
    pub(crate) renewed: Option<(RenewedBy, Result<Admission, Denied>)>,
    /// What it may do may have changed.
    pub(crate) review: bool,
}

/// The box and its bell.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    inbox: Mutex<Inbox>,
    letters: Mutex<Letters>,
    /// There was no room for a letter, and none was taken out since.
    full: AtomicBool,
    losses: Losses,
    busy: AtomicBool,
    bell: Notify,
}

impl Mailbox {
    /// An empty one, whose ordinary messages count among all that wait.
    pub(crate) fn among(pending: Arc<Pending>) -> Self {
        Self {
            letters: Mutex::new(Letters::among(pending)),
            ..Self::default()
        }
    }

    /// Empties the box.
    pub(crate) fn take(&self) -> Inbox {
        std::mem::take(&mut self.open())
    }

    /// Empties the part that tells of streams.
    pub(crate) fn take_advances(&self) -> BTreeMap<Arc<StreamId>, Advance> {
        std::mem::take(&mut self.open().advances)
    }

    /// Whether [`Mailbox::take`] would find something.
    #[cfg(feature = "simulation")]
    pub(crate) fn has_mail(&self) -> bool {
        let inbox = self.open();
        let told = inbox.advances.is_empty() && inbox.topics.is_empty() && inbox.reports.is_empty();
        let answered = inbox.answers.is_empty() && inbox.fetched.is_empty();
        let undisturbed = inbox.admitted.is_none()
            && inbox.summons.is_none()
            && inbox.authenticated.is_none()
            && inbox.renewed.is_none()
            && !inbox.review;
        let unwritten = !inbox.queue_grew && self.letters().len() == 0;
        !(told && answered && undisturbed && unwritten)
    }

    /// Waits until something has come since the last wait.
    pub(crate) async fn rung(&self) {
        self.bell.notified().await;
    }

    pub(crate) fn answer(&self, ticket: Ticket, answer: Answer) {
        self.put(|inbox| inbox.answers.push((ticket, answer)));
    }

    /// Leaves an ordinary message; whether there was room. Once there was none, there is none until one is taken out.
    pub(crate) fn letter(&self, limit: &QueueLimit, letter: impl FnOnce() -> Letter) -> bool {
        if self.full.load(Ordering::Relaxed) {
            return false;
        }
        let mut letters = self.letters();
        let fits = letters.put(letter(), limit);
        // While the lock is held, so that whoever takes one out clears it.
        self.full.store(!fits, Ordering::Relaxed);
        drop(letters);
        if fits {
            self.bell.notify_one();
        }
        fits
    }

    /// Takes the oldest ordinary message out. `room`: whether one at QoS 1 or 2 may be sent.
    pub(crate) fn next_letter(&self, room: bool) -> Option<Letter> {
        let mut letters = self.letters();
        let letter = letters.take(room);
        if letter.is_some() {
            self.full.store(false, Ordering::Relaxed);
        }
        letter
    }

    /// Letters that found no room, as far as that was noted.
    pub(crate) fn losses(&self) -> &Losses {
        &self.losses
    }

    /// There is more for it in the store's queue.
    pub(crate) fn queue_grew(&self) {
        self.put(|inbox| inbox.queue_grew = true);
    }

    /// Whether its client is slow, so that others may be asked first.
    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed)
    }

    pub(crate) fn set_busy(&self, busy: bool) {
        self.busy.store(busy, Ordering::Relaxed);
    }

    pub(crate) fn advance(&self, stream: &Arc<StreamId>, advance: Advance) {
        self.put(|inbox| {
            let entry = inbox.advances.entry(Arc::clone(stream)).or_insert(advance);
            entry.extend(advance);
        });
    }

    pub(crate) fn topic(&self, topic: Arc<str>) {
        self.put(|inbox| inbox.topics.insert(topic));
    }

    pub(crate) fn report(&self, report: Arc<Ephemeral>) {
        self.put(|inbox| {
            if inbox.reports.len() == REPORTS_MAX {
                inbox.reports.pop_front();
            }
            inbox.reports.push_back(report);
        });
    }

    pub(crate) fn fetched(&self, fetched: Fetched) {
        self.put(|inbox| inbox.fetched.push(fetched));
    }

    /// The session is free. `kept`: the store has it.
    pub(crate) fn admit(&self, kept: bool) {
        self.put(|inbox| inbox.admitted.replace(kept));
    }

    /// It is known who the client is.
    pub(crate) fn authenticated(&self, admission: Result<Admission, Denied>) {
        self.put(|inbox| inbox.authenticated.replace(admission));
    }

    /// A fresh token was looked at.
    pub(crate) fn renewed(&self, by: RenewedBy, admission: Result<Admission, Denied>) {
        self.put(|inbox| inbox.renewed.replace((by, admission)));
    }

    /// The rules have changed.
    pub(crate) fn review(&self) {
        self.put(|inbox| inbox.review = true);
    }

    /// A takeover stays one when a drain follows.
    pub(crate) fn summon(&self, summons: Summons) {
        self.put(|inbox| inbox.summons.get_or_insert(summons) == &summons);
    }

    fn put<T>(&self, change: impl FnOnce(&mut Inbox) -> T) {
        change(&mut self.open());
        self.bell.notify_one();
    }

    fn letters(&self) -> MutexGuard<'_, Letters> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
