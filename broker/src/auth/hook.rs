//! Asks a program of the deployment, over HTTP on this machine, who shows a user name and a password. What goes wrong there lets
//! nobody in.

mod cache;
mod exchange;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use syncline_protocol::UnixMillis;

use super::tokens::is_name;
use super::{Credentials, Denied};
use crate::acl::{Policy, Rights};
use cache::Cache;
pub use exchange::{HookUrl, HookUrlError};

/// Where is asked, and for how long that counts.
#[derive(Debug, Clone)]
pub struct HookOptions {
    /// Where.
    pub url: HookUrl,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How long who was let in may come again without being asked about; 0: never.
    pub cache_ms: u64,
    /// How many are remembered.
    pub cache_max: usize,
}

/// Who somebody is, as the program says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Vouched {
    pub(super) user: String,
    pub(super) rights: Rights,
    pub(super) expires_at: Option<UnixMillis>,
}

/// Why somebody was not vouched for.
#[derive(Debug, thiserror::Error)]
enum HookError {
    #[error("it was refused")]
    Refused,
    #[error("no answer: {0}")]
    NoAnswer(#[from] exchange::ExchangeError),
    #[error("it was answered with {0}")]
    Status(u16),
    #[error("the answer is not understood: {0}")]
    Answer(String),
}

/// What the program says of somebody whom it lets in. Names that there are none of could be meant to forbid something, so they
/// are not passed over.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    user: Option<String>,
    expires_in_s: Option<u64>,
    #[serde(default)]
    everything: bool,
    #[serde(default)]
    groups: serde_json::Map<String, serde_json::Value>,
    #[serde(default)]
    topics: Vec<String>,
    #[serde(default)]
    gateway: bool,
}

/// Asks.
pub(super) struct Hook {
    options: HookOptions,
    runtime: tokio::runtime::Handle,
    cache: Mutex<Cache>,
    /// It did not answer the last time.
    is_silent: AtomicBool,
}

impl Hook {
    /// Inside a tokio runtime, whose threads are not those that ask.
    pub(super) fn new(options: HookOptions) -> Self {
        Self {
            cache: Mutex::new(Cache::new(options.cache_ms, options.cache_max)),
            options,
            runtime: tokio::runtime::Handle::current(),
            is_silent: AtomicBool::new(false),
        }
    }

    /// Who somebody is who was asked about a little while ago.
    pub(super) fn known(&self, credentials: &Credentials, now: UnixMillis) -> Option<Vouched> {
        self.cache().get(credentials, now).cloned()
    }

    /// Nobody was asked about, nor is anybody being asked about whose answer will be remembered.
    pub(super) fn forget(&self) {
        self.cache().clear();
    }

    /// Who somebody is. Blocks, not longer than the timeout.
    pub(super) fn ask(
        &self,
        credentials: &Credentials,
        now: UnixMillis,
    ) -> Result<Vouched, Denied> {
        let asked_in = self.cache().age();
        let asked = self.look(credentials, now);
        let is_silent = !matches!(asked, Ok(_) | Err(HookError::Refused));
        let was_silent = self.is_silent.swap(is_silent, Ordering::Relaxed);
        let url = &self.options.url;
        match asked {
            Ok(vouched) => {
                let mut cache = self.cache();
                cache.put(asked_in, credentials, vouched.clone(), now);
                Ok(vouched)
            }
            Err(HookError::Refused) => Err(Denied::BadCredentials),
            Err(error) => {
                if was_silent {
                    tracing::debug!(%url, %error, "nobody vouches for anybody");
                } else {
                    tracing::warn!(%url, %error, "nobody vouches for anybody, so nobody is let in by it until it answers");
                }
                Err(Denied::Unavailable)
            }
        }
    }

    fn look(&self, credentials: &Credentials, now: UnixMillis) -> Result<Vouched, HookError> {
        let body = question(credentials).to_string();
        let exchange = exchange::post(&self.options.url, body, self.options.timeout);
        let (status, body) = self.runtime.block_on(exchange)?;
        match status {
            200 => vouched(credentials, &body, now),
            401 | 403 => Err(HookError::Refused),
            status => Err(HookError::Status(status)),
        }
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What it is asked. A name of what is not there is left out.
fn question(credentials: &Credentials) -> serde_json::Value {
    let caller = &credentials.caller;
    let password = credentials.password.as_ref();
    // JSON is text; a password that is none is nobody's.
    let password = password.map(|it| String::from_utf8_lossy(it.expose()).into_owned());
    let all = json!({
        "user": credentials.user,
        "password": password,
        "client_id": credentials.client_id,
        "address": caller.address.map(|address| address.ip().to_canonical().to_string()),
        "certificate": caller.certificate.as_ref().map(|it| &it.subject),
    });
    let there = |(_, value): &(String, serde_json::Value)| !value.is_null();
    let names = all.as_object().cloned().unwrap_or_default();
    names.into_iter().filter(there).collect()
}

fn vouched(credentials: &Credentials, body: &[u8], now: UnixMillis) -> Result<Vouched, HookError> {
    let answer: Answer = serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        HookError::Answer(format!(
            "line {line}, column {column} ({:?})",
            error.classify()
        ))
    })?;
    let user = answer.user.or_else(|| credentials.user.clone());
    let user = user.filter(|user| is_name(user));
    let user = user.ok_or_else(|| HookError::Answer("`user` is no name".to_owned()))?;
    let rights = json!({
        "everything": answer.everything,
        "groups": answer.groups,
        "topics": answer.topics,
        "gateway": answer.gateway,
    });
    let rights = Policy::rights_in_json(rights);
    let seconds = answer.expires_in_s;
    Ok(Vouched {
        user,
        rights: rights.map_err(|error| HookError::Answer(error.to_string()))?,
        expires_at: seconds.map(|it| now.plus(it.min(SECONDS_MAX) * 1_000)),
    })
}

