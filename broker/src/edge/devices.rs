//! Whose a device is: per sync group the first authenticated principal that used it (EVENT-11). Known in memory, and on disk
//! so that a restart does not forget it.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use syncline_protocol::{DeviceId, StreamId, SyncId, UnixMillis};

use crate::acl::Principal;
use crate::store::sessions::{DeviceKey, SessionChange, StoredOwner};

/// Devices that are remembered of one principal at most; of the one that was used longest ago it is forgotten whose it is.
const OF_ONE_MAX: usize = 1_024;

/// When a device was used is written this often at most.
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// What comes of using a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It is another's.
    Refused,
    /// It may be used.
    Held,
    /// It may be used, and from now on by nobody else; that is not on disk yet.
    New,
}

/// All devices with an owner.
#[derive(Debug, Default)]
pub(crate) struct Devices {
    state: RwLock<State>,
    /// How long one that is not used is remembered.
    retention_ms: u64,
}

#[derive(Debug, Default)]
struct State {
    owners: HashMap<SyncId, HashMap<DeviceId, Owner>>,
    /// By when they were used.
    of: HashMap<Arc<str>, BTreeSet<(UnixMillis, DeviceKey)>>,
    /// Those of which the disk knows something else.
    unwritten: BTreeSet<DeviceKey>,
}

#[derive(Debug, Clone)]
struct Owner {
    name: Arc<str>,
    used_at: UnixMillis,
    receipt: Receipt,
}

/// Whether it is on disk whose a device is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Receipt(Arc<AtomicBool>);

