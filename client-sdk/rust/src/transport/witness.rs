//! Sees how a broker begins to answer, or that it does not: a broker of another version may say so in a way that a reader
//! of MQTT 5 takes for nonsense.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::transport::Stream;

/// A CONNACK of MQTT 3.1.1 is as long.
const FIRST: usize = 4;

/// What came of a stream so far.
#[derive(Debug, Default)]
pub(crate) struct Seen(Mutex<Beginning>);

#[derive(Debug, Default)]
struct Beginning {
    bytes: Vec<u8>,
    has_ended: bool,
}

impl Seen {
    /// Of another stream.
    pub(super) fn begin(&self) {
        self.look(|it| *it = Beginning::default());
    }

    /// Whether a CONNACK says in the words of 3.1.1 that the version is not spoken: code 1.
    pub(crate) fn is_refusal_of_version(&self) -> bool {
        self.look(|it| matches!(it.bytes[..], [0x20, 2, _, 1]))
    }

    /// Whether the stream stood, and ended without a byte.
    pub(crate) fn is_closed_silently(&self) -> bool {
        self.look(|it| it.bytes.is_empty() && it.has_ended)
    }

    fn look<T>(&self, look: impl FnOnce(&mut Beginning) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A stream that shows its beginning.
pub(crate) struct Witness {
    stream: Stream,
    seen: Arc<Seen>,
    /// Nothing more to show.
    is_through: bool,
}

impl Witness {
    pub(crate) fn new(stream: Stream, seen: Arc<Seen>) -> Self {
        Self {
            stream,
            seen,
            is_through: false,
        }
    }

    fn note(&mut self, read: io::Result<&[u8]>) {
        let ends = |kind| {
            use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
            matches!(
                kind,
                BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
            )
        };
        self.is_through = self.seen.look(|it| {
            match read {
                Ok([]) => it.has_ended = true,
                Ok(bytes) => {
                    let room = FIRST.saturating_sub(it.bytes.len());
                    it.bytes.extend(bytes.iter().take(room));
                }
                Err(error) => it.has_ended |= ends(error.kind()),
            }
            it.has_ended || it.bytes.len() >= FIRST
        });
    }
}

impl AsyncRead for Witness {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer));
        if !self.is_through {
            match &read {
                Ok(()) => self.note(Ok(&buffer.filled()[before..])),
                Err(error) => self.note(Err(error.kind().into())),
            }
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Witness {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes));
        if let (Err(error), false) = (&written, self.is_through) {
            self.note(Err(error.kind().into()));
        }
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    /// What is seen of a stream that says this and ends.
    async fn seen(chunks: &[&[u8]]) -> Arc<Seen> {
        let (mut far, near) = duplex(64);
        let seen = Arc::new(Seen::default());
        let mut witness = Witness::new(Box::new(near), seen.clone());
        let mut heard = Vec::new();
        for chunk in chunks {
            far.write_all(chunk).await.unwrap();
            let mut part = vec![0; chunk.len()];
            witness.read_exact(&mut part).await.unwrap();
            heard.extend(part);
        }
        drop(far);
        witness.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, chunks.concat(), "it passes on everything");
        seen
    }

    #[tokio::test]
    async fn a_refusal_in_the_words_of_3_1_1_is_seen_however_it_is_cut() {
        assert!(seen(&[&[0x20, 2, 0, 1]]).await.is_refusal_of_version());
        assert!(
            seen(&[&[0x20], &[2, 0], &[1, 9]])
                .await
                .is_refusal_of_version()
        );
        assert!(!seen(&[&[0x20, 2, 0, 5]]).await.is_refusal_of_version());
        assert!(!seen(&[&[0x20, 3, 0, 1, 0]]).await.is_refusal_of_version());
    }

    #[tokio::test]
    async fn silence_is_an_end_without_a_byte() {
        assert!(seen(&[]).await.is_closed_silently());
        assert!(!seen(&[&[0x20]]).await.is_closed_silently());
        assert!(!Seen::default().is_closed_silently(), "nobody closed it");
    }
}
