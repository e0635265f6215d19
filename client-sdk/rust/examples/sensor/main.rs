//! A device that measures, and keeps at most 64 KB of readings in memory, however long it is offline:
//! `cargo run -p syncline-client --example sensor -- --broker 127.0.0.1:1883`.
//!
//! The client's outbox is on disk, but its machine also holds every change in memory that the broker does not have yet, so that
//! it can show it. For what a person does that is little; a sensor that is away for a week would fill its memory. So:
//!
//! - A reading goes to a **spool** on disk first (`spool.rs`), where nothing of it stays in memory.
//! - From there readings go on to the client in order, only as many as [`PENDING_BYTES_MAX`](sensor::PENDING_BYTES_MAX) allows to
//!   wait for the broker, read in pages of [`PAGE_BYTES_MAX`](sensor::PAGE_BYTES_MAX). Whatever waits longer waits on disk.
//! - What is counted is the readings' own bytes, and 64 for each so that small ones are not free. Besides them there are the rest
//!   of the client's bookkeeping, encoded copies of what is being stored or sent, and the cache of the client's database,
//!   which is not bounded by this.
//! - Every reading has a number. Where a process dies between handing a reading over and taking it out of the spool, the next
//!   one sees by the client's outbox that it was handed over. Should the broker have confirmed it within that very moment, it
//!   arrives twice, with the same number.
//!
//! Readings that replace each other (the present temperature) need none of this: put them into a `map`, where the newest
//! supersedes those that were never sent (OUTBOX-10).

mod sensor;
mod spool;

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use syncline_client::{Client, Options, Store};
use tokio::time::interval;

use crate::sensor::Sensor;
use crate::spool::Spool;

/// Measures something, and keeps it until the broker has it.
#[derive(Parser)]
struct Arguments {
    /// Where the broker listens for MQTT
    #[arg(long, default_value = "127.0.0.1:1883")]
    broker: String,
    /// The sync group
    #[arg(long, default_value = "demo")]
    group: String,
    /// Where spool and outbox are
    #[arg(long, default_value = "sensor")]
    folder: PathBuf,
    /// Milliseconds from one reading to the next
    #[arg(long, default_value_t = 1_000)]
    every_ms: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let options = Options::new(&arguments.broker, &arguments.group)?
        .store(Store::Folder(arguments.folder.clone()))
        .device_name("sensor");
    let client = Client::open(options).await?;
    let spool = Spool::open(&arguments.folder.join("spool"))?;
    let mut sensor = Sensor::new(client, spool).await?;
    let mut status = sensor.status();
    let mut clock = interval(Duration::from_millis(arguments.every_ms.max(1)));
    loop {
        tokio::select! {
            _ = clock.tick() => {
                let number = sensor.record(&measure())?;
                println!("reading {number}: {} bytes in memory, {} readings on disk", sensor.bytes_held(), sensor.spooled()?);
            }
            changed = status.changed() => changed?,
            _ = tokio::signal::ctrl_c() => break,
        }
        sensor.hand_over().await?;
    }
    sensor.close().await;
    Ok(())
}

/// Any bytes: here, what the system says of its load, where it says so.
fn measure() -> Vec<u8> {
    std::fs::read("/proc/loadavg").unwrap_or_else(|_| b"0.0".to_vec())
}
