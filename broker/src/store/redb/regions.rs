//! How a file grows: by regions.
//!
//! redb takes space from the file system by doubling the file until a region is full, and by regions from then on. Its
//! regions have 4 GiB unless the file says otherwise, so what needs 150 MB could lie in a file of 300 MB for ever. How
//! large they are stands in the header since the file was made, and redb keeps to what it finds there; but it has no
//! option for it. So the header gets smaller ones on its way into a new file. Files that were made before stay as they
//! are until they are compacted.

use std::borrow::Cow;

/// 32 MiB: a file is at most two of them longer than what was ever used at once, and each costs a row in a commit.
const PAGES: u32 = 8192;

/// redb keeps a row in one run of pages within one region, and ends the process over one that does not fit. So such a row is
/// refused before. Entries are that large when many wide values are open at once.
const ROW_BYTES_MAX: usize = (PAGES as usize - 256) * 4096;

/// Refuses a row that fits no region.
pub(super) fn check_row(bytes: usize) -> Result<(), redb::Error> {
    match bytes <= ROW_BYTES_MAX {
        true => Ok(()),
        false => Err(redb::Error::Corrupted(format!(
            "a row of {bytes} bytes is above the {ROW_BYTES_MAX} that fit into the file; it"
        ))),
    }
}

/// What redb writes by itself: 4 GiB.
const PAGES_OF_REDB: u32 = 1 << 20;

/// The header's first bytes, in every version of the format.
const MAGIC: &[u8] = b"redb\x1a\x0a\xa9\x0d\x0a";

/// Pages in a region, little endian, as the format of version 3 has it ("region max data pages").
const PAGES_AT: std::ops::Range<usize> = 20..24;

/// What to write into a new file in place of `data`. Anything but a header with redb's own regions stays as it is.
pub(super) fn small(offset: u64, data: &[u8]) -> Cow<'_, [u8]> {
    let is_header = offset == 0 && data.starts_with(MAGIC);
    if !is_header || data.get(PAGES_AT) != Some(&PAGES_OF_REDB.to_le_bytes()) {
        return Cow::Borrowed(data);
    }
    let mut header = data.to_vec();
    header[PAGES_AT].copy_from_slice(&PAGES.to_le_bytes());
    Cow::Owned(header)
}

#[cfg(test)]
mod tests {
    use redb::{Database, TableDefinition};

    use super::super::copy::Target;
    use super::super::disk::{Directory, Media};
    use super::*;

    const ROWS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("rows");
    const REGION: u64 = PAGES as u64 * 4096;

    /// A file whose rows need a little more than two regions.
    fn grow(db: &Database) {
        // With its key and the heads of a page it fills 64 KiB.
        let row = [7; (1 << 16) - 512];
        for n in 0..(5 * REGION / 2) >> 16 {
            let txn = db.begin_write().unwrap();
            txn.open_table(ROWS)
                .unwrap()
                .insert(n, row.as_slice())
                .unwrap();
            txn.commit().unwrap();
        }
    }

    #[test]
    fn a_new_file_grows_by_small_regions_and_one_of_redbs_doubles() {
        let folder = tempfile::tempdir().unwrap();
        let media = Directory::new(folder.path());
        Target::create(&media, "small").unwrap().finish().unwrap();
        let lengths = ["small", "large"].map(|name| {
            let db = Database::create(media.path(name)).unwrap();
            grow(&db);
            drop(db);
            std::fs::metadata(media.path(name)).unwrap().len()
        });
        let [small, large] = lengths;
        assert!(small <= 4 * REGION, "{small}");
        assert!(large > 4 * REGION, "{large}: redb does this by itself now");
    }

    #[test]
    fn the_largest_row_fits_and_a_larger_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let media = Directory::new(folder.path());
        Target::create(&media, "small").unwrap().finish().unwrap();
        let db = Database::create(media.path("small")).unwrap();
        let txn = db.begin_write().unwrap();
        check_row(ROW_BYTES_MAX).unwrap();
        let row = vec![7; ROW_BYTES_MAX];
        txn.open_table(ROWS)
            .unwrap()
            .insert(1, row.as_slice())
            .unwrap();
        txn.commit().unwrap();
        assert!(check_row(ROW_BYTES_MAX + 1).is_err());
    }

    #[test]
    fn nothing_but_a_header_with_redbs_regions_is_changed() {
        let mut header = MAGIC.to_vec();
        header.resize(64, 0);
        assert_eq!(small(0, &header), header);
        header[PAGES_AT].copy_from_slice(&PAGES_OF_REDB.to_le_bytes());
        assert_ne!(small(0, &header), header);
        assert_eq!(small(4096, &header), header);
        assert_eq!(small(0, &header[..22]), &header[..22]);
    }
}
