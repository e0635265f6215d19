//! Of devices.

use std::collections::BTreeMap;

use syncline_protocol::{DeviceId, Presence};

use super::*;

fn device(group: &str, n: u8) -> DeviceKey {
    DeviceKey {
        group: group.parse().unwrap(),
        device: DeviceId::from_bytes([n; 16]),
    }
}

fn owned(group: &str, n: u8, owner: &str) -> StoredOwner {
    StoredOwner {
        key: device(group, n),
        owner: owner.to_owned(),
        used_at: UnixMillis::new(u64::from(n)),
    }
}

fn shown(group: &str, n: u8) -> StoredPresence {
    let DeviceKey { group, device } = device(group, n);
    let presence = Presence {
        device,
        online: n.is_multiple_of(2),
        since: UnixMillis::new(u64::from(n)),
        name: Some(format!("number {n}")),
        acked: BTreeMap::from([(String::new(), Seq::new(u64::from(n)).unwrap())]),
    };
    StoredPresence { group, presence }
}

pub(crate) fn g12_devices_have_owners_and_are_shown_after_reopening(
    harness: &mut dyn SessionHarness,
) {
    let changes = [
        SessionChange::Own(owned("home", 2, "eve")),
        SessionChange::Own(owned("home", 2, "ana")),
        SessionChange::Own(owned("home", 1, "ana")),
        SessionChange::Own(owned("gone", 3, "ana")),
        SessionChange::Own(owned("away", 1, "bob")),
        SessionChange::Disown(device("away", 1)),
        SessionChange::Attend(shown("home", 1)),
        SessionChange::Attend(shown("home", 4)),
        SessionChange::Attend(shown("gone", 1)),
        SessionChange::Attend(shown("away", 2)),
        SessionChange::Depart(device("away", 2)),
    ];
    write(harness, &changes);
    harness.reopen();
    let store = harness.store();
    assert_eq!(store.erase_group(&"gone".parse().unwrap()).unwrap(), 2);
    let [first, second] = [owned("home", 1, "ana"), owned("home", 2, "ana")];
    assert_eq!(store.owners(None, 1).unwrap(), std::slice::from_ref(&first));
    assert_eq!(store.owners(Some(&first.key), 9).unwrap(), [second]);
    let all = [shown("home", 1), shown("home", 4)];
    assert_eq!(store.presences(None, 9).unwrap(), all);
    let rest = store.presences(Some(&all[0].key()), 9).unwrap();
    assert_eq!(rest, all[1..]);
}
