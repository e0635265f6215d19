//! Every listener of a broker: all are there before anything else starts, and connections wait in them until the rooms are.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, mem};

use tokio::net::{UnixListener, UnixSocket, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::Options;
use crate::edge::Edge;
use crate::http::{self, HttpOptions, HttpServices};
use crate::startup::{self, StartupError};
use crate::transport::{Listener, Port, Protocol, Tls};

/// The owner and the owner's group.
const SOCKET_MODE: u32 = 0o660;

/// Connections that wait to be accepted on the Unix socket.
const BACKLOG: u32 = 1_024;

/// Listeners that nobody accepts from yet.
pub(crate) struct Listeners {
    mqtt: Vec<Listener>,
    http: Vec<Listener>,
    pub(crate) addresses: Addresses,
    pub(crate) tls: Option<Arc<Tls>>,
    unix: Option<SocketFile>,
}

/// Where is listened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addresses {
    pub(crate) mqtt: SocketAddr,
    pub(crate) mqtt_tls: Option<SocketAddr>,
    pub(crate) http: SocketAddr,
    pub(crate) http_tls: Option<SocketAddr>,
}

impl Listeners {
    /// Takes every address, and reads the certificates.
    pub(crate) async fn bind(options: &Options) -> Result<Self, StartupError> {
        let transports = &options.transports;
        let tls = transports.tls.clone().map(Tls::load).transpose()?;
        let binding = Binding {
            options,
            tls: tls.map(Arc::new),
        };
        let (mqtt, mqtt_at) = binding.listen(Port::Mqtt, options.mqtt).await?;
        let (http, http_at) = binding.listen(Port::Http, options.http.address).await?;
        let (mut mqtt, mut http) = (vec![mqtt], vec![http]);
        let mut addresses = Addresses {
            mqtt: mqtt_at,
            mqtt_tls: None,
            http: http_at,
            http_tls: None,
        };
        if let Some(address) = transports.mqtt_tls {
            let (listener, at) = binding.listen(Port::MqttTls, address).await?;
            mqtt.push(listener);
            addresses.mqtt_tls = Some(at);
        }
        if let Some(address) = transports.http_tls {
            let (listener, at) = binding.listen(Port::HttpTls, address).await?;
            http.push(listener);
            addresses.http_tls = Some(at);
        }
        let unix = match &transports.mqtt_unix {
            Some(path) => {
                let (file, listener) = SocketFile::bind(path).await?;
                mqtt.push(Listener::from(listener).at(Port::MqttUnix));
                Some(file)
            }
            None => None,
        };
        Ok(Self {
            mqtt,
            http,
            addresses,
            tls: binding.tls,
            unix,
        })
    }

    /// Says where is listened.
    pub(crate) fn announce(&self) {
        let Addresses {
            mqtt,
            mqtt_tls,
            http,
            http_tls,
        } = self.addresses;
        tracing::info!("MQTT on {mqtt}");
        tracing::info!("HTTP on http://{http}, MQTT over WebSocket at /mqtt");
        if let Some(address) = mqtt_tls {
            tracing::info!("MQTT over TLS on {address}");
        }
        if let Some(address) = http_tls {
            tracing::info!("HTTPS on https://{address}, MQTT over secure WebSocket at /mqtt");
        }
        if let Some(file) = &self.unix {
            tracing::info!("MQTT on the Unix socket {}", file.path.display());
        }
        if let Some(tls) = &self.tls {
            tracing::info!("certificate of {}", tls.facts().certificate);
        }
    }

    /// Begins to accept.
    pub(crate) fn serve(
        self,
        edge: &Edge,
        options: &HttpOptions,
        services: &HttpServices,
    ) -> Serving {
        let (end_http, _) = watch::channel(());
        let server = http::Server::new(options, services.clone());
        let http = self.http.into_iter().map(|listener| {
            let mut ends = end_http.subscribe();
            // It is never told anything, only dropped.
            let until = async move { drop(ends.changed().await) };
            tokio::spawn(server.clone().serve(listener, until))
        });
        Serving {
            http: http.collect(),
            mqtt: self.mqtt.into_iter().map(|it| edge.serve(it)).collect(),
            end_http,
            unix: self.unix,
        }
    }
}

