//! The broker's process: its turns, its crashes, its next life.

use std::sync::Arc;

use syncline_broker::compactor::Progress;

use super::{Happening, World};
use crate::broker::Broker;
use crate::link::{Chunk, Link, LinkId, Owner};

impl World {
    pub(super) fn start_broker(&mut self) {
        if self.broker.is_some() {
            return;
        }
        self.wall
            .store(self.broker_now(), std::sync::atomic::Ordering::Relaxed);
        let (store, rolled_back) = match self.disk.open() {
            Ok(opened) => opened,
            Err(error) => {
                return self
                    .oracle
                    .fail(format!("G12: the disk does not open: {error}"));
            }
        };
        self.oracle.reopened(&*store, rolled_back);
        if rolled_back {
            self.observers
                .iter_mut()
                .for_each(|it| it.begins_anew = true);
        }
        let kept = (&store, self.disk.sessions());
        match Broker::start(kept, &self.schema, &self.wall, &mut self.dice) {
            Ok(broker) => self.broker = Some(broker),
            Err(error) => self
                .oracle
                .fail(format!("G12: the broker does not start: {error}")),
        }
        self.store = Some(store);
        let now = self.now();
        let observers = self.observers.iter_mut();
        observers.for_each(|it| it.session.restarted(now));
        self.schedule_server();
    }

    /// The process is gone with everything that it had in memory.
    pub(super) fn crash_broker(&mut self) {
        // What it wrote counts as far as a new process would find it.
        self.disk.freeze();
        self.broker = None;
        self.store = None;
        self.sessions_cut();
        let ids: Vec<LinkId> = self.links.keys().copied().collect();
        for id in ids {
            let (kept, after) = (self.dice.below(4), self.dice.below(20_000));
            let Some(link) = self.links.get_mut(&id) else {
                continue;
            };
            if link.server.take().is_none() && !link.closed {
                continue; // It has not reached the broker yet.
            }
            link.closed = true;
            let carried = link.down.len();
            link.down.lose_after(carried * kept as usize / 3);
            self.agenda.after(after, Happening::ClientNotices(id));
            self.forget_if_over(id);
        }
        let survival = self.dice.next_u64();
        self.disk.crash(survival);
        let delay = 10 + self.dice.below(20_000);
        self.agenda.after(delay, Happening::Start);
    }

    fn sessions_cut(&mut self) {
        let (now, clock) = (self.now(), self.broker_clock);
        for (n, observer) in self.observers.iter_mut().enumerate() {
            let mut links = self.links.values();
            let is_up = |it: &Link| it.server.is_some() && !it.left;
            let connected = links.any(|it| it.owner == Owner::Observer(n) && is_up(it));
            observer.session.crashed(now, clock, connected);
        }
    }

    pub(super) fn server_receives(&mut self, id: LinkId, bytes: &[u8]) {
        let (now, time) = (self.instant(), self.now());
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let Some(broker) = &self.broker else {
            link.closed = true;
            return self.put_down(id, Chunk::End);
        };
        if link.closed {
            return;
        }
        let server = link
            .server
            .get_or_insert_with(|| broker.edge.connect(format!("auto-{id}"), now));
        server.receive(bytes);
        link.heard_at = time;
        let owner = link.owner;
        self.turn(id);
        if let Owner::Observer(n) = owner {
            self.observer_heard(n, id, bytes);
        }
    }

    /// The broker's end is gone, and it knows.
    pub(super) fn server_notices(&mut self, id: LinkId) {
        let now = self.instant();
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.closed = true;
        let owner = link.owner;
        if let Some(mut server) = link.server.take() {
            server.lost(now);
            drop(server);
            self.put_down(id, Chunk::End);
            self.session_left(id, owner, self.now());
        }
        self.forget_if_over(id);
        self.schedule_server();
    }

    /// The broker's end is over, since `earliest` or later: a session waits from there on, unless a later connection took it over
    /// before.
    fn session_left(&mut self, id: LinkId, owner: Owner, earliest: u64) {
        let Owner::Observer(n) = owner else {
            return;
        };
        let mut others = self
            .links
            .iter()
            .filter(|(it, link)| **it != id && link.owner == owner);
        let goes_on = others.any(|(_, link)| link.server.is_some());
        let (now, clock) = (self.now(), self.broker_clock);
        let known = self.links.get_mut(&id);
        let was_noted = known.is_some_and(|link| std::mem::replace(&mut link.left, true));
        if !goes_on && !was_noted {
            self.observers[n].session.left(earliest, now, clock);
        }
    }

    pub(super) fn turn_if_due(&mut self, id: LinkId) {
        let now = self.now();
        if self.links.get(&id).and_then(|link| link.turn_at) == Some(now) {
            self.turn(id);
        }
    }

