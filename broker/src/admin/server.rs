//! Answers on the socket. A thread accepts, and each request has a thread of its own: what it does blocks.

use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{fs, mem};

use super::REQUEST_BYTES_MAX;
use crate::history::{Desk, HistoryError, Request};

/// The limits of the socket.
#[derive(Debug, Clone, Copy)]
pub struct AdminOptions {
    /// Requests answered at the same time; more are refused.
    pub requests_max: usize,
    /// How long a client may take to send its request, or to take a piece of the answer.
    pub patience: Duration,
}

impl Default for AdminOptions {
    fn default() -> Self {
        Self {
            requests_max: 4,
            patience: Duration::from_secs(60),
        }
    }
}

/// The socket of a running broker. [`Admin::close`] ends it.
#[derive(Debug)]
pub struct Admin {
    path: PathBuf,
    closing: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Admin {
    /// Listens in a data directory that this process has for itself: a socket that is there already is a dead one's.
    pub fn start(data: &Path, desk: Arc<Desk>, options: AdminOptions) -> io::Result<Self> {
        let path = super::socket(data);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        let closing = Arc::new(AtomicBool::new(false));
        let accepting = Accepting {
            listener,
            desk,
            options,
            closing: Arc::clone(&closing),
            running: Vec::new(),
        };
        let thread = thread::Builder::new()
            .name("admin".to_owned())
            .spawn(|| accepting.run())?;
        Ok(Self {
            path,
            closing,
            thread: Some(thread),
        })
    }

    /// Takes no more requests and ends those under way at their next line. Blocks.
    pub fn close(mut self) {
        self.closing.store(true, Ordering::Release);
        // Wakes the accepting thread.
        drop(UnixStream::connect(&self.path));
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the admin thread panicked");
        }
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(%error, "the admin socket was not removed");
        }
    }
}

struct Accepting {
    listener: UnixListener,
    desk: Arc<Desk>,
    options: AdminOptions,
    closing: Arc<AtomicBool>,
    running: Vec<JoinHandle<()>>,
}

impl Accepting {
    fn run(mut self) {
        loop {
            let accepted = self.listener.accept();
            if self.closing.load(Ordering::Acquire) {
                break;
            }
            match accepted {
                Ok((stream, _)) => self.begin(stream),
                Err(error) => {
                    tracing::warn!(%error, "an admin connection was not accepted");
                    // Without file descriptors the next try fails as fast as this one.
                    thread::park_timeout(Duration::from_secs(1));
                }
            }
        }
        // A request that panicked has told its client.
        mem::take(&mut self.running)
            .into_iter()
            .for_each(|thread| drop(thread.join()));
    }

    fn begin(&mut self, stream: UnixStream) {
        self.running.retain(|thread| !thread.is_finished());
        if self.running.len() >= self.options.requests_max {
            let reason = "too many requests are being answered; try again";
            return Answer::new(stream, &self.closing).end(Err(reason.to_owned()));
        }
        let (desk, closing, patience) = (
            Arc::clone(&self.desk),
            Arc::clone(&self.closing),
            self.options.patience,
        );
        let answer = move || serve(stream, &desk, &closing, patience);
        match thread::Builder::new()
            .name("admin-request".to_owned())
            .spawn(answer)
        {
            Ok(thread) => self.running.push(thread),
            Err(error) => tracing::warn!(%error, "an admin request was not answered"),
        }
    }
}

fn serve(stream: UnixStream, desk: &Desk, closing: &Arc<AtomicBool>, patience: Duration) {
    let request = match receive(&stream, patience) {
        Ok(request) => request,
        Err(error) => return Answer::new(stream, closing).end(Err(error.to_string())),
    };
    tracing::info!(command = request.name(), "an admin request");
    let mut answer = Answer::new(stream, closing);
    let answered = catch_unwind(AssertUnwindSafe(|| desk.answer(&request, &mut answer)));
    let told = match answered {
        Ok(answered) => answered.map_err(|error: HistoryError| error.to_string()),
        Err(_) => Err("answering panicked; see the broker's log".to_owned()),
    };
    answer.end(told);
}

fn receive(stream: &UnixStream, patience: Duration) -> io::Result<Request> {
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let mut line = String::new();
    BufReader::new(stream.take(REQUEST_BYTES_MAX)).read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

/// Puts `=` before every line and ends with the verdict.
struct Answer {
    stream: BufWriter<UnixStream>,
    closing: Arc<AtomicBool>,
    in_line: bool,
}

impl Answer {
    fn new(stream: UnixStream, closing: &Arc<AtomicBool>) -> Self {
        Self {
            stream: BufWriter::with_capacity(64 << 10, stream),
            closing: Arc::clone(closing),
            in_line: false,
        }
    }

    fn end(mut self, verdict: Result<(), String>) {
        let line_end = if self.in_line { "\n" } else { "" };
        let written = match verdict {
            Ok(()) => writeln!(self.stream, "{line_end}."),
            Err(reason) => writeln!(self.stream, "{line_end}!{}", reason.replace('\n', " ")),
        };
        if let Err(error) = written.and_then(|()| self.stream.flush()) {
            tracing::debug!(%error, "an admin client left before its answer");
        }
    }
}

impl Write for Answer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.closing.load(Ordering::Acquire) {
            return Err(io::Error::other("the broker is shutting down"));
        }
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
