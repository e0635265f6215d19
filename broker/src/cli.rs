//! The command line.

use std::fmt::Write;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{Flags, Options};

/// An MQTT broker that orders, stores, merges and compacts what it carries.
#[derive(Debug, Parser)]
#[command(name = "syncline", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `syncline` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the broker until SIGINT or SIGTERM.
    Serve(ConfigArgs),
    /// Check configuration and schema, and say what they amount to.
    Check(ConfigArgs),
}

/// The flags that win over environment and file.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// The configuration file; every key and its default are in config/broker.toml.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The folder for everything that must survive.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The address for MQTT over TCP, such as 127.0.0.1:1883.
    #[arg(long, value_name = "ADDR")]
    mqtt: Option<String>,
    /// The address for HTTP and MQTT over WebSocket, such as 127.0.0.1:8080.
    #[arg(long, value_name = "ADDR")]
    http: Option<String>,
    /// What the events mean (TOML).
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
}

impl From<ConfigArgs> for Flags {
    fn from(args: ConfigArgs) -> Self {
        let ConfigArgs {
            config,
            data,
            mqtt,
            http,
            schema,
        } = args;
        Self {
            config,
            data,
            mqtt,
            http,
            schema,
        }
    }
}

/// What a configuration amounts to, for `syncline check`.
pub fn summary(options: &Options) -> String {
    let lines = [
        ("mqtt", options.mqtt.to_string()),
        ("http", options.http.address.to_string()),
        ("data", options.data.display().to_string()),
        (
            "schema",
            format!("{} ({})", options.schema.hash(), options.schema_source),
        ),
        ("log", options.log_level.clone()),
    ];
    lines.iter().fold(String::new(), |mut text, (name, value)| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:<7} {value}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_reach_the_configuration() {
        let arguments = [
            "syncline",
            "serve",
            "--data",
            "d",
            "--mqtt",
            "127.0.0.1:1",
            "--http",
            "127.0.0.1:2",
        ];
        let Command::Serve(args) = Cli::try_parse_from(arguments).unwrap().command else {
            panic!("`serve` is Serve");
        };
        let flags = Flags::from(args);
        assert_eq!(flags.data, Some("d".into()));
        assert_eq!(flags.mqtt.as_deref(), Some("127.0.0.1:1"));
        assert_eq!(flags.http.as_deref(), Some("127.0.0.1:2"));
        assert_eq!((flags.config, flags.schema), (None, None));
    }

    #[test]
    fn check_says_what_it_resolved() {
        let options = crate::config::load(&Flags::default(), &Default::default()).unwrap();
        let summary = summary(&options);
        assert!(summary.contains("mqtt    127.0.0.1:1883\n"), "{summary}");
        assert!(summary.contains("data    ./data\n"), "{summary}");
        assert!(
            summary.contains(&options.schema.hash().to_string()),
            "{summary}"
        );
    }
}
