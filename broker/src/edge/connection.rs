//! Moves the bytes of one connection: one task, any byte stream.

use std::future::{poll_fn, ready};
use std::io;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{self, Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::task::yield_now;
use tokio::time::{Sleep, sleep_until, timeout};
use uuid::Uuid;

use super::counters::Count;
use super::entrance::Entrance;
use super::limits::Crowded;
use super::peer::Peer;
use super::shared::Shared;
use crate::transport::Caller;

/// How long a client may take for the last bytes.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How long a client may take to close once we have.
const LINGER: Duration = Duration::from_millis(500);

/// Whoever makes work for longer lets others go first.
const TURN: Duration = Duration::from_micros(200);

/// Room for one read.
const READ_BYTES: usize = 16 << 10;

/// A sleep that only needs to be right about the nearest timeout.
const FAR: Duration = Duration::from_secs(3_600);

/// What has moved.
enum Moved {
    Bytes,
    Closed,
}

/// Counts a connection by its address; see [`Shared::admit`].
pub(super) fn admit(shared: &Shared, caller: &Caller, may_wait: bool) -> Option<Entrance> {
    shared.admit(caller, may_wait, Instant::now())
}

/// Serves a connection that has arrived; one that is `crowded` out gets to know so. A panic ends this connection alone.
pub(crate) async fn serve<S>(shared: Arc<Shared>, io: S, caller: Caller, crowded: Option<Crowded>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let counters = Arc::clone(&shared.counters);
    let served = talk(shared, io, caller, crowded);
    if unwound(served).await.is_err() {
        counters.count(Count::EndPanicked);
        tracing::error!("a connection panicked and was closed");
    }
}

/// Something panicked.
struct Unwound;

/// What a task does for one client; it is not polled again after a panic, so nothing sees what that left behind.
async fn unwound(served: impl Future<Output = ()>) -> Result<(), Unwound> {
    let mut served = pin!(served);
    let poll = |cx: &mut Context<'_>| {
        let polled = catch_unwind(AssertUnwindSafe(|| served.as_mut().poll(cx)));
        polled.map_or(Poll::Ready(Err(Unwound)), |it| it.map(Ok))
    };
    poll_fn(poll).await
}

/// Until it ends. One that is `crowded` out only gets to know that. What a connection knows lies apart from its task, which
/// would hold it once for each place that it passes.
async fn talk<S>(shared: Arc<Shared>, io: S, caller: Caller, crowded: Option<Crowded>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut connection = Connection::begin(shared, io, caller, crowded);
    connection.run().await;
    let (last_words, io) = connection.end();
    close(last_words, io).await;
}

struct Connection<S> {
    peer: Peer,
    io: S,
    input: BytesMut,
    /// Something written is not flushed.
    unflushed: bool,
    alarm: Pin<Box<Sleep>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    fn begin(shared: Arc<Shared>, io: S, caller: Caller, crowded: Option<Crowded>) -> Box<Self> {
        let fresh_client_id = format!("auto-{}", Uuid::new_v4().simple());
        let now = Instant::now();
        let mut peer = Peer::new(shared, caller, fresh_client_id, now);
        if let Some(crowded) = crowded {
            peer.refuse_with(crowded, now);
        }
        let alarm = Box::pin(sleep_until((now + FAR).into()));
        Box::new(Self {
            peer,
            io,
            input: BytesMut::new(),
            unflushed: false,
            alarm,
        })
    }

    async fn run(&mut self) {
        let mailbox = self.peer.mailbox();
        self.peer.mail(Instant::now());
        loop {
            let began = Instant::now();
            let is_late = || began.elapsed() > TURN;
            let left = self.peer.work(began, &mut self.input, is_late);
            if is_late() {
                yield_now().await;
            }
            if self.peer.ended().is_some() {
                return;
            }
            self.release();
            self.set_alarm();
            let Self {
                peer,
                io,
                input,
                unflushed,
                alarm,
            } = self;
            let reads = !left && peer.wants_input();
            tokio::select! {
                () = mailbox.rung() => peer.mail(Instant::now()),
                moved = poll_fn(|cx| transfer(cx, io, input, peer, unflushed, reads)) => {
                    match moved {
                        Ok(Moved::Bytes) => {}
                        Ok(Moved::Closed) | Err(_) => peer.lost(Instant::now()),
                    }
                }
                () = alarm.as_mut() => alarm.as_mut().reset((Instant::now() + FAR).into()),
                () = ready(()), if left => {}
            }
        }
    }

