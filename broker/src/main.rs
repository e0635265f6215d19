//! The binary `syncline`: command line, logs and signals around the library.

use std::error::Error;
use std::io::{self, IsTerminal};
use std::process::ExitCode;

use clap::Parser;
use syncline_broker::cli::{Cli, Command};
use syncline_broker::commands;
use syncline_broker::config::{self, Environment, Flags, Options};
use syncline_broker::run::{self, Configuration};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tracing_subscriber::EnvFilter;

/// Gives memory that many clients took back to the system once they are gone, which the system's own does not.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match execute(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("syncline: {error}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> Result<(), Box<dyn Error>> {
    match command {
        Command::Serve(args) => {
            let flags = Flags::from(args);
            let options = config::load(&flags, &environment())?;
            let log_level = start_logs(&options.log_level);
            let read = Box::new(move || config::load(&flags, &environment()));
            serve(options, Configuration { read, log_level })
        }
        other => {
            let _fixed = start_logs("warn");
            commands::execute(other, &environment(), &mut io::stdout().lock())
        }
    }
}

/// Returns what takes another filter.
fn start_logs(level: &str) -> Box<dyn Fn(&str) + Send + Sync> {
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter(level))
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .with_filter_reloading();
    let handle = subscriber.reload_handle();
    subscriber.init();
    Box::new(move |level| {
        if let Err(error) = handle.reload(filter(level)) {
            tracing::warn!(%error, "the log's level was not changed");
        }
    })
}

/// The bus's own library stays silent unless it is named: what matters of it the router tells.
fn filter(level: &str) -> EnvFilter {
    EnvFilter::new(format!("rumqttd=off,{level}"))
}

fn serve(options: Options, configuration: Configuration) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let shutdown = async move {
            signals.next().await;
            tracing::info!("draining; a second signal ends at once");
            tokio::spawn(async move {
                signals.next().await;
                std::process::exit(1);
            });
        };
        run::run(options, (configuration, hangups()?), shutdown).await?;
        Ok(())
    })
}

/// SIGHUP, as often as there is time for it: those that come together count once.
fn hangups() -> io::Result<mpsc::Receiver<()>> {
    let mut hangup = signal(SignalKind::hangup())?;
    let (tell, told) = mpsc::channel(1);
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            // Full: one that is about to begin sees whatever this one would.
            let _ = tell.try_send(());
        }
    });
    Ok(told)
}

/// SIGINT and SIGTERM mean the same.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// A name that is not text cannot be ours.
fn environment() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| {
            Some((
                name.into_string().ok()?,
                value.to_string_lossy().into_owned(),
            ))
        })
        .collect()
}
