//! Keeps the real broker busy for long, with everything at once: events of several devices, followers by cursor, by wildcard and
//! by a session that comes and goes, states, ordinary messages at QoS 0, 1 and 2, retained messages, wills, shared subscriptions,
//! churn; and restarts it, by SIGTERM and by `kill -9` in turn. For the last third it runs through.
//!
//! Fails when an acknowledged event is lost or out of place, a number of QoS 2 comes twice or not at all, one of QoS 1 does not
//! come, a connection ends though nothing was restarted, or memory, files or descriptors grow beyond what `health.rs` says.

mod events;
mod health;
mod life;
mod numbers;
mod rounds;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use clap::Parser;
use syncline_tests::broker::{Broker, Setup};
use syncline_tests::dice::Dice;
use syncline_tests::wait;

use crate::events::{Device, Follower, Kept};
use crate::health::Health;
use crate::life::{Life, Next, Trouble};
use crate::numbers::{Publisher, Subscriber};
use crate::rounds::Retained;

/// Keeps the real broker busy for long and counts.
#[derive(Parser)]
struct Options {
    /// How long
    #[arg(long, default_value_t = 15)]
    minutes: u64,
    /// Seconds from one restart to the next
    #[arg(long, default_value_t = 60)]
    restart_seconds: u64,
    /// Repeats the devices and albums of the run that printed this seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Histories that are short for what comes, and caches that are full soon, so that growth is not one of them being filled.
const SETTINGS: &str = "\
[store]\ntable_cache_bytes = 4194304\n\
[history]\nmax_events = 8000\nmin_age_ms = 1000\n\
[router]\noutstanding_max = 1024\noutstanding_bytes_max = 1048576\n\
[limits]\ntail_events_max = 1024\ntail_bytes_max = 1048576\n";
const DEVICES: usize = 4;
const QOS: [u8; 2] = [1, 2];
/// Of a process that runs through.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(15);
/// No number is that large.
const NEVER: u64 = u64::MAX;

fn main() -> ExitCode {
    let options = Options::parse();
    println!(
        "soak: {} minutes, a restart every {} s of the first two thirds, seed {}",
        options.minutes, options.restart_seconds, options.seed
    );
    match run(&options) {
        Ok(summary) => {
            println!("soak: {summary}");
            ExitCode::SUCCESS
        }
        Err(wrong) => {
            println!("soak: FAILED: {wrong}");
            ExitCode::FAILURE
        }
    }
}

/// Where the subscribers may end: what the publishers came to.
struct Targets {
    events: AtomicU64,
    numbers: [AtomicU64; QOS.len()],
}

fn run(options: &Options) -> Result<String, String> {
    let mut broker = Setup::new().config(SETTINGS).start();
    let (address, life) = (broker.mqtt(), Life::default());
    let targets = Targets {
        events: AtomicU64::new(NEVER),
        numbers: [const { AtomicU64::new(NEVER) }; QOS.len()],
    };
    let told = |error: std::io::Error| format!("at the beginning: {error}");
    let kept = Kept::start(address).map_err(told)?;
    let mut pairs = Vec::new();
    for qos in QOS {
        let publisher = Publisher::start(address, qos).map_err(told)?;
        pairs.push((publisher, Subscriber::start(address, qos).map_err(told)?));
    }
    let (life, targets) = (&life, &targets);
    thread::scope(|scope| {
        let devices = devices(scope, address, life, options.seed);
        let follower = scope.spawn(move || follow(address, life, targets));
        let kept = scope.spawn(move || follow_kept(kept, address, life, targets));
        let (mut publishers, mut subscribers) = (Vec::new(), Vec::new());
        for (at, (publisher, subscriber)) in pairs.into_iter().enumerate() {
            publishers.push(scope.spawn(move || publish(publisher, address, life)));
            let target = &targets.numbers[at];
            subscribers.push(scope.spawn(move || subscribe(subscriber, address, life, target)));
        }
        let rounds = rounds(scope, address, life);
        let health = keep_busy(options, &mut broker, life);
        life.close();
        let rounds = all(rounds);
        life.stop();
        let devices = all(devices)?;
        let last = devices.iter().flat_map(|it| it.acked.values()).max();
        targets
            .events
            .store(last.copied().unwrap_or(0), Ordering::SeqCst);
        let mut published = Vec::new();
        for (publisher, target) in publishers.into_iter().zip(&targets.numbers) {
            let count = joined(publisher)?.published();
            target.store(count, Ordering::SeqCst);
            published.push(count);
        }
        let subscribers = all(subscribers)?;
        let (follower, kept) = (joined(follower)?, joined(kept)?);
        devices
            .iter()
            .try_for_each(|device| follower.has_all_of(device))?;
        let health = health?;
        Ok(format!(
            "{} events acknowledged and delivered, in order, without a hole ({} acknowledged as repeats, {} redelivered to the kept \
             session); {} numbers at QoS 1 ({} redelivered) and {} at QoS 2, each once; {} rounds of other things; {health}",
            devices.iter().map(|it| it.acked.len()).sum::<usize>(),
            devices.iter().map(|it| it.repeats).sum::<u64>(),
            kept.repeats,
            published[0],
            subscribers[0].repeats,
            published[1],
            rounds?.iter().sum::<u64>(),
        ))
    })
}

/// Restarts, samples and tells, for the whole time; what is to be said of memory and files, or what is wrong with them.
fn keep_busy(options: &Options, broker: &mut Broker, life: &Life) -> Result<String, String> {
    let (begin, whole) = (Instant::now(), Duration::from_secs(60 * options.minutes));
    let interval = Duration::from_secs(options.restart_seconds);
    let mut after_starts = Health::new();
    let mut restarts = 0;
    while begin.elapsed() + interval < whole * 2 / 3 && !life.is_failed() {
        pass(interval, life);
        let sample = after_starts.sample(broker);
        tell(begin, restarts, sample);
        restart(broker, life, restarts % 2 == 0)?;
        restarts += 1;
    }
    // A process that runs through comes to its size in the first minute.
    pass(interval, life);
    let mut running = Health::new();
    while begin.elapsed() < whole && !life.is_failed() {
        pass(SAMPLE_INTERVAL, life);
        let sample = running.sample(broker);
        if begin.elapsed().as_secs() % 60 < SAMPLE_INTERVAL.as_secs() {
            tell(begin, restarts, sample);
        }
    }
    let panics = broker.log().matches("panicked").count();
    let mut wrong = [after_starts.wrong(), running.wrong()].concat();
    if panics > 0 {
        wrong.push(format!("{panics} panics in the log"));
    }
    let slopes = (after_starts.slope_kib(), running.slope_kib());
    let told = format!(
        "{restarts} restarts; memory {:+.0} KiB a minute over the restarts, {:+.0} within the last process",
        slopes.0, slopes.1
    );
    match wrong.is_empty() {
        true => Ok(told),
        false => Err(format!("{}; {told}", wrong.join("; "))),
    }
}

fn restart(broker: &mut Broker, life: &Life, kindly: bool) -> Result<(), String> {
    life.disturb();
    let ended = match kindly {
        true => Ok(broker.terminate()),
        false => broker.kill(),
    };
    let status = ended.map_err(|error| format!("ending the broker: {error}"))?;
    if kindly && !status.success() {
        return Err(format!("SIGTERM ended the broker with {status}"));
    }
    broker.start_again();
    life.disturb();
    Ok(())
}

fn pass(time: Duration, life: &Life) {
    wait::poll(time, || life.is_failed().then_some(()));
}

fn tell(begin: Instant, restarts: u32, sample: health::Sample) {
    let seconds = begin.elapsed().as_secs();
    println!(
        "{:>3}:{:02}  {restarts} restarts, {} KiB resident, {} files open, {} KiB on disk",
        seconds / 60,
        seconds % 60,
        sample.resident_bytes >> 10,
        sample.open_files,
        sample.disk_bytes >> 10
    );
}

type Scope<'scope, 'env> = &'scope thread::Scope<'scope, 'env>;
type Working<'scope, T> = ScopedJoinHandle<'scope, Result<T, String>>;

fn devices<'scope>(
    scope: Scope<'scope, '_>,
    address: SocketAddr,
    life: &'scope Life,
    seed: u64,
) -> Vec<Working<'scope, Device>> {
    let mut dice = Dice::new(seed);
    let start = |_| {
        let mut device = Device::new(Dice::new(dice.next_u64()));
        scope.spawn(move || {
            life.keep_going("a device", || device.turn(address, life))?;
            Ok(device)
        })
    };
    (0..DEVICES).map(start).collect()
}

