//! What one connection gets of ordinary topics next. Pure: asks for what it needs and is given it.
//!
//! Calling contract: [`Outbox::next`] until it has none, then [`Outbox::need`]. A need is answered with the method that it
//! names before another one of its kind is told.
//!
//! The packet id of a message in the store's queue follows from its place there. So what is sent again, over another
//! connection or by another process, has the packet id that it had.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use syncline_protocol::{Filter, UnixMillis};

use super::followers::Terms;
use super::letter::Letter;
use super::retained::Moment;
use crate::store::sessions::{Message, PacketId, QueueNumber, Queued, Side};

/// Packet ids of messages in the store's queue begin here; those below are given to others.
pub(crate) const QUEUE_IDS: u16 = 0x8000;

/// Messages that are read of the queue and not sent before no more are read.
const WAITING_FEW: usize = 32;

/// Acknowledged messages that are not taken out of the store's queue yet at most.
const ACKED_MANY: usize = 64;

/// Names a message that was sent, so that its acknowledgement can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slip {
    /// It is in the store's queue.
    Queued(QueueNumber),
    /// It is not.
    Loose(u64),
}

/// A message to send.
#[derive(Debug, Clone)]
pub(crate) struct Mail {
    pub(crate) message: Arc<Message>,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) identifiers: Vec<u32>,
    /// It was sent before.
    pub(crate) again: bool,
    /// The packet id that it has to have.
    pub(crate) packet_id: Option<u16>,
    pub(crate) slip: Option<Slip>,
    /// It answers a SUBSCRIBE, unless something came on its topic after this moment.
    pub(crate) since: Option<Moment>,
}

/// What is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OrdinaryNeed {
    /// What waits in the store's queue after this, to [`Outbox::queue`].
    Queue(QueueNumber),
    /// That everything is on disk that came before a SUBSCRIBE, to [`Outbox::is_level`].
    Level,
    /// What is retained, to [`Outbox::greet_with`].
    Retained {
        filter: Filter,
        since: Moment,
        after: Option<Arc<str>>,
    },
}

/// Retained messages that a SUBSCRIBE asked for.
#[derive(Debug)]
pub(crate) struct Greeting {
    pub(crate) base: Filter,
    /// The same without its group.
    pub(crate) filter: Filter,
    pub(crate) terms: Terms,
    pub(crate) since: Moment,
}

/// How far a greeting is.
#[derive(Debug)]
enum Stage {
    New,
    After(Option<Arc<str>>),
    /// Its subscription ended while it was being answered.
    Over,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    kept: bool,
    read_through: QueueNumber,
    /// More may be in the queue.
    grew: bool,
    reading: bool,
    waiting: VecDeque<Queued>,
    unacked: BTreeSet<QueueNumber>,
    acked: Vec<QueueNumber>,
    sent_before: HashSet<u16>,
    /// What waits up to here may have been sent before.
    maybe_sent_to: QueueNumber,
    greetings: VecDeque<(Greeting, Stage)>,
    greeting: bool,
    retained: VecDeque<Letter>,
    /// Sent at QoS 1 or 2 and not acknowledged, of groups.
    shared: HashMap<u64, Letter>,
    last_slip: u64,
    /// Messages that expired before they were sent.
    expired: u64,
}

/// The packet id of a message in the queue.
fn queue_id(number: QueueNumber) -> u16 {
    let place = number.0.wrapping_sub(1) % u64::from(QUEUE_IDS);
    QUEUE_IDS | place as u16
}

impl Outbox {
    /// The session is kept. `packets`: what it left open; `queued_to`: the last place in its queue so far.
    pub(crate) fn keep(&mut self, packets: &[PacketId], queued_to: QueueNumber) {
        self.kept = true;
        self.grew = true;
        let sent = packets.iter().filter(|it| it.side == Side::Sent);
        self.sent_before = sent.map(|it| it.id).collect();
        // The broker died, and what was acknowledged last may not have left the queue either: DUP says no more than "might".
        if self.sent_before.contains(&0) {
            self.maybe_sent_to = queued_to;
        }
    }

