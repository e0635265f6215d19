//! The keys that tokens are checked with. A key says itself which algorithm it is for; a token's header has no say in that.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use ring::{digest, hmac};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;
use serde::Deserialize;
use x509_cert::der::asn1::{ObjectIdentifier, UintRef};
use x509_cert::der::{Decode, Reader, SliceReader};
use x509_cert::spki::SubjectPublicKeyInfoRef;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const ED: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// RFC 7518, 3.2: a secret is as long as the hash at least.
const SECRET_BYTES_MIN: usize = 32;

/// RFC 7518, 3.3; ring takes up to 8,192 bits.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1_024;

/// The first byte of a point that is written as both of its coordinates.
const UNCOMPRESSED: u8 = 4;
const COORDINATE_BYTES: usize = 32;
const ED25519_BYTES: usize = 32;

/// Which key it is, whatever it is called: a hash of what it is made of.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyId([u8; 32]);

/// A key.
#[derive(Clone)]
pub(super) struct TokenKey {
    pub(super) id: KeyId,
    /// The `kid` of a JWKS file.
    pub(super) name: Option<String>,
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    Hs256(hmac::Key),
    Rs256 { n: Vec<u8>, e: Vec<u8> },
    Es256(Vec<u8>),
    EdDsa(Vec<u8>),
}

/// Why a file with keys is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It protects nothing.
    #[error(
        "a secret has at least 32 bytes; `openssl rand -hex 32` makes one (it has {bytes} now)"
    )]
    ShortSecret {
        /// What it has.
        bytes: usize,
    },
    /// Whoever has a public key could make tokens if that were taken for a secret.
    #[error("it is a PEM file and no secret; a public key goes to `auth.tokens.public_keys`")]
    NotASecret,
    /// Nothing of it is a public key.
    #[error(
        "it is no public key: PEM with BEGIN PUBLIC KEY, of RSA, P-256 or Ed25519, is asked for"
    )]
    NotAPublicKey,
    /// It can be factored one day.
    #[error("an RSA key has 2,048 to 8,192 bits; it has {bits}")]
    RsaSize {
        /// What it has.
        bits: usize,
    },
    /// It is no JWKS.
    #[error("it is no JWKS: {0}")]
    NotAJwks(String),
    /// A key of a JWKS is none.
    #[error("its key {at} is no key: `{field}` is missing or wrong")]
    BadJwk {
        /// Counted from 1.
        at: usize,
        /// What of it.
        field: &'static str,
    },
    /// It names keys for other purposes only.
    #[error("none of its keys is for RS256, ES256, EdDSA or HS256")]
    Nothing,
}

impl TokenKey {
    /// A secret of HS256: the bytes of a file without its last line break.
    pub(super) fn secret(file: &[u8]) -> Result<Self, KeyError> {
        let secret = file.strip_suffix(b"\n").unwrap_or(file);
        let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
        if secret.starts_with(b"-----BEGIN") {
            return Err(KeyError::NotASecret);
        }
        Self::hs256(secret)
    }

    fn hs256(secret: &[u8]) -> Result<Self, KeyError> {
        if secret.len() < SECRET_BYTES_MIN {
            let bytes = secret.len();
            return Err(KeyError::ShortSecret { bytes });
        }
        let kind = Kind::Hs256(hmac::Key::new(hmac::HMAC_SHA256, secret));
        Ok(Self::new(kind, "HS256", &[secret]))
    }

