//! Plain clients: they connect, watch, lose their connection and come again.

use syncline_protocol::{Event, Seq, Snapshot, State};

use super::devices::Seen;
use super::{Happening, World};
use crate::link::{Link, LinkId, Owner};
use crate::observer::{View, Wish};
use crate::wire::{self, Connect, Packet, Publish};

impl World {
    pub(super) fn observe(&mut self, n: usize) {
        if self.observers[n].link.is_some() {
            return;
        }
        let (now, clock) = (self.now(), self.broker_clock);
        let observer = &mut self.observers[n];
        let clean_start = observer.session.connects(now, clock, observer.begins_anew);
        let connect = Connect {
            client_id: format!("observer-{n}"),
            device: None,
            clean_start,
            session_expiry_s: observer.session.expiry_s,
            receive_maximum: observer.receive_maximum,
            maximum_packet_size: None,
        };
        let link = self.open_link(Owner::Observer(n), &connect);
        self.observers[n].link = Some(link);
    }

    pub(super) fn observer_loses(&mut self, n: usize) {
        let observer = &mut self.observers[n];
        if let Some(id) = observer.link.take()
            && let Some(link) = self.links.get(&id)
        {
            let seen = observer.states.keys();
            let seen = seen.filter_map(|stream| Some((stream, link.watch.shown(stream)?)));
            seen.for_each(|(stream, seq)| observer.session.was_shown(stream, seq));
        }
        let delay = match self.dice.below(4) {
            0 if self.observers[n].session.expiry_s > 0 && !self.is_healed() => 150_000,
            _ => 10_000,
        };
        let delay = self.dice.below(delay);
        self.agenda.after(delay, Happening::Observe(n));
    }

    /// An observer leaves by itself, and comes again.
    pub(super) fn observer_leaves(&mut self, n: usize) {
        if let Some(id) = self.observers[n].link {
            self.client_closes(id);
            self.observer_loses(n);
        }
    }

    pub(super) fn observer_receives(&mut self, n: usize, id: LinkId, packets: Vec<Packet>) {
        for packet in packets {
            if self.observers[n].link != Some(id) {
                return;
            }
            let now = self.now();
            if !matches!(packet, Packet::Publish(_)) {
                self.trace
                    .line(now, || format!("observer {n} on {id}: {packet:?}"));
            }
            match packet {
                Packet::ConnAck {
                    code: 0,
                    session_present,
                    ..
                } => self.observer_connected(n, id, session_present),
                Packet::Publish(publish) => self.observed(n, id, publish),
                Packet::SubAck { codes, .. } if self.observers[n].view == View::At => {
                    self.wish_answered(n, &codes);
                }
                Packet::SubAck { codes, .. } if codes.iter().all(|code| *code < 0x80) => {
                    self.observers[n].session.subscribed += codes.len();
                }
                Packet::SubAck { codes, .. } => {
                    self.oracle.fail(format!("observer {n}: SUBACK {codes:x?}"));
                }
                _ => return self.client_notices(id),
            }
        }
    }

    fn observer_connected(&mut self, n: usize, id: LinkId, present: bool) {
        let (now, clock) = (self.now(), self.broker_clock);
        let observer = &mut self.observers[n];
        if observer.begins_anew && present {
            // It asked before it knew that the history is gone.
            return self.client_notices(id);
        }
        let checked = observer.session.is_present(present, now, clock);
        self.oracle
            .check(checked.map_err(|what| format!("observer {n}: {what}")));
        observer.session.is_answered();
        let filters = observer.filters().len();
        if !present {
            let known = observer.session.subscribed > 0;
            observer.session.ends();
            if known {
                self.oracle.tally.count("SESSION-1 sessions expired");
            }
            return self.observer_subscribes(n, id);
        }
        if observer.session.subscribed < filters {
            // Not all of it is known to be kept.
            observer.session.ends();
            return self.client_notices(id);
        }
        self.oracle.tally.count("SESSION-2 sessions resumed");
        observer.session.resumed = true;
        observer.resume();
        if let Some(link) = self.links.get_mut(&id) {
            let states = observer.states.iter();
            link.watch
                .resume(states.map(|(stream, state)| (stream, state.seq())));
        }
    }

