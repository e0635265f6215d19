//! The ways to a broker: TCP, TLS, WebSocket, both, or a Unix socket. Each is one stream of bytes to rumqttc.

#[cfg(feature = "tls")]
pub(crate) mod tls;
#[cfg(feature = "websocket")]
mod websocket;
mod witness;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

use crate::address::{Address, Net};
use crate::version::Versions;

pub(crate) use witness::{Seen, Witness};

/// A stream of bytes, whatever is below.
pub(crate) trait Bytes: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Bytes for T {}

pub(crate) type Stream = Box<dyn Bytes>;

/// Why the broker was not reached.
#[derive(Debug, thiserror::Error)]
enum DialError {
    #[error("{to} cannot be reached: {error}")]
    Connect { to: String, error: io::Error },
    #[cfg(feature = "tls")]
    #[error(transparent)]
    Tls(#[from] tls::HandshakeError),
    #[cfg(feature = "websocket")]
    #[error("no WebSocket at {to}: {error}")]
    WebSocket {
        to: String,
        error: Box<tokio_tungstenite::tungstenite::Error>,
    },
}

/// How one client comes to its broker, for all its connections.
#[derive(Debug)]
pub(crate) struct Way {
    address: Address,
    #[cfg(feature = "tls")]
    tls: tls::Tls,
    versions: Mutex<Versions>,
}

impl Way {
    pub(crate) fn new(address: Address, #[cfg(feature = "tls")] trust: tls::Trust) -> Arc<Self> {
        Arc::new(Self {
            address,
            #[cfg(feature = "tls")]
            tls: tls::Tls::new(trust),
            versions: Mutex::default(),
        })
    }

    /// What was learned of the broker's versions of MQTT.
    pub(crate) fn versions(&self) -> MutexGuard<'_, Versions> {
        // A number and a time are whole whoever panicked.
        self.versions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A stream to the broker, and its first bytes to the witness.
    pub(crate) async fn dial(&self, seen: Arc<Seen>) -> io::Result<Witness> {
        seen.begin();
        let stream = self.stream().await.map_err(io::Error::other)?;
        Ok(Witness::new(stream, seen))
    }

    async fn stream(&self) -> Result<Stream, DialError> {
        match &self.address {
            Address::Net(net) => self.net(net).await,
            #[cfg(unix)]
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).await;
                let to = || path.display().to_string();
                Ok(Box::new(stream.map_err(|error| unreached(to(), error))?))
            }
            #[cfg(not(unix))]
            Address::Unix(path) => {
                let error = io::ErrorKind::Unsupported.into();
                Err(unreached(path.display().to_string(), error))
            }
        }
    }

    async fn net(&self, net: &Net) -> Result<Stream, DialError> {
        let failed = |error| unreached(net.to_string(), error);
        let tcp = TcpStream::connect((net.host.as_str(), net.port)).await;
        let tcp = tcp.map_err(failed)?;
        // Each packet is somebody's answer.
        tcp.set_nodelay(true).map_err(failed)?;
        let stream: Stream = Box::new(tcp);
        #[cfg(feature = "tls")]
        let stream = match net.tls {
            true => self.tls.shake_hands(stream, net).await?,
            false => stream,
        };
        #[cfg(feature = "websocket")]
        let stream = match &net.path {
            Some(path) => websocket::open(stream, net, path).await.map_err(|error| {
                let (to, error) = (net.to_string(), Box::new(error));
                DialError::WebSocket { to, error }
            })?,
            None => stream,
        };
        Ok(stream)
    }
}

fn unreached(to: String, error: io::Error) -> DialError {
    DialError::Connect { to, error }
}
