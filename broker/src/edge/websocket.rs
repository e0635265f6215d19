//! MQTT over WebSocket: binary frames as a stream of bytes, their boundaries without meaning.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use bytes::{Buf, Bytes};
use futures_core::Stream;
use futures_sink::Sink;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The largest frame that is sent.
const FRAME_BYTES_MAX: usize = 64 << 10;

/// A WebSocket as a stream of bytes.
pub(crate) struct ByteSocket {
    socket: WebSocket,
    /// What is left of the last frame.
    frame: Bytes,
    /// A text frame came: the socket is being closed with 1003.
    refused: bool,
}

impl ByteSocket {
    pub(crate) fn new(socket: WebSocket) -> Self {
        Self {
            socket,
            frame: Bytes::new(),
            refused: false,
        }
    }

    /// The next frame with bytes; empty at the end.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        while !self.refused {
            match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) if bytes.is_empty() => {}
                Some(Ok(Message::Binary(bytes))) => return Poll::Ready(Ok(bytes)),
                Some(Ok(Message::Text(_))) => self.refused = true,
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_))) | None => return Poll::Ready(Ok(Bytes::new())),
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
            }
        }
        Poll::Ready(Ok(Bytes::new()))
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        message: impl FnOnce() -> Message,
    ) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.socket).poll_ready(cx)).map_err(io::Error::other)?;
        Poll::Ready(
            Pin::new(&mut self.socket)
                .start_send(message())
                .map_err(io::Error::other),
        )
    }
}

impl AsyncRead for ByteSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.frame.is_empty() {
            self.frame = ready!(self.poll_frame(cx))?;
        }
        let n = self.frame.len().min(buffer.remaining());
        buffer.put_slice(&self.frame[..n]);
        self.frame.advance(n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ByteSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let frame = &bytes[..bytes.len().min(FRAME_BYTES_MAX)];
        ready!(self.poll_send(cx, || Message::Binary(Bytes::copy_from_slice(frame))))?;
        Poll::Ready(Ok(frame.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket)
            .poll_flush(cx)
            .map_err(io::Error::other)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.refused {
            let reason = "MQTT is carried in binary frames".into();
            let close = CloseFrame {
                code: close_code::UNSUPPORTED,
                reason,
            };
            ready!(self.poll_send(cx, || Message::Close(Some(close))))?;
            self.refused = false;
        }
        Pin::new(&mut self.socket)
            .poll_close(cx)
            .map_err(io::Error::other)
    }
}
