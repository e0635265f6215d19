//! Limits that a port has of its own, over TCP, a Unix socket and WebSocket.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Instant;

use syncline_tests::broker::{Broker, Setup};
use syncline_tests::http;
use syncline_tests::star::Star;
use syncline_tests::wait::{PATIENCE, until};
use syncline_tests::wire::{Connect, Packet, Version, Wire};
use tempfile::TempDir;

use crate::limits::counted;
use crate::scene::guest;

/// CONNECTs at both versions, and what says that there is no place.
const CONNECTS: [(&[u8], u8); 2] = [
    (b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x00\x00\x02ux", 3),
    (b"\x10\x0f\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x02ux", 0x97),
];
const MAXIMUM_PACKET_SIZE: u8 = 0x27;
const QUOTA: u8 = 0x97;
const RATE: u8 = 0x9f;
const TOO_LARGE: u8 = 0x95;

/// A broker with a Unix socket.
struct Scene {
    broker: Broker,
    unix: PathBuf,
    _folder: TempDir,
}

impl Scene {
    fn new(limits: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let unix = folder.path().join("mqtt.sock");
        let mqtt = format!("[mqtt]\nunix_socket = '{}'\n", unix.display());
        let setup = Setup::new().variable("SYNCLINE__SYS__INTERVAL_S", "1");
        Self {
            broker: setup.config(&format!("{mqtt}{limits}")).start(),
            unix,
            _folder: folder,
        }
    }

    fn http(&self) -> SocketAddr {
        self.broker.http()
    }

    fn websocket(&self, version: Version) -> (Wire, Packet) {
        Wire::connect_websocket(self.http(), &Connect::new(version, "")).unwrap()
    }
}

fn dial(path: &Path) -> UnixStream {
    let socket = UnixStream::connect(path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// A connection, and the code and the properties of its CONNACK.
fn unix(path: &Path, connect: &[u8]) -> (UnixStream, u8, Vec<u8>) {
    let mut socket = dial(path);
    socket.write_all(connect).unwrap();
    let mut head = [0; 2];
    socket.read_exact(&mut head).unwrap();
    assert_eq!(head[0], 0x20);
    let mut rest = vec![0; head[1].into()];
    socket.read_exact(&mut rest).unwrap();
    (socket, rest[1], rest.split_off(2))
}

fn code(packet: &Packet) -> u8 {
    match packet {
        Packet::ConnAck { code, .. } => *code,
        other => panic!("{other:?}"),
    }
}

fn announced(packet: &Packet) -> Option<u32> {
    match packet {
        Packet::ConnAck { properties, .. } => properties.number(MAXIMUM_PACKET_SIZE),
        other => panic!("{other:?}"),
    }
}

#[test]
fn g10_each_port_has_so_many_connections_and_one_too_many_is_told_so() {
    let limits = "[limits.ports.\"mqtt.unix_socket\"]\nconnections_max = 1\n\
                  [limits.ports.\"mqtt.address\"]\nconnections_max = 3\n\
                  [limits.ports.\"http.address\"]\nconnections_max = 2\n";
    let scene = Scene::new(limits);
    let (_first, accepted, _) = unix(&scene.unix, CONNECTS[0].0);
    assert_eq!(accepted, 0);
    for (connect, full) in CONNECTS {
        assert_eq!(unix(&scene.unix, connect).1, full);
    }
    // The one that asked whether the broker is ready may still be counted.
    let mut come = until("two places", || {
        let come = [(); 2].map(|()| scene.websocket(Version::V5));
        let all = come.iter().all(|(_, answer)| code(answer) == 0);
        all.then_some(come)
    });
    assert_eq!(code(&scene.websocket(Version::V5).1), QUOTA);
    assert_eq!(code(&scene.websocket(Version::V311).1), 3);
    assert_eq!(http::get(scene.http(), "/healthz").unwrap().status, 429);
    come[0].0.ping().unwrap();
    let mut all: Vec<_> = (0..3).map(|_| guest(&scene.broker)).collect();
    let connect = Connect::new(Version::V5, "");
    let (_, answer) = Wire::connect_raw(scene.broker.mqtt(), &connect).unwrap();
    assert_eq!(code(&answer), QUOTA);
    all.pop();
    counted(&scene.broker, "connections/refused/quota", 5);
    counted(&scene.broker, "http/refused/too many", 1);
    drop(come);
    until("a place", || {
        http::get(scene.http(), "/healthz")
            .ok()
            .filter(|it| it.status == 200)
    });
}

#[test]
fn g10_connections_come_to_a_port_at_its_rate_and_to_others_at_theirs() {
    let scene = Scene::new("[limits.ports.\"http.address\"]\nconnections_per_s = 2\n");
    until("more than come in a second", || {
        let codes = [(); 4].map(|()| code(&scene.websocket(Version::V5).1));
        codes.contains(&RATE).then_some(())
    });
    until("the same without MQTT", || {
        let answer = http::get(scene.http(), "/healthz").ok()?;
        (answer.status == 429).then_some(())
    });
    let _all: Vec<_> = (0..20).map(|_| guest(&scene.broker)).collect();
    counted(&scene.broker, "connections/refused/rate", 1);
}

#[test]
fn g10_packets_are_as_large_as_their_port_takes_and_says() {
    let limits = "[limits]\nevent_bytes_max = 1_000\npacket_bytes_max = 10_000\n\
                  [limits.ports.\"mqtt.unix_socket\"]\npacket_bytes_max = 4_000\n\
                  [limits.ports.\"http.address\"]\npacket_bytes_max = 20_000\n";
    let scene = Scene::new(limits);
    let (mut local, _, properties) = unix(&scene.unix, CONNECTS[1].0);
    let said = [&[MAXIMUM_PACKET_SIZE][..], &4_000_u32.to_be_bytes()].concat();
    assert!(properties.windows(5).any(|it| it == said), "{properties:?}");
    let connect = Connect::new(Version::V5, "");
    let (mut tcp, answer) = Wire::connect_raw(scene.broker.mqtt(), &connect).unwrap();
    assert_eq!(announced(&answer), Some(10_000));
    let (mut websocket, answer) = scene.websocket(Version::V5);
    assert_eq!(announced(&answer), Some(20_000));
    let large = vec![b'x'; 15_000];
    assert!(websocket.publish("large", &large).unwrap().code < 0x80);
    assert!(tcp.publish("large", &large[..9_000]).unwrap().code < 0x80);
    assert!(tcp.publish("large", &large).is_err());
    // A PUBLISH of 5,008 bytes to the socket that takes 4,000.
    let publish = [b"\x30\x8d\x27\x00\x05large\x00".to_vec(), vec![b'x'; 4_997]].concat();
    local.write_all(&publish).unwrap();
    let mut end = [0; 3];
    local.read_exact(&mut end).unwrap();
    assert_eq!((end[0], end[2]), (0xe0, TOO_LARGE));
}

#[test]
fn g10_a_connect_comes_in_the_time_of_its_port() {
    let limits = "[limits]\nconnect_timeout_ms = 60_000\n\
                  [limits.ports.\"mqtt.unix_socket\"]\nconnect_timeout_ms = 50\n\
                  [limits.ports.\"http.address\"]\nconnect_timeout_ms = 50\n";
    let scene = Scene::new(limits);
    let mut silent = dial(&scene.unix);
    assert_eq!(silent.read(&mut [0]).unwrap(), 0, "closed");
    // Half a CONNECT.
    let opened = Wire::open_websocket(scene.http(), Version::V5);
    let mut opened = opened.unwrap();
    opened.send_bytes(&CONNECTS[1].0[..7]).unwrap();
    assert_eq!(opened.until_closed().unwrap(), []);
    counted(&scene.broker, "connections/ended/no connect", 2);
}

#[test]
fn g10_a_connection_publishes_at_the_rate_of_its_port() {
    let scene = Scene::new("[limits.ports.\"http.address\"]\npublish_messages_per_s = 20\n");
    let (mut wire, _) = scene.websocket(Version::V5);
    let begin = Instant::now();
    for n in 0..60 {
        let album = Star::album(&format!("album-{n}")).json();
        wire.publish("sync/flood/events", album).unwrap();
    }
    let took = begin.elapsed();
    assert!(took.as_millis() >= 1_900, "60 at 20 per second: {took:?}");
    counted(&scene.broker, "publish/held", 1);
}
