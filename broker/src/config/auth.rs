//! `[auth]`: who may come in.

use std::path::PathBuf;

use super::ConfigError;
use super::layers::Layers;
use super::raw::{Raw, Tokens};
use crate::auth::{
    AccountsOptions, AuthFile, CertificateName, GuardOptions, ThrottleOptions, TokenOptions,
};

/// Addresses, and users at them, that have failed and are remembered. Each costs a hundred bytes.
const REMEMBERED_MAX: usize = 16_384;

pub(super) fn accounts(layers: &Layers, raw: &Raw) -> Result<AccountsOptions, ConfigError> {
    let auth = &raw.auth;
    let options = AccountsOptions {
        passwords: file(layers, "auth.passwords", &auth.passwords),
        acl: file(layers, "auth.acl", &auth.acl),
        tokens: tokens(layers, &auth.tokens)?,
        certificates: certificates(layers, raw)?,
        anonymous: auth.anonymous,
        throttle: ThrottleOptions {
            failures_max: auth.failures_max,
            address_failures_max: auth.address_failures_max,
            interval_ms: auth.failure_interval_ms,
            remembered_max: REMEMBERED_MAX,
        },
    };
    checked(layers, options)
}

/// They are asked for only where there is a CA to verify them.
fn certificates(layers: &Layers, raw: &Raw) -> Result<Option<CertificateName>, ConfigError> {
    let (key, text) = ("auth.certificates", &*raw.auth.certificates);
    match text.parse() {
        _ if text.is_empty() => Ok(None),
        Ok(_) if raw.tls.client_ca.is_empty() => Err(bad(
            layers,
            key,
            "with `tls.client_ca`, which verifies them",
        )),
        Ok(name) => Ok(Some(name)),
        Err(()) => {
            let names = CertificateName::ALL.map(|(name, _)| name).join(", ");
            Err(bad(layers, key, &format!("empty or one of {names}")))
        }
    }
}

fn file(layers: &Layers, key: &str, path: &str) -> Option<AuthFile> {
    (!path.is_empty()).then(|| AuthFile {
        path: PathBuf::from(path),
        named_by: format!("{}: `{key}`", layers.origin(key)),
    })
}

/// None without any key. Then nothing that says more of tokens may be set either: it would not protect anything.
fn tokens(layers: &Layers, raw: &Tokens) -> Result<Option<TokenOptions>, ConfigError> {
    let text = |text: &String| Some(text.clone()).filter(|it| !it.is_empty());
    let public = raw.public_keys.iter();
    let options = TokenOptions {
        secret: file(layers, "auth.tokens.secret", &raw.secret),
        public_keys: public
            .filter_map(|path| file(layers, "auth.tokens.public_keys", path))
            .collect(),
        jwks: file(layers, "auth.tokens.jwks", &raw.jwks),
        issuer: text(&raw.issuer),
        audience: text(&raw.audience),
        user_name: text(&raw.user_name),
        leeway_ms: raw.leeway_s * 1_000,
    };
    if options.has_keys() {
        return Ok(Some(options));
    }
    let named = [
        ("auth.tokens.issuer", &options.issuer),
        ("auth.tokens.audience", &options.audience),
        ("auth.tokens.user_name", &options.user_name),
    ];
    match named.into_iter().find(|(_, text)| text.is_some()) {
        None => Ok(None),
        Some((key, _)) => {
            let expected = "together with keys: `auth.tokens.secret`, `public_keys` or `jwks`";
            Err(bad(layers, key, expected))
        }
    }
}

/// Users without rules could do nothing. Where nobody can say who they are, everybody is anonymous.
fn checked(layers: &Layers, options: AccountsOptions) -> Result<AccountsOptions, ConfigError> {
    let has_users = options.passwords.is_some() || options.certificates.is_some();
    if has_users && options.acl.is_none() {
        let expected =
            "a rule file such as config/acl.toml: without rules these users may do nothing";
        return Err(bad(layers, "auth.acl", expected));
    }
    Ok(AccountsOptions {
        anonymous: options.anonymous || !options.authenticates(),
        ..options
    })
}

pub(super) fn guard(raw: &Raw) -> GuardOptions {
    GuardOptions {
        threads: raw.auth.threads,
        queue_max: raw.auth.queue_max,
        queue_per_address_max: raw.auth.queue_per_address_max,
    }
}

fn bad(layers: &Layers, key: &str, expected: &str) -> ConfigError {
    ConfigError::BadValue {
        origin: layers.origin(key),
        key: key.to_owned(),
        expected: expected.to_owned(),
    }
}
