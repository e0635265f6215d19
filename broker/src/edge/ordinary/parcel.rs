//! What one message comes to: what goes to the disk, who is told once it is there, and who gets nothing.

use std::sync::Arc;

use super::followers::Copy;
use super::letter::Letter;
use super::subscriber::Subscriber;
use super::topics::{Over, Posted};
use crate::edge::counters::{Count, Counters, Losses};
use crate::edge::mailbox::Mailbox;
use crate::store::sessions::{Message, QueueLimit, SessionChange};

/// What has room, for one session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rooms {
    /// In memory.
    pub(super) pending: QueueLimit,
    /// In the store.
    pub(super) queue: QueueLimit,
}

/// See the module.
#[derive(Default)]
pub(super) struct Parcel {
    changes: Vec<SessionChange>,
    queueing: Vec<Queueing>,
    /// Somebody follows it.
    matched: bool,
    /// For how many there was no room at QoS 0.
    dropped: u64,
    /// For how many there was none above.
    refused: u64,
}

/// A message that goes into the queue of a kept session.
struct Queueing {
    /// Which of the changes.
    at: usize,
    client_id: String,
    mailbox: Option<Arc<Mailbox>>,
    losses: Arc<Losses>,
}

impl Parcel {
    /// Nobody gets it yet; `changes` go to the disk in any case.
    pub(super) fn new(changes: Vec<SessionChange>) -> Self {
        Self {
            changes,
            ..Self::default()
        }
    }

    /// One copy: into a queue on disk, into a mailbox, or nowhere.
    pub(super) fn deliver(
        &mut self,
        subscriber: &Subscriber,
        message: &Arc<Message>,
        copy: Copy,
        rooms: &Rooms,
    ) {
        self.matched = true;
        let qos = copy.qos;
        let letter = || Letter {
            message: Arc::clone(message),
            qos,
            retain: copy.retain,
            identifiers: copy.identifiers,
            share: copy.share,
            since: None,
        };
        if subscriber.kept && qos > 0 {
            return self.enqueue(subscriber, &letter(), rooms);
        }
        // Who is away gets nothing at QoS 0, as MQTT allows.
        let Some(mailbox) = &subscriber.mailbox else {
            return;
        };
        if !mailbox.letter(&rooms.pending, letter) {
            lost(&subscriber.key.client_id, mailbox.losses());
            match qos {
                0 => self.dropped += 1,
                _ => self.refused += 1,
            }
        }
    }

    /// Into the queue on disk.
    pub(super) fn enqueue(&mut self, subscriber: &Subscriber, letter: &Letter, rooms: &Rooms) {
        self.queueing.push(Queueing {
            at: self.changes.len(),
            client_id: subscriber.key.client_id.clone(),
            mailbox: subscriber.mailbox.clone(),
            losses: Arc::clone(&subscriber.losses),
        });
        self.changes.push(subscriber.enqueue(letter, rooms.queue));
    }

    /// Counts what was lost in memory, and says what is known so far. `retained`: what came of retaining it.
    pub(super) fn close(&self, retained: Result<(), Over>, counters: &Counters) -> Posted {
        for (what, times) in [
            (Count::DroppedSlow, self.dropped),
            (Count::RefusedSlow, self.refused),
        ] {
            if times > 0 {
                counters.add(what, times);
            }
        }
        match retained {
            _ if self.refused > 0 => Posted::Full(Over::Queue),
            Err(over) => Posted::Full(over),
            Ok(()) => Posted::Taken {
                matched: self.matched,
            },
        }
    }

    /// For how many there was no room in memory.
    pub(super) fn losses(&self) -> u64 {
        self.dropped + self.refused
    }

    /// What is to be written, and what is to be done once it is.
    pub(super) fn split(self) -> (Vec<SessionChange>, Written) {
        (self.changes, Written(self.queueing))
    }
}

/// Whoever waits for what was written.
pub(super) struct Written(Vec<Queueing>);

impl Written {
    /// Rings those whose queue has grown, and counts what had no room: the `refused` ones of the changes. Whether all had.
    pub(super) fn settle(self, refused: &[usize], counters: &Counters) -> bool {
        let mut fits = true;
        for it in self.0 {
            if refused.binary_search(&it.at).is_ok() {
                counters.count(Count::RefusedQueueFull);
                lost(&it.client_id, &it.losses);
                fits = false;
            } else if let Some(mailbox) = it.mailbox {
                mailbox.queue_grew();
            }
        }
        fits
    }
}

fn lost(client_id: &str, losses: &Losses) {
    if let Some(losses) = losses.lose() {
        tracing::warn!(
            client_id,
            losses,
            "has no room for ordinary messages, which are lost"
        );
    }
}
