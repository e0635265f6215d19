//! Listeners: accepting at once, and arriving, which waits for the client.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::{Instant, sleep, timeout_at};

use super::proxy::{self, Network, ProxyError};
use super::{Caller, ClientCertificate, Port, Protocol, Stream, Tls};

/// For listeners that were given none.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the system may hold for a client that does not read; Linux doubles it for its own use. At 100 ms to the client and back
/// it still lets more than a megabyte a second pass.
const SEND_BYTES: usize = 128 << 10;

/// A socket that connections come to, and what stands before their first byte.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    rules: Arc<Rules>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

#[derive(Debug, Clone)]
struct Rules {
    port: Option<Port>,
    tls: Option<(Arc<Tls>, Protocol)>,
    /// Who may connect, and has to send a PROXY header.
    proxies: Option<Vec<Network>>,
    patience: Duration,
}

/// Why a connection ends before its first byte of MQTT or HTTP.
#[derive(Debug, thiserror::Error)]
pub enum NotArrived {
    /// It took too long.
    #[error("the handshake was not complete in time")]
    Late,
    /// It comes from an address that is not the load balancer's.
    #[error("{0} is not in `proxy.trusted`, and this port is for load balancers alone")]
    Untrusted(SocketAddr),
    /// Its PROXY header is missing or malformed.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// The handshake failed.
    #[error("the TLS handshake failed: {0}")]
    Tls(io::Error),
    /// Its certificate is verified and cannot be read all the same.
    #[error("the client's certificate cannot be read: {0}")]
    Certificate(x509_cert::der::Error),
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::of(Socket::Tcp(listener))
    }
}

impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Self {
        Self::of(Socket::Unix(listener))
    }
}

impl Listener {
    fn of(socket: Socket) -> Self {
        let rules = Rules {
            port: None,
            tls: None,
            proxies: None,
            patience: PATIENCE,
        };
        Self {
            socket,
            rules: Arc::new(rules),
        }
    }

    /// Which one it is; its callers say so.
    #[must_use]
    pub fn at(self, port: Port) -> Self {
        self.ruled(|rules| rules.port = Some(port))
    }

    /// How long a client may take until its first byte can be read.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        self.ruled(|rules| rules.patience = patience)
    }

    /// With TLS; not on a Unix socket, which nobody can listen to.
    #[must_use]
    pub fn with_tls(self, tls: Arc<Tls>, protocol: Protocol) -> Self {
        self.ruled(|rules| rules.tls = Some((tls, protocol)))
    }

    /// For load balancers with these addresses alone, if there are any; not on a Unix socket.
    #[must_use]
    pub fn behind(self, proxies: Option<Vec<Network>>) -> Self {
        self.ruled(|rules| rules.proxies = proxies)
    }

    fn ruled(mut self, change: impl FnOnce(&mut Rules)) -> Self {
        change(Arc::make_mut(&mut self.rules));
        self
    }

    /// Where it listens; none if it is a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Tcp(listener) => listener.local_addr().ok(),
            Socket::Unix(_) => None,
        }
    }

    /// The next connection; nothing of it has been read. May be dropped and called again.
    pub async fn accept(&self) -> io::Result<Arriving> {
        let (raw, address) = match &self.socket {
            Socket::Tcp(listener) => {
                let (socket, address) = listener.accept().await?;
                (Raw::Tcp(socket, address), Some(address))
            }
            Socket::Unix(listener) => (Raw::Unix(listener.accept().await?.0), None),
        };
        Ok(Arriving {
            raw,
            caller: Caller {
                address,
                certificate: None,
                port: self.rules.port,
            },
            is_named: self.rules.proxies.is_none() || address.is_none(),
            late_at: sleep(self.rules.patience).deadline(),
            rules: Arc::clone(&self.rules),
        })
    }
}

/// A connection of which nothing has been read.
#[derive(Debug)]
pub struct Arriving {
    raw: Raw,
    caller: Caller,
    /// No PROXY header is awaited.
    is_named: bool,
    late_at: Instant,
    rules: Arc<Rules>,
}

#[derive(Debug)]
enum Raw {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

impl Arriving {
    /// Who it is as far as the system knows; behind a load balancer that is the load balancer until [`Arriving::named`].
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Whether its first bytes are those of a TLS handshake.
    pub fn has_tls(&self) -> bool {
        self.rules.tls.is_some() && matches!(self.raw, Raw::Tcp(..))
    }

    /// Reads the PROXY header, where the listener has one, and nothing behind it. At once where it has none.
    pub async fn named(mut self) -> Result<Self, NotArrived> {
        if !self.is_named
            && let Raw::Tcp(socket, address) = &mut self.raw
        {
            let client = timeout_at(self.late_at, self.rules.client(socket, *address));
            let client = client.await.map_err(|_| NotArrived::Late)??;
            self.caller.address = Some(client.unwrap_or(*address));
            self.is_named = true;
        }
        Ok(self)
    }

    /// Reads the PROXY header, unless that was done, and does the handshake, where the listener has them.
    pub async fn arrive(self) -> Result<(Stream, Caller), NotArrived> {
        let Self {
            raw,
            caller,
            late_at,
            rules,
            ..
        } = self.named().await?;
        match raw {
            Raw::Unix(socket) => {
                bound_sending(&socket, &caller);
                Ok((Stream::Unix(socket), caller))
            }
            Raw::Tcp(socket, address) => {
                bound_sending(&socket, &caller);
                if let Err(error) = socket.set_nodelay(true) {
                    tracing::debug!(%address, %error, "TCP_NODELAY was not set");
                }
                let arrived = timeout_at(late_at, rules.arrive(socket, caller));
                arrived.await.map_err(|_| NotArrived::Late)?
            }
        }
    }
}

/// What a client does not read waits here, not in the system: that would take megabytes for each, and once it has no more, every
/// connection of the host stands still.
fn bound_sending(socket: impl AsFd, caller: &Caller) {
    if let Err(error) = sockopt::set_socket_send_buffer_size(socket, SEND_BYTES) {
        tracing::debug!(%caller, %error, "SO_SNDBUF was not set");
    }
}

impl Rules {
    /// Whom the load balancer at `address` speaks for, if it says so.
    async fn client(
        &self,
        socket: &mut TcpStream,
        address: SocketAddr,
    ) -> Result<Option<SocketAddr>, NotArrived> {
        let mut proxies = self.proxies.iter().flatten();
        if !proxies.any(|proxy| proxy.contains(address.ip())) {
            return Err(NotArrived::Untrusted(address));
        }
        Ok(proxy::read(socket).await?)
    }

    async fn arrive(
        &self,
        socket: TcpStream,
        mut caller: Caller,
    ) -> Result<(Stream, Caller), NotArrived> {
        let Some((tls, protocol)) = &self.tls else {
            return Ok((Stream::Tcp(socket), caller));
        };
        let stream = tls.accept(*protocol, socket).await;
        let stream = stream.map_err(NotArrived::Tls)?;
        let shown = stream.get_ref().1.peer_certificates();
        if let Some(certificate) = shown.and_then(|chain| chain.first()) {
            let certificate = ClientCertificate::of(certificate);
            caller.certificate = Some(certificate.map_err(NotArrived::Certificate)?);
        }
        Ok((Stream::Tls(Box::new(stream)), caller))
    }
}
