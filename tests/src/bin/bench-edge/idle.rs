//! What a connection costs that does nothing, and one that has subscribed to something and does nothing.

use std::io;
use std::time::Duration;

use syncline_tests::process::Process;
use syncline_tests::wait;
use syncline_tests::wire::{Connect, Version, Wire};

use crate::table::Table;
use crate::{Brokers, Target};

/// A process that has computed nothing for so long, and has as much memory as before, is at rest: what is free goes back to
/// the system later than that it is freed.
const AT_REST: Duration = Duration::from_secs(2);
const REST_PATIENCE: Duration = Duration::from_secs(30);

/// In brokers that have done nothing before, so that no memory is reused; none of `count` 0.
pub(crate) fn measure(count: usize) -> io::Result<Option<Table>> {
    if count == 0 {
        return Ok(None);
    }
    let brokers = Brokers::start()?;
    let targets = brokers.targets();
    let mut table = Table::new(targets.iter().map(|it| it.name).collect());
    for target in &targets {
        if let Err(error) = of_one(target, count, &mut table) {
            println!("  {count} idle connections: {}: {error}", target.name);
        }
    }
    Ok(Some(table))
}

fn of_one(target: &Target, count: usize, table: &mut Table) -> io::Result<()> {
    let before = at_rest(target.process)?;
    let mut wires = Vec::with_capacity(count);
    for at in 0..count {
        let connect = Connect::new(Version::V311, &format!("idle-{at}")).keep_alive(600);
        wires.push(Wire::connect(target.address, &connect)?);
    }
    let mut note = |title, wires: &[Wire]| -> io::Result<()> {
        let each = at_rest(target.process)?.saturating_sub(before) / wires.len() as u64;
        println!("  {title}: {} {each} bytes each", target.name);
        table.add(title, target.name, each as f64);
        Ok(())
    };
    note("connected", &wires)?;
    for (at, wire) in wires.iter_mut().enumerate() {
        wire.send_subscribes(&[format!("idle/{at}")])?;
        wire.receive()?;
    }
    note("connected and subscribed", &wires)?;
    still_there(target, &mut wires)
}

/// Nobody was turned away in the meantime.
fn still_there(target: &Target, wires: &mut [Wire]) -> io::Result<()> {
    let open = target.process.open_files();
    if open < wires.len() {
        return Err(io::Error::other(format!("only {open} files are open")));
    }
    wires.iter_mut().step_by(100).try_for_each(Wire::ping)
}

/// The resident memory once the process computes no more.
fn at_rest(process: Process) -> io::Result<u64> {
    wait::poll(REST_PATIENCE, || {
        let now = || (process.processor_time(), process.resident_bytes());
        let before = now();
        wait::let_pass(AT_REST);
        (now() == before).then_some(())
    });
    let bytes = process.resident_bytes();
    bytes.ok_or_else(|| io::Error::other("the broker is gone"))
}
