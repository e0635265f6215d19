//! A copy of an ordinary message on its way to one subscriber, and what waits in memory for a connection.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::follow::Follow;
use super::retained::Moment;
use crate::store::sessions::{Message, QueueLimit};

/// What a letter costs beside its message.
const LETTER_BYTES: u64 = size_of::<(u64, Letter)>() as u64;

/// A box that is empty keeps room for so many.
const ROOM: usize = 16;

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

/// What waits for all connections together: one budget for all slow readers. Where it is used up, nobody gets more than the part
/// that everybody who waits can have.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// 0: as many as come.
    bytes_max: u64,
    bytes: AtomicU64,
    /// Boxes with something in them.
    boxes: AtomicU64,
}

/// What waits for one connection, in the order in which it came; bounded.
#[derive(Debug, Default)]
pub(crate) struct Letters {
    all: Arc<Pending>,
    /// At QoS 0.
    plain: VecDeque<(u64, Letter)>,
    /// At QoS 1 and 2.
    assured: VecDeque<(u64, Letter)>,
    last: u64,
    bytes: u64,
}

impl Pending {
    /// Nothing waits.
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self {
            bytes_max,
            ..Self::default()
        }
    }

    /// Whether a box that would hold `own` bytes with these `more` takes more than there is for it.
    fn is_over(&self, own: u64, more: u64) -> bool {
        let boxes = self.boxes.load(Ordering::Relaxed).max(1);
        let all = self.bytes.load(Ordering::Relaxed) + more;
        self.bytes_max > 0 && all > self.bytes_max && own > self.bytes_max / boxes
    }

    fn put(&self, bytes: u64, first: bool) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.boxes.fetch_add(u64::from(first), Ordering::Relaxed);
    }

    fn take(&self, bytes: u64, last: bool) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.boxes.fetch_sub(u64::from(last), Ordering::Relaxed);
    }
}

impl Letters {
    /// An empty box, whose letters count among all that wait.
    pub(crate) fn among(all: Arc<Pending>) -> Self {
        Self {
            all,
            plain: VecDeque::new(),
            assured: VecDeque::new(),
            last: 0,
            bytes: 0,
        }
    }

    /// Takes a letter in, if there is room. An empty box has room for any.
    pub(crate) fn put(&mut self, letter: Letter, limit: &QueueLimit) -> bool {
        let bytes = self.bytes + letter.message.weight();
        let full = self.len() as u64 >= limit.messages_max || bytes > limit.bytes_max;
        let cost = letter.message.weight() + LETTER_BYTES;
        let is_first = self.len() == 0;
        if !is_first && (full || self.all.is_over(self.cost() + cost, cost)) {
            return false;
        }
        self.all.put(cost, is_first);
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
        if queue.is_empty() {
            queue.shrink_to(ROOM);
        }
        let weight = letter.message.weight();
        self.bytes -= weight;
        self.all.take(weight + LETTER_BYTES, self.len() == 0);
        Some(letter)
    }

    fn cost(&self) -> u64 {
        self.bytes + self.len() as u64 * LETTER_BYTES
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.plain.len() + self.assured.len()
    }
}

impl Drop for Letters {
    fn drop(&mut self) {
        if self.len() > 0 {
            self.all.take(self.cost(), true);
        }
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
    fn g10_what_waits_in_all_boxes_is_bounded_and_who_waits_for_little_still_gets_it() {
        let limit = QueueLimit {
            messages_max: 1_000,
            bytes_max: 1 << 20,
        };
        let all = Arc::new(Pending::new(100 * (LETTER_BYTES + 2)));
        let mut boxes = [(); 4].map(|()| Letters::among(Arc::clone(&all)));
        let fill = |it: &mut Letters| {
            (0..1_000)
                .filter(|_| it.put(letter("x", 0), &limit))
                .count()
        };
        assert_eq!(fill(&mut boxes[0]), 100, "it is alone");
        assert_eq!(fill(&mut boxes[1]), 50);
        assert_eq!(fill(&mut boxes[2]), 33);
        while boxes[0].take(true).is_some() {}
        assert_eq!(fill(&mut boxes[3]), 33, "those that are full stay so");
        drop(boxes);
        let left = [&all.bytes, &all.boxes].map(|it| it.load(Ordering::Relaxed));
        assert_eq!(left, [0, 0]);
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
