//! Who is here (PRESENCE-1 … PRESENCE-5). Pure: `now` comes in, retained messages and what is written go out.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use syncline_protocol::{DeviceId, Presence, Seq, StreamId, SyncId, Topic, UnixMillis};

use super::ephemeral::Ephemeral;
use super::session::Tag;
use crate::store::sessions::{DeviceKey, SessionChange, StoredPresence};

/// At most one update of `acked` in this time.
const UPDATE_INTERVAL_MS: u64 = 1_000;

/// Groups that one connection is present in at most; those that it names later do not see it.
const GROUPS_MAX: usize = 1_024;

/// `acked` of a device that is here is written this often at most.
const SAVE_INTERVAL_MS: u64 = 60_000;

/// Channels whose `acked` is told of one device at most.
const CHANNELS_MAX: usize = 1_024;

/// All devices that are here or have been a while ago.
#[derive(Debug)]
pub(crate) struct Attendance {
    seats: HashMap<DeviceKey, Seat>,
    /// Those without a connection, by when they left.
    away: BTreeSet<(UnixMillis, DeviceKey)>,
    /// Those whose `acked` differs from what was told or written.
    stale: BTreeSet<DeviceKey>,
    options: AttendanceOptions,
}

/// How long and how many.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttendanceOptions {
    /// Who left is remembered for so long.
    pub(crate) retention_ms: u64,
    /// Devices that are shown at most. Who left first makes room; those who find none are not shown.
    pub(crate) devices_max: usize,
}

/// What a change makes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// To be retained.
    pub(crate) message: Ephemeral,
    /// To be written.
    pub(crate) kept: Option<SessionChange>,
}

#[derive(Debug)]
struct Seat {
    /// Two connections of one device count as one.
    connections: usize,
    since: UnixMillis,
    name: Option<String>,
    acked: BTreeMap<String, Seq>,
    told: bool,
    told_at: UnixMillis,
    saved_at: UnixMillis,
}

impl Attendance {
    /// Nobody is here.
    pub(crate) fn new(options: AttendanceOptions) -> Self {
        Self {
            seats: HashMap::new(),
            away: BTreeSet::new(),
            stale: BTreeSet::new(),
            options,
        }
    }

    /// What an earlier run showed. Who was here then left when that ended, and all that is known of it is that it was before
    /// `now`.
    pub(crate) fn found(&mut self, it: StoredPresence, now: UnixMillis) -> Told {
        let (key, presence) = (it.key(), it.presence);
        let since = if presence.online { now } else { presence.since };
        if now >= since.plus(self.options.retention_ms) {
            return Told::cleared(key);
        }
        let mut seat = Seat {
            name: presence.name,
            acked: presence.acked,
            ..Seat::empty(since)
        };
        let mut told = seat.tell(&key, now);
        if presence.online {
            seat.save(&key, &mut told, now);
        }
        self.away.insert((since, key.clone()));
        self.seats.insert(key, seat);
        told
    }

    /// A connection of a device names a group for the first time.
    pub(crate) fn join(
        &mut self,
        group: &SyncId,
        device: DeviceId,
        name: Option<&str>,
        now: UnixMillis,
    ) -> Vec<Told> {
        let key = key(group, device);
        let mut told = self.make_room(&key);
        if !self.seats.contains_key(&key) && self.seats.len() >= self.options.devices_max {
            return told;
        }
        let seat = self.seats.entry(key.clone());
        let seat = seat.or_insert_with(|| Seat::empty(now));
        seat.connections += 1;
        let new_name = name.is_some() && name != seat.name.as_deref();
        if new_name {
            seat.name = name.map(str::to_owned);
        }
        let arrived = seat.connections == 1;
        if arrived {
            self.away.remove(&(seat.since, key.clone()));
            seat.since = now;
        }
        if arrived || new_name {
            told.push(seat.tell_and_save(&key, now));
        }
        told
    }

    /// A connection that had joined ends.
    pub(crate) fn leave(
        &mut self,
        group: &SyncId,
        device: DeviceId,
        now: UnixMillis,
    ) -> Option<Told> {
        let key = key(group, device);
        let seat = self.seats.get_mut(&key)?;
        seat.connections = seat.connections.checked_sub(1)?;
        if seat.connections > 0 {
            return None;
        }
        seat.since = now;
        self.away.insert((now, key.clone()));
        self.stale.remove(&key);
        Some(seat.tell_and_save(&key, now))
    }

