//! One MQTT connection as a state machine: bytes, answers, deliveries, timers and `now` in; bytes and actions out.
//! No sockets, no clock, no tasks; TCP and WebSocket drive the same one, in versions 3.1.1 and 5.
//!
//! Calling contract:
//! - After a CONNECT [`Action::Authenticate`] asks who that is, and after [`Session::authenticated`] [`Action::Open`] for the
//!   session of the client; nothing is read before [`Session::opened`].
//! - [`Session::receive`] after every read, and again as long as it takes bytes, and whenever [`Session::wants_input`] has become
//!   true with bytes left.
//! - After every call, [`Session::next_action`] until it is empty, each acted on at once and in order, and then
//!   [`Session::output`] is written. [`Action::Subscribe`] is answered with [`Session::subscribed`] (the session reads no
//!   further until then), [`Action::Renew`] with [`Session::renewed`] (likewise), [`Action::Unsubscribe`] with [`Session::unsubscribed`], [`Action::Report`] with
//!   [`Session::reported`] after the message was published, [`Action::Submit`] and [`Action::Post`] some time later with
//!   [`Session::answer`], [`Action::Release`] with [`Session::released`], [`Action::Received`] with [`Session::release`].
//! - [`Session::tick`] when [`Session::next_timeout`] has come.
//! - Once [`Session::ended`] says why, the driver writes what is left of the output and closes.

mod action;
mod answers;
mod connect;
mod end;
mod exactly_once;
mod inbound;
mod packet;
mod renewal;
mod timers;
mod wire;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod oracle;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use mqtt_protocol_core::mqtt::packet::Qos;
use syncline_protocol::{Notice, Refused, Seq, TransientName};

use super::identity::Identity;
use super::limits::{Crowded, Pace, PublishOptions, Rate, SharedRate};
use super::ordinary::follow::{is_outside, is_share, is_topic_name};
use crate::sequencer::Outcome;

use action::{base, suback_code, suback_reason, wanted};
use answers::{About, Answers, Open};
use exactly_once::exactly_once_id;
use packet::{Connect, Entry, Publish, Received, Subscribe};
use timers::{Timer, Timers};
use wire::{Input, Of, OutPublish, Wire};

pub(crate) use action::{
    Action, Answer, Cargo, Message, NoSession, Opening, Posting, RenewedBy, Request, Retained, Tag,
    Verdict, Wanted, Will,
};
pub(crate) use answers::Ticket;
pub(crate) use end::EndReason;
pub(crate) use wire::{NotSent, Traffic};

const NO_MATCHING_SUBSCRIBERS: u8 = 0x10;
const QUOTA_EXCEEDED: u8 = 0x97;

/// How long a client without Keep Alive goes unread at most.
const UNREAD_MAX: Duration = Duration::from_secs(30);

/// How long the CONNECT of a connection may take that is one too many.
const REFUSING: Duration = Duration::from_secs(1);

/// Reason codes from here on are failures.
const FAILURES: u8 = 0x80;

/// The limits of a session.
#[derive(Debug, Clone)]
pub(crate) struct SessionOptions {
    /// How long a CONNECT may take.
    pub(crate) connect_timeout: Duration,
    /// The largest packet that is read, also before CONNECT.
    pub(crate) packet_bytes_max: u32,
    /// The largest event.
    pub(crate) event_bytes_max: usize,
    /// Unacknowledged PUBLISHes of a client at most; announced to v5 clients.
    pub(crate) receive_maximum: u16,
    /// Unacknowledged deliveries to a client at most, unless its Receive Maximum is lower.
    pub(crate) inflight_max: u16,
    /// How long a session is kept at most once its connection is gone.
    pub(crate) expiry_ms_max: u64,
    /// Topic aliases of a client at most; announced to v5 clients.
    pub(crate) topic_alias_max: u16,
    /// The longest Keep Alive of a v5 client, in seconds; 0: any.
    pub(crate) keep_alive_s_max: u16,
    /// What a connection may publish.
    pub(crate) publish: PublishOptions,
}

