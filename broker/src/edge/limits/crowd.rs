//! Who is connected from where and at which port, and how often they come.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Bucket, CrowdOptions, PortOptions, Ports};
use crate::auth::Origin;
use crate::edge::counters::Count;
use crate::transport::Port;

/// Origins that came of late and are gone again at most; then all of them begin anew.
const REMEMBERED_MAX: usize = 65_536;

/// Why a connection is one too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Crowded {
    #[error(
        "as many connections come from this address as limits.connections_per_address_max allows"
    )]
    Address,
    #[error("as many connections came in at this port as its connections_max allows")]
    Port,
    #[error("this user has as many connections as limits.connections_per_user_max allows")]
    User,
    #[error("connections come too often; try again later")]
    Rate,
    #[error("the broker has too much to do; try again later")]
    Overload,
}

impl Crowded {
    /// By what it is counted.
    pub(crate) fn count(self) -> Count {
        match self {
            Self::Rate => Count::ConnectRate,
            Self::Overload => Count::ConnectOverload,
            Self::Address | Self::Port | Self::User => Count::ConnectQuota,
        }
    }
}

/// All connections, by origin, by port and by user.
#[derive(Debug)]
pub(crate) struct Crowd {
    options: CrowdOptions,
    ports: Ports,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    origins: HashMap<Origin, u32>,
    ports: HashMap<Port, u32>,
    users: HashMap<Arc<str>, u32>,
    rates: HashMap<Origin, Bucket>,
    port_rates: HashMap<Port, Bucket>,
    rate: Option<Bucket>,
}

/// One connection of an origin at a port; dropped, it is gone.
#[derive(Debug, Default)]
pub(crate) struct Seat {
    /// None if it is not counted.
    crowd: Option<Arc<Crowd>>,
    origin: Option<Origin>,
    port: Option<Port>,
}

/// One connection of a user; dropped, it is gone.
#[derive(Debug)]
pub(crate) struct UserSeat(Option<(Arc<Crowd>, Arc<str>)>);

impl Crowd {
    /// Nobody is here.
    pub(crate) fn new(options: CrowdOptions, ports: Ports) -> Self {
        Self {
            options,
            ports,
            state: Mutex::default(),
        }
    }

