//! Mosquitto's programs as people use them: its command-line clients, and its broker to compare with.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use tempfile::TempDir;

use crate::process::Process;
use crate::wire::Version;
use crate::{ports, wait};

/// `stdbuf` (coreutils) has them print line by line into a pipe as into a terminal.
fn client(program: &str, address: SocketAddr, version: Version) -> Command {
    let mut command = Command::new("stdbuf");
    command.args(["-oL", program]);
    let version = match version {
        Version::V311 => "mqttv311",
        Version::V5 => "mqttv5",
    };
    command.args(["-V", version, "-h", &address.ip().to_string()]);
    command
        .args(["-p", &address.port().to_string()])
        .stdin(Stdio::null());
    command
}

/// `mosquitto_pub -q 1`: returns when the broker has acknowledged.
///
/// # Panics
/// When the program is not installed.
#[must_use]
pub fn publish(address: SocketAddr, version: Version, topic: &str, payload: &str) -> Output {
    publish_with(address, version, &["-q", "1", "-t", topic, "-m", payload])
}

/// `mosquitto_pub` with arguments of one's own.
///
/// # Panics
/// When the program is not installed.
#[must_use]
pub fn publish_with(address: SocketAddr, version: Version, arguments: &[&str]) -> Output {
    let output = client("mosquitto_pub", address, version)
        .args(arguments)
        .output();
    output.expect("mosquitto_pub is installed (package mosquitto-clients)")
}

/// `mosquitto_sub -v`, whose lines can be waited for.
#[derive(Debug)]
pub struct Subscriber {
    child: Child,
    lines: Receiver<String>,
}

impl Subscriber {
    /// Subscribes at QoS 1 and waits for the broker's SUBACK.
    ///
    /// # Panics
    /// When the program is not installed or the subscription does not succeed.
    #[must_use]
    pub fn start(address: SocketAddr, version: Version, filter: &str) -> Self {
        let subscriber = Self::come_back(address, version, filter, &[]);
        subscriber.wait_for_suback();
        subscriber
    }

    /// One that comes back to its session, with more arguments: messages come before its SUBACK.
    ///
    /// # Panics
    /// When the program is not installed.
    #[must_use]
    pub fn come_back(
        address: SocketAddr,
        version: Version,
        filter: &str,
        arguments: &[&str],
    ) -> Self {
        let mut command = client("mosquitto_sub", address, version);
        command
            .args(["-q", "1", "-v", "-d", "-t", filter])
            .args(arguments)
            .stdout(Stdio::piped());
        let mut child = command
            .stderr(Stdio::null())
            .spawn()
            .expect("mosquitto_sub is installed");
        let output = child.stdout.take().expect("stdout is piped");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            for line in lines {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// Waits until it has subscribed.
    ///
    /// # Panics
    /// When it does not.
    pub fn wait_for_suback(&self) {
        self.raw_line("the SUBACK", |line| line.starts_with("Subscribed"));
    }

    /// The next message that `wanted` accepts, as `<topic> <payload>`; others are passed over.
    ///
    /// # Panics
    /// When it does not come.
    #[must_use]
    pub fn message(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        self.raw_line(what, |line| !is_debugging(line) && wanted(line))
    }

    /// The next `count` messages, whatever they are.
    ///
    /// # Panics
    /// When fewer come.
    #[must_use]
    pub fn messages(&self, count: usize) -> Vec<String> {
        (0..count)
            .map(|at| self.message(&format!("message {at} of {count}"), |_| true))
            .collect()
    }

    /// The next line of any kind that `wanted` accepts, those about packets included.
    ///
    /// # Panics
    /// When it does not come.
    #[must_use]
    pub fn line(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        self.raw_line(what, wanted)
    }

    fn raw_line(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let mut seen = Vec::new();
        loop {
            match self.lines.recv_timeout(wait::PATIENCE) {
                Ok(line) if wanted(&line) => return line,
                Ok(line) => seen.push(line),
                Err(error) => panic!("mosquitto_sub, {what}: {error}; seen: {seen:#?}"),
            }
        }
    }
}

/// Lines of `-d`, which mosquitto_sub prints among the messages.
fn is_debugging(line: &str) -> bool {
    line.starts_with("Client ") || line.starts_with("Subscribed")
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A Mosquitto broker without persistence and without limits of its queues.
#[derive(Debug)]
pub struct Mosquitto {
    child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Mosquitto {
    /// Starts it on a free port and waits until it accepts.
    ///
    /// # Errors
    /// When it is not installed or does not start.
    pub fn start() -> io::Result<Self> {
        let folder = TempDir::with_prefix("mosquitto-")?;
        let address = ports::free();
        let config = folder.path().join("mosquitto.conf");
        let text = format!(
            "listener {} {}\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\n\
             max_queued_messages 0\nmax_connections -1\n",
            address.port(),
            address.ip()
        );
        fs::write(&config, text)?;
        let mut command = Command::new(program());
        command
            .arg("-c")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let child = command.stderr(Stdio::null()).spawn()?;
        wait::until("Mosquitto", || TcpStream::connect(address).ok());
        Ok(Self {
            child,
            address,
            _folder: folder,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    #[must_use]
    pub fn process(&self) -> Process {
        Process::new(self.child.id())
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Debian puts it where only the administrator's path leads.
fn program() -> PathBuf {
    let daemon = Path::new("/usr/sbin/mosquitto");
    if daemon.is_file() {
        daemon.to_path_buf()
    } else {
        PathBuf::from("mosquitto")
    }
}
