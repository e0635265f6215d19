//! Programs that do not come with Cargo: which are here, and how to get the others.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::failure::Failure;

/// What the whole check needs beside Rust and Node: any one of the programs will do.
struct Tool {
    programs: &'static [&'static str],
    package: &'static str,
}

const CHROMIUM: Tool = Tool {
    programs: &[
        "chromium",
        "chromium-browser",
        "google-chrome",
        "google-chrome-stable",
    ],
    package: "chromium",
};
const MOSQUITTO: Tool = Tool {
    programs: &["mosquitto"],
    package: "mosquitto",
};
const MOSQUITTO_PUB: Tool = Tool {
    programs: &["mosquitto_pub"],
    package: "mosquitto-clients",
};
const TOOLS: [&Tool; 3] = [&MOSQUITTO, &MOSQUITTO_PUB, &CHROMIUM];

/// Names the browser for the browser tests.
pub(crate) const CHROMIUM_VARIABLE: &str = "CHROMIUM";

impl Tool {
    fn find(&self) -> Option<PathBuf> {
        self.programs
            .iter()
            .find_map(|program| find_program(program))
    }
}

pub(crate) fn chromium() -> Option<PathBuf> {
    env::var_os(CHROMIUM_VARIABLE)
        .map(PathBuf::from)
        .or_else(|| CHROMIUM.find())
}

/// Looks where `PATH` says, and where Debian puts daemons.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin", "/snap/bin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
}

/// The oldest Node (major, minor) that Vite accepts.
const NODE_MIN: (u32, u32) = (20, 19);

/// Node 20, or newer, with npm.
pub(crate) fn require_node() -> Result<(), Failure> {
    let remedy = "install Node 20.19 or newer with npm: https://nodejs.org/en/download, or \
                  `sudo apt-get install nodejs npm` where that is new enough";
    let version = output("node", &["--version"])
        .ok_or_else(|| Failure::with_remedy("Node is not installed", remedy))?;
    if node_version(&version).is_none_or(|version| version < NODE_MIN) {
        let what = format!("Node is {}, Syncline's page needs 20.19", version.trim());
        return Err(Failure::with_remedy(what, remedy));
    }
    match output("npm", &["--version"]) {
        Some(_) => Ok(()),
        None => Err(Failure::with_remedy("npm is not installed", remedy)),
    }
}

fn node_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().strip_prefix('v')?.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Installs what is missing when that needs no question; else says the one command.
pub(crate) fn require_all() -> Result<(), Failure> {
    require_node()?;
    let missing = missing_packages();
    if missing.is_empty() {
        return Ok(());
    }
    let by_hand = format!(
        "sudo apt-get update && sudo apt-get install -y {}",
        missing.join(" ")
    );
    let what = format!("missing: {}", missing.join(", "));
    let Some(privilege) = Privilege::find() else {
        return Err(Failure::with_remedy(what, by_hand));
    };
    println!("{what}; installing");
    let with_broker = missing.contains(&MOSQUITTO.package);
    if !privilege.install(&missing) || !missing_packages().is_empty() {
        return Err(Failure::with_remedy(
            format!("{what}; apt-get did not bring it"),
            by_hand,
        ));
    }
    if with_broker {
        privilege.switch_off_the_service();
    }
    Ok(())
}

fn missing_packages() -> Vec<&'static str> {
    let chromium_named =
        env::var_os(CHROMIUM_VARIABLE).is_some_and(|path| Path::new(&path).is_file());
    TOOLS
        .iter()
        .filter(|tool| {
            tool.find().is_none() && !(chromium_named && tool.package == CHROMIUM.package)
        })
        .map(|tool| package_here(tool))
        .collect()
}

/// Ubuntu names its Chromium otherwise.
fn package_here(tool: &Tool) -> &'static str {
    let ubuntu = fs::read_to_string("/etc/os-release").is_ok_and(|text| is_ubuntu(&text));
    if ubuntu && tool.package == CHROMIUM.package {
        "chromium-browser"
    } else {
        tool.package
    }
}

fn is_ubuntu(os_release: &str) -> bool {
    os_release.lines().any(|line| line == "ID=ubuntu")
}

#[derive(Clone, Copy)]
enum Privilege {
    Root,
    Sudo,
}

impl Privilege {
    fn find() -> Option<Self> {
        find_program("apt-get")?;
        match output("id", &["-u"]) {
            Some(id) if id.trim() == "0" => Some(Privilege::Root),
            _ => output("sudo", &["-n", "true"]).map(|_| Privilege::Sudo),
        }
    }

    fn command(self, program: &str) -> Command {
        let mut command = match self {
            Privilege::Root => Command::new("env"),
            Privilege::Sudo => {
                let mut sudo = Command::new("sudo");
                sudo.args(["-n", "env"]);
                sudo
            }
        };
        command
            .args(["DEBIAN_FRONTEND=noninteractive", program])
            .stdin(Stdio::null());
        command
    }

    fn install(self, packages: &[&str]) -> bool {
        let succeeds = |arguments: &[&str]| {
            self.command("apt-get")
                .args(arguments)
                .status()
                .is_ok_and(|status| status.success())
        };
        // A failing update (one mirror of many) need not keep the install from succeeding.
        succeeds(&["update", "-q"]);
        succeeds(
            &[
                &["install", "-y", "-q", "--no-install-recommends"],
                packages,
            ]
            .concat(),
        )
    }

    /// Debian's package starts a broker on 1883, where the demo listens. Only a service that this
    /// very run brought is switched off; where there is no systemd there is none to switch.
    fn switch_off_the_service(self) {
        if find_program("systemctl").is_some() {
            let mut command = self.command("systemctl");
            command.args(["disable", "--now", "mosquitto"]);
            let done = command
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success());
            println!(
                "mosquitto's own service on port 1883: {}",
                if done { "off" } else { "none" }
            );
        }
    }
}

/// What a program prints, if it is there and succeeds.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_version_is_read() {
        assert_eq!(node_version("v20.20.2\n"), Some((20, 20)));
        assert_eq!(node_version("20"), None);
        assert!(node_version("v18.19.0") < Some(NODE_MIN));
    }

    #[test]
    fn ubuntu_is_told_from_debian() {
        assert!(is_ubuntu("NAME=\"Ubuntu\"\nID=ubuntu\nID_LIKE=debian\n"));
        assert!(!is_ubuntu(
            "ID=debian\nHOME_URL=\"https://ubuntu.example\"\n"
        ));
    }

    #[test]
    fn programs_are_found_on_the_path() {
        assert!(find_program("sh").is_some());
        assert!(find_program("no-such-program-anywhere").is_none());
    }
}