#[derive(Debug)]
enum Phase {
    /// Before CONNECT.
    Fresh,
    /// It is awaited who sent this CONNECT.
    Entering(Box<Connect>),
    /// The CONNECT is in order, and its session is awaited. With the client id that it is given, if it brought none.
    Opening(Box<Live>, Option<String>),
    Live(Box<Live>),
    Ended(EndReason),
}

/// What a session knows between CONNECT and its end.
#[derive(Debug)]
struct Live {
    identity: Arc<Identity>,
    keep_alive: Option<Duration>,
    /// The Keep Alive that it has to keep instead of its own.
    server_keep_alive_s: Option<u16>,
    /// It named an Authentication Method.
    by_method: bool,
    will: Option<Will>,
    /// Unacknowledged deliveries: packet id to what it carried.
    inflight: HashMap<u16, Inflight>,
    inflight_max: usize,
    /// Packet ids of PUBLISHes at QoS 2 that were taken, until the client is done with them.
    received: HashSet<u16>,
    /// Those of them that the client is done with, and that are being forgotten.
    releasing: HashSet<u16>,
    /// Exchanges of an earlier connection that wait until there is room: the client has the message, its PUBCOMP is awaited.
    resuming: VecDeque<u16>,
    /// A SUBSCRIBE or an UNSUBSCRIBE is being worked on.
    subscribing: bool,
    /// A fresh token is being looked at.
    renewing: bool,
    /// A report is being published; the acknowledgement of its PUBLISH follows it.
    reporting: Option<Option<Of>>,
    /// Something failed, so nothing later is processed.
    failed: bool,
    draining: bool,
}

/// A delivery that is not acknowledged.
#[derive(Debug)]
struct Inflight {
    cargo: Option<Cargo>,
    exactly_once: bool,
}

/// One MQTT connection.
pub(crate) struct Session {
    options: Arc<SessionOptions>,
    /// The client id of a client that brings none.
    fresh_client_id: String,
    wire: Wire,
    timers: Timers,
    phase: Phase,
    answers: Answers<Answer>,
    actions: VecDeque<Action>,
    /// How long it is kept once the connection is gone.
    expiry_ms: u64,
    pace: Pace,
    /// It is one connection too many: its CONNECT is refused.
    crowded: Option<Crowded>,
}

impl Session {
    /// A connection that has just been made. `fresh_client_id` is for a client that brings none.
    pub(crate) fn new(options: Arc<SessionOptions>, fresh_client_id: String, now: Instant) -> Self {
        let mut timers = Timers::default();
        timers.set(Timer::Connect, now + options.connect_timeout);
        Self {
            wire: Wire::new(options.packet_bytes_max),
            pace: Pace::new(Rate::new(
                options.publish.messages_per_s,
                options.publish.bytes_per_s,
                now,
            )),
            crowded: None,
            options,
            fresh_client_id,
            timers,
            phase: Phase::Fresh,
            answers: Answers::new(),
            actions: VecDeque::new(),
            expiry_ms: 0,
        }
    }

    /// The connection is one too many: its CONNECT gets to know that, if it comes soon.
    pub(crate) fn refuse_with(&mut self, crowded: Crowded, now: Instant) {
        self.crowded = Some(crowded);
        self.timers.set(Timer::Connect, now + REFUSING);
    }

    /// It shares a rate with other connections of its user or address.
    pub(crate) fn share_rate(&mut self, rate: SharedRate) {
        self.pace.share(rate);
    }

    /// How long it is kept once the connection is gone; 0: not at all. Known from [`Action::Open`] on.
    pub(crate) fn expiry_ms(&self) -> u64 {
        self.expiry_ms
    }

    /// Reads packets off the front of `bytes` while the session wants input, until there is something to do.
    pub(crate) fn receive(&mut self, now: Instant, bytes: &mut BytesMut) {
        while !bytes.is_empty() && self.actions.is_empty() && self.wants_input() {
            match self.wire.receive(bytes) {
                Input::Incomplete => {}
                Input::Packet(packet) => self.handle(now, packet),
                Input::Broken(error) => self.end(EndReason::Broken(error)),
            }
        }
    }