    /// A device has acknowledged everything up to `seq` in a channel.
    pub(crate) fn acked(&mut self, stream: &StreamId, device: DeviceId, seq: Seq) {
        let key = key(&stream.sync_id, device);
        let Some(seat) = self.seats.get_mut(&key) else {
            return;
        };
        let channel = stream.channel.as_ref().map_or("", |it| it.as_str());
        let known = seat.acked.get(channel).copied();
        let has_room = known.is_some() || seat.acked.len() < CHANNELS_MAX;
        if has_room && known.is_none_or(|known| seq > known) {
            seat.acked.insert(channel.to_owned(), seq);
            seat.told = false;
            self.stale.insert(key);
        }
    }

    /// What is due: updates of `acked`, and the clearing of those who left long ago.
    pub(crate) fn tick(&mut self, now: UnixMillis) -> Vec<Told> {
        let mut told = Vec::new();
        let seats = &mut self.seats;
        self.stale.retain(|key| {
            let Some(seat) = seats.get_mut(key) else {
                return false;
            };
            let saves = now >= seat.saved_at.plus(SAVE_INTERVAL_MS);
            let tells = !seat.told && now >= seat.told_at.plus(UPDATE_INTERVAL_MS);
            if saves {
                told.push(seat.tell_and_save(key, now));
            } else if tells {
                told.push(seat.tell(key, now));
            }
            !saves
        });
        let retention_ms = self.options.retention_ms;
        let is_over = |since: UnixMillis| now >= since.plus(retention_ms);
        while let Some((since, _)) = self.away.first()
            && is_over(*since)
        {
            told.extend(self.dismiss_first());
        }
        told
    }

    /// Nothing is shown of a group any more, until somebody comes.
    pub(crate) fn forget_group(&mut self, group: &SyncId) -> Vec<Told> {
        let gone: Vec<_> = self
            .seats
            .keys()
            .filter(|it| it.group == *group)
            .cloned()
            .collect();
        for key in &gone {
            let since = self.seats.remove(key).map(|seat| seat.since);
            self.away.remove(&(since.unwrap_or_default(), key.clone()));
            self.stale.remove(key);
        }
        gone.into_iter().map(Told::cleared).collect()
    }

    /// Who left first makes room for one more, if there is none.
    fn make_room(&mut self, newcomer: &DeviceKey) -> Vec<Told> {
        let is_full = self.seats.len() >= self.options.devices_max;
        match is_full && !self.seats.contains_key(newcomer) {
            true => self.dismiss_first().into_iter().collect(),
            false => Vec::new(),
        }
    }

    fn dismiss_first(&mut self) -> Option<Told> {
        let (_, key) = self.away.pop_first()?;
        self.seats.remove(&key);
        Some(Told::cleared(key))
    }
}

impl Told {
    fn cleared(key: DeviceKey) -> Self {
        let topic = Topic::Presence(key.group.clone(), key.device);
        Self {
            message: Ephemeral::cleared(topic.to_string().into()),
            kept: Some(SessionChange::Depart(key)),
        }
    }
}

impl Seat {
    fn empty(now: UnixMillis) -> Self {
        Self {
            connections: 0,
            since: now,
            name: None,
            acked: BTreeMap::new(),
            told: false,
            told_at: now,
            saved_at: now,
        }
    }

    fn tell(&mut self, key: &DeviceKey, now: UnixMillis) -> Told {
        (self.told, self.told_at) = (true, now);
        let presence = self.presence(key);
        let topic = Topic::Presence(key.group.clone(), key.device);
        Told {
            message: Ephemeral::new(&topic, presence.encode(), presence.to_json()),
            kept: None,
        }
    }

    fn tell_and_save(&mut self, key: &DeviceKey, now: UnixMillis) -> Told {
        let mut told = self.tell(key, now);
        self.save(key, &mut told, now);
        told
    }

    fn save(&mut self, key: &DeviceKey, told: &mut Told, now: UnixMillis) {
        self.saved_at = now;
        told.kept = Some(SessionChange::Attend(StoredPresence {
            group: key.group.clone(),
            presence: self.presence(key),
        }));
    }

    fn presence(&self, key: &DeviceKey) -> Presence {
        Presence {
            device: key.device,
            online: self.connections > 0,
            since: self.since,
            name: self.name.clone(),
            acked: self.acked.clone(),
        }
    }
}

