//! Who is here (PRESENCE-1 … PRESENCE-3). Pure: `now` comes in, retained messages go out.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use syncline_protocol::{DeviceId, Presence, Seq, StreamId, SyncId, Topic, UnixMillis};

use super::ephemeral::Ephemeral;
use super::session::Tag;

/// At most one update of `acked` in this time.
const UPDATE_INTERVAL_MS: u64 = 1_000;

/// Groups that one connection is present in at most; those that it names later do not see it.
const GROUPS_MAX: usize = 1_024;

/// All devices that are here or have been a while ago.
#[derive(Debug)]
pub(crate) struct Attendance {
    seats: HashMap<(SyncId, DeviceId), Seat>,
    retention_ms: u64,
}

#[derive(Debug)]
struct Seat {
    /// Two connections of one device count as one.
    connections: usize,
    since: UnixMillis,
    name: Option<String>,
    acked: BTreeMap<String, Seq>,
    /// `acked` differs from what was told.
    changed: bool,
    told_at: UnixMillis,
}

impl Attendance {
    /// Nobody is here. Who left is remembered for `retention_ms`.
    pub(crate) fn new(retention_ms: u64) -> Self {
        Self {
            seats: HashMap::new(),
            retention_ms,
        }
    }

    /// A connection of a device names a group for the first time.
    pub(crate) fn join(
        &mut self,
        group: &SyncId,
        device: DeviceId,
        name: Option<&str>,
        now: UnixMillis,
    ) -> Option<Ephemeral> {
        let seat = self
            .seats
            .entry((group.clone(), device))
            .or_insert_with(|| Seat::empty(now));
        seat.connections += 1;
        let new_name = name.is_some() && name != seat.name.as_deref();
        if new_name {
            seat.name = name.map(str::to_owned);
        }
        let arrived = seat.connections == 1;
        if arrived {
            seat.since = now;
        }
        (arrived || new_name).then(|| seat.tell(group, device, now))
    }

    /// A connection that had joined ends.
    pub(crate) fn leave(
        &mut self,
        group: &SyncId,
        device: DeviceId,
        now: UnixMillis,
    ) -> Option<Ephemeral> {
        let seat = self.seats.get_mut(&(group.clone(), device))?;
        seat.connections = seat.connections.saturating_sub(1);
        if seat.connections > 0 {
            return None;
        }
        seat.since = now;
        Some(seat.tell(group, device, now))
    }

    /// A device has acknowledged everything up to `seq` in a channel.
    pub(crate) fn acked(&mut self, stream: &StreamId, device: DeviceId, seq: Seq) {
        let Some(seat) = self.seats.get_mut(&(stream.sync_id.clone(), device)) else {
            return;
        };
        let channel = stream
            .channel
            .as_ref()
            .map_or("", |channel| channel.as_str());
        let acked = seat.acked.entry(channel.to_owned()).or_default();
        if seq > *acked {
            *acked = seq;
            seat.changed = true;
        }
    }

    /// What is due: updates of `acked`, and the clearing of those who left long ago.
    pub(crate) fn tick(&mut self, now: UnixMillis) -> Vec<Ephemeral> {
        let mut told = Vec::new();
        let retention_ms = self.retention_ms;
        self.seats.retain(|(group, device), seat| {
            let gone = seat.connections == 0 && now >= seat.since.plus(retention_ms);
            if gone {
                told.push(Ephemeral::cleared(topic(group, *device)));
            } else if seat.changed && now >= seat.told_at.plus(UPDATE_INTERVAL_MS) {
                told.push(seat.tell(group, *device, now));
            }
            !gone
        });
        told
    }
}

impl Seat {
    fn empty(now: UnixMillis) -> Self {
        Self {
            connections: 0,
            since: now,
            name: None,
            acked: BTreeMap::new(),
            changed: false,
            told_at: now,
        }
    }

    fn tell(&mut self, group: &SyncId, device: DeviceId, now: UnixMillis) -> Ephemeral {
        self.changed = false;
        self.told_at = now;
        let presence = Presence {
            device,
            online: self.connections > 0,
            since: self.since,
            name: self.name.clone(),
            acked: self.acked.clone(),
        };
        let topic = Topic::Presence(group.clone(), device);
        Ephemeral::new(&topic, presence.encode(), presence.to_json())
    }
}

fn topic(group: &SyncId, device: DeviceId) -> Arc<str> {
    Topic::Presence(group.clone(), device).to_string().into()
}

/// What one connection adds: the groups it named, and what it has acknowledged without a gap.
#[derive(Debug, Default)]
pub(crate) struct Visit {
    groups: HashSet<SyncId>,
    open: HashMap<Arc<StreamId>, VecDeque<(Seq, bool)>>,
}

