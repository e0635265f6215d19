//! Wills of ordinary topics that wait for their delay: published when it is over or when their session ends, whichever comes
//! first, and not at all if their session goes on before.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use syncline_protocol::UnixMillis;

use super::ordinary::{Post, Posted};
use super::session::Posting;
use super::shared::Shared;
use crate::store::sessions::{Message, SessionKey};

/// The wills that wait. Bounded by the sessions that are kept, of which each has one at most.
#[derive(Debug, Default)]
pub(crate) struct Wills {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: HashMap<SessionKey, (UnixMillis, Posting)>,
    agenda: BTreeSet<(UnixMillis, SessionKey)>,
}

impl Wills {
    /// A will waits until `at`.
    pub(crate) fn wait(&self, key: SessionKey, at: UnixMillis, posting: Posting) {
        let mut state = self.lock();
        state.take(&key);
        state.agenda.insert((at, key.clone()));
        state.waiting.insert(key, (at, posting));
    }

    /// The session goes on or ends: its will, if one waits.
    pub(crate) fn take(&self, key: &SessionKey) -> Option<Posting> {
        self.lock().take(key)
    }

    /// The wills whose delay is over.
    pub(crate) fn due(&self, now: UnixMillis) -> Vec<(SessionKey, Posting)> {
        let mut state = self.lock();
        let mut due = Vec::new();
        while state.agenda.first().is_some_and(|(at, _)| *at <= now)
            && let Some((_, key)) = state.agenda.pop_first()
        {
            if let Some((_, posting)) = state.waiting.remove(&key) {
                due.push((key, posting));
            }
        }
        due
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self, key: &SessionKey) -> Option<Posting> {
        let (at, posting) = self.waiting.remove(key)?;
        self.agenda.remove(&(at, key.clone()));
        Some(posting)
    }
}

/// The message of a client as it is passed on now.
pub(crate) fn message(posting: Posting, now: UnixMillis) -> Message {
    let expires_at = posting
        .expiry_s
        .map(|seconds| now.plus(u64::from(seconds) * 1_000));
    Message {
        expires_at,
        ..posting.message
    }
}

/// Passes a will on. It has nobody to answer to.
pub(crate) fn publish(shared: &Shared, posting: Posting) {
    let post = Post {
        message: message(posting, (shared.now)()),
        from: None,
        with: Vec::new(),
    };
    let told = |posted| {
        if let Posted::Failed(error) = posted {
            tracing::warn!(%error, "a will was not kept");
        }
    };
    shared.topics.post(post, &shared.keeper, Box::new(told));
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn key(client_id: &str) -> SessionKey {
        SessionKey {
            principal: String::new(),
            client_id: client_id.to_owned(),
        }
    }

    fn posting(topic: &str) -> Posting {
        Posting {
            message: Message {
                topic: topic.to_owned(),
                payload: Bytes::new(),
                qos: 0,
                retain: false,
                properties: Bytes::new(),
                expires_at: None,
            },
            expiry_s: Some(2),
        }
    }

    fn due(wills: &Wills, now: u64) -> Vec<String> {
        let due = wills.due(UnixMillis::new(now)).into_iter();
        due.map(|(_, it)| it.message.topic).collect()
    }

    #[test]
    fn a_will_is_due_after_its_delay_unless_its_session_goes_on() {
        let wills = Wills::default();
        for (client_id, at) in [("a", 5), ("b", 3), ("c", 4)] {
            wills.wait(key(client_id), UnixMillis::new(at), posting(client_id));
        }
        assert!(wills.take(&key("c")).is_some());
        assert!(wills.take(&key("c")).is_none());
        assert_eq!(due(&wills, 2), [""; 0]);
        assert_eq!(due(&wills, 4), ["b"]);
        wills.wait(key("a"), UnixMillis::new(9), posting("newer"));
        assert_eq!(due(&wills, 8), [""; 0]);
        assert_eq!(due(&wills, 9), ["newer"]);
        assert!(wills.lock().agenda.is_empty());
    }

    #[test]
    fn a_will_expires_counted_from_when_it_is_published() {
        let message = message(posting("a"), UnixMillis::new(10));
        assert_eq!(message.expires_at, Some(UnixMillis::new(2_010)));
    }
}
