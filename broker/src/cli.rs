//! The command line.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{Flags, Options};
use crate::edge::{PortOptions, Ports};
use crate::history::{
    BackupRequest, EraseRequest, ExportRequest, ImportRequest, LogRequest, MigrateRequest,
    StateRequest, VerifyRequest,
};
use crate::transport::{Port, ProxyOptions, TlsFacts, TransportOptions};

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
    /// Show the state of a stream, also as it was.
    State(StateArgs),
    /// List events.
    Log(LogArgs),
    /// Write streams into a file of lines (docs/export-format.md).
    Export(ExportArgs),
    /// Make the streams of such a file; the broker must be stopped.
    Import(ImportArgs),
    /// Check that everything adds up: order, states, digests, marks.
    Verify(VerifyArgs),
    /// Copy everything into one file, also while the broker runs.
    Backup(BackupArgs),
    /// Make a data directory of a backup.
    Restore(RestoreArgs),
    /// Let the running broker read its certificates, users and rules again: all of them, or none and the reason.
    Reload(DataArgs),
    /// Set or remove a user's password in a password file (`auth.passwords`).
    Passwd(PasswdArgs),
    /// Forget everything of a sync group.
    Erase(EraseArgs),
    /// Say what a changed schema does to the data, and do it; the broker must be stopped.
    Migrate(MigrateArgs),
    /// Shrink the files to what they hold; the broker must be stopped.
    Compact(DataArgs),
}

/// Which data.
#[derive(Debug, Args)]
pub struct DataArgs {
    /// The configuration file of the broker.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The broker's data directory.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl From<DataArgs> for Flags {
    fn from(DataArgs { config, data }: DataArgs) -> Self {
        Self {
            config,
            data,
            ..Self::default()
        }
    }
}

/// Which data, read by which schema.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    #[command(flatten)]
    data: DataArgs,
    /// What the events mean (TOML).
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
}

impl From<SchemaArgs> for Flags {
    fn from(SchemaArgs { data, schema }: SchemaArgs) -> Self {
        Self {
            schema,
            ..Self::from(data)
        }
    }
}

macro_rules! asked {
    ($($(#[$doc:meta])* $name:ident($at:ty, $request:ty);)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Args)]
        pub struct $name {
            /// Of which data.
            #[command(flatten)]
            pub at: $at,
            /// What.
            #[command(flatten)]
            pub request: $request,
        }
    )*};
}

asked! {
    /// Of `syncline state`.
    StateArgs(DataArgs, StateRequest);
    /// Of `syncline log`.
    LogArgs(DataArgs, LogRequest);
    /// Of `syncline verify`.
    VerifyArgs(DataArgs, VerifyRequest);
    /// Of `syncline backup`.
    BackupArgs(DataArgs, BackupRequest);
    /// Of `syncline erase`.
    EraseArgs(DataArgs, EraseRequest);
    /// Of `syncline import`.
    ImportArgs(SchemaArgs, ImportRequest);
    /// Of `syncline migrate`.
    MigrateArgs(SchemaArgs, MigrateRequest);
}

/// Of `syncline export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Of which data.
    #[command(flatten)]
    pub at: DataArgs,
    /// What.
    #[command(flatten)]
    pub request: ExportRequest,
    /// The file to write; it must not exist yet. Standard output without it.
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// Of `syncline restore`.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The file that `syncline backup` wrote.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The data directory to make; it must be empty or new.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
}

/// Of `syncline passwd`.
#[derive(Debug, Args)]
pub struct PasswdArgs {
    /// The password file. It is made, for its owner alone, if it does not exist.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Whose password.
    #[arg(value_name = "USER")]
    pub user: String,
    /// Read the password, a line, from standard input instead of asking on the terminal.
    #[arg(long, conflicts_with = "delete")]
    pub stdin: bool,
    /// Remove the user.
    #[arg(long)]
    pub delete: bool,
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
pub fn summary(options: &Options, certificates: Option<&TlsFacts>) -> String {
    let mut lines = vec![
        ("mqtt", options.mqtt.to_string()),
        ("http", options.http.address.to_string()),
        ("data", options.data.display().to_string()),
        (
            "schema",
            format!("{} ({})", options.schema.hash(), options.schema_source),
        ),
        ("log", options.log_level.clone()),
    ];
    lines.extend(transports(&options.transports, certificates));
    lines.extend(limits(&options.edge.ports));
    lines.iter().fold(String::new(), |mut text, (name, value)| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:<7} {value}");
        text
    })
}

/// What there is beside the plain ports.
fn transports(
    options: &TransportOptions,
    certificates: Option<&TlsFacts>,
) -> Vec<(&'static str, String)> {
    let address = |name, address: Option<SocketAddr>| address.map(|it| (name, it.to_string()));
    let unix = options.mqtt_unix.as_ref();
    let ports = [
        address("mqtts", options.mqtt_tls),
        address("https", options.http_tls),
        unix.map(|path| ("unix", path.display().to_string())),
    ];
    let mut lines: Vec<_> = ports.into_iter().flatten().collect();
    if let Some(facts) = certificates {
        lines.push(("tls", facts.certificate.to_string()));
        let cas = facts.client_cas.iter();
        lines.extend(cas.map(|ca| ("clients", format!("of {ca}"))));
    }
    let ProxyOptions { ports, .. } = &options.proxy;
    if !ports.is_empty() {
        let keys: Vec<_> = ports.iter().map(|port| port.key()).collect();
        lines.push(("proxy", format!("before {}", keys.join(", "))));
    }
    lines
}

/// What ports have of their own.
fn limits(ports: &Ports) -> Vec<(&'static str, String)> {
    let of_port = |(port, own): (&Port, &PortOptions)| {
        let none_as_any = |max: u32| match max {
            0 => "any".to_owned(),
            max => max.to_string(),
        };
        let text = format!(
            "{}: {} connections, {} per s, packets to {} bytes",
            port.key(),
            none_as_any(own.connections_max),
            none_as_any(own.connections_per_s),
            own.packet_bytes_max
        );
        ("limits", text)
    };
    ports.iter().map(of_port).collect()
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
        let summary = summary(&options, None);
        assert!(summary.contains("mqtt    127.0.0.1:1883\n"), "{summary}");
        assert!(summary.contains("data    ./data\n"), "{summary}");
        assert!(
            summary.contains(&options.schema.hash().to_string()),
            "{summary}"
        );
        assert!(!summary.contains("limits"), "{summary}");
    }

    #[test]
    fn check_says_what_ports_have_of_their_own() {
        let name = "SYNCLINE__LIMITS__PORTS__HTTP__ADDRESS__CONNECTIONS_MAX";
        let environment = [(name.to_owned(), "7".to_owned())].into();
        let options = crate::config::load(&Flags::default(), &environment).unwrap();
        let summary = summary(&options, None);
        let said = "limits  http.address: 7 connections, any per s, packets to 1048576 bytes\n";
        assert!(summary.contains(said), "{summary}");
    }
}