    fn turn(&mut self, id: LinkId) {
        let now = self.instant();
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.turn_at = None;
        let Some(server) = link.server.as_mut() else {
            return;
        };
        server.turn(now);
        self.pump(id);
        self.schedule_server();
    }

    /// Moves what the broker has for the client onto its way, as far as the window goes.
    pub(super) fn pump(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let room = link.window.saturating_sub(link.down.bytes());
        let Some(server) = link.server.as_mut() else {
            return;
        };
        let bytes = server.output(room);
        let (is_over, owner) = (server.ended().is_some(), link.owner);
        let ended = is_over && bytes.len() < room;
        // What it said last may have been its goodbye.
        let heard_at = link.heard_at;
        if is_over {
            self.session_left(id, owner, heard_at);
        }
        let moved = !bytes.is_empty();
        if moved {
            self.put_down(id, Chunk::Bytes(bytes));
        }
        if ended {
            self.server_notices(id);
        } else if moved {
            self.schedule_turn(id, 0);
        }
    }

    fn schedule_turn(&mut self, id: LinkId, delay: u64) {
        let at = self.now() + delay;
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if link.turn_at.is_none_or(|set| set > at) {
            link.turn_at = Some(at);
            self.agenda.at(at, Happening::Turn(id));
        }
    }

    /// Whatever of the broker has something to do gets its moment.
    pub(super) fn schedule_server(&mut self) {
        let Some(broker) = &self.broker else {
            return;
        };
        let (reads, carried) = (broker.edge.reads() > 0, broker.in_bus() > 0);
        if reads && !std::mem::replace(&mut self.scheduled.read, true) {
            let delay = self.dice.below(40);
            self.agenda.after(delay, Happening::Read);
        }
        if carried && !std::mem::replace(&mut self.scheduled.bus, true) {
            let delay = self.dice.below(50);
            self.agenda.after(delay, Happening::Bus);
        }
        if !std::mem::replace(&mut self.scheduled.sequence, true) {
            let at = self.now() + self.dice.below(30);
            self.agenda
                .at(at.max(self.stalled_until), Happening::Sequence);
        }
        let ids: Vec<LinkId> = self.links.keys().copied().collect();
        for id in ids {
            self.schedule_link(id);
        }
    }

    fn schedule_link(&mut self, id: LinkId) {
        let Some(server) = self
            .links
            .get_mut(&id)
            .and_then(|link| link.server.as_mut())
        else {
            return;
        };
        if server.has_mail() {
            let delay = self.dice.below(15);
            return self.schedule_turn(id, delay);
        }
        if let Some(timeout) = server.next_timeout() {
            let delay = self.moment(timeout).saturating_sub(self.now()).max(1);
            self.schedule_turn(id, delay);
        }
    }

    pub(super) fn read(&mut self) {
        self.scheduled.read = false;
        let Some(broker) = &self.broker else {
            return;
        };
        let waiting = broker.edge.reads() as u64;
        if waiting > 0 {
            let which = self.dice.below(waiting);
            broker.edge.read(which as usize);
        }
        // It may have waited for the sequencer.
        self.settled(true);
    }

    pub(super) fn sequence(&mut self) {
        self.scheduled.sequence = false;
        let Some(broker) = self.broker.as_mut() else {
            return;
        };
        let found = broker.sequence();
        self.settled(found);
    }

    /// The sequencer has taken steps.
    fn settled(&mut self, found: bool) {
        let Some(broker) = self.broker.as_mut() else {
            return;
        };
        let dead = broker.is_dead();
        let promised = broker.promised();
        if let Some(store) = self.store.as_ref().map(Arc::clone) {
            self.oracle.absorb(&*store);
            self.oracle.keeps_horizons(&*store, promised);
        }
        if dead {
            self.oracle.tally.count("process ended itself");
            return self.crash_broker();
        }
        if found || self.broker.as_ref().is_some_and(Broker::has_work) {
            self.schedule_server();
        }
    }

    pub(super) fn bus(&mut self) {
        self.scheduled.bus = false;
        let count = 1 + self.dice.below(8);
        let Some(broker) = self.broker.as_mut() else {
            return;
        };
        broker.carry(count as usize);
        self.schedule_server();
    }

    pub(super) fn compact(&mut self) {
        if self.dice.below(4) > 0
            && let Err(error) = self.disk.apply()
        {
            self.oracle
                .fail(format!("the tables are not filled: {error}"));
        }
        let (now, delay) = (self.broker_now(), self.dice.below(100));
        let idle = self
            .broker
            .as_mut()
            .is_none_or(|it| it.compact(now) == Progress::Idle);
        self.agenda
            .after(if idle { 500 } else { 1 + delay }, Happening::Compact);
        self.schedule_server();
    }

    pub(super) fn tick(&mut self) {
        if let Some(broker) = &self.broker {
            broker.edge.tick();
        }
        self.schedule_server();
        self.agenda.after(1_000, Happening::Tick);
    }
}
