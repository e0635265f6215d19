//! Whoever issues tokens (JWT), with a key of its own. It shares no code with the broker.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

/// An issuer.
pub struct Issuer(Key);

enum Key {
    Secret(String),
    P256(Box<EcdsaKeyPair>),
}

impl Issuer {
    /// One with this secret (HS256).
    #[must_use]
    pub fn with_secret(secret: &str) -> Self {
        Self(Key::Secret(secret.to_owned()))
    }

    /// One with a fresh key of P-256 (ES256).
    ///
    /// # Panics
    /// When there is no randomness.
    #[must_use]
    pub fn with_key() -> Self {
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
        let key = EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random);
        Self(Key::P256(Box::new(key.expect("a key"))))
    }

    /// The file that a broker reads: the secret, or a JWKS with the public key.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, path: &Path) {
        let text = match &self.0 {
            Key::Secret(secret) => format!("{secret}\n"),
            Key::P256(key) => {
                let point = key.public_key().as_ref();
                let [x, y] = [&point[1..33], &point[33..]].map(|it| URL_SAFE_NO_PAD.encode(it));
                let jwk = json!({"kty": "EC", "crv": "P-256", "use": "sig", "x": x, "y": y});
                json!({"keys": [jwk]}).to_string()
            }
        };
        fs::write(path, text).expect("a file with keys");
    }

    /// A token for a user that expires in some seconds (or has), with more claims.
    ///
    /// # Panics
    /// When `more` is no map.
    #[must_use]
    pub fn token(&self, user: &str, expires_in_s: i64, more: &Value) -> String {
        let mut claims = json!({"sub": user, "exp": now_s() + expires_in_s});
        for (name, value) in more.as_object().expect("a map of claims") {
            claims[name] = value.clone();
        }
        let algorithm = match &self.0 {
            Key::Secret(_) => "HS256",
            Key::P256(_) => "ES256",
        };
        let parts = [json!({"alg": algorithm, "typ": "JWT"}), claims];
        let parts = parts.map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = parts.join(".");
        let signature = URL_SAFE_NO_PAD.encode(self.signature(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    fn signature(&self, message: &[u8]) -> Vec<u8> {
        match &self.0 {
            Key::Secret(secret) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
                hmac::sign(&key, message).as_ref().to_vec()
            }
            Key::P256(key) => {
                let signature = key.sign(&SystemRandom::new(), message);
                signature.expect("a signature").as_ref().to_vec()
            }
        }
    }
}

fn now_s() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(now.expect("a clock after 1970").as_secs())
        .expect("a clock before the year 292 billion")
}
