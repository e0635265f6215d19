//! MQTT in the binary frames of a WebSocket.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_core::Stream as _;
use futures_sink::Sink;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::http::Uri;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{ClientRequestBuilder, Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::address::Net;
use crate::connection::PACKET_BYTES_MAX;
use crate::transport::Stream;

/// The subprotocol (MQTT 5, 6.0).
const PROTOCOL: &str = "mqtt";
/// A larger write goes out in several frames: packets need not begin where frames do.
const FRAME_BYTES_MAX: usize = 64 * 1024;

/// Asks for a WebSocket; one without the subprotocol is refused.
pub(super) async fn open(stream: Stream, net: &Net, path: &str) -> Result<Stream, Error> {
    let scheme = if net.tls { "wss" } else { "ws" };
    let uri: Uri = format!("{scheme}://{net}{path}").parse()?;
    let request = ClientRequestBuilder::new(uri).with_sub_protocol(PROTOCOL);
    // A broker may put as much into one frame as into one packet.
    let largest = usize::try_from(PACKET_BYTES_MAX).ok();
    let config = WebSocketConfig::default()
        .max_message_size(largest)
        .max_frame_size(largest);
    let (socket, _) = client_async_with_config(request, stream, Some(config)).await?;
    Ok(Box::new(ByteSocket {
        socket,
        frame: Bytes::new(),
    }))
}

/// A WebSocket as a stream of bytes.
struct ByteSocket {
    socket: WebSocketStream<Stream>,
    /// What is left of the last frame.
    frame: Bytes,
}

impl ByteSocket {
    /// The next frame with bytes; empty at the end.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        loop {
            match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) if bytes.is_empty() => {}
                Some(Ok(Message::Binary(bytes))) => return Poll::Ready(Ok(bytes)),
                Some(Ok(Message::Text(_))) => {
                    let what = "the broker sends text; MQTT is carried in binary frames";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, what)));
                }
                Some(Ok(Message::Close(_))) | None => return Poll::Ready(Ok(Bytes::new())),
                // tungstenite answers a ping by itself.
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(io_error(error))),
            }
        }
    }
}

/// The end of the connection stays one.
fn io_error(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        Error::ConnectionClosed | Error::AlreadyClosed => io::ErrorKind::ConnectionReset.into(),
        other => io::Error::other(other),
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
        ready!(Pin::new(&mut self.socket).poll_ready(cx)).map_err(io_error)?;
        let message = Message::Binary(Bytes::copy_from_slice(frame));
        let sent = Pin::new(&mut self.socket).start_send(message);
        Poll::Ready(sent.map(|()| frame.len()).map_err(io_error))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx).map_err(io_error)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx).map_err(io_error)
    }
}