    /// Something new is in the store's queue.
    pub(crate) fn grew(&mut self) {
        self.grew = true;
    }

    /// A SUBSCRIBE asks for what is retained.
    pub(crate) fn greet(&mut self, greeting: Greeting) {
        self.forget(&greeting.base);
        self.greetings.push_back((greeting, Stage::New));
    }

    /// A subscription has ended: what was not asked for yet does not come.
    pub(crate) fn forget(&mut self, base: &Filter) {
        // The answer to the first one may be on its way, so its place stays.
        let first = self.greetings.pop_front_if(|_| self.greeting);
        self.greetings.retain(|(it, _)| it.base != *base);
        if let Some((greeting, stage)) = first {
            let is_over = greeting.base == *base;
            let stage = if is_over { Stage::Over } else { stage };
            self.greetings.push_front((greeting, stage));
        }
    }

    /// The next message. `room`: whether one at QoS 1 or 2 may be sent; `loose`: what waits in memory.
    pub(crate) fn next(
        &mut self,
        now: UnixMillis,
        room: bool,
        loose: impl Fn(bool) -> Option<Letter>,
    ) -> Option<Mail> {
        loop {
            if let Some(queued) = self.waiting.pop_front_if(|_| room) {
                if is_expired(&queued.message, now) && !self.was_sent(queued.number) {
                    self.expired += 1;
                    self.acked.push(queued.number);
                    continue;
                }
                return Some(self.send_queued(queued));
            }
            let sendable = |letter: &mut Letter| room || letter.qos == 0;
            let letter = match self.retained.pop_front_if(sendable) {
                Some(letter) => letter,
                None => loose(room)?,
            };
            if is_expired(&letter.message, now) {
                self.expired += 1;
                continue;
            }
            return Some(self.send_loose(letter));
        }
    }

    /// What is needed next.
    pub(crate) fn need(&mut self) -> Option<OrdinaryNeed> {
        if self.kept && self.grew && !self.reading && self.waiting.len() < WAITING_FEW {
            self.grew = false;
            self.reading = true;
            return Some(OrdinaryNeed::Queue(self.read_through));
        }
        let busy = self.greeting || !self.retained.is_empty() || !self.waiting.is_empty();
        let (greeting, stage) = self.greetings.front().filter(|_| !busy && !self.reading)?;
        let need = match stage {
            Stage::New => OrdinaryNeed::Level,
            Stage::After(after) => OrdinaryNeed::Retained {
                filter: greeting.filter.clone(),
                since: greeting.since,
                after: after.clone(),
            },
            // It goes with the answer.
            Stage::Over => return None,
        };
        self.greeting = true;
        Some(need)
    }

    /// What was needed of the queue.
    pub(crate) fn queue(&mut self, page: Vec<Queued>) {
        self.reading = false;
        if let Some(last) = page.last() {
            self.read_through = last.number;
            self.grew = true;
        }
        self.waiting.extend(page);
    }

    /// What was published before the SUBSCRIBE is on disk.
    pub(crate) fn is_level(&mut self) {
        self.greeting = false;
        self.drop_over();
        if let Some((_, stage @ Stage::New)) = self.greetings.front_mut() {
            *stage = Stage::After(None);
        }
    }

    /// What is retained on a page of topics. Returns what goes into the store's queue first, because the session is kept;
    /// once it is there, [`Outbox::is_greeted`].
    pub(crate) fn greet_with(
        &mut self,
        messages: Vec<Message>,
        next: Option<Arc<str>>,
    ) -> Vec<Letter> {
        if self.drop_over() {
            self.greeting = false;
            return Vec::new();
        }
        let Some((greeting, stage)) = self.greetings.front_mut() else {
            self.greeting = false;
            return Vec::new();
        };
        let letters = messages.into_iter().map(|message| greeting.letter(message));
        let kept = self.kept;
        let (durable, plain): (Vec<_>, Vec<_>) = letters.partition(|it| kept && it.qos > 0);
        self.retained.extend(plain);
        match next {
            Some(_) => *stage = Stage::After(next),
            None => drop(self.greetings.pop_front()),
        }
        if durable.is_empty() {
            self.greeting = false;
        }
        durable
    }

