//! Plain clients: they connect, watch, lose their connection and come again.

use syncline_protocol::{Event, Seq, Snapshot, State, Topic};

use super::{Happening, World};
use crate::link::{LinkId, Owner};
use crate::observer::View;
use crate::wire::{self, Connect, Packet, Publish};

impl World {
    pub(super) fn observe(&mut self, n: usize) {
        if self.observers[n].link.is_some() {
            return;
        }
        let connect = Connect {
            client_id: format!("observer-{n}"),
            device: None,
            clean_start: true,
            session_expiry_s: 0,
            receive_maximum: self.observers[n].receive_maximum,
            maximum_packet_size: None,
        };
        let link = self.open_link(Owner::Observer(n), &connect);
        self.observers[n].link = Some(link);
    }

    pub(super) fn observer_loses(&mut self, n: usize) {
        self.observers[n].link = None;
        let delay = self.dice.below(10_000);
        self.agenda.after(delay, Happening::Observe(n));
    }

    pub(super) fn observer_receives(&mut self, n: usize, id: LinkId, packets: Vec<Packet>) {
        for packet in packets {
            let now = self.now();
            if !matches!(packet, Packet::Publish(_)) {
                self.trace
                    .line(now, || format!("observer {n} on {id}: {packet:?}"));
            }
            match packet {
                Packet::ConnAck { code: 0, .. } => self.observer_subscribes(n, id),
                Packet::Publish(publish) => self.observed(n, id, publish),
                Packet::SubAck { codes, .. } if codes.iter().all(|code| *code < 0x80) => {}
                Packet::SubAck { codes, .. } => {
                    self.oracle.fail(format!("observer {n}: SUBACK {codes:x?}"));
                }
                _ => return self.client_notices(id),
            }
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
            View::Since { .. } => link.watch.expect_after(&stream, seq),
            View::Everything => link.watch.from_zero = true,
            View::Live => link.watch.anywhere = true,
            View::States => link.watch.only_states = true,
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
        self.oracle.check(seen);
        if let Some(packet) = packet {
            self.send_up(id, wire::puback(packet));
        }
        let taken = match topic.parse::<Topic>() {
            Ok(Topic::Events(_)) => match Event::decode(&payload) {
                Ok(event) => self.observers[n].apply(&event),
                Err(error) => Err(error.to_string()),
            },
            Ok(Topic::State(_)) => match Snapshot::decode(&payload) {
                Ok(snapshot) => self.observed_state(n, snapshot, retain),
                Err(error) => Err(error.to_string()),
            },
            _ => Ok(()),
        };
        self.oracle.check(taken);
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
