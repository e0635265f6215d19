//! Tokens (JWT, RFC 7519, in compact form): who somebody is, until when, and perhaps which groups, said by whoever has a key.
//! Pure: `now` comes in.
//!
//! The algorithm is that of the key. A header that names another one, `none` among them, finds no key.

mod keys;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use syncline_protocol::UnixMillis;

use super::{AuthError, AuthFile};
use crate::acl::Rights;
use keys::TokenKey;
pub use keys::{KeyError, KeyId};

/// A longer one is none.
const BYTES_MAX: usize = 16 << 10;

/// A longer name is none.
const USER_BYTES_MAX: usize = 1_024;

/// Times are cut off here (in the year 33658), so that they can be added to.
const SECONDS_MAX: f64 = 1e12;

/// Whose tokens are taken.
#[derive(Debug, Clone, Default)]
pub struct TokenOptions {
    /// A secret of HS256.
    pub secret: Option<AuthFile>,
    /// Public keys, one a file, as PEM.
    pub public_keys: Vec<AuthFile>,
    /// A JWKS file.
    pub jwks: Option<AuthFile>,
    /// Who must have issued them.
    pub issuer: Option<String>,
    /// Whom they must be meant for.
    pub audience: Option<String>,
    /// A user name that may stand beside any token.
    pub user_name: Option<String>,
    /// How far the clocks of others may be from ours.
    pub leeway_ms: u64,
}

/// The keys, as the files have them.
#[derive(Debug, Clone, Default)]
pub(super) struct Keys(Vec<TokenKey>);

/// What a token has said of somebody who was let in by it. It is worth nothing once its key is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenProof {
    pub(super) key: KeyId,
    /// What it grants beside the rules.
    pub(super) rights: Rights,
}

/// A token that is what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verified {
    pub(super) user: String,
    /// With the leeway.
    pub(super) expires_at: UnixMillis,
    pub(super) proof: TokenProof,
}

/// Why a token is not taken, for the log. Never with anything of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum TokenError {
    #[error("it is no token in compact form")]
    Form,
    #[error("no key of auth.tokens is for its algorithm and key id, or it has a `crit` header")]
    NoKey,
    #[error("its signature is wrong")]
    Signature,
    #[error("its claims are not what is asked for: sub and exp, and of the right kinds")]
    Claims,
    #[error("its `sync` claim is not a map of groups to \"r\" or \"rw\"")]
    Groups,
    #[error("it is not of auth.tokens.issuer")]
    Issuer,
    #[error("it is not meant for auth.tokens.audience, or meant for somebody where that is empty")]
    Audience,
    #[error("it is not valid yet")]
    NotYet,
    #[error("it has expired")]
    Expired,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: f64,
    nbf: Option<f64>,
    iss: Option<String>,
    aud: Option<Audience>,
    sync: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl TokenOptions {
    /// Whether there is a file that could have a key.
    pub fn has_keys(&self) -> bool {
        self.secret.is_some() || self.jwks.is_some() || !self.public_keys.is_empty()
    }

    /// Whether a user name may stand beside a token of this user.
    pub(super) fn goes_with(&self, shown: Option<&str>, user: &str) -> bool {
        match shown {
            None | Some("") => true,
            Some(shown) => shown == user || self.user_name.as_deref() == Some(shown),
        }
    }

    /// Who a token says somebody is.
    pub(super) fn verify(
        &self,
        keys: &Keys,
        token: &[u8],
        now: UnixMillis,
    ) -> Result<Verified, TokenError> {
        let parts = Parts::of(token).ok_or(TokenError::Form)?;
        let key = keys.signer(&parts)?;
        let claims: Claims = json(parts.claims).ok_or(TokenError::Claims)?;
        self.check(&claims, now)?;
        if !is_name(&claims.sub) {
            return Err(TokenError::Claims);
        }
        Ok(Verified {
            user: claims.sub,
            expires_at: millis(claims.exp).plus(self.leeway_ms),
            proof: TokenProof {
                key: key.id.clone(),
                rights: claims.sync.map(rights).transpose()?.unwrap_or_default(),
            },
        })
    }

    fn check(&self, claims: &Claims, now: UnixMillis) -> Result<(), TokenError> {
        if self.issuer.is_some() && self.issuer != claims.iss {
            return Err(TokenError::Issuer);
        }
        let is_meant = match (&self.audience, &claims.aud) {
            (None, None) => true,
            // RFC 7519, 4.1.3: whoever does not find itself there refuses.
            (Some(ours), Some(theirs)) => theirs.names(ours),
            _ => false,
        };
        if !is_meant {
            return Err(TokenError::Audience);
        }
        if claims
            .nbf
            .is_some_and(|at| millis(at) > now.plus(self.leeway_ms))
        {
            return Err(TokenError::NotYet);
        }
        match millis(claims.exp).plus(self.leeway_ms) > now {
            true => Ok(()),
            false => Err(TokenError::Expired),
        }
    }
}

