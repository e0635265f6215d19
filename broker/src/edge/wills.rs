//! Wills of ordinary topics that wait for their delay: published when it is over or when their session ends, whichever comes
//! first, and not at all if their session goes on before.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use syncline_protocol::UnixMillis;

use super::counters::Count;
use super::identity::Identity;
use super::ordinary::{Post, Posted};
use super::session::Posting;
use super::shared::Shared;
use crate::store::sessions::{Message, SessionKey};

/// A will, and who left it.
#[derive(Debug)]
pub(crate) struct LastWill {
    pub(crate) posting: Posting,
    pub(crate) of: Option<Arc<Identity>>,
}

/// The wills that wait. Bounded by the sessions that are kept, of which each has one at most.
#[derive(Debug, Default)]
pub(crate) struct Wills {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: HashMap<SessionKey, (UnixMillis, LastWill)>,
    agenda: BTreeSet<(UnixMillis, SessionKey)>,
}

impl Wills {
    /// A will waits until `at`.
    pub(crate) fn wait(&self, key: SessionKey, at: UnixMillis, will: LastWill) {
        let mut state = self.lock();
        state.take(&key);
        state.agenda.insert((at, key.clone()));
        state.waiting.insert(key, (at, will));
    }

    /// Somebody comes for the session: its will, if one waits, and until when.
    pub(crate) fn take(&self, key: &SessionKey) -> Option<(UnixMillis, LastWill)> {
        self.lock().take(key)
    }

    /// The wills whose delay is over.
    pub(crate) fn due(&self, now: UnixMillis) -> Vec<(SessionKey, LastWill)> {
        let mut state = self.lock();
        let mut due = Vec::new();
        while state.agenda.first().is_some_and(|(at, _)| *at <= now)
            && let Some((_, key)) = state.agenda.pop_first()
        {
            if let Some((_, will)) = state.waiting.remove(&key) {
                due.push((key, will));
            }
        }
        due
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self, key: &SessionKey) -> Option<(UnixMillis, LastWill)> {
        let (at, will) = self.waiting.remove(key)?;
        self.agenda.remove(&(at, key.clone()));
        Some((at, will))
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

/// Passes a will on, if whoever left it may still publish there (WALL-3). It has nobody to answer to.
pub(crate) fn publish(shared: &Shared, will: LastWill) {
    let LastWill { posting, of } = will;
    if !of.is_none_or(|it| may_publish(shared, &it, &posting.message.topic)) {
        return shared.counters.count(Count::WillRefused);
    }
    let post = Post {
        message: message(posting, (shared.now)()),
        from: None,
        with: Vec::new(),
    };
    let counters = Arc::clone(&shared.counters);
    let told = move |posted| {
        if let Posted::Failed(error) = posted {
            counters.count(Count::WillLost);
            tracing::warn!(%error, "a will was not kept");
        }
    };
    shared.topics.post(post, &shared.keeper, Box::new(told));
}

fn may_publish(shared: &Shared, identity: &Identity, topic: &str) -> bool {
    let admission = shared.guard.review(&identity.admission);
    admission.is_ok_and(|it| {
        let identity = identity.reviewed(it);
        identity.principal.grant().writes_topic(topic)
    })
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

    fn will(topic: &str) -> LastWill {
        let posting = posting(topic);
        LastWill { posting, of: None }
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
        due.map(|(_, it)| it.posting.message.topic).collect()
    }

    #[test]
    fn a_will_is_due_after_its_delay_unless_its_session_goes_on() {
        let wills = Wills::default();
        for (client_id, at) in [("a", 5), ("b", 3), ("c", 4)] {
            wills.wait(key(client_id), UnixMillis::new(at), will(client_id));
        }
        assert!(wills.take(&key("c")).is_some());
        assert!(wills.take(&key("c")).is_none());
        assert_eq!(due(&wills, 2), [""; 0]);
        assert_eq!(due(&wills, 4), ["b"]);
        wills.wait(key("a"), UnixMillis::new(9), will("newer"));
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
