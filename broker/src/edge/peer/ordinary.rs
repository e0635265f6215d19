//! Ordinary topics of one connection: what it publishes is passed on, and what it follows is brought to it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use syncline_protocol::{Filter, UnixMillis};

use super::Peer;
use super::keeping::Departure;
use crate::edge::counters::Count;
use crate::edge::fetch::{self, Fetched, Looked};
use crate::edge::mailbox::Mailbox;
use crate::edge::ordinary::follow::Follow;
use crate::edge::ordinary::{
    Entering, Greeting, Mail, OrdinaryNeed, Outbox, Over, Post, Posted, QUEUE_IDS, Slip,
    SubscriberId, Terms,
};
use crate::edge::session::{
    Answer, Cargo, Message, NotSent, Posting, Retained, Ticket, Traffic, Wanted, Will,
};
use crate::edge::wills::{self, LastWill};
use crate::sequencer::Outcome;
use crate::store::sessions::{DeviceKey, LoadedSession, PacketId, SessionChange, SessionKey, Side};
use crate::store::{ReadLimit, StoreError};

/// Messages of the queue that are read at a time.
const PAGE: ReadLimit = ReadLimit {
    events: 64,
    bytes: 256 << 10,
};

/// Retained messages that are read at a time.
const RETAINED_PAGE: usize = 64;

/// Copies that find no room, and how long their publisher is not read for so many.
const LOSSES_MANY: u64 = 1_000;
const REST: Duration = Duration::from_millis(1);

/// What a connection knows of its ordinary topics.
#[derive(Debug, Default)]
pub(super) struct Ordinary {
    /// Its session, once it is open.
    pub(super) id: Option<SubscriberId>,
    pub(super) outbox: Outbox,
    /// Copies of what it published that found no room, since it last paid for them.
    losses: u64,
}

impl Peer {
    /// The session is open, or goes on with what it left.
    pub(super) fn enter_topics(&mut self, key: &SessionKey, resumed: Option<&LoadedSession>) {
        // What waits for one that is resumed is brought to it, also if it ends with this connection.
        let kept = self.session.expiry_ms() > 0 || resumed.is_some();
        let entering = Entering {
            key,
            kept,
            resumed: resumed.is_some(),
            mailbox: self.mailbox(),
            who: self.identity.as_ref().map(|it| Arc::clone(&it.principal)),
        };
        let id = self.shared.topics.enter(entering);
        self.ordinary.id = Some(id);
        if kept {
            let (packets, queued_to) =
                resumed.map_or_else(Default::default, |it| (it.packets.as_slice(), it.queued_to));
            self.ordinary.outbox.keep(packets, queued_to);
        }
    }

    /// Ids of exchanges at QoS 2 go on where they were.
    pub(super) fn resume_exchanges(&mut self, packets: &[PacketId]) {
        let of = |side| packets.iter().filter(move |it| it.side == side);
        let ids = |side| of(side).map(|it| it.id).collect::<Vec<_>>();
        self.session.resume(&ids(Side::Client), &ids(Side::Broker));
    }

    /// The connection is gone.
    pub(super) fn leave_topics(&mut self, kept: bool) {
        let Some(id) = self.ordinary.id.take() else {
            return;
        };
        let unsent = self.ordinary.outbox.take_shared();
        let (topics, keeper) = (&self.shared.topics, &self.shared.keeper);
        topics.leave(id, kept, (unsent, &self.mailbox), keeper);
    }

    /// What a kept session leaves of its queue: what it has, and what was sent and is not acknowledged.
    pub(super) fn last_of_queue(&mut self, key: &SessionKey) -> Vec<SessionChange> {
        let outbox = &mut self.ordinary.outbox;
        let has = outbox.take_acked(true).into_iter();
        let dequeue = |number| SessionChange::Dequeue(key.clone(), number);
        let sent = outbox.unacked_ids().into_iter();
        let sent = sent.map(|id| packet_change(SessionChange::Open, key, Side::Sent, id));
        has.map(dequeue).chain(sent).collect()
    }