impl Visit {
    /// Whether the group is new to this connection.
    pub(crate) fn enters(&mut self, group: &SyncId) -> bool {
        let known = self.groups.contains(group) || self.groups.len() >= GROUPS_MAX;
        !known && self.groups.insert(group.clone())
    }

    /// Leaves groups; which ones those were.
    pub(crate) fn part(&mut self, leaves: impl Fn(&SyncId) -> bool) -> Vec<SyncId> {
        self.groups.extract_if(|group| leaves(group)).collect()
    }

    /// The groups that it named.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &SyncId> {
        self.groups.iter()
    }

    /// Something was delivered that will be acknowledged.
    pub(crate) fn delivered(&mut self, tag: &Tag) {
        if self.groups.contains(&tag.stream.sync_id) {
            self.open
                .entry(Arc::clone(&tag.stream))
                .or_default()
                .push_back((tag.seq, false));
        }
    }

    /// It was acknowledged; up to where everything is now.
    pub(crate) fn acked(&mut self, tag: &Tag) -> Option<Seq> {
        let open = self.open.get_mut(&tag.stream)?;
        if let Some(entry) = open
            .iter_mut()
            .find(|(seq, acked)| *seq == tag.seq && !acked)
        {
            entry.1 = true;
        }
        let mut upto = None;
        while let Some((seq, _)) = open.pop_front_if(|(_, acked)| *acked) {
            upto = upto.max(Some(seq));
        }
        if open.is_empty() {
            self.open.remove(&tag.stream);
        }
        upto
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group() -> SyncId {
        "home".parse().unwrap()
    }

    fn stream() -> Arc<StreamId> {
        Arc::new(StreamId {
            sync_id: group(),
            channel: None,
        })
    }

    fn at(ms: u64) -> UnixMillis {
        UnixMillis::new(1_000_000 + ms)
    }

    fn seq(n: u64) -> Seq {
        Seq::new(n).unwrap()
    }

    fn read(message: &Ephemeral) -> Presence {
        Presence::decode(message.payload(false)).unwrap()
    }

    fn device() -> DeviceId {
        DeviceId::from_bytes([7; 16])
    }

    #[test]
    fn presence_1_two_connections_of_one_device_count_as_one() {
        let mut attendance = Attendance::new(60_000);
        let first = attendance
            .join(&group(), device(), Some("Kitchen"), at(0))
            .unwrap();
        assert!(read(&first).online);
        assert_eq!(read(&first).name.as_deref(), Some("Kitchen"));
        assert_eq!(attendance.join(&group(), device(), None, at(10)), None);
        assert_eq!(attendance.leave(&group(), device(), at(20)), None);
        let last = read(&attendance.leave(&group(), device(), at(30)).unwrap());
        assert_eq!((last.online, last.since), (false, at(30)));
    }

    #[test]
    fn presence_3_acked_is_told_once_a_second_and_who_left_is_cleared() {
        let mut attendance = Attendance::new(60_000);
        attendance.join(&group(), device(), None, at(0));
        attendance.acked(&stream(), device(), seq(3));
        assert_eq!(attendance.tick(at(999)), []);
        attendance.acked(&stream(), device(), seq(5));
        let told = attendance.tick(at(1_000));
        assert_eq!(
            read(&told[0]).acked,
            BTreeMap::from([(String::new(), seq(5))])
        );
        assert_eq!(attendance.tick(at(5_000)), []);
        attendance.leave(&group(), device(), at(5_000));
        assert_eq!(attendance.tick(at(64_999)), []);
        assert!(attendance.tick(at(65_000))[0].is_cleared());
        assert_eq!(attendance.tick(at(99_000)), []);
    }

    #[test]
    fn g10_a_connection_is_present_in_a_bounded_number_of_groups() {
        let mut visit = Visit::default();
        let group = |n: usize| format!("g{n}").parse().unwrap();
        let entered = (0..2 * GROUPS_MAX).filter(|n| visit.enters(&group(*n)));
        assert_eq!(entered.count(), GROUPS_MAX);
    }

    #[test]
    fn presence_1_acked_stops_at_the_first_gap() {
        let mut visit = Visit::default();
        assert!(visit.enters(&group()));
        assert!(!visit.enters(&group()));
        let tags: Vec<_> = (1..=3)
            .map(|n| Tag {
                stream: stream(),
                seq: seq(n),
                number: n,
            })
            .collect();
        tags.iter().for_each(|tag| visit.delivered(tag));
        assert_eq!(visit.acked(&tags[1]), None);
        assert_eq!(visit.acked(&tags[0]), Some(seq(2)));
        assert_eq!(visit.acked(&tags[2]), Some(seq(3)));
    }
}
