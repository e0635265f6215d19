//! The Unix socket, and ports behind a load balancer.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::{Command, Output};

use syncline_tests::broker::Setup;
use syncline_tests::http;
use syncline_tests::wait::{self, PATIENCE};
use tempfile::TempDir;

const CONNECT: &[u8] = b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x00\x00\x02ws";
const CONNACK: [u8; 4] = [0x20, 2, 0, 0];

fn publish(socket: &str) -> Output {
    let mut command = Command::new("mosquitto_pub");
    let arguments = ["--unix", socket, "-q", "1", "-t", "sync/home/events", "-m"];
    let event = "{\"event_type\":\"star_album\",\"event_data\":{\"album_id\":\"blue\"}}";
    let output = command.args(arguments).arg(event).output();
    output.expect("mosquitto_pub is installed")
}

#[test]
fn mosquitto_publishes_on_the_unix_socket_which_is_replaced_if_dead_and_gone_at_the_end() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("mqtt.sock");
    let name = path.to_str().unwrap();
    drop(UnixListener::bind(&path).unwrap());
    let setup = || Setup::new().variable("SYNCLINE__MQTT__UNIX_SOCKET", name);
    let mut broker = setup().start();
    let output = publish(name);
    assert!(output.status.success(), "{output:?}");
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let (_, log) = setup().start_refused();
    assert!(log.contains("another program listens on it"), "{log}");
    assert!(
        publish(name).status.success(),
        "the one that runs is left alone"
    );
    broker.terminate();
    assert!(!path.exists());
    fs::write(&path, "mine").unwrap();
    let (_, log) = setup().start_refused();
    assert!(log.contains("that is no socket"), "{log}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
}

/// That of a load balancer, for a client at 192.0.2.
pub(crate) fn header(client: u8) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend([192, 0, 2, client, 127, 0, 0, 1, 0x1f, 0x90, 0, 81]);
    header
}

#[test]
fn a_port_behind_a_load_balancer_takes_its_word_for_where_the_client_is_and_nobody_elses() {
    let setup = Setup::new()
        .variable("SYNCLINE__PROXY__PORTS", "mqtt.address")
        .variable("SYNCLINE__PROXY__TRUSTED", "127.0.0.1")
        .variable("SYNCLINE__LOG__LEVEL", "syncline_broker=debug");
    let broker = setup.start();
    let dial = || {
        let socket = TcpStream::connect(broker.mqtt()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    };
    let mut balanced = dial();
    balanced.write_all(&[&header(7), CONNECT].concat()).unwrap();
    let mut answer = [0; 4];
    balanced.read_exact(&mut answer).unwrap();
    assert_eq!(answer, CONNACK);
    let log = broker.log();
    assert!(log.contains("192.0.2.7:8080"), "{log}");
    let mut direct = dial();
    direct.write_all(CONNECT).unwrap();
    wait::until("the word on why", || {
        broker
            .log()
            .contains("no PROXY header of version 2")
            .then_some(())
    });
    let mut rest = Vec::new();
    // It may be a reset.
    let _ = direct.read_to_end(&mut rest);
    assert!(rest.is_empty());
    // The other port is as it was.
    assert_eq!(http::get(broker.http(), "/healthz").unwrap().status, 200);
}

#[test]
fn a_load_balancer_that_is_not_trusted_is_turned_away() {
    let setup = Setup::new()
        .variable("SYNCLINE__PROXY__PORTS", "mqtt.address")
        .variable("SYNCLINE__PROXY__TRUSTED", "192.0.2.0/24,10.0.0.1");
    let broker = setup.start();
    let mut socket = TcpStream::connect(broker.mqtt()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = socket.write_all(&[&header(7), CONNECT].concat());
    let mut rest = Vec::new();
    let _ = socket.read_to_end(&mut rest);
    assert!(rest.is_empty());
    drop(broker);
}
