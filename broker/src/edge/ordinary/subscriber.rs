//! A session that follows ordinary topics, and what a message becomes on its way to it.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use syncline_protocol::Filter;

use super::followers::Willing;
use super::letter::Letter;
use crate::acl::Principal;
use crate::edge::counters::Losses;
use crate::edge::mailbox::Mailbox;
use crate::store::sessions::{Message, QueueLimit, SessionChange, SessionKey};

/// See the module.
pub(super) struct Subscriber {
    pub(super) key: SessionKey,
    /// Whose it is; not known until it has a connection in this process.
    pub(super) who: Option<Arc<Principal>>,
    /// It outlives its connection.
    pub(super) kept: bool,
    pub(super) mailbox: Option<Arc<Mailbox>>,
    pub(super) follows: HashSet<Filter>,
    /// What found no room in the store's queue.
    pub(super) losses: Arc<Losses>,
}

impl Subscriber {
    /// It follows nothing yet.
    pub(super) fn new(key: SessionKey, kept: bool, mailbox: Option<Arc<Mailbox>>) -> Self {
        Self {
            key,
            who: None,
            kept,
            mailbox,
            follows: HashSet::new(),
            losses: Arc::default(),
        }
    }

    /// Whether it may read what is published there.
    pub(super) fn reads(&self, topic: &str) -> bool {
        let who = self.who.as_ref();
        who.is_none_or(|who| who.grant().reads_topic(topic))
    }

    /// How willing it is to take a message for its group.
    pub(super) fn willing(&self, topic: &str, qos: u8) -> Willing {
        match &self.mailbox {
            _ if !self.reads(topic) => Willing::Never,
            Some(mailbox) if mailbox.is_busy() => Willing::Slowly,
            Some(_) => Willing::AtOnce,
            None if self.kept && qos > 0 => Willing::Later,
            None => Willing::Never,
        }
    }

    /// Its copy of a message for the store's queue.
    pub(super) fn enqueue(&self, letter: &Letter, limit: QueueLimit) -> SessionChange {
        let message = &letter.message;
        let message = Message {
            topic: message.topic.clone(),
            payload: message.payload.clone(),
            qos: letter.qos,
            retain: letter.retain,
            properties: with_identifiers(&message.properties, &letter.identifiers),
            expires_at: message.expires_at,
        };
        SessionChange::Enqueue(self.key.clone(), message, limit)
    }
}

/// The properties of a message and the Subscription Identifiers of those that it is for, as on the wire.
fn with_identifiers(properties: &Bytes, identifiers: &[u32]) -> Bytes {
    if identifiers.is_empty() {
        return properties.clone();
    }
    let mut bytes = BytesMut::from(&properties[..]);
    for identifier in identifiers {
        bytes.put_u8(0x0b);
        let mut rest = *identifier;
        while rest >= 0x80 {
            bytes.put_u8((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        bytes.put_u8(rest as u8);
    }
    bytes.freeze()
}
