//! The connection: when to make one, what to subscribe on it, when to give up on it (LINK, RETRY).

use syncline_protocol::planted::{Planted, planted};
use syncline_protocol::snapshot::Assembler;
use syncline_protocol::{DeviceSeq, Filter, Seq, Start, Subscription, Topic, UnixMillis};

use crate::core::Core;
use crate::fork::Fork;
use crate::input::Refusal;
use crate::outbox::{Entry, WINDOW_MAX};
use crate::output::{FaultKind, Output, Phase};
use crate::rows::IntentId;

/// How long an opening state may take (LINK-4).
const OPENING_MS_MAX: u64 = 30_000;
/// RETRY-1.
const RETRY_MS_MIN: f64 = 500.0;
const RETRY_MS_MAX: f64 = 30_000.0;
/// RETRY-4.
const ATTEMPT_AFTER_FAULT: u32 = 5;

/// Where the connection is.
#[derive(Debug)]
pub(crate) enum Link {
    /// Switched off.
    Off,
    /// Until the next try.
    Waiting { until: UnixMillis },
    /// The driver is at it.
    Connecting { deadline: UnixMillis },
    /// It stands.
    Up(Box<Up>),
}

/// A connection that stands.
#[derive(Debug)]
pub(crate) struct Up {
    pub(crate) window: usize,
    pub(crate) maximum_packet_size: Option<u32>,
    pub(crate) awaits: Awaits,
    /// Whether an opening was taken on it.
    pub(crate) open: bool,
    /// Whether `$since/0-0` was already tried as a cure (REPLICA-2).
    pub(crate) healed: bool,
    /// Whether an event was applied since the last gap (REPLICA-4).
    pub(crate) progressed: bool,
    /// A state whose first parts have come (REPLICA-8).
    pub(crate) parts: Assembler,
    /// An opening that is not reached yet (OVERLAY-2).
    pub(crate) unreached: Option<Unreached>,
    /// What was acknowledged before this connection, until its first opening is reached (OVERLAY-2).
    pub(crate) acknowledged_before: Vec<IntentId>,
}

/// What an opening says of everything up to its head.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unreached {
    pub(crate) head: Seq,
    /// Of this device's, up to here all are in the replica then.
    pub(crate) mark: Option<DeviceSeq>,
}

/// What must come before events are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Awaits {
    Nothing,
    Opening {
        deadline: UnixMillis,
    },
    Schema {
        deadline: UnixMillis,
        kind: SchemaWait,
    },
}

/// Why a schema is awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SchemaWait {
    /// None is known.
    First,
    /// The opening is of another one (SCHEMA-10).
    Other,
}

impl Awaits {
    fn deadline(self) -> Option<UnixMillis> {
        match self {
            Self::Nothing => None,
            Self::Opening { deadline } | Self::Schema { deadline, .. } => Some(deadline),
        }
    }
}

impl Link {
    pub(crate) fn up(&self) -> Option<&Up> {
        if let Self::Up(up) = self {
            Some(up)
        } else {
            None
        }
    }

    pub(crate) fn up_mut(&mut self) -> Option<&mut Up> {
        if let Self::Up(up) = self {
            Some(up)
        } else {
            None
        }
    }

    /// LINK-2.
    pub(crate) fn is_open(&self) -> bool {
        self.up().is_some_and(|up| up.open)
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.up()
            .is_some_and(|up| up.open && up.awaits == Awaits::Nothing)
    }

    pub(crate) fn phase(&self) -> Phase {
        match self {
            Self::Off | Self::Waiting { .. } => Phase::Offline,
            Self::Up(up) if up.open => Phase::Online,
            Self::Connecting { .. } | Self::Up(_) => Phase::Connecting,
        }
    }

    pub(crate) fn retry_at(&self) -> Option<UnixMillis> {
        if let Self::Waiting { until } = self {
            Some(*until)
        } else {
            None
        }
    }