    /// What [`Outbox::greet_with`] returned is on disk.
    pub(crate) fn is_greeted(&mut self) {
        self.greeting = false;
        self.grew = true;
        self.drop_over();
    }

    /// Whether the first greeting was of a subscription that has ended meanwhile.
    fn drop_over(&mut self) -> bool {
        let is_over = |(_, stage): &mut (Greeting, Stage)| matches!(stage, Stage::Over);
        self.greetings.pop_front_if(is_over).is_some()
    }

    /// The client has acknowledged a message, or will never get it.
    pub(crate) fn acked(&mut self, slip: Slip) {
        match slip {
            Slip::Loose(number) => drop(self.shared.remove(&number)),
            Slip::Queued(number) => {
                if self.unacked.remove(&number) {
                    self.acked.push(number);
                }
            }
        }
    }

    /// What can be taken out of the store's queue; `now`: even if it is not worth the trouble yet.
    pub(crate) fn take_acked(&mut self, now: bool) -> Vec<QueueNumber> {
        if now || self.acked.len() >= ACKED_MANY {
            std::mem::take(&mut self.acked)
        } else {
            Vec::new()
        }
    }

    /// The packet ids of what was sent and is not acknowledged.
    pub(crate) fn unacked_ids(&self) -> Vec<u16> {
        self.unacked.iter().map(|it| queue_id(*it)).collect()
    }

    /// What other members of its groups may get instead.
    pub(crate) fn take_shared(&mut self) -> Vec<Letter> {
        let mut letters: Vec<_> = self.shared.drain().collect();
        letters.sort_unstable_by_key(|(number, _)| *number);
        letters.into_iter().map(|(_, letter)| letter).collect()
    }

