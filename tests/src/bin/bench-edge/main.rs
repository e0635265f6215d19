//! What the edge does a second, and what a connection costs that does nothing: Syncline beside Mosquitto and beside stock
//! rumqttd, with the same client code over raw TCP at 3.1.1, in rounds that take turns, one thing after the other. Nothing is asserted about time.

mod idle;
mod load;
mod table;

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;
use syncline_tests::broker::{Broker, Setup};
use syncline_tests::mosquitto::Mosquitto;
use syncline_tests::process::Process;
use syncline_tests::stock_broker::StockBroker;

use crate::load::{Load, SCENARIOS, Scenario};
use crate::table::Table;

/// Measures the edge beside other brokers.
#[derive(Parser)]
struct Options {
    /// Rounds per broker
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Messages of a round at QoS 1 and of events; QoS 0 has twice as many, QoS 2 half as many
    #[arg(long, default_value_t = 40_000)]
    messages: usize,
    /// Only what has this in its title
    #[arg(long)]
    only: Option<String>,
    /// Connections that do nothing; 0: do not measure them
    #[arg(long, default_value_t = 10_000)]
    idle: usize,
}

impl Options {
    fn wants(&self, title: &str) -> bool {
        self.only.as_ref().is_none_or(|part| title.contains(part))
    }
}

/// A broker that is measured.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) process: Process,
}

/// The brokers, each in a process of its own until this is dropped.
pub(crate) struct Brokers {
    syncline: Broker,
    mosquitto: Mosquitto,
    stock: Option<StockBroker>,
}

impl Brokers {
    pub(crate) fn start() -> io::Result<Self> {
        let syncline = Setup::new().variable("SYNCLINE__LIMITS__CONNECTIONS_MAX", "20000");
        Ok(Self {
            syncline: syncline.start(),
            mosquitto: Mosquitto::start()?,
            stock: StockBroker::start()?,
        })
    }

    pub(crate) fn targets(&self) -> Vec<Target> {
        let target = |name, address, process| Target {
            name,
            address,
            process,
        };
        let (ours, theirs) = (&self.syncline, &self.mosquitto);
        let mut targets = vec![
            target("mosquitto", theirs.address(), theirs.process()),
            target("syncline", ours.mqtt(), ours.process()),
        ];
        let third = self.stock.as_ref();
        targets.extend(third.map(|it| target("rumqttd", it.address(), it.process())));
        targets
    }
}

const PROMISES: &str = "\
what each promises in this run:
  syncline   ordinary topics: sessions that are not kept wait in memory, QoS 2 ids too; sync/ events: PUBACK after an fsync,
             one order for all, delivered after they are stored
  mosquitto  persistence off: nothing is on disk, sync/ is a topic like any other
  rumqttd    nothing is on disk, sync/ is a topic like any other; its sample configuration, without its pause of a
             millisecond after each connection
publishing is to topics that nobody follows; subscribing comes last, because rumqttd keeps every filter for ever and looks
through all of them at each message that nobody follows";

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("bench edge: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> io::Result<()> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    let idle = idle::measure(options.idle)?;
    let brokers = Brokers::start()?;
    let targets = brokers.targets();
    if targets.len() < 3 {
        println!("RUMQTTD_BIN names no rumqttd: without it");
    }
    let mut table = Table::new(targets.iter().map(|it| it.name).collect());
    for scenario in SCENARIOS.iter().filter(|it| options.wants(it.title)) {
        for round in 1..=options.rounds {
            measure(options, round, scenario, &targets, &mut table);
        }
    }
    println!(
        "\n{PROMISES}\n\nper second, medians of {} rounds\n{table}",
        options.rounds
    );
    if let Some(idle) = idle {
        println!(
            "\nbytes of resident memory per connection, {} of them\n{idle}",
            options.idle
        );
    }
    Ok(())
}

/// A broker that fails at something is told of and has no figure there.
fn measure(
    options: &Options,
    round: u32,
    scenario: &Scenario,
    targets: &[Target],
    table: &mut Table,
) {
    for target in targets {
        let load = Load {
            address: target.address,
            round,
            messages: options.messages,
        };
        let (title, name) = (scenario.title, target.name);
        match (scenario.run)(&load) {
            Ok(rate) => {
                println!("  round {round} {title:<28} {name:>9} {rate:>10.0}");
                table.add(title, name, rate);
            }
            Err(error) => println!("  round {round} {title:<28} {name:>9} {error}"),
        }
    }
}
