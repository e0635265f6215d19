//! The binary `syncline`: command line, logs and signals around the library.

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use syncline_broker::cli::{Cli, Command, summary};
use syncline_broker::config::{self, Environment, Options};
use syncline_broker::run;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

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
        Command::Check(args) => {
            let options = config::load(&args.into(), &environment())?;
            log_filter(&options)?;
            print!("{}", summary(&options));
            Ok(())
        }
        Command::Serve(args) => {
            let options = config::load(&args.into(), &environment())?;
            let filter = log_filter(&options)?;
            tracing_subscriber::fmt()
                .with_env_filter(filter)
                .with_writer(std::io::stderr)
                .init();
            serve(options)
        }
    }
}

fn serve(options: Options) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let shutdown = async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        run::run(options, shutdown).await?;
        Ok(())
    })
}

/// The bus's own library stays silent unless it is named: what matters of it the router tells.
fn log_filter(options: &Options) -> Result<EnvFilter, Box<dyn Error>> {
    let level = &options.log_level;
    EnvFilter::try_new(format!("rumqttd=off,{level}"))
        .map_err(|error| format!("`log.level`: {error}").into())
}

/// Names and values that are not text cannot be ours.
fn environment() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
