//! Marks in the tables: a row each, and a row for each of their recent events.

use redb::{ReadableTable, Table};
use syncline_protocol::{Clock, DeviceSeq, IntentHash, Seq, UnixMillis};

use super::rows::{MarkColumns, MarkKey, RecentKey, corrupted};
use crate::store::{Footprint, Mark, Recent};

type RecentColumns = (u64, [u8; 16]);

/// A mark and the seq up to which it has absorbed its stream's events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store::redb) struct AppliedMark {
    through: Seq,
    pub(in crate::store::redb) mark: Mark,
}

impl Default for AppliedMark {
    fn default() -> AppliedMark {
        AppliedMark {
            through: Seq::ZERO,
            mark: Mark::new(),
        }
    }
}

impl AppliedMark {
    /// Skips what it has absorbed before.
    pub(in crate::store::redb) fn absorb(&mut self, event: &Footprint, window: usize) {
        if event.seq > self.through {
            self.through = event.seq;
            self.mark.absorb(event, window);
        }
    }

    /// Without recent events, and how many there are.
    pub(super) fn read(columns: MarkColumns) -> Result<(AppliedMark, u64), redb::Error> {
        let (through, device_seq, base_seq, timestamp, counter, accepted_at, recent) = columns;
        let place = |n| Seq::new(n).ok_or_else(|| corrupted("a mark"));
        let clock = Clock {
            timestamp: UnixMillis::new(timestamp),
            counter,
        };
        let device_seq = match device_seq {
            0 => None,
            n => Some(DeviceSeq::new(n).ok_or_else(|| corrupted("a mark"))?),
        };
        let mark = Mark {
            device_seq,
            base_seq: place(base_seq)?,
            clock,
            accepted_at: UnixMillis::new(accepted_at),
            ..Mark::new()
        };
        let through = place(through)?;
        Ok((AppliedMark { through, mark }, recent))
    }

    pub(super) fn columns(&self, recent: u64) -> MarkColumns {
        let mark = &self.mark;
        (
            self.through.get(),
            mark.device_seq.map_or(0, DeviceSeq::get),
            mark.base_seq.get(),
            mark.clock.timestamp.get(),
            mark.clock.counter,
            mark.accepted_at.get(),
            recent,
        )
    }
}

/// All recent events of a mark, and those of no other.
pub(super) fn recent_of((number, device): MarkKey) -> std::ops::RangeInclusive<RecentKey> {
    (number, device, 0)..=(number, device, u64::MAX)
}

/// A mark with at most `window` recent events.
pub(super) fn load(
    marks: &impl ReadableTable<MarkKey, MarkColumns>,
    recent: &impl ReadableTable<RecentKey, RecentColumns>,
    key: MarkKey,
    window: usize,
) -> Result<Option<AppliedMark>, redb::Error> {
    let Some(columns) = marks.get(key)? else {
        return Ok(None);
    };
    let (mut applied, _) = AppliedMark::read(columns.value())?;
    for row in recent.range(recent_of(key))? {
        let (key, value) = row?;
        let (device_seq, hash) = value.value();
        applied.mark.recent.push_back(Recent {
            device_seq: DeviceSeq::new(device_seq).ok_or_else(|| corrupted("a recent event"))?,
            hash: IntentHash(hash),
            seq: Seq::new(key.value().2).ok_or_else(|| corrupted("a recent event"))?,
        });
    }
    applied.mark.keep_recent(window);
    Ok(Some(applied))
}

/// The two tables of marks, open for writing.
pub(super) struct MarkTables<'txn> {
    pub(super) marks: Table<'txn, MarkKey, MarkColumns>,
    pub(super) recent: Table<'txn, RecentKey, RecentColumns>,
}

impl MarkTables<'_> {
    /// Takes a device's events. Costs what it adds: the recent events that stay are not touched.
    pub(super) fn absorb(
        &mut self,
        key: MarkKey,
        events: &[&Footprint],
        window: usize,
    ) -> Result<(), redb::Error> {
        let known = self.marks.get(key)?.map(|columns| columns.value());
        let (mut applied, before) = match known {
            None => (AppliedMark::default(), 0),
            Some(columns) => AppliedMark::read(columns)?,
        };
        for event in events {
            applied.absorb(event, window);
        }
        let (number, device) = key;
        for Recent {
            device_seq,
            hash,
            seq,
        } in &applied.mark.recent
        {
            self.recent
                .insert((number, device, seq.get()), (device_seq.get(), hash.0))?;
        }
        let rows = before + applied.mark.recent.len() as u64;
        let surplus = rows.saturating_sub(window as u64);
        self.forget_oldest(key, surplus)?;
        self.marks.insert(key, applied.columns(rows - surplus))?;
        Ok(())
    }

    /// Puts a mark that has absorbed everything up to `through`.
    pub(super) fn plant(
        &mut self,
        key: MarkKey,
        through: Seq,
        mark: &Mark,
    ) -> Result<(), redb::Error> {
        let (number, device) = key;
        for recent in &mark.recent {
            let columns = (recent.device_seq.get(), recent.hash.0);
            self.recent
                .insert((number, device, recent.seq.get()), columns)?;
        }
        let applied = AppliedMark {
            through,
            mark: mark.clone(),
        };
        let rows = mark.recent.len() as u64;
        self.marks.insert(key, applied.columns(rows))?;
        Ok(())
    }

    fn forget_oldest(&mut self, key: MarkKey, surplus: u64) -> Result<(), redb::Error> {
        let mut oldest = Vec::new();
        for row in self.recent.range(recent_of(key))?.take(surplus as usize) {
            oldest.push(row?.0.value());
        }
        for key in oldest {
            self.recent.remove(key)?;
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, key: MarkKey) -> Result<(), redb::Error> {
        self.marks.remove(key)?;
        self.recent.retain_in(recent_of(key), |_, _| false)?;
        Ok(())
    }
}

/// When the last event of a mark was accepted.
pub(super) fn accepted_at(columns: MarkColumns) -> UnixMillis {
    UnixMillis::new(columns.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As none it would let the device's numbers begin anew, and what it had sent be taken twice.
    #[test]
    fn a_number_that_is_none_is_not_read_as_no_number() {
        let read = |device_seq| AppliedMark::read((9, device_seq, 3, 1, 0, 1, 0));
        let number = |device_seq| read(device_seq).map(|(it, _)| it.mark.device_seq).unwrap();
        assert_eq!((number(0), number(4)), (None, DeviceSeq::new(4)));
        assert!(read(u64::MAX).is_err());
    }
}