/// Times are cut off here (some 30,000 years), so that they can be added to.
const SECONDS_MAX: u64 = 1_000_000_000_000;

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;
    use crate::auth::Secret;

    const NOW: UnixMillis = UnixMillis::new(5_000);

    fn ana() -> Credentials {
        Credentials {
            user: Some("ana".to_owned()),
            password: Some(Secret::new("right")),
            ..Credentials::default()
        }
    }

    #[test]
    fn wall_10_it_is_asked_about_what_is_there() {
        let asked = |credentials: &Credentials| question(credentials).to_string();
        assert_eq!(asked(&ana()), r#"{"password":"right","user":"ana"}"#);
        let mut all = ana();
        all.client_id = Some("phone".to_owned());
        all.caller.address = Some(([10, 0, 0, 1], 99).into());
        all.caller.certificate = Some(crate::transport::ClientCertificate {
            subject: "CN=kitchen".to_owned(),
            ..Default::default()
        });
        let text = asked(&all);
        for part in [
            r#""client_id":"phone""#,
            r#""address":"10.0.0.1""#,
            r#""certificate":"CN=kitchen""#,
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn wall_10_an_answer_says_who_and_what_and_until_when() {
        let says = |body: &str| vouched(&ana(), body.as_bytes(), NOW).map_err(|it| it.to_string());
        let plain = says("{}").unwrap();
        assert_eq!((&*plain.user, plain.expires_at), ("ana", None));
        assert_eq!(plain.rights, Rights::default());
        let body = r#"{"user":"a-1","expires_in_s":60,"groups":{"home":"rw"},"topics":["r x/%u"]}"#;
        let full = says(body).unwrap();
        assert_eq!(
            (&*full.user, full.expires_at),
            ("a-1", Some(UnixMillis::new(65_000)))
        );
        assert_ne!(full.rights, Rights::default());
        assert_eq!(
            says(r#"{"everything":true}"#).unwrap().rights,
            Rights::everything()
        );
        for (wrong, about) in [
            ("", "not understood"),
            ("[]", "not understood"),
            (r#"{"expires_s":60}"#, "not understood"),
            (r#"{"user":""}"#, "no name"),
            (r#"{"groups":{"%c":"r"}}"#, "%c"),
            (r#"{"groups":{"home":5}}"#, "home"),
            (r#"{"topics":["x"]}"#, "such as"),
        ] {
            let error = says(wrong).unwrap_err();
            assert!(error.contains(about), "{wrong}: {error}");
        }
    }

    /// What a program makes of a question that is answered with these bytes, or with none, and a connection that stays open.
    fn answered_with(bytes: Vec<u8>) -> Result<Vouched, Denied> {
        let patience = Duration::from_millis(if bytes.is_empty() { 100 } else { 20_000 });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let hook = Hook::new(HookOptions {
            url: url.parse().unwrap(),
            timeout: patience,
            cache_ms: 60_000,
            cache_max: 9,
        });
        let program = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4_096]).unwrap();
            // Whoever has heard enough hangs up, also in the middle.
            let _ = stream.write_all(&bytes);
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let asked = hook.ask(&ana(), NOW);
        program.join().unwrap();
        let known = hook.known(&ana(), NOW);
        assert_eq!(known, asked.clone().ok(), "only who was let in is known");
        asked
    }

    #[test]
    fn wall_10_silence_redirects_and_odd_answers_let_nobody_in() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _inside = runtime.enter();
        let answer = |head: &str, body: &str| {
            let length = body.len();
            format!("HTTP/1.1 {head}\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
        };
        assert!(answered_with(answer("200 OK", "{}")).is_ok());
        for refused in ["401 Unauthorized", "403 Forbidden"] {
            let asked = answered_with(answer(refused, "{}"));
            assert_eq!(asked, Err(Denied::BadCredentials));
        }
        for odd in [
            Vec::new(),
            b"{}".to_vec(),
            answer("302 Found\r\nlocation: /", "{}"),
            answer("201 Created", "{}"),
            answer("500 Internal Server Error", "{}"),
            answer("200 OK", ""),
            answer("200 OK", "{} {}"),
            answer("200 OK", &format!("{{}}{}", " ".repeat(64 << 10))),
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\nzz\r\n".to_vec(),
        ] {
            let asked = answered_with(odd.clone());
            assert_eq!(asked, Err(Denied::Unavailable), "{}", odd.escape_ascii());
        }
    }
}