    pub(crate) fn timeout(&self) -> Option<UnixMillis> {
        match self {
            Self::Off => None,
            Self::Waiting { until } => Some(*until),
            Self::Connecting { deadline } => Some(*deadline),
            Self::Up(up) => up.awaits.deadline(),
        }
    }

    fn is_connected_or_trying(&self) -> bool {
        matches!(self, Self::Connecting { .. } | Self::Up(_))
    }
}

impl Core {
    pub(crate) fn connect(&mut self, now: UnixMillis) {
        self.link = Link::Connecting {
            deadline: now.plus(OPENING_MS_MAX),
        };
        self.out.push(Output::Connect(self.device.device));
    }

    pub(crate) fn switch_off(&mut self) {
        self.link = Link::Off;
        self.reason = Some("switched off".to_owned());
    }

    pub(crate) fn set_online(&mut self, now: UnixMillis, online: bool) {
        let connected_or_trying = self.link.is_connected_or_trying();
        if online && !connected_or_trying {
            self.attempt = 0;
            self.reason = None;
            self.connect(now);
        } else if !online {
            self.end_connection();
            self.switch_off();
            self.saves.hurry(now);
            self.save_if_due(now);
        }
    }

    /// Closes what there is of a connection. The caller says what the link is then.
    pub(crate) fn end_connection(&mut self) {
        if self.link.is_connected_or_trying() {
            self.out.push(Output::Disconnect);
            self.link = Link::Off;
            self.connection_ended();
        }
    }

    fn connection_ended(&mut self) {
        if !planted(Planted::SentForgotten) {
            self.outbox.requeue_all();
        }
        // Whether this is a fork shows again at the next opening, and then what the broker has of it (FORK-2, FORK-5).
        if self.fork == Fork::Draining {
            self.fork = Fork::No;
        }
    }

    pub(crate) fn connected(&mut self, receive_maximum: u16, maximum_packet_size: Option<u32>) {
        let Link::Connecting { deadline } = self.link else {
            return;
        };
        let errors = Topic::Errors(self.stream.sync_id.clone(), self.device.device);
        self.out.push(Output::Subscribe(errors.to_string()));
        let known = self.view.schema().is_some();
        let awaits = if known {
            Awaits::Opening { deadline }
        } else {
            Awaits::Schema {
                deadline,
                kind: SchemaWait::First,
            }
        };
        let filter = if known {
            self.resume_filter()
        } else {
            Topic::Schema.to_string()
        };
        self.out.push(Output::Subscribe(filter));
        self.link = Link::Up(Box::new(Up {
            window: usize::from(receive_maximum).min(WINDOW_MAX),
            maximum_packet_size,
            awaits,
            open: false,
            healed: false,
            progressed: true,
            parts: Assembler::default(),
            unreached: None,
            acknowledged_before: self.outbox.acknowledged(),
        }));
    }

    pub(crate) fn disconnected(
        &mut self,
        now: UnixMillis,
        random: f64,
        reason: String,
        taken_over: bool,
    ) {
        if self.link.is_connected_or_trying() {
            self.connection_ended();
            if taken_over {
                self.was_taken_over();
            }
            self.retry_later(now, random, reason);
        }
    }

    /// RETRY-1: exponential backoff with full jitter.
    fn retry_later(&mut self, now: UnixMillis, random: f64, reason: String) {
        let exponent = i32::try_from(self.attempt.min(16)).unwrap_or(16);
        let delay = (random * RETRY_MS_MAX.min(RETRY_MS_MIN * 2f64.powi(exponent))).floor();
        self.attempt += 1;
        self.reason = Some(reason);
        self.link = Link::Waiting {
            until: now.plus(delay as u64),
        };
    }

    pub(crate) fn link_timeout(&mut self, now: UnixMillis, random: f64) {
        if self.link.timeout().is_none_or(|at| at > now) {
            return;
        }
        if self.link.is_connected_or_trying() {
            self.end_connection();
            self.retry_later(now, random, "no opening state".to_owned());
        } else {
            self.connect(now);
        }
    }

