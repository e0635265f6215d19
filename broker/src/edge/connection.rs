//! Moves the bytes of one connection: one task, any byte stream.

use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
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

/// Room for one read.
const READ_BYTES: usize = 8 << 10;

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

/// Until it ends. One that is `crowded` out only gets to know that.
async fn talk<S>(shared: Arc<Shared>, io: S, caller: Caller, crowded: Option<Crowded>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let fresh_client_id = format!("auto-{}", Uuid::new_v4().simple());
    let now = Instant::now();
    let mut peer = Peer::new(shared, caller, fresh_client_id, now);
    if let Some(crowded) = crowded {
        peer.refuse_with(crowded, now);
    }
    let mut connection = Connection::new(peer, io);
    connection.run().await;
    connection.close().await;
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
    fn new(peer: Peer, io: S) -> Self {
        let alarm = Box::pin(sleep_until((Instant::now() + FAR).into()));
        Self {
            peer,
            io,
            input: BytesMut::new(),
            unflushed: false,
            alarm,
        }
    }

    async fn run(&mut self) {
        let mailbox = self.peer.mailbox();
        self.peer.mail(Instant::now());
        loop {
            self.peer.work(Instant::now(), &mut self.input);
            if self.peer.ended().is_some() {
                return;
            }
            self.set_alarm();
            let Self {
                peer,
                io,
                input,
                unflushed,
                alarm,
            } = self;
            let reads = peer.wants_input();
            tokio::select! {
                () = mailbox.rung() => peer.mail(Instant::now()),
                moved = poll_fn(|cx| transfer(cx, io, input, peer.output(), unflushed, reads)) => {
                    match moved {
                        Ok(Moved::Bytes) => {}
                        Ok(Moved::Closed) | Err(_) => peer.lost(Instant::now()),
                    }
                }
                () = alarm.as_mut() => alarm.as_mut().reset((Instant::now() + FAR).into()),
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

    /// The client hears the last words even if it was still talking: an unread byte would turn the end into a reset.
    async fn close(self) {
        let Self {
            mut peer, mut io, ..
        } = self;
        if let Some(reason) = peer.ended() {
            tracing::debug!(caller = %peer.caller(), %reason, "disconnected");
        }
        let last_words = peer.output().split();
        // Nothing of it stays while the client takes its time.
        drop(peer);
        let said = timeout(LAST_WORDS, async {
            io.write_all(&last_words).await?;
            io.shutdown().await
        });
        match said.await {
            Ok(Ok(())) => drop(timeout(LINGER, until_closed(&mut io)).await),
            _ => tracing::trace!("the last bytes were not taken"),
        }
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
    output: &mut BytesMut,
    unflushed: &mut bool,
    reads: bool,
) -> Poll<io::Result<Moved>> {
    let wrote = write(cx, io, output, unflushed)?;
    if reads {
        input.reserve(READ_BYTES);
        if let Poll::Ready(read) = pin!(io.read_buf(input)).poll(cx) {
            return Poll::Ready(read.map(|n| if n == 0 { Moved::Closed } else { Moved::Bytes }));
        }
    }
    if wrote {
        Poll::Ready(Ok(Moved::Bytes))
    } else {
        Poll::Pending
    }
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
            Poll::Pending => break,
        }
    }
    if *unflushed && let Poll::Ready(flushed) = Pin::new(io).poll_flush(cx) {
        flushed?;
        *unflushed = false;
    }
    Ok(wrote)
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
