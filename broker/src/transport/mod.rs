//! What stands between a socket and the first byte of MQTT or HTTP: the PROXY header of a load balancer, and TLS.
//!
//! Calling contract: [`Listener::accept`] in a loop; it never waits for a client. What it gives is [`Arriving`], whose
//! [`arrive`](Arriving::arrive) belongs into a task of the connection's own: it waits for the client, within the listener's
//! patience, and ends with a byte stream and with what is known of the [`Caller`]. Who wants to know where the client is before
//! its handshake calls [`named`](Arriving::named) first.

mod caller;
mod certificate;
mod listener;
mod options;
mod proxy;
mod stream;
mod tls;

#[cfg(test)]
mod tests;

pub use caller::{Caller, ClientCertificate};
pub use certificate::CertificateFacts;
pub use listener::{Arriving, Listener, NotArrived};
pub use options::{Port, ProxyOptions, TransportOptions};
pub use proxy::{Network, NoNetwork, ProxyError};
pub use stream::Stream;
pub use tls::{Protocol, Renewed, Tls, TlsError, TlsFacts, TlsFile, TlsOptions};