/// Listeners that are accepted from.
pub(crate) struct Serving {
    mqtt: Vec<JoinHandle<()>>,
    http: Vec<JoinHandle<()>>,
    end_http: watch::Sender<()>,
    unix: Option<SocketFile>,
}

impl Serving {
    /// No new connections over MQTT alone.
    pub(crate) fn end_mqtt(&mut self) {
        mem::take(&mut self.mqtt).iter().for_each(JoinHandle::abort);
        drop(self.unix.take());
    }

    /// No new connections at all; waits for the requests that are open.
    pub(crate) async fn end(mut self) {
        self.end_mqtt();
        drop(self.end_http);
        for http in self.http {
            // A server that panicked has nothing left to end.
            let _ = http.await;
        }
    }
}

struct Binding<'a> {
    options: &'a Options,
    tls: Option<Arc<Tls>>,
}

impl Binding<'_> {
    /// A listener with all that its port has before it, and where it is.
    async fn listen(
        &self,
        port: Port,
        address: SocketAddr,
    ) -> Result<(Listener, SocketAddr), StartupError> {
        let proxies = self.options.transports.proxy.trusted_at(port);
        let listener = Listener::from(startup::listen(port, address).await?)
            .at(port)
            .behind(proxies)
            .with_patience(self.patience(port));
        let at = listener.address().unwrap_or(address);
        let listener = match (port, &self.tls) {
            (Port::MqttTls, Some(tls)) => listener.with_tls(Arc::clone(tls), Protocol::Mqtt),
            (Port::HttpTls, Some(tls)) => listener.with_tls(Arc::clone(tls), Protocol::Http),
            _ => listener,
        };
        Ok((listener, at))
    }

    fn patience(&self, port: Port) -> Duration {
        let edge = &self.options.edge;
        match (port.is_http(), edge.ports.get(&port)) {
            (true, _) => self.options.http.header_timeout,
            (false, None) => edge.connect_timeout,
            (false, Some(own)) => own.connect_timeout,
        }
    }
}

/// A Unix socket in the file system, gone once this is dropped, unless another one has its place by then.
struct SocketFile {
    path: PathBuf,
    /// Which file it is: device and inode.
    identity: (u64, u64),
}

impl SocketFile {
    async fn bind(path: &Path) -> Result<(Self, UnixListener), StartupError> {
        let failed = |source| StartupError::UnixSocket {
            path: path.to_owned(),
            source,
        };
        remove_dead(path).await.map_err(failed)?;
        let socket = UnixSocket::new_stream().map_err(failed)?;
        socket.bind(path).map_err(failed)?;
        let file = Self {
            path: path.to_owned(),
            identity: identity(path).map_err(failed)?,
        };
        // Nobody can connect before it listens.
        fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE)).map_err(failed)?;
        let listener = socket.listen(BACKLOG).map_err(failed)?;
        Ok((file, listener))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let removed = identity(&self.path).and_then(|found| match found == self.identity {
            true => fs::remove_file(&self.path),
            false => Err(io::Error::other("it is another program's by now")),
        });
        if let Err(error) = removed {
            tracing::debug!(%error, "the Unix socket was not removed");
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

/// What a broker that was killed left behind refuses connections. Anything else stays.
async fn remove_dead(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::other(
                "there is a file of this name that is no socket",
            ));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::other("another program listens on it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_unix_socket_that_is_another_programs_by_now_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mqtt.sock");
        let (ours, _listener) = SocketFile::bind(&path).await.unwrap();
        // Somebody took it for dead.
        fs::remove_file(&path).unwrap();
        let (theirs, listener) = SocketFile::bind(&path).await.unwrap();
        drop(ours);
        UnixStream::connect(&path).await.unwrap();
        drop((theirs, listener));
        assert!(!path.exists());
    }
}
