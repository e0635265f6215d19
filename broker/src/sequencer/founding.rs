//! How many streams may begin: in all, and by whom in an hour. Pure: `now` comes in.

use std::collections::HashMap;

use syncline_protocol::{RefusalName, Refused, UnixMillis};

/// Over how long a user's streams are counted.
const HOUR_MS: u64 = 3_600_000;

/// Users that are remembered at most; then all of them begin anew.
const REMEMBERED_MAX: usize = 65_536;

/// Limits on streams that begin; 0 is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FoundingOptions {
    /// Streams in all.
    pub streams_max: u64,
    /// Streams of one user in an hour. Those who are nobody in particular are one user.
    pub per_user_per_h: u64,
}

/// Counts the streams that begin.
#[derive(Debug)]
pub(crate) struct Founding {
    options: FoundingOptions,
    streams: u64,
    /// When all that a user began would have begun at the rate.
    users: HashMap<String, u64>,
    /// Who began those that are not kept yet.
    pending: Vec<String>,
}

impl Founding {
    /// There are so many streams.
    pub(crate) fn new(options: FoundingOptions, streams: u64) -> Self {
        Self {
            options,
            streams,
            users: HashMap::new(),
            pending: Vec::new(),
        }
    }

    /// Whether streams are counted at all.
    pub(crate) fn counts_all(&self) -> bool {
        self.options.streams_max > 0
    }

    /// There are so many streams now.
    pub(crate) fn recount(&mut self, streams: u64) {
        self.streams = streams;
    }

    /// Whether one more stream may begin.
    pub(crate) fn admits(&mut self, user: &str, now: UnixMillis) -> Result<(), Refused> {
        let refuse = |reason: &str| Err(Refused::new(RefusalName::QuotaExceeded, reason));
        if self.counts_all() && self.streams >= self.options.streams_max {
            return refuse("there are as many streams as limits.streams_max allows");
        }
        if self.paid_at(user, now) > now.get() {
            return refuse(
                "this user has begun as many streams in an hour as limits.streams_per_user_per_h allows",
            );
        }
        Ok(())
    }

    /// All that began is kept.
    pub(crate) fn settled(&mut self) {
        self.pending.clear();
    }

    /// What began since then is not kept.
    pub(crate) fn undo(&mut self) {
        let each_ms = HOUR_MS.checked_div(self.options.per_user_per_h);
        for user in self.pending.drain(..) {
            self.streams = self.streams.saturating_sub(1);
            if let Some(paid_at) = self.users.get_mut(&user) {
                *paid_at = paid_at.saturating_sub(each_ms.unwrap_or(0));
            }
        }
    }

    /// One more begins.
    pub(crate) fn begun(&mut self, user: &str, now: UnixMillis) {
        if self.options == FoundingOptions::default() {
            return;
        }
        self.streams += 1;
        self.pending.push(user.to_owned());
        if self.options.per_user_per_h == 0 {
            return;
        }
        if self.users.len() >= REMEMBERED_MAX {
            self.users
                .retain(|_, paid_at| *paid_at + HOUR_MS > now.get());
        }
        if self.users.len() >= REMEMBERED_MAX {
            self.users.clear();
        }
        let paid_at = self.paid_at(user, now);
        self.users.insert(user.to_owned(), paid_at);
    }

    /// When all that a user began, and one more, would have begun at the rate; an hour's worth may come at once.
    fn paid_at(&self, user: &str, now: UnixMillis) -> u64 {
        let Some(each_ms) = HOUR_MS.checked_div(self.options.per_user_per_h) else {
            return 0;
        };
        let from = now.get().saturating_sub(HOUR_MS);
        self.users.get(user).copied().unwrap_or(0).max(from) + each_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(founding: &mut Founding, user: &str, at: u64) -> bool {
        let now = UnixMillis::new(10 * HOUR_MS + at);
        let admitted = founding.admits(user, now);
        if let Err(refused) = &admitted {
            assert_eq!(refused.name, RefusalName::QuotaExceeded);
        } else {
            founding.begun(user, now);
        }
        admitted.is_ok()
    }

    #[test]
    fn g10_a_user_begins_so_many_streams_in_an_hour_and_others_do_not_wait() {
        let options = FoundingOptions {
            per_user_per_h: 6,
            ..FoundingOptions::default()
        };
        let mut founding = Founding::new(options, 0);
        let mut begun = |user, at| (0..9).filter(|_| begin(&mut founding, user, at)).count();
        assert_eq!((begun("ana", 0), begun("", 0), begun("ana", 0)), (6, 6, 0));
        assert_eq!(begun("ana", HOUR_MS / 6), 1);
        assert_eq!(begun("ana", 3 * HOUR_MS), 6);
    }

    #[test]
    fn g10_there_are_so_many_streams_in_all() {
        let options = FoundingOptions {
            streams_max: 5,
            ..FoundingOptions::default()
        };
        let mut founding = Founding::new(options, 3);
        let begun = (0..9).filter(|at| begin(&mut founding, "", *at)).count();
        assert_eq!(begun, 2);
        founding.undo();
        assert_eq!((0..9).filter(|at| begin(&mut founding, "", *at)).count(), 2);
        founding.settled();
        founding.undo();
        assert!(!begin(&mut founding, "", 0), "what is kept stays counted");
        founding.recount(4);
        assert!(begin(&mut founding, "", 0) && !begin(&mut founding, "", 0));
    }
}
