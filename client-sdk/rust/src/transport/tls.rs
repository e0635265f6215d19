//! TLS by rustls: whom a client trusts, and who it is itself.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;
use tokio_rustls::TlsConnector;

use crate::address::Net;
use crate::transport::Stream;

/// Why certificates or keys are none. It never shows a key.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The address is one without TLS, so what is given would protect nothing.
    #[error("the address has no TLS, so no certificate counts; write mqtts:// or wss://")]
    NotTls,
    /// A file cannot be read.
    #[error("{path} cannot be read: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// What should have certificates has none.
    #[error("there is no certificate in it; PEM has them behind -----BEGIN CERTIFICATE-----")]
    NoCertificate,
    /// What should have a private key has none.
    #[error("there is no private key in it; PEM has it behind -----BEGIN PRIVATE KEY-----")]
    NoKey,
    /// PEM that is broken, or a certificate or key that rustls does not take.
    #[error("a certificate or key cannot be used: {0}")]
    Unusable(String),
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    #[error("this system has no root certificates; name the broker's CA by Options::ca_file")]
    NoRoots,
    #[error("{0:?} can stand in no certificate")]
    Name(String),
    #[error("TLS is not set up: {0}")]
    Config(String),
    #[error(
        "the certificate of {0} is of no CA that is trusted here; if it is the right one, name its CA by Options::ca_file"
    )]
    UnknownCa(String),
    #[error("the certificate of {to} is not for {name:?}; use a name that stands in it")]
    OtherName { to: String, name: String },
    #[error("the certificate of {0} is out of date")]
    OutOfDate(String),
    #[error("no TLS with {to}: {error}")]
    Io { to: String, error: io::Error },
}

/// Whom a client trusts, and who it is.
#[derive(Clone, Default)]
pub(crate) struct Trust {
    /// The system's, if none are named.
    roots: Option<Arc<RootCertStore>>,
    identity: Option<Arc<CertifiedKey>>,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust")
            .field("roots", &self.roots.as_ref().map(|it| it.len()))
            .field("has_identity", &self.identity.is_some())
            .finish()
    }
}

impl Trust {
    /// Only these CAs.
    pub(crate) fn set_roots(&mut self, text: &[u8]) -> Result<(), TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(text)? {
            roots.add(certificate).map_err(unusable)?;
        }
        self.roots = Some(Arc::new(roots));
        Ok(())
    }

    pub(crate) fn set_identity(&mut self, certificate: &[u8], key: &[u8]) -> Result<(), TlsError> {
        let chain = certificates(certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            pem::Error::NoItemsFound => TlsError::NoKey,
            other => unusable(other),
        })?;
        // Refuses a key of another certificate.
        let identity = CertifiedKey::from_der(chain, key, &provider()).map_err(unusable)?;
        self.identity = Some(Arc::new(identity));
        Ok(())
    }
}

/// The bytes of a file that the app names.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|error| TlsError::File {
        path: path.to_owned(),
        error,
    })
}

fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let all = all.map_err(unusable)?;
    match all.is_empty() {
        true => Err(TlsError::NoCertificate),
        false => Ok(all),
    }
}

fn unusable(error: impl fmt::Display) -> TlsError {
    TlsError::Unusable(error.to_string())
}

/// Named, because an app may have another one for itself.
fn provider() -> CryptoProvider {
    ring::default_provider()
}

/// What handshakes need; made for the first one, because the system's roots are read from files.
#[derive(Debug)]
pub(super) struct Tls {
    trust: Trust,
    config: OnceCell<ClientConfig>,
}

impl Tls {
    pub(super) fn new(trust: Trust) -> Self {
        let config = OnceCell::new();
        Self { trust, config }
    }

    pub(super) async fn shake_hands(
        &self,
        stream: Stream,
        net: &Net,
    ) -> Result<Stream, HandshakeError> {
        let make = || config(self.trust.clone());
        let mut config = self.config.get_or_try_init(make).await?.clone();
        // What was meant for one port is then of no use at another one.
        let protocol: &[u8] = match net.path {
            Some(_) => b"http/1.1",
            None => b"mqtt",
        };
        config.alpn_protocols = vec![protocol.to_vec()];
        let name = ServerName::try_from(net.host.clone())
            .map_err(|_| HandshakeError::Name(net.host.clone()))?;
        let connector = TlsConnector::from(Arc::new(config));
        let stream = connector.connect(name, stream).await;
        Ok(Box::new(stream.map_err(|error| failed(net, error))?))
    }
}

async fn config(trust: Trust) -> Result<ClientConfig, HandshakeError> {
    let roots = match trust.roots {
        Some(roots) => roots,
        None => Arc::new(system_roots().await?),
    };
    let config = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| HandshakeError::Config(error.to_string()))?
        .with_root_certificates(roots);
    Ok(match trust.identity {
        Some(identity) => {
            config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity)))
        }
        None => config.with_no_client_auth(),
    })
}

/// Those that can be read; it takes one, not all.
async fn system_roots() -> Result<RootCertStore, HandshakeError> {
    let found = spawn_blocking(rustls_native_certs::load_native_certs).await;
    let found = found.map_err(|error| HandshakeError::Config(error.to_string()))?;
    for error in &found.errors {
        tracing::debug!(%error, "a root certificate cannot be read");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    match roots.is_empty() {
        true => Err(HandshakeError::NoRoots),
        false => Ok(roots),
    }
}

fn failed(net: &Net, error: io::Error) -> HandshakeError {
    let inner = error.get_ref().and_then(|it| it.downcast_ref());
    let to = net.to_string();
    let Some(rustls::Error::InvalidCertificate(why)) = inner else {
        return HandshakeError::Io { to, error };
    };
    match why {
        CertificateError::UnknownIssuer => HandshakeError::UnknownCa(to),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            let name = net.host.clone();
            HandshakeError::OtherName { to, name }
        }
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => HandshakeError::OutOfDate(to),
        _ => HandshakeError::Io { to, error },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_named_with_the_remedy() {
        let mut trust = Trust::default();
        let said = trust.set_roots(b"nonsense").unwrap_err().to_string();
        assert!(said.contains("BEGIN CERTIFICATE"), "{said}");
        let said = read(Path::new("/no/ca.pem")).unwrap_err().to_string();
        assert!(said.starts_with("/no/ca.pem cannot be read"), "{said}");
    }

    #[test]
    fn a_key_that_is_none_is_not_shown() {
        let broken = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";
        let certificate = broken.replace("PRIVATE KEY", "CERTIFICATE");
        let mut trust = Trust::default();
        let error = trust.set_identity(certificate.as_bytes(), broken.as_bytes());
        let error = error.unwrap_err();
        assert!(matches!(error, TlsError::Unusable(_)), "{error}");
        assert!(!format!("{error} {error:?} {trust:?}").contains("c2VjcmV0"));
        let error = trust.set_identity(certificate.as_bytes(), b"").unwrap_err();
        assert!(error.to_string().contains("BEGIN PRIVATE KEY"), "{error}");
    }
}
