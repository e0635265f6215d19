//! MQTT over WebSocket, with a client that makes its frames by hand.

use super::*;

use axum::Router;
use axum::extract::WebSocketUpgrade;
use axum::routing::any;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpStream};

const BINARY: u8 = 2;
const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Less than the large state below.
const WRITE_BUFFER_BYTES_MAX: usize = 256 << 10;

const CONNECT: &[u8] = b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x00\x00\x02ws";
const CONNACK: &[u8] = b"\x20\x02\x00\x00";
const PINGREQ: &[u8] = b"\xc0\x00";
const PINGRESP: &[u8] = b"\xd0\x00";

/// A broker on an HTTP port, with the bounds that the http room sets.
async fn serve(broker: &Broker) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let edge = broker.edge.clone();
    let upgrade = move |upgrade: WebSocketUpgrade| async move {
        upgrade
            .protocols(["mqtt"])
            .write_buffer_size(0)
            .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX)
            .on_upgrade(move |socket| async move {
                edge.serve_websocket(socket, address.into(), &Entrance::free())
                    .await;
            })
    };
    let routes = Router::new().route("/mqtt", any(upgrade));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    address
}

/// A WebSocket (RFC 6455) with small frames of its own and frames of any length of the broker's.
struct Socket {
    io: TcpStream,
}

impl Socket {
    async fn open(address: SocketAddr) -> Self {
        let mut io = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "GET /mqtt HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: mqtt\r\n\r\n"
        );
        io.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(io.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        assert!(head.starts_with("http/1.1 101"), "{head}");
        assert!(head.contains("sec-websocket-protocol: mqtt\r\n"), "{head}");
        Self { io }
    }

    /// The mask of zeros leaves the bytes as they are.
    async fn send(&mut self, opcode: u8, payload: &[u8]) {
        assert!(payload.len() < 126);
        let mut frame = vec![0x80 | opcode, 0x80 | payload.len() as u8, 0, 0, 0, 0];
        frame.extend(payload);
        self.io.write_all(&frame).await.unwrap();
    }

    async fn frame(&mut self) -> (u8, Vec<u8>) {
        timeout(Duration::from_secs(20), self.read_frame())
            .await
            .expect("a frame in time")
    }

    async fn read_frame(&mut self) -> (u8, Vec<u8>) {
        let head = self.io.read_u8().await.unwrap();
        assert_eq!(head & 0xf0, 0x80, "whole messages");
        let len = match self.io.read_u8().await.unwrap() {
            126 => u64::from(self.io.read_u16().await.unwrap()),
            127 => self.io.read_u64().await.unwrap(),
            len => u64::from(len),
        };
        let mut payload = vec![0; len as usize];
        self.io.read_exact(&mut payload).await.unwrap();
        (head & 0x0f, payload)
    }

    /// The bytes of the next binary frames, `n` at least.
    async fn bytes(&mut self, n: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < n {
            let (opcode, payload) = self.frame().await;
            assert_eq!(opcode, BINARY);
            bytes.extend(payload);
        }
        bytes
    }
}

/// A SUBSCRIBE of 3.1.1 with packet id 1 and QoS 0.
fn subscribe(filter: &str) -> Vec<u8> {
    let mut packet = vec![0x82, filter.len() as u8 + 5, 0, 1, 0, filter.len() as u8];
    packet.extend(filter.as_bytes());
    packet.push(0);
    packet
}

#[test]
fn many_packets_in_one_frame_and_one_packet_over_many_frames() {
    run(async {
        let broker = Broker::start();
        let address = serve(&broker).await;
        let mut socket = Socket::open(address).await;
        socket
            .send(BINARY, &[CONNECT, PINGREQ, PINGREQ].concat())
            .await;
        let answers = [CONNACK, PINGRESP, PINGRESP].concat();
        assert_eq!(socket.bytes(answers.len()).await, answers);
        for byte in PINGREQ {
            socket.send(BINARY, &[]).await;
            socket.send(BINARY, &[*byte]).await;
        }
        assert_eq!(socket.bytes(PINGRESP.len()).await, PINGRESP);
        socket.send(PING, b"there?").await;
        assert_eq!(socket.frame().await, (PONG, b"there?".to_vec()));
        socket.send(PONG, b"unasked").await;
        socket.send(BINARY, PINGREQ).await;
        assert_eq!(socket.bytes(PINGRESP.len()).await, PINGRESP);
    });
}

#[test]
fn a_text_frame_is_closed_with_1003() {
    run(async {
        let broker = Broker::start();
        let address = serve(&broker).await;
        let mut socket = Socket::open(address).await;
        socket.send(BINARY, CONNECT).await;
        assert_eq!(socket.bytes(CONNACK.len()).await, CONNACK);
        socket.send(TEXT, b"{}").await;
        let (opcode, payload) = socket.frame().await;
        assert_eq!(
            (opcode, &payload[..2]),
            (CLOSE, &1003_u16.to_be_bytes()[..])
        );
        broker.edge.shared.empty().await;
    });
}

#[test]
fn a_state_above_the_write_buffer_travels_in_frames_below_it() {
    run(async {
        let broker = Broker::start();
        let mut author = broker.client(Version::V5_0, PHONE).await;
        for n in 0..40 {
            let album = format!("{n}-{}", "x".repeat(10_000));
            author.save("sync/a/events", &star(None, &album)).await;
        }
        let address = serve(&broker).await;
        let mut socket = Socket::open(address).await;
        socket.send(BINARY, CONNECT).await;
        assert_eq!(socket.bytes(CONNACK.len()).await, CONNACK);
        socket.send(BINARY, &subscribe("sync/a/state")).await;
        let bytes = socket.bytes(400_000).await;
        let suback = b"\x90\x03\x00\x01\x00";
        assert_eq!(bytes[..suback.len()], suback[..]);
        // Fixed header with a length of three bytes, then the topic.
        let payload = &bytes[suback.len() + 4 + 2 + "sync/a/state".len()..];
        assert_eq!(Snapshot::decode(payload).unwrap().seq.get(), 40);
    });
}
