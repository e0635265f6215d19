//! Who is being answered, and who only holds a place.

use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{convert::Infallible, io};

/// The connections of the socket, one thread each, bounded.
pub(super) struct Places {
    max: usize,
    taken: Vec<Place>,
    /// Each thread has a copy of the sender: once all are gone, all are done.
    running: Sender<Infallible>,
    done: Receiver<Infallible>,
}

struct Place {
    /// The thread's: when that has answered, the client sees the end.
    stream: Weak<UnixStream>,
    turn: Turn,
    thread: JoinHandle<()>,
}

/// Decides once whether a connection is answered or has to go.
#[derive(Debug, Clone, Default)]
pub(super) struct Turn(Arc<AtomicBool>);

impl Turn {
    /// Whether this call was the first.
    pub(super) fn take(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

impl Places {
    pub(super) fn new(max: usize) -> Self {
        let (running, done) = mpsc::channel();
        Self {
            max,
            taken: Vec::new(),
            running,
            done,
        }
    }

    /// Whether there is a place for one more. If there is none, the oldest connection that has not asked yet has to go.
    pub(super) fn have_room(&mut self) -> bool {
        self.taken.retain(|place| !place.thread.is_finished());
        if self.taken.len() < self.max {
            return true;
        }
        let Some(at) = self.taken.iter().position(|place| place.turn.take()) else {
            return false;
        };
        let silent = self.taken.remove(at);
        silent.cut(Shutdown::Read);
        // It has nothing to do but say so.
        drop(silent.thread.join());
        true
    }

    /// Has a thread of its own answer.
    pub(super) fn begin(
        &mut self,
        stream: Arc<UnixStream>,
        answer: impl FnOnce(Arc<UnixStream>, &Turn) + Send + 'static,
    ) -> io::Result<()> {
        let turn = Turn::default();
        let (to_cut, its_turn) = (Arc::downgrade(&stream), turn.clone());
        let running = self.running.clone();
        let thread = thread::Builder::new()
            .name("admin-request".to_owned())
            .spawn(move || {
                let _running = running;
                answer(stream, &its_turn);
            })?;
        self.taken.push(Place {
            stream: to_cut,
            turn,
            thread,
        });
        Ok(())
    }

    /// Waits for all to end, who were asked to: for the first half of the time they may still tell their clients, then they are cut off.
    /// Says how many went on even so; they are left behind.
    pub(super) fn end(self, within: Duration) -> usize {
        let deadline = Instant::now() + within;
        let Self {
            taken,
            running,
            done,
            ..
        } = self;
        drop(running);
        taken.iter().for_each(|place| place.cut(Shutdown::Read));
        if wait(&done, within / 2) {
            return 0;
        }
        taken.iter().for_each(|place| place.cut(Shutdown::Both));
        wait(&done, deadline.saturating_duration_since(Instant::now()));
        let goes_on = |place: &&Place| !place.thread.is_finished();
        taken.iter().filter(goes_on).count()
    }
}

impl Place {
    fn cut(&self, how: Shutdown) {
        if let Some(stream) = self.stream.upgrade() {
            // The client may have left.
            let _ = stream.shutdown(how);
        }
    }
}

fn wait(done: &Receiver<Infallible>, within: Duration) -> bool {
    matches!(
        done.recv_timeout(within),
        Err(RecvTimeoutError::Disconnected)
    )
}
