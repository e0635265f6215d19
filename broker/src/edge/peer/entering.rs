//! Who the client is: asked off the connection's task, and again when the rules have changed.

use std::sync::Arc;
use std::time::Instant;

use syncline_protocol::{RefusalName, Refused};

use super::Peer;
use super::ordinary::not_kept;
use crate::auth::Credentials;
use crate::edge::devices::Claim;
use crate::edge::identity::Identity;
use crate::edge::session::{Answer, EndReason, Ticket};
use crate::edge::sight::Sight;
use crate::edge::submission::Submission;
use crate::sequencer::Outcome;

impl Peer {
    pub(super) fn authenticate(&mut self, credentials: Credentials) {
        let credentials = Credentials {
            caller: self.caller.clone(),
            ..credentials
        };
        let mailbox = self.mailbox();
        let answered = Box::new(move |admission| mailbox.authenticated(admission));
        self.shared.guard.ask(credentials, answered);
    }

    /// It is known who the client is, and what it may see.
    pub(super) fn introduce(&mut self, now: Instant, identity: Arc<Identity>) {
        let who = Arc::clone(&identity.principal);
        let sight = Sight::new(who, Arc::clone(&self.shared.devices));
        self.delivery.see(now, sight);
        self.identity = Some(identity);
    }

    /// The rules have changed.
    pub(super) fn review(&mut self, now: Instant) {
        let Some(identity) = self.identity.clone() else {
            return;
        };
        match self.shared.guard.review(&identity.admission) {
            Ok(admission) if admission == identity.admission => {}
            Ok(admission) => {
                let identity = Arc::new(identity.reviewed(admission));
                self.session.reviewed(&identity);
                if let Some(id) = self.ordinary.id {
                    let who = Arc::clone(&identity.principal);
                    self.shared.topics.review(id, who);
                }
                self.introduce(now, identity);
                self.leave_hidden_groups();
            }
            Err(denied) => {
                tracing::info!(caller = %self.caller, %denied, "a user may not be here any more");
                self.session.end(EndReason::Revoked);
            }
        }
    }

    /// Nobody is present where it may not look (PRESENCE-2).
    fn leave_hidden_groups(&mut self) {
        let Some(identity) = &self.identity else {
            return;
        };
        let (device, grant) = (identity.device, identity.principal.grant());
        for group in self
            .visit
            .part(|group| !grant.may_read(&format!("sync/{group}")))
        {
            self.shared
                .attend(|attendance, now| attendance.leave(&group, device, now));
        }
    }

    /// EVENT-11: a device is used by its owner, or by a gateway for it.
    pub(super) fn claim(&self, submission: &Submission) -> Result<Claim, Refused> {
        let Some(identity) = &self.identity else {
            return Ok(Claim::Held);
        };
        let (who, group) = (&identity.principal, &submission.stream().sync_id);
        let author = submission.author();
        let speaks_for_another = who.is_gateway() && author != identity.device;
        let claim = match speaks_for_another {
            true => Claim::Held,
            false => self.shared.claim(who, group, author),
        };
        if claim == Claim::Refused {
            let reason = format!("device {author} belongs to another user of {group}");
            return Err(Refused::new(RefusalName::NotYourDevice, reason));
        }
        Ok(claim)
    }

    /// An event by which somebody came to own a device: nobody hears that it is saved before that is on disk, too (G12).
    pub(super) fn reply_once_owned(&self, ticket: Ticket) -> Box<dyn FnOnce(Outcome) + Send> {
        let (mailbox, shared) = (self.mailbox(), Arc::clone(&self.shared));
        Box::new(move |outcome| {
            let tell = move |written: Result<_, _>| {
                let answer = written.map_or_else(
                    |error| not_kept(&error),
                    |_: Vec<usize>| Answer::Event(outcome),
                );
                mailbox.answer(ticket, answer);
            };
            // It stands behind the change that says whose the device is.
            shared.keeper.write(Vec::new(), Some(Box::new(tell)));
        })
    }
}
