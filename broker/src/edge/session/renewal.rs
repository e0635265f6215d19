//! A fresh token over a connection that goes on: published to a topic of its own, or by AUTH at version 5. What comes of it
//! counts before anything else of the client is read.

use syncline_protocol::{RefusalName, Refused};

use super::action::{Action, Answer, RenewedBy};
use super::answers::About;
use super::packet::{Auth, Publish};
use super::wire::Of;
use super::{EndReason, Phase, Session};
use crate::auth::{Denied, Secret};
use crate::sequencer::Outcome;

/// Where a token is published: never passed on, retained, stored or logged.
pub(super) const TOPIC: &str = "$syncline/token";

/// The Authentication Method of tokens.
pub(super) const METHOD: &str = "token";

impl Session {
    /// A PUBLISH to [`TOPIC`].
    pub(super) fn renew(&mut self, of: Option<Of>, publish: &Publish) {
        let ticket = self.answers.open(of, About::default());
        let token = Secret::new(publish.payload.as_slice());
        self.ask_to_renew(token, RenewedBy::Publish(ticket));
    }

    /// An AUTH, which has its place only where the CONNECT named the same method (MQTT-4.12.1-1).
    pub(super) fn authenticate_again(&mut self, auth: Auth) {
        match (&self.phase, auth.token) {
            (Phase::Live(live), Some(token)) if live.by_method && auth.method == METHOD => {
                self.ask_to_renew(token, RenewedBy::Auth);
            }
            _ => self.end(EndReason::OutOfPlace),
        }
    }

    fn ask_to_renew(&mut self, token: Secret, by: RenewedBy) {
        if let Phase::Live(live) = &mut self.phase {
            live.renewing = true;
            self.actions.push_back(Action::Renew { token, by });
        }
    }

    /// What came of [`Action::Renew`]. A refusal by PUBACK leaves everything as it was; one of an AUTH ends the session
    /// (MQTT-4.12.1-2).
    pub(crate) fn renewed(&mut self, by: RenewedBy, renewed: Result<(), Denied>) {
        let Phase::Live(live) = &mut self.phase else {
            return;
        };
        live.renewing = false;
        match (by, renewed) {
            (RenewedBy::Publish(ticket), Ok(())) => {
                self.answer(ticket, Answer::Taken { matched: true });
            }
            (RenewedBy::Publish(ticket), Err(denied)) => {
                let refused = Refused::new(RefusalName::NotAllowed, denied.to_string());
                self.answer(ticket, Answer::Event(Outcome::Refused(refused)));
            }
            (RenewedBy::Auth, Ok(())) => self.wire.authenticated(METHOD),
            (RenewedBy::Auth, Err(denied)) => self.end(EndReason::NotRenewed(denied)),
        }
    }
}
