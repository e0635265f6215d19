//! One connection: its session and its delivery, tied to the hub, the sequencer and the store. Does no input or output
//! and never blocks; `connection.rs` moves the bytes.

mod entering;
mod keeping;
mod ordinary;
mod subscribing;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use syncline_protocol::{Notice, SyncId, TransientName};

use super::counters::Count;
use super::delivery::{Delivery, DeliveryOptions, Need, Outgoing, Scanned};
use super::devices::Claim;
use super::errors;
use super::fetch::{self, Fetched, Listed};
use super::hub::Reading;
use super::identity::Identity;
use super::index::PeerId;
use super::limits::{Crowded, UserSeat};
use super::mailbox::{Inbox, Mailbox, Summons};
use super::presence::Visit;
use super::session::{
    Action, Answer, Cargo, EndReason, Message, NoSession, NotSent, Session, Tag, Ticket,
};
use super::shared::Shared;
use super::sight::Sight;
use super::submission::Submission;
use crate::sequencer::{Lane, Outcome};
use crate::store::sessions::DeviceKey;
use crate::transport::Caller;
use keeping::Keeping;
use ordinary::Ordinary;

/// Bytes that wait to be written before no more is delivered.
const OUTPUT_FULL: usize = 16 << 10;

/// Bytes that wait to be written before nothing more is read: answers wait, too.
const OUTPUT_OVERFULL: usize = 256 << 10;

/// One connection.
pub(crate) struct Peer {
    shared: Arc<Shared>,
    caller: Caller,
    id: PeerId,
    mailbox: Arc<Mailbox>,
    session: Session,
    delivery: Delivery,
    lane: Lane,
    identity: Option<Arc<Identity>>,
    /// When to look whether what it came in with has expired.
    expiry: Option<Instant>,
    keeping: Keeping,
    ordinary: Ordinary,
    visit: Visit,
    /// Nothing is read until then.
    rests_until: Option<Instant>,
    /// The transport takes nothing for now.
    stuck: bool,
    /// Its user's place among the user's connections.
    seat: Option<UserSeat>,
}

impl Peer {
    /// A connection that has just been made. `fresh_client_id` is for a client that brings none.
    pub(crate) fn new(
        shared: Arc<Shared>,
        caller: Caller,
        fresh_client_id: String,
        now: Instant,
    ) -> Self {
        let mailbox = Arc::new(Mailbox::among(shared.topics.pending()));
        let options = shared.session_options(caller.port);
        let limits = DeliveryOptions {
            subscriptions_max: shared.options.subscriptions_max,
            state_bytes_per_s: shared.options.state_bytes_per_s,
            state_part_bytes: shared.options.state_part_bytes,
        };
        let mut session = Session::new(options, fresh_client_id, now);
        if let Some(rate) = shared.rate_of_address(&caller, now) {
            session.share_rate(rate);
        }
        let peer = Self {
            id: shared.hub.join(Arc::clone(&mailbox)),
            session,
            delivery: Delivery::new(limits, Sight::nothing()),
            lane: Lane::new(),
            identity: None,
            expiry: None,
            keeping: Keeping::default(),
            ordinary: Ordinary::default(),
            visit: Visit::default(),
            rests_until: None,
            stuck: false,
            seat: None,
            caller,
            shared,
            mailbox,
        };
        if peer.shared.is_draining() {
            peer.mailbox.summon(Summons::Drain);
        }
        peer
    }

    /// It is one connection too many.
    pub(crate) fn refuse_with(&mut self, crowded: Crowded, now: Instant) {
        self.session.refuse_with(crowded, now);
    }

    /// Who is at the other end, as far as the transport knows.
    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// What rings when there is something for [`Peer::mail`].
    pub(crate) fn mailbox(&self) -> Arc<Mailbox> {
        Arc::clone(&self.mailbox)
    }

    /// Bytes for the client.
    pub(crate) fn output(&mut self) -> &mut BytesMut {
        self.session.output()
    }

    /// Whether bytes may be read.
    pub(crate) fn wants_input(&mut self) -> bool {
        let rests = self.rests_until.is_some();
        !rests && self.session.wants_input() && self.session.output().len() < OUTPUT_OVERFULL
    }

