//! Answers on the socket. A thread accepts, and each request has a thread of its own: what it does blocks.

use std::fs;
use std::io::{self, Error, ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::REQUEST_BYTES_MAX;
use super::answer::{Answer, is_none_yet, rest};
use super::places::{Places, Turn};
use crate::history::{Desk, HistoryError, Request, Stop};

/// How long a client that is refused may take to hear it.
const REFUSAL_PATIENCE: Duration = Duration::from_millis(100);

/// The limits of the socket.
#[derive(Debug, Clone, Copy)]
pub struct AdminOptions {
    /// Requests answered at the same time; more are refused. Who has not asked yet makes room for who comes.
    pub requests_max: usize,
    /// How long a client may take to send its whole request.
    pub request_within: Duration,
    /// How long a client may take to take a piece of the answer.
    pub piece_within: Duration,
}

impl Default for AdminOptions {
    fn default() -> Self {
        Self {
            requests_max: 4,
            request_within: Duration::from_secs(5),
            piece_within: Duration::from_secs(60),
        }
    }
}

/// The socket of a running broker. [`Admin::close`] ends it.
#[derive(Debug)]
pub struct Admin {
    path: PathBuf,
    stop: Stop,
    thread: JoinHandle<Places>,
}

impl Admin {
    /// Listens in a data directory that this process has for itself: a socket that is there already is a dead one's.
    pub fn start(data: &Path, desk: Arc<Desk>, options: AdminOptions) -> io::Result<Self> {
        let path = super::socket(data);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        let stop = Stop::default();
        let accepting = Accepting {
            listener,
            desk,
            options,
            stop: stop.clone(),
            places: Places::new(options.requests_max),
        };
        let thread = thread::Builder::new()
            .name("admin".to_owned())
            .spawn(|| accepting.run())?;
        Ok(Self { path, stop, thread })
    }

    /// Takes no more requests and has those under way end: each stops between two pieces of its work and says so. What has not ended
    /// `within` this time is left behind, without its client. Blocks.
    pub fn close(self, within: Duration) {
        self.stop.order();
        // Wakes the accepting thread.
        drop(UnixStream::connect(&self.path));
        match self.thread.join().map(|places| places.end(within)) {
            Ok(0) => {}
            Ok(left) => tracing::warn!("{left} admin requests did not end in {within:?}"),
            Err(_) => tracing::error!("the admin thread panicked"),
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
    stop: Stop,
    places: Places,
}

impl Accepting {
    fn run(mut self) -> Places {
        loop {
            let accepted = self.listener.accept();
            if self.stop.check().is_err() {
                return self.places;
            }
            match accepted {
                Ok((stream, _)) => self.begin(Arc::new(stream)),
                Err(error) => {
                    tracing::warn!(%error, "an admin connection was not accepted");
                    // Without file descriptors the next try fails as fast as this one.
                    thread::park_timeout(Duration::from_secs(1));
                }
            }
        }
    }

    fn begin(&mut self, stream: Arc<UnixStream>) {
        if !self.places.have_room() {
            let reason = "too many requests are being answered; try again";
            let answer = Answer::new(stream, &self.stop, REFUSAL_PATIENCE);
            return answer.end(Err(reason.to_owned()));
        }
        let (desk, stop, options) = (Arc::clone(&self.desk), self.stop.clone(), self.options);
        let answer = move |stream, turn: &Turn| serve(stream, turn, &desk, &stop, &options);
        if let Err(error) = self.places.begin(stream, answer) {
            tracing::warn!(%error, "an admin request was not answered");
        }
    }
}

fn serve(stream: Arc<UnixStream>, turn: &Turn, desk: &Desk, stop: &Stop, options: &AdminOptions) {
    let request = receive(&stream, options.request_within);
    let mut answer = Answer::new(stream, stop, options.piece_within);
    if !turn.take() {
        let reason = "others came before this asked anything; try again";
        return answer.end(Err(reason.to_owned()));
    }
    let request = match request {
        Ok(request) => request,
        Err(error) => return answer.end(Err(error.to_string())),
    };
    tracing::info!(command = request.name(), "an admin request");
    let answered = catch_unwind(AssertUnwindSafe(|| {
        desk.answer(&request, stop, &mut answer)
    }));
    let told = match answered {
        Ok(answered) => answered.map_err(|error: HistoryError| error.to_string()),
        Err(_) => Err("answering panicked; see the broker's log".to_owned()),
    };
    answer.end(told);
}

/// The whole line counts: one that comes byte by byte is no faster than one that does not come.
fn receive(mut stream: &UnixStream, within: Duration) -> io::Result<Request> {
    let deadline = Instant::now() + within;
    let mut line = Vec::new();
    let mut piece = [0; 4 << 10];
    while !line.contains(&b'\n') {
        if line.len() > REQUEST_BYTES_MAX {
            return Err(Error::new(
                ErrorKind::InvalidData,
                "the request is too long",
            ));
        }
        stream.set_read_timeout(Some(rest(deadline, "the request did not come in time")?))?;
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => line.extend_from_slice(&piece[..read]),
            Err(error) if is_none_yet(error.kind()) => {}
            Err(error) => return Err(error),
        }
    }
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(serde_json::from_slice(line)?)
}
