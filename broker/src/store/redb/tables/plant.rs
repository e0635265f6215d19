//! Streams that come from outside.

use redb::WriteTransaction;
use syncline_protocol::{DeviceId, StreamId};

use super::super::file::{meta_of, set_meta};
use super::marks::MarkTables;
use super::rows::{
    BASES, BaseRow, ENTRIES, EVENTS, MARKS, RECENT, STREAMS, StreamRow, key, load_row, stream_row,
};
use super::{APPLIED_TO, LAST_NUMBER, Tables};
use crate::store::{Planted, StoreError, StreamHead};

impl Tables {
    /// The devices that have marks.
    pub(in crate::store::redb) fn marks(
        &self,
        stream: &StreamId,
    ) -> Result<Vec<DeviceId>, StoreError> {
        self.file().view(|txn| {
            let Some(row) = stream_row(txn, stream)? else {
                return Ok(Vec::new());
            };
            let mut devices = Vec::new();
            let marks = txn.open_table(MARKS)?;
            for mark in marks.range((row.number, [0; 16])..=(row.number, [u8::MAX; 16]))? {
                devices.push(DeviceId::from_bytes(mark?.0.value().1));
            }
            Ok(devices)
        })
    }

    /// In one commit. `false`: it is there already.
    pub(in crate::store::redb) fn plant(&self, planted: &Planted) -> Result<bool, StoreError> {
        self.file().change(|txn| {
            if load_row(&txn.open_table(STREAMS)?, &planted.stream)?.is_some() {
                return Ok(false);
            }
            let number = meta_of(txn, LAST_NUMBER)?.unwrap_or(0) + 1;
            // One of its own: nobody who had everything before has this.
            let position = meta_of(txn, APPLIED_TO)?.unwrap_or(0) + 1;
            set_meta(txn, APPLIED_TO, position)?;
            plant_in(txn, planted, number, position)?;
            set_meta(txn, LAST_NUMBER, number)?;
            Ok(true)
        })
    }
}

fn plant_in(
    txn: &WriteTransaction,
    planted: &Planted,
    number: u64,
    position: u64,
) -> Result<(), redb::Error> {
    let head = StreamHead {
        position,
        ..planted.head
    };
    let row = StreamRow { number, head };
    txn.open_table(STREAMS)?
        .insert(key(&planted.stream), row.columns())?;
    let base = BaseRow {
        base: planted.base.clone(),
        position,
    };
    base.write(&mut txn.open_table(BASES)?, number)?;
    let mut entries = txn.open_table(ENTRIES)?;
    for it in &planted.entries {
        let key = (number, it.collection.as_str(), it.key.as_str());
        entries.insert(key, it.entry.as_ref())?;
    }
    let mut events = txn.open_table(EVENTS)?;
    for record in &planted.events {
        let (seq, epoch) = (record.event.seq.get(), record.event.epoch.get());
        let payload = record.event.encode();
        events.insert((number, seq), (epoch, position, payload.as_slice()))?;
    }
    let mut marks = MarkTables {
        marks: txn.open_table(MARKS)?,
        recent: txn.open_table(RECENT)?,
    };
    for (device, mark) in &planted.marks {
        marks.plant((number, *device.as_bytes()), planted.head.seq, mark)?;
    }
    Ok(())
}