    /// Whether bytes may be read. A client of 3.1.1 knows no Receive Maximum, and some of v5 (MQTT.js) send on beyond it and
    /// would do so after every reconnect, so both are held back by not reading.
    pub(crate) fn wants_input(&self) -> bool {
        match &self.phase {
            Phase::Fresh => true,
            Phase::Live(live) => {
                let asking = live.subscribing || live.renewing;
                let busy = asking || live.failed || live.draining || self.pace.is_unread();
                !busy && self.answers.len() < usize::from(self.options.receive_maximum)
            }
            Phase::Entering(_) | Phase::Opening(..) | Phase::Ended(_) => false,
        }
    }

    /// The next thing to do.
    pub(crate) fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Bytes for the client.
    pub(crate) fn output(&mut self) -> &mut BytesMut {
        self.wire.output()
    }

    /// When to call [`Session::tick`].
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let pace = self.pace.next_timeout();
        self.timers.next_timeout().into_iter().chain(pace).min()
    }

    /// Ends what has timed out.
    pub(crate) fn tick(&mut self, now: Instant) {
        let (acknowledges, reads) = self.pace.expired(now);
        if acknowledges {
            self.settle();
        }
        if reads {
            // The keep-alive stood still meanwhile.
            self.heard(now);
        }
        while let Some(timer) = self.timers.expired(now) {
            match timer {
                Timer::Connect => self.end(EndReason::NoConnect),
                // A client that we do not read cannot be heard.
                Timer::KeepAlive if !self.wants_input() => self.heard(now),
                Timer::KeepAlive => self.end(EndReason::KeepAlive),
            }
        }
    }

    /// Why the session ended, once it has.
    pub(crate) fn ended(&self) -> Option<&EndReason> {
        match &self.phase {
            Phase::Ended(reason) => Some(reason),
            _ => None,
        }
    }

    /// Whether the client speaks version 5.
    pub(crate) fn is_v5(&self) -> bool {
        self.wire.is_v5()
    }

    /// The largest packet that the client takes.
    pub(crate) fn packet_bytes_max(&self) -> usize {
        self.wire.packet_bytes_max()
    }

    /// Ends the session. A session that has ended stays as it is.
    pub(crate) fn end(&mut self, reason: EndReason) {
        if self.ended().is_some() {
            return;
        }
        let reason = match (self.crowded, reason) {
            (_, refused @ EndReason::Refused(..)) => refused,
            // It is gone because of that, whatever it did before it could be told.
            (Some(crowded), _) => EndReason::Crowded(crowded),
            (None, reason) => reason,
        };
        if let Some((code, text)) = reason.disconnect()
            && matches!(self.phase, Phase::Live(_))
        {
            self.wire.disconnect(code, text.as_deref());
        }
        let will = reason.wants_will();
        let before = std::mem::replace(&mut self.phase, Phase::Ended(reason));
        if let Phase::Live(live) = before
            && will
        {
            self.actions.extend(live.will.map(Action::Will));
        }
        self.timers = Timers::default();
        self.answers.clear();
    }

    /// What is to be published for a client whose session never ended.
    pub(crate) fn take_will(&mut self) -> Option<Will> {
        match &mut self.phase {
            Phase::Live(live) => live.will.take(),
            _ => None,
        }
    }

    /// Ends the session once every open PUBLISH is answered; nothing more is read.
    pub(crate) fn drain(&mut self) {
        if let Phase::Live(live) = &mut self.phase {
            live.draining = true;
            self.settle();
        } else {
            self.end(EndReason::Draining);
        }
    }

    /// What the client may do has changed. Whether its will is dropped, because it may not send it any more.
    pub(crate) fn reviewed(&mut self, identity: &Arc<Identity>) -> bool {
        let (Phase::Opening(live, _) | Phase::Live(live)) = &mut self.phase else {
            return false;
        };
        let grant = identity.principal.grant();
        let dropped = live.will.take_if(|will| match will {
            Will::Event(event) => !grant.writes(event.stream()),
            Will::Posting(it, _) => !grant.writes_topic(&it.message.topic),
        });
        live.identity = Arc::clone(identity);
        dropped.is_some()
    }

    /// What came of a PUBLISH.
    pub(crate) fn answer(&mut self, ticket: Ticket, answer: Answer) {
        let failed = matches!(
            &answer,
            Answer::Event(Outcome::Failed(..)) | Answer::NotKept(_)
        );
        if let Phase::Live(live) = &mut self.phase {
            live.failed |= failed;
        }
        self.answers.answer(ticket, answer);
        self.settle();
    }

    /// What went over the wire since the last time.
    pub(crate) fn take_traffic(&mut self) -> Traffic {
        self.wire.take_traffic()
    }

    /// The report was published: acknowledge its PUBLISH and go on.
    pub(crate) fn reported(&mut self) {
        let Phase::Live(live) = &mut self.phase else {
            return;
        };
        if let Some(Some(of)) = live.reporting.take() {
            if of.exactly_once {
                live.received.insert(of.packet_id);
            }
            self.wire.answer_with(of, 0, "");
        }
        self.settle();
    }

    /// Answers a SUBSCRIBE, filter by filter.
    pub(crate) fn subscribed(&mut self, packet_id: u16, verdicts: &[Verdict]) {
        if let Phase::Live(live) = &mut self.phase {
            live.subscribing = false;
            let codes: Vec<_> = verdicts
                .iter()
                .map(|verdict| suback_code(*verdict))
                .collect();
            let reason = suback_reason(verdicts);
            self.wire.suback(packet_id, &codes, reason.as_deref());
        }
    }

    /// Answers an UNSUBSCRIBE: which of the subscriptions existed.
    pub(crate) fn unsubscribed(&mut self, packet_id: u16, existed: &[bool]) {
        if let Phase::Live(live) = &mut self.phase {
            live.subscribing = false;
            self.wire.unsuback(packet_id, existed);
        }
    }

    /// Whether another message at QoS 1 or 2 may go out.
    pub(crate) fn has_room(&self) -> bool {
        matches!(&self.phase, Phase::Live(live)
            if live.inflight.len() < live.inflight_max && live.resuming.is_empty())
    }

    /// Packet ids of what will be sent again: nothing else gets them.
    pub(crate) fn reserve(&mut self, ids: impl Iterator<Item = u16>) {
        self.wire.reserve(ids);
    }

    /// Sends a message, at QoS 1 and 2 with a packet id, which is returned. For those the caller has asked
    /// [`Session::has_room`] first. A session that is not open yet, or has ended, sends nothing and gives no packet id.
    pub(crate) fn publish(&mut self, message: Message<'_>) -> Result<Option<u16>, NotSent> {
        let Phase::Live(live) = &mut self.phase else {
            return Ok(None);
        };
        let id = self.wire.publish(OutPublish {
            topic: message.topic,
            payload: message.payload,
            qos: message.qos,
            packet_id: message.packet_id,
            retain: message.retain,
            again: message.again,
            identifiers: message.identifiers,
            properties: message.properties,
            expiry_s: message.expiry_s,
        })?;
        if let Some(id) = id {
            let delivery = Inflight {
                cargo: message.cargo,
                exactly_once: message.qos == 2,
            };
            live.inflight.insert(id, delivery);
        }
        Ok(id)
    }

    fn handle(&mut self, now: Instant, packet: Received) {
        let fresh = matches!(self.phase, Phase::Fresh);
        match packet {
            Received::Connect(connect) if fresh => self.connect(connect),
            _ if fresh => self.end(EndReason::OutOfPlace),
            Received::Publish(publish) => {
                self.keep_pace(now, &publish);
                self.request(&publish);
            }
            Received::Puback(id) => self.acked(id),
            Received::Pubrec { packet_id, refused } => self.pubrec(packet_id, refused),
            Received::Pubrel(id) => self.pubrel(id),
            Received::Pubcomp(id) => self.pubcomp(id),
            Received::Subscribe(subscribe) => self.subscribe(&subscribe),
            Received::Unsubscribe { packet_id, filters } => self.unsubscribe(packet_id, &filters),
            Received::Pingreq => self.wire.pingresp(),
            Received::Disconnect {
                with_will,
                expiry_s,
            } => self.goodbye(with_will, expiry_s),
            Received::Auth(auth) => self.authenticate_again(auth),
            Received::Connect(_) | Received::OutOfPlace => self.end(EndReason::OutOfPlace),
        }
        self.heard(now);
    }

    /// A client that publishes too much gets its acknowledgements late, and then is not read, for less than half its Keep Alive.
    fn keep_pace(&mut self, now: Instant, publish: &Publish) {
        let Phase::Live(live) = &self.phase else {
            return;
        };
        let before = (self.pace.holds(), self.pace.is_unread());
        let unread_max = live.keep_alive.map_or(UNREAD_MAX, |it| it * 3 / 10);
        let bytes = publish.topic.len() + publish.payload.as_slice().len();
        self.pace.take(bytes, unread_max, now);
        let after = (self.pace.holds(), self.pace.is_unread());
        self.wire
            .note_pace(after.0 && !before.0, after.1 && !before.1);
    }

    /// A DISCONNECT. It may shorten or prolong the life of a session that is kept, not make one be kept.
    fn goodbye(&mut self, with_will: bool, expiry_s: Option<u32>) {
        if let Some(expiry_s) = expiry_s {
            if expiry_s > 0 && self.expiry_ms == 0 {
                return self.end(EndReason::OutOfPlace);
            }
            self.expiry_ms = connect::expiry_ms(expiry_s, self.options.expiry_ms_max);
        }
        self.end(match with_will {
            false => EndReason::Goodbye,
            true => EndReason::GoodbyeWithWill,
        });
    }

    /// Something came: the keep-alive begins anew.
    fn heard(&mut self, now: Instant) {
        if let Phase::Live(live) = &self.phase
            && let Some(limit) = live.keep_alive
        {
            self.timers.set(Timer::KeepAlive, now + limit);
        }
    }

    /// A PUBLISH of the client.
    fn request(&mut self, publish: &Publish) {
        if publish.packet_id == Some(0) {
            return self.end(EndReason::OutOfPlace);
        }
        if !is_topic_name(&publish.topic) {
            return self.end(EndReason::TopicName);
        }
        let of = publish.packet_id.map(|packet_id| Of {
            packet_id,
            exactly_once: publish.qos == Qos::ExactlyOnce,
        });
        if of.is_some_and(|of| self.is_repeat(of)) {
            return;
        }
        match is_outside(&publish.topic) {
            false if publish.topic == renewal::TOPIC => self.renew(of, publish),
            true => self.post(of, publish),
            false => self.submit(of, publish),
        }
    }

    fn submit(&mut self, of: Option<Of>, publish: &Publish) {
        let Phase::Live(live) = &self.phase else {
            return;
        };
        let mut about = inbound::about(&publish.topic);
        let submission = inbound::submission(
            &live.identity,
            self.options.event_bytes_max,
            &publish.topic,
            publish.payload.as_slice(),
            &mut about,
        );
        let ticket = self.answers.open(of, about);
        match submission {
            Ok(submission) => self.actions.push_back(Action::Submit {
                ticket,
                submission,
                exactly_once: exactly_once_id(of),
            }),
            Err(refused) => self.answer(ticket, Answer::Event(Outcome::Refused(refused))),
        }
    }

    /// An ordinary message.
    fn post(&mut self, of: Option<Of>, publish: &Publish) {
        let Phase::Live(live) = &self.phase else {
            return;
        };
        let posting = inbound::posting(&live.identity, publish);
        let ticket = self.answers.open(of, About::default());
        match posting {
            Ok(posting) => self.actions.push_back(Action::Post {
                ticket,
                posting,
                exactly_once: exactly_once_id(of),
            }),
            Err(refused) => self.answer(ticket, Answer::Event(Outcome::Refused(refused))),
        }
    }

    /// Tells what can be told, in the order of the PUBLISHes.
    fn settle(&mut self) {
        while self.may_settle()
            && let Some((open, answer)) = self.answers.next()
        {
            match answer {
                Answer::Event(Outcome::Saved { seq, receipt: _ }) => {
                    self.acknowledge(&open, "seq", seq);
                }
                Answer::Event(Outcome::Repeat { seq, receipt: _ }) => {
                    self.acknowledge(&open, "repeat", seq);
                }
                Answer::Event(Outcome::Refused(refused)) => self.refuse(open, refused),
                Answer::Event(Outcome::Failed(name, reason)) => {
                    self.end(EndReason::Transient { name, reason });
                }
                Answer::Taken { matched: true } => self.answer_post(&open, 0, ""),
                Answer::Taken { matched: false } => {
                    self.answer_post(&open, NO_MATCHING_SUBSCRIBERS, "");
                }
                Answer::Full(reason) => self.answer_post(&open, QUOTA_EXCEEDED, reason),
                Answer::NotKept(reason) => {
                    let name = TransientName::StorageFailed;
                    self.end(EndReason::Transient { name, reason });
                }
            }
        }
        self.finish_draining();
    }

    fn may_settle(&self) -> bool {
        matches!(&self.phase, Phase::Live(live)
            if live.reporting.is_none() && (live.draining || !self.pace.holds()))
    }

    fn finish_draining(&mut self) {
        if let Phase::Live(live) = &self.phase
            && live.draining
            && live.reporting.is_none()
            && self.answers.len() == 0
        {
            self.end(EndReason::Draining);
        }
    }

    fn acknowledge(&mut self, open: &Open<Answer>, name: &str, seq: Seq) {
        if let Some(of) = open.packet {
            self.took(of);
            self.wire.acknowledge(of, name, &seq.to_string());
        }
    }

    fn answer_post(&mut self, open: &Open<Answer>, code: u8, reason: &str) {
        if let Some(of) = open.packet {
            if code < FAILURES || !self.wire.is_v5() {
                self.took(of);
            }
            self.wire.answer_with(of, code, reason);
        }
    }

    /// ANSWER-3: v5 reads the refusal in its PUBACK or PUBREC; others, and everybody at QoS 0, on the errors topic.
    fn refuse(&mut self, open: Open<Answer>, refused: Refused) {
        self.wire.note_refusal();
        match open.packet {
            Some(of) if self.wire.is_v5() => {
                let code = refused.name.reason_code();
                self.wire.answer_with(of, code, &refused.to_string());
            }
            of => self.report(of, open.about, refused),
        }
    }

    fn report(&mut self, of: Option<Of>, about: About, refused: Refused) {
        let Phase::Live(live) = &mut self.phase else {
            return;
        };
        tracing::debug!(device = %live.identity.device, error = %refused.name, "a message was refused");
        live.reporting = Some(of);
        match about.stream {
            Some(stream) => self.actions.push_back(Action::Report(Box::new(Notice {
                error: refused.name.as_str().to_owned(),
                reason: refused.reason,
                stream,
                device: live.identity.device,
                event_type: about.event_type.map(|it| it.as_str().to_owned()),
                device_seq: about.device_seq,
            }))),
            // A topic outside every group has no errors topic.
            None => self.reported(),
        }
    }

    fn acked(&mut self, packet_id: u16) {
        let Phase::Live(live) = &mut self.phase else {
            return;
        };
        let delivery = live.inflight.remove(&packet_id);
        match delivery.and_then(|it| it.cargo) {
            Some(Cargo::Event(tag)) => self.actions.push_back(Action::Acked(tag)),
            Some(Cargo::Ordinary(slip)) => self.actions.push_back(Action::Arrived(slip)),
            None => {}
        }
    }

    fn subscribe(&mut self, subscribe: &Subscribe) {
        let Phase::Live(live) = &mut self.phase else {
            return;
        };
        if subscribe.packet_id == 0 {
            return self.end(EndReason::OutOfPlace);
        }
        let shared = |entry: &Entry| entry.no_local && is_share(&entry.filter);
        if subscribe.entries.iter().any(shared) {
            return self.end(EndReason::OutOfPlace);
        }
        live.subscribing = true;
        let (identifier, grant) = (subscribe.identifier, live.identity.principal.grant());
        let requests = subscribe
            .entries
            .iter()
            .map(|entry| wanted(entry, identifier, grant))
            .collect();
        self.actions.push_back(Action::Subscribe {
            packet_id: subscribe.packet_id,
            requests,
        });
    }

    fn unsubscribe(&mut self, packet_id: u16, filters: &[String]) {
        if packet_id == 0 || filters.is_empty() {
            return self.end(EndReason::OutOfPlace);
        }
        if let Phase::Live(live) = &mut self.phase {
            live.subscribing = true;
        }
        let filter = |text: &String| Some(base(text).ok()?.filter);
        let filters = filters.iter().map(filter).collect();
        self.actions
            .push_back(Action::Unsubscribe { packet_id, filters });
    }
}