    /// Whether the transport takes nothing for now.
    pub(crate) fn set_stuck(&mut self, stuck: bool) {
        self.stuck = stuck;
    }

    /// Whether more is delivered now: what a slow reader does not take is not written out for it either.
    fn takes_more(&mut self) -> bool {
        let waiting = self.session.output().len();
        waiting == 0 || (!self.stuck && waiting < OUTPUT_FULL)
    }

    /// Why the connection ends, once it does.
    pub(crate) fn ended(&self) -> Option<&EndReason> {
        self.session.ended()
    }

    /// When to call [`Peer::work`] again at the latest.
    pub(crate) fn next_timeout(&mut self) -> Option<Instant> {
        let room = self.takes_more();
        let delivery = self.delivery.next_timeout().filter(|_| room);
        self.session
            .next_timeout()
            .into_iter()
            .chain(self.rests_until)
            .chain(delivery)
            .chain(self.keeping.next_timeout())
            .chain(self.expiry)
            .min()
    }

    /// The transport is gone.
    pub(crate) fn lost(&mut self, now: Instant) {
        self.session.end(EndReason::Lost);
        self.act(now);
        self.leave_if_ended(now);
    }

    /// Does all there is to do: reads what was received, answers, delivers until the output is full. Once it `is_late` it leaves
    /// what was received for the next time; whether it did.
    pub(crate) fn work(
        &mut self,
        now: Instant,
        input: &mut BytesMut,
        is_late: impl Fn() -> bool,
    ) -> bool {
        self.session.tick(now);
        self.end_if_expired(now);
        self.rests_until.take_if(|until| *until <= now);
        // What is to be done first keeps it from reading.
        self.act(now);
        let mut left = self.wants_input();
        while left {
            left = self.read(now, input);
            if is_late() {
                break;
            }
        }
        self.deliver(now);
        self.act(now);
        self.save_if_due(now);
        self.dequeue(false);
        self.report_traffic();
        self.leave_if_ended(now);
        left && self.wants_input()
    }

    /// Does what the next packets ask for; whether there may be more of them.
    fn read(&mut self, now: Instant, input: &mut BytesMut) -> bool {
        let before = input.len();
        self.session.receive(now, input);
        self.act(now);
        self.pay_for_losses(now);
        !input.is_empty() && input.len() < before && self.wants_input()
    }

    /// Takes what others left in the mailbox.
    pub(crate) fn mail(&mut self, now: Instant) {
        let Inbox {
            answers,
            advances,
            topics,
            reports,
            fetched,
            queue_grew,
            admitted,
            summons,
            authenticated,
            renewed,
            review,
        } = self.mailbox.take();
        if let Some(admission) = authenticated {
            self.session.authenticated(admission);
            self.act(now);
        }
        if let Some((by, admission)) = renewed {
            self.renewed(now, by, admission);
        }
        if review {
            self.review(now);
        }
        for (ticket, answer) in answers {
            self.session.answer(ticket, answer);
            self.act(now);
        }
        if queue_grew {
            self.ordinary.outbox.grew();
        }
        self.delivery.advance(now, &advances);
        topics
            .into_iter()
            .for_each(|topic| self.delivery.changed_topic(topic));
        reports
            .into_iter()
            .for_each(|report| self.delivery.report(report));
        fetched
            .into_iter()
            .for_each(|fetched| self.fetched(now, fetched));
        if let Some(kept) = admitted {
            self.admitted(now, kept);
        }
        match summons {
            Some(Summons::TakenOver) => self.session.end(EndReason::TakenOver),
            Some(Summons::Drain) => self.session.drain(),
            None => {}
        }
        self.act(now);
    }