    /// A public key as PEM.
    pub(super) fn public(pem: &[u8]) -> Result<Self, KeyError> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem);
        let der = der.map_err(|_| KeyError::NotAPublicKey)?;
        let info = SubjectPublicKeyInfoRef::from_der(der.as_ref());
        let info = info.map_err(|_| KeyError::NotAPublicKey)?;
        let key = info.subject_public_key.raw_bytes();
        let algorithm = &info.algorithm;
        let is_p256 = || algorithm.parameters_oid() == Ok(P256);
        match algorithm.oid {
            RSA => {
                let (n, e) = rsa_numbers(key).ok_or(KeyError::NotAPublicKey)?;
                Self::rs256(n, e)
            }
            EC if is_p256() => Self::es256(key).ok_or(KeyError::NotAPublicKey),
            ED => Self::ed_dsa(key).ok_or(KeyError::NotAPublicKey),
            _ => Err(KeyError::NotAPublicKey),
        }
    }

    fn rs256(n: &[u8], e: &[u8]) -> Result<Self, KeyError> {
        let [n, e] = [n, e].map(|number| {
            let zeros = number.iter().take_while(|byte| **byte == 0).count();
            number[zeros..].to_vec()
        });
        if !RSA_BYTES.contains(&n.len()) {
            return Err(KeyError::RsaSize { bits: n.len() * 8 });
        }
        let parts = [n.clone(), e.clone()];
        let kind = Kind::Rs256 { n, e };
        Ok(Self::new(
            kind,
            "RS256",
            &parts.each_ref().map(|it| &it[..]),
        ))
    }

    fn es256(point: &[u8]) -> Option<Self> {
        let whole = point.len() == 1 + 2 * COORDINATE_BYTES && point[0] == UNCOMPRESSED;
        whole.then(|| Self::new(Kind::Es256(point.to_vec()), "ES256", &[point]))
    }

    fn ed_dsa(key: &[u8]) -> Option<Self> {
        let whole = key.len() == ED25519_BYTES;
        whole.then(|| Self::new(Kind::EdDsa(key.to_vec()), "EdDSA", &[key]))
    }

    fn new(kind: Kind, algorithm: &str, parts: &[&[u8]]) -> Self {
        let mut hash = digest::Context::new(&digest::SHA256);
        for part in [&[algorithm.as_bytes()][..], parts].concat() {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut id = [0; 32];
        id.copy_from_slice(hash.finish().as_ref());
        Self {
            id: KeyId(id),
            name: None,
            kind,
        }
    }

    /// The only algorithm that it is for, as a token's header names it.
    pub(super) fn algorithm(&self) -> &'static str {
        match self.kind {
            Kind::Hs256(_) => "HS256",
            Kind::Rs256 { .. } => "RS256",
            Kind::Es256(_) => "ES256",
            Kind::EdDsa(_) => "EdDSA",
        }
    }

    /// Whether the signature is this key's. Of a secret it takes as long for a wrong one as for the right one.
    pub(super) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let verified = match &self.kind {
            Kind::Hs256(key) => hmac::verify(key, message, signature),
            Kind::Rs256 { n, e } => {
                let key = RsaPublicKeyComponents { n, e };
                key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
            Kind::Es256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            Kind::EdDsa(key) => UnparsedPublicKey::new(&ED25519, key).verify(message, signature),
        };
        verified.is_ok()
    }
}

/// The modulus and the exponent of a PKCS #1 public key.
fn rsa_numbers(key: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut reader = SliceReader::new(key).ok()?;
    let numbers = reader.sequence(|inside| {
        let n = UintRef::decode(inside)?;
        let e = UintRef::decode(inside)?;
        Ok::<_, x509_cert::der::Error>((n.as_bytes(), e.as_bytes()))
    });
    numbers.ok()
}

/// RFC 7517. What is not needed of a key is not looked at.
#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    k: Option<String>,
}

/// All keys of a JWKS file that are for tokens; those for other purposes are passed over.
pub(super) fn jwks(text: &[u8]) -> Result<Vec<TokenKey>, KeyError> {
    let jwks: Jwks = serde_json::from_slice(text).map_err(|error| {
        // Its own words could quote a secret.
        KeyError::NotAJwks(format!("line {}, column {}", error.line(), error.column()))
    })?;
    let mut keys = Vec::new();
    for (at, jwk) in jwks.keys.iter().enumerate() {
        if let Some(key) = jwk.key(at + 1)? {
            let name = jwk.kid.clone();
            keys.push(TokenKey { name, ..key });
        }
    }
    match keys.is_empty() {
        true => Err(KeyError::Nothing),
        false => Ok(keys),
    }
}

impl Jwk {
    /// None: it is for something else.
    fn key(&self, at: usize) -> Result<Option<TokenKey>, KeyError> {
        let part = |field: &'static str, text: &Option<String>| {
            let bytes = text.as_ref().and_then(|it| URL_SAFE_NO_PAD.decode(it).ok());
            bytes.ok_or(KeyError::BadJwk { at, field })
        };
        let bad = |field| KeyError::BadJwk { at, field };
        let algorithm = match (&*self.kty, self.crv.as_deref()) {
            ("RSA", _) => "RS256",
            ("EC", Some("P-256")) => "ES256",
            ("OKP", Some("Ed25519")) => "EdDSA",
            ("oct", _) => "HS256",
            _ => return Ok(None),
        };
        let is_other = |it: &Option<String>, ours| it.as_deref().is_some_and(|it| it != ours);
        if is_other(&self.alg, algorithm) || is_other(&self.purpose, "sig") {
            return Ok(None);
        }
        match algorithm {
            "RS256" => TokenKey::rs256(&part("n", &self.n)?, &part("e", &self.e)?),
            "ES256" => {
                let [x, y] = [part("x", &self.x)?, part("y", &self.y)?];
                TokenKey::es256(&[&[UNCOMPRESSED], &x[..], &y].concat()).ok_or(bad("x"))
            }
            "EdDSA" => TokenKey::ed_dsa(&part("x", &self.x)?).ok_or(bad("x")),
            _ => TokenKey::hs256(&part("k", &self.k)?),
        }
        .map(Some)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyId(…)")
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKey({})", self.algorithm())
    }
}
