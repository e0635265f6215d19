//! What an opening makes of intents whose author acted before it: what they may say to have seen.

use syncline_protocol::{Intent, Seq};

use crate::core::Core;
use crate::fork::Fork;
use crate::input::Refusal;
use crate::outbox::{Entry, Stage};
use crate::rows::IntentId;

impl Core {
    /// REPLICA-7: what was seen of another history is not what this one has, unless the entry is the same.
    pub(crate) fn rebase(&mut self) {
        let (epoch, seq) = (self.known_epoch(), self.view.seq());
        let other = |it: &Entry| it.is_pending() && it.intent.epoch.is_some_and(|it| Some(it) != epoch);
        for id in self.ids_where(other) {
            let base_seq = if self.is_as_seen(id) { seq } else { Seq::ZERO };
            self.base_on(id, base_seq);
        }
    }

    /// OUTBOX-11: nothing of this device was ever accepted.
    pub(crate) fn rebase_never_seen(&mut self) {
        if self.device.offered.is_some() {
            return;
        }
        let seq = self.view.seq();
        for id in self.ids_where(|it| it.stage == Stage::Queued && it.intent.base_seq < Some(seq)) {
            let counts = |it: &Entry| self.view.is_never_overtaken(&it.intent);
            if self.outbox.get(id).is_some_and(counts) || self.is_as_seen(id) {
                self.base_on(id, seq);
            }
        }
    }

    /// REFUSE-5: the broker does not know any more what happened on these entries; this client does.
    pub(crate) fn judge_overtaken(&mut self) {
        let seq = self.view.seq();
        for id in self.ids_where(|it| it.overtaken) {
            if let Some(entry) = self.outbox.get_mut(id) {
                entry.overtaken = false;
            }
            if self.is_as_seen(id) {
                self.base_on(id, seq);
            } else {
                let refusal = Refusal::new("overtaken", "its entry has changed since");
                self.set_aside(id, refusal);
            }
        }
    }

    /// OUTBOX-5.
    pub(crate) fn offer(&mut self) {
        if self.fork != Fork::No {
            return;
        }
        let offered = self.device.offered;
        let needs = self.next_write();
        let mut found = false;
        for (_, entry) in self.outbox.iter_mut() {
            if entry.is_pending() && entry.intent.device_seq > offered {
                entry.needs = needs;
                found = true;
            }
        }
        if found {
            self.device.offered = self.device.last_issued();
            self.write_device();
        }
    }

    fn ids_where(&self, wanted: impl Fn(&Entry) -> bool) -> Vec<IntentId> {
        let found = self.outbox.iter().filter(|(_, entry)| wanted(entry));
        found.map(|(id, _)| id).collect()
    }

    fn is_as_seen(&self, id: IntentId) -> bool {
        let entry = self.outbox.get(id);
        entry.is_some_and(|it| self.view.is_as_seen(&it.intent, it.saw))
    }

    /// Lets an intent say that its author had seen the replica's history up to `base_seq`.
    fn base_on(&mut self, id: IntentId, base_seq: Seq) {
        let epoch = self.known_epoch();
        let Some(entry) = self.outbox.get_mut(id) else {
            return;
        };
        let intent = Intent {
            base_seq: Some(base_seq),
            epoch,
            ..entry.intent.clone()
        };
        entry.intent = intent.clone();
        self.view.update(id, &intent);
        self.write_row(id);
    }
}
