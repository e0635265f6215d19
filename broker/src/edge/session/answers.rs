//! The open PUBLISHes of a connection, answered in the order in which they came (ANSWER-2).

use std::collections::VecDeque;

use syncline_protocol::{DeviceSeq, EventType, StreamId};

use super::wire::Of;

/// Names an open PUBLISH of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

/// A PUBLISH that waits for its answer.
#[derive(Debug)]
pub(super) struct Open<A> {
    /// The packet to acknowledge; `None` at QoS 0.
    pub(super) packet: Option<Of>,
    /// What an `errors` message would say of it.
    pub(super) about: About,
    answer: Option<A>,
}

/// What is known of an event, for an `errors` message.
#[derive(Debug, Clone, Default)]
pub(super) struct About {
    /// The stream, or the default one of the group whose topics it missed; `None` outside every group.
    pub(super) stream: Option<StreamId>,
    pub(super) event_type: Option<EventType>,
    pub(super) device_seq: Option<DeviceSeq>,
}

/// The queue. `A` is the answer.
#[derive(Debug)]
pub(super) struct Answers<A> {
    open: VecDeque<Open<A>>,
    first: u64,
}

impl<A> Answers<A> {
    pub(super) fn new() -> Self {
        Self {
            open: VecDeque::new(),
            first: 0,
        }
    }

    /// Opens a ticket at the end of the queue.
    pub(super) fn open(&mut self, packet: Option<Of>, about: About) -> Ticket {
        self.open.push_back(Open {
            packet,
            about,
            answer: None,
        });
        Ticket(self.first + self.open.len() as u64 - 1)
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Takes the answer of one. An answer to a ticket that is not open changes nothing.
    pub(super) fn answer(&mut self, ticket: Ticket, answer: A) {
        let index = ticket
            .0
            .checked_sub(self.first)
            .and_then(|index| usize::try_from(index).ok());
        if let Some(open) = index.and_then(|index| self.open.get_mut(index)) {
            open.answer = Some(answer);
        }
    }

    /// The next one that can be told, in order.
    pub(super) fn next(&mut self) -> Option<(Open<A>, A)> {
        let answer = self.open.front_mut()?.answer.take()?;
        let open = self.open.pop_front()?;
        self.first += 1;
        Some((open, answer))
    }

    /// Whether a PUBLISH waits for this answer.
    pub(super) fn is_open(&self, packet: Of) -> bool {
        self.open.iter().any(|open| open.packet == Some(packet))
    }

    /// Forgets all of them.
    pub(super) fn clear(&mut self) {
        self.first += self.open.len() as u64;
        self.open.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(packet_id: u16) -> Of {
        Of {
            packet_id,
            exactly_once: false,
        }
    }

    fn told(answers: &mut Answers<char>) -> String {
        std::iter::from_fn(|| answers.next().map(|(_, answer)| answer)).collect()
    }

    #[test]
    fn answer_2_answers_leave_in_the_order_of_the_publishes() {
        let mut answers = Answers::new();
        let tickets: Vec<_> = (1..=3)
            .map(|id| answers.open(Some(of(id)), About::default()))
            .collect();
        answers.answer(tickets[2], 'c');
        answers.answer(tickets[1], 'b');
        assert_eq!(told(&mut answers), "");
        answers.answer(tickets[0], 'a');
        assert_eq!(told(&mut answers), "abc");
        assert_eq!(answers.len(), 0);
    }

    #[test]
    fn an_answer_to_nothing_changes_nothing() {
        let mut answers = Answers::new();
        let ticket = answers.open(None, About::default());
        answers.clear();
        answers.answer(ticket, 'x');
        let next = answers.open(None, About::default());
        assert_ne!(ticket, next);
        assert_eq!(told(&mut answers), "");
    }
}