    /// Passes a message of the client on.
    pub(super) fn post(&mut self, ticket: Ticket, posting: Posting, exactly_once: Option<u16>) {
        let kept = self.keeping.keeps().cloned();
        let exchange = kept.zip(exactly_once);
        let change = |make: fn(SessionKey, PacketId) -> SessionChange| {
            let exchange = exchange.as_ref();
            exchange.map(|(key, id)| packet_change(make, key, Side::Client, *id))
        };
        let post = Post {
            message: wills::message(posting, (self.shared.now)()),
            from: self.ordinary.id,
            with: change(SessionChange::Open).into_iter().collect(),
        };
        // A v5 client hears that the exchange is over where there is no room.
        let undo = change(SessionChange::Close).filter(|_| self.session.is_v5());
        let (mailbox, shared) = (self.mailbox(), Arc::clone(&self.shared));
        let told = move |posted| {
            let Some(undo) = undo.filter(|_| matches!(posted, Posted::Full(_))) else {
                return mailbox.answer(ticket, answer(posted));
            };
            // Else the id could be taken for a repeat after a crash, and what comes under it be lost.
            let told = move |undone: Result<Vec<usize>, StoreError>| {
                let answer = undone.map_or_else(|error| not_kept(&error), |_| answer(posted));
                mailbox.answer(ticket, answer);
            };
            shared.keeper.write(vec![undo], Some(Box::new(told)));
        };
        let (topics, keeper) = (&self.shared.topics, &self.shared.keeper);
        self.ordinary.losses += topics.post(post, keeper, Box::new(told));
    }

    /// Work for nobody has its price: else whoever publishes without end to many who do not read has the broker to itself.
    pub(super) fn pay_for_losses(&mut self, now: Instant) {
        if self.ordinary.losses >= LOSSES_MANY {
            self.ordinary.losses = 0;
            self.rests_until = Some(now + REST);
        }
    }

    /// What hears the outcome of an event that was published at QoS 2: its packet id goes to the disk behind it, also if the
    /// connection ends meanwhile. Until then the session stays this connection's.
    pub(super) fn reply_exactly_once(
        &self,
        ticket: Ticket,
        packet_id: u16,
        device: DeviceKey,
    ) -> Box<dyn FnOnce(Outcome) + Send> {
        let mailbox = self.mailbox();
        let Some(key) = self.keeping.keeps().cloned() else {
            return Box::new(move |outcome| mailbox.answer(ticket, Answer::Event(outcome)));
        };
        let (shared, stay): (_, Arc<Departure>) = (Arc::clone(&self.shared), self.keeping.stay());
        Box::new(move |outcome| {
            if !matches!(outcome, Outcome::Saved { .. } | Outcome::Repeat { .. }) {
                return mailbox.answer(ticket, Answer::Event(outcome));
            }
            let open = packet_change(SessionChange::Open, &key, Side::Client, packet_id);
            let tell = move |written: Result<_, _>| {
                let answer = written.map_or_else(
                    |error| not_kept(&error),
                    |_: Vec<usize>| Answer::Event(outcome),
                );
                mailbox.answer(ticket, answer);
            };
            shared.save_owner(device, vec![open], Box::new(tell));
            drop(stay);
        })
    }

    /// The will of a client that was lost: now, or after its delay if the session is kept so long.
    pub(super) fn ordinary_will(&mut self, posting: Posting, delay_s: u32) {
        let wait_ms = (u64::from(delay_s) * 1_000).min(self.session.expiry_ms());
        let of = self.identity.clone();
        let will = LastWill { posting, of };
        match self.keeping.keeps().cloned().filter(|_| wait_ms > 0) {
            Some(key) => {
                let at = (self.shared.now)().plus(wait_ms);
                self.shared.wills.wait(key, at, will);
            }
            None => wills::publish(&self.shared, will),
        }
    }

    pub(super) fn will(&mut self, will: Will) {
        match will {
            Will::Event(submission) => self.event_will(submission),
            Will::Posting(posting, delay_s) => self.ordinary_will(posting, delay_s),
        }
    }

    /// Begins to follow, if the filter matches anything outside `sync/`. `new`: it was not followed before.
    pub(super) fn follow(&mut self, wanted: &Wanted, new: bool) {
        let base = &wanted.subscription.filter;
        let (Some(follow), Some(id)) = (Follow::of(base), self.ordinary.id) else {
            return;
        };
        let terms = Terms {
            qos: wanted.qos,
            no_local: wanted.no_local,
            retain_as_published: wanted.retain_as_published,
            identifier: wanted.identifier,
        };
        let since = self.shared.topics.follow(id, base, terms);
        let asked = match wanted.retained {
            Retained::Always => true,
            Retained::IfNew => new,
            Retained::Never => false,
        };
        if asked && follow.group.is_none() {
            self.ordinary.outbox.greet(Greeting {
                base: base.clone(),
                filter: follow.filter,
                terms,
                since,
            });
        }
    }

    pub(super) fn unfollow(&mut self, base: &Filter) {
        if let Some(id) = self.ordinary.id {
            self.shared.topics.unfollow(id, base);
            self.ordinary.outbox.forget(base);
        }
    }

