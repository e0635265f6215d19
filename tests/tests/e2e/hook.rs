//! A program of the deployment that is asked who somebody is.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};
use syncline_tests::broker::{Broker, Setup};
use syncline_tests::star::Star;
use syncline_tests::wire::{Connect, Packet, Version, Wire};
use tempfile::TempDir;

const HOME: &str = "sync/home/events";

/// Answers by user name, and counts what it was asked.
struct Program {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    last: Arc<Mutex<Value>>,
}

impl Program {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let program = Self {
            address: listener.local_addr().unwrap(),
            asked: Arc::default(),
            last: Arc::default(),
        };
        let (asked, last) = (Arc::clone(&program.asked), Arc::clone(&program.last));
        thread::spawn(move || {
            // Those that are never answered stay open.
            let mut silent = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let question = read(&stream);
                asked.fetch_add(1, Ordering::SeqCst);
                match answer(&question) {
                    Some(text) => drop(stream.write_all(text.as_bytes())),
                    None => silent.push(stream),
                }
                *last.lock().unwrap() = question;
            }
        });
        program
    }

    fn setup(&self) -> Setup {
        Setup::new()
            .variable(
                "SYNCLINE__AUTH__HTTP__URL",
                format!("http://{}/who?key=k", self.address),
            )
            .variable("SYNCLINE__AUTH__HTTP__TIMEOUT_MS", "1000")
            .variable("SYNCLINE__AUTH__FAILURES_MAX", "3")
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn read(stream: &TcpStream) -> Value {
    let mut lines = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    lines.read_exact(&mut body).unwrap();
    serde_json::from_slice(&body).unwrap()
}

fn answer(question: &Value) -> Option<String> {
    let (status, body) = match (question["user"].as_str()?, question["password"].as_str()) {
        ("ana", Some("right")) => (200, json!({"groups": {"home": "rw"}})),
        ("short", Some("right")) => (
            200,
            json!({"user": "ana", "expires_in_s": 1, "groups": {"home": "rw"}}),
        ),
        ("forbidden", _) => (403, json!({})),
        ("broken", _) => (500, json!({})),
        ("odd", _) => (200, json!({"allow": false})),
        ("silent", _) => return None,
        _ => (401, json!({})),
    };
    let body = body.to_string();
    let length = body.len();
    Some(format!(
        "HTTP/1.1 {status} -\r\nContent-Length: {length}\r\n\r\n{body}"
    ))
}

fn connect(version: Version, user: &str, password: &str) -> Connect {
    Connect::new(version, "phone").credentials(user, password)
}

fn code(broker: &Broker, connect: &Connect) -> u8 {
    match Wire::connect_raw(broker.mqtt(), connect).unwrap().1 {
        Packet::ConnAck { code, .. } => code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn wall_10_g9_right_wrong_and_whatever_goes_wrong_at_both_versions() {
    let program = Program::start();
    let broker = program.setup().start();
    for version in Version::BOTH {
        let (bad, unavailable) = if version == Version::V5 {
            (0x86, 0x88)
        } else {
            (4, 3)
        };
        let mut ana = Wire::connect(broker.mqtt(), &connect(version, "ana", "right")).unwrap();
        assert_eq!(
            ana.publish(HOME, Star::album("a").json())
                .unwrap()
                .refusal(),
            None
        );
        let refused = if version == Version::V5 { 0x87 } else { 0x80 };
        assert_eq!(ana.subscribe("sync/office/events").unwrap(), refused);
        assert_eq!(code(&broker, &connect(version, "eve", "x")), bad);
        assert_eq!(code(&broker, &connect(version, "forbidden", "x")), bad);
        // More often than anybody may guess: nobody has guessed.
        for user in ["broken", "broken", "odd", "broken", "broken", "silent"] {
            assert_eq!(
                code(&broker, &connect(version, user, "x")),
                unavailable,
                "{user}"
            );
        }
    }
    let last = program.last.lock().unwrap().clone();
    assert_eq!(
        last,
        json!({"user": "silent", "password": "x", "client_id": "phone", "address": "127.0.0.1"})
    );
    let log = broker.log();
    assert!(
        log.contains("nobody vouches") && !log.contains("right") && !log.contains("key=k"),
        "{log}"
    );
    drop(broker);
    // Without the program nobody comes in, whoever came in before.
    let gone = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let setup = Setup::new().variable("SYNCLINE__AUTH__HTTP__URL", format!("http://{gone}/"));
    assert_eq!(
        code(&setup.start(), &connect(Version::V5, "ana", "right")),
        0x88
    );
}

#[test]
fn wall_10_who_was_let_in_is_not_asked_about_again_for_a_while() {
    let program = Program::start();
    let broker = program.setup().start();
    let ana = |password: &str| code(&broker, &connect(Version::V5, "ana", password));
    assert_eq!([ana("right"), ana("right")], [0, 0]);
    assert_eq!(program.asked(), 1);
    assert_eq!([ana("wrong"), ana("wrong")], [0x86, 0x86]);
    assert_eq!(program.asked(), 3, "a refusal is not remembered");
    assert!(broker.ask(&["reload"]).status.success());
    assert_eq!((ana("right"), program.asked()), (0, 4), "a reload forgets");
    drop(broker);
    let broker = program
        .setup()
        .variable("SYNCLINE__AUTH__HTTP__CACHE_MS", "0")
        .start();
    let ana = || code(&broker, &connect(Version::V5, "ana", "right"));
    assert_eq!(([ana(), ana()], program.asked()), ([0, 0], 6));
}

#[test]
fn wall_10_a_connection_ends_when_what_was_said_of_it_does() {
    let program = Program::start();
    let broker = program.setup().start();
    for version in Version::BOTH {
        let mut short = Wire::connect(broker.mqtt(), &connect(version, "short", "right")).unwrap();
        let said = short.until_closed().unwrap();
        match (version, &said[..]) {
            (Version::V311, []) => {}
            (
                Version::V5,
                [
                    Packet::Disconnect {
                        code: 0x87,
                        properties,
                    },
                ],
            ) => {
                let reason = properties.reason.as_deref().unwrap();
                assert!(reason.contains("connect again"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(program.asked(), 2, "it is not remembered for longer either");
}

#[test]
fn wall_10_the_password_file_alone_says_who_its_users_are() {
    let program = Program::start();
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    // A hash that no password has.
    let ana = "ana:$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$AAAAAAAAAAAAAAAAAAAAAA";
    fs::write(path("passwords"), format!("{ana}\n")).unwrap();
    fs::write(path("acl"), "[users.ana]\ngroups = { office = \"r\" }").unwrap();
    let setup = program
        .setup()
        .variable("SYNCLINE__AUTH__PASSWORDS", path("passwords"));
    let broker = setup.variable("SYNCLINE__AUTH__ACL", path("acl")).start();
    assert_eq!(code(&broker, &connect(Version::V5, "ana", "right")), 0x86);
    assert_eq!(program.asked(), 0);
    assert_eq!(code(&broker, &connect(Version::V5, "short", "right")), 0);
    assert_eq!(program.asked(), 1);
}
