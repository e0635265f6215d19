//! Whose a device is: per sync group the first authenticated principal that used it (EVENT-11).

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock};

use syncline_protocol::{DeviceId, StreamId, SyncId};

use crate::acl::Principal;

/// Devices that are remembered of one principal at most; of the one that was bound longest ago it is forgotten whose it is.
const OF_ONE_MAX: usize = 1_024;

/// All devices with an owner.
#[derive(Debug, Default)]
pub(crate) struct Devices {
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    owners: HashMap<SyncId, HashMap<DeviceId, Arc<str>>>,
    /// In the order in which they were bound.
    of: HashMap<Arc<str>, VecDeque<(SyncId, DeviceId)>>,
}

impl Devices {
    /// A principal uses a device in a group: whether it may. From the first time on nobody else may, if it may write there:
    /// whoever only reads has no changes of its own to guard, and could take the device of one who has.
    pub(crate) fn claim(&self, who: &Principal, group: &SyncId, device: DeviceId) -> bool {
        if let Some(owner) = self.owner(group, device) {
            return *owner == *who.name();
        }
        if who.is_authenticated() && may_write(who, group) {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            return *state.bind(who.name(), group, device) == *who.name();
        }
        true
    }

    /// Whether what concerns a device is for this principal.
    pub(crate) fn are_open_to(&self, who: &Principal, group: &SyncId, device: DeviceId) -> bool {
        let owner = self.owner(group, device);
        owner.is_none_or(|owner| *owner == *who.name())
    }

    fn owner(&self, group: &SyncId, device: DeviceId) -> Option<Arc<str>> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.owners.get(group)?.get(&device).cloned()
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
    /// The owner from now on.
    fn bind(&mut self, name: &str, group: &SyncId, device: DeviceId) -> Arc<str> {
        let owner = self.owners.get(group).and_then(|it| it.get(&device));
        if let Some(owner) = owner {
            return Arc::clone(owner);
        }
        let known = self.of.get_key_value(name);
        let name = known.map_or_else(|| name.into(), |(name, _)| Arc::clone(name));
        let places = self.of.entry(Arc::clone(&name)).or_default();
        places.push_back((group.clone(), device));
        if places.len() > OF_ONE_MAX
            && let Some(oldest) = places.pop_front()
        {
            self.forget(&oldest);
        }
        let devices = self.owners.entry(group.clone()).or_default();
        devices.insert(device, Arc::clone(&name));
        name
    }

    fn forget(&mut self, (group, device): &(SyncId, DeviceId)) {
        if let Some(devices) = self.owners.get_mut(group) {
            devices.remove(device);
            if devices.is_empty() {
                self.owners.remove(group);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acl::Grant;

    fn who(name: &str) -> Principal {
        Principal::new(name.to_owned(), Grant::All, false)
    }

    fn device(n: usize) -> DeviceId {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        DeviceId::from_bytes(bytes)
    }

    #[test]
    fn event_11_a_device_is_the_first_authenticated_principals_per_group() {
        let devices = Devices::default();
        let [home, office]: [SyncId; 2] = ["home", "office"].map(|it| it.parse().unwrap());
        assert!(devices.claim(&who(""), &home, device(1)), "binds nothing");
        assert!(devices.claim(&who("ana"), &home, device(1)));
        assert!(!devices.claim(&who("bob"), &home, device(1)));
        assert!(!devices.claim(&who(""), &home, device(1)));
        assert!(devices.claim(&who("ana"), &home, device(1)));
        assert!(devices.claim(&who("bob"), &office, device(1)));
        assert!(devices.are_open_to(&who("ana"), &home, device(1)));
        assert!(!devices.are_open_to(&who("bob"), &home, device(1)));
        assert!(devices.are_open_to(&who(""), &home, device(2)));
    }

    #[test]
    fn g10_one_principal_binds_a_bounded_number() {
        let devices = Devices::default();
        let home: SyncId = "home".parse().unwrap();
        assert!(devices.claim(&who("bob"), &home, device(0)));
        (1..=2 * OF_ONE_MAX).for_each(|n| assert!(devices.claim(&who("ana"), &home, device(n))));
        let bound = devices.state.read().unwrap().owners[&home].len();
        assert_eq!(bound, OF_ONE_MAX + 1);
        assert!(
            !devices.claim(&who("ana"), &home, device(0)),
            "others keep theirs"
        );
    }
}
