//! The thread that feeds the bus within its credit, sends canaries, and replaces a dead bus.

use std::collections::VecDeque;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use bytes::Bytes;

use super::bus::{self, Sender};
use super::desk::{Amount, Desk, Entry, Link, State};
use super::frame::{self, HEADER_LEN, Header, Kind};
use super::link::LinkThread;
use super::{Consumer, Injury, RouterError, RouterOptions};

/// Entries taken from the intake at a time.
const BATCH_MAX: usize = 256;

/// The pump and all that it alone knows.
pub(super) struct Pump {
    options: RouterOptions,
    desk: Arc<Desk>,
    phase: Phase,
    /// Encoded and waiting for credit; at most one batch and a Resync.
    carry: VecDeque<Message>,
    /// Sent into any instance of the bus since the start.
    sent: Amount,
    canary_at: Instant,
}

/// Where the one consumer is decides what can be done.
enum Phase {
    Up {
        sender: Sender,
        link: LinkHandle,
        opened_at: Instant,
    },
    /// The link thread was told to end.
    Leaving {
        link: LinkHandle,
        opened_at: Instant,
    },
    Absent {
        consumer: Consumer,
        retry_at: Instant,
    },
    /// The consumer panicked: nobody is left to deliver to.
    Broken,
}

struct LinkHandle {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Consumer>,
}

/// One thing to do without the lock.
enum Step {
    Send(Vec<Entry>, Room),
    Injure(Injury),
    Leave,
    Join,
    Open,
    End,
}

struct Message {
    kind: Kind,
    body: Bytes,
}

/// Credit: what may be sent before the link has drained more.
#[derive(Clone, Copy)]
struct Room {
    messages: u64,
    bytes: u64,
    /// Nothing is outstanding, so one message of any size fits.
    empty: bool,
}

impl Pump {
    /// Builds the first bus.
    pub(super) fn start(
        options: RouterOptions,
        desk: Arc<Desk>,
        consumer: Consumer,
    ) -> Result<Self, RouterError> {
        let now = Instant::now();
        let mut pump = Self {
            options,
            desk,
            phase: Phase::Broken,
            carry: VecDeque::new(),
            sent: Amount::default(),
            canary_at: now,
        };
        match pump.build(consumer, now) {
            Ok(()) => Ok(pump),
            Err((error, _)) => Err(error),
        }
    }

    /// Runs until the desk is closed.
    pub(super) fn run(mut self) {
        loop {
            match self.next_step() {
                Step::Send(entries, room) => self.send(entries, room),
                Step::Injure(injury) => self.injure(injury),
                Step::Leave => self.leave(),
                Step::Join => self.join(),
                Step::Open => self.reopen(),
                Step::End => break,
            }
        }
        self.desk.settle(|state| state.ended = true);
    }

    fn next_step(&mut self) -> Step {
        let desk = Arc::clone(&self.desk);
        let mut state = desk.lock();
        loop {
            let now = Instant::now();
            if let Some(step) = self.step(&mut state, now) {
                return step;
            }
            let next = self.next_timeout(&state);
            let patience = next.map(|at| at.saturating_duration_since(now));
            state = desk.wait(state, patience);
        }
    }

    fn step(&mut self, state: &mut State, now: Instant) -> Option<Step> {
        match &self.phase {
            Phase::Up { .. } if state.closing || self.is_dead(state, now) => Some(Step::Leave),
            Phase::Up { .. } => match state.injury.take() {
                Some(injury) => Some(Step::Injure(injury)),
                None => self.step_send(state, now),
            },
            Phase::Leaving { .. } => matches!(state.link, Link::Down).then_some(Step::Join),
            Phase::Absent { .. } | Phase::Broken if state.closing => Some(Step::End),
            Phase::Absent { retry_at, .. } => (now >= *retry_at).then_some(Step::Open),
            Phase::Broken => None,
        }
    }

