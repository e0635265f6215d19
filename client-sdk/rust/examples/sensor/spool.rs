//! Readings on disk, in order, one row each.

use std::error::Error;
use std::path::Path;

use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};

/// One reading.
pub(crate) const READING_BYTES_MAX: usize = 4 * 1024;
/// What a reading counts beside its own bytes, so that many small ones are not free.
pub(crate) const ROW_BYTES: usize = 64;

/// What redb may keep of the file in memory: its default is a gigabyte.
const CACHE_BYTES: usize = 64 * 1024;

const READINGS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("readings");
/// The last number that was given, also when its row is gone.
const LAST: TableDefinition<'_, (), u64> = TableDefinition::new("last");

/// One row.
pub(crate) struct Reading {
    pub(crate) number: u64,
    pub(crate) bytes: Vec<u8>,
}

/// What a reading takes of the memory's budget.
pub(crate) fn cost(reading: &[u8]) -> usize {
    reading.len() + ROW_BYTES
}

pub(crate) struct Spool {
    database: Database,
}

impl Spool {
    pub(crate) fn open(path: &Path) -> Result<Self, Box<dyn Error>> {
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(path)?;
        let begun = database.begin_write()?;
        begun.open_table(READINGS)?;
        begun.open_table(LAST)?;
        begun.commit()?;
        Ok(Self { database })
    }

    /// Durable when this returns; the number is the next one: 1, 2, 3 …
    pub(crate) fn put(&self, reading: &[u8]) -> Result<u64, Box<dyn Error>> {
        if reading.len() > READING_BYTES_MAX {
            let size = reading.len();
            return Err(format!(
                "a reading of {size} bytes; at most {READING_BYTES_MAX}: send it in parts"
            )
            .into());
        }
        let begun = self.database.begin_write()?;
        let number = {
            let mut last = begun.open_table(LAST)?;
            let number = last.get(())?.map_or(0, |it| it.value()) + 1;
            last.insert((), number)?;
            begun.open_table(READINGS)?.insert(number, reading)?;
            number
        };
        begun.commit()?;
        Ok(number)
    }

    /// The oldest readings that cost no more than this.
    pub(crate) fn page(&self, bytes_max: usize) -> Result<Vec<Reading>, Box<dyn Error>> {
        let readings = self.database.begin_read()?.open_table(READINGS)?;
        let mut page = Vec::new();
        let mut left = bytes_max;
        for row in readings.iter()? {
            let (number, reading) = row?;
            let Some(rest) = left.checked_sub(cost(reading.value())) else {
                break;
            };
            left = rest;
            page.push(Reading {
                number: number.value(),
                bytes: reading.value().to_vec(),
            });
        }
        Ok(page)
    }

    /// What is handed over.
    pub(crate) fn forget_to(&self, number: u64) -> Result<(), Box<dyn Error>> {
        let begun = self.database.begin_write()?;
        begun
            .open_table(READINGS)?
            .retain_in(..=number, |_, _| false)?;
        begun.commit()?;
        Ok(())
    }

    pub(crate) fn len(&self) -> Result<u64, Box<dyn Error>> {
        Ok(self.database.begin_read()?.open_table(READINGS)?.len()?)
    }
}