fn follow(address: SocketAddr, life: &Life, targets: &Targets) -> Result<Follower, String> {
    let mut follower = Follower::default();
    life.keep_going("a follower", || follower.turn(address, &targets.events))?;
    Ok(follower)
}

fn follow_kept(
    mut kept: Kept,
    address: SocketAddr,
    life: &Life,
    targets: &Targets,
) -> Result<Kept, String> {
    life.keep_going("a kept session", || kept.turn(address, &targets.events))?;
    Ok(kept)
}

fn publish(
    mut publisher: Publisher,
    address: SocketAddr,
    life: &Life,
) -> Result<Publisher, String> {
    life.keep_going("a publisher of numbers", || publisher.turn(address, life))?;
    Ok(publisher)
}

fn subscribe(
    mut subscriber: Subscriber,
    address: SocketAddr,
    life: &Life,
    target: &AtomicU64,
) -> Result<Subscriber, String> {
    life.keep_going("a subscriber of numbers", || {
        subscriber.turn(address, target)
    })?;
    Ok(subscriber)
}

/// Each on a thread of its own; how often they were had.
fn rounds<'scope>(
    scope: Scope<'scope, '_>,
    address: SocketAddr,
    life: &'scope Life,
) -> Vec<Working<'scope, u64>> {
    let mut retained = Retained::default();
    type Round = Box<dyn FnMut(SocketAddr, u64) -> Result<(), Trouble> + Send>;
    let all: [(&'static str, Round); 7] = [
        ("states", Box::new(|address, _| events::states(address))),
        ("wills", Box::new(rounds::will)),
        ("shared subscriptions", Box::new(rounds::shared)),
        (
            "retained messages",
            Box::new(move |address, at| retained.turn(address, at)),
        ),
        ("wildcards", Box::new(rounds::wildcard)),
        ("QoS 0", Box::new(rounds::at_most_once)),
        ("churn", Box::new(rounds::churn)),
    ];
    let start = |(name, mut round): (&'static str, Round)| {
        scope.spawn(move || {
            let mut at = 0;
            life.keep_going(name, || {
                if life.is_closing() {
                    return Ok(Next::Done);
                }
                round(address, at)?;
                at += 1;
                Ok(Next::Again)
            })?;
            Ok(at)
        })
    };
    all.into_iter().map(start).collect()
}

fn all<T>(working: Vec<Working<'_, T>>) -> Result<Vec<T>, String> {
    working.into_iter().map(joined).collect()
}

fn joined<T>(working: Working<'_, T>) -> Result<T, String> {
    working
        .join()
        .unwrap_or_else(|_| Err("a client panicked".to_owned()))
}
