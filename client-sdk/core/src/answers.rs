//! What becomes of an intent when the broker answers (OUTBOX-6, REFUSE).

use syncline_protocol::{RefusalName, Seq, UnixMillis};

use crate::core::Core;
use crate::input::{Answer, Refusal};
use crate::link::Awaits;
use crate::outbox::Stage;
use crate::output::{Outcome, Output};
use crate::rows::IntentId;

impl Core {
    pub(crate) fn answered(&mut self, now: UnixMillis, id: IntentId, answer: Answer) {
        if !self.outbox.is_sent(id) {
            return;
        }
        match answer {
            Answer::Saved(seq) | Answer::Repeat(seq) => {
                self.acknowledge(id, Some(seq));
                self.hide_if_applied(id, seq);
            }
            // Its own event hides it, or the next opening (OVERLAY-2).
            Answer::Taken => self.acknowledge(id, None),
            Answer::Refused(refusal) => self.refused(now, id, refusal),
        }
        self.fork_if_drained();
    }

    pub(crate) fn acknowledge(&mut self, id: IntentId, seq: Option<Seq>) {
        let epoch = self.known_epoch();
        self.outbox.acknowledge(id, (epoch, seq));
        self.out.push(Output::Receipt {
            id,
            outcome: Outcome::Saved(seq),
        });
    }

    /// OVERLAY-2: what a state brought has no event of its own to wait for.
    fn hide_if_applied(&mut self, id: IntentId, seq: Seq) {
        if self.link.is_settled() && seq <= self.view.seq() {
            self.hide(id);
        }
    }

    fn refused(&mut self, now: UnixMillis, id: IntentId, refusal: Refusal) {
        match RefusalName::from_name(&refusal.name) {
            Some(RefusalName::WrongEpoch) => self.wrong_epoch(now, id),
            Some(RefusalName::DeviceForked) => {
                self.outbox.requeue(id);
                self.forked();
            }
            Some(RefusalName::Overtaken) => self.overtaken(now, id),
            _ => self.set_aside(id, refusal),
        }
    }

    /// REFUSE-5: what happened on its entry shows at the next opening.
    fn overtaken(&mut self, now: UnixMillis, id: IntentId) {
        self.outbox.set_overtaken(id);
        self.write_row(id);
        self.resume_unless_awaiting(now);
    }

    fn resume_unless_awaiting(&mut self, now: UnixMillis) {
        let up = self.link.up();
        if up.is_some_and(|up| up.awaits == Awaits::Nothing) {
            self.resume(now);
        }
    }

    /// REFUSE-3.
    fn wrong_epoch(&mut self, now: UnixMillis, id: IntentId) {
        let Some(entry) = self.outbox.get_mut(id) else {
            return;
        };
        let unchanged = entry.stage == Stage::Sent(entry.intent.epoch);
        entry.doubted = unchanged;
        self.outbox.requeue(id);
        self.holding = true;
        if unchanged {
            self.resume_unless_awaiting(now);
        }
    }

    /// The other half of REFUSE-3: an opening has come.
    pub(crate) fn set_aside_doubted(&mut self) {
        let epoch = self.known_epoch();
        let mut contradicted = Vec::new();
        for (id, entry) in self.outbox.iter_mut().filter(|(_, entry)| entry.doubted) {
            entry.doubted = false;
            if entry.intent.epoch == epoch {
                contradicted.push(id);
            }
        }
        for id in contradicted {
            self.set_aside(
                id,
                Refusal::new("wrong_epoch", "the broker refused its own epoch"),
            );
        }
    }

    /// REFUSE-2.
    pub(crate) fn set_aside(&mut self, id: IntentId, refusal: Refusal) {
        let Some(entry) = self.outbox.remove(id) else {
            return;
        };
        self.view.hide(id, &entry.intent);
        self.steps.forget(id);
        self.draft().delete.push(id);
        let outcome = Outcome::Refused(refusal.clone());
        self.out.push(Output::Receipt { id, outcome });
        self.out.push(Output::SetAside {
            id,
            intent: Box::new(entry.intent),
            refusal,
        });
    }
}
