//! What is asked for next, in which order.

use std::sync::Arc;
use std::time::{Duration, Instant};

use syncline_protocol::StreamId;

use super::Delivery;
use super::needs::{Form, Need, Purpose, SCAN_PAGE, Waiting};
use super::parts::{payload_bytes_max, state_topic};

/// How long a live state may wait behind events.
const STATE_WAIT_MAX: Duration = Duration::from_millis(100);

/// What goes first.
#[derive(Debug, Clone, Copy)]
pub(super) enum Turn {
    Asked,
    Events,
    Live,
}

impl Turn {
    fn next(self) -> Self {
        match self {
            Self::Asked => Self::Events,
            Self::Events => Self::Live,
            Self::Live => Self::Asked,
        }
    }
}

impl Delivery {
    /// What is needed next; `None` while a need is open or messages wait.
    pub(crate) fn need(&mut self, now: Instant) -> Option<Need> {
        if self.is_held() {
            return None;
        }
        let overdue = now.checked_sub(STATE_WAIT_MAX).unwrap_or(now);
        let (need, waiting) = self
            .topic_need()
            .or_else(|| self.need_in_turn(overdue))
            .or_else(|| self.asked_need())
            .or_else(|| self.live_need(overdue))
            .or_else(|| self.streams_need())
            .or_else(|| self.events_need())
            .or_else(|| self.live_need(now))?;
        self.waiting = Some(waiting);
        Some(need)
    }

    /// Each kind goes first in turn: neither a long scan nor a long replay nor a flood of changes lets the others wait
    /// for its end.
    fn need_in_turn(&mut self, overdue: Instant) -> Option<(Need, Waiting)> {
        self.turn = self.turn.next();
        match self.turn {
            Turn::Asked => self.asked_need().or_else(|| self.streams_need()),
            Turn::Events => self.events_need(),
            Turn::Live => self.live_need(overdue),
        }
    }

    /// When to ask [`Delivery::need`] again at the latest. While it has no ear for time, something else comes first.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.states.next_timeout().filter(|_| !self.is_held())
    }

    /// A need is open or messages wait.
    fn is_held(&self) -> bool {
        self.waiting.is_some() || !self.outgoing.is_empty() || self.cursors.has_page()
    }

    fn topic_need(&mut self) -> Option<(Need, Waiting)> {
        let (topic, of) = match self.greetings.pop_front() {
            Some((topic, sub)) => (topic, Some(sub)),
            None => (self.topics.pop_first()?, None),
        };
        Some((
            Need::Topic(Arc::clone(&topic)),
            Waiting::Topic { topic, of },
        ))
    }

    /// A state without which events cannot go on, or that a SUBSCRIBE asked for.
    fn asked_need(&mut self) -> Option<(Need, Waiting)> {
        if let Some(stream) = self.cursors.next_bridge() {
            let subs = self.cursors.bridging(&stream);
            return Some(self.snapshot_need(stream, Purpose::Bridge(subs)));
        }
        let sight = &self.sight;
        let at = self.snapshots.iter().position(|(it, _)| sight.shows(it))?;
        let (stream, purpose) = self.snapshots.remove(at)?;
        Some(self.snapshot_need(stream, purpose))
    }

    /// A live state that was due at `by`. Events go first, as long as it is not overdue: they are at hand.
    fn live_need(&mut self, by: Instant) -> Option<(Need, Waiting)> {
        while let Some(stream) = self.states.due(by) {
            let subs = self.state_followers(&stream);
            if !subs.is_empty() {
                return Some(self.snapshot_need(stream, Purpose::Live(subs)));
            }
        }
        None
    }

    fn snapshot_need(&self, stream: Arc<StreamId>, purpose: Purpose) -> (Need, Waiting) {
        let subs = purpose.subs();
        let room = payload_bytes_max(self.packet_bytes_max, &state_topic(&stream), subs.len());
        let form = Form {
            msgpack: subs.iter().any(|sub| !sub.json),
            json: subs.iter().any(|sub| sub.json),
            part_bytes_max: room.min(self.options.state_part_bytes),
        };
        let need = Need::Snapshot {
            stream: Arc::clone(&stream),
            want: purpose.want(),
            form,
        };
        (need, Waiting::Snapshot { stream, purpose })
    }

    /// A scan goes on when little is left of its last page.
    fn streams_need(&mut self) -> Option<(Need, Waiting)> {
        let scan = self
            .scans
            .front()
            .filter(|_| self.cursors.waiting() < SCAN_PAGE)?;
        Some((
            Need::Streams {
                after: scan.after.clone(),
                from: scan.goes_on_from(),
            },
            Waiting::Streams(scan.sub.id),
        ))
    }

    fn events_need(&mut self) -> Option<(Need, Waiting)> {
        let (stream, after) = self.cursors.next_read()?;
        let need = Need::Events {
            stream: Arc::clone(&stream),
            after,
        };
        Some((need, Waiting::Events { stream, after }))
    }
}