    /// Whether something waits.
    pub(crate) fn is_busy(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// How many messages expired since this was asked.
    pub(crate) fn take_expired(&mut self) -> u64 {
        std::mem::take(&mut self.expired)
    }

    /// Whether the client may have it half: then it gets the rest even when that has expired (MQTT-4.4.0-1).
    fn was_sent(&self, number: QueueNumber) -> bool {
        self.sent_before.contains(&queue_id(number))
    }

    fn send_queued(&mut self, Queued { number, message }: Queued) -> Mail {
        let id = queue_id(number);
        let maybe = number <= self.maybe_sent_to;
        self.unacked.insert(number);
        Mail {
            qos: message.qos,
            retain: message.retain,
            message: Arc::new(message),
            identifiers: Vec::new(),
            again: self.sent_before.remove(&id) || maybe,
            packet_id: Some(id),
            slip: Some(Slip::Queued(number)),
            since: None,
        }
    }

    fn send_loose(&mut self, letter: Letter) -> Mail {
        self.last_slip += 1;
        // What was begun at QoS 2 goes to nobody else (MQTT-4.8.2-5).
        if letter.share.is_some() && letter.qos == 1 {
            self.shared.insert(self.last_slip, letter.clone());
        }
        let slip = Slip::Loose(self.last_slip);
        Mail {
            message: letter.message,
            qos: letter.qos,
            retain: letter.retain,
            identifiers: letter.identifiers,
            again: false,
            packet_id: None,
            slip: (letter.qos > 0).then_some(slip),
            since: letter.since,
        }
    }
}

impl Greeting {
    fn letter(&self, message: Message) -> Letter {
        Letter {
            qos: self.terms.qos.min(message.qos),
            retain: true,
            identifiers: self.terms.identifier.into_iter().collect(),
            message: Arc::new(message),
            share: None,
            since: Some(self.since),
        }
    }
}

fn is_expired(message: &Message, now: UnixMillis) -> bool {
    message.expires_at.is_some_and(|at| at <= now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    const NOW: UnixMillis = UnixMillis::new(1_000);

    fn message(topic: &str, qos: u8) -> Message {
        Message {
            topic: topic.to_owned(),
            payload: Bytes::from_static(b"x"),
            qos,
            retain: false,
            properties: Bytes::new(),
            expires_at: None,
        }
    }

    fn queued(numbers: std::ops::RangeInclusive<u64>) -> Vec<Queued> {
        let one = |number| Queued {
            number: QueueNumber(number),
            message: message("t", 1),
        };
        numbers.map(one).collect()
    }

    fn sent(outbox: &mut Outbox, room: bool) -> Option<(u16, bool)> {
        let mail = outbox.next(NOW, room, |_| None)?;
        Some((mail.packet_id.unwrap(), mail.again))
    }

    fn kept(packets: &[(Side, u16)]) -> Outbox {
        let mut outbox = Outbox::default();
        let packets: Vec<_> = packets
            .iter()
            .map(|(side, id)| PacketId {
                side: *side,
                id: *id,
            })
            .collect();
        outbox.keep(&packets, QueueNumber(0x8002));
        outbox
    }

    #[test]
    fn the_queue_is_read_in_order_while_little_waits() {
        let mut outbox = kept(&[]);
        assert_eq!(outbox.need(), Some(OrdinaryNeed::Queue(QueueNumber(0))));
        assert_eq!(outbox.need(), None, "one at a time");
        outbox.queue(queued(1..=40));
        assert_eq!(outbox.need(), None, "enough waits");
        assert_eq!(sent(&mut outbox, false), None, "no room");
        for number in 1..=40 {
            assert_eq!(sent(&mut outbox, true), Some((0x7fff + number, false)));
        }
        assert_eq!(outbox.need(), Some(OrdinaryNeed::Queue(QueueNumber(40))));
        outbox.queue(Vec::new());
        assert_eq!(outbox.need(), None);
        outbox.grew();
        assert_eq!(outbox.need(), Some(OrdinaryNeed::Queue(QueueNumber(40))));
    }

    #[test]
    fn what_was_sent_before_has_its_packet_id_and_dup() {
        let mut outbox = kept(&[(Side::Sent, 0x8001), (Side::Client, 0x8000)]);
        outbox.queue(queued(1..=3));
        let all = [(0x8000, false), (0x8001, true), (0x8002, false)];
        assert_eq!(all.map(|_| sent(&mut outbox, true)), all.map(Some));
        assert_eq!(outbox.unacked_ids(), [0x8000, 0x8001, 0x8002]);
        let mut died = kept(&[(Side::Sent, 0)]);
        died.queue(queued(0x8001..=0x8003));
        let all = [(0x8000, true), (0x8001, true), (0x8002, false)];
        assert_eq!(all.map(|_| sent(&mut died, true)), all.map(Some));
    }

    #[test]
    fn what_is_acknowledged_or_expired_leaves_the_queue_in_batches() {
        let mut outbox = kept(&[]);
        let mut page = queued(1..=100);
        page[0].message.expires_at = Some(NOW);
        outbox.queue(page);
        while sent(&mut outbox, true).is_some() {}
        assert_eq!(outbox.take_expired(), 1);
        outbox.acked(Slip::Queued(QueueNumber(5)));
        outbox.acked(Slip::Queued(QueueNumber(5)));
        assert_eq!(outbox.take_acked(false), []);
        assert_eq!(outbox.take_acked(true), [QueueNumber(1), QueueNumber(5)]);
        (6..=100).for_each(|n| outbox.acked(Slip::Queued(QueueNumber(n))));
        assert_eq!(outbox.take_acked(false).len(), 95);
        assert_eq!(outbox.unacked_ids(), [0x8001, 0x8002, 0x8003]);
    }

    #[test]
    fn what_was_begun_is_sent_again_even_if_it_has_expired_meanwhile() {
        let mut outbox = kept(&[(Side::Sent, 0x8001)]);
        let mut page = queued(1..=3);
        page.iter_mut()
            .for_each(|it| it.message.expires_at = Some(NOW));
        outbox.queue(page);
        assert_eq!(sent(&mut outbox, true), Some((0x8001, true)));
        assert_eq!(sent(&mut outbox, true), None);
        assert_eq!(outbox.take_expired(), 2);
    }

    fn greeting(qos: u8) -> Greeting {
        Greeting {
            base: "a/#".parse().unwrap(),
            filter: "a/#".parse().unwrap(),
            terms: Terms {
                qos,
                no_local: false,
                retain_as_published: false,
                identifier: Some(9),
            },
            since: Moment::default(),
        }
    }

    fn retained_need(outbox: &mut Outbox) -> Option<Option<Arc<str>>> {
        match outbox.need()? {
            OrdinaryNeed::Retained { after, .. } => Some(after),
            _ => None,
        }
    }

    #[test]
    fn retained_messages_come_page_by_page_after_the_disk_is_level() {
        let mut outbox = Outbox::default();
        outbox.greet(greeting(0));
        assert_eq!(outbox.need(), Some(OrdinaryNeed::Level));
        outbox.is_level();
        assert_eq!(retained_need(&mut outbox), Some(None));
        let page = vec![message("a/1", 2), message("a/2", 0)];
        assert!(outbox.greet_with(page, Some("a/2".into())).is_empty());
        assert_eq!(outbox.need(), None, "they are sent first");
        let mail = outbox.next(NOW, false, |_| None).unwrap();
        assert_eq!(
            (mail.qos, mail.retain, &mail.identifiers[..]),
            (0, true, &[9][..])
        );
        outbox.next(NOW, false, |_| None).unwrap();
        assert_eq!(retained_need(&mut outbox), Some(Some("a/2".into())));
        outbox.greet_with(Vec::new(), None);
        assert_eq!(outbox.need(), None);
    }

    #[test]
    fn g12_a_kept_session_gets_retained_messages_by_its_queue() {
        let mut outbox = kept(&[]);
        outbox.queue(Vec::new());
        outbox.grew = false;
        outbox.greet(greeting(1));
        outbox.need();
        outbox.is_level();
        outbox.need();
        let durable = outbox.greet_with(vec![message("a", 0), message("b", 2)], None);
        assert_eq!(durable.len(), 1);
        assert_eq!(
            (durable[0].qos, durable[0].message.topic.as_str()),
            (1, "b")
        );
        outbox.is_greeted();
        assert_eq!(
            outbox.next(NOW, false, |_| None).unwrap().message.topic,
            "a"
        );
        assert_eq!(outbox.need(), Some(OrdinaryNeed::Queue(QueueNumber(0))));
    }

    #[test]
    fn an_ended_subscription_is_not_greeted() {
        let mut outbox = Outbox::default();
        outbox.greet(greeting(0));
        outbox.forget(&"a/#".parse().unwrap());
        assert_eq!(outbox.need(), None);
    }

    #[test]
    fn a_subscription_that_ends_in_mid_greeting_gets_no_more_and_a_new_one_everything() {
        let mut outbox = Outbox::default();
        outbox.greet(greeting(0));
        assert_eq!(outbox.need(), Some(OrdinaryNeed::Level));
        outbox.forget(&"a/#".parse().unwrap());
        outbox.is_level();
        assert_eq!(outbox.need(), None);
        outbox.greet(greeting(0));
        outbox.need();
        outbox.is_level();
        assert_eq!(retained_need(&mut outbox), Some(None));
        outbox.greet(greeting(0));
        outbox.greet_with(vec![message("a/1", 0)], Some("a/1".into()));
        assert!(outbox.next(NOW, false, |_| None).is_none());
        assert_eq!(outbox.need(), Some(OrdinaryNeed::Level));
        outbox.is_level();
        assert_eq!(retained_need(&mut outbox), Some(None), "from the beginning");
    }
}