    /// The link ended by itself, or the bus owes it a message for too long. While the consumer works, nothing is owed.
    fn is_dead(&self, state: &State, now: Instant) -> bool {
        match state.link {
            Link::Down => true,
            Link::Delivering => false,
            Link::Waiting { since } => {
                !state.outstanding().is_nothing() && now >= since + self.options.canary_timeout
            }
        }
    }

    fn step_send(&mut self, state: &mut State, now: Instant) -> Option<Step> {
        if state.held {
            return None;
        }
        let room = self.room(state);
        self.sing(room, now);
        if self.carry.is_empty() && !state.has_intake() {
            return None;
        }
        state.starved = !self
            .carry
            .front()
            .map_or(room.messages > 0, |next| room.admits(next));
        if state.starved {
            return None;
        }
        let entries = if self.carry.is_empty() {
            state.take_out(BATCH_MAX)
        } else {
            Vec::new()
        };
        if let Link::Waiting { since } = &mut state.link
            && room.empty
        {
            // The bus owes something from now on.
            *since = now;
        }
        state.sending = true;
        Some(Step::Send(entries, room))
    }

    /// A canary is for an idle bus: a message that is outstanding tells the same.
    fn sing(&mut self, room: Room, now: Instant) {
        if now < self.canary_at {
            return;
        }
        self.canary_at = now + self.options.canary_interval;
        if room.empty && self.carry.is_empty() {
            self.carry.push_back(Message {
                kind: Kind::Canary,
                body: Bytes::new(),
            });
        }
    }

    fn room(&self, state: &State) -> Room {
        let outstanding = state.outstanding();
        Room {
            messages: (self.options.outstanding_max as u64).saturating_sub(outstanding.messages),
            bytes: (self.options.outstanding_bytes_max as u64).saturating_sub(outstanding.bytes),
            empty: outstanding.is_nothing(),
        }
    }

    fn next_timeout(&self, state: &State) -> Option<Instant> {
        match &self.phase {
            Phase::Up { .. } => {
                let canary = (!state.held).then_some(self.canary_at);
                let death = match state.link {
                    Link::Waiting { since } if !state.outstanding().is_nothing() => {
                        Some(since + self.options.canary_timeout)
                    }
                    _ => None,
                };
                canary.into_iter().chain(death).min()
            }
            Phase::Absent { retry_at, .. } => Some(*retry_at),
            Phase::Leaving { .. } | Phase::Broken => None,
        }
    }

    fn send(&mut self, entries: Vec<Entry>, mut room: Room) {
        self.carry.extend(entries.into_iter().map(Message::encode));
        while let Some(message) = self.carry.pop_front_if(|next| room.admits(next)) {
            room.pay(&message);
            self.send_one(&message);
        }
        let sent = self.sent;
        self.desk.settle(|state| {
            state.sent = sent;
            state.sending = false;
        });
    }

    fn send_one(&mut self, message: &Message) {
        self.sent.messages += 1;
        self.sent.bytes += message.cost();
        let header = Header {
            counter: self.sent.messages,
            cost: self.sent.bytes,
            kind: message.kind,
        };
        if let Phase::Up { sender, .. } = &mut self.phase {
            sender.send(frame::encode(header, &message.body));
        }
    }

    fn injure(&mut self, injury: Injury) {
        let Phase::Up { sender, .. } = &mut self.phase else {
            return;
        };
        match injury {
            Injury::Panic => sender.poison(),
            Injury::Silence => sender.silence(),
        }
    }

    /// Tells the link thread to end, then says goodbye on the publishing link.
    fn leave(&mut self) {
        self.desk.lock().stats.healthy = false;
        self.phase = match mem::replace(&mut self.phase, Phase::Broken) {
            Phase::Up {
                sender,
                link,
                opened_at,
            } => {
                link.stop.store(true, Ordering::Release);
                sender.leave();
                Phase::Leaving { link, opened_at }
            }
            other => other,
        };
    }

