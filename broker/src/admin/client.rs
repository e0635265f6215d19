//! Asks a running broker.

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::history::Request;

/// Why a running broker gave no answer, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It says why.
    #[error("{0}")]
    Refused(String),
    /// The connection ended in the middle.
    #[error("the broker ended before the answer was complete")]
    Cut,
    /// Something between here and there failed.
    #[error("asking the running broker failed: {0}")]
    Io(#[from] io::Error),
}

/// Asks the broker that runs on this data directory and writes what it answers. `false`: none runs there.
pub fn ask(data: &Path, request: &Request, out: &mut dyn Write) -> Result<bool, AskError> {
    let mut stream = match UnixStream::connect(super::socket(data)) {
        Ok(stream) => stream,
        // What a broker that was killed leaves behind refuses connections.
        Err(error) if is_nobody(error.kind()) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let line = serde_json::to_string(request).map_err(io::Error::from)?;
    match stream.write_all(format!("{line}\n").as_bytes()) {
        // Whoever refuses does not wait for the request, and has said why.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        written => written?,
    }
    for line in BufReader::new(stream).lines() {
        let line = line?;
        match (line.get(..1), line.get(1..)) {
            (Some("="), Some(text)) => writeln!(out, "{text}")?,
            (Some("."), _) => {
                out.flush()?;
                return Ok(true);
            }
            (Some("!"), Some(reason)) => return Err(AskError::Refused(reason.to_owned())),
            _ => return Err(AskError::Cut),
        }
    }
    Err(AskError::Cut)
}

fn is_nobody(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::ConnectionRefused)
}
