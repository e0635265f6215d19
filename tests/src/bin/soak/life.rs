//! What every client of the soak knows: whether the broker is being restarted, and whether it is time to end.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use syncline_tests::wait;

/// Until a client whose connection ended comes again.
const PAUSE: Duration = Duration::from_millis(50);

/// Why a client's turn ended.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The connection ended: as it should when the broker is restarted, and as it must not else.
    Connection(io::Error),
    /// A promise was broken.
    Wrong(String),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Trouble::Connection(error)
    }
}

pub(crate) fn wrong<T>(what: String) -> Result<T, Trouble> {
    Err(Trouble::Wrong(what))
}

/// Who has everything that there will ever be need not hear more: nothing comes any longer.
pub(crate) fn unless_done<T>(
    is_done: bool,
    heard: Result<T, Trouble>,
) -> Result<Option<T>, Trouble> {
    match heard {
        Err(Trouble::Connection(_)) if is_done => Ok(None),
        heard => heard.map(Some),
    }
}

/// After a turn.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Again,
    Done,
}

#[derive(Debug, Default)]
pub(crate) struct Life {
    /// Even: the broker is up. It goes up by one before it is ended, and by one when it is back.
    restarts: AtomicU64,
    /// Nothing new is begun; whoever waits for events still gets them.
    is_closing: AtomicBool,
    /// Nothing more is published.
    is_stopping: AtomicBool,
    is_failed: AtomicBool,
}

impl Life {
    pub(crate) fn disturb(&self) {
        self.restarts.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn close(&self) {
        self.is_closing.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::SeqCst)
    }

    pub(crate) fn stop(&self) {
        self.is_stopping.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::SeqCst)
    }

    pub(crate) fn is_failed(&self) -> bool {
        self.is_failed.load(Ordering::SeqCst)
    }

    /// One turn after the other, each with a connection of its own; what went wrong, if anything did.
    pub(crate) fn keep_going(
        &self,
        name: &str,
        mut turn: impl FnMut() -> Result<Next, Trouble>,
    ) -> Result<(), String> {
        loop {
            let before = self.restarts.load(Ordering::SeqCst);
            let was_up = before.is_multiple_of(2);
            let what = match turn() {
                Ok(Next::Again) if self.is_failed() => return Ok(()),
                Ok(Next::Again) => continue,
                Ok(Next::Done) => return Ok(()),
                Err(Trouble::Connection(error)) => {
                    if !was_up || self.restarts.load(Ordering::SeqCst) != before {
                        wait::let_pass(PAUSE);
                        continue;
                    }
                    format!("{name}: though nothing was restarted: {error}")
                }
                Err(Trouble::Wrong(what)) => format!("{name}: {what}"),
            };
            println!("soak: {what}");
            self.is_failed.store(true, Ordering::SeqCst);
            return Err(what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut() -> Result<Next, Trouble> {
        Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())
    }

    #[test]
    fn a_connection_may_end_while_the_broker_is_restarted_and_only_then() {
        let life = Life::default();
        assert!(life.keep_going("it", cut).is_err());
        let life = Life::default();
        let mut turns = 0;
        let ended = life.keep_going("it", || {
            turns += 1;
            match turns {
                1 => {
                    life.disturb();
                    cut()
                }
                2 => cut(),
                _ => Ok(Next::Done),
            }
        });
        assert_eq!((ended, turns), (Ok(()), 3));
    }

    #[test]
    fn a_broken_promise_ends_everything() {
        let life = Life::default();
        let told = life.keep_going("it", || wrong("a hole".to_owned()));
        assert!(told.is_err_and(|it| it.contains("a hole")) && life.is_failed());
    }
}
