//! The stock broker rumqttd, to compare with. `cargo xtask bench edge` installs it and names it in `RUMQTTD_BIN`.

use std::env;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::process::Process;
use crate::{ports, wait};

/// Names the program.
const VARIABLE: &str = "RUMQTTD_BIN";

/// A rumqttd as its own sample configures it, but for the addresses, without its pause of a millisecond after
/// each connection, and with room for the connections that are measured.
#[derive(Debug)]
pub struct StockBroker {
    child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl StockBroker {
    /// Starts it on free ports and waits until it accepts; none where nobody named the program.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start() -> io::Result<Option<Self>> {
        let Some(program) = env::var_os(VARIABLE) else {
            return Ok(None);
        };
        let folder = TempDir::with_prefix("rumqttd-")?;
        let address = ports::free();
        let file = folder.path().join("rumqttd.toml");
        fs::write(&file, configuration(address))?;
        let child = spawn(Path::new(&program), &file)?;
        wait::until("rumqttd", || TcpStream::connect(address).ok());
        Ok(Some(Self {
            child,
            address,
            _folder: folder,
        }))
    }

    /// Where it listens, for MQTT 3.1.1.
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

fn spawn(program: &Path, file: &Path) -> io::Result<Child> {
    let mut command = Command::new(program);
    command.arg("--quiet").arg("--config").arg(file);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn()
}

fn configuration(address: SocketAddr) -> String {
    let console = ports::free();
    format!(
        "id = 0\n\
         [router]\nid = 0\nmax_connections = 20000\nmax_outgoing_packet_count = 200\n\
         max_segment_size = 104857600\nmax_segment_count = 10\n\
         [v4.1]\nname = \"v4-1\"\nlisten = \"{address}\"\nnext_connection_delay_ms = 0\n\
         [v4.1.connections]\nconnection_timeout_ms = 60000\nmax_payload_size = 20480\n\
         max_inflight_count = 100\ndynamic_filters = true\n\
         [console]\nlisten = \"{console}\"\n"
    )
}

impl Drop for StockBroker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
