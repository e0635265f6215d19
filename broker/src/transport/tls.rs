//! TLS with certificates from files, which can be read again while connections go on.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::{CryptoProvider, ring};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use syncline_protocol::UnixMillis;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::CertificateFacts;

/// Which files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsOptions {
    /// The certificate and those that lead from it to its CA (PEM).
    pub certificate: TlsFile,
    /// Its private key (PEM).
    pub key: TlsFile,
    /// The CAs whose client certificates are taken (PEM). Without them none is asked for.
    pub client_ca: Option<TlsFile>,
    /// Whether a client without a certificate is refused.
    pub client_certificate_required: bool,
}

impl TlsOptions {
    /// Whether every connection has shown a certificate.
    pub fn knows_every_client(&self) -> bool {
        self.client_ca.is_some() && self.client_certificate_required
    }
}

/// A file, and who named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFile {
    /// Where it is.
    pub path: PathBuf,
    /// The key that names it and where that was set, for messages.
    pub named_by: String,
}

/// Why certificates are not taken. Each names the file and who named it.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// It cannot be read.
    #[error("{}: cannot read {}: {source}", file.named_by, file.path.display())]
    Unreadable {
        /// The file.
        file: TlsFile,
        /// Why not.
        source: io::Error,
    },
    /// What is in it is not what is needed.
    #[error("{}: {} {reason}", file.named_by, file.path.display())]
    Unusable {
        /// The file.
        file: TlsFile,
        /// What is wrong with it.
        reason: String,
    },
    /// It is not valid now.
    #[error("{}: {} is not valid now: {facts}", file.named_by, file.path.display())]
    OutOfDate {
        /// The file.
        file: TlsFile,
        /// When it is.
        facts: CertificateFacts,
    },
}

/// What is spoken inside. A connection that was meant for another port is refused during the handshake (ALPN).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// MQTT.
    Mqtt,
    /// HTTP/1.1.
    Http,
}

/// The certificates in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFacts {
    /// What clients are shown.
    pub certificate: CertificateFacts,
    /// Whose clients are taken.
    pub client_cas: Vec<CertificateFacts>,
}

/// The certificates that new connections get.
#[derive(Debug)]
pub struct Tls {
    options: TlsOptions,
    loaded: RwLock<Arc<Loaded>>,
}

/// Certificates that were read and are not in use yet.
#[derive(Debug)]
pub struct Renewed(Loaded);

impl Renewed {
    /// What is in them.
    pub fn facts(&self) -> &TlsFacts {
        &self.0.facts
    }
}

#[derive(Debug)]
struct Loaded {
    mqtt: Arc<ServerConfig>,
    http: Arc<ServerConfig>,
    facts: TlsFacts,
}

impl Tls {
    /// Reads the files. Blocks. What is out of date is taken: it is the client that judges it.
    pub fn load(options: TlsOptions) -> Result<Self, TlsError> {
        let loaded = Arc::new(Loaded::read(&options)?);
        Ok(Self {
            options,
            loaded: RwLock::new(loaded),
        })
    }

    /// Reads the files again, and changes nothing. Blocks. What is out of date is refused.
    pub fn read_again(&self, now: UnixMillis) -> Result<Renewed, TlsError> {
        let loaded = Loaded::read(&self.options)?;
        let certificate = &loaded.facts.certificate;
        if !certificate.is_valid_at(now) {
            return Err(TlsError::OutOfDate {
                file: self.options.certificate.clone(),
                facts: certificate.clone(),
            });
        }
        Ok(Renewed(loaded))
    }

    /// Connections that come from now on get these.
    pub fn take(&self, Renewed(loaded): Renewed) {
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(loaded);
    }

    /// What is in use.
    pub fn facts(&self) -> TlsFacts {
        self.loaded().facts.clone()
    }

    /// Whether a client without a certificate is refused.
    pub fn knows_every_client(&self) -> bool {
        self.options.knows_every_client()
    }

