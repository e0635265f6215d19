//! Where connections ask who they are: a few threads, so that a flood of CONNECTs costs a few cores and the memory of a few
//! password hashes, and a bounded number that wait for them.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::origin::Origin;
use super::waiting::{Limits, Waiting};
use super::{Admission, Authenticator, Credentials, Denied};
use crate::acl::Rights;

/// Hears what comes of a question.
pub type Answered = Box<dyn FnOnce(Result<Admission, Denied>) + Send>;

/// How many may ask at once.
#[derive(Debug, Clone)]
pub struct GuardOptions {
    /// Threads that look at what is shown.
    pub threads: usize,
    /// Connections that wait for them at most; more are told to come again.
    pub queue_max: usize,
    /// Of one address.
    pub queue_per_address_max: usize,
}

/// Looks at what connections show.
pub struct Guard {
    authenticator: Arc<dyn Authenticator>,
    /// None: whoever asks does it.
    counter: Option<Arc<Counter>>,
}

struct Question {
    credentials: Credentials,
    /// Who was let in, if this is about a fresh token.
    renews: Option<Admission>,
    answered: Answered,
}

impl Question {
    fn look(&self, authenticator: &dyn Authenticator) -> Result<Admission, Denied> {
        match &self.renews {
            None => authenticator.authenticate(&self.credentials),
            Some(admission) => authenticator.renew(admission, &self.credentials),
        }
    }
}

/// Where questions wait.
struct Counter {
    waiting: Mutex<Option<Waiting<Box<Question>>>>,
    bell: Condvar,
}

impl Counter {
    fn new(limits: Limits) -> Self {
        Self {
            waiting: Mutex::new(Some(Waiting::new(limits))),
            bell: Condvar::new(),
        }
    }

    /// Gives back what has no room, or comes when nobody answers any more.
    fn put(&self, question: Box<Question>) -> Result<(), Box<Question>> {
        let mut waiting = self.open();
        let Some(waiting) = waiting.as_mut() else {
            return Err(question);
        };
        let address = question.credentials.caller.address;
        let origin = Origin::of(address.map(|address| address.ip()));
        waiting.put(origin, question)?;
        self.bell.notify_one();
        Ok(())
    }

    /// The next one; waits for it. None: there will be no more.
    fn next(&self) -> Option<Box<Question>> {
        let mut waiting = self.open();
        loop {
            if let Some(question) = waiting.as_mut()?.take() {
                return Some(question);
            }
            waiting = self
                .bell
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn close(&self) {
        *self.open() = None;
        self.bell.notify_all();
    }

    fn open(&self) -> MutexGuard<'_, Option<Waiting<Box<Question>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.counter.iter().for_each(|counter| counter.close());
    }
}

impl Guard {
    /// Starts the threads. They end with the guard.
    pub fn start(
        authenticator: Arc<dyn Authenticator>,
        options: &GuardOptions,
    ) -> io::Result<Self> {
        let counter = Arc::new(Counter::new(Limits {
            all: options.queue_max,
            of_one: options.queue_per_address_max,
        }));
        let guard = Self {
            authenticator,
            counter: Some(Arc::clone(&counter)),
        };
        for _ in 0..options.threads {
            let (authenticator, counter) = (Arc::clone(&guard.authenticator), Arc::clone(&counter));
            let builder = thread::Builder::new().name("auth".to_owned());
            builder.spawn(move || answer_all(&*authenticator, &counter))?;
        }
        Ok(guard)
    }

    /// Without threads: for an authenticator that can tell everything at once.
    pub fn at_once(authenticator: Arc<dyn Authenticator>) -> Self {
        Self {
            authenticator,
            counter: None,
        }
    }

    /// Has somebody's credentials looked at. Never waits.
    pub fn ask(&self, credentials: Credentials, answered: Answered) {
        if let Some(known) = self.authenticator.at_once(&credentials) {
            return answered(known);
        }
        self.put(Question {
            credentials,
            renews: None,
            answered,
        });
    }

    /// Has a fresh token of somebody looked at who was let in. Never waits.
    pub fn renew(&self, admission: Admission, credentials: Credentials, answered: Answered) {
        self.put(Question {
            credentials,
            renews: Some(admission),
            answered,
        });
    }

    fn put(&self, question: Question) {
        let Some(counter) = &self.counter else {
            let known = question.look(&*self.authenticator);
            return (question.answered)(known);
        };
        if let Err(question) = counter.put(Box::new(question)) {
            (question.answered)(Err(Denied::Busy));
        }
    }

    /// What is true now of somebody who was let in.
    pub fn review(&self, admission: &Admission) -> Result<Admission, Denied> {
        self.authenticator.review(admission)
    }

    /// What a user may do who is not here, if that can be told.
    pub fn rights_of(&self, user: &str) -> Option<Rights> {
        self.authenticator.rights_of(user)
    }
}

fn answer_all(authenticator: &dyn Authenticator, counter: &Counter) {
    while let Some(question) = counter.next() {
        let look = || question.look(authenticator);
        let admission = catch_unwind(AssertUnwindSafe(look)).unwrap_or_else(|_| {
            tracing::error!("an authenticator panicked; the connection was refused");
            Err(Denied::NotAuthorised)
        });
        (question.answered)(admission);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{self, Receiver};
    use std::time::Duration;

    /// Waits for a word before it answers; panics at the name `panic`.
    struct Slow(Mutex<Receiver<()>>);

    impl Authenticator for Slow {
        fn at_once(&self, _: &Credentials) -> Option<Result<Admission, Denied>> {
            None
        }

        fn authenticate(&self, credentials: &Credentials) -> Result<Admission, Denied> {
            assert!(credentials.user.as_deref() != Some("panic"), "a bug");
            self.0.lock().unwrap().recv().unwrap();
            Err(Denied::BadCredentials)
        }

        fn review(&self, admission: &Admission) -> Result<Admission, Denied> {
            Ok(admission.clone())
        }
    }

    fn named(user: &str) -> Credentials {
        Credentials {
            user: Some(user.to_owned()),
            ..Credentials::default()
        }
    }

    #[test]
    fn g10_no_more_wait_than_may_and_a_panic_refuses_one_alone() {
        let (go, gate) = mpsc::channel();
        let options = GuardOptions {
            threads: 1,
            queue_max: 1,
            queue_per_address_max: 1,
        };
        let guard = Guard::start(Arc::new(Slow(Mutex::new(gate))), &options).unwrap();
        let (tell, told) = mpsc::channel();
        let ask = |user: &str| {
            let tell = tell.clone();
            let answered =
                Box::new(move |it: Result<Admission, Denied>| tell.send(it.err()).unwrap());
            guard.ask(named(user), answered);
        };
        let patience = Duration::from_secs(20);
        ask("panic");
        assert_eq!(
            told.recv_timeout(patience).unwrap(),
            Some(Denied::NotAuthorised)
        );
        (0..9).for_each(|_| ask("ana"));
        // One is looked at and one waits, at most.
        for _ in 0..7 {
            assert_eq!(told.recv_timeout(patience).unwrap(), Some(Denied::Busy));
        }
        (0..2).for_each(|_| go.send(()).unwrap());
        let rest = || told.recv_timeout(patience).unwrap();
        assert!([rest(), rest()].contains(&Some(Denied::BadCredentials)));
    }
}