    /// Delivers one message, or asks for what that needs; whether there was something to do.
    pub(super) fn deliver_ordinary(&mut self) -> bool {
        if self.ordinary.id.is_none() {
            return false;
        }
        let (room, now) = (self.session.has_room(), (self.shared.now)());
        let mailbox = &self.mailbox;
        let loose = |room| mailbox.next_letter(room);
        if let Some(mail) = self.ordinary.outbox.next(now, room, loose) {
            self.send_mail(now, &mail);
            return true;
        }
        match self.ordinary.outbox.need() {
            Some(need) => self.look(need),
            None => return false,
        }
        true
    }

    fn send_mail(&mut self, now: UnixMillis, mail: &Mail) {
        let topic = mail.message.topic.as_str();
        let outdated = |since| !self.shared.topics.is_since(topic, since);
        if mail.since.is_some_and(outdated) {
            return self.settled(mail.slip);
        }
        let identity = self.identity.as_ref();
        if !identity.is_some_and(|it| it.principal.grant().reads_topic(topic)) {
            self.shared.counters.count(Count::NotGranted);
            return self.settled(mail.slip);
        }
        let sent = self.session.publish(Message {
            topic,
            payload: &mail.message.payload,
            qos: mail.qos,
            packet_id: mail.packet_id,
            retain: mail.retain,
            again: mail.again,
            identifiers: &mail.identifiers,
            properties: &mail.message.properties,
            expiry_s: mail.message.expires_at.map(|at| seconds_until(at, now)),
            cargo: mail.slip.map(Cargo::Ordinary),
        });
        match sent {
            Ok(_) => {}
            Err(NotSent::TooLarge) => {
                self.shared.counters.count(Count::TooLargeForClient);
                tracing::debug!(peer = self.id.0, topic, "larger than the client takes");
                self.settled(mail.slip);
            }
            // Its packet id is still in use, or the like: it waits where it is for the next connection.
            Err(NotSent::Packet(error)) => self.failed(&error),
        }
    }

    /// The client has a message, or will never get it.
    pub(super) fn settled(&mut self, slip: Option<Slip>) {
        slip.into_iter()
            .for_each(|slip| self.ordinary.outbox.acked(slip));
    }

    /// The client has a message at QoS 2. Once that is on disk it may forget the packet id.
    pub(super) fn received(&mut self, packet_id: u16, slip: Slip) {
        self.settled(Some(slip));
        let Some(key) = self.keeping.keeps().cloned() else {
            return self.session.release(packet_id);
        };
        let mut changes = self.take_out(&key, true);
        let open = packet_change(SessionChange::Open, &key, Side::Broker, packet_id);
        changes.push(open);
        self.write_and_look(changes, Looked::Received(packet_id));
    }

    /// An exchange of ours is over.
    pub(super) fn completed(&mut self, packet_id: u16) {
        if let Some(key) = self.keeping.keeps().filter(|_| packet_id >= QUEUE_IDS) {
            let close = packet_change(SessionChange::Close, key, Side::Broker, packet_id);
            self.shared.keeper.write(vec![close], None);
        }
    }

    /// The client is done with its packet id.
    pub(super) fn release(&mut self, packet_id: u16) {
        let Some(key) = self.keeping.keeps() else {
            return self.session.released(packet_id);
        };
        let close = packet_change(SessionChange::Close, key, Side::Client, packet_id);
        self.write_and_look(vec![close], Looked::Released(packet_id));
    }

    /// Takes what the client has out of its queue; `now`: even if it is little.
    pub(super) fn dequeue(&mut self, now: bool) {
        let Some(key) = self.keeping.keeps().cloned() else {
            return;
        };
        let changes = self.take_out(&key, now);
        if !changes.is_empty() {
            self.shared.keeper.write(changes, None);
        }
    }

    fn take_out(&mut self, key: &SessionKey, now: bool) -> Vec<SessionChange> {
        let acked = self.ordinary.outbox.take_acked(now).into_iter();
        let dequeue = |number| SessionChange::Dequeue(key.clone(), number);
        acked.map(dequeue).collect()
    }

    /// What was needed is there.
    pub(super) fn looked(&mut self, looked: Looked) {
        let outbox = &mut self.ordinary.outbox;
        match looked {
            Looked::Queue(page) => outbox.queue(page),
            Looked::Level => outbox.is_level(),
            Looked::Greeted => outbox.is_greeted(),
            Looked::Released(packet_id) => self.session.released(packet_id),
            Looked::Received(packet_id) => self.session.release(packet_id),
            Looked::Retained(mut messages, next) => {
                // What may not be read is not for the queue either.
                let grant = self.identity.as_ref().map(|it| it.principal.grant());
                let reads = |topic: &str| grant.is_some_and(|it| it.reads_topic(topic));
                messages.retain(|it| reads(&it.topic));
                let durable = outbox.greet_with(messages, next);
                if let (Some(id), false) = (self.ordinary.id, durable.is_empty()) {
                    let mailbox = self.mailbox();
                    let told = move |posted| greeted(&mailbox, posted);
                    let (topics, keeper) = (&self.shared.topics, &self.shared.keeper);
                    topics.enqueue(id, durable, keeper, Box::new(told));
                }
            }
        }
    }