    fn observer_subscribes(&mut self, n: usize, id: LinkId) {
        let acknowledged = self
            .oracle
            .twins()
            .map(|(stream, twin)| (stream.clone(), twin.acknowledged));
        let observer = &mut self.observers[n];
        observer.owed = acknowledged.collect();
        observer.reset();
        self.wish(n);
        let observer = &self.observers[n];
        let filters = observer.filters();
        let seq = observer
            .states
            .get(&observer.stream)
            .map_or(Seq::ZERO, State::seq);
        let (view, stream) = (observer.view, observer.stream.clone());
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        match view {
            View::Since { .. } | View::Kept { wild: false } => {
                link.watch.expect_after(&stream, seq);
            }
            View::Everything | View::Kept { wild: true } => link.watch.from_zero = true,
            View::Live => link.watch.anywhere = true,
            View::States | View::At => link.watch.only_states = true,
        }
        for filter in filters {
            let Some(packet) = self
                .links
                .get_mut(&id)
                .map(crate::link::Link::next_packet_id)
            else {
                return;
            };
            self.send_up(id, wire::subscribe(packet, &filter));
        }
    }

    fn observed(&mut self, n: usize, id: LinkId, publish: Publish) {
        let Publish {
            topic,
            payload,
            id: packet,
            retain,
            dup,
            ..
        } = publish;
        let now = self.now();
        self.trace.line(now, || {
            let link = self.links.get(&id).map(|link| link.watch.only_states);
            format!(
                "observer {n} gets {topic}, {} bytes, {link:?}",
                payload.len()
            )
        });
        let seen = self.see(id, &topic, &payload);
        if let Some(packet) = packet {
            self.send_up(id, wire::puback(packet));
        }
        let taken = match seen {
            Ok(Seen::Event(event)) => self.observed_event(n, id, (&event, packet, dup)),
            Ok(Seen::State(snapshot)) if self.observers[n].view == View::At => {
                self.wish_fulfilled(n, snapshot)
            }
            Ok(Seen::State(snapshot)) => self.observed_state(n, snapshot, retain),
            Ok(Seen::Other) => Ok(()),
            Err(what) => Err(what),
        };
        self.oracle.check(taken);
    }

    fn observed_event(
        &mut self,
        n: usize,
        id: LinkId,
        (event, packet, dup): (&Event, Option<u16>, bool),
    ) -> Result<(), String> {
        let observer = &mut self.observers[n];
        if dup {
            self.oracle.tally.count("SESSION-2 events with DUP");
        }
        observer
            .session
            .takes(event, dup)
            .map_err(|what| format!("observer {n}: {what}"))?;
        if let (Some(link), Some(packet)) = (self.links.get_mut(&id), packet) {
            let place = (event.stream.clone(), event.seq);
            link.unheard.insert(packet, place);
        }
        observer.apply(event)
    }

    /// Bytes of an observer have reached the broker, and its end goes on.
    pub(super) fn observer_heard(&mut self, n: usize, id: LinkId, bytes: &[u8]) {
        self.observer_connects_late(n, id, bytes);
        let ([0x40, 2, high, low], Some(link)) = (bytes, self.links.get_mut(&id)) else {
            return;
        };
        let goes_on = link.server.as_ref().is_some_and(|it| it.ended().is_none());
        if let Some((stream, seq)) = link.unheard.remove(&u16::from_be_bytes([*high, *low]))
            && goes_on
        {
            self.observers[n].session.was_heard(stream, seq);
        }
    }