/// Whether a password is meant as a token: three parts, the first of which is a header.
pub(super) fn is_token(password: &[u8]) -> bool {
    Parts::of(password).is_some_and(|parts| json::<Header>(parts.header).is_some())
}

struct Parts<'a> {
    header: &'a str,
    claims: &'a str,
    signature: &'a str,
    /// What was signed.
    signed: &'a str,
}

impl<'a> Parts<'a> {
    fn of(token: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(token).ok()?;
        let text = Some(text).filter(|it| it.len() <= BYTES_MAX)?;
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let whole = !claims.contains('.');
        whole.then_some(Self {
            header,
            claims,
            signature,
            signed,
        })
    }
}

impl Keys {
    /// Reads the files. Blocks.
    pub(super) fn read(options: &TokenOptions) -> Result<Self, AuthError> {
        let mut keys = Vec::new();
        if let Some(file) = &options.secret {
            keys.push(file.keys(TokenKey::secret)?);
        }
        for file in &options.public_keys {
            keys.push(file.keys(TokenKey::public)?);
        }
        if let Some(file) = &options.jwks {
            keys.extend(file.keys(keys::jwks)?);
        }
        Ok(Self(keys))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether a key is still there.
    pub(super) fn has(&self, id: &KeyId) -> bool {
        self.0.iter().any(|key| key.id == *id)
    }

    /// The key that has signed a token. One without a name may be any of its algorithm, one with a name only where that is a
    /// key's, or where a key has none.
    fn signer(&self, parts: &Parts<'_>) -> Result<&TokenKey, TokenError> {
        let header: Header = json(parts.header).ok_or(TokenError::Form)?;
        if header.crit.is_some() {
            return Err(TokenError::NoKey);
        }
        let could = |key: &&TokenKey| {
            let is_named = match (&header.kid, &key.name) {
                (Some(asked), Some(name)) => asked == name,
                _ => true,
            };
            key.algorithm() == header.alg && is_named
        };
        let mut candidates = self.0.iter().filter(could).peekable();
        candidates.peek().ok_or(TokenError::NoKey)?;
        let signature = URL_SAFE_NO_PAD.decode(parts.signature);
        let signature = signature.map_err(|_| TokenError::Form)?;
        let signed = parts.signed.as_bytes();
        let signer = candidates.find(|key| key.has_signed(signed, &signature));
        signer.ok_or(TokenError::Signature)
    }
}

impl Audience {
    fn names(&self, ours: &str) -> bool {
        match self {
            Self::One(one) => one == ours,
            Self::Many(many) => many.iter().any(|it| it == ours),
        }
    }
}

fn json<T: for<'a> Deserialize<'a>>(part: &str) -> Option<T> {
    let text = URL_SAFE_NO_PAD.decode(part).ok()?;
    serde_json::from_slice(&text).ok()
}

fn rights(claim: serde_json::Value) -> Result<Rights, TokenError> {
    let groups: BTreeMap<String, String> =
        serde_json::from_value(claim).map_err(|_| TokenError::Groups)?;
    Rights::to_named_groups(groups).map_err(|_| TokenError::Groups)
}

/// A principal's name that can stand in a session's key and in the log.
pub(super) fn is_name(user: &str) -> bool {
    !user.is_empty() && user.len() <= USER_BYTES_MAX && !user.contains(char::is_control)
}

fn millis(seconds: f64) -> UnixMillis {
    // Below 2^53, and never negative.
    UnixMillis::new((seconds.clamp(0.0, SECONDS_MAX) * 1_000.0) as u64)
}
