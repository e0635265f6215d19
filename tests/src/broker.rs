//! The real binary `syncline` in a folder of its own, on free ports.

use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::thread;

use tempfile::TempDir;

use crate::process::Process;
use crate::{http, ports, wait, wire};

/// How to start a broker.
#[derive(Debug)]
pub struct Setup {
    mqtt: String,
    http: String,
    data: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    folder: TempDir,
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}

impl Setup {
    /// Free ports, an empty data folder, every setting at its default.
    ///
    /// # Panics
    /// When no folder can be made.
    #[must_use]
    pub fn new() -> Self {
        let folder = TempDir::with_prefix("syncline-").expect("a temporary folder");
        Self {
            mqtt: ports::free().to_string(),
            http: ports::free().to_string(),
            data: folder.path().join("data"),
            arguments: Vec::new(),
            environment: Vec::new(),
            folder,
        }
    }

    /// Sets a key by its environment variable, such as `SYNCLINE__HTTP__PAGES`.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Adds flags to `syncline serve`.
    #[must_use]
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments
            .extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// Listens for MQTT here.
    #[must_use]
    pub fn mqtt(mut self, address: &str) -> Self {
        self.mqtt = address.to_owned();
        self
    }

    /// Keeps its data here, perhaps where another broker does.
    #[must_use]
    pub fn data(mut self, folder: &Path) -> Self {
        self.data = folder.to_path_buf();
        self
    }

    /// Writes a configuration file and passes it on.
    ///
    /// # Panics
    /// When the file cannot be written.
    #[must_use]
    pub fn config(self, text: &str) -> Self {
        let path = self.folder.path().join("broker.toml");
        fs::write(&path, text).expect("a configuration file");
        let path = path.display().to_string();
        self.arguments(&["--config", &path])
    }

    /// Starts the broker and waits until it is ready.
    ///
    /// # Panics
    /// When it does not become ready; the message has its log.
    #[must_use]
    pub fn start(self) -> Broker {
        let child = self.spawn();
        let mut broker = Broker { child, setup: self };
        broker.wait_until_ready();
        broker
    }

    /// Starts a broker that is expected to refuse: its exit status and everything it said.
    ///
    /// # Panics
    /// When it runs on.
    #[must_use]
    pub fn start_refused(self) -> (ExitStatus, String) {
        let mut child = self.spawn();
        let ended = wait::poll(wait::PATIENCE, || child.try_wait().ok().flatten());
        let Some(status) = ended else {
            let _ = child.kill();
            panic!(
                "the broker was expected to refuse, but runs: {}",
                self.log()
            );
        };
        (status, self.log())
    }

    fn spawn(&self) -> Child {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path());
        let log = log.expect("a log file");
        let mut command = Command::new(binary());
        command.args([
            "serve", "--mqtt", &self.mqtt, "--http", &self.http, "--data",
        ]);
        command
            .arg(&self.data)
            .args(&self.arguments)
            .current_dir(self.folder.path());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
            .stdin(Stdio::null())
            .stderr(log.try_clone().expect("a second handle"))
            .stdout(log);
        command.spawn().expect("the binary syncline starts")
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("broker.log")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }
}

/// A running broker. Dropped, it is killed and its folder removed.
#[derive(Debug)]
pub struct Broker {
    child: Child,
    setup: Setup,
}

impl Broker {
    /// A broker with every setting at its default.
    #[must_use]
    pub fn start() -> Self {
        Setup::new().start()
    }

    /// Where it listens for MQTT.
    ///
    /// # Panics
    /// When it was set up with something that is no address.
    #[must_use]
    pub fn mqtt(&self) -> SocketAddr {
        self.setup.mqtt.parse().expect("an address")
    }

