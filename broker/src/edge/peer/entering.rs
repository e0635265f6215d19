//! Who the client is: asked off the connection's task, and again when the rules have changed, when it shows a fresh token,
//! and when its time is over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use syncline_protocol::{RefusalName, Refused};

use super::Peer;
use super::ordinary::not_kept;
use crate::auth::{Admission, Credentials, Denied, Proof, Secret};
use crate::edge::counters::Count;
use crate::edge::devices::Claim;
use crate::edge::identity::Identity;
use crate::edge::session::{Answer, EndReason, RenewedBy, Ticket};
use crate::edge::sight::Sight;
use crate::edge::submission::Submission;
use crate::sequencer::Outcome;
use crate::store::sessions::DeviceKey;

/// The wall clock, by which tokens expire, may be set meanwhile: it is looked at this often at least.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

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
        self.end_if_expired(now);
    }

    /// Ends the session if what the client came in with is worth nothing any more, or says when to look again.
    pub(super) fn end_if_expired(&mut self, now: Instant) {
        if self.expiry.is_some_and(|at| at > now) {
            return;
        }
        let ends_at = self
            .identity
            .as_ref()
            .and_then(|it| it.admission.expires_at);
        self.expiry = ends_at.and_then(|ends_at| {
            let left_ms = ends_at.get().saturating_sub((self.shared.now)().get());
            let left = Duration::from_millis(left_ms).min(LOOK_INTERVAL);
            (left_ms > 0).then(|| now + left)
        });
        if ends_at.is_some() && self.expiry.is_none() {
            self.end_in_time();
        }
    }

    fn end_in_time(&mut self) {
        let proof = self.identity.as_ref().map(|it| &it.admission.proof);
        self.session.end(match proof {
            Some(Proof::Token(_)) => EndReason::Expired,
            _ => EndReason::TimeOver,
        });
    }

    pub(super) fn renew(&mut self, token: Secret, by: RenewedBy) {
        let Some(identity) = &self.identity else {
            return;
        };
        let credentials = Credentials {
            token: Some(token),
            caller: self.caller.clone(),
            ..Credentials::default()
        };
        let mailbox = self.mailbox();
        let answered = Box::new(move |admission| mailbox.renewed(by, admission));
        let admission = identity.admission.clone();
        self.shared.guard.renew(admission, credentials, answered);
    }

    /// A fresh token was looked at; what it says counts before the client hears of it.
    pub(super) fn renewed(
        &mut self,
        now: Instant,
        by: RenewedBy,
        renewed: Result<Admission, Denied>,
    ) {
        let Some(identity) = self.identity.clone() else {
            return;
        };
        let renewed =
            renewed.and_then(
                |admission| match admission.user == identity.admission.user {
                    true => Ok(admission),
                    false => Err(Denied::OtherUser),
                },
            );
        let told = renewed.map(|admission| self.adopt(now, &identity, admission));
        // The rules may have changed since it was asked.
        self.review(now);
        self.session.renewed(by, told);
        self.act(now);
    }

    /// The rules have changed.
    pub(super) fn review(&mut self, now: Instant) {
        let Some(identity) = self.identity.clone() else {
            return;
        };
        match self.shared.guard.review(&identity.admission) {
            Ok(admission) if admission == identity.admission => {}
            Ok(admission) => self.adopt(now, &identity, admission),
            Err(denied) => {
                tracing::info!(caller = %self.caller, %denied, "a user may not be here any more");
                match denied {
                    Denied::Expired => self.end_in_time(),
                    _ => self.session.end(EndReason::Revoked),
                }
            }
        }
    }

    /// The same user over the same connection, with other rights or for another time.
    fn adopt(&mut self, now: Instant, before: &Identity, admission: Admission) {
        let identity = Arc::new(before.reviewed(admission));
        if self.session.reviewed(&identity) {
            self.shared.counters.count(Count::WillRefused);
        }
        if let Some(id) = self.ordinary.id {
            let who = Arc::clone(&identity.principal);
            self.shared.topics.review(id, who);
        }
        self.expiry = None;
        self.introduce(now, identity);
        self.leave_hidden_groups();
    }

    /// Nobody is present where it may not look (PRESENCE-2).
    fn leave_hidden_groups(&mut self) {
        let Some(identity) = &self.identity else {
            return;
        };
        let (device, grant) = (identity.device, identity.principal.grant());
        for (group, place) in self
            .visit
            .part(|group| !grant.may_read(&format!("sync/{group}")))
        {
            self.shared
                .attend(|attendance, now| attendance.leave(&group, device, place, now));
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
    pub(super) fn reply_once_owned(
        &self,
        ticket: Ticket,
        device: DeviceKey,
    ) -> Box<dyn FnOnce(Outcome) + Send> {
        let (mailbox, shared) = (self.mailbox(), Arc::clone(&self.shared));
        Box::new(move |outcome| {
            let tell = move |written: Result<_, _>| {
                let answer = written.map_or_else(
                    |error| not_kept(&error),
                    |_: Vec<usize>| Answer::Event(outcome),
                );
                mailbox.answer(ticket, answer);
            };
            shared.save_owner(device, Vec::new(), Box::new(tell));
        })
    }
}
