//! Notes of whoever opens the store, for the next who does.

use bytes::Bytes;
use redb::TableError;

use super::Tables;
use super::rows::NOTES;
use crate::store::StoreError;

impl Tables {
    pub(in crate::store::redb) fn note(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        self.file().view(|txn| match txn.open_table(NOTES) {
            Ok(notes) => {
                let note = notes.get(name)?;
                Ok(note.map(|note| Bytes::copy_from_slice(note.value())))
            }
            // Nothing was ever noted.
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        })
    }

    pub(in crate::store::redb) fn set_note(
        &self,
        name: &str,
        note: &[u8],
    ) -> Result<(), StoreError> {
        self.file().change(|txn| {
            txn.open_table(NOTES)?.insert(name, note)?;
            Ok(())
        })
    }
}
