//! What one durable write costs here.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use crate::figures::{Percentiles, percentiles};

/// Appends 4 KiB and waits for the disk, again and again.
pub(crate) fn fdatasync(folder: &Path, times: usize) -> io::Result<Percentiles> {
    let path = folder.join("fdatasync.probe");
    let mut file = File::create(&path)?;
    let mut taken = Vec::with_capacity(times);
    for _ in 0..times {
        let begin = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        taken.push(begin.elapsed());
    }
    std::fs::remove_file(path)?;
    Ok(percentiles(taken))
}
