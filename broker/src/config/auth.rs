//! `[auth]`: who may come in.

use std::path::PathBuf;

use super::ConfigError;
use super::layers::Layers;
use super::raw::{Raw, Tokens};
use crate::auth::{AccountsOptions, AuthFile, GuardOptions, ThrottleOptions, TokenOptions};

/// Addresses that have failed and are remembered. Each costs a hundred bytes.
const ADDRESSES_MAX: usize = 16_384;

pub(super) fn accounts(layers: &Layers, raw: &Raw) -> Result<AccountsOptions, ConfigError> {
    let auth = &raw.auth;
    let options = AccountsOptions {
        passwords: file(layers, "auth.passwords", &auth.passwords),
        acl: file(layers, "auth.acl", &auth.acl),
        tokens: tokens(layers, &auth.tokens)?,
        anonymous: auth.anonymous,
        throttle: ThrottleOptions {
            failures_max: auth.failures_max,
            interval_ms: auth.failure_interval_ms,
            addresses_max: ADDRESSES_MAX,
        },
    };
    checked(layers, options)
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

/// Somebody must be able to come in, and be allowed something there.
fn checked(layers: &Layers, options: AccountsOptions) -> Result<AccountsOptions, ConfigError> {
    let (authenticates, key) = (options.authenticates(), "auth.anonymous");
    if !authenticates && !options.anonymous {
        let expected = "true, or nobody could come in; let users say who they are with `auth.passwords` or `auth.tokens`";
        return Err(bad(layers, key, expected));
    }
    if options.passwords.is_some() && options.acl.is_none() {
        let expected =
            "a rule file such as config/acl.toml: without rules these users may do nothing";
        return Err(bad(layers, "auth.acl", expected));
    }
    let is_meant = !authenticates || layers.origin_of(key).is_some();
    Ok(AccountsOptions {
        anonymous: options.anonymous && is_meant,
        ..options
    })
}

pub(super) fn guard(raw: &Raw) -> GuardOptions {
    GuardOptions {
        threads: raw.auth.threads,
        queue_max: raw.auth.queue_max,
    }
}

fn bad(layers: &Layers, key: &str, expected: &str) -> ConfigError {
    ConfigError::BadValue {
        origin: layers.origin(key),
        key: key.to_owned(),
        expected: expected.to_owned(),
    }
}
