//! One POST over HTTP/1.1, on a connection of its own.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use axum::http::Uri;
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// An answer is read up to here.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Where is asked: plain HTTP, so on this machine only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookUrl {
    host: String,
    port: u16,
    path: String,
}

/// Why a URL is none for this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an http:// URL on this machine (localhost, 127.0.0.1 or [::1]), because passwords are sent there; put a proxy there for another one"
)]
pub struct HookUrlError;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExchangeError {
    #[error("it took longer than auth.http.timeout_ms")]
    Timeout,
    #[error(transparent)]
    Connect(#[from] std::io::Error),
    #[error(transparent)]
    Http(#[from] hyper::Error),
    #[error("{0}")]
    Request(#[from] axum::http::Error),
    #[error("its body cannot be read or has more than 64 KiB")]
    Body,
}

impl FromStr for HookUrl {
    type Err = HookUrlError;

    fn from_str(text: &str) -> Result<Self, HookUrlError> {
        let uri: Uri = text.parse().map_err(|_| HookUrlError)?;
        let host = uri.host().ok_or(HookUrlError)?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let is_here = bare == "localhost" || bare.parse().is_ok_and(|it: IpAddr| it.is_loopback());
        let has_user = uri.authority().is_some_and(|it| it.as_str().contains('@'));
        if uri.scheme_str() != Some("http") || !is_here || has_user {
            return Err(HookUrlError);
        }
        Ok(Self {
            host: bare.to_owned(),
            port: uri.port_u16().unwrap_or(80),
            path: uri
                .path_and_query()
                .map_or("/", |it| it.as_str())
                .to_owned(),
        })
    }
}

impl fmt::Display for HookUrl {
    /// Without the query, in which there may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.split('?').next().unwrap_or_default();
        write!(f, "http://{}{path}", self.authority())
    }
}

impl HookUrl {
    fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

/// The status and the body of the answer to a JSON text.
pub(super) async fn post(
    url: &HookUrl,
    body: String,
    timeout: Duration,
) -> Result<(u16, Bytes), ExchangeError> {
    let answer = tokio::time::timeout(timeout, exchange(url, body)).await;
    answer.map_err(|_| ExchangeError::Timeout)?
}

async fn exchange(url: &HookUrl, body: String) -> Result<(u16, Bytes), ExchangeError> {
    let stream = TcpStream::connect((&*url.host, url.port)).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::post(&url.path)
        .header("host", url.authority())
        .header("content-type", "application/json")
        .header("connection", "close")
        .body(Full::new(Bytes::from(body)))?;
    let talk = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX)
            .collect()
            .await;
        let body = body.map_err(|_| ExchangeError::Body)?;
        Ok((status, body.to_bytes()))
    };
    // Whatever becomes of the connection, the exchange knows; it ends with it.
    let moving = async { drop(connection.await) };
    tokio::pin!(talk, moving);
    tokio::select! {
        answer = &mut talk => answer,
        () = &mut moving => talk.await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_10_passwords_are_sent_to_this_machine_alone() {
        let url = |text: &str| text.parse::<HookUrl>().map(|it| it.to_string());
        let said = url("http://127.0.0.1:9000/auth?key=secret");
        assert_eq!(said.as_deref(), Ok("http://127.0.0.1:9000/auth"));
        assert_eq!(url("http://[::1]:81").as_deref(), Ok("http://[::1]:81/"));
        assert_eq!(
            url("http://localhost").as_deref(),
            Ok("http://localhost:80/")
        );
        for text in [
            "",
            "127.0.0.1",
            "https://localhost/",
            "http://auth.example/",
            "http://10.0.0.1/",
            "http://localhost.example/",
            "http://localhost@auth.example/",
            "http://user:pw@localhost/",
        ] {
            assert_eq!(url(text), Err(HookUrlError), "{text}");
        }
    }
}
