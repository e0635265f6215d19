//! Which connection has which session: the newest one (takeover); and when the sessions that nobody has end.
//!
//! Where a session is kept, its next connection waits until the one before has left and said what there is to keep
//! ([`Clients::leave`]): then it is its turn ([`Mailbox::admit`]). Where nothing is kept, nobody waits.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use syncline_protocol::UnixMillis;

use super::index::PeerId;
use super::mailbox::{Mailbox, Summons};
use crate::store::sessions::SessionKey;

/// All sessions, in use and kept.
#[derive(Debug)]
pub(crate) struct Clients {
    state: Mutex<State>,
    kept_max: usize,
}

#[derive(Debug, Default)]
struct State {
    seats: HashMap<SessionKey, Seat>,
    /// What the store keeps or is about to keep, and when it ends; `None` while it is in use.
    kept: HashMap<SessionKey, Option<UnixMillis>>,
    agenda: BTreeSet<(UnixMillis, SessionKey)>,
}

#[derive(Debug)]
struct Seat {
    holder: Holder,
    next: Option<Holder>,
}

#[derive(Debug)]
struct Holder {
    peer: PeerId,
    mailbox: Arc<Mailbox>,
    keeps: bool,
}

/// Whether a connection may go on with its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entered {
    /// At once. `kept`: there is something in the store.
    Now { kept: bool },
    /// Once it is told so.
    Later,
    /// As many sessions are kept as there may be.
    Full,
}

impl Clients {
    /// Nobody is there. `kept_max`: sessions that are kept at most.
    pub(crate) fn new(kept_max: usize) -> Self {
        Self {
            state: Mutex::default(),
            kept_max,
        }
    }

    /// A session that the store has kept from an earlier run.
    pub(crate) fn found(&self, key: SessionKey, ends_at: UnixMillis) {
        self.lock().keep_until(key, ends_at);
    }

    /// A connection takes a session; the one that had it is told to end. `keeps`: it will be kept afterwards.
    pub(crate) fn enter(
        &self,
        key: &SessionKey,
        peer: PeerId,
        mailbox: Arc<Mailbox>,
        keeps: bool,
    ) -> Entered {
        let mut state = self.lock();
        let kept = state.kept.contains_key(key);
        if keeps && !kept && state.kept.len() >= self.kept_max {
            return Entered::Full;
        }
        let newer = Holder {
            peer,
            mailbox,
            keeps,
        };
        let Some(seat) = state.seats.get_mut(key) else {
            let seat = Seat {
                holder: newer,
                next: None,
            };
            state.seats.insert(key.clone(), seat);
            state.take(key, keeps);
            return Entered::Now { kept };
        };
        seat.holder.mailbox.summon(Summons::TakenOver);
        if let Some(between) = seat.next.take() {
            between.mailbox.summon(Summons::TakenOver);
        }
        if kept || keeps || seat.holder.keeps {
            seat.next = Some(newer);
            return Entered::Later;
        }
        seat.holder = newer;
        Entered::Now { kept }
    }

    /// A connection ends, after it said what there is to keep: until `ends_at`, if at all.
    pub(crate) fn leave(&self, key: &SessionKey, peer: PeerId, ends_at: Option<UnixMillis>) {
        let mut state = self.lock();
        let Some(seat) = state.seats.get_mut(key) else {
            return;
        };
        if seat.holder.peer != peer {
            seat.next.take_if(|next| next.peer == peer);
            return;
        }
        let next = seat.next.take();
        state.drop_kept(key);
        if let Some(ends_at) = ends_at {
            state.keep_until(key.clone(), ends_at);
        }
        match next {
            None => drop(state.seats.remove(key)),
            Some(next) => state.seat_next(key, next),
        }
    }

    /// The sessions that have ended by now. They count as gone. `end` is called before any of them can begin anew, and must not
    /// block.
    pub(crate) fn expired(&self, now: UnixMillis, end: impl FnOnce(&[SessionKey])) {
        let mut state = self.lock();
        let mut expired = Vec::new();
        while state.agenda.first().is_some_and(|(at, _)| *at <= now)
            && let Some((_, key)) = state.agenda.pop_first()
        {
            state.kept.remove(&key);
            expired.push(key);
        }
        if !expired.is_empty() {
            end(&expired);
        }
    }

    /// Whether a session has a connection.
    pub(crate) fn is_connected(&self, key: &SessionKey) -> bool {
        self.lock().seats.contains_key(key)
    }