    /// A CONNECT of a connection that the client has given up takes its session over like any other. If it asks for a clean
    /// start, what the client was told to be kept is thrown away, and nothing in MQTT tells it (SESSION-1). So that it does not
    /// wait for ever for what it does not follow any more, its next connection begins anew.
    fn observer_connects_late(&mut self, n: usize, id: LinkId, bytes: &[u8]) {
        let late = |it: &Link| it.clean_start && it.abandoned;
        if bytes.first() == Some(&0x10) && self.links.get(&id).is_some_and(late) {
            self.observers[n].begins_anew = true;
        }
    }

    /// VIEW-7: chooses a state to ask for, also some that are not kept.
    fn wish(&mut self, n: usize) {
        if self.observers[n].view != View::At {
            return;
        }
        let stream = &self.observers[n].stream;
        let (horizon, head) = (self.oracle.horizon(stream), self.oracle.head(stream));
        let from = horizon.get().saturating_sub(2);
        let seq = from + self.dice.below(head.get() + 3 - from);
        self.observers[n].wish = Seq::new(seq).map(|seq| Wish {
            seq,
            horizon,
            head,
            at: self.agenda.now(),
            json: seq.get().is_multiple_of(2),
        });
    }

    fn wish_answered(&mut self, n: usize, codes: &[u8]) {
        let Some(wish) = self.observers[n].wish else {
            return;
        };
        let stream = &self.observers[n].stream;
        let rolled_back = self.oracle.rollbacks(stream) > 0;
        let kept = self.oracle.horizon(stream) <= wish.seq && wish.seq <= wish.head;
        match codes {
            [0x83] if kept && !rolled_back => {
                let seq = wish.seq;
                self.oracle.fail(format!(
                    "VIEW-7: the state at {seq} is refused, and it is kept"
                ));
            }
            [0x83] => {
                self.oracle.tally.count("VIEW-7 states that are not kept");
                self.observer_leaves(n);
            }
            [..0x80] => {}
            _ => self
                .oracle
                .fail(format!("observer {n}: SUBACK {codes:x?} to $at")),
        }
    }

    fn wish_fulfilled(&mut self, n: usize, snapshot: Snapshot) -> Result<(), String> {
        let Some(wish) = self.observers[n].wish else {
            return Err(format!(
                "VIEW-7: observer {n} gets a state that it did not ask for"
            ));
        };
        let stream = snapshot.stream.clone();
        if snapshot.seq != wish.seq || snapshot.since > Seq::ZERO {
            let (seq, wished) = (snapshot.seq, wish.seq);
            return Err(format!(
                "VIEW-7: {stream}: a state at {seq}, and {wished} was asked for"
            ));
        }
        if snapshot.seq < wish.horizon && self.oracle.rollbacks(&stream) == 0 {
            let (seq, horizon) = (wish.seq, wish.horizon);
            return Err(format!(
                "VIEW-7: {stream}: a state at {seq}, and the horizon was {horizon}"
            ));
        }
        let before = self.observers[n].shown.len();
        self.observers[n].take(snapshot)?;
        if self.observers[n].shown.len() > before {
            self.oracle.tally.count("VIEW-7 states as of a seq");
            self.observers[n].wish = None;
            self.observer_leaves(n);
        }
        Ok(())
    }

    fn observed_state(&mut self, n: usize, snapshot: Snapshot, retain: bool) -> Result<(), String> {
        let observer = &mut self.observers[n];
        let owed = observer.owed.remove(&snapshot.stream).unwrap_or_default();
        let rolled_back = self.oracle.rollbacks(&snapshot.stream) > 0;
        if observer.view == View::States && retain && snapshot.seq < owed && !rolled_back {
            let (stream, seq) = (&snapshot.stream, snapshot.seq);
            return Err(format!(
                "G8: {stream}: a retained state at {seq}, and {owed} was acknowledged before"
            ));
        }
        observer.take(snapshot)
    }
}
