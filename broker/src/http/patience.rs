//! Answers that nobody takes end their connection, or each would hold a place for ever.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::serve::Place;

/// A stream whose other end must take something of what is written within a time, until it is a WebSocket: how slowly the
/// client of one may read is the edge's affair.
pub(super) struct Patient<S> {
    inner: S,
    patience: Duration,
    place: Place,
    deadline: Pin<Box<Sleep>>,
    /// A write waits, so the deadline counts.
    waits: bool,
}

impl<S> Patient<S> {
    pub(super) fn new(inner: S, patience: Duration, place: Place) -> Self {
        Self {
            inner,
            patience,
            place,
            deadline: Box::pin(tokio::time::sleep(patience)),
            waits: false,
        }
    }

    /// What a write said; an error where it has waited for too long.
    fn judge<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() || self.place.is_upgraded() {
            self.waits = false;
            return written;
        }
        if !self.waits {
            self.waits = true;
            self.deadline.set(tokio::time::sleep(self.patience));
        }
        ready!(self.deadline.as_mut().poll(cx));
        let why = "the client took nothing of the answer for too long";
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.judge(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        self.judge(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.place.is_upgraded() {
            self.place.leave();
        }
        let shut = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.judge(cx, shut)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.judge(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::sync::Semaphore;

    use super::*;
    use crate::edge::Entrance;

    /// A connection with the only place, and its client.
    fn alone() -> (Patient<DuplexStream>, DuplexStream, Place, Arc<Semaphore>) {
        let places = Arc::new(Semaphore::new(1));
        let permit = Arc::clone(&places).try_acquire_owned().unwrap();
        let place = Place::new(permit, Entrance::free());
        let (server, client) = duplex(64);
        let server = Patient::new(server, Duration::from_secs(1), place.clone());
        (server, client, place, places)
    }

    #[tokio::test]
    async fn whoever_saw_the_end_of_a_connection_finds_its_place_free() {
        let (mut server, mut client, place, places) = alone();
        assert_eq!(places.available_permits(), 0);
        server.shutdown().await.unwrap();
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0, "closed");
        assert_eq!(places.available_permits(), 1);
        assert!(place.entrance().is_none());
    }

    #[tokio::test]
    async fn a_websocket_keeps_its_place_until_the_edge_is_done_with_it() {
        let (mut server, _client, place, places) = alone();
        place.upgrade();
        server.shutdown().await.unwrap();
        assert_eq!(places.available_permits(), 0);
        place.leave();
        assert_eq!(places.available_permits(), 1);
    }
}