    /// Takes the consumer back from a link thread that is down. At most one rebuild per canary interval.
    fn join(&mut self) {
        self.phase = match mem::replace(&mut self.phase, Phase::Broken) {
            Phase::Leaving { link, opened_at } => match link.thread.join() {
                Ok(consumer) => {
                    let retry_at = opened_at + self.options.canary_interval;
                    Phase::Absent { consumer, retry_at }
                }
                Err(_) => {
                    tracing::error!(
                        "the router's consumer panicked; nothing is delivered any more"
                    );
                    Phase::Broken
                }
            },
            other => other,
        };
    }

    fn reopen(&mut self) {
        let Phase::Absent { consumer, .. } = mem::replace(&mut self.phase, Phase::Broken) else {
            return;
        };
        let now = Instant::now();
        match self.build(consumer, now) {
            Ok(()) => {
                tracing::warn!("the in-process bus was dead and has been rebuilt");
                self.desk.lock().stats.rebuilds += 1;
            }
            Err((error, consumer)) => {
                tracing::warn!(%error, "the in-process bus could not be rebuilt; trying again");
                let retry_at = now + self.options.canary_interval;
                self.phase = Phase::Absent { consumer, retry_at };
            }
        }
    }

    /// A new bus with new threads. What the old one still held is gone, so a Resync goes first.
    fn build(&mut self, consumer: Consumer, now: Instant) -> Result<(), (RouterError, Consumer)> {
        let (sender, receiver) = match bus::open(self.options.outstanding_bytes_max) {
            Ok(links) => links,
            Err(error) => return Err((error.into(), consumer)),
        };
        let stop = Arc::new(AtomicBool::new(false));
        let link = LinkThread {
            desk: Arc::clone(&self.desk),
            receiver,
            stop: Arc::clone(&stop),
            expected: self.sent.messages + 1,
            patience: self.options.canary_interval,
            consumer,
        };
        self.owe_nothing(now);
        let thread = spawn(link)?;
        let link = LinkHandle { stop, thread };
        self.phase = Phase::Up {
            sender,
            link,
            opened_at: now,
        };
        self.carry
            .retain(|message| matches!(message.kind, Kind::Event));
        self.carry.push_front(Message {
            kind: Kind::Resync,
            body: Bytes::new(),
        });
        Ok(())
    }

    /// What was outstanding in an instance that is gone is written off.
    fn owe_nothing(&self, now: Instant) {
        let mut state = self.desk.lock();
        state.sent = self.sent;
        state.drained = self.sent;
        state.link = Link::Waiting { since: now };
    }
}

/// The thread exists before it gets the consumer, so that a failure to start it does not lose the consumer.
fn spawn(link: LinkThread) -> Result<JoinHandle<Consumer>, (RouterError, Consumer)> {
    let (hand_over, take) = mpsc::sync_channel::<LinkThread>(1);
    let body = move || {
        take.recv()
            .expect("the link is sent right after the start")
            .run()
    };
    match thread::Builder::new()
        .name("router-link".into())
        .spawn(body)
    {
        Ok(thread) => {
            hand_over.send(link).expect("the thread waits for its link");
            Ok(thread)
        }
        Err(error) => {
            link.receiver.leave();
            Err((RouterError::Thread(error), link.consumer))
        }
    }
}

impl Message {
    fn encode(entry: Entry) -> Self {
        match entry {
            Entry::Event(event) => Self {
                kind: Kind::Event,
                body: event.to_frame().into(),
            },
            Entry::Resync => Self {
                kind: Kind::Resync,
                body: Bytes::new(),
            },
        }
    }

    fn cost(&self) -> u64 {
        bus::cost(HEADER_LEN + self.body.len())
    }
}

impl Room {
    fn admits(&self, message: &Message) -> bool {
        self.empty || (self.messages > 0 && self.bytes >= message.cost())
    }

    fn pay(&mut self, message: &Message) {
        self.empty = false;
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(message.cost());
    }
}
