//! What later events of a stream are decided on.

use std::collections::VecDeque;

use syncline_protocol::{
    Clock, DeviceId, DeviceSeq, Epoch, Event, IntentHash, Seq, StreamId, UnixMillis,
};

/// The end of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamHead {
    /// Of the stream's history; [`Epoch::NONE`] while it is empty.
    pub epoch: Epoch,
    /// The last seq; 0 while it is empty.
    pub seq: Seq,
    /// When the last event was accepted.
    pub accepted_at: UnixMillis,
    /// The highest clock ever accepted.
    pub clock: Clock,
    /// Declared and on disk: events up to here may be gone (HORIZON-1).
    pub horizon: Seq,
    /// Of the stream's last record among the records of all streams: the later, the higher.
    pub position: u64,
}

impl StreamHead {
    /// The head of a stream in which nothing was ever accepted.
    pub const EMPTY: StreamHead = StreamHead {
        epoch: Epoch::NONE,
        seq: Seq::ZERO,
        accepted_at: UnixMillis::new(0),
        clock: Clock::at(UnixMillis::new(0)),
        horizon: Seq::ZERO,
        position: 0,
    };

    /// Whether nothing was ever accepted.
    pub fn is_empty(&self) -> bool {
        self.seq == Seq::ZERO
    }

    /// The head after an event, but for the position, which only the store knows.
    pub(crate) fn advance(&mut self, event: &Footprint) {
        self.epoch = event.epoch;
        self.seq = event.seq;
        self.accepted_at = event.accepted_at;
        self.clock = self.clock.max(event.clock);
    }

    /// The head after a control record, but for the position.
    pub(crate) fn obey(&mut self, control: &Control) {
        self.epoch = control.epoch;
        self.horizon = self.horizon.max(control.horizon);
    }
}

/// A record of a stream that is not an event: its horizon is raised, and maybe another epoch begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Control {
    pub(crate) stream: StreamId,
    /// The stream's from here on.
    pub(crate) epoch: Epoch,
    pub(crate) horizon: Seq,
}

/// What is remembered of one device in one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The highest accepted, if the device numbers its events.
    pub device_seq: Option<DeviceSeq>,
    /// As stored with the device's last event (EVENT-6).
    pub base_seq: Seq,
    /// As stored with the device's last event (CLOCK-3).
    pub clock: Clock,
    /// When the device's last event was accepted (HORIZON-3).
    pub accepted_at: UnixMillis,
    /// The last W numbered events, oldest first (EVENT-10).
    pub recent: VecDeque<Recent>,
}

/// A numbered event that can be recognised when it comes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recent {
    /// Its number.
    pub device_seq: DeviceSeq,
    /// What it said.
    pub hash: IntentHash,
    /// Where it stands.
    pub seq: Seq,
}

impl Mark {
    /// Of a device that has not been heard.
    pub(crate) fn new() -> Mark {
        Mark {
            device_seq: None,
            base_seq: Seq::ZERO,
            clock: StreamHead::EMPTY.clock,
            accepted_at: StreamHead::EMPTY.accepted_at,
            recent: VecDeque::new(),
        }
    }

    /// The mark after an event of the device, keeping the last `window` hashes.
    pub(crate) fn absorb(&mut self, event: &Footprint, window: usize) {
        self.base_seq = event.base_seq;
        self.clock = event.clock;
        self.accepted_at = event.accepted_at;
        let Some(device_seq) = event.device_seq else {
            return;
        };
        self.device_seq = self.device_seq.max(Some(device_seq));
        if let Some(hash) = event.hash {
            let seq = event.seq;
            self.recent.push_back(Recent {
                device_seq,
                hash,
                seq,
            });
        }
        self.keep_recent(window);
    }

    /// Forgets all but the last `window` hashes.
    pub(crate) fn keep_recent(&mut self, window: usize) {
        let surplus = self.recent.len().saturating_sub(window);
        self.recent.drain(..surplus);
    }

    /// Where the event with this hash stands, if it is among the recent ones.
    pub(crate) fn first_copy(&self, hash: IntentHash) -> Option<Seq> {
        self.recent
            .iter()
            .rev()
            .find(|recent| recent.hash == hash)
            .map(|recent| recent.seq)
    }
}

/// What an event leaves behind in its stream's head and its device's mark.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Footprint {
    pub(crate) epoch: Epoch,
    pub(crate) seq: Seq,
    pub(crate) accepted_at: UnixMillis,
    pub(crate) device: DeviceId,
    pub(crate) device_seq: Option<DeviceSeq>,
    pub(crate) clock: Clock,
    pub(crate) base_seq: Seq,
    pub(crate) hash: Option<IntentHash>,
}

impl Footprint {
    pub(crate) fn of(event: &Event, hash: Option<IntentHash>) -> Footprint {
        Footprint {
            epoch: event.epoch,
            seq: event.seq,
            accepted_at: event.accepted_at,
            device: event.device,
            device_seq: event.device_seq,
            clock: event.clock,
            base_seq: event.base_seq,
            hash,
        }
    }
}
