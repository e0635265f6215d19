//! Messages to the client: with what they are written, and whether they fit.

use super::deeds::cargo;
use super::packets::{PUBLISH, Packet, apart, heard, id_of, length, string, varint};
use super::rig::Rig;
use super::words::{Delivery, Load};
use crate::edge::session::{Message, NotSent};

const TOPICS: [&str; 4] = [
    "news",
    "home/lamp",
    "news/of/the/day/from/far/away/and/near",
    "a",
];

/// A Content Type, as somebody said it.
const PROPERTIES: &[u8] = b"\x03\0\x04text";

/// What is to be sent.
struct Plan {
    topic: &'static str,
    qos: u8,
    retain: bool,
    payload: Vec<u8>,
    identifiers: Vec<u32>,
    properties: &'static [u8],
    expiry_s: Option<u32>,
    /// It came before, with this packet id.
    again: Option<u16>,
    /// What it carries.
    kind: u8,
}

impl Plan {
    fn new(shape: u8, more: u8) -> Self {
        let has = |bit: u8| more & (1 << bit) != 0;
        let qos = [0, 1, 2, 2][usize::from(shape & 3)];
        let kind = (shape >> 5) % 3;
        Self {
            topic: TOPICS[usize::from(shape >> 2 & 3)],
            // An event comes at QoS 1 at most.
            qos: if kind == 2 { qos.min(1) } else { qos },
            retain: shape & 0x10 != 0,
            payload: vec![b'x'; usize::from(more >> 4) * if has(3) { 7 } else { 1 }],
            identifiers: if has(0) { vec![9, 70_000] } else { Vec::new() },
            properties: if has(1) { PROPERTIES } else { &[] },
            expiry_s: has(2).then_some(77),
            again: None,
            kind,
        }
    }

    /// Version 5 alone writes these.
    fn said(&self, v5: bool) -> Vec<u8> {
        let mut bytes = self.properties.to_vec();
        if let Some(seconds) = self.expiry_s {
            bytes.extend([&[0x02][..], &seconds.to_be_bytes()].concat());
        }
        for id in &self.identifiers {
            bytes.extend([&[0x0b][..], &length(*id as usize)].concat());
        }
        if v5 { bytes } else { Vec::new() }
    }

    /// Of the packet, with its topic or with its number instead.
    fn size(&self, v5: bool, by_alias: bool) -> usize {
        let topic = if by_alias { "" } else { self.topic };
        let alias = if by_alias { 3 } else { 0 };
        let said = self.said(v5).len() + alias;
        let said = if v5 { length(said).len() + said } else { 0 };
        let id = if self.qos > 0 { 2 } else { 0 };
        let body = string(topic.as_bytes()).len() + id + said + self.payload.len();
        1 + length(body).len() + body
    }

    fn message(&self, number: u64) -> Message<'_> {
        Message {
            topic: self.topic,
            payload: &self.payload,
            qos: self.qos,
            packet_id: self.again,
            retain: self.retain,
            again: self.again.is_some(),
            identifiers: &self.identifiers,
            properties: self.properties,
            expiry_s: self.expiry_s,
            cargo: Some(cargo(self.kind, number)),
        }
    }
}

impl Rig {
    /// What comes again may come after what is new.
    pub(super) fn deliver(&mut self, shape: u8, more: u8) {
        let mut plan = Plan::new(shape, more);
        let ended = self.model.ended;
        if plan.qos > 0 && !ended {
            if !self.model.has_room() {
                return;
            }
            if shape < 128
                && let Some((id, qos)) = self.again.pop_front()
            {
                (plan.again, plan.qos) = (Some(id), qos);
                plan.kind = if qos == 1 { plan.kind } else { plan.kind % 2 };
            }
        }
        self.number += 1;
        let sent = self.session.publish(plan.message(self.number));
        if ended {
            // Nobody is there any more, and no packet id is given.
            return assert_eq!(sent, Ok(None), "after the end");
        }
        let output = self.session.output().split();
        self.log.extend_from_slice(&output);
        self.is_sent(&plan, sent, &heard(&output));
    }

    fn is_sent(&mut self, plan: &Plan, sent: Result<Option<u16>, NotSent>, heard: &[Packet]) {
        let (v5, most) = (self.header.v5, self.model.terms.packet_bytes_max);
        let known = self.aliases.values().any(|it| it == plan.topic.as_bytes());
        let fits = plan.size(v5, false) <= most || (known && plan.size(v5, true) <= most);
        let (id, packet) = match (sent, heard) {
            (Err(NotSent::TooLarge), []) => return assert!(!fits, "it fits, and was not sent"),
            (Ok(id), [packet]) => (id, packet),
            other => panic!("{other:?}"),
        };
        assert!(
            packet.size <= most,
            "{packet:?} is too large for the client"
        );
        self.is_written(plan, id, packet);
        assert_eq!(id.is_some(), plan.qos > 0);
        let Some(id) = id else { return };
        assert!(id > 0 && plan.again.is_none_or(|it| it == id), "{id}");
        let waits = self.again.iter().any(|it| it.0 == id) || self.model.resuming.contains(&id);
        assert!(!waits, "{id} is kept for what comes again");
        let load = match plan.kind {
            0 => Load::Queued(self.number),
            1 => Load::Loose(self.number),
            _ => Load::Event(self.number),
        };
        let delivery = match plan.qos {
            1 => Delivery::Once(load),
            _ => Delivery::Twice(load),
        };
        let before = self.model.deliveries.insert(id, delivery);
        assert_eq!(before, None, "a packet id is given twice");
    }

    /// The client reads what was meant for it.
    fn is_written(&mut self, plan: &Plan, id: Option<u16>, packet: &Packet) {
        let again = if plan.again.is_some() { 8 } else { 0 };
        let flags = again | (plan.qos << 1) | u8::from(plan.retain);
        assert_eq!((packet.kind, packet.flags), (PUBLISH, flags), "{packet:?}");
        let (topic, rest) = packet.body[2..].split_at(usize::from(id_of(&packet.body)));
        let rest = match id {
            Some(id) => {
                assert_eq!(id_of(rest), id);
                &rest[2..]
            }
            None => rest,
        };
        let (mut said, payload) = match self.header.v5 {
            true => {
                let (length, head) = varint(rest);
                (apart(&rest[head..][..length]), &rest[head + length..])
            }
            false => (Vec::new(), rest),
        };
        let alias = said.iter().position(|it| it[0] == 0x23);
        let alias = alias.map(|at| id_of(&said.remove(at)[1..]));
        let topic = self.resolved(topic, alias);
        assert_eq!(topic, plan.topic.as_bytes());
        assert_eq!(payload, plan.payload);
        assert_eq!(said, apart(&plan.said(self.header.v5)));
    }

    fn resolved(&mut self, topic: &[u8], alias: Option<u16>) -> Vec<u8> {
        let Some(alias) = alias else {
            return topic.to_vec();
        };
        let most = self.header.topic_alias_max;
        assert!((1..=most).contains(&alias), "{alias} of {most} aliases");
        if topic.is_empty() {
            let known = self.aliases.get(&alias);
            return known.expect("an alias that the client knows").clone();
        }
        self.aliases.insert(alias, topic.to_vec());
        topic.to_vec()
    }
}
