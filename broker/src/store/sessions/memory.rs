//! Sessions without a disk, for tests and simulators.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use syncline_protocol::{StreamId, SyncId};

use super::message::QueueSum;
use super::{
    Cursor, DeviceKey, LoadedSession, Message, PacketId, Progress, QueueLimit, QueueNumber, Queued,
    SessionChange, SessionKey, SessionStore, StoredOwner, StoredPresence, StoredSession,
    StoredSubscription, Written, names_group,
};
use crate::store::{ReadLimit, StoreError};

/// Keeps everything in memory.
#[derive(Debug, Default)]
pub struct MemorySessions {
    image: Mutex<Image>,
}

#[derive(Debug, Clone, Default)]
struct Image {
    sessions: BTreeMap<SessionKey, Kept>,
    retained: BTreeMap<String, Message>,
    owners: BTreeMap<DeviceKey, StoredOwner>,
    presences: BTreeMap<DeviceKey, StoredPresence>,
}

#[derive(Debug, Clone)]
struct Kept {
    session: StoredSession,
    subscriptions: BTreeMap<String, StoredSubscription>,
    cursors: BTreeMap<(String, StreamId), Cursor>,
    packets: BTreeSet<PacketId>,
    queue: BTreeMap<u64, Message>,
    sum: QueueSum,
}

impl MemorySessions {
    /// Another one that holds the same and goes its own way.
    #[must_use]
    pub fn copy(&self) -> MemorySessions {
        MemorySessions {
            image: Mutex::new(self.image().clone()),
        }
    }

    fn image(&self) -> MutexGuard<'_, Image> {
        self.image.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionStore for MemorySessions {
    fn write(&self, changes: &[SessionChange]) -> Result<Written, StoreError> {
        let mut image = self.image();
        let mut written = Written::default();
        for (at, change) in changes.iter().enumerate() {
            if !image.change(change) {
                written.refused.push(at);
            }
        }
        Ok(written)
    }

    fn sessions(
        &self,
        after: Option<&SessionKey>,
        limit: usize,
    ) -> Result<Vec<StoredSession>, StoreError> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let image = self.image();
        let found = image
            .sessions
            .range::<SessionKey, _>((start, Bound::Unbounded));
        Ok(found
            .take(limit)
            .map(|(_, kept)| kept.session.clone())
            .collect())
    }

    fn load(&self, key: &SessionKey) -> Result<Option<LoadedSession>, StoreError> {
        let image = self.image();
        Ok(image.sessions.get(key).map(|kept| LoadedSession {
            session: kept.session.clone(),
            subscriptions: kept.subscriptions.values().cloned().collect(),
            cursors: kept.cursors.values().cloned().collect(),
            packets: kept.packets.iter().copied().collect(),
            queued_to: QueueNumber(kept.sum.last),
        }))
    }

    fn queued(
        &self,
        key: &SessionKey,
        after: QueueNumber,
        limit: ReadLimit,
    ) -> Result<Vec<Queued>, StoreError> {
        let image = self.image();
        let Some(kept) = image.sessions.get(key) else {
            return Ok(Vec::new());
        };
        let later = (Bound::Excluded(after.0), Bound::Unbounded);
        let mut bytes = 0;
        let fits = |queued: &Queued| {
            let first = bytes == 0;
            bytes += queued.message.weight() as usize;
            first || bytes <= limit.bytes
        };
        let queued = kept.queue.range(later).map(|(number, message)| Queued {
            number: QueueNumber(*number),
            message: message.clone(),
        });
        Ok(queued.take(limit.events).take_while(fits).collect())
    }

    fn waiting(&self) -> Result<u64, StoreError> {
        let image = self.image();
        Ok(image.sessions.values().map(|kept| kept.sum.messages).sum())
    }

    fn retained(&self, topic: &str) -> Result<Option<Message>, StoreError> {
        Ok(self.image().retained.get(topic).cloned())
    }

    fn retained_after(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let image = self.image();
        let found = image.retained.range::<str, _>((start, Bound::Unbounded));
        Ok(found
            .take(limit)
            .map(|(_, message)| message.clone())
            .collect())
    }

    fn owners(
        &self,
        after: Option<&DeviceKey>,
        limit: usize,
    ) -> Result<Vec<StoredOwner>, StoreError> {
        Ok(page(&self.image().owners, after, limit))
    }

    fn presences(
        &self,
        after: Option<&DeviceKey>,
        limit: usize,
    ) -> Result<Vec<StoredPresence>, StoreError> {
        Ok(page(&self.image().presences, after, limit))
    }

    fn erase_group(&self, group: &SyncId) -> Result<usize, StoreError> {
        let mut image = self.image();
        let devices = image.owners.len() + image.presences.len();
        image.owners.retain(|key, _| key.group != *group);
        image.presences.retain(|key, _| key.group != *group);
        let devices = devices - image.owners.len() - image.presences.len();
        let sessions = image.sessions.values_mut();
        Ok(devices + sessions.map(|kept| kept.erase_group(group)).sum::<usize>())
    }
}

fn page<T: Clone>(of: &BTreeMap<DeviceKey, T>, after: Option<&DeviceKey>, limit: usize) -> Vec<T> {
    let start = after.map_or(Bound::Unbounded, Bound::Excluded);
    let later = of.range::<DeviceKey, _>((start, Bound::Unbounded));
    later.take(limit).map(|(_, it)| it.clone()).collect()
}

