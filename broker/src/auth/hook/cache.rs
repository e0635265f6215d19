//! Who was vouched for of late. Pure: `now` comes in. Nothing of what they showed is kept, only a hash with a key that is in no
//! file and nowhere outside this process.

use std::collections::{HashMap, VecDeque};

use ring::hmac;
use ring::rand::SystemRandom;
use syncline_protocol::UnixMillis;

use super::Vouched;
use crate::auth::{Credentials, Secret};

type Key = [u8; 32];

/// The cache.
pub(super) struct Cache {
    /// None: there is no randomness, so nothing is kept.
    hash: Option<hmac::Key>,
    keep_ms: u64,
    max: usize,
    entries: HashMap<Key, (UnixMillis, Vouched)>,
    order: VecDeque<Key>,
    age: Age,
}

/// How often everything was forgotten. An answer to a question of an earlier age is kept no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Age(u64);

impl Cache {
    pub(super) fn new(keep_ms: u64, max: usize) -> Self {
        Self {
            hash: hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok(),
            keep_ms,
            max,
            entries: HashMap::new(),
            order: VecDeque::new(),
            age: Age(0),
        }
    }

    /// To be remembered while somebody is asked about.
    pub(super) fn age(&self) -> Age {
        self.age
    }

    pub(super) fn get(&self, credentials: &Credentials, now: UnixMillis) -> Option<&Vouched> {
        let key = self.key(credentials)?;
        let (until, vouched) = self.entries.get(&key)?;
        let counts = *until > now && vouched.expires_at.is_none_or(|at| at > now);
        counts.then_some(vouched)
    }

    /// An answer to what was asked at `now` and in an age. The one that came first goes first.
    pub(super) fn put(
        &mut self,
        asked_in: Age,
        credentials: &Credentials,
        vouched: Vouched,
        now: UnixMillis,
    ) {
        let is_kept = self.keep_ms > 0 && self.age == asked_in;
        let Some(key) = self.key(credentials).filter(|_| is_kept) else {
            return;
        };
        let entry = (now.plus(self.keep_ms), vouched);
        if self.entries.insert(key, entry).is_some() {
            return;
        }
        self.order.push_back(key);
        if self.order.len() > self.max
            && let Some(oldest) = self.order.pop_front()
        {
            self.entries.remove(&oldest);
        }
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.order.clear();
        self.age = Age(self.age.0 + 1);
    }

    /// Of everything that is asked about, each with its length, so that no two run together.
    fn key(&self, credentials: &Credentials) -> Option<Key> {
        let mut hash = hmac::Context::with_key(self.hash.as_ref()?);
        let caller = &credentials.caller;
        let address = caller.address.map(|it| it.ip().to_string());
        let certificate = caller.certificate.as_ref().map(|it| it.subject.as_bytes());
        for part in [
            credentials.user.as_ref().map(String::as_bytes),
            credentials.password.as_ref().map(Secret::expose),
            credentials.client_id.as_ref().map(String::as_bytes),
            address.as_ref().map(String::as_bytes),
            certificate,
        ] {
            let length = part.map_or(u64::MAX, |part| part.len() as u64);
            hash.update(&length.to_be_bytes());
            hash.update(part.unwrap_or_default());
        }
        hash.sign().as_ref().try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acl::Rights;

    fn shows(user: &str, password: &str) -> Credentials {
        Credentials {
            user: Some(user.to_owned()),
            password: Some(Secret::new(password)),
            ..Credentials::default()
        }
    }

    fn vouched(expires_at: Option<u64>) -> Vouched {
        Vouched {
            user: "ana".to_owned(),
            rights: Rights::default(),
            expires_at: expires_at.map(UnixMillis::new),
        }
    }

    #[test]
    fn wall_10_it_answers_for_the_same_and_for_a_while() {
        let at = UnixMillis::new;
        let mut cache = Cache::new(1_000, 2);
        cache.put(Age(0), &shows("ana", "right"), vouched(None), at(0));
        assert!(cache.get(&shows("ana", "right"), at(999)).is_some());
        for other in [
            shows("ana", "wrong"),
            shows("anar", "ight"),
            shows("", "anaright"),
        ] {
            assert!(cache.get(&other, at(0)).is_none());
        }
        let mut elsewhere = shows("ana", "right");
        elsewhere.caller.address = Some(([10, 0, 0, 1], 1).into());
        assert!(cache.get(&elsewhere, at(0)).is_none());
        assert!(cache.get(&shows("ana", "right"), at(1_000)).is_none());
        cache.put(Age(0), &shows("bob", "b"), vouched(Some(500)), at(0));
        assert!(cache.get(&shows("bob", "b"), at(499)).is_some());
        assert!(cache.get(&shows("bob", "b"), at(500)).is_none());
    }

    #[test]
    fn g10_it_is_bounded_and_can_be_off() {
        let at = UnixMillis::new(0);
        let mut cache = Cache::new(1_000, 2);
        for user in ["a", "b", "b", "c"] {
            cache.put(Age(0), &shows(user, ""), vouched(None), at);
        }
        assert_eq!((cache.entries.len(), cache.order.len()), (2, 2));
        assert!(cache.get(&shows("a", ""), at).is_none());
        cache.clear();
        assert!(cache.get(&shows("c", ""), at).is_none());
        let mut off = Cache::new(0, 2);
        off.put(Age(0), &shows("a", ""), vouched(None), at);
        assert!(off.entries.is_empty());
    }

    #[test]
    fn wall_10_an_answer_that_was_asked_for_before_a_reload_is_not_kept() {
        let at = UnixMillis::new(0);
        let mut cache = Cache::new(1_000, 2);
        let asked_in = cache.age();
        cache.clear();
        cache.put(asked_in, &shows("ana", "right"), vouched(None), at);
        assert!(cache.get(&shows("ana", "right"), at).is_none());
        let asked_in = cache.age();
        cache.put(asked_in, &shows("ana", "right"), vouched(None), at);
        assert!(cache.get(&shows("ana", "right"), at).is_some());
    }
}
