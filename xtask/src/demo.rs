//! `cargo demo`: the page, the broker, and what to try. `cargo demo --check` proves it and ends.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;

use clap::Args;

use crate::failure::Failure;
use crate::project::{Profile, Project};
use crate::proofs;
use crate::step::Step;
use crate::web;

const MQTT: &str = "127.0.0.1:1883";
const HTTP: &str = "127.0.0.1:8080";
/// What differs from the defaults, below the project's root.
const CONFIG: &str = "config/demo.toml";

#[derive(Args)]
pub(crate) struct Options {
    /// Start on free ports with a data folder of its own, star an album, verify, stop
    #[arg(long)]
    check: bool,
    /// Passed on to `syncline serve`, for example --mqtt 127.0.0.1:1884 --http 127.0.0.1:8081
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "FLAGS"
    )]
    serve: Vec<String>,
}

pub(crate) fn run(project: &Project, options: &Options) -> Result<(), Failure> {
    web::build_pages(project)?;
    if options.check {
        proofs::demo_check(project)
    } else {
        serve(project, options)
    }
}

/// Builds in debug: a release build takes several times as long, and a person with two windows
/// feels the wait for the first start but not the microseconds of an acknowledgement.
fn serve(project: &Project, options: &Options) -> Result<(), Failure> {
    println!("Building the broker (the first time takes a minute or two)");
    let build = project.cargo(&["build", "--package", "syncline-broker", "--bin", "syncline"]);
    Step::new("the broker", build, "cargo build").run()?;
    let mqtt = address(&options.serve, "--mqtt", MQTT)?;
    let http = address(&options.serve, "--http", HTTP)?;
    require_free(mqtt, "--mqtt")?;
    require_free(http, "--http")?;
    print!("{}", what_to_try(mqtt, http));
    Err(become_the_broker(project, options))
}

/// The broker takes this process's place, so that Ctrl-C and every other signal reach it directly
/// and its exit status is the demo's. Returns only if it could not be started.
fn become_the_broker(project: &Project, options: &Options) -> Failure {
    let mut broker = project.command(project.binary("syncline", Profile::Debug));
    broker.arg("serve");
    if !has_config(&options.serve) {
        broker.args(["--config", CONFIG]);
    }
    broker.args(options.serve.iter().filter(|flag| *flag != "--"));
    broker.env("SYNCLINE__HTTP__PAGES", web::pages(project));
    Failure::with_remedy(
        format!("starting the broker: {}", broker.exec()),
        "cargo build",
    )
}

/// Whether somebody brings a configuration of their own.
fn has_config(flags: &[String]) -> bool {
    flags
        .iter()
        .any(|flag| flag == "--config" || flag.starts_with("--config="))
}

/// The value of a flag that is passed on, in either of its forms.
fn address(flags: &[String], name: &str, default: &str) -> Result<SocketAddr, Failure> {
    let joined = format!("{name}=");
    let after = flags
        .iter()
        .position(|flag| flag == name)
        .and_then(|at| flags.get(at + 1));
    let value = after
        .map(String::as_str)
        .or_else(|| flags.iter().find_map(|flag| flag.strip_prefix(&joined)))
        .unwrap_or(default);
    value.parse().map_err(|_| {
        let what = format!("{name} {value:?} is not an address with a port");
        Failure::with_remedy(what, format!("cargo demo {name} {default}"))
    })
}

fn require_free(address: SocketAddr, flag: &str) -> Result<(), Failure> {
    let Err(error) = TcpListener::bind(address) else {
        return Ok(());
    };
    let other = SocketAddr::new(address.ip(), address.port().wrapping_add(1).max(1024));
    let what = format!("{address} cannot be used: {error}");
    Err(Failure::with_remedy(
        what,
        format!("cargo demo {flag} {other}, or stop what is using it"),
    ))
}

fn what_to_try(mqtt: SocketAddr, http: SocketAddr) -> String {
    let (host, port) = (mqtt.ip(), mqtt.port());
    format!(
        r#"
  The music library   http://{http}/?sync=demo
  Two devices at once http://{http}/split.html?sync=demo
  MQTT 3.1.1 and 5    mqtt://{mqtt}   and over WebSocket   ws://{http}/mqtt

  Try:
    1. Open the page in two windows and star an album in one of them. Rate a track, write a note on a record
       in both at once, and queue something in the room.
    2. Watch every message as text:
         mosquitto_sub -h {host} -p {port} -t '$json/sync/#' -v
    3. Star an album from the command line and see it in both windows:
         mosquitto_pub -h {host} -p {port} -q 1 -t sync/demo/events \
           -m '{{"event_type":"star_album","event_data":{{"album_id":"lantern-year"}}}}'
    4. Stop the broker with Ctrl-C, star something in a window, start it again.

"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn an_address_that_is_passed_on_is_seen_in_both_forms() {
        for text in ["--mqtt 127.0.0.1:1", "-- --data x --mqtt=127.0.0.1:1"] {
            assert_eq!(address(&flags(text), "--mqtt", MQTT).unwrap().port(), 1);
        }
        assert_eq!(
            address(&flags("--data x"), "--mqtt", MQTT).unwrap().port(),
            1883
        );
        assert!(address(&flags("--mqtt nowhere"), "--mqtt", MQTT).is_err());
    }

    #[test]
    fn a_configuration_of_ones_own_takes_the_place_of_the_demos() {
        assert!(!has_config(&flags("--mqtt 127.0.0.1:1")));
        assert!(has_config(&flags("--config x.toml")) && has_config(&flags("--config=x.toml")));
    }

    #[test]
    fn a_port_in_use_is_named_with_the_remedy() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let text = require_free(address, "--mqtt").unwrap_err().to_string();
        assert!(
            text.contains(&address.to_string()) && text.contains("cargo demo --mqtt"),
            "{text}"
        );
    }

    #[test]
    fn what_to_try_names_the_addresses_in_use() {
        let text = what_to_try(
            "127.0.0.1:9".parse().unwrap(),
            "127.0.0.1:10".parse().unwrap(),
        );
        assert!(
            text.contains("-p 9 ") && text.contains("http://127.0.0.1:10/"),
            "{text}"
        );
        assert!(
            text.contains(r#"{"event_type":"star_album","event_data":{"#),
            "{text}"
        );
    }
}