impl Receipt {
    /// It is from now on.
    pub(crate) fn written(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is_written(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Devices {
    /// Nobody owns anything yet.
    pub(crate) fn new(retention: Duration) -> Self {
        Self {
            state: RwLock::default(),
            retention_ms: u64::try_from(retention.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// What an earlier run knew.
    pub(crate) fn found(&self, it: StoredOwner) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let receipt = Receipt::default();
        receipt.written();
        state.put(it.key, &it.owner, it.used_at, receipt);
    }

    /// A principal uses a device in a group. From the first time on nobody else may, if it may write there: whoever only
    /// reads has no changes of its own to guard, and could take the device of one who has.
    pub(crate) fn claim(
        &self,
        who: &Principal,
        group: &SyncId,
        device: DeviceId,
        now: UnixMillis,
    ) -> Claim {
        let owner = self.owner(group, device);
        match &owner {
            Some(owner) if *owner.name != *who.name() => return Claim::Refused,
            Some(owner) if owner.receipt.is_written() && now < owner.used_at.plus(DAY_MS) => {
                return Claim::Held;
            }
            Some(_) => {}
            None if who.is_authenticated() && may_write(who, group) => {}
            None => return Claim::Held,
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        // Another may have been first.
        let found = state.owner(group, device);
        if found.is_some_and(|it| *it.name != *who.name()) {
            return Claim::Refused;
        }
        let group = group.clone();
        let key = DeviceKey { group, device };
        match state.bind(key, who.name(), now).is_written() {
            true => Claim::Held,
            false => Claim::New,
        }
    }

    /// Whether there is something for [`Devices::take_unwritten`].
    pub(crate) fn owe(&self) -> bool {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        !state.unwritten.is_empty()
    }

    /// What is to be written since this was asked last, with the receipts to be made true once it is. To be written in the
    /// order in which it was taken.
    pub(crate) fn take_unwritten(&self) -> (Vec<SessionChange>, Vec<Receipt>) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let unwritten = std::mem::take(&mut state.unwritten);
        let receipts = unwritten.iter().filter_map(|key| state.owner_of(key));
        let receipts = receipts.map(|it| it.receipt.clone()).collect();
        let changes = unwritten.into_iter().map(|key| state.change(key));
        (changes.collect(), receipts)
    }

    /// The same of one device, if the disk may not know whose it is.
    pub(crate) fn take_one(&self, key: &DeviceKey) -> Option<(SessionChange, Receipt)> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let receipt = state.owner_of(key)?.receipt.clone();
        if receipt.is_written() {
            return None;
        }
        state.unwritten.remove(key);
        Some((state.change(key.clone()), receipt))
    }

    /// Whether what concerns a device is for this principal.
    pub(crate) fn are_open_to(&self, who: &Principal, group: &SyncId, device: DeviceId) -> bool {
        let owner = self.owner(group, device);
        owner.is_none_or(|owner| *owner.name == *who.name())
    }

    /// Forgets whose the devices are that nobody has used for long.
    pub(crate) fn forget_old(&self, now: UnixMillis) {
        let is_old = |used_at: UnixMillis| used_at.plus(self.retention_ms) <= now;
        let any = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let mut oldest = any.of.values().filter_map(BTreeSet::first);
        if !oldest.any(|(used_at, _)| is_old(*used_at)) {
            return;
        }
        drop(any);
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let all = state.of.values().flatten();
        let old: Vec<_> = all.filter(|(used_at, _)| is_old(*used_at)).collect();
        let old: Vec<_> = old.into_iter().map(|(_, key)| key.clone()).collect();
        old.iter().for_each(|key| state.forget(key));
    }

    /// Forgets whose the devices of a group are.
    pub(crate) fn forget_group(&self, group: &SyncId) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let devices = state.owners.get(group).into_iter().flatten();
        let keys = devices.map(|(device, _)| DeviceKey {
            group: group.clone(),
            device: *device,
        });
        let keys: Vec<_> = keys.collect();
        keys.iter().for_each(|key| state.forget(key));
    }

    fn owner(&self, group: &SyncId, device: DeviceId) -> Option<Owner> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.owner(group, device).cloned()
    }
}

fn may_write(who: &Principal, group: &SyncId) -> bool {
    let default = StreamId {
        sync_id: group.clone(),
        channel: None,
    };
    who.grant().writes(&default)
}

impl State {
    fn owner(&self, group: &SyncId, device: DeviceId) -> Option<&Owner> {
        self.owners.get(group)?.get(&device)
    }

    fn owner_of(&self, key: &DeviceKey) -> Option<&Owner> {
        self.owner(&key.group, key.device)
    }

    /// What tells the disk whose a device is now.
    fn change(&self, key: DeviceKey) -> SessionChange {
        match self.owner_of(&key) {
            Some(owner) => SessionChange::Own(StoredOwner {
                owner: owner.name.to_string(),
                used_at: owner.used_at,
                key,
            }),
            None => SessionChange::Disown(key),
        }
    }

    /// A device is somebody's, or was used again by whose it is.
    fn bind(&mut self, key: DeviceKey, name: &str, now: UnixMillis) -> Receipt {
        let known = self.owner_of(&key).map(|owner| owner.receipt.clone());
        let receipt = known.unwrap_or_default();
        self.unwritten.insert(key.clone());
        self.put(key, name, now, receipt.clone());
        let its = &self.of[name];
        let surplus = its.len().saturating_sub(OF_ONE_MAX);
        let surplus: Vec<_> = its.iter().take(surplus).map(|(_, it)| it.clone()).collect();
        surplus.iter().for_each(|key| self.forget(key));
        receipt
    }

    fn put(&mut self, key: DeviceKey, name: &str, used_at: UnixMillis, receipt: Receipt) {
        self.remove(&key);
        let known = self.of.get_key_value(name);
        let name = known.map_or_else(|| name.into(), |(name, _)| Arc::clone(name));
        let its = self.of.entry(Arc::clone(&name)).or_default();
        its.insert((used_at, key.clone()));
        let devices = self.owners.entry(key.group).or_default();
        let owner = Owner {
            name,
            used_at,
            receipt,
        };
        devices.insert(key.device, owner);
    }

    fn forget(&mut self, key: &DeviceKey) {
        self.unwritten.insert(key.clone());
        self.remove(key);
    }

    fn remove(&mut self, key: &DeviceKey) {
        let Some(devices) = self.owners.get_mut(&key.group) else {
            return;
        };
        let owner = devices.remove(&key.device);
        if devices.is_empty() {
            self.owners.remove(&key.group);
        }
        let Some(Owner { name, used_at, .. }) = owner else {
            return;
        };
        if let Some(its) = self.of.get_mut(&name) {
            its.remove(&(used_at, key.clone()));
            if its.is_empty() {
                self.of.remove(&name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acl::Grant;
    use crate::store::sessions::SessionStore;
    use crate::store::sessions::memory::MemorySessions;

    const RETENTION_MS: u64 = 10 * DAY_MS;

    /// With a disk.
    struct Rig {
        devices: Devices,
        disk: MemorySessions,
    }

    impl Rig {
        fn new() -> Rig {
            let devices = Devices::new(Duration::from_millis(RETENTION_MS));
            let disk = MemorySessions::default();
            Rig { devices, disk }
        }

        fn save(&self) {
            let (changes, receipts) = self.devices.take_unwritten();
            self.disk.write(&changes).unwrap();
            receipts.iter().for_each(Receipt::written);
        }

        fn claim(&self, name: &str, group: &str, device: usize, day: u64) -> Claim {
            let at = UnixMillis::new(day * DAY_MS);
            let DeviceKey { group, device } = key(group, device);
            let claim = self.devices.claim(&who(name), &group, device, at);
            self.save();
            claim
        }

        /// What a restart leaves.
        fn restarted(self) -> Rig {
            let next = Rig {
                disk: self.disk,
                ..Rig::new()
            };
            let found = next.disk.owners(None, usize::MAX).unwrap();
            found.into_iter().for_each(|it| next.devices.found(it));
            next
        }
    }

    fn who(name: &str) -> Principal {
        Principal::new(name.to_owned(), Grant::All, false)
    }

    fn key(group: &str, n: usize) -> DeviceKey {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        DeviceKey {
            group: group.parse().unwrap(),
            device: DeviceId::from_bytes(bytes),
        }
    }

    #[test]
    fn event_11_a_device_is_the_first_authenticated_principals_per_group_and_after_a_restart() {
        let rig = Rig::new();
        assert_eq!(rig.claim("", "home", 1, 0), Claim::Held, "binds nothing");
        assert_eq!(rig.claim("ana", "home", 1, 0), Claim::New);
        let rig = rig.restarted();
        assert_eq!(rig.claim("bob", "home", 1, 0), Claim::Refused);
        assert_eq!(rig.claim("", "home", 1, 0), Claim::Refused);
        assert_eq!(rig.claim("ana", "home", 1, 0), Claim::Held);
        assert_eq!(rig.claim("bob", "office", 1, 0), Claim::New);
        let open_to = |name, device| {
            let DeviceKey { group, device } = key("home", device);
            rig.devices.are_open_to(&who(name), &group, device)
        };
        assert!(open_to("ana", 1) && !open_to("bob", 1) && open_to("", 2));
    }

    #[test]
    fn g12_until_it_is_on_disk_whose_a_device_is_every_use_is_the_first_one() {
        let rig = Rig::new();
        let DeviceKey { group, device } = key("home", 1);
        let at = UnixMillis::new(5);
        let claim = || rig.devices.claim(&who("ana"), &group, device, at);
        assert_eq!((claim(), claim()), (Claim::New, Claim::New));
        // The disk fails.
        assert_eq!(rig.devices.take_unwritten().0.len(), 1);
        assert_eq!(claim(), Claim::New);
        let (own, receipt) = rig.devices.take_one(&key("home", 1)).unwrap();
        rig.disk.write(&[own]).unwrap();
        assert_eq!(claim(), Claim::New, "nobody told");
        receipt.written();
        assert_eq!(claim(), Claim::Held);
        assert_eq!(rig.disk.owners(None, 9).unwrap().len(), 1);
        assert!(rig.devices.take_one(&key("home", 1)).is_none());
        rig.save();
        assert!(!rig.devices.owe());
    }

    #[test]
    fn g10_one_principal_binds_a_bounded_number_and_what_it_uses_stays() {
        let rig = Rig::new();
        assert_eq!(rig.claim("bob", "home", 0, 0), Claim::New);
        (1..=OF_ONE_MAX).for_each(|n| assert_eq!(rig.claim("ana", "home", n, 1), Claim::New));
        assert_eq!(rig.claim("ana", "home", 1, 3), Claim::Held, "used again");
        assert_eq!(rig.claim("ana", "home", 5_000, 3), Claim::New);
        let rig = rig.restarted();
        assert_eq!(
            rig.devices.state.read().unwrap().of["ana"].len(),
            OF_ONE_MAX
        );
        assert_eq!(rig.claim("bob", "home", 1, 3), Claim::Refused);
        assert_eq!(rig.claim("bob", "home", 2, 3), Claim::New, "forgotten");
        assert_eq!(rig.claim("ana", "home", 0, 3), Claim::Refused);
    }

    #[test]
    fn event_11_what_is_not_used_for_long_and_what_is_erased_is_nobodys() {
        let rig = Rig::new();
        rig.claim("ana", "home", 1, 0);
        rig.claim("ana", "home", 2, 5);
        rig.claim("ana", "office", 3, 5);
        let at = |day: u64| UnixMillis::new(day * DAY_MS);
        rig.devices.forget_old(at(9));
        rig.save();
        assert_eq!(rig.disk.owners(None, 9).unwrap().len(), 3);
        rig.devices.forget_old(at(10));
        rig.devices.forget_group(&key("office", 3).group);
        rig.save();
        let left: Vec<_> = rig.disk.owners(None, 9).unwrap();
        assert_eq!(
            left.iter().map(|it| &it.key).collect::<Vec<_>>(),
            [&key("home", 2)]
        );
        assert_eq!(rig.claim("bob", "home", 1, 10), Claim::New);
        assert_eq!(rig.claim("bob", "office", 3, 10), Claim::New);
        assert_eq!(rig.claim("bob", "home", 2, 10), Claim::Refused);
    }
}
