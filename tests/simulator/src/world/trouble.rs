//! What goes wrong, and that it ends.

use super::{Happening, World};
use crate::device::Device;
use crate::link::{LinkId, Owner};

/// A kind of trouble, how often it comes beside the others, and what it does.
type Trouble = (&'static str, u64, fn(&mut World) -> bool);

const TROUBLES: &[Trouble] = &[
    ("fault connection lost", 6, World::lose_connection),
    ("fault partition", 4, World::partition),
    ("fault device crashes", 5, World::crash_device),
    ("fault device loses power for long", 2, World::power_loss),
    ("fault device offline for long", 4, World::long_offline),
    ("fault clock of a device jumps", 2, World::clock_jumps),
    ("fault profile copied", 1, World::copy_profile),
    ("fault broker crashes", 4, World::broker_crashes),
    ("fault broker's clock jumps", 1, World::broker_clock_jumps),
    ("fault disk slow", 3, World::disk_slow),
    ("fault disk slow, nobody waits", 2, World::nobody_waits),
    ("fault commit fails", 3, World::commit_fails),
    (
        "fault commit fails and is kept",
        3,
        World::commit_fails_and_is_kept,
    ),
    ("fault sync fails", 1, World::sync_fails),
    ("fault reads fail", 1, World::reads_fail),
    ("fault disk rolled back", 1, World::disk_rolled_back),
    ("fault bus lost", 3, World::bus_lost),
    ("fault observer slow", 2, World::observer_slow),
    ("fault observer loses connection", 5, World::cut_observer),
    ("fault observer away", 3, World::observer_away),
];

/// What a slow network is no more once the trouble is over.
const LATENCY_MS_MAX: u64 = 120;
const WINDOW_MIN: usize = 4_096;

impl World {
    pub(super) fn trouble(&mut self) {
        let events: u64 = self.oracle.twins().map(|(_, twin)| twin.head().get()).sum();
        let faults = self.oracle.tally.sum("fault ");
        if events >= self.size.events && faults >= self.size.faults {
            return self.heal();
        }
        let weights: u64 = TROUBLES.iter().map(|(_, weight, _)| weight).sum();
        let mut drawn = self.dice.below(weights);
        for (name, weight, make) in TROUBLES {
            if drawn < *weight {
                let now = self.now();
                if make(self) {
                    self.trace.line(now, || (*name).to_owned());
                    self.oracle.tally.count(*name);
                }
                break;
            }
            drawn -= weight;
        }
        let delay = self.dice.below(25_000);
        self.agenda.after(delay, Happening::Trouble);
    }

    /// From here on everything works.
    fn heal(&mut self) {
        let now = self.now();
        self.healed_at = Some(now);
        self.trace.line(now, || "healed".to_owned());
        for n in 0..self.devices.len() {
            self.devices[n].partitioned_until = 0;
            self.power_on(n);
            if self.devices[n].offline {
                self.go_online(n);
            }
        }
        for link in self.links.values_mut() {
            link.blocked_until = link.blocked_until.min(now);
            link.latency_ms = link.latency_ms.min(LATENCY_MS_MAX);
            link.window = link.window.max(WINDOW_MIN);
        }
        if self.disk.lies() && self.broker.is_some() {
            self.crash_broker();
        }
    }

    fn any_device(&mut self) -> usize {
        self.dice.below(self.devices.len() as u64) as usize
    }

    fn lose_connection(&mut self) -> bool {
        let open: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(_, link)| !link.abandoned)
            .map(|(id, _)| *id)
            .collect();
        if open.is_empty() {
            return false;
        }
        let id = open[self.dice.below(open.len() as u64) as usize];
        self.cut(id);
        true
    }

    /// For a while nothing of a device gets through; then everything does, also what it has given up on.
    fn partition(&mut self) -> bool {
        let n = self.any_device();
        let until = self.now() + 1_000 + self.dice.below(60_000);
        self.devices[n].partitioned_until = until;
        let links = self.links.iter_mut();
        let ids: Vec<LinkId> = links
            .filter(|(_, link)| link.owner == Owner::Device(n))
            .map(|(id, link)| {
                link.blocked_until = link.blocked_until.max(until);
                *id
            })
            .collect();
        for id in ids {
            // A keep-alive runs out.
            let after = self.dice.below(40_000);
            self.agenda.after(after, Happening::ClientNotices(id));
        }
        true
    }

    /// Often in the midst of a write.
    fn crash_device(&mut self) -> bool {
        let n = self.any_device();
        if !self.devices[n].is_on() {
            return false;
        }
        let mut lived = 0;
        if self.dice.below(2) == 0 {
            (0..=self.dice.below(4)).for_each(|_| self.publish(n));
            lived = self.dice.below(self.devices[n].write_ms * 2);
        }
        self.agenda.after(lived, Happening::PowerOff(n));
        let delay = lived + self.dice.below(3_000);
        self.agenda.after(delay, Happening::PowerOn(n));
        true
    }

    fn power_loss(&mut self) -> bool {
        let n = self.any_device();
        if !self.devices[n].is_on() {
            return false;
        }
        self.power_off(n);
        self.devices[n].skew_ms = self.any_skew();
        let delay = 10_000 + self.dice.below(150_000);
        self.agenda.after(delay, Happening::PowerOn(n));
        true
    }

    fn long_offline(&mut self) -> bool {
        let n = self.any_device();
        if self.devices[n].offline {
            return false;
        }
        self.go_offline(n);
        let delay = 10_000 + self.dice.below(200_000);
        self.agenda.after(delay, Happening::Online(n));
        true
    }

    /// Forwards while it runs, anywhere at its next start.
    fn clock_jumps(&mut self) -> bool {
        let n = self.any_device();
        let skew = self.any_skew();
        let device = &mut self.devices[n];
        if device.is_on() && skew < device.skew_ms {
            return false;
        }
        device.skew_ms = skew;
        true
    }

    /// A profile is copied with all that it holds, and both go on as one device.
    fn copy_profile(&mut self) -> bool {
        let n = self.any_device();
        if self.devices.len() >= self.size.devices + 2 {
            return false;
        }
        let said: Vec<u64> = self.devices[n].storage.said().collect();
        for said in said {
            self.oracle.intent(said).shared = true;
        }
        let original = &mut self.devices[n];
        original.has_twin = true;
        let mut copy = Device::new(original.stream.clone());
        copy.storage = original.storage.clone();
        copy.has_twin = true;
        self.devices.push(copy);
        self.power_on(self.devices.len() - 1);
        true
    }

    fn broker_crashes(&mut self) -> bool {
        let up = self.broker.is_some();
        if up {
            self.crash_broker();
        }
        up
    }

    fn broker_clock_jumps(&mut self) -> bool {
        self.broker_skew_ms = self.any_skew() / 1_000;
        self.broker_clock = self.broker_clock.next();
        true
    }

    /// The sequencer stands still, and what comes meanwhile is decided at once.
    fn disk_slow(&mut self) -> bool {
        self.stalled_until = self.now() + 1_000 + self.dice.below(20_000);
        if self.dice.below(2) == 0 {
            // Often it was slow because it was about to fail.
            self.disk.faults().fail_before(1);
        }
        true
    }

    /// While the disk is slow, whoever waits for it loses the connection, comes again and says everything again; and
    /// then the disk fails.
    fn nobody_waits(&mut self) -> bool {
        if self.broker.is_none() {
            return false;
        }
        self.stalled_until = self.now() + 8_000 + self.dice.below(12_000);
        self.disk.faults().fail_before(1);
        for n in 0..self.devices.len() {
            let Some(link) = self.devices[n].link else {
                continue;
            };
            self.publish(n);
            let after = 500 + self.dice.below(1_500);
            self.agenda.after(after, Happening::ClientNotices(link));
        }
        true
    }

    fn commit_fails(&mut self) -> bool {
        let count = 1 + self.dice.below(3) as usize;
        self.disk.faults().fail_before(count);
        true
    }

    fn commit_fails_and_is_kept(&mut self) -> bool {
        let count = 1 + self.dice.below(3) as usize;
        self.disk.faults().fail_after(count);
        true
    }

    fn sync_fails(&mut self) -> bool {
        self.disk.faults().fail_sync(1);
        true
    }

    fn reads_fail(&mut self) -> bool {
        let count = 1 + self.dice.below(4) as usize;
        self.disk.faults().fail_reads(count);
        true
    }

    /// The disk keeps nothing any more, and a while later the process is gone: what comes back is old.
    fn disk_rolled_back(&mut self) -> bool {
        if self.disk.lies() || self.oracle.tally.of("fault disk rolled back") > 0 {
            return false;
        }
        self.disk.lie();
        true
    }

    fn bus_lost(&mut self) -> bool {
        let Some(broker) = self.broker.as_mut() else {
            return false;
        };
        broker.lose_bus();
        self.schedule_server();
        true
    }

    /// One whose session is kept.
    fn any_keeper(&mut self) -> Option<(usize, LinkId)> {
        let observers = self.observers.iter().enumerate();
        let keepers = observers.filter(|(_, it)| it.session.expiry_s > 0);
        let keepers: Vec<_> = keepers.filter_map(|(n, it)| Some((n, it.link?))).collect();
        let which = self.dice.below(keepers.len().max(1) as u64);
        keepers.get(which as usize).copied()
    }

    fn cut_observer(&mut self) -> bool {
        let keeper = self.any_keeper();
        if let Some((_, link)) = keeper {
            self.cut(link);
        }
        keeper.is_some()
    }

    fn observer_away(&mut self) -> bool {
        let keeper = self.any_keeper();
        if let Some((n, _)) = keeper {
            self.observer_leaves(n);
        }
        keeper.is_some()
    }

    fn observer_slow(&mut self) -> bool {
        let n = self.dice.below(self.observers.len() as u64) as usize;
        self.observers[n].receive_maximum = 1;
        if let Some(link) = self.observers[n]
            .link
            .and_then(|id| self.links.get_mut(&id))
        {
            (link.window, link.latency_ms) = (64, 3_000);
        }
        true
    }
}
