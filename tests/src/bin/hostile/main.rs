//! Attacks the real broker, one attack at a time, while well-behaved clients measure how long their messages take: beside a
//! control run in which the same attack goes to a sink, so that the attacker's own computing is in both. Then the connections
//! go, and memory and threads have to be what they were.
//!
//! Fails when the broker or one of its threads died, a well-behaved client lost a message, or memory did not return. How long
//! messages took is told and marked.

mod after;
mod calm;
mod counters;
mod report;

use std::io;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use clap::Parser;
use syncline_tests::broker::{Broker, Setup};
use syncline_tests::hostile::{ATTACKS, Arena, Attack, Sink, Struck};

use crate::after::Before;
use crate::calm::{Calm, Latencies};
use crate::report::Row;

/// Attacks the real broker and tells what it cost others.
#[derive(Parser)]
struct Options {
    /// How long each attack goes on, and each control run
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// How long the churn of subscriptions goes on
    #[arg(long, default_value_t = 120)]
    churn_seconds: u64,
    /// Only attacks with this in their name
    #[arg(long)]
    only: Option<String>,
}

/// Caches that are full soon, so that memory that grows is not one of them being filled.
const SETTINGS: &str = "\
[store]\ntable_cache_bytes = 8388608\n\
[limits]\ntail_events_max = 1024\ntail_bytes_max = 1048576\n\
[history]\nmax_events = 1000\nmin_age_ms = 1000\n\
[sys]\ninterval_s = 1\n";

/// Before anything is measured, every attack for so long, and all of them again until memory is level within so much.
const WARM_UP: Duration = Duration::from_secs(1);
const LEVEL_PERCENT: u64 = 102;
const ROUNDS_MAX: u32 = 20;

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("hostile: FAILED: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> io::Result<bool> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    let (broker, sink) = (Setup::new().config(SETTINGS).start(), Sink::start()?);
    let chosen = |it: &&Attack| {
        options
            .only
            .as_ref()
            .is_none_or(|part| it.name.contains(part))
    };
    let attacks: Vec<&Attack> = ATTACKS.iter().filter(chosen).collect();
    println!(
        "hostile: {} attacks, {} s each, and as long to a sink",
        attacks.len(),
        options.seconds
    );
    warm_up(&broker, &attacks, options)?;
    let first = Before::of(&broker)?;
    println!("{}", report::HEADER);
    let mut rows = Vec::new();
    for attack in attacks {
        let row = one(&broker, &sink, attack, options)?;
        println!("{row}");
        rows.push(row);
    }
    // What each attack leaves may be little, and all of it much.
    let whole = first.compare(&broker)?;
    Ok(report::verdict(&rows, &whole))
}

fn arena(broker: &Broker) -> Arena {
    Arena {
        mqtt: broker.mqtt(),
        http: broker.http(),
    }
}

/// Every attack in turn, until a round of them leaves the broker no larger than the one before, and one of them at full length: then
/// its caches are full.
fn warm_up(broker: &Broker, attacks: &[&Attack], options: &Options) -> io::Result<()> {
    let mut before = 0;
    for _ in 0..ROUNDS_MAX {
        for attack in attacks {
            under(attack, arena(broker), broker, WARM_UP)?;
        }
        after::settle(broker)?;
        let bytes = broker.resident_bytes();
        if bytes * 100 <= before * LEVEL_PERCENT {
            for attack in attacks.iter().take(1) {
                under(
                    attack,
                    arena(broker),
                    broker,
                    Duration::from_secs(options.seconds),
                )?;
            }
            return after::settle(broker);
        }
        before = bytes;
    }
    Err(io::Error::other(format!(
        "memory still grows after {ROUNDS_MAX} rounds of warming up"
    )))
}

fn one(broker: &Broker, sink: &Sink, attack: &Attack, options: &Options) -> io::Result<Row> {
    let seconds = match attack.is_churn() {
        true => options.churn_seconds,
        false => options.seconds,
    };
    let control_time = Duration::from_secs(options.seconds);
    let time = Duration::from_secs(seconds);
    let (control, _) = under(attack, sink.arena(), broker, control_time)?;
    let (before, counted) = (Before::of(broker)?, counters::read(broker)?);
    let (attacked, struck) = under(attack, arena(broker), broker, time)?;
    let refused = counters::grown(&counted, &counters::read(broker)?);
    Ok(Row {
        name: attack.name,
        connections: struck.connections(),
        unable: struck.unable(),
        megabytes: struck.bytes() >> 20,
        control,
        attacked,
        refused,
        after: before.compare(broker)?,
    })
}

/// What well-behaved clients of the broker meet while the attack strikes that arena.
fn under(
    attack: &Attack,
    arena: Arena,
    broker: &Broker,
    time: Duration,
) -> io::Result<(Latencies, Struck)> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let striking = scope.spawn(|| arena.strike(attack, &over));
        let measured = Calm::measure(broker, time);
        over.store(true, Ordering::Relaxed);
        let struck = striking.join();
        let struck = struck.map_err(|_| io::Error::other("the attacker panicked"))?;
        let name = attack.name;
        let told = |error| io::Error::other(format!("{name}: a well-behaved client: {error}"));
        Ok((measured.map_err(told)?, struck))
    })
}
