//! A disk that is full, really: a file system of 32 MiB of its own. Writers get the transient refusal, readers go on, nothing is
//! lost, and service resumes when space returns. Once with the reserve of `store.min_free_bytes`, and once without, where the
//! operating system itself says that no space is left.
//!
//! Mounting needs rights that a user has in a namespace of its own, so the program starts itself anew in one.

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::Parser;
use syncline_protocol::Snapshot;
use syncline_tests::broker::{Broker, Setup};
use syncline_tests::star::Star;
use syncline_tests::wait;
use syncline_tests::wire::{Connect, Packet, Version, Wire, is_closed};
use tempfile::TempDir;

const SIZE: &str = "size=32m";
const TOPIC: &str = "sync/enospc/events";
/// More than the file system holds.
const EVENTS_MAX: usize = 200_000;
const WINDOW: usize = 64;
const PATIENCE: Duration = Duration::from_secs(20);

/// Fills a small disk under the real broker.
#[derive(Parser)]
struct Options {
    /// Already in a namespace of its own
    #[arg(long, hide = true)]
    inside: bool,
}

fn main() -> ExitCode {
    let done = match Options::parse().inside {
        true => inside(),
        false => outside(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("enospc: FAILED: {error}");
            ExitCode::FAILURE
        }
    }
}

fn outside() -> Result<(), Box<dyn Error>> {
    let status = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "--"])
        .arg(std::env::current_exe()?)
        .arg("--inside")
        .status()
        .map_err(|error| format!("unshare (util-linux) does not start: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(
            "see above; if it was unshare that failed, user namespaces are switched off here"
                .into(),
        )
    }
}

fn inside() -> Result<(), Box<dyn Error>> {
    for (name, reserve) in [
        ("with a reserve of 8 MiB", 8 << 20),
        ("without a reserve", 0_u64),
    ] {
        let folder = TempDir::with_prefix("syncline-enospc-")?;
        let mounted = Mounted::tmpfs(folder.path())?;
        println!("enospc {name}: {}", one(mounted.0, reserve)?);
    }
    Ok(())
}

/// A file system that is there until this is dropped.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    fn tmpfs(at: &'a Path) -> Result<Self, Box<dyn Error>> {
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", SIZE, "syncline"])
            .arg(at)
            .status()?;
        match mount.success() {
            true => Ok(Self(at)),
            false => Err("mount of a tmpfs failed".into()),
        }
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        // Lazily: the broker may still be ending.
        drop(Command::new("umount").arg("-l").arg(self.0).status());
    }
}

fn one(disk: &Path, reserve: u64) -> Result<String, Box<dyn Error>> {
    let config = format!("[store]\nmin_free_bytes = {reserve}\n");
    let data = disk.join("data");
    let mut broker = Setup::new().data(&data).config(&config).start();
    let address = broker.mqtt();
    let mut author = Author::default();
    author.publish(address, 1_000)?;
    let mut reader = Wire::connect(address, &Connect::new(Version::V5, ""))?;
    reader.subscribe("sync/enospc/state")?;
    let ballast = Ballast::fill(disk, reserve)?;
    let refusal = author
        .publish(address, EVENTS_MAX)?
        .ok_or("the disk was full and events were accepted")?;
    readers_go_on(&mut reader, address, author.acked())?;
    drop(ballast);
    let before = author.acked();
    wait::poll(PATIENCE, || match author.publish(address, before + 1_000) {
        Ok(None) => Some(Ok(())),
        Ok(Some(_)) => None,
        Err(error) => Some(Err(error)),
    })
    .ok_or("service did not resume when space returned")??;
    readers_go_on(&mut reader, address, author.acked())?;
    broker.kill()?;
    broker.start_again();
    readers_go_on_after(&broker, author.acked())?;
    let acked = author.acked();
    Ok(format!(
        "writers heard {refusal:?}, readers went on, {acked} acknowledged events are there after kill -9"
    ))
}

/// What takes the space away, until it is dropped.
struct Ballast(std::path::PathBuf);

impl Ballast {
    /// Leaves nothing of the disk, or less than the reserve.
    fn fill(disk: &Path, reserve: u64) -> io::Result<Self> {
        let path = disk.join("ballast");
        let mut file = File::create(&path)?;
        let piece = vec![7; 64 << 10];
        let mut pieces = 0;
        while file.write_all(&piece).is_ok() {
            pieces += 1;
        }
        if reserve > 0 {
            // The reserve is for the broker: half of it is free, so it is not the operating system that refuses.
            file.set_len(pieces * (64 << 10) - reserve / 2)?;
        }
        file.sync_all()?;
        Ok(Self(path))
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

/// A device that sends its events again until they are acknowledged.
#[derive(Default)]
struct Author {
    /// `device_seq` of the last one acknowledged.
    acked: usize,
}

impl Author {
    fn acked(&self) -> usize {
        self.acked
    }

    /// Publishes up to the `target`th event; the reason if the broker refuses to go on.
    fn publish(&mut self, address: SocketAddr, target: usize) -> io::Result<Option<String>> {
        let mut wire = Wire::connect(address, &Connect::new(Version::V5, ""))?;
        let mut sent = self.acked;
        while self.acked < target {
            while sent < target && sent - self.acked < WINDOW {
                sent += 1;
                if let Err(error) = wire.send(TOPIC, event(sent)) {
                    if is_closed(&error) {
                        break;
                    }
                    return Err(error);
                }
            }
            match wire.receive() {
                Ok(Packet::PubAck { code, .. }) if code < 0x80 => self.acked += 1,
                Ok(Packet::Disconnect { code, properties }) => {
                    let reason = properties.reason.unwrap_or_default();
                    return Ok(Some(format!("0x{code:02X} {reason}")));
                }
                Ok(_) => {}
                Err(error) if is_closed(&error) => return Ok(Some("closed".to_owned())),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

fn event(number: usize) -> String {
    let note = "x".repeat(200);
    Star::album(&format!("album-{:03}", number % 100))
        .from_device("00000000-0000-4000-8000-0000000000e0", number as u64)
        .with("note", note.into())
        .json()
}

/// The reader's connection lives, and a new one gets the state with everything acknowledged.
fn readers_go_on(
    reader: &mut Wire,
    address: SocketAddr,
    acked: usize,
) -> Result<(), Box<dyn Error>> {
    reader.ping()?;
    let mut fresh = Wire::connect(address, &Connect::new(Version::V5, ""))?;
    fresh.subscribe("sync/enospc/state")?;
    let state = Snapshot::decode(&fresh.message()?.payload)?;
    if state.seq.get() < acked as u64 {
        return Err(format!("the state is at {}, {acked} were acknowledged", state.seq).into());
    }
    Ok(())
}

fn readers_go_on_after(broker: &Broker, acked: usize) -> Result<(), Box<dyn Error>> {
    let mut wire = Wire::connect(broker.mqtt(), &Connect::new(Version::V5, ""))?;
    readers_go_on(&mut wire, broker.mqtt(), acked)
}
