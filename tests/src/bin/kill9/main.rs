//! Kills the real broker in mid-load, again and again, starts it again on the same data, and counts:
//! every acknowledged event exactly once, at the seq that was acknowledged, in order, without holes;
//! nothing that anybody was shown is gone (G1-G4, G12); the state agrees with the events (G5).
//!
//! With `--compacting` the history is short, so that the kill comes in the middle of folding, and backups are taken all the time, so that it
//! comes in the middle of one: a backup is complete and has everything acknowledged before it, or it is not there.

mod audit;
mod backups;
mod publisher;
mod witness;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;
use syncline_tests::broker::{Broker, Setup};
use syncline_tests::dice::Dice;
use syncline_tests::wait;

use crate::backups::{Backups, Taking};
use crate::publisher::{Progress, Publisher};
use crate::witness::Witness;

const STREAMS: [&str; 2] = ["sync/kill9", "sync/kill9/second"];
const PUBLISHERS: usize = 4;

/// How long the load goes on, after every publisher was acknowledged once, until the kill.
const LOAD_MS_MAX: u64 = 400;

/// Kills the broker in mid-load and counts what it acknowledged.
#[derive(Parser)]
struct Options {
    /// How often
    #[arg(long, default_value_t = 20)]
    rounds: u32,
    /// With a short history, and with backups all the time
    #[arg(long)]
    compacting: bool,
    /// Repeats the run that printed this seed, as far as chance goes
    #[arg(long)]
    seed: Option<u64>,
}

/// Events stay for a second, which is longer than an audit takes to begin.
const SHORT_HISTORY: &str = "[history]\nmin_age_ms = 1000\nmax_events = 200\ninterval_ms = 20\n";

fn main() -> ExitCode {
    let options = Options::parse();
    let seed = options.seed.unwrap_or_else(seed_of_the_moment);
    let how = if options.compacting {
        ", compacting"
    } else {
        ""
    };
    println!("kill9: {} rounds{how}, seed {seed}", options.rounds);
    match run(&options, seed) {
        Ok(summary) => {
            println!("kill9: {summary}");
            ExitCode::SUCCESS
        }
        Err(wrong) => {
            println!("kill9: FAILED with seed {seed}: {wrong}");
            ExitCode::FAILURE
        }
    }
}

fn seed_of_the_moment() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    since.as_nanos() as u64 & u64::from(u32::MAX)
}

fn run(options: &Options, seed: u64) -> Result<String, String> {
    let mut dice = Dice::new(seed);
    let setup = match options.compacting {
        true => Setup::new().config(SHORT_HISTORY),
        false => Setup::new(),
    };
    let mut broker = setup.start();
    let mut publishers: Vec<Publisher> = (0..PUBLISHERS)
        .map(|index| {
            let dice = Dice::new(dice.next_u64());
            Publisher::new(STREAMS[index % STREAMS.len()], !options.compacting, dice)
        })
        .collect();
    let mut backups = options.compacting.then(Backups::default);
    for round in 1..=options.rounds {
        let load = Duration::from_millis(dice.below(LOAD_MS_MAX));
        let before = highest_acked(&publishers);
        let taking = backups.as_ref().map(|_| Taking::start(&broker));
        let shown = load_and_kill(&mut broker, &mut publishers, load)?;
        if let (Some(backups), Some(taking)) = (&mut backups, taking) {
            backups.check(&taking.end()?, broker.data(), &before)?;
        }
        broker.start_again();
        let events = audit_all(broker.mqtt(), &publishers, &shown)?;
        let (acked, open) = totals(&publishers);
        println!(
            "round {round:>3}: killed {:>3} ms into the load; {events} events, {acked} acknowledged, {open} open",
            load.as_millis()
        );
    }
    let summary = finish(&broker, publishers)?;
    Ok(match backups {
        None => summary,
        Some(backups) => format!("{summary}; {backups}"),
    })
}

/// Per stream, before a round.
fn highest_acked(publishers: &[Publisher]) -> Vec<(&'static str, u64)> {
    let highest = |stream| {
        let authors = publishers.iter().filter(|author| author.stream == stream);
        authors
            .flat_map(|author| author.acked.values())
            .max()
            .copied()
    };
    STREAMS
        .iter()
        .map(|stream| (*stream, highest(*stream).unwrap_or(0)))
        .collect()
}

/// Everything open is sent again and acknowledged; then the last count.
fn finish(broker: &Broker, publishers: Vec<Publisher>) -> Result<String, String> {
    let address = broker.mqtt();
    let mut flushed = Vec::new();
    for publisher in publishers {
        flushed.push(publisher.flush(address)?);
    }
    let events = audit_all(address, &flushed, &[])?;
    let (acked, open) = totals(&flushed);
    if open > 0 || acked != events {
        return Err(format!(
            "{events} events, but {acked} acknowledged and {open} open"
        ));
    }
    let repeats: u64 = flushed.iter().map(|publisher| publisher.repeats).sum();
    Ok(format!(
        "{acked} events acknowledged, each stored once, in order, without holes; {repeats} of them were \
         repeats of what a kill had left unanswered; digests agree"
    ))
}

fn load_and_kill(
    broker: &mut Broker,
    publishers: &mut Vec<Publisher>,
    load: Duration,
) -> Result<Vec<Witness>, String> {
    let address = broker.mqtt();
    let witnesses = STREAMS.map(|stream| thread::spawn(move || Witness::watch(address, stream)));
    let progress = Progress::new(PUBLISHERS);
    let loaders: Vec<_> = publishers
        .drain(..)
        .enumerate()
        .map(|(index, publisher)| {
            let acked = progress.counter(index);
            thread::spawn(move || publisher.load(address, &acked))
        })
        .collect();
    wait::until("an acknowledgement for every publisher", || {
        progress.all().then_some(())
    });
    wait::let_pass(load);
    broker.kill().map_err(|error| error.to_string())?;
    for loader in loaders {
        publishers.push(loader.join().map_err(|_| "a publisher panicked")??);
    }
    witnesses
        .into_iter()
        .map(|witness| {
            witness
                .join()
                .map_err(|_| "a witness panicked".to_owned())?
        })
        .collect()
}

fn audit_all(
    address: SocketAddr,
    publishers: &[Publisher],
    shown: &[Witness],
) -> Result<usize, String> {
    let mut events = 0;
    for stream in STREAMS {
        let authors: Vec<_> = publishers.iter().filter(|p| p.stream == stream).collect();
        let shown: Vec<_> = shown.iter().filter(|w| w.stream == stream).collect();
        events += audit::audit(address, stream, &authors, &shown)
            .map_err(|wrong| format!("{stream}: {wrong}"))?;
    }
    Ok(events)
}

fn totals(publishers: &[Publisher]) -> (usize, usize) {
    let acked = publishers
        .iter()
        .map(|publisher| publisher.acked.len())
        .sum();
    let open = publishers.iter().map(Publisher::open).sum();
    (acked, open)
}
