//! Packet ids of events that were sent and not acknowledged: they come again with the ids that they had (MQTT-4.4.0-1).
//!
//! Kept in memory while a session has no connection. The log has the events themselves, so what a restart of the broker loses is
//! the ids alone.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use syncline_protocol::{Seq, StreamId};

use super::session::Tag;
use crate::store::sessions::SessionKey;

/// What one connection has sent, and what its session sent before.
#[derive(Debug, Default)]
pub(crate) struct Redelivery {
    /// By the number of the delivery.
    sent: BTreeMap<u64, (Tag, u16)>,
    /// Of earlier connections, in the order in which they were sent: an event has one for each copy of it.
    before: HashMap<Event, VecDeque<u16>>,
}

type Event = (Arc<StreamId>, Seq);

impl Redelivery {
    /// The packet ids that must not be given to anything else.
    pub(crate) fn reserved(&self) -> impl Iterator<Item = u16> {
        self.before.values().flatten().copied()
    }

    /// The packet id that an event is sent with again, if it is known.
    pub(crate) fn id_of(&mut self, tag: &Tag) -> Option<u16> {
        let event = (Arc::clone(&tag.stream), tag.seq);
        let ids = self.before.get_mut(&event)?;
        let id = ids.pop_front();
        if ids.is_empty() {
            self.before.remove(&event);
        }
        id
    }

    /// An event was sent.
    pub(crate) fn sent(&mut self, tag: &Tag, id: u16) {
        self.sent.insert(tag.number, (tag.clone(), id));
    }

    /// It was acknowledged.
    pub(crate) fn acked(&mut self, tag: &Tag) {
        self.sent.remove(&tag.number);
    }

    fn left(mut self) -> Self {
        for (tag, id) in std::mem::take(&mut self.sent).into_values() {
            let ids = self.before.entry((tag.stream, tag.seq));
            ids.or_default().push_back(id);
        }
        self
    }
}

/// Those of all sessions without a connection. Bounded by the sessions that are kept, and by what each may have open.
#[derive(Debug, Default)]
pub(crate) struct Redeliveries(Mutex<HashMap<SessionKey, Redelivery>>);

impl Redeliveries {
    /// A session is left.
    pub(crate) fn put(&self, key: SessionKey, redelivery: Redelivery) {
        let left = redelivery.left();
        if !left.before.is_empty() {
            self.lock().insert(key, left);
        }
    }

    /// A session goes on, or has ended.
    pub(crate) fn take(&self, key: &SessionKey) -> Redelivery {
        self.lock().remove(key).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionKey, Redelivery>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(seq: u64, number: u64) -> Tag {
        Tag {
            stream: Arc::new(StreamId {
                sync_id: "home".parse().unwrap(),
                channel: None,
            }),
            seq: Seq::new(seq).unwrap(),
            number,
        }
    }

    #[test]
    fn mqtt_4_4_0_1_each_copy_comes_again_with_its_id_over_any_number_of_connections() {
        let all = Redeliveries::default();
        let key = SessionKey {
            principal: String::new(),
            client_id: "a".to_owned(),
        };
        let mut first = all.take(&key);
        let sent = [(tag(5, 1), 7), (tag(5, 2), 3), (tag(6, 3), 9)];
        sent.iter().for_each(|(tag, id)| first.sent(tag, *id));
        first.acked(&tag(6, 3));
        first.sent(&tag(7, 4), 1);
        all.put(key.clone(), first);
        let mut second = all.take(&key);
        let mut reserved: Vec<_> = second.reserved().collect();
        reserved.sort_unstable();
        assert_eq!(reserved, [1, 3, 7]);
        assert_eq!(second.id_of(&tag(5, 1)), Some(7));
        second.sent(&tag(5, 1), 7);
        // It is lost before the rest was sent again.
        all.put(key.clone(), second);
        let mut third = all.take(&key);
        let ids = [5, 5, 5, 7].map(|seq| third.id_of(&tag(seq, 1)));
        assert_eq!(ids, [Some(3), Some(7), None, Some(1)]);
        assert_eq!(all.take(&key).reserved().count(), 0);
    }
}
