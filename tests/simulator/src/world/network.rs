//! Connections: made, carried, cut.

use super::{Happening, World};
use crate::link::{Chunk, Link, LinkId, Owner};
use crate::wire::{self, Connect};

impl World {
    /// A client begins to connect; its CONNECT is on its way.
    pub(super) fn open_link(&mut self, owner: Owner, connect: &Connect) -> LinkId {
        let latency = 1 + self.dice.below(120);
        let window = [512, 4_096, 1 << 20][self.dice.below(3) as usize];
        self.next_link += 1;
        let id = self.next_link;
        let mut link = Link::new(owner, connect.clean_start, latency, window);
        if let Owner::Device(device) = owner {
            link.blocked_until = self.devices[device].partitioned_until;
        }
        self.links.insert(id, link);
        self.send_up(id, connect.encode());
        id
    }

    /// Bytes leave the client.
    pub(super) fn send_up(&mut self, id: LinkId, bytes: Vec<u8>) {
        self.put_up(id, Chunk::Bytes(bytes));
    }

    fn put_up(&mut self, id: LinkId, chunk: Chunk) {
        let now = self.now();
        let Some(link) = self.links.get_mut(&id).filter(|link| !link.broken) else {
            return;
        };
        let delay = link.latency_ms + self.dice.below(link.latency_ms);
        let arrival = link.up.push((now + delay).max(link.blocked_until), chunk);
        self.agenda.at(arrival, Happening::ArriveUp(id));
    }

    pub(super) fn put_down(&mut self, id: LinkId, chunk: Chunk) {
        let now = self.now();
        let Some(link) = self.links.get_mut(&id).filter(|link| !link.broken) else {
            return;
        };
        let delay = link.latency_ms + self.dice.below(link.latency_ms);
        let arrival = link.down.push((now + delay).max(link.blocked_until), chunk);
        self.agenda.at(arrival, Happening::ArriveDown(id));
    }

    /// The client closes its end. What it has sent still arrives, then the end does.
    pub(super) fn client_closes(&mut self, id: LinkId) {
        let says_goodbye = self.dice.below(2) == 0;
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.abandoned = true;
        if says_goodbye {
            self.send_up(id, wire::disconnect());
        }
        self.put_up(id, Chunk::End);
        self.forget_if_over(id);
    }

    pub(super) fn arrive_up(&mut self, id: LinkId) {
        let now = self.now();
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if now < link.blocked_until {
            let until = link.blocked_until;
            return self.agenda.at(until, Happening::ArriveUp(id));
        }
        // Whoever does not read now is asked again when it has had a turn.
        if link
            .server
            .as_mut()
            .is_some_and(|server| !server.wants_input())
        {
            return self.agenda.after(20, Happening::ArriveUp(id));
        }
        match link.up.pop(now) {
            Some(Chunk::Bytes(bytes)) => self.server_receives(id, &bytes),
            Some(Chunk::End) => self.server_notices(id),
            None => {}
        }
    }

    pub(super) fn arrive_down(&mut self, id: LinkId) {
        let now = self.now();
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if now < link.blocked_until {
            let until = link.blocked_until;
            return self.agenda.at(until, Happening::ArriveDown(id));
        }
        let Some(chunk) = link.down.pop(now) else {
            return;
        };
        let abandoned = link.abandoned;
        self.pump(id);
        match chunk {
            _ if abandoned => {}
            Chunk::Bytes(bytes) => self.client_receives(id, &bytes),
            Chunk::End => self.client_notices(id),
        }
    }

    fn client_receives(&mut self, id: LinkId, bytes: &[u8]) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let owner = link.owner;
        match (link.decoder.feed(bytes), owner) {
            (Err(error), _) => self.oracle.fail(format!("the broker's bytes: {error}")),
            (Ok(packets), Owner::Device(device)) => self.device_receives(device, id, packets),
            (Ok(packets), Owner::Observer(observer)) => {
                self.observer_receives(observer, id, packets);
            }
        }
    }

    /// The client's end is gone, and it knows.
    pub(super) fn client_notices(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id).filter(|link| !link.abandoned) else {
            return self.forget_if_over(id);
        };
        link.abandoned = true;
        let owner = link.owner;
        self.put_up(id, Chunk::End);
        self.forget_if_over(id);
        match owner {
            Owner::Device(device) => self.device_loses(device, id, false),
            Owner::Observer(observer) => self.observer_loses(observer),
        }
    }

    /// The connection breaks. Each end notices when it does, and what was on its way may still come, much later.
    pub(super) fn cut(&mut self, id: LinkId) {
        let (late, client_after) = (self.dice.below(3), self.dice.below(20_000));
        let server_after = self.dice.below(30_000);
        let delay = self.dice.below(15_000);
        let now = self.now();
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.broken = true;
        let (up, down) = (link.up.len(), link.down.len());
        // Nothing, a beginning or all of what was sent arrives, and late.
        let kept = [0, up / 2, up][late as usize];
        link.up.lose_after(kept);
        link.down.lose_after(down / 2);
        link.blocked_until = link.blocked_until.max(now + delay);
        if kept > 0 {
            self.oracle.tally.count("late packets of a lost connection");
        }
        self.agenda
            .after(client_after, Happening::ClientNotices(id));
        self.agenda
            .after(server_after, Happening::ServerNotices(id));
    }

    pub(super) fn forget_if_over(&mut self, id: LinkId) {
        if self.links.get(&id).is_some_and(Link::is_over) {
            self.links.remove(&id);
        }
    }
}