impl Image {
    /// Makes a change; `false` if there was no room for a message.
    fn change(&mut self, change: &SessionChange) -> bool {
        match change {
            SessionChange::Begin(session) => self.begin(session),
            SessionChange::End(key) => drop(self.sessions.remove(key)),
            SessionChange::Retain(message) => {
                self.retained.insert(message.topic.clone(), message.clone());
            }
            SessionChange::Clear(topic) => drop(self.retained.remove(topic)),
            SessionChange::Own(owner) => {
                self.owners.insert(owner.key.clone(), owner.clone());
            }
            SessionChange::Disown(key) => drop(self.owners.remove(key)),
            SessionChange::Attend(it) => {
                self.presences.insert(it.key(), it.clone());
            }
            SessionChange::Depart(key) => drop(self.presences.remove(key)),
            other => return self.change_one(other),
        }
        true
    }

    fn begin(&mut self, session: &StoredSession) {
        let kept = self
            .sessions
            .entry(session.key.clone())
            .or_insert_with(|| Kept::new(session.clone()));
        let position = kept.session.position;
        kept.session = session.clone();
        kept.session.position = position;
    }

    fn change_one(&mut self, change: &SessionChange) -> bool {
        let mut fits = true;
        let mut with = |key: &SessionKey, change: &mut dyn FnMut(&mut Kept)| {
            if let Some(kept) = self.sessions.get_mut(key) {
                change(kept);
            }
        };
        match change {
            SessionChange::Leave {
                key,
                expiry_ms,
                left_at,
            } => with(key, &mut |kept| {
                kept.session.expiry_ms = *expiry_ms;
                kept.session.left_at = Some(*left_at);
            }),
            SessionChange::Subscribe(key, it) => with(key, &mut |kept| kept.subscribe(it)),
            SessionChange::Unsubscribe(key, filter) => {
                with(key, &mut |kept| kept.unsubscribe(filter.as_str()));
            }
            SessionChange::Progress(key, it) => with(key, &mut |kept| kept.progress(it)),
            SessionChange::Enqueue(key, message, limit) => with(key, &mut |kept| {
                fits = kept.enqueue(message, limit);
            }),
            SessionChange::Dequeue(key, number) => with(key, &mut |kept| kept.dequeue(*number)),
            SessionChange::Open(key, id) => with(key, &mut |kept| {
                kept.packets.insert(*id);
            }),
            SessionChange::Close(key, id) => with(key, &mut |kept| {
                kept.packets.remove(id);
            }),
            SessionChange::Begin(_)
            | SessionChange::End(_)
            | SessionChange::Retain(_)
            | SessionChange::Clear(_)
            | SessionChange::Own(_)
            | SessionChange::Disown(_)
            | SessionChange::Attend(_)
            | SessionChange::Depart(_) => {}
        }
        fits
    }
}

impl Kept {
    fn new(session: StoredSession) -> Kept {
        Kept {
            session,
            subscriptions: BTreeMap::new(),
            cursors: BTreeMap::new(),
            packets: BTreeSet::new(),
            queue: BTreeMap::new(),
            sum: QueueSum::default(),
        }
    }

    fn subscribe(&mut self, subscription: &StoredSubscription) {
        let filter = subscription.filter.as_str();
        self.unsubscribe(filter);
        self.subscriptions
            .insert(filter.to_owned(), subscription.clone());
    }

    fn unsubscribe(&mut self, filter: &str) {
        self.subscriptions.remove(filter);
        self.cursors.retain(|(of, _), _| of != filter);
    }

    fn progress(&mut self, progress: &Progress) {
        self.session.position = progress.position;
        for (filter, scans) in &progress.scans {
            if let Some(it) = self.subscriptions.get_mut(filter.as_str()) {
                it.scans = scans.clone();
            }
        }
        for (filter, stream) in &progress.drop {
            self.cursors
                .remove(&(filter.as_str().to_owned(), stream.clone()));
        }
        for cursor in &progress.put {
            let filter = cursor.filter.as_str();
            if self.subscriptions.contains_key(filter) {
                self.cursors
                    .insert((filter.to_owned(), cursor.stream.clone()), cursor.clone());
            }
        }
    }

    fn enqueue(&mut self, message: &Message, limit: &QueueLimit) -> bool {
        let number = self.sum.take(message, limit);
        if let Some(number) = number {
            self.queue.insert(number.0, message.clone());
        }
        number.is_some()
    }

    fn dequeue(&mut self, number: QueueNumber) {
        if let Some(message) = self.queue.remove(&number.0) {
            self.sum.give(&message);
        }
    }

    fn erase_group(&mut self, group: &SyncId) -> usize {
        let before = self.cursors.len() + self.subscriptions.len();
        self.subscriptions
            .retain(|_, it| !names_group(&it.filter, group));
        self.cursors
            .retain(|_, it| it.stream.sync_id != *group && !names_group(&it.filter, group));
        before - self.cursors.len() - self.subscriptions.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sessions::contract::{SessionHarness, session_contract_suite};

    impl SessionHarness for MemorySessions {
        fn store(&self) -> &dyn SessionStore {
            self
        }

        fn reopen(&mut self) {
            *self = self.copy();
        }
    }

    session_contract_suite!(MemorySessions::default());
}
