//! States: the opening of a subscription, and bridges among events (REPLICA, OVERLAY-2).

use syncline_protocol::state::SnapshotError;
use syncline_protocol::{DeviceSeq, Epoch, Seq, Snapshot, UnixMillis};

use crate::core::Core;
use crate::link::{Awaits, Unreached};
use crate::outbox::{Entry, Stage, WINDOW_MAX};
use crate::output::FaultKind;
use crate::rows::IntentId;

impl Core {
    /// REPLICA-8: gathers parts, and goes on with what is whole.
    pub(crate) fn state(&mut self, now: UnixMillis, random: f64, part: Snapshot) {
        let Some(up) = self.link.up_mut() else { return };
        let is_of_opening = part.mark.is_some();
        match up.parts.push(part) {
            Ok(Some(snapshot)) => match snapshot.mark {
                Some(mark) => self.opening(now, random, &snapshot, mark),
                None => self.bridge(now, random, &snapshot),
            },
            Ok(None) if is_of_opening => self.await_further_parts(now),
            Ok(None) => {}
            Err(error) => self.give_up(now, random, FaultKind::BadMessage, error.to_string()),
        }
    }

    /// REPLICA-1, REPLICA-2, REPLICA-7.
    fn opening(
        &mut self,
        now: UnixMillis,
        random: f64,
        snapshot: &Snapshot,
        mark: Option<DeviceSeq>,
    ) {
        let up = self.link.up();
        if !up.is_some_and(|up| matches!(up.awaits, Awaits::Opening { .. })) {
            return;
        }
        let before = self.view.epoch();
        if self.take(now, random, snapshot) {
            self.opened(mark, snapshot.head, before);
        }
    }

    /// REPLICA-9.
    fn bridge(&mut self, now: UnixMillis, random: f64, snapshot: &Snapshot) {
        let before = self.view.epoch();
        let is_news = snapshot.epoch != before || snapshot.seq > self.view.seq();
        let is_bridge = self.link.is_settled() && snapshot.since == Seq::ZERO && is_news;
        if is_bridge && self.take(now, random, snapshot) {
            if let Some(up) = self.link.up_mut() {
                up.progressed = true;
            }
            self.hold_if_other(before);
            if before != self.view.epoch() {
                self.let_go_of_acknowledged();
            }
            self.let_go_of_bridged();
            self.rebase();
            self.go_on_if_reached();
        }
    }

    /// OVERLAY-2, REFUSE-5.
    pub(crate) fn go_on_if_reached(&mut self) {
        if self.reach() {
            self.judge_overtaken();
            self.offer();
        }
    }

    /// False: it was not taken, and something else is awaited now.
    fn take(&mut self, now: UnixMillis, random: f64, snapshot: &Snapshot) -> bool {
        if self.view.schema_hash() != Some(snapshot.schema) {
            self.await_schema(now);
            return false;
        }
        let before = (self.view.has_replica(), self.view.epoch(), self.view.seq());
        let stale = snapshot.epoch == before.1 && snapshot.seq < before.2;
        if !stale && let Err(error) = self.view.take(snapshot) {
            self.heal(now, random, error);
            return false;
        }
        self.see_clocks(snapshot);
        let after = (self.view.has_replica(), self.view.epoch(), self.view.seq());
        if after != before {
            self.saves.changed(now);
        }
        true
    }

    fn heal(&mut self, now: UnixMillis, random: f64, error: SnapshotError) {
        let kind = match error {
            SnapshotError::Digest { .. } => FaultKind::Digest,
            SnapshotError::DoesNotFit { .. } => FaultKind::Delta,
        };
        let healed = self
            .link
            .up_mut()
            .is_none_or(|up| std::mem::replace(&mut up.healed, true));
        if healed {
            return self.give_up(now, random, kind, error.to_string());
        }
        self.fault(kind, error.to_string());
        self.resume_from_nothing(now);
    }

    fn opened(&mut self, mark: Option<DeviceSeq>, head: Seq, epoch_before: Epoch) {
        let forked = mark > self.device.offered || self.taken_over;
        let known = mark.min(self.device.offered);
        if let Some(up) = self.link.up_mut() {
            (up.awaits, up.open) = (Awaits::Nothing, true);
            let mark = known.filter(|_| !forked);
            up.unreached = Some(Unreached { head, mark });
        }
        self.reason = None;
        self.hold_if_other(epoch_before);
        self.use_mark(known);
        if self.taken_over {
            self.doubt_beyond(known);
        } else {
            self.attempt = 0;
        }
        if forked {
            self.forked();
        }
        let reached = self.reach();
        self.set_aside_doubted();
        self.rebase();
        if mark.is_none() && self.device.offered.is_none() {
            self.renew_never_seen();
        }
        if reached {
            self.judge_overtaken();
        }
        self.offer();
    }

    /// OUTBOX-8.
    fn hold_if_other(&mut self, epoch_before: Epoch) {
        if epoch_before != Epoch::NONE && epoch_before != self.view.epoch() {
            self.holding = true;
        }
    }

    /// OUTBOX-9. `known`: the highest of ours that the broker may have.
    fn use_mark(&mut self, known: Option<DeviceSeq>) {
        let mut queued = self.outbox.queued_to(known);
        let doubtful = queued.split_off(queued.len().saturating_sub(WINDOW_MAX));
        self.outbox.doubt(&doubtful);
        for id in queued {
            let seen = self.outbox.get(id).and_then(|entry| entry.seen);
            self.acknowledge(id, seen);
        }
    }

    /// OVERLAY-2: what an opening says holds once the cursor is at its head. Whether it came there just now.
    fn reach(&mut self) -> bool {
        let cursor = self.view.seq();
        let Some(up) = self.link.up_mut() else {
            return false;
        };
        let Some(reached) = up.unreached.take_if(|it| it.head <= cursor) else {
            return false;
        };
        // By G8 the opening has them, whatever its mark says (HORIZON-3); or a disk has lost them.
        let before = std::mem::take(&mut up.acknowledged_before);
        before.into_iter().for_each(|id| self.hide(id));
        let device = Some(self.device.device);
        self.hide_where(|it| {
            let covered = it.intent.device == device && it.intent.device_seq <= reached.mark;
            covered && it.stage != Stage::Overtaken
        });
        self.let_go_of_acknowledged();
        true
    }

    /// OVERLAY-2: by G8 the opening has what was acknowledged before it was asked for.
    fn let_go_of_acknowledged(&mut self) {
        let (device, epoch) = (Some(self.device.device), self.known_epoch());
        self.hide_where(|entry| {
            let other = entry.intent.device != device || entry.acknowledged.0 != epoch;
            !entry.is_pending() && other
        });
    }

    fn let_go_of_bridged(&mut self) {
        let cursor = self.view.seq();
        self.hide_where(|it| !it.is_pending() && it.acknowledged.1.is_some_and(|at| at <= cursor));
    }

    fn hide_where(&mut self, is_there: impl Fn(&Entry) -> bool) {
        let there = self.outbox.iter().filter(|(_, entry)| is_there(entry));
        let there: Vec<IntentId> = there.map(|(id, _)| id).collect();
        there.into_iter().for_each(|id| self.hide(id));
    }

    /// OUTBOX-2.
    pub(crate) fn see_clocks(&mut self, snapshot: &Snapshot) {
        let entries = snapshot.collections.values().flatten();
        let acts = entries.flat_map(|(_, entry)| entry.acts());
        let seen = acts.map(|act| act.clock).max().unwrap_or_default();
        self.device.clock = self.device.clock.max(seen);
    }
}
