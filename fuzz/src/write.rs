//! Seeds on disk.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

/// One file per input, in `corpus/<target>` of a package.
pub fn write(package: &Path, seeds: BTreeMap<&'static str, Vec<Vec<u8>>>) -> io::Result<()> {
    for (target, inputs) in seeds {
        let folder = package.join("corpus").join(target);
        fs::create_dir_all(&folder)?;
        for (n, input) in inputs.iter().enumerate() {
            fs::write(folder.join(format!("golden-{n:03}")), input)?;
        }
        println!("{target}: {} inputs", inputs.len());
    }
    Ok(())
}
