//! Writes what the fuzzer begins with, one file per input, to `corpus/<target>`.

use std::path::Path;

fn main() -> std::io::Result<()> {
    syncline_fuzz::write(
        Path::new(env!("CARGO_MANIFEST_DIR")),
        syncline_fuzz::seeds(),
    )
}
