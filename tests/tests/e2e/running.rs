//! Starting, refusing to start, and what an operator is told.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use syncline_tests::broker::{Broker, Setup, binary};
use syncline_tests::http;

#[test]
fn a_port_in_use_is_named() {
    let broker = Broker::start();
    let taken = broker.mqtt().to_string();
    let (status, log) = Setup::new().mqtt(&taken).start_refused();
    assert!(!status.success());
    assert!(log.contains(&taken) && log.contains("--mqtt"), "{log}");
}

#[test]
fn one_process_per_data_folder() {
    let broker = Broker::start();
    let (status, log) = Setup::new().data(broker.data()).start_refused();
    assert!(!status.success());
    assert!(log.contains(&broker.data().display().to_string()), "{log}");
    assert_eq!(
        http::get(broker.http(), "/readyz").unwrap().status,
        200,
        "the first lives"
    );
}

#[test]
fn a_public_address_is_refused_with_what_to_do() {
    let (status, log) = Setup::new().mqtt("0.0.0.0:0").start_refused();
    assert!(!status.success());
    assert!(
        log.contains("anonymous_on_public_addresses = true"),
        "{log}"
    );
}

#[test]
fn a_wrong_key_is_named_with_file_and_line() {
    let (status, log) = Setup::new()
        .config("[limits]\n\nevent_bytes_maximum = 3\n")
        .start_refused();
    assert!(!status.success());
    assert!(
        log.contains("event_bytes_maximum") && log.contains("broker.toml"),
        "{log}"
    );
    assert!(log.contains(":3") || log.contains("line 3"), "{log}");
}

#[test]
fn check_judges_a_configuration_without_starting() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("broker.toml");
    for (text, good) in [
        ("", true),
        ("[limits]\nevent_bytes_max = \"many\"\n", false),
    ] {
        std::fs::write(&path, text).unwrap();
        let output = Command::new(binary())
            .arg("check")
            .arg("--config")
            .arg(&path)
            .output()
            .unwrap();
        assert_eq!(output.status.success(), good, "{output:?}");
    }
}

#[test]
fn the_data_folder_is_for_its_owner_alone() {
    let broker = Broker::start();
    let mode = std::fs::metadata(broker.data())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn http_tells_health_and_without_the_page_names_the_command() {
    let broker = Broker::start();
    for path in ["/healthz", "/readyz"] {
        assert_eq!(
            http::get(broker.http(), path).unwrap().status,
            200,
            "{path}"
        );
    }
    let page = http::get(broker.http(), "/").unwrap();
    assert!(page.body.contains("cargo demo"), "{page:?}");
}

#[test]
fn a_foreign_host_or_origin_gets_no_websocket() {
    let broker = Broker::start();
    let upgrade = |host: &str, origin: &str| {
        let text = format!(
            "GET /mqtt HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nConnection: close, Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\
             Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        );
        http::request(broker.http(), &text)
    };
    let own = broker.http().to_string();
    let foreign = upgrade(&own, "http://elsewhere.example").unwrap();
    assert_eq!(foreign.status, 403, "{foreign:?}");
    let rebound = upgrade("elsewhere.example", "http://elsewhere.example").unwrap();
    assert!(
        rebound.status == 403 || rebound.status == 421,
        "{rebound:?}"
    );
}