    /// How many are connected, and how many sessions are kept without a connection.
    pub(crate) fn size(&self) -> (usize, usize) {
        let state = self.lock();
        (state.seats.len(), state.agenda.len())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn seat_next(&mut self, key: &SessionKey, next: Holder) {
        let kept = self.kept.contains_key(key);
        self.take(key, next.keeps);
        next.mailbox.admit(kept);
        let seat = Seat {
            holder: next,
            next: None,
        };
        self.seats.insert(key.clone(), seat);
    }

    /// The session is in use, so it does not end.
    fn take(&mut self, key: &SessionKey, keeps: bool) {
        if self.drop_kept(key) || keeps {
            self.kept.insert(key.clone(), None);
        }
    }

    fn keep_until(&mut self, key: SessionKey, ends_at: UnixMillis) {
        self.agenda.insert((ends_at, key.clone()));
        self.kept.insert(key, Some(ends_at));
    }

    /// Whether it was kept.
    fn drop_kept(&mut self, key: &SessionKey) -> bool {
        let kept = self.kept.remove(key);
        if let Some(Some(ends_at)) = kept {
            self.agenda.remove(&(ends_at, key.clone()));
        }
        kept.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(client_id: &str) -> SessionKey {
        SessionKey {
            principal: String::new(),
            client_id: client_id.to_owned(),
        }
    }

    fn at(ms: u64) -> UnixMillis {
        UnixMillis::new(ms)
    }

    /// Connections enter with their number and what they keep.
    struct Rig {
        clients: Clients,
        boxes: Vec<Arc<Mailbox>>,
    }

    impl Rig {
        fn new(kept_max: usize) -> Rig {
            let boxes = (0..9).map(|_| Arc::default()).collect();
            Rig {
                clients: Clients::new(kept_max),
                boxes,
            }
        }

        fn enter(&self, peer: usize, client_id: &str, keeps: bool) -> Entered {
            let mailbox = Arc::clone(&self.boxes[peer]);
            let id = PeerId(peer as u64);
            self.clients.enter(&key(client_id), id, mailbox, keeps)
        }

        fn leave(&self, peer: usize, client_id: &str, ends_at: Option<u64>) {
            let id = PeerId(peer as u64);
            self.clients.leave(&key(client_id), id, ends_at.map(at));
        }

        fn expired(&self, now: u64) -> Vec<SessionKey> {
            let mut expired = Vec::new();
            let end = |keys: &[SessionKey]| expired.extend_from_slice(keys);
            self.clients.expired(at(now), end);
            expired
        }

        fn is_summoned(&self, peer: usize) -> bool {
            self.boxes[peer].take().summons == Some(Summons::TakenOver)
        }

        fn admitted(&self, peer: usize) -> Option<bool> {
            self.boxes[peer].take().admitted
        }
    }

    #[test]
    fn where_nothing_is_kept_the_newer_connection_does_not_wait() {
        let rig = Rig::new(9);
        assert_eq!(rig.enter(1, "a", false), Entered::Now { kept: false });
        assert_eq!(rig.enter(2, "a", false), Entered::Now { kept: false });
        assert!(rig.is_summoned(1));
        rig.leave(1, "a", None);
        assert_eq!(rig.enter(3, "a", false), Entered::Now { kept: false });
        assert!(rig.is_summoned(2));
    }

    #[test]
    fn where_something_is_kept_the_newer_connection_waits_for_the_older_to_leave() {
        let rig = Rig::new(9);
        assert_eq!(rig.enter(1, "a", true), Entered::Now { kept: false });
        assert_eq!(rig.enter(2, "a", true), Entered::Later);
        assert_eq!(rig.enter(3, "a", false), Entered::Later);
        assert!(rig.is_summoned(1) && rig.is_summoned(2));
        rig.leave(2, "a", None);
        assert_eq!(rig.admitted(3), None);
        rig.leave(1, "a", Some(50));
        assert_eq!(rig.admitted(3), Some(true));
        assert_eq!(rig.expired(99), [], "it is in use");
        rig.leave(3, "a", None);
        assert_eq!(rig.enter(4, "a", false), Entered::Now { kept: false });
    }

    #[test]
    fn one_that_waited_and_left_does_not_free_the_session() {
        let rig = Rig::new(9);
        rig.enter(1, "a", true);
        rig.enter(2, "a", true);
        rig.leave(2, "a", Some(7));
        assert_eq!(rig.expired(9), []);
        rig.leave(1, "a", Some(20));
        assert_eq!(rig.expired(20), [key("a")]);
        assert_eq!(rig.expired(99), []);
    }

    #[test]
    fn g10_no_more_sessions_are_kept_than_may_be() {
        let rig = Rig::new(2);
        rig.clients.found(key("old"), at(10));
        rig.enter(1, "a", true);
        assert_eq!(rig.enter(2, "b", true), Entered::Full);
        assert_eq!(rig.enter(2, "b", false), Entered::Now { kept: false });
        assert_eq!(rig.enter(3, "old", true), Entered::Now { kept: true });
        rig.leave(3, "old", Some(30));
        assert_eq!(rig.expired(29), []);
        assert_eq!(rig.expired(30), [key("old")]);
        assert_eq!(rig.enter(4, "c", true), Entered::Now { kept: false });
    }
}
