//! The bytes of a connection, over TCP or in the binary messages of a WebSocket.

use std::collections::HashMap;
use std::env;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::invalid;

const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;

/// Masks are there against proxies, of which there is none here, so one is as good as any other.
const MASK: [u8; 4] = [0x5a, 0x17, 0xc3, 0x2e];

/// By its MQTT address, the HTTP address of the same broker.
static WEBSOCKETS: Mutex<Option<HashMap<SocketAddr, SocketAddr>>> = Mutex::new(None);

/// With this in the environment, whatever connects to the MQTT address of a broker in [`WEBSOCKETS`] goes by its WebSocket.
pub(super) const BY_WEBSOCKET: &str = "SYNCLINE_TESTS_BY_WEBSOCKET";

pub(super) fn note_websocket(mqtt: SocketAddr, http: SocketAddr) {
    let mut known = WEBSOCKETS.lock().unwrap_or_else(PoisonError::into_inner);
    known.get_or_insert_default().insert(mqtt, http);
}

fn websocket_of(mqtt: SocketAddr) -> Option<SocketAddr> {
    env::var_os(BY_WEBSOCKET)?;
    let known = WEBSOCKETS.lock().unwrap_or_else(PoisonError::into_inner);
    known.as_ref()?.get(&mqtt).copied()
}

/// A connection.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    /// Of a WebSocket: bytes of a frame that is not whole yet.
    frames: Option<Vec<u8>>,
}

impl Socket {
    /// To a broker's MQTT address: over TCP, unless the whole run goes by WebSocket.
    pub(super) fn open(address: SocketAddr) -> io::Result<Self> {
        match websocket_of(address) {
            Some(http) => Self::websocket(http),
            None => Self::tcp(address),
        }
    }

    fn tcp(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            frames: None,
        })
    }

    /// A WebSocket at /mqtt of the HTTP port.
    pub(super) fn websocket(address: SocketAddr) -> io::Result<Self> {
        let mut socket = Self::tcp(address)?;
        let request = format!(
            "GET /mqtt HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\
             Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        );
        socket.stream.write_all(request.as_bytes())?;
        socket
            .stream
            .set_read_timeout(Some(Duration::from_secs(20)))?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        if !head.starts_with(b"HTTP/1.1 101") {
            return Err(invalid(String::from_utf8_lossy(&head).into_owned()));
        }
        socket.frames = Some(Vec::new());
        Ok(socket)
    }

    /// A second handle that only sends.
    pub(super) fn sender(&self) -> io::Result<Self> {
        Ok(Self {
            stream: self.stream.try_clone()?,
            frames: self.frames.as_ref().map(|_| Vec::new()),
        })
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.frames {
            None => self.stream.write_all(bytes),
            Some(_) => self.stream.write_all(&masked(bytes)),
        }
    }

    /// What came within `timeout`, perhaps nothing.
    pub(super) fn receive(&mut self, timeout: Duration) -> io::Result<Vec<u8>> {
        self.stream.set_read_timeout(Some(timeout))?;
        let mut buffer = [0; 16 * 1024];
        let read = match self.stream.read(&mut buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => &buffer[..count],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => &[],
            Err(error) => return Err(error),
        };
        match &mut self.frames {
            None => Ok(read.to_vec()),
            Some(frames) => {
                frames.extend_from_slice(read);
                unframed(frames)
            }
        }
    }
}

fn masked(bytes: &[u8]) -> Vec<u8> {
    let mut frame = vec![BINARY];
    match bytes.len() {
        len @ 0..126 => frame.push(0x80 | len as u8),
        len @ 126..0x1_0000 => {
            frame.push(0x80 | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    let mask = MASK.iter().cycle();
    frame.extend(bytes.iter().zip(mask).map(|(byte, mask)| byte ^ mask));
    frame
}

/// Takes the payloads of the whole frames.
fn unframed(frames: &mut Vec<u8>) -> io::Result<Vec<u8>> {
    let mut payload = Vec::new();
    while let Some((head, len)) = header(frames) {
        if frames.len() < head + len {
            break;
        }
        if frames[0] == CLOSE && payload.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if frames[0] & 0x0f <= 2 {
            payload.extend_from_slice(&frames[head..head + len]);
        }
        frames.drain(..head + len);
    }
    Ok(payload)
}

/// The length of a frame's head, and of what follows; a server does not mask.
fn header(frames: &[u8]) -> Option<(usize, usize)> {
    let number = |bytes: &[u8]| bytes.iter().fold(0, |n, byte| n << 8 | usize::from(*byte));
    match frames.get(1)? & 0x7f {
        126 => Some((4, number(frames.get(2..4)?))),
        127 => Some((10, number(frames.get(2..10)?))),
        len => Some((2, usize::from(len))),
    }
}