fn key(group: &SyncId, device: DeviceId) -> DeviceKey {
    DeviceKey {
        group: group.clone(),
        device,
    }
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

    fn read(told: &Told) -> Presence {
        Presence::decode(told.message.payload(false)).unwrap()
    }

    fn device() -> DeviceId {
        DeviceId::from_bytes([7; 16])
    }

    fn attendance() -> Attendance {
        Attendance::new(AttendanceOptions {
            retention_ms: 60_000,
            devices_max: 2,
        })
    }

    fn stored(told: &Told) -> StoredPresence {
        match &told.kept {
            Some(SessionChange::Attend(it)) => it.clone(),
            other => panic!("nothing is written: {other:?}"),
        }
    }

    #[test]
    fn presence_1_two_connections_of_one_device_count_as_one() {
        let mut attendance = attendance();
        let first = attendance.join(&group(), device(), Some("Kitchen"), at(0));
        assert!(read(&first[0]).online);
        assert_eq!(read(&first[0]).name.as_deref(), Some("Kitchen"));
        assert_eq!(attendance.join(&group(), device(), None, at(10)), []);
        assert_eq!(attendance.leave(&group(), device(), at(20)), None);
        let last = read(&attendance.leave(&group(), device(), at(30)).unwrap());
        assert_eq!((last.online, last.since), (false, at(30)));
        assert_eq!(attendance.leave(&group(), device(), at(40)), None);
    }

    #[test]
    fn presence_3_acked_is_told_once_a_second_and_who_left_is_cleared() {
        let mut attendance = attendance();
        attendance.join(&group(), device(), None, at(0));
        attendance.acked(&stream(), device(), seq(3));
        assert_eq!(attendance.tick(at(999)), []);
        attendance.acked(&stream(), device(), seq(5));
        let told = attendance.tick(at(1_000));
        let all = BTreeMap::from([(String::new(), seq(5))]);
        assert_eq!((read(&told[0]).acked, &told[0].kept), (all, &None));
        assert_eq!(attendance.tick(at(5_000)), []);
        attendance.leave(&group(), device(), at(5_000));
        assert_eq!(attendance.tick(at(64_999)), []);
        let cleared = attendance.tick(at(65_000));
        assert!(cleared[0].message.is_cleared());
        let kept = SessionChange::Depart(key(&group(), device()));
        assert_eq!(cleared[0].kept, Some(kept));
        assert_eq!(attendance.tick(at(99_000)), []);
    }

    #[test]
    fn presence_4_acked_is_written_once_a_minute_and_when_it_leaves() {
        let mut attendance = attendance();
        let joined = attendance.join(&group(), device(), None, at(0));
        assert!(stored(&joined[0]).presence.online);
        attendance.acked(&stream(), device(), seq(3));
        assert_eq!(attendance.tick(at(30_000))[0].kept, None);
        let told = attendance.tick(at(60_000));
        assert_eq!(stored(&told[0]).presence, read(&told[0]));
        assert_eq!(attendance.tick(at(200_000)), [], "it is as it was");
        attendance.acked(&stream(), device(), seq(4));
        let left = attendance.leave(&group(), device(), at(200_001)).unwrap();
        assert_eq!(stored(&left).presence.acked[""], seq(4));
    }

    #[test]
    fn presence_4_after_a_restart_who_was_here_is_offline_and_who_was_away_is_as_before() {
        let mut before = attendance();
        let here = stored(&before.join(&group(), device(), Some("Kitchen"), at(0))[0]);
        let other = DeviceId::from_bytes([8; 16]);
        before.join(&group(), other, None, at(0));
        let away = stored(&before.leave(&group(), other, at(9)).unwrap());
        let mut after = attendance();
        let told = after.found(here.clone(), at(500));
        let expected = Presence {
            online: false,
            since: at(500),
            ..here.presence.clone()
        };
        assert_eq!(
            (read(&told), stored(&told).presence),
            (expected.clone(), expected)
        );
        let told = after.found(away.clone(), at(500));
        assert_eq!((read(&told), told.kept), (away.presence.clone(), None));
        assert_eq!(after.tick(at(60_009)).len(), 1, "its time goes on");
        let back = after.join(&group(), device(), None, at(60_100));
        assert_eq!(read(&back[0]).name.as_deref(), Some("Kitchen"));
        let late = attendance().found(away, at(60_009));
        assert!(late.message.is_cleared());
    }

    #[test]
    fn presence_5_g10_who_left_first_makes_room_and_who_is_here_stays() {
        let mut attendance = attendance();
        let [a, b, c] = [1, 2, 3].map(|n| DeviceId::from_bytes([n; 16]));
        attendance.join(&group(), a, None, at(0));
        attendance.join(&group(), b, None, at(0));
        assert_eq!(attendance.join(&group(), c, None, at(1)), [], "not shown");
        assert_eq!(attendance.leave(&group(), c, at(2)), None);
        attendance.leave(&group(), b, at(2));
        let told = attendance.join(&group(), c, None, at(3));
        assert!(told[0].message.is_cleared() && read(&told[1]).device == c);
        assert_eq!(attendance.join(&group(), a, None, at(4)), []);
    }

    #[test]
    fn an_erased_group_is_shown_no_more() {
        let mut attendance = attendance();
        attendance.join(&group(), device(), None, at(0));
        assert!(attendance.forget_group(&group())[0].message.is_cleared());
        assert_eq!(attendance.leave(&group(), device(), at(1)), None);
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
