//! The applier's commits.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use redb::{CursorError, Table, WriteTransaction};
use syncline_protocol::{DeviceId, StreamId};

use super::super::file::{meta_of, set_meta};
use super::super::pending::Pending;
use super::marks::MarkTables;
use super::rows::{
    EVENTS, EventColumns, MARKS, RECENT, STREAMS, StreamRow, corrupted, key, load_row,
};
use super::{APPLIED_TO, LAST_NUMBER, Tables};
use crate::store::{Footprint, StoreError, StreamHead};

/// Records by the number of their stream.
type ByNumber<'e> = Vec<(u64, Vec<&'e Pending>)>;

impl Tables {
    /// Takes records of ascending positions, and `applied_to` with them, in one commit.
    pub(in crate::store::redb) fn apply(&self, records: &[Arc<Pending>]) -> Result<(), StoreError> {
        let Some(last) = records.last() else {
            return Ok(());
        };
        self.file.change(|txn| {
            Applying {
                txn,
                mark_window: self.mark_window,
            }
            .apply(records)?;
            set_meta(txn, APPLIED_TO, last.position)
        })
    }
}

/// One commit of the applier. Keys are written in ascending order, which is what makes it cheap.
struct Applying<'a> {
    txn: &'a WriteTransaction,
    mark_window: usize,
}

impl Applying<'_> {
    fn apply(&self, records: &[Arc<Pending>]) -> Result<(), redb::Error> {
        let mut by_stream: BTreeMap<&StreamId, Vec<&Pending>> = BTreeMap::new();
        for record in records {
            by_stream.entry(record.stream()).or_default().push(record);
        }
        let mut by_number = self.advance_heads(by_stream)?;
        by_number.sort_unstable_by_key(|(number, _)| *number);
        self.insert_events(&by_number)?;
        self.update_marks(&by_number)
    }

    /// Gives new streams their numbers, and every stream its new head.
    fn advance_heads<'e>(
        &self,
        by_stream: BTreeMap<&StreamId, Vec<&'e Pending>>,
    ) -> Result<ByNumber<'e>, redb::Error> {
        let mut numbered = meta_of(self.txn, LAST_NUMBER)?.unwrap_or(0);
        let mut streams = self.txn.open_table(STREAMS)?;
        let mut by_number = Vec::with_capacity(by_stream.len());
        for (stream, records) in by_stream {
            let mut row = load_row(&streams, stream)?.unwrap_or_else(|| {
                numbered += 1;
                StreamRow {
                    number: numbered,
                    head: StreamHead::EMPTY,
                }
            });
            for record in &records {
                record.advance(&mut row.head);
            }
            streams.insert(key(stream), row.columns())?;
            by_number.push((row.number, records));
        }
        set_meta(self.txn, LAST_NUMBER, numbered)?;
        Ok(by_number)
    }

    fn insert_events(&self, by_number: &ByNumber<'_>) -> Result<(), redb::Error> {
        let mut table = self.txn.open_table(EVENTS)?;
        for (number, records) in by_number {
            append_events(&mut table, *number, records)?;
        }
        Ok(())
    }

    fn update_marks(&self, by_number: &ByNumber<'_>) -> Result<(), redb::Error> {
        let mut tables = MarkTables {
            marks: self.txn.open_table(MARKS)?,
            recent: self.txn.open_table(RECENT)?,
        };
        for (number, records) in by_number {
            let mut by_device: BTreeMap<DeviceId, Vec<&Footprint>> = BTreeMap::new();
            for footprint in records.iter().filter_map(|record| record.footprint()) {
                by_device
                    .entry(footprint.device)
                    .or_default()
                    .push(footprint);
            }
            for (device, events) in by_device {
                tables.absorb((*number, *device.as_bytes()), &events, self.mark_window)?;
            }
        }
        Ok(())
    }
}

/// Writes the events of a stream behind those that it has, as one run: a run fills its pages, single inserts leave each
/// half empty.
fn append_events(
    table: &mut Table<'_, (u64, u64), EventColumns<'static>>,
    number: u64,
    records: &[&Pending],
) -> Result<(), redb::Error> {
    let mut end = table.upper_bound_mut(Bound::Included((number, u64::MAX)))?;
    for event in records.iter().filter_map(|record| record.committed()) {
        let columns = (
            event.epoch().get(),
            event.position(),
            event.payload().as_ref(),
        );
        let inserted = end.insert_before((number, event.seq().get()), columns);
        inserted.map_err(|error| match error {
            CursorError::UnorderedKey => corrupted("the order of a stream's events"),
            error => error.into(),
        })?;
    }
    Ok(end.close()?)
}
