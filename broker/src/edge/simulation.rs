//! The edge without sockets, threads and clock, for a simulator: it moves the bytes of every connection, says when a
//! blocking read is carried out, and passes every `now` in.
//!
//! Calling contract: [`Prepared::simulated`] in place of [`Prepared::start`]. A [`Connection`] with bytes or
//! [`Connection::has_mail`] is due for a [`Connection::turn`]; so is one whose [`Connection::next_timeout`] has come.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::BytesMut;

use super::fetch::Reader;
use super::keeper::Keeper;
use super::mailbox::Mailbox;
use super::peer::Peer;
use super::presence::Attendance;
use super::shared::{BeforeWaiting, Shared};
use super::{Prepared, WallClock, end_expired};
use crate::compactor::States;
use crate::sequencer::Sequencer;
use crate::store::StoreError;
use crate::transport::Caller;

type Read = Box<dyn FnOnce() + Send>;

impl Prepared {
    /// Begins to serve whoever the simulator connects. `before_waiting`: a read waits for the sequencer now, which has to
    /// take its steps in there.
    pub fn simulated(
        self,
        sequencer: Arc<Sequencer>,
        states: Arc<States>,
        now: WallClock,
        before_waiting: Arc<dyn Fn() + Send + Sync>,
    ) -> Result<SimulatedEdge, StoreError> {
        let reads = Arc::new(Mutex::new(VecDeque::new()));
        let queue = Arc::clone(&reads);
        let reader = Arc::new(move |read| lock(&queue).push_back(read));
        let keeper = Keeper::by_hand(self.shelf());
        let outside: (Reader, BeforeWaiting) = (reader, before_waiting);
        let shared = self.share(sequencer, states, now, keeper, outside)?;
        Ok(SimulatedEdge {
            shared: Arc::new(shared),
            reads,
        })
    }
}

/// An edge that is moved from outside.
pub struct SimulatedEdge {
    shared: Arc<Shared>,
    reads: Arc<Mutex<VecDeque<Read>>>,
}

impl SimulatedEdge {
    /// A connection that has just been made.
    pub fn connect(&self, fresh_client_id: String, now: Instant) -> Connection {
        let peer = Peer::new(
            Arc::clone(&self.shared),
            Caller::default(),
            fresh_client_id,
            now,
        );
        Connection {
            mailbox: peer.mailbox(),
            peer,
            input: BytesMut::new(),
        }
    }

    /// How many blocking reads wait.
    pub fn reads(&self) -> usize {
        lock(&self.reads).len()
    }

    /// Carries out one of those that wait, counted from the oldest.
    pub fn read(&self, index: usize) {
        let read = lock(&self.reads).remove(index);
        if let Some(read) = read {
            read();
        }
    }

    /// What the edge does from time to time: ends sessions whose time is over, and compares itself with the store where
    /// the bus lost something.
    pub fn tick(&self) {
        self.shared.attend(Attendance::tick);
        self.shared.save_devices();
        end_expired(&self.shared);
        self.shared.hub.catch_up();
    }
}

/// The broker's side of a connection.
pub struct Connection {
    peer: Peer,
    mailbox: Arc<Mailbox>,
    input: BytesMut,
}

impl Connection {
    /// Whether bytes may be handed over now.
    pub fn wants_input(&mut self) -> bool {
        self.peer.wants_input()
    }

    /// Bytes from the client.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// Whether others have left something for it.
    pub fn has_mail(&self) -> bool {
        self.mailbox.has_mail()
    }

    /// Does all there is to do.
    pub fn turn(&mut self, now: Instant) {
        self.peer.mail(now);
        self.peer.work(now, &mut self.input, || false);
    }

    /// Bytes for the client, `max` at most.
    pub fn output(&mut self, max: usize) -> Vec<u8> {
        let output = self.peer.output();
        let length = output.len().min(max);
        output.split_to(length).to_vec()
    }

    /// Why it ends, once it does; what there is of output still goes out.
    pub fn ended(&self) -> Option<String> {
        self.peer.ended().map(ToString::to_string)
    }

    /// The transport is gone.
    pub fn lost(&mut self, now: Instant) {
        self.peer.lost(now);
    }

    /// When [`Connection::turn`] is due at the latest.
    pub fn next_timeout(&mut self) -> Option<Instant> {
        self.peer.next_timeout()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
