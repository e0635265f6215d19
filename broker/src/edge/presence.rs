//! Who is here (PRESENCE-1 … PRESENCE-5). Pure: `now` comes in, retained messages and what is to be written go out.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
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
    /// Those that are on disk as they were before.
    unwritten: BTreeSet<DeviceKey>,
    /// How many seats there have been.
    places: u64,
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

/// Names a seat: one of the same device that it takes later is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(u64);

#[derive(Debug)]
struct Seat {
    place: Place,
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
            unwritten: BTreeSet::new(),
            places: 0,
            options,
        }
    }

    /// What an earlier run showed. Who was here then left when that ended, and all that is known of it is that it was before
    /// `now`. Returns what is to be retained.
    pub(crate) fn found(&mut self, it: StoredPresence, now: UnixMillis) -> Vec<Ephemeral> {
        let (key, presence) = (it.key(), it.presence);
        let since = if presence.online { now } else { presence.since };
        if now >= since.plus(self.options.retention_ms) {
            return vec![self.cleared(key)];
        }
        let mut seat = Seat {
            name: presence.name,
            acked: presence.acked,
            ..Seat::empty(self.next_place(), since)
        };
        let mut told = vec![seat.tell(&key, now)];
        if presence.online {
            self.unwritten.insert(key.clone());
        }
        self.away.insert((since, key.clone()));
        self.seats.insert(key, seat);
        if self.seats.len() > self.options.devices_max {
            told.extend(self.dismiss_first());
        }
        told
    }

    /// A connection of a device names a group for the first time. Returns its place, if it is shown, and what is to be
    /// retained.
    pub(crate) fn join(
        &mut self,
        group: &SyncId,
        device: DeviceId,
        name: Option<&str>,
        now: UnixMillis,
    ) -> (Option<Place>, Vec<Ephemeral>) {
        let key = key(group, device);
        let mut told = self.make_room(&key);
        if !self.seats.contains_key(&key) && self.seats.len() >= self.options.devices_max {
            return (None, told);
        }
        let next = self.next_place();
        let seat = self.seats.entry(key.clone());
        let seat = seat.or_insert_with(|| Seat::empty(next, now));
        seat.connections += 1;
        let place = seat.place;
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
            told.push(seat.tell(&key, now));
            seat.saved_at = now;
            self.unwritten.insert(key);
        }
        (Some(place), told)
    }

    /// A connection ends that has a place.
    pub(crate) fn leave(
        &mut self,
        group: &SyncId,
        device: DeviceId,
        place: Place,
        now: UnixMillis,
    ) -> Option<Ephemeral> {
        let key = key(group, device);
        let seats = &mut self.seats;
        let seat = seats.get_mut(&key).filter(|seat| seat.place == place)?;
        seat.connections = seat.connections.checked_sub(1)?;
        if seat.connections > 0 {
            return None;
        }
        seat.since = now;
        self.away.insert((now, key.clone()));
        self.stale.remove(&key);
        self.unwritten.insert(key.clone());
        seat.saved_at = now;
        Some(seat.tell(&key, now))
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
    pub(crate) fn tick(&mut self, now: UnixMillis) -> Vec<Ephemeral> {
        let mut told = Vec::new();
        let (seats, unwritten) = (&mut self.seats, &mut self.unwritten);
        self.stale.retain(|key| {
            let Some(seat) = seats.get_mut(key) else {
                return false;
            };
            let saves = now >= seat.saved_at.plus(SAVE_INTERVAL_MS);
            let tells = !seat.told && now >= seat.told_at.plus(UPDATE_INTERVAL_MS);
            if saves {
                seat.saved_at = now;
                unwritten.insert(key.clone());
            }
            if saves || tells {
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
    pub(crate) fn forget_group(&mut self, group: &SyncId) -> Vec<Ephemeral> {
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
        gone.into_iter().map(|key| self.cleared(key)).collect()
    }

    /// Whether there is something for [`Attendance::take_unwritten`].
    pub(crate) fn owes(&self) -> bool {
        !self.unwritten.is_empty()
    }

    /// What is to be written since this was asked last: of each device how it is now, however often it came and went.
    pub(crate) fn take_unwritten(&mut self) -> Vec<SessionChange> {
        let unwritten = std::mem::take(&mut self.unwritten);
        let change = |key: DeviceKey| match self.seats.get(&key) {
            Some(seat) => SessionChange::Attend(StoredPresence {
                presence: seat.presence(&key),
                group: key.group,
            }),
            None => SessionChange::Depart(key),
        };
        unwritten.into_iter().map(change).collect()
    }

    /// What was taken to be written could not be.
    pub(crate) fn not_written(&mut self, changes: &[SessionChange]) {
        let key = |change: &SessionChange| match change {
            SessionChange::Attend(it) => Some(it.key()),
            SessionChange::Depart(key) => Some(key.clone()),
            _ => None,
        };
        self.unwritten.extend(changes.iter().filter_map(key));
    }

    /// Who left first makes room for one more, if there is none.
    fn make_room(&mut self, newcomer: &DeviceKey) -> Vec<Ephemeral> {
        let is_full = self.seats.len() >= self.options.devices_max;
        match is_full && !self.seats.contains_key(newcomer) {
            true => self.dismiss_first().into_iter().collect(),
            false => Vec::new(),
        }
    }

    fn dismiss_first(&mut self) -> Option<Ephemeral> {
        let (_, key) = self.away.pop_first()?;
        self.seats.remove(&key);
        Some(self.cleared(key))
    }

    /// It has no seat any more.
    fn cleared(&mut self, key: DeviceKey) -> Ephemeral {
        let topic = Topic::Presence(key.group.clone(), key.device);
        self.unwritten.insert(key);
        Ephemeral::cleared(topic.to_string().into())
    }

    fn next_place(&mut self) -> Place {
        self.places += 1;
        Place(self.places)
    }
}

impl Seat {
    fn empty(place: Place, now: UnixMillis) -> Self {
        Self {
            place,
            connections: 0,
            since: now,
            name: None,
            acked: BTreeMap::new(),
            told: false,
            told_at: now,
            saved_at: now,
        }
    }

    fn tell(&mut self, key: &DeviceKey, now: UnixMillis) -> Ephemeral {
        (self.told, self.told_at) = (true, now);
        let presence = self.presence(key);
        let topic = Topic::Presence(key.group.clone(), key.device);
        Ephemeral::new(&topic, presence.encode(), presence.to_json())
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
    groups: HashMap<SyncId, Place>,
    open: HashMap<Arc<StreamId>, VecDeque<(Seq, bool)>>,
}

impl Visit {
    /// Whether this connection has no place in a group yet, and may have one.
    pub(crate) fn may_enter(&self, group: &SyncId) -> bool {
        self.groups.len() < GROUPS_MAX && !self.groups.contains_key(group)
    }

    /// It has a place in a group.
    pub(crate) fn enter(&mut self, group: SyncId, place: Place) {
        self.groups.insert(group, place);
    }

    /// Leaves groups; which ones those were.
    pub(crate) fn part(&mut self, leaves: impl Fn(&SyncId) -> bool) -> Vec<(SyncId, Place)> {
        let parted = self.groups.extract_if(|group, _| leaves(group));
        parted.collect()
    }

    /// Something was delivered that will be acknowledged.
    pub(crate) fn delivered(&mut self, tag: &Tag) {
        if self.groups.contains_key(&tag.stream.sync_id) {
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

    fn read(told: &Ephemeral) -> Presence {
        Presence::decode(told.payload(false)).unwrap()
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

    fn written(attendance: &mut Attendance) -> Vec<StoredPresence> {
        let one = |change| match change {
            SessionChange::Attend(it) => it,
            other => panic!("somebody is gone: {other:?}"),
        };
        attendance.take_unwritten().into_iter().map(one).collect()
    }

    #[test]
    fn presence_1_two_connections_of_one_device_count_as_one() {
        let mut attendance = attendance();
        let (place, first) = attendance.join(&group(), device(), Some("Kitchen"), at(0));
        let place = place.unwrap();
        assert!(read(&first[0]).online);
        assert_eq!(read(&first[0]).name.as_deref(), Some("Kitchen"));
        let second = attendance.join(&group(), device(), None, at(10));
        assert_eq!(second, (Some(place), vec![]));
        let mut leave = |ms| attendance.leave(&group(), device(), place, at(ms));
        assert_eq!(leave(20), None);
        let last = read(&leave(30).unwrap());
        assert_eq!((last.online, last.since), (false, at(30)));
        assert_eq!(leave(40), None);
    }

    #[test]
    fn presence_3_acked_is_told_once_a_second_and_who_left_is_cleared() {
        let mut attendance = attendance();
        let (place, _) = attendance.join(&group(), device(), None, at(0));
        attendance.acked(&stream(), device(), seq(3));
        assert_eq!(attendance.tick(at(999)), []);
        attendance.acked(&stream(), device(), seq(5));
        attendance.take_unwritten();
        let told = attendance.tick(at(1_000));
        let all = BTreeMap::from([(String::new(), seq(5))]);
        assert_eq!(read(&told[0]).acked, all);
        assert_eq!(attendance.take_unwritten(), []);
        assert_eq!(attendance.tick(at(5_000)), []);
        attendance.leave(&group(), device(), place.unwrap(), at(5_000));
        assert_eq!(attendance.tick(at(64_999)), []);
        let cleared = attendance.tick(at(65_000));
        assert!(cleared[0].is_cleared());
        let gone = SessionChange::Depart(key(&group(), device()));
        assert_eq!(attendance.take_unwritten(), [gone]);
        assert_eq!(attendance.tick(at(99_000)), []);
    }

    #[test]
    fn presence_4_acked_is_written_once_a_minute_and_when_it_leaves() {
        let mut attendance = attendance();
        let (place, _) = attendance.join(&group(), device(), None, at(0));
        assert!(written(&mut attendance)[0].presence.online);
        attendance.acked(&stream(), device(), seq(3));
        assert_eq!(attendance.tick(at(30_000)).len(), 1);
        assert_eq!(written(&mut attendance), []);
        let told = attendance.tick(at(60_000));
        assert_eq!(written(&mut attendance)[0].presence, read(&told[0]));
        assert_eq!(attendance.tick(at(200_000)), [], "it is as it was");
        attendance.acked(&stream(), device(), seq(4));
        attendance.leave(&group(), device(), place.unwrap(), at(200_001));
        assert_eq!(written(&mut attendance)[0].presence.acked[""], seq(4));
    }

    #[test]
    fn g10_whoever_comes_and_goes_a_thousand_times_is_written_once_and_again_if_that_failed() {
        let mut attendance = attendance();
        for ms in 0..1_000 {
            let (place, _) = attendance.join(&group(), device(), None, at(ms));
            attendance.leave(&group(), device(), place.unwrap(), at(ms));
        }
        let changes = attendance.take_unwritten();
        assert_eq!(changes.len(), 1);
        assert_eq!(attendance.take_unwritten(), []);
        attendance.not_written(&changes);
        assert_eq!(attendance.take_unwritten(), changes);
    }

    #[test]
    fn presence_4_after_a_restart_who_was_here_is_offline_and_who_was_away_is_as_before() {
        let mut before = attendance();
        before.join(&group(), device(), Some("Kitchen"), at(0));
        let other = DeviceId::from_bytes([8; 16]);
        let (place, _) = before.join(&group(), other, None, at(0));
        before.leave(&group(), other, place.unwrap(), at(9));
        let stored = written(&mut before);
        let (here, away) = (stored[0].clone(), stored[1].clone());
        let mut after = attendance();
        let told = after.found(here.clone(), at(500));
        let expected = Presence {
            online: false,
            since: at(500),
            ..here.presence.clone()
        };
        assert_eq!(read(&told[0]), expected);
        assert_eq!(written(&mut after)[0].presence, expected);
        let told = after.found(away.clone(), at(500));
        assert_eq!(read(&told[0]), away.presence);
        assert_eq!(written(&mut after), []);
        assert_eq!(after.tick(at(60_009)).len(), 1, "its time goes on");
        let (_, back) = after.join(&group(), device(), None, at(60_100));
        assert_eq!(read(&back[0]).name.as_deref(), Some("Kitchen"));
        let late = attendance().found(away, at(60_009));
        assert!(late[0].is_cleared());
    }

    #[test]
    fn presence_5_g10_who_left_first_makes_room_and_who_is_here_stays() {
        let mut attendance = attendance();
        let [a, b, c] = [1, 2, 3].map(|n| DeviceId::from_bytes([n; 16]));
        attendance.join(&group(), a, None, at(0));
        let (of_b, _) = attendance.join(&group(), b, None, at(0));
        let none = attendance.join(&group(), c, None, at(1));
        assert_eq!(none, (None, vec![]), "not shown");
        attendance.leave(&group(), b, of_b.unwrap(), at(2));
        let (of_c, told) = attendance.join(&group(), c, None, at(3));
        assert!(told[0].is_cleared() && read(&told[1]).device == c);
        assert!(of_c.is_some());
        assert_eq!(attendance.join(&group(), a, None, at(4)).1, []);
    }

    #[test]
    fn presence_5_of_what_an_earlier_run_showed_as_many_are_shown_as_may_be_now() {
        let mut attendance = attendance();
        let stored = |n| StoredPresence {
            group: group(),
            presence: Presence {
                device: DeviceId::from_bytes([n; 16]),
                online: false,
                since: at(u64::from(n)),
                name: None,
                acked: BTreeMap::new(),
            },
        };
        let told: Vec<_> = (1..=4)
            .flat_map(|n| attendance.found(stored(n), at(9)))
            .collect();
        assert_eq!(told.iter().filter(|it| it.is_cleared()).count(), 2);
        assert_eq!(attendance.seats.len(), 2);
        assert_eq!(attendance.take_unwritten().len(), 2, "they depart");
    }

    #[test]
    fn an_erased_group_is_shown_no_more_and_who_came_before_does_not_leave_what_began_after() {
        let mut attendance = attendance();
        let (before, _) = attendance.join(&group(), device(), None, at(0));
        assert!(attendance.forget_group(&group())[0].is_cleared());
        let leave = |place: Option<Place>, attendance: &mut Attendance| {
            attendance.leave(&group(), device(), place.unwrap(), at(1))
        };
        assert_eq!(leave(before, &mut attendance), None);
        assert_eq!(attendance.tick(at(99_000)), []);
        let (after, _) = attendance.join(&group(), device(), None, at(99_000));
        assert_eq!(leave(before, &mut attendance), None);
        assert!(leave(after, &mut attendance).is_some());
    }

    #[test]
    fn g10_a_connection_is_present_in_a_bounded_number_of_groups() {
        let mut visit = Visit::default();
        let group = |n: usize| format!("g{n}").parse().unwrap();
        for n in 0..GROUPS_MAX {
            assert!(visit.may_enter(&group(n)));
            visit.enter(group(n), Place(1));
        }
        assert!(!visit.may_enter(&group(GROUPS_MAX)));
    }

    #[test]
    fn presence_1_acked_stops_at_the_first_gap() {
        let mut visit = Visit::default();
        assert!(visit.may_enter(&group()));
        visit.enter(group(), Place(1));
        assert!(!visit.may_enter(&group()));
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