    /// What was read or written and is empty now holds no memory.
    fn release(&mut self) {
        for bytes in [&mut self.input, self.peer.output()] {
            if bytes.is_empty() {
                *bytes = BytesMut::new();
            }
        }
    }

    /// An alarm that rings too early does no harm, so it is only ever moved forward.
    fn set_alarm(&mut self) {
        if let Some(at) = self.peer.next_timeout()
            && tokio::time::Instant::from(at) < self.alarm.deadline()
        {
            self.alarm.as_mut().reset(at.into());
        }
    }

    /// What there is still to say. Nothing else stays of it while the client takes its time.
    fn end(mut self) -> (BytesMut, S) {
        if let Some(reason) = self.peer.ended() {
            tracing::debug!(caller = %self.peer.caller(), %reason, "disconnected");
        }
        (self.peer.output().split(), self.io)
    }
}

/// The client hears the last words even if it was still talking: an unread byte would turn the end into a reset.
async fn close<S: AsyncRead + AsyncWrite + Unpin>(last_words: BytesMut, mut io: S) {
    let said = timeout(LAST_WORDS, async {
        io.write_all(&last_words).await?;
        io.shutdown().await
    });
    match said.await {
        Ok(Ok(())) => drop(timeout(LINGER, until_closed(&mut io)).await),
        _ => tracing::trace!("the last bytes were not taken"),
    }
}

/// Throws away what the client still says, until it closes.
async fn until_closed<S: AsyncRead + Unpin>(io: &mut S) {
    let mut rest = [0; 1_024];
    while io.read(&mut rest).await.is_ok_and(|n| n > 0) {}
}

/// Writes and reads what is possible; ready as soon as something has moved.
fn transfer<S: AsyncRead + AsyncWrite + Unpin>(
    cx: &mut Context<'_>,
    io: &mut S,
    input: &mut BytesMut,
    peer: &mut Peer,
    unflushed: &mut bool,
    reads: bool,
) -> Poll<io::Result<Moved>> {
    let wrote = write(cx, io, peer.output(), unflushed)?;
    let is_stuck = !peer.output().is_empty();
    peer.set_stuck(is_stuck);
    if reads && let Poll::Ready(read) = read(cx, io, input) {
        return Poll::Ready(read);
    }
    if wrote {
        Poll::Ready(Ok(Moved::Bytes))
    } else {
        Poll::Pending
    }
}

/// Reads by way of the stack: a connection that says nothing holds no memory to be spoken into.
fn read<S: AsyncRead + Unpin>(
    cx: &mut Context<'_>,
    io: &mut S,
    input: &mut BytesMut,
) -> Poll<io::Result<Moved>> {
    let mut space = [MaybeUninit::uninit(); READ_BYTES];
    let mut bytes = ReadBuf::uninit(&mut space);
    task::ready!(Pin::new(io).poll_read(cx, &mut bytes))?;
    if bytes.filled().is_empty() {
        return Poll::Ready(Ok(Moved::Closed));
    }
    input.extend_from_slice(bytes.filled());
    Poll::Ready(Ok(Moved::Bytes))
}

/// Whether something was written.
fn write<S: AsyncWrite + Unpin>(
    cx: &mut Context<'_>,
    io: &mut S,
    output: &mut BytesMut,
    unflushed: &mut bool,
) -> io::Result<bool> {
    let mut wrote = false;
    while !output.is_empty() {
        match Pin::new(&mut *io).poll_write(cx, output) {
            Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(n)) => {
                output.advance(n);
                (wrote, *unflushed) = (true, true);
            }
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => {
                hold_no_more(output);
                break;
            }
        }
    }
    if *unflushed && let Poll::Ready(flushed) = Pin::new(io).poll_flush(cx) {
        flushed?;
        *unflushed = false;
    }
    Ok(wrote)
}

/// What waits for a slow reader takes no more memory than it is.
fn hold_no_more(output: &mut BytesMut) {
    if output.capacity() > 2 * output.len() {
        *output = BytesMut::from(&output[..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn g10_a_panic_of_one_connection_is_told_and_goes_no_further() {
        let panics = async {
            tokio::task::yield_now().await;
            panic!("a bug");
        };
        assert!(unwound(panics).await.is_err());
        assert!(unwound(async {}).await.is_ok());
    }
}