    fn act(&mut self, now: Instant) {
        while let Some(action) = self.session.next_action() {
            match action {
                Action::Authenticate(credentials) => self.authenticate(*credentials),
                Action::Renew { token, by } => self.renew(token, by),
                Action::Open {
                    client_id,
                    identity,
                    opening,
                } => {
                    self.open(now, client_id, identity, opening);
                    // The rules may have changed since they were asked.
                    self.review(now);
                }
                Action::Submit {
                    ticket,
                    submission,
                    exactly_once,
                } => self.submit(ticket, submission, exactly_once),
                Action::Post {
                    ticket,
                    posting,
                    exactly_once,
                } => self.post(ticket, posting, exactly_once),
                Action::Release(packet_id) => self.release(packet_id),
                Action::Report(notice) => self.report(&notice),
                Action::Subscribe {
                    packet_id,
                    requests,
                } => {
                    self.subscribe(now, packet_id, requests);
                }
                Action::Unsubscribe { packet_id, filters } => self.unsubscribe(packet_id, &filters),
                Action::Acked(tag) => self.acked(now, &tag),
                Action::Arrived(slip) => {
                    self.settled(Some(slip));
                    self.moved(now);
                }
                Action::Received { packet_id, slip } => self.received(packet_id, slip),
                Action::Completed(packet_id) => self.completed(packet_id),
                Action::Will(will) => self.will(will),
            }
        }
    }

    fn submit(&mut self, ticket: Ticket, submission: Submission, exactly_once: Option<u16>) {
        let is_new = match self.claim(&submission) {
            Ok(claim) => claim == Claim::New,
            Err(refused) => {
                let refused = Answer::Event(Outcome::Refused(refused));
                return self.session.answer(ticket, refused);
            }
        };
        let device = DeviceKey {
            group: submission.stream().sync_id.clone(),
            device: submission.author(),
        };
        self.visit(&device.group);
        let mailbox = self.mailbox();
        let reply = match exactly_once {
            Some(packet_id) if self.keeping.keeps().is_some() => {
                self.reply_exactly_once(ticket, packet_id, device)
            }
            _ if is_new => self.reply_once_owned(ticket, device),
            _ => Box::new(move |outcome| mailbox.answer(ticket, Answer::Event(outcome))),
        };
        if self
            .shared
            .sequencer
            .submit(&self.lane, submission, reply)
            .is_err()
        {
            let reason = "too many events wait".to_owned();
            let busy = Outcome::Failed(TransientName::Busy, reason);
            self.session.answer(ticket, Answer::Event(busy));
        }
    }

    /// A will has nobody to answer to; it goes behind the other events of its connection.
    fn event_will(&mut self, submission: Submission) {
        let stream = submission.stream().clone();
        if let Err(refused) = self.claim(&submission) {
            self.shared.counters.count(Count::WillRefused);
            return tracing::debug!(%stream, %refused, "a will was not sent");
        }
        let (shared, device) = (Arc::clone(&self.shared), submission.author());
        let event_type = submission.intent().event_type.as_str().to_owned();
        let device_seq = submission.intent().device_seq;
        let reply = Box::new(move |outcome| match outcome {
            Outcome::Saved { .. } | Outcome::Repeat { .. } => {}
            Outcome::Refused(refused) => {
                shared.counters.count(Count::WillRefused);
                let (error, reason) = (refused.name.as_str().to_owned(), refused.reason);
                let event_type = Some(event_type);
                let notice = Notice {
                    error,
                    reason,
                    stream,
                    device,
                    event_type,
                    device_seq,
                };
                shared.hub.send(&Arc::new(errors::message(&notice)), None);
            }
            Outcome::Failed(name, _) => {
                shared.counters.count(Count::WillLost);
                tracing::warn!(%stream, %name, "a will was not kept");
            }
        });
        if self
            .shared
            .sequencer
            .submit(&self.lane, submission, reply)
            .is_err()
        {
            self.shared.counters.count(Count::WillLost);
            tracing::warn!(
                peer = self.id.0,
                "a will was not kept: too many events wait"
            );
        }
    }

    /// ANSWER-3. A 3.1.1 client hears of a refusal before its PUBACK, so its own copy does not wait in a queue; it
    /// knows no Receive Maximum that could forbid that.
    fn report(&mut self, notice: &Notice) {
        let message = Arc::new(errors::message(notice));
        if self.session.is_v5() {
            self.delivery.report(Arc::clone(&message));
        } else {
            let copies = self.delivery.copies_of(&message);
            copies.into_iter().for_each(|copy| self.send(&copy));
        }
        if self.speaks_for(notice) {
            self.shared.hub.send(&message, Some(self.id));
        }
        self.session.reported();
    }