    /// The handshake, with the certificates as they are now.
    pub(super) async fn accept(
        &self,
        protocol: Protocol,
        socket: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        let loaded = self.loaded();
        let config = match protocol {
            Protocol::Mqtt => &loaded.mqtt,
            Protocol::Http => &loaded.http,
        };
        TlsAcceptor::from(Arc::clone(config)).accept(socket).await
    }

    fn loaded(&self) -> Arc<Loaded> {
        Arc::clone(&self.loaded.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Loaded {
    fn read(options: &TlsOptions) -> Result<Self, TlsError> {
        let chain = options.certificate.certificates()?;
        let key = options.key.private_key()?;
        let cas = match &options.client_ca {
            Some(file) => file.certificates()?,
            None => Vec::new(),
        };
        let provider = Arc::new(ring::default_provider());
        let verifier = verifier(options, &cas, &provider)?;
        let config = |protocol: &[u8]| {
            let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
                .with_safe_default_protocol_versions()?
                .with_client_cert_verifier(Arc::clone(&verifier));
            let mut config = builder.with_single_cert(chain.clone(), key.clone_key())?;
            config.alpn_protocols = vec![protocol.to_vec()];
            if !cas.is_empty() {
                // Who resumes is not verified again, and certificates run out.
                config.session_storage = Arc::new(NoServerSessionStorage {});
                config.send_tls13_tickets = 0;
            }
            Ok(Arc::new(config))
        };
        let unusable = |error: rustls::Error| {
            let reason = format!("and the private key are not usable together: {error}");
            options.certificate.unusable(reason)
        };
        Ok(Self {
            mqtt: config(b"mqtt").map_err(unusable)?,
            http: config(b"http/1.1").map_err(unusable)?,
            facts: facts(options, &chain, &cas)?,
        })
    }
}

fn facts(
    options: &TlsOptions,
    chain: &[CertificateDer<'_>],
    cas: &[CertificateDer<'_>],
) -> Result<TlsFacts, TlsError> {
    let certificate = options.certificate.facts(&chain[..1])?.remove(0);
    let client_cas = match &options.client_ca {
        Some(file) => file.facts(cas)?,
        None => Vec::new(),
    };
    Ok(TlsFacts {
        certificate,
        client_cas,
    })
}

fn verifier(
    options: &TlsOptions,
    cas: &[CertificateDer<'static>],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let Some(file) = &options.client_ca else {
        return Ok(WebPkiClientVerifier::no_client_auth());
    };
    let mut roots = RootCertStore::empty();
    for ca in cas {
        let added = roots.add(ca.clone());
        added.map_err(|error| file.unusable(format!("has a CA that is not usable: {error}")))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(provider));
    let builder = match options.client_certificate_required {
        true => builder,
        false => builder.allow_unauthenticated(),
    };
    let verifier = builder.build();
    let verifier: Arc<dyn ClientCertVerifier> =
        verifier.map_err(|error| file.unusable(format!("is not usable: {error}")))?;
    Ok(verifier)
}

impl TlsFile {
    /// At least one.
    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let pem = self.read()?;
        let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
        let certificates =
            certificates.map_err(|error| self.unusable(format!("is not PEM: {error}")))?;
        if certificates.is_empty() {
            return Err(self.unusable("has no certificate in it".to_owned()));
        }
        Ok(certificates)
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        let pem = self.read()?;
        let key = PrivateKeyDer::from_pem_slice(&pem);
        key.map_err(|error| self.unusable(format!("has no private key that is usable: {error}")))
    }

    fn facts(
        &self,
        certificates: &[CertificateDer<'_>],
    ) -> Result<Vec<CertificateFacts>, TlsError> {
        let facts = certificates.iter().map(|it| CertificateFacts::of(it));
        facts
            .collect::<Result<_, _>>()
            .map_err(|error| self.unusable(format!("has a certificate that is not X.509: {error}")))
    }

    fn read(&self) -> Result<Vec<u8>, TlsError> {
        fs::read(&self.path).map_err(|source| TlsError::Unreadable {
            file: self.clone(),
            source,
        })
    }

    fn unusable(&self, reason: String) -> TlsError {
        TlsError::Unusable {
            file: self.clone(),
            reason,
        }
    }
}
