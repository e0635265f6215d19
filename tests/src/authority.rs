//! A certificate authority of a test's own, and the files that programs read.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};

/// How long a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// From long ago until far away.
    Now,
    /// Until long ago.
    Over,
}

/// A CA.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// A CA of this name.
    ///
    /// # Panics
    /// When there is no randomness.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut params = params(name, Validity::Now);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a CA");
        Self { issuer }
    }

    /// Its own certificate, for those who trust it.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) {
        write_pem(path, "CERTIFICATE", self.issuer.der());
    }

    /// A certificate for 127.0.0.1 and localhost, as files.
    ///
    /// # Panics
    /// As [`Authority::write`].
    pub fn server(&self, files: &Files, validity: Validity) {
        let mut params = params("server", validity);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let names = ["127.0.0.1", "localhost"].map(str::to_owned).to_vec();
        params.subject_alt_names = CertificateParams::new(names)
            .expect("names")
            .subject_alt_names;
        self.sign(&params, files);
    }

    /// A certificate for a client of this name, as files.
    ///
    /// # Panics
    /// As [`Authority::write`].
    pub fn client(&self, name: &str, files: &Files) {
        self.client_at(name, &[], files);
    }

    /// The same, with these URIs as well.
    ///
    /// # Panics
    /// As [`Authority::write`], or when one is no URI.
    pub fn client_at(&self, name: &str, uris: &[&str], files: &Files) {
        let mut params = params(name, Validity::Now);
        let uri = |uri: &&str| SanType::URI((*uri).try_into().expect("a URI"));
        params.subject_alt_names = uris.iter().map(uri).collect();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&params, files);
    }

    fn sign(&self, params: &CertificateParams, files: &Files) {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        write_pem(&files.certificate, "CERTIFICATE", certificate.der());
        write_pem(&files.key, "PRIVATE KEY", key.serialized_der());
    }
}

/// Where a certificate and its key are.
#[derive(Debug, Clone)]
pub struct Files {
    /// The certificate.
    pub certificate: PathBuf,
    /// The key.
    pub key: PathBuf,
}

impl Files {
    /// In a folder, by a name.
    #[must_use]
    pub fn new(folder: &Path, name: &str) -> Self {
        Self {
            certificate: folder.join(format!("{name}.pem")),
            key: folder.join(format!("{name}.key")),
        }
    }
}

fn params(name: &str, validity: Validity) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = match validity {
        Validity::Now => date_time_ymd(2120, 1, 1),
        Validity::Over => date_time_ymd(2021, 1, 1),
    };
    params
}

fn write_pem(path: &Path, label: &str, der: &[u8]) {
    let text = STANDARD.encode(der);
    let lines = text.as_bytes().chunks(64).map(String::from_utf8_lossy);
    let lines: Vec<_> = lines.collect();
    let pem = format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    );
    fs::write(path, pem).expect("a file");
}
