//! One HTTP request, without a library.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An answer: its status and everything after the headers.
#[derive(Debug, Clone)]
pub struct Answer {
    /// 200, 404, …
    pub status: u16,
    /// The headers as text, in lower case.
    pub headers: String,
    /// The body as text.
    pub body: String,
}

/// `GET path` from `address`, one connection per request.
///
/// # Errors
/// When the connection fails or what comes back is not HTTP.
pub fn get(address: SocketAddr, path: &str) -> io::Result<Answer> {
    request(
        address,
        &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"),
    )
}

/// Sends `text` as it is and reads to the end.
///
/// # Errors
/// As [`get`].
pub fn request(address: SocketAddr, text: &str) -> io::Result<Answer> {
    let patience = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(text.as_bytes())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    parse(&String::from_utf8_lossy(&bytes))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not an HTTP answer"))
}

fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer {
        status,
        headers: head.to_lowercase(),
        body: body.to_owned(),
    })
}
