//! What a process needs before it can be a broker: its folder for itself, its addresses, its file descriptors.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::TcpListener;

use crate::transport::{Port, TlsError};

/// Nobody but the owner.
const PRIVATE_DIR: u32 = 0o700;
const PRIVATE_FILE: u32 = 0o600;
const LOCK_FILE: &str = "lock";
/// Descriptors beside those of connections: listeners, the store's files, logs, the runtime.
const OTHER_FILES: u64 = 64;

/// Why the broker cannot start. The texts are for the person at the terminal.
#[derive(Debug, thiserror::Error)]
pub enum StartupError {
    /// The folder cannot be used.
    #[error("the data directory {} cannot be used: {source}", path.display())]
    DataDir {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Somebody else has the folder.
    #[error(
        "the data directory {} is in use by another syncline process; stop it, or choose another directory with --data",
        path.display()
    )]
    DataDirInUse {
        /// The folder.
        path: PathBuf,
    },
    /// Somebody else has the port.
    #[error(
        "{address} is in use by another program (`ss -ltnp` tells which); stop it, or choose another address with {setting}"
    )]
    AddressInUse {
        /// The address.
        address: SocketAddr,
        /// The flag and the key that set it.
        setting: String,
    },
    /// The address cannot be had for another reason.
    #[error("cannot listen on {address} (`{key}`): {source}")]
    Address {
        /// The address.
        address: SocketAddr,
        /// The key that sets it.
        key: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The Unix socket cannot be had.
    #[error("cannot listen on the Unix socket {} (`mqtt.unix_socket`): {source}", path.display())]
    UnixSocket {
        /// Where it would be.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// The data directory, for this process alone until it is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Creates the folder if need be, closes it to others, and locks it.
    pub fn open(path: &Path) -> Result<Self, StartupError> {
        let failed = |source| StartupError::DataDir {
            path: path.to_owned(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(PRIVATE_DIR)
            .create(path)
            .map_err(failed)?;
        close_to_others(path).map_err(failed)?;
        let mut options = OpenOptions::new();
        options
            .write(true)
            .create(true)
            .truncate(false)
            .mode(PRIVATE_FILE);
        let lock = options.open(path.join(LOCK_FILE)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(StartupError::DataDirInUse {
                path: path.to_owned(),
            }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A folder that already was there may be open to more than its owner.
fn close_to_others(path: &Path) -> io::Result<()> {
    let mode = fs::metadata(path)?.permissions().mode() & 0o777;
    if mode & !PRIVATE_DIR != 0 {
        tracing::warn!(path = %path.display(), "the data directory was open to others (mode {mode:o}); now it is 700");
        fs::set_permissions(path, Permissions::from_mode(PRIVATE_DIR))?;
    }
    Ok(())
}

/// Listens on `address`; an address in use is told with its remedy.
pub async fn listen(port: Port, address: SocketAddr) -> Result<TcpListener, StartupError> {
    let key = port.key();
    let setting = match port {
        Port::Mqtt => format!("--mqtt or `{key}`"),
        Port::Http => format!("--http or `{key}`"),
        Port::MqttTls | Port::HttpTls | Port::MqttUnix => format!("`{key}`"),
    };
    TcpListener::bind(address)
        .await
        .map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => StartupError::AddressInUse { address, setting },
            _ => StartupError::Address {
                address,
                key,
                source,
            },
        })
}

/// Raises the soft limit of file descriptors as far as it goes, and warns if it is too low for `connections_max`.
pub fn raise_file_limit(connections_max: usize) {
    // Those of MQTT, and as many requests over HTTP.
    let wanted = 2 * connections_max as u64 + OTHER_FILES;
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) if limit >= wanted => tracing::debug!(limit, "file descriptors"),
        Ok(limit) => tracing::warn!(
            limit,
            "too few file descriptors for `limits.connections_max` = {connections_max}; raise the hard limit (`ulimit -Hn`)"
        ),
        Err(error) => tracing::warn!(%error, "the limit of file descriptors could not be raised"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_new_data_directory_is_for_its_owner_alone() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let data = DataDir::open(&path).unwrap();
        assert_eq!(mode(data.path()), 0o700);
        assert_eq!(mode(&path.join(LOCK_FILE)) & 0o077, 0);
    }

    #[test]
    fn an_open_data_directory_is_closed_to_others() {
        let path = tempfile::tempdir().unwrap();
        fs::set_permissions(path.path(), Permissions::from_mode(0o755)).unwrap();
        DataDir::open(path.path()).unwrap();
        assert_eq!(mode(path.path()), 0o700);
    }

    #[test]
    fn a_data_directory_has_one_process_and_is_free_after_it() {
        let path = tempfile::tempdir().unwrap();
        let first = DataDir::open(path.path()).unwrap();
        let refused = DataDir::open(path.path()).unwrap_err();
        assert!(
            matches!(refused, StartupError::DataDirInUse { .. }),
            "{refused}"
        );
        assert!(
            refused
                .to_string()
                .contains(&path.path().display().to_string())
        );
        drop(first);
        DataDir::open(path.path()).unwrap();
    }

    #[test]
    fn a_file_in_place_of_the_data_directory_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let refused = DataDir::open(file.path()).unwrap_err().to_string();
        assert!(
            refused.contains(&file.path().display().to_string()),
            "{refused}"
        );
    }

    #[tokio::test]
    async fn a_port_in_use_is_named_with_the_remedy() {
        let first = listen(Port::Mqtt, "127.0.0.1:0".parse().unwrap())
            .await
            .unwrap();
        let address = first.local_addr().unwrap();
        let refused = listen(Port::Mqtt, address).await.unwrap_err().to_string();
        assert!(refused.contains(&address.to_string()), "{refused}");
        assert!(refused.contains("--mqtt"), "{refused}");
    }
}
