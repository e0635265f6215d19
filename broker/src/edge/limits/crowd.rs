//! Who is connected from where, and how often they come.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::{Bucket, CrowdOptions};
use crate::auth::Origin;
use crate::edge::counters::Count;

/// Origins that came of late and are gone again at most; then all of them begin anew.
const REMEMBERED_MAX: usize = 65_536;

/// Why a connection is one too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Crowded {
    #[error(
        "as many connections come from this address as limits.connections_per_address_max allows"
    )]
    Address,
    #[error("this user has as many connections as limits.connections_per_user_max allows")]
    User,
    #[error("connections come too often; try again later")]
    Rate,
}

impl Crowded {
    /// By what it is counted.
    pub(crate) fn count(self) -> Count {
        match self {
            Self::Rate => Count::ConnectRate,
            Self::Address | Self::User => Count::ConnectQuota,
        }
    }
}

/// All connections, by origin and by user.
#[derive(Debug)]
pub(crate) struct Crowd {
    options: CrowdOptions,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    origins: HashMap<Origin, u32>,
    users: HashMap<Arc<str>, u32>,
    rates: HashMap<Origin, Bucket>,
    rate: Option<Bucket>,
}

/// One connection of an origin; dropped, it is gone.
#[derive(Debug)]
pub(crate) struct OriginSeat(Option<(Arc<Crowd>, Origin)>);

/// One connection of a user; dropped, it is gone.
#[derive(Debug)]
pub(crate) struct UserSeat(Option<(Arc<Crowd>, Arc<str>)>);

impl Crowd {
    /// Nobody is here.
    pub(crate) fn new(options: CrowdOptions) -> Self {
        Self {
            options,
            state: Mutex::default(),
        }
    }

    /// A connection comes. Those of a Unix socket have no address to be counted by.
    pub(crate) fn enter(
        self: &Arc<Self>,
        origin: Origin,
        now: Instant,
    ) -> Result<OriginSeat, Crowded> {
        let mut state = self.lock();
        state.may_come(&self.options, origin, now)?;
        if self.options.per_address_max == 0 || origin == Origin::Local {
            return Ok(OriginSeat(None));
        }
        match count_in(&mut state.origins, origin, self.options.per_address_max) {
            true => Ok(OriginSeat(Some((Arc::clone(self), origin)))),
            false => Err(Crowded::Address),
        }
    }

    /// A connection is a user's. One that `takes_over` is not too many, because another one ends for it.
    pub(crate) fn know(
        self: &Arc<Self>,
        user: &str,
        takes_over: bool,
    ) -> Result<UserSeat, Crowded> {
        if self.options.per_user_max == 0 || user.is_empty() {
            return Ok(UserSeat(None));
        }
        let user: Arc<str> = user.into();
        let mut state = self.lock();
        let max = match takes_over {
            true => u32::MAX,
            false => self.options.per_user_max,
        };
        match count_in(&mut state.users, Arc::clone(&user), max) {
            true => Ok(UserSeat(Some((Arc::clone(self), user)))),
            false => Err(Crowded::User),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn may_come(
        &mut self,
        options: &CrowdOptions,
        origin: Origin,
        now: Instant,
    ) -> Result<(), Crowded> {
        if options.per_address_per_s > 0 && origin != Origin::Local {
            if self.rates.len() >= REMEMBERED_MAX {
                self.rates.retain(|_, bucket| !bucket.is_full(now));
            }
            if self.rates.len() >= REMEMBERED_MAX {
                self.rates.clear();
            }
            let per_s = u64::from(options.per_address_per_s);
            let bucket = self.rates.entry(origin);
            if !bucket
                .or_insert(Bucket::new(per_s, before(now)))
                .admits(now)
            {
                return Err(Crowded::Rate);
            }
        }
        if options.per_s > 0 {
            let per_s = u64::from(options.per_s);
            let bucket = self.rate.get_or_insert(Bucket::new(per_s, before(now)));
            if !bucket.admits(now) {
                return Err(Crowded::Rate);
            }
        }
        Ok(())
    }
}

/// A bucket that begins here is full now.
fn before(now: Instant) -> Instant {
    now.checked_sub(std::time::Duration::from_secs(1))
        .unwrap_or(now)
}

fn count_in<K: Eq + Hash>(counts: &mut HashMap<K, u32>, key: K, max: u32) -> bool {
    let count = counts.entry(key).or_default();
    let has_room = *count < max;
    *count += u32::from(has_room);
    has_room
}

fn count_out<K: Eq + Hash>(counts: &mut HashMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

impl OriginSeat {
    /// One that is not counted.
    pub(crate) fn free() -> Self {
        Self(None)
    }
}

impl Drop for OriginSeat {
    fn drop(&mut self) {
        if let Some((crowd, origin)) = self.0.take() {
            count_out(&mut crowd.lock().origins, &origin);
        }
    }
}

impl Drop for UserSeat {
    fn drop(&mut self) {
        if let Some((crowd, user)) = self.0.take() {
            count_out(&mut crowd.lock().users, &user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn from(last: u8) -> Origin {
        Origin::of(Some([10, 0, 0, last].into()))
    }

    fn crowd(options: CrowdOptions) -> Arc<Crowd> {
        Arc::new(Crowd::new(options))
    }

    #[test]
    fn g10_an_address_and_a_user_have_so_many_connections_until_some_go() {
        let crowd = crowd(CrowdOptions {
            per_address_max: 2,
            per_user_max: 1,
            ..CrowdOptions::default()
        });
        let now = Instant::now();
        let first = crowd.enter(from(1), now).unwrap();
        let _second = crowd.enter(from(1), now).unwrap();
        assert_eq!(crowd.enter(from(1), now).unwrap_err(), Crowded::Address);
        assert!(crowd.enter(from(2), now).is_ok());
        assert!((0..9).all(|_| crowd.enter(Origin::Local, now).is_ok()));
        drop(first);
        assert!(crowd.enter(from(1), now).is_ok());
        let ana = crowd.know("ana", false).unwrap();
        assert_eq!(crowd.know("ana", false).unwrap_err(), Crowded::User);
        assert!(crowd.know("ana", true).is_ok());
        let _all: Vec<_> = (0..9).map(|_| crowd.know("", false).unwrap()).collect();
        drop(ana);
        assert!(crowd.know("ana", false).is_ok());
        assert!(
            crowd.lock().users.is_empty(),
            "nothing stays of who is gone"
        );
    }

    #[test]
    fn g10_connections_come_at_a_bounded_rate_by_address_and_in_all() {
        let crowd = crowd(CrowdOptions {
            per_address_per_s: 3,
            per_s: 5,
            ..CrowdOptions::default()
        });
        let now = Instant::now() + Duration::from_secs(9);
        let come = |last, at| {
            (0..9)
                .filter(|_| crowd.enter(from(last), at).is_ok())
                .count()
        };
        assert_eq!((come(1, now), come(2, now), come(3, now)), (3, 2, 0));
        assert_eq!(come(1, now + Duration::from_millis(400)), 1);
    }
}