    /// Where it listens for HTTP.
    ///
    /// # Panics
    /// As [`Broker::mqtt`].
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        self.setup.http.parse().expect("an address")
    }

    /// Its data folder.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.setup.data
    }

    /// Its resident memory.
    ///
    /// # Panics
    /// Where there is no `/proc`.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        let bytes = self.process().resident_bytes();
        bytes.expect("Linux tells of its processes")
    }

    /// Its process, another one after each start.
    #[must_use]
    pub fn process(&self) -> Process {
        Process::new(self.child.id())
    }

    /// Everything it said since its first start.
    #[must_use]
    pub fn log(&self) -> String {
        self.setup.log()
    }

    /// A command of `syncline` on this broker's data, and what it said.
    ///
    /// # Panics
    /// When the binary does not start.
    #[must_use]
    pub fn ask(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(binary());
        command.args(arguments).arg("--data").arg(self.data());
        command.output().expect("the binary syncline starts")
    }

    /// `kill -9`, and the end of the process.
    ///
    /// # Errors
    /// When the process cannot be killed or waited for.
    pub fn kill(&mut self) -> io::Result<ExitStatus> {
        self.child.kill()?;
        self.child.wait()
    }

    /// SIGTERM, and the exit status of the drained broker.
    ///
    /// # Panics
    /// When it does not end.
    pub fn terminate(&mut self) -> ExitStatus {
        self.end_by("TERM")
    }

    /// Sends a signal and waits for the end of the process.
    ///
    /// # Panics
    /// When it does not end.
    pub fn end_by(&mut self, signal: &str) -> ExitStatus {
        self.signal(signal);
        wait::until("the end of the broker", || {
            self.child.try_wait().ok().flatten()
        })
    }

    /// Sends a signal and goes on.
    ///
    /// # Panics
    /// When there is no such process.
    pub fn signal(&self, name: &str) {
        let script = format!("kill -{name} {}", self.child.id());
        let status = Command::new("sh")
            .args(["-c", &script])
            .status()
            .expect("sh runs");
        assert!(status.success(), "{script}: {status}");
    }

    /// Starts it again on the same ports and data after it has ended.
    ///
    /// # Panics
    /// As [`Setup::start`].
    pub fn start_again(&mut self) {
        self.child = self.setup.spawn();
        self.wait_until_ready();
    }

    fn wait_until_ready(&mut self) {
        let (child, setup) = (&mut self.child, &self.setup);
        let address = setup.http.parse().expect("an address");
        if let Ok(mqtt) = setup.mqtt.parse() {
            wire::note_websocket(mqtt, address);
        }
        let ready = wait::poll(wait::PATIENCE, || match child.try_wait() {
            Ok(Some(status)) => Some(Err(status)),
            _ => http::get(address, "/readyz")
                .is_ok_and(|a| a.status == 200)
                .then_some(Ok(())),
        });
        match ready {
            Some(Ok(())) => {}
            Some(Err(status)) => panic!("the broker ended with {status}:\n{}", setup.log()),
            None => panic!("the broker does not become ready:\n{}", setup.log()),
        }
    }
}

/// For calls that need nothing of a broker but its MQTT address.
impl From<&Broker> for SocketAddr {
    fn from(broker: &Broker) -> Self {
        broker.mqtt()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.kill();
        if thread::panicking() {
            let log = self.log();
            let tail = log.char_indices().rev().nth(8_000).map_or(0, |(at, _)| at);
            let _ = writeln!(io::stderr(), "--- the broker's log\n{}", &log[tail..]);
        }
    }
}

/// The binary: the one that `SYNCLINE_BIN` names, else built here once.
///
/// # Panics
/// When Cargo cannot build it.
#[must_use]
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| env::var_os("SYNCLINE_BIN").map_or_else(build, PathBuf::from))
}

/// The profile and the build folder are those of the running test.
fn build() -> PathBuf {
    let own = env::current_exe().expect("the path of this program");
    let folder = own
        .ancestors()
        .find(|path| path.ends_with("debug") || path.ends_with("release"));
    let folder = folder.expect("tests run from a build folder");
    let target = folder.parent().expect("a build folder has a parent");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args([
        "build",
        "--quiet",
        "--package",
        "syncline-broker",
        "--bin",
        "syncline",
    ]);
    cargo
        .arg("--target-dir")
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    let status = cargo.status().expect("cargo runs");
    assert!(status.success(), "building syncline: {status}");
    folder.join("syncline")
}