    /// Gives up on a connection whose other end breaks the rules (RETRY-3, RETRY-4).
    pub(crate) fn give_up(
        &mut self,
        now: UnixMillis,
        random: f64,
        kind: FaultKind,
        detail: String,
    ) {
        self.fault(kind, detail);
        self.end_connection();
        self.attempt = self.attempt.max(ATTEMPT_AFTER_FAULT);
        self.retry_later(now, random, kind.to_string());
    }

    /// Subscribes what is missing after the cursor.
    pub(crate) fn resume(&mut self, now: UnixMillis) {
        let filter = self.resume_filter();
        self.await_opening(now, filter);
    }

    /// Subscribes everything from its beginning.
    pub(crate) fn resume_from_nothing(&mut self, now: UnixMillis) {
        let filter = format!("$since/0-0/{}", self.events_topic());
        self.await_opening(now, filter);
    }

    fn await_opening(&mut self, now: UnixMillis, filter: String) {
        if let Some(up) = self.link.up_mut() {
            up.awaits = Awaits::Opening {
                deadline: now.plus(OPENING_MS_MAX),
            };
            self.out.push(Output::Subscribe(filter));
        }
    }

    /// LINK-4: a large opening may take its time as long as it comes.
    pub(crate) fn await_further_parts(&mut self, now: UnixMillis) {
        if let Some(up) = self.link.up_mut()
            && let Awaits::Opening { deadline } = &mut up.awaits
        {
            *deadline = now.plus(OPENING_MS_MAX);
        }
    }

    /// SCHEMA-10.
    pub(crate) fn await_schema(&mut self, now: UnixMillis) {
        if let Some(up) = self.link.up_mut() {
            let deadline = now.plus(OPENING_MS_MAX);
            up.awaits = Awaits::Schema {
                deadline,
                kind: SchemaWait::Other,
            };
            self.out.push(Output::Subscribe(Topic::Schema.to_string()));
        }
    }

    fn resume_filter(&self) -> String {
        let start = Start::Resume {
            seq: self.view.seq(),
            epoch: self.view.epoch(),
        };
        let filter: Filter = self
            .events_topic()
            .parse()
            .expect("a topic without wildcards is a filter");
        Subscription {
            json: false,
            start,
            filter,
        }
        .to_string()
    }

    /// OUTBOX-4.
    pub(crate) fn send_what_may_be(&mut self) {
        if self.holding && self.outbox.sent() == 0 && self.link.is_settled() {
            self.holding = self.fork != Fork::No;
        }
        while let Some((id, payload)) = self.next_to_send() {
            self.outbox.mark_sent(id);
            self.out.push(Output::Send {
                id,
                topic: self.events_topic(),
                payload,
            });
        }
    }

    fn next_to_send(&mut self) -> Option<(IntentId, Vec<u8>)> {
        loop {
            let up = self.link.up().filter(|up| up.open)?;
            if self.outbox.sent() >= up.window {
                return None;
            }
            let (id, entry) = self.whose_turn()?;
            let payload = entry.intent.encode();
            if self.fits(payload.len()) {
                return Some((id, payload));
            }
            self.set_aside(
                id,
                Refusal::new("too_large", "larger than the broker takes"),
            );
        }
    }

    fn whose_turn(&self) -> Option<(IntentId, &Entry)> {
        let (id, entry) = match (self.holding, self.fork) {
            (false, _) => self.outbox.next()?,
            (true, Fork::Draining) => self.outbox.next_doubtful()?,
            (true, _) => return None,
        };
        let offered = entry.intent.device_seq <= self.device.offered;
        (offered && entry.needs <= self.persisted).then_some((id, entry))
    }

    /// REFUSE-4: 16 bytes are more than the fixed header, packet id, properties and lengths of a PUBLISH.
    fn fits(&self, payload: usize) -> bool {
        let largest = self.link.up().and_then(|up| up.maximum_packet_size);
        let size = payload + self.events_topic().len() + 16;
        largest.is_none_or(|largest| size as u64 <= u64::from(largest))
    }
}
