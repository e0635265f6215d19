//! What an opening makes of intents whose author acted before it: what they may say to have seen (REPLICA-7,
//! OUTBOX-11, OUTBOX-12, REFUSE-5).

use std::collections::{BTreeMap, BTreeSet};

use syncline_protocol::planted::{Planted, planted};
use syncline_protocol::{Intent, Seq};

use crate::core::Core;
use crate::fork::Fork;
use crate::input::Refusal;
use crate::outbox::{Entry, Stage};
use crate::rows::IntentId;
use crate::view::Key;

impl Core {
    /// REPLICA-7: what was seen of another history says nothing of this one.
    pub(crate) fn rebase(&mut self) {
        let epoch = self.known_epoch();
        let mut others: Vec<(IntentId, Intent)> = Vec::new();
        for (id, entry) in self.outbox.iter_mut() {
            let other = entry.intent.epoch.is_some_and(|it| Some(it) != epoch);
            if entry.is_pending() && other {
                entry.intent.epoch = epoch;
                entry.intent.base_seq = Some(Seq::ZERO);
                others.push((id, entry.intent.clone()));
            }
        }
        for (id, intent) in others {
            self.view.update(id, &intent);
            self.write_row(id);
        }
    }

    /// OUTBOX-11: nothing of this device was ever accepted.
    pub(crate) fn renew_never_seen(&mut self) {
        let seq = self.view.seq();
        let pending = self.outbox.iter().filter(|(_, it)| it.is_pending());
        if pending.map(|(_, it)| it.intent.base_seq).max() > Some(Some(seq)) {
            return; // A crash has set the replica back; what is renewed may not have seen less than what goes before it.
        }
        let (mut renewed, mut passed_over) = (Vec::new(), BTreeSet::new());
        for id in self.outbox.pending_in_order().into_iter().rev() {
            let Some(entry) = self.outbox.get(id) else {
                continue;
            };
            let key = self.view.key_of(&entry.intent);
            let lacks = entry.intent.base_seq < Some(seq);
            let may = entry.stage == Stage::Queued && self.has_seen_all_that_counts(entry);
            if may && lacks && !passed_over.contains(&key) {
                renewed.push(id);
            } else if key.is_some() {
                passed_over.insert(key);
            }
        }
        renewed.into_iter().rev().for_each(|id| self.renew(id));
    }

    fn has_seen_all_that_counts(&self, entry: &Entry) -> bool {
        self.view.is_never_overtaken(&entry.intent)
            || self.view.is_as_seen(&entry.intent, entry.saw)
    }

    /// REFUSE-5: the broker does not know any more what happened on these entries; this client does.
    pub(crate) fn judge_overtaken(&mut self) {
        let overtaken = self.outbox.overtaken();
        if overtaken.is_empty() {
            return;
        }
        let last = self.last_on_their_entries();
        for id in overtaken {
            let entry = self.outbox.get(id);
            let same = entry.is_some_and(|it| {
                let key = self.view.key_of(&it.intent);
                self.view.is_as_seen(&it.intent, it.saw) && last.get(&key) == Some(&id)
            });
            if same {
                self.renew(id);
            } else {
                let refusal = Refusal::new("overtaken", "its entry has changed since");
                self.set_aside(id, refusal);
            }
        }
    }

    /// The last pending intent on each entry.
    fn last_on_their_entries(&self) -> BTreeMap<Option<Key>, IntentId> {
        let pending = self.outbox.pending_in_order().into_iter();
        let keys = pending.filter_map(|id| {
            let key = self.view.key_of(&self.outbox.get(id)?.intent);
            Some((key, id))
        });
        keys.collect()
    }

    /// OUTBOX-12.
    fn renew(&mut self, id: IntentId) {
        let Some(entry) = self.outbox.get(id) else {
            return;
        };
        self.view.hide(id, &entry.intent);
        let same = entry
            .intent
            .device_seq
            .filter(|_| planted(Planted::RenewedUnderItsNumber));
        let device_seq = same.unwrap_or(self.device.next_device_seq);
        self.device.next_device_seq = self.device.next_device_seq.max(device_seq.next());
        let seen = (self.known_epoch(), self.view.seq());
        self.outbox.renew(id, device_seq, seen);
        if let Some(entry) = self.outbox.get(id) {
            self.view.show(id, &entry.intent);
        }
        self.write_row(id);
        self.write_device();
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
}
