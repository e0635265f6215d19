//! The rows of devices.

use std::ops::Bound;

use redb::{ReadTransaction, WriteTransaction};
use syncline_protocol::{DeviceId, Presence, SyncId, UnixMillis};

use super::{DeviceNames, OWNERS, PRESENCES};
use crate::store::redb::tables::corrupted;
use crate::store::sessions::{DeviceKey, SessionChange, StoredOwner, StoredPresence};

/// Makes a change of a device; of others there is nothing to do.
pub(super) fn change(txn: &WriteTransaction, change: &SessionChange) -> Result<(), redb::Error> {
    match change {
        SessionChange::Own(it) => {
            let columns = (it.owner.as_str(), it.used_at.get());
            txn.open_table(OWNERS)?.insert(names(&it.key), columns)?;
        }
        SessionChange::Disown(key) => drop(txn.open_table(OWNERS)?.remove(names(key))?),
        SessionChange::Attend(it) => {
            let row = it.presence.encode();
            let mut table = txn.open_table(PRESENCES)?;
            table.insert(names(&it.key()), row.as_slice())?;
        }
        SessionChange::Depart(key) => drop(txn.open_table(PRESENCES)?.remove(names(key))?),
        _ => {}
    }
    Ok(())
}

pub(super) fn owners(
    txn: &ReadTransaction,
    after: Option<&DeviceKey>,
    limit: usize,
) -> Result<Vec<StoredOwner>, redb::Error> {
    let table = txn.open_table(OWNERS)?;
    let found = table.range::<DeviceNames<'_>>((start(after), Bound::Unbounded))?;
    let read = |entry: Result<(redb::AccessGuard<'_, _>, redb::AccessGuard<'_, _>), _>| {
        let (key, columns) = entry?;
        let (owner, used_at): (&str, u64) = columns.value();
        Ok(StoredOwner {
            key: read_key(key.value())?,
            owner: owner.to_owned(),
            used_at: UnixMillis::new(used_at),
        })
    };
    found.take(limit).map(read).collect()
}

pub(super) fn presences(
    txn: &ReadTransaction,
    after: Option<&DeviceKey>,
    limit: usize,
) -> Result<Vec<StoredPresence>, redb::Error> {
    let table = txn.open_table(PRESENCES)?;
    let found = table.range::<DeviceNames<'_>>((start(after), Bound::Unbounded))?;
    let read = |entry: Result<(redb::AccessGuard<'_, _>, redb::AccessGuard<'_, &[u8]>), _>| {
        let (key, row) = entry?;
        Ok(StoredPresence {
            group: read_key(key.value())?.group,
            presence: Presence::decode(row.value())
                .map_err(|_| corrupted("the presence of a device"))?,
        })
    };
    found.take(limit).map(read).collect()
}

/// Forgets a group's devices; how many rows those were.
pub(super) fn erase(txn: &WriteTransaction, group: &SyncId) -> Result<usize, redb::Error> {
    let mut erased = 0;
    let mut goes = |(of, _): DeviceNames<'_>| {
        let goes = of == group.as_str();
        erased += usize::from(goes);
        !goes
    };
    txn.open_table(OWNERS)?.retain(|key, _| goes(key))?;
    txn.open_table(PRESENCES)?.retain(|key, _| goes(key))?;
    Ok(erased)
}

fn start(after: Option<&DeviceKey>) -> Bound<DeviceNames<'_>> {
    after.map_or(Bound::Unbounded, |key| Bound::Excluded(names(key)))
}

fn names(key: &DeviceKey) -> DeviceNames<'_> {
    (key.group.as_str(), *key.device.as_bytes())
}

fn read_key((group, device): DeviceNames<'_>) -> Result<DeviceKey, redb::Error> {
    Ok(DeviceKey {
        group: group
            .parse()
            .map_err(|_| corrupted("the key of a device"))?,
        device: DeviceId::from_bytes(device),
    })
}
