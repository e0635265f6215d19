//! What goes to a client of the socket: lines, and at last a verdict. No piece of it waits longer than it may.

use std::io::{self, BufWriter, Error, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::history::Stop;

/// Bytes that go out together.
const PIECE_BYTES: usize = 64 << 10;

/// Puts `=` before every line and ends with the verdict.
pub(super) struct Answer {
    stream: BufWriter<Pieces>,
    stop: Stop,
    in_line: bool,
}

impl Answer {
    /// To a client that takes each piece within `patience`.
    pub(super) fn new(stream: Arc<UnixStream>, stop: &Stop, patience: Duration) -> Self {
        Self {
            stream: BufWriter::with_capacity(PIECE_BYTES, Pieces { stream, patience }),
            stop: stop.clone(),
            in_line: false,
        }
    }

    pub(super) fn end(mut self, verdict: Result<(), String>) {
        let line_end = if self.in_line { "\n" } else { "" };
        let written = match verdict {
            Ok(()) => writeln!(self.stream, "{line_end}."),
            Err(reason) => writeln!(self.stream, "{line_end}!{}", reason.replace('\n', " ")),
        };
        if let Err(error) = written.and_then(|()| self.stream.flush()) {
            tracing::debug!(%error, "an admin client left before its answer");
        }
        // What could not be written is not tried again.
        let (_stream, _unwritten) = self.stream.into_parts();
    }
}

impl Write for Answer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stop.check().map_err(Error::other)?;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if !self.in_line {
                self.stream.write_all(b"=")?;
            }
            self.stream.write_all(line)?;
            self.in_line = !line.ends_with(b"\n");
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Writes a piece whole before its time is over, or fails: a client that takes a byte now and then is as slow as one that takes none.
struct Pieces {
    stream: Arc<UnixStream>,
    patience: Duration,
}

impl Write for Pieces {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let deadline = Instant::now() + self.patience;
        let mut left = piece;
        while !left.is_empty() {
            let rest = rest(deadline, "the client does not take its answer")?;
            self.stream.set_write_timeout(Some(rest))?;
            match (&*self.stream).write(left) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(taken) => left = &left[taken..],
                Err(error) if is_none_yet(error.kind()) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is left until a deadline, which is never nothing; an error after it.
pub(super) fn rest(deadline: Instant, late: &'static str) -> io::Result<Duration> {
    let rest = deadline.saturating_duration_since(Instant::now());
    match rest.is_zero() {
        true => Err(Error::new(ErrorKind::TimedOut, late)),
        false => Ok(rest),
    }
}

/// Whether a call came back without anything done, and the deadline decides.
pub(super) fn is_none_yet(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}
