//! TLS as stock clients meet it: certificates right and wrong, read again while it runs, and asked for.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, process};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use syncline_tests::authority::{Authority, Files, Validity};
use syncline_tests::broker::{Broker, Setup};
use syncline_tests::mosquitto::{self, Subscriber};
use syncline_tests::star::Star;
use syncline_tests::wait::{self, PATIENCE};
use syncline_tests::wire::Version;
use syncline_tests::{http, ports};
use tempfile::TempDir;

use crate::limits::counted;
use crate::scene::watcher;
use crate::transports::header;

/// Long enough for a connection to be closed that is not wanted.
const BRIEFLY: Duration = Duration::from_millis(300);

/// A folder with a CA, a certificate of it, and a broker that has the certificate.
struct Scene {
    folder: TempDir,
    authority: Authority,
    server: Files,
    mqtts: SocketAddr,
    https: SocketAddr,
}

impl Scene {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let authority = Authority::new("one");
        authority.write(&folder.path().join("ca.pem"));
        let server = Files::new(folder.path(), "server");
        authority.server(&server, Validity::Now);
        Self {
            folder,
            authority,
            server,
            mqtts: ports::free(),
            https: ports::free(),
        }
    }

    fn setup(&self) -> Setup {
        Setup::new()
            .variable("SYNCLINE__MQTT__TLS_ADDRESS", self.mqtts.to_string())
            .variable("SYNCLINE__HTTP__TLS_ADDRESS", self.https.to_string())
            .variable("SYNCLINE__TLS__CERTIFICATE", text(&self.server.certificate))
            .variable("SYNCLINE__TLS__KEY", text(&self.server.key))
            .variable("SYNCLINE__LOG__LEVEL", "syncline_broker=debug")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `mosquitto_pub` over TLS: whether it was acknowledged.
    fn publishes(&self, album: &str, arguments: &[&str]) -> bool {
        let star = Star::album(album).json();
        let what = ["-q", "1", "-t", "sync/home/events", "-m", &star];
        let arguments = [&what, arguments].concat();
        let output = mosquitto::publish_with(self.mqtts, Version::V5, &arguments);
        output.status.success()
    }

    fn trusting(&self, ca: &str) -> [String; 2] {
        ["--cafile".to_owned(), text(&self.path(ca))]
    }

    /// Whether a client that trusts this CA can publish.
    fn is_trusted(&self, album: &str, ca: &str) -> bool {
        let trusting = self.trusting(ca);
        self.publishes(album, &trusting.each_ref().map(String::as_str))
    }
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn said(output: &process::Output) -> String {
    let bytes = [&*output.stdout, &output.stderr].concat();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn mosquitto_trusts_the_right_ca_and_no_other_and_no_certificate_that_is_over() {
    let scene = Scene::new();
    let broker = scene.setup().start();
    Authority::new("two").write(&scene.path("other.pem"));
    let trusting = scene.trusting("ca.pem");
    let trusting = trusting.each_ref().map(String::as_str);
    let filter = "$json/sync/#";
    let sub = Subscriber::come_back(scene.mqtts, Version::V311, filter, &trusting);
    sub.wait_for_suback();
    assert!(scene.is_trusted("blue", "ca.pem"));
    let _ = sub.message("the event", |line| line.contains("blue"));
    assert!(!scene.is_trusted("green", "other.pem"));
    drop(broker);
    scene.authority.server(&scene.server, Validity::Over);
    let broker = scene.setup().start();
    assert!(!scene.is_trusted("green", "ca.pem"));
    drop(broker);
}

#[test]
fn g10_plain_bytes_and_silence_at_the_tls_port_harm_nobody() {
    let scene = Scene::new();
    let setup = scene.setup();
    let setup = setup.variable("SYNCLINE__LIMITS__CONNECT_TIMEOUT_MS", "300");
    let broker = setup.start();
    let _silent: Vec<_> = (0..20).map(|_| TcpStream::connect(scene.mqtts)).collect();
    let mut plain = TcpStream::connect(scene.mqtts).unwrap();
    plain.set_read_timeout(Some(PATIENCE)).unwrap();
    let connect = b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x00\x00\x02ws";
    plain.write_all(connect).unwrap();
    // An alert or a reset, but no CONNACK, and then the end.
    let mut heard = Vec::new();
    let _ = plain.read_to_end(&mut heard);
    assert_ne!(heard.first(), Some(&0x20));
    assert!(scene.is_trusted("blue", "ca.pem"));
    let late = || broker.log().matches("not complete in time").count();
    wait::until("silence to end", || (late() == 20).then_some(()));
    assert!(scene.is_trusted("green", "ca.pem"));
}

#[test]
fn a_reload_gives_new_connections_the_new_certificate_and_old_ones_go_on() {
    let scene = Scene::new();
    let broker = scene.setup().start();
    let trusting = scene.trusting("ca.pem");
    let trusting = trusting.each_ref().map(String::as_str);
    let old = Subscriber::come_back(scene.mqtts, Version::V5, "$json/sync/#", &trusting);
    old.wait_for_suback();
    let two = Authority::new("two");
    two.write(&scene.path("two.pem"));
    two.server(&scene.server, Validity::Now);
    assert!(
        scene.is_trusted("before", "ca.pem"),
        "nothing changes by itself"
    );
    let reload = broker.ask(&["reload"]);
    assert!(reload.status.success(), "{}", said(&reload));
    assert!(
        said(&reload).contains("127.0.0.1, localhost"),
        "{}",
        said(&reload)
    );
    assert!(!scene.is_trusted("green", "ca.pem"));
    assert!(scene.is_trusted("after", "two.pem"));
    let _ = old.message("an event on the old connection", |line| {
        line.contains("after")
    });
    // And back, by SIGHUP.
    scene.authority.server(&scene.server, Validity::Now);
    broker.signal("HUP");
    wait::until("the first CA again", || {
        scene.is_trusted("hup", "ca.pem").then_some(())
    });
    let _ = old.message("an event on the old connection", |line| {
        line.contains("hup")
    });
}

#[test]
fn a_reload_of_something_broken_changes_nothing_and_says_why() {
    let scene = Scene::new();
    let broker = scene.setup().start();
    let good = fs::read(&scene.server.certificate).unwrap();
    let refused = |why: &str| {
        let reload = broker.ask(&["reload"]);
        assert!(!reload.status.success(), "{why}");
        let said = said(&reload);
        assert!(said.contains("nothing was changed"), "{said}");
        assert!(said.contains(why), "{said}");
        assert!(scene.is_trusted(why, "ca.pem"), "{why}");
    };
    fs::write(&scene.server.certificate, "nonsense").unwrap();
    refused("has no certificate in it");
    fs::write(&scene.server.certificate, good).unwrap();
    let other = Files::new(scene.folder.path(), "other");
    scene.authority.server(&other, Validity::Now);
    fs::copy(&other.key, &scene.server.key).unwrap();
    refused("are not usable together");
    scene.authority.server(&scene.server, Validity::Over);
    refused("is not valid now");
    fs::remove_file(&scene.server.certificate).unwrap();
    refused("SYNCLINE__TLS__CERTIFICATE: `tls.certificate`: cannot read");
}

#[test]
fn a_client_certificate_is_required_where_a_ca_is_named() {
    let scene = Scene::new();
    let clients = Authority::new("clients");
    clients.write(&scene.path("clients.pem"));
    let (kitchen, stranger) = ("kitchen", "stranger");
    let files = |name: &str| Files::new(scene.folder.path(), name);
    clients.client(kitchen, &files(kitchen));
    Authority::new("others").client(stranger, &files(stranger));
    let as_client = |album: &str, name: &str| {
        let (trusting, Files { certificate, key }) = (scene.trusting("ca.pem"), files(name));
        let (certificate, key) = (text(&certificate), text(&key));
        let [cafile, ca] = trusting.each_ref().map(String::as_str);
        scene.publishes(album, &[cafile, ca, "--cert", &certificate, "--key", &key])
    };
    let ca = text(&scene.path("clients.pem"));
    let required = scene.setup().variable("SYNCLINE__TLS__CLIENT_CA", &ca);
    let broker = required.start();
    assert!(as_client("blue", kitchen));
    assert!(!as_client("green", stranger), "of another CA");
    assert!(!scene.is_trusted("green", "ca.pem"), "without one");
    assert!(broker.log().contains("CN=kitchen"), "{}", broker.log());
    drop(broker);
    let optional = scene.setup().variable("SYNCLINE__TLS__CLIENT_CA", ca);
    let optional = optional.variable("SYNCLINE__TLS__CLIENT_CERTIFICATE_REQUIRED", "false");
    let broker = optional.start();
    assert!(as_client("blue", kitchen));
    assert!(!as_client("green", stranger), "of another CA");
    assert!(scene.is_trusted("green", "ca.pem"), "without one");
    drop(broker);
}

#[test]
fn wall_9_g9_who_has_a_certificate_is_the_user_that_it_names() {
    let scene = Scene::new();
    let clients = Authority::new("clients");
    clients.write(&scene.path("clients.pem"));
    let files = |name: &str| Files::new(scene.folder.path(), name);
    let phone = "urn:device:phone";
    clients.client_at("kitchen", &[phone], &files("kitchen"));
    clients.client_at(
        "garage",
        &["urn:device:a", "urn:device:b"],
        &files("garage"),
    );
    let rules = |user: &str| format!("[users.\"{user}\"]\ngroups = {{ home = \"rw\" }}");
    let as_client = |name: &str, user: &[&str]| {
        let (trusting, Files { certificate, key }) = (scene.trusting("ca.pem"), files(name));
        let (certificate, key) = (text(&certificate), text(&key));
        let [cafile, ca] = trusting.each_ref().map(String::as_str);
        let shown = [cafile, ca, "--cert", &certificate, "--key", &key];
        let star = Star::album("blue").json();
        let what = ["-q", "1", "-t", "sync/home/events", "-m", &star];
        let arguments = [&shown, &what[..], user].concat();
        let output = mosquitto::publish_with(scene.mqtts, Version::V5, &arguments);
        // It warns of a refusal by the rules, which comes in the PUBACK, and fails at one of its CONNECT.
        output.status.success() && output.stderr.is_empty()
    };
    let acl = scene.path("acl.toml");
    for (kind, name) in [("cn", "kitchen"), ("san-uri", phone)] {
        fs::write(&acl, rules(name)).unwrap();
        let broker = scene.setup().variable("SYNCLINE__AUTH__CERTIFICATES", kind);
        let broker = broker.variable("SYNCLINE__TLS__CLIENT_CA", text(&scene.path("clients.pem")));
        let broker = broker.variable("SYNCLINE__AUTH__ACL", text(&acl)).start();
        assert!(as_client("kitchen", &[]) && as_client("kitchen", &["-u", name]));
        assert!(!as_client("kitchen", &["-u", "garage"]), "another's name");
        assert!(
            !as_client("kitchen", &["-u", name, "-P", "x"]),
            "nobody looks at passwords"
        );
        assert!(!as_client("garage", &[]), "no rights, or no single name");
        let nobody = mosquitto::publish(broker.mqtt(), Version::V5, "sync/home/events", "{}");
        assert!(
            !nobody.status.success(),
            "without TLS nobody has a certificate"
        );
        fs::write(&acl, rules("somebody else")).unwrap();
        assert!(broker.ask(&["reload"]).status.success());
        assert!(!as_client("kitchen", &[]));
    }
}

#[test]
fn https_and_secure_websocket_are_served_and_each_port_speaks_its_own() {
    let scene = Scene::new();
    let broker = scene.setup().start();
    let config = client_config(&scene.path("ca.pem"), &[b"http/1.1"]);
    let mut socket = open(scene.https, &config);
    let request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    let mut socket = open(scene.https, &config);
    let request = "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nOrigin: https://localhost\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\
         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    // The frame of a CONNECT, masked with zeros.
    let connect = b"\x82\x90\0\0\0\0\x10\x0e\x00\x04MQTT\x04\x02\x00\x00\x00\x02ws";
    socket.write_all(request.as_bytes()).unwrap();
    socket.write_all(connect).unwrap();
    let mut heard = Vec::new();
    while !heard.ends_with(b"\x82\x04\x20\x02\x00\x00") {
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        heard.push(byte[0]);
    }
    assert!(heard.starts_with(b"HTTP/1.1 101"));
    // A browser that was led to the MQTT port.
    let mut astray = StreamOwned::new(connection(&config), dial(scene.mqtts));
    let error = astray.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap_err();
    assert!(
        error.to_string().contains("NoApplicationProtocol"),
        "{error}"
    );
    drop(broker);
}

fn client_config(ca: &Path, protocols: &[&[u8]]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(ca).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|it| it.to_vec()).collect();
    Arc::new(config)
}

fn connection(config: &Arc<ClientConfig>) -> ClientConnection {
    let name = ServerName::try_from("localhost").unwrap();
    ClientConnection::new(Arc::clone(config), name).unwrap()
}

fn dial(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn open(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
) -> StreamOwned<ClientConnection, TcpStream> {
    StreamOwned::new(connection(config), dial(address))
}

#[test]
fn a_reload_where_nothing_runs_or_nothing_is_configured_says_so() {
    let mut broker = Broker::start();
    let reload = broker.ask(&["reload"]);
    assert!(
        said(&reload).contains("no certificates"),
        "{}",
        said(&reload)
    );
    broker.signal("HUP");
    wait::let_pass(Duration::from_millis(100));
    assert_eq!(http::get(broker.http(), "/readyz").unwrap().status, 200);
    broker.terminate();
    let reload = broker.ask(&["reload"]);
    assert!(!reload.status.success());
    assert!(
        said(&reload).contains("no broker runs"),
        "{}",
        said(&reload)
    );
}

#[test]
fn check_says_whose_certificate_it_is_and_until_when_and_a_start_refuses_what_is_unusable() {
    let scene = Scene::new();
    let config = scene.path("broker.toml");
    let (certificate, key) = (text(&scene.server.certificate), text(&scene.server.key));
    let of = |key: &str| {
        format!(
            "[mqtt]\ntls_address = '127.0.0.1:8883'\n\n[tls]\ncertificate = '{certificate}'\nkey = '{key}'\n"
        )
    };
    let check = || {
        let mut command = process::Command::new(syncline_tests::broker::binary());
        said(
            &command
                .args(["check", "--config", &text(&config)])
                .output()
                .unwrap(),
        )
    };
    fs::write(&config, of(&key)).unwrap();
    let told = check();
    assert!(told.contains("mqtts   127.0.0.1:8883"), "{told}");
    let expected = "127.0.0.1, localhost, from 2020-01-01T00:00:00Z until 2120-01-01T00:00:00Z";
    assert!(told.contains(expected), "{told}");
    fs::write(&config, of("no/such.key")).unwrap();
    let told = check();
    assert!(
        told.contains("broker.toml:6: `tls.key`: cannot read no/such.key"),
        "{told}"
    );
    let (status, log) = Setup::new()
        .arguments(&["--config", &text(&config)])
        .start_refused();
    assert!(
        !status.success() && log.contains("broker.toml:6: `tls.key`"),
        "{log}"
    );
}

#[test]
fn g10_a_handshake_is_not_for_a_connection_too_many_of_its_address() {
    let scene = Scene::new();
    let limit = "SYNCLINE__LIMITS__CONNECTIONS_PER_ADDRESS_MAX";
    let sys = "SYNCLINE__SYS__INTERVAL_S";
    let setup = scene.setup().variable(limit, "4").variable(sys, "1");
    let broker = setup.start();
    // They never say a word, and count all the same.
    let _silent: Vec<_> = [scene.mqtts, scene.https, scene.mqtts]
        .map(|at| TcpStream::connect(at).unwrap())
        .into();
    let mut figures = watcher(&broker, "$SYS/broker/syncline/connections/refused/quota");
    for at in [scene.mqtts, scene.https] {
        let mut one_too_many = TcpStream::connect(at).unwrap();
        one_too_many.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(one_too_many.read(&mut [0]).unwrap(), 0, "closed");
    }
    wait::until("both are counted", || {
        (figures.message().unwrap().payload == b"2").then_some(())
    });
}

#[test]
fn g10_behind_a_load_balancer_an_address_has_so_many_connections_before_tls() {
    let scene = Scene::new();
    let setup = scene
        .setup()
        .variable("SYNCLINE__PROXY__PORTS", "mqtt.tls_address")
        .variable("SYNCLINE__PROXY__TRUSTED", "127.0.0.1")
        .variable("SYNCLINE__LIMITS__CONNECTIONS_PER_ADDRESS_MAX", "1")
        .variable("SYNCLINE__SYS__INTERVAL_S", "1");
    let broker = setup.start();
    let come = |client: u8| {
        let mut socket = TcpStream::connect(scene.mqtts).unwrap();
        socket.write_all(&header(client)).unwrap();
        socket
    };
    // Nothing was said of TLS: whoever is still there awaits it.
    let is_closed = |socket: &mut TcpStream| {
        socket.set_read_timeout(Some(BRIEFLY)).unwrap();
        socket.read(&mut [0]).is_ok_and(|n| n == 0)
    };
    let one = wait::until("one of two to be closed", || {
        let mut both = [come(7), come(7)];
        let closed = both.each_mut().map(is_closed);
        let [first, second] = both;
        match closed {
            [true, false] => Some(second),
            [false, true] => Some(first),
            _ => None,
        }
    });
    for (client, is_told) in [(7, false), (8, true)] {
        let mut socket = come(client);
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        // What is no handshake is answered with an alert. The end may be a reset.
        let _ = socket.write_all(b"no handshake");
        let mut heard = Vec::new();
        let _ = socket.read_to_end(&mut heard);
        assert_eq!(!heard.is_empty(), is_told, "{client}");
    }
    counted(&broker, "connections/refused/quota", 2);
    drop(one);
}