    /// Others hear of a refusal only where it is the owner's of the device: else anybody could have another's change set aside.
    fn speaks_for(&self, notice: &Notice) -> bool {
        self.identity.as_ref().is_some_and(|identity| {
            let (who, group) = (&identity.principal, &notice.stream.sync_id);
            who.grant().writes(&notice.stream)
                && self.shared.claim(who, group, notice.device) != Claim::Refused
        })
    }

    fn deliver(&mut self, now: Instant) {
        if self.keeping.holds_back() {
            return;
        }
        while self.session.ended().is_none() && self.takes_more() {
            // In turns: neither lets the other wait.
            let streams = self.deliver_of_streams(now);
            if !(self.deliver_ordinary() || streams) {
                return;
            }
        }
    }

    /// Delivers one message, or asks for what that needs; whether there was something to do.
    fn deliver_of_streams(&mut self, now: Instant) -> bool {
        if let Some(message) = self.delivery.next_message(self.session.has_room()) {
            self.send(&message);
            self.moved(now);
            return true;
        }
        match self.delivery.need(now) {
            Some(need) => self.provide(need),
            None => return false,
        }
        true
    }

    /// From memory at once; else from the store, on another thread.
    fn provide(&mut self, need: Need) {
        match &need {
            Need::Topic(topic) => {
                let retained = self.shared.hub.retained(topic);
                return self.delivery.topic(retained.as_deref());
            }
            Need::Events { stream, after } => {
                if let Some(events) = self.shared.hub.tail(stream, *after, fetch::PAGE) {
                    return self.check(|delivery| delivery.events(events));
                }
                self.shared.counters.count(Count::EventsRead);
            }
            _ => {}
        }
        let Some(identity) = self.identity.clone() else {
            return;
        };
        let shared = Arc::clone(&self.shared);
        fetch::spawn(&self.shared.reader, self.mailbox(), move || {
            fetch::need(&shared, &identity, need)
        });
    }

    fn fetched(&mut self, now: Instant, fetched: Fetched) {
        match fetched {
            Fetched::Events(events) => self.check(|delivery| delivery.events(events)),
            Fetched::Overtaken(kept_after) => {
                self.shared.counters.count(Count::EventsOvertaken);
                self.check(|delivery| delivery.overtaken(kept_after));
            }
            Fetched::Snapshot(snapshot) => self.check(|delivery| delivery.snapshot(now, snapshot)),
            Fetched::Streams {
                page,
                last,
                reading,
            } => self.scanned(now, page, last, reading),
            Fetched::Heads {
                packet_id,
                requests,
                heads,
                reading,
            } => {
                self.begin(now, packet_id, requests, &heads, reading);
            }
            Fetched::Session(loaded) => self.loaded(now, loaded),
            Fetched::Found(found) => self.found(now, *found),
            Fetched::Written(written) => self.written(written),
            Fetched::Ordinary(looked) => self.looked(looked),
            Fetched::Failed(error) => self.failed(&error),
        }
    }

    fn scanned(&mut self, now: Instant, page: Vec<Listed>, last: bool, reading: Reading) {
        let named: Vec<_> = page.iter().map(|it| (&it.stream, &it.head)).collect();
        let Some((advances, buses)) = self.shared.hub.heads(self.id, &named, reading) else {
            // Meanwhile more streams moved than are known by name.
            if let Some(need) = self.delivery.open_scan() {
                self.provide(need);
            }
            return;
        };
        let scanned = page.into_iter().zip(buses);
        let page: Vec<_> = scanned
            .map(|(listed, bus)| Scanned {
                stream: Arc::new(listed.stream),
                head: listed.head.seq,
                horizon: listed.head.horizon,
                epoch: listed.head.epoch,
                bus,
                from: listed.from,
                changed: listed.changed,
            })
            .collect();
        self.delivery.streams(now, &page, last, &advances);
    }