    fn look(&mut self, need: OrdinaryNeed) {
        match need {
            OrdinaryNeed::Queue(after) => {
                let Some(key) = self.keeping.keeps().cloned() else {
                    return self.ordinary.outbox.queue(Vec::new());
                };
                let shared = Arc::clone(&self.shared);
                fetch::spawn(&self.shared.reader, self.mailbox(), move || {
                    let page = shared.sessions.queued(&key, after, PAGE)?;
                    Ok(Fetched::Ordinary(Looked::Queue(page)))
                });
            }
            OrdinaryNeed::Level => self.write_and_look(Vec::new(), Looked::Level),
            OrdinaryNeed::Retained {
                filter,
                since,
                after,
            } => {
                let topics = &self.shared.topics;
                let page = topics.retained_page(&filter, since, after.as_deref(), RETAINED_PAGE);
                let shared = Arc::clone(&self.shared);
                fetch::spawn(&self.shared.reader, self.mailbox(), move || {
                    let read = |topic: &Arc<str>| shared.sessions.retained(topic).transpose();
                    let messages: Result<_, _> = page.topics.iter().filter_map(read).collect();
                    Ok(Fetched::Ordinary(Looked::Retained(messages?, page.next)))
                });
            }
        }
    }

    /// Writes, and has [`Peer::looked`] told once it is on disk.
    fn write_and_look(&mut self, changes: Vec<SessionChange>, looked: Looked) {
        let mailbox = self.mailbox();
        let tell = move |written: Result<_, StoreError>| {
            mailbox.fetched(match written {
                Ok(_) => Fetched::Ordinary(looked),
                Err(error) => Fetched::Failed(error.into()),
            });
        };
        self.shared.keeper.write(changes, Some(Box::new(tell)));
    }

    /// Tells the counters what went over the wire, and the others whether this client is slow.
    pub(super) fn report_traffic(&mut self) {
        let Traffic {
            packets_in,
            packets_out,
            publish_in,
            publish_out,
            bytes_in,
            bytes_out,
            held,
            unread,
            refused,
        } = self.session.take_traffic();
        let expired = self.ordinary.outbox.take_expired();
        let counts = [
            (Count::PacketsIn, packets_in),
            (Count::PacketsOut, packets_out),
            (Count::PublishIn, publish_in),
            (Count::PublishOut, publish_out),
            (Count::BytesIn, bytes_in),
            (Count::BytesOut, bytes_out),
            (Count::Expired, expired),
            (Count::RateHeld, held),
            (Count::RateUnread, unread),
            (Count::RequestRefused, refused),
        ];
        for (what, more) in counts.into_iter().filter(|(_, more)| *more > 0) {
            self.shared.counters.add(what, more);
        }
        let full = !self.takes_more();
        let busy = full || !self.session.has_room() || self.ordinary.outbox.is_busy();
        self.mailbox.set_busy(busy);
    }
}

fn packet_change(
    make: fn(SessionKey, PacketId) -> SessionChange,
    key: &SessionKey,
    side: Side,
    id: u16,
) -> SessionChange {
    make(key.clone(), PacketId { side, id })
}

fn answer(posted: Posted) -> Answer {
    match posted {
        Posted::Taken { matched } => Answer::Taken { matched },
        Posted::Full(Over::Queue) => Answer::Full("a subscriber has no room for more"),
        Posted::Full(Over::Retained) => Answer::Full("as much is retained as may be"),
        Posted::Failed(error) => not_kept(&error),
    }
}

pub(super) fn not_kept(error: &StoreError) -> Answer {
    tracing::warn!(%error, "a message was not kept");
    Answer::NotKept("what was published could not be kept".to_owned())
}

fn greeted(mailbox: &Mailbox, posted: Posted) {
    mailbox.fetched(match posted {
        Posted::Failed(error) => Fetched::Failed(error.into()),
        Posted::Taken { .. } | Posted::Full(_) => Fetched::Ordinary(Looked::Greeted),
    });
}

/// Rounded up: what has not expired yet is not delivered as if it had.
fn seconds_until(at: UnixMillis, now: UnixMillis) -> u32 {
    let left_ms = at.get().saturating_sub(now.get());
    u32::try_from(left_ms.div_ceil(1_000)).unwrap_or(u32::MAX)
}
