//! A copy of an ordinary message on its way to one subscriber, and what waits in memory for a connection.

use std::collections::VecDeque;
use std::sync::Arc;

use super::follow::Follow;
use super::retained::Moment;
use crate::store::sessions::{Message, QueueLimit};

/// A copy of a message. What a kept session gets at QoS 1 and 2 is none: that waits in the store.
#[derive(Debug, Clone)]
pub(crate) struct Letter {
    pub(crate) message: Arc<Message>,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) identifiers: Vec<u32>,
    /// It is for any member of this group.
    pub(crate) share: Option<Arc<Follow>>,
    /// It answers a SUBSCRIBE, unless something came on its topic after this moment.
    pub(crate) since: Option<Moment>,
}

/// What waits for one connection, in the order in which it came; bounded.
#[derive(Debug, Default)]
pub(crate) struct Letters {
    /// At QoS 0.
    plain: VecDeque<(u64, Letter)>,
    /// At QoS 1 and 2.
    assured: VecDeque<(u64, Letter)>,
    last: u64,
    bytes: u64,
}

impl Letters {
    /// Takes a letter in, if there is room. An empty box has room for any.
    pub(crate) fn put(&mut self, letter: Letter, limit: &QueueLimit) -> bool {
        let bytes = self.bytes + letter.message.weight();
        let full = self.len() as u64 >= limit.messages_max || bytes > limit.bytes_max;
        if full && self.len() > 0 {
            return false;
        }
        self.last += 1;
        self.bytes = bytes;
        let queue = match letter.qos {
            0 => &mut self.plain,
            _ => &mut self.assured,
        };
        queue.push_back((self.last, letter));
        true
    }

    /// The oldest one. `room`: whether one with QoS 1 or 2 may be sent.
    pub(crate) fn take(&mut self, room: bool) -> Option<Letter> {
        let number = |queue: &VecDeque<(u64, Letter)>| queue.front().map(|(number, _)| *number);
        let assured = number(&self.assured).filter(|_| room);
        let first_is_assured = match (assured, number(&self.plain)) {
            (Some(assured), Some(plain)) => assured < plain,
            (assured, _) => assured.is_some(),
        };
        let queue = match first_is_assured {
            true => &mut self.assured,
            false => &mut self.plain,
        };
        let (_, letter) = queue.pop_front()?;
        self.bytes -= letter.message.weight();
        Some(letter)
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.plain.len() + self.assured.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    const LIMIT: QueueLimit = QueueLimit {
        messages_max: 3,
        bytes_max: 10,
    };

    fn letter(payload: &'static str, qos: u8) -> Letter {
        let message = Message {
            topic: "t".to_owned(),
            payload: Bytes::from(payload),
            qos,
            retain: false,
            properties: Bytes::new(),
            expires_at: None,
        };
        Letter {
            message: Arc::new(message),
            qos,
            retain: false,
            identifiers: Vec::new(),
            share: None,
            since: None,
        }
    }

    fn taken(letters: &mut Letters, room: bool) -> Option<String> {
        let payload = letters.take(room)?.message.payload.clone();
        Some(String::from_utf8(payload.to_vec()).unwrap())
    }

    #[test]
    fn letters_come_in_order_and_qos_0_does_not_wait_for_a_window() {
        let mut letters = Letters::default();
        for (payload, qos) in [("a", 1), ("b", 0), ("c", 2)] {
            assert!(letters.put(letter(payload, qos), &LIMIT));
        }
        assert_eq!(taken(&mut letters, false).as_deref(), Some("b"));
        assert_eq!(taken(&mut letters, false), None);
        assert_eq!(taken(&mut letters, true).as_deref(), Some("a"));
        assert_eq!(taken(&mut letters, true).as_deref(), Some("c"));
        assert_eq!(taken(&mut letters, true), None);
        assert_eq!((letters.len(), letters.bytes), (0, 0));
    }

    #[test]
    fn g10_a_box_is_bounded_by_messages_and_bytes() {
        let mut letters = Letters::default();
        assert!(
            letters.put(letter("more than ten bytes", 0), &LIMIT),
            "the first"
        );
        assert!(!letters.put(letter("", 0), &LIMIT));
        letters.take(false);
        for payload in ["1", "2", "3"] {
            assert!(letters.put(letter(payload, 1), &LIMIT));
        }
        assert!(!letters.put(letter("4", 0), &LIMIT));
        letters.take(true);
        assert!(letters.put(letter("12345", 0), &LIMIT));
        letters.take(true);
        assert!(!letters.put(letter("12", 0), &LIMIT));
    }
}
