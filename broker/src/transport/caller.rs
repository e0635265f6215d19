//! Who is at the other end.

use std::fmt;
use std::net::SocketAddr;

use super::Port;

/// Who is at the other end of a connection, as far as its transport knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// Where it is; behind a load balancer what that says. None on a Unix socket.
    pub address: Option<SocketAddr>,
    /// Its certificate, if it showed one. It is verified: it comes from a CA that the configuration names.
    pub certificate: Option<ClientCertificate>,
    /// Where it came in, if that is one of the configuration's listeners.
    pub port: Option<Port>,
}

/// What a verified certificate says of its owner.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The whole subject as RFC 4514 writes it, such as `CN=kitchen,O=Home`.
    pub subject: String,
    /// The common name of the subject.
    pub common_name: Option<String>,
    /// Its DNS names (of the subject alternative names, like the next ones).
    pub dns_names: Vec<String>,
    /// Its URIs.
    pub uris: Vec<String>,
    /// Its e-mail addresses.
    pub emails: Vec<String>,
}

impl From<SocketAddr> for Caller {
    fn from(address: SocketAddr) -> Self {
        Self {
            address: Some(address),
            ..Self::default()
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => address.fmt(f)?,
            None => f.write_str("a Unix socket")?,
        }
        match &self.certificate {
            Some(certificate) => write!(f, " ({})", certificate.subject),
            None => Ok(()),
        }
    }
}