    /// A connection comes. Those of a Unix socket have no address to be counted by.
    pub(crate) fn enter(
        self: &Arc<Self>,
        origin: Origin,
        port: Option<Port>,
        now: Instant,
    ) -> Result<Seat, Crowded> {
        let own = port.and_then(|port| Some((port, self.ports.get(&port)?)));
        let mut state = self.lock();
        state.may_come(&self.options, origin, own, now)?;
        let port = own.filter(|(_, own)| own.connections_max > 0);
        if let Some((port, own)) = port
            && !count_in(&mut state.ports, port, own.connections_max)
        {
            return Err(Crowded::Port);
        }
        let port = port.map(|(port, _)| port);
        let max = self.options.per_address_max;
        let origin = (max > 0 && origin != Origin::Local).then_some(origin);
        if let Some(origin) = origin
            && !count_in(&mut state.origins, origin, max)
        {
            let port = port.iter();
            port.for_each(|port| count_out(&mut state.ports, port));
            return Err(Crowded::Address);
        }
        let is_counted = port.is_some() || origin.is_some();
        Ok(Seat {
            crowd: is_counted.then(|| Arc::clone(self)),
            origin,
            port,
        })
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
    /// Whoever is held back at an address or a port takes nothing of what all have together.
    fn may_come(
        &mut self,
        options: &CrowdOptions,
        origin: Origin,
        own: Option<(Port, &PortOptions)>,
        now: Instant,
    ) -> Result<(), Crowded> {
        if options.per_address_per_s > 0 && origin != Origin::Local {
            self.forget_rates(now);
            let bucket = self.rates.entry(origin);
            admit(
                bucket.or_insert_with(|| full(options.per_address_per_s, now)),
                now,
            )?;
        }
        if let Some((port, own)) = own.filter(|(_, own)| own.connections_per_s > 0) {
            let bucket = self.port_rates.entry(port);
            admit(
                bucket.or_insert_with(|| full(own.connections_per_s, now)),
                now,
            )?;
        }
        if options.per_s > 0 {
            let bucket = self.rate.get_or_insert_with(|| full(options.per_s, now));
            admit(bucket, now)?;
        }
        Ok(())
    }

    fn forget_rates(&mut self, now: Instant) {
        if self.rates.len() >= REMEMBERED_MAX {
            self.rates.retain(|_, bucket| !bucket.is_full(now));
        }
        if self.rates.len() >= REMEMBERED_MAX {
            self.rates.clear();
        }
    }
}

fn admit(bucket: &mut Bucket, now: Instant) -> Result<(), Crowded> {
    match bucket.admits(now) {
        true => Ok(()),
        false => Err(Crowded::Rate),
    }
}

/// A second's worth may come at once.
fn full(per_s: u32, now: Instant) -> Bucket {
    let begin = now.checked_sub(Duration::from_secs(1)).unwrap_or(now);
    Bucket::new(u64::from(per_s), begin)
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

impl Drop for Seat {
    fn drop(&mut self) {
        let Some(crowd) = self.crowd.take() else {
            return;
        };
        let mut state = crowd.lock();
        let (origin, port) = (self.origin.iter(), self.port.iter());
        origin.for_each(|origin| count_out(&mut state.origins, origin));
        port.for_each(|port| count_out(&mut state.ports, port));
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

    fn from(last: u8) -> Origin {
        Origin::of(Some([10, 0, 0, last].into()))
    }

    fn crowd(options: CrowdOptions) -> Arc<Crowd> {
        Arc::new(Crowd::new(options, Ports::new()))
    }

    #[test]
    fn g10_an_address_and_a_user_have_so_many_connections_until_some_go() {
        let crowd = crowd(CrowdOptions {
            per_address_max: 2,
            per_user_max: 1,
            ..CrowdOptions::default()
        });
        let now = Instant::now();
        let first = crowd.enter(from(1), None, now).unwrap();
        let _second = crowd.enter(from(1), None, now).unwrap();
        assert_eq!(
            crowd.enter(from(1), None, now).unwrap_err(),
            Crowded::Address
        );
        assert!(crowd.enter(from(2), None, now).is_ok());
        assert!((0..9).all(|_| crowd.enter(Origin::Local, None, now).is_ok()));
        drop(first);
        assert!(crowd.enter(from(1), None, now).is_ok());
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
                .filter(|_| crowd.enter(from(last), None, at).is_ok())
                .count()
        };
        assert_eq!((come(1, now), come(2, now), come(3, now)), (3, 2, 0));
        assert_eq!(come(1, now + Duration::from_millis(400)), 1);
    }

    fn port(connections_max: u32, connections_per_s: u32) -> PortOptions {
        PortOptions {
            connections_max,
            connections_per_s,
            connect_timeout: Duration::from_secs(1),
            packet_bytes_max: 2_048,
            publish_messages_per_s: 0,
            publish_bytes_per_s: 0,
        }
    }

    #[test]
    fn g10_a_port_has_so_many_connections_and_other_ports_do_not_wait() {
        let options = CrowdOptions {
            per_address_max: 3,
            ..CrowdOptions::default()
        };
        let ports = Ports::from([(Port::MqttTls, port(2, 0)), (Port::MqttUnix, port(1, 0))]);
        let crowd = Arc::new(Crowd::new(options, ports));
        let now = Instant::now();
        let come = |origin, port| crowd.enter(origin, Some(port), now);
        let one = come(from(1), Port::MqttTls).unwrap();
        let _two = come(from(2), Port::MqttTls).unwrap();
        assert_eq!(come(from(3), Port::MqttTls).unwrap_err(), Crowded::Port);
        let _local = come(Origin::Local, Port::MqttUnix).unwrap();
        assert_eq!(
            come(Origin::Local, Port::MqttUnix).unwrap_err(),
            Crowded::Port
        );
        let others: Vec<_> = (0..2).map(|_| come(from(1), Port::Mqtt).unwrap()).collect();
        drop(one);
        // Whoever is one too many of its address takes no place at the port.
        let _third = come(from(1), Port::Mqtt).unwrap();
        assert_eq!(come(from(1), Port::MqttTls).unwrap_err(), Crowded::Address);
        assert!(come(from(4), Port::MqttTls).is_ok());
        drop(others);
        assert_eq!(crowd.lock().ports[&Port::MqttTls], 1);
    }

    #[test]
    fn g10_connections_come_to_a_port_at_a_bounded_rate_and_take_nothing_of_others() {
        let options = CrowdOptions {
            per_s: 5,
            ..CrowdOptions::default()
        };
        let ports = Ports::from([(Port::Http, port(0, 2))]);
        let crowd = Arc::new(Crowd::new(options, ports));
        let now = Instant::now() + Duration::from_secs(9);
        let come = |port| {
            let came = (0..9).filter(|_| crowd.enter(from(1), Some(port), now).is_ok());
            came.count()
        };
        assert_eq!((come(Port::Http), come(Port::Mqtt)), (2, 3));
    }
}