    fn check<E: std::fmt::Display>(&mut self, give: impl FnOnce(&mut Delivery) -> Result<(), E>) {
        if let Err(error) = give(&mut self.delivery) {
            self.failed(&error);
        }
    }

    /// What cannot be delivered in order is not delivered at all: the client comes again.
    fn failed(&mut self, error: &dyn std::fmt::Display) {
        tracing::warn!(peer = self.id.0, %error, "the store failed a connection");
        self.session.refused(NoSession::StorageFailed);
        let reason = "what is stored could not be read or kept".to_owned();
        self.session.end(EndReason::Transient {
            name: TransientName::StorageFailed,
            reason,
        });
    }

    fn send(&mut self, message: &Outgoing) {
        let tag = message.tag.as_ref();
        let payload = message.payload();
        let before = tag.filter(|_| message.again && message.at_least_once);
        let before = before.and_then(|tag| self.keeping.redelivery.id_of(tag));
        let sent = self.session.publish(Message {
            topic: &message.topic,
            payload: &payload,
            qos: u8::from(message.at_least_once),
            packet_id: before,
            retain: message.retain,
            again: message.again,
            identifiers: &message.identifiers(),
            properties: &[],
            expiry_s: None,
            cargo: tag.cloned().map(Cargo::Event),
        });
        match (sent, tag) {
            (Ok(Some(id)), Some(tag)) => {
                self.visit.delivered(tag);
                if self.keeping.keeps().is_some() {
                    self.keeping.redelivery.sent(tag, id);
                }
            }
            (Ok(_), _) => {}
            (Err(NotSent::TooLarge), _) if message.is_state => {
                let bytes = payload.len();
                tracing::warn!(
                    peer = self.id.0,
                    topic = &*message.topic,
                    bytes,
                    "closed: the client's Maximum Packet Size is below one entry of a state that it asked for"
                );
                self.session.end(EndReason::StateTooLarge { bytes });
            }
            (Err(error), _) => {
                tag.into_iter().for_each(|tag| self.delivery.acked(tag));
                tracing::debug!(peer = self.id.0, topic = &*message.topic, %error, "not delivered");
            }
        }
    }

    /// PRESENCE-2: a device that gave its UUID is in the groups that it names.
    fn visit(&mut self, group: &SyncId) {
        let Some(identity) = self.identity.as_ref().filter(|identity| identity.given) else {
            return;
        };
        let who = &identity.principal;
        if !who.grant().may_read(&format!("sync/{group}")) {
            return;
        }
        let claim = self.shared.claim(who, group, identity.device);
        if claim != Claim::Refused && self.visit.may_enter(group) {
            let (device, name) = (identity.device, identity.name.as_deref());
            let visit = &mut self.visit;
            self.shared.attend(|attendance, now| {
                let (place, told) = attendance.join(group, device, name, now);
                place
                    .into_iter()
                    .for_each(|place| visit.enter(group.clone(), place));
                told
            });
        }
    }

    fn acked(&mut self, now: Instant, tag: &Tag) {
        self.delivery.acked(tag);
        self.keeping.redelivery.acked(tag);
        self.moved(now);
        let seq = self.visit.acked(tag);
        if let (Some(identity), Some(seq)) = (&self.identity, seq) {
            let device = identity.device;
            self.shared.attend(|attendance, _| {
                attendance.acked(&tag.stream, device, seq);
                None
            });
        }
    }
}

impl Drop for Peer {
    /// However a connection ends, nothing of it stays. After a panic its client is lost, whose will is due.
    fn drop(&mut self) {
        if let Some(will) = self.session.take_will()
            && catch_unwind(AssertUnwindSafe(|| self.will(will))).is_err()
        {
            tracing::error!(peer = self.id.0, "its will panicked, too");
        }
        self.shared.hub.leave(self.id, self.delivery.filters());
        self.leave(None);
        if let Some(device) = self.identity.as_ref().map(|identity| identity.device) {
            for (group, place) in self.visit.part(|_| true) {
                self.shared
                    .attend(|attendance, now| attendance.leave(&group, device, place, now));
            }
        }
    }
}
