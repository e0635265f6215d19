//! `[auth]`: who may come in.

use std::path::PathBuf;

use super::ConfigError;
use super::layers::Layers;
use super::raw::Raw;
use crate::auth::{AccountsOptions, AuthFile, GuardOptions, ThrottleOptions};

/// Addresses that have failed and are remembered. Each costs a hundred bytes.
const ADDRESSES_MAX: usize = 16_384;

pub(super) fn accounts(layers: &Layers, raw: &Raw) -> Result<AccountsOptions, ConfigError> {
    let named = |key: &str, path: &str| {
        (!path.is_empty()).then(|| AuthFile {
            path: PathBuf::from(path),
            named_by: format!("{}: `{key}`", layers.origin(key)),
        })
    };
    let auth = &raw.auth;
    let options = AccountsOptions {
        passwords: named("auth.passwords", &auth.passwords),
        acl: named("auth.acl", &auth.acl),
        anonymous: auth.anonymous,
        throttle: ThrottleOptions {
            failures_max: auth.failures_max,
            interval_ms: auth.failure_interval_ms,
            addresses_max: ADDRESSES_MAX,
        },
    };
    checked(layers, options)
}

/// Somebody must be able to come in, and be allowed something there.
fn checked(layers: &Layers, options: AccountsOptions) -> Result<AccountsOptions, ConfigError> {
    let (authenticates, key) = (options.authenticates(), "auth.anonymous");
    if !authenticates && !options.anonymous {
        let expected =
            "true, or nobody could come in; let users say who they are with `auth.passwords`";
        return Err(bad(layers, key, expected));
    }
    if authenticates && options.acl.is_none() {
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
