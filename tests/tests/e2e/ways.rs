//! The ways by which the Rust client comes to a broker, right and wrong.

use std::net::SocketAddr;
use std::path::PathBuf;

use syncline_client::{Client, Options, Phase, Status, map};
use syncline_tests::authority::{Authority, Files, Validity};
use syncline_tests::broker::{Broker, Setup};
use syncline_tests::ports;
use syncline_tests::wait::PATIENCE;
use tempfile::TempDir;
use tokio::time::timeout;

/// More than one frame of a WebSocket and one record of TLS.
const LARGE: usize = 200_000;

/// A broker that listens in every way.
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
        // The certificate does not name 127.0.0.2.
        let mqtts = SocketAddr::from(([127, 0, 0, 2], ports::free().port()));
        let https = ports::free();
        Self {
            folder,
            authority,
            server,
            mqtts,
            https,
        }
    }

    fn setup(&self) -> Setup {
        Setup::new()
            .variable("SYNCLINE__MQTT__UNIX_SOCKET", self.text("mqtt.sock"))
            .variable("SYNCLINE__MQTT__TLS_ADDRESS", self.mqtts.to_string())
            .variable("SYNCLINE__HTTP__TLS_ADDRESS", self.https.to_string())
            .variable("SYNCLINE__TLS__CERTIFICATE", self.text("server.pem"))
            .variable("SYNCLINE__TLS__KEY", self.text("server.key"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn wss(&self) -> Options {
        options(&format!("wss://{}", self.https))
    }

    fn trusted(&self, options: Options) -> Options {
        options.ca_file(self.path("ca.pem")).unwrap()
    }
}

fn options(address: &str) -> Options {
    Options::new(address, "music").unwrap()
}

async fn until(client: &Client, is_so: impl FnMut(&Status) -> bool) -> Status {
    let mut status = client.status();
    let told = timeout(PATIENCE, status.wait_for(is_so)).await;
    told.expect("in time").unwrap().clone()
}

/// What a client is told that cannot connect.
async fn reason(options: Options) -> String {
    let client = Client::open(options).await.unwrap();
    let told = until(&client, |it| it.reason.is_some()).await;
    assert_ne!(told.phase, Phase::Online);
    client.close().await;
    told.reason.unwrap()
}

/// An event goes there and comes back to another client of another way.
async fn works(broker: &Broker, options: Options, name: &str) {
    let here = Client::open(options).await.unwrap();
    let there = Client::open(self::options(&broker.mqtt().to_string()));
    let there = there.await.unwrap();
    for client in [&here, &there] {
        until(client, |it| it.phase == Phase::Online).await;
    }
    let (mut heard_here, mut heard_there) = (here.events(), there.events());
    let said = map([("text", format!("{name}{}", "x".repeat(LARGE)))]);
    for (from, heard) in [(&here, &mut heard_there), (&there, &mut heard_here)] {
        let receipt = from.publish("said", said.clone()).await.unwrap();
        let saved = timeout(PATIENCE, receipt.saved()).await;
        let saved = saved.unwrap().unwrap_or_else(|it| panic!("{name}: {it}"));
        let heard = async {
            loop {
                let delivered = heard.recv().await.unwrap();
                if !delivered.own {
                    return delivered;
                }
            }
        };
        let heard = timeout(PATIENCE, heard).await.unwrap();
        assert_eq!(heard.event.seq, saved.seq.unwrap(), "{name}");
        assert_eq!(heard.event.event_data, said, "{name}");
    }
    here.close().await;
    there.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rust_client_comes_by_every_way() {
    let scene = Scene::new();
    let broker = scene.setup().start();
    let at = |scheme: &str, address: SocketAddr| format!("{scheme}://{address}");
    let mqtts = Scene {
        mqtts: ports::free(),
        ..Scene::new()
    };
    let encrypted = mqtts.setup().start();
    works(&broker, options(&at("mqtt", broker.mqtt())), "mqtt").await;
    works(&broker, options(&at("ws", broker.http())), "ws").await;
    works(
        &broker,
        options(&format!("unix:{}", scene.text("mqtt.sock"))),
        "unix",
    )
    .await;
    works(&broker, scene.trusted(scene.wss()), "wss").await;
    let options = mqtts.trusted(options(&at("mqtts", mqtts.mqtts)));
    works(&encrypted, options, "mqtts").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_not_proven_is_not_spoken_to() {
    let scene = Scene::new();
    let broker = scene.setup().start();
    let said = reason(scene.wss()).await;
    assert!(
        said.contains("Options::ca_file"),
        "the system's CAs: {said}"
    );
    let other = Authority::new("two");
    other.write(&scene.path("other.pem"));
    let others = scene.wss().ca_file(scene.path("other.pem")).unwrap();
    let said = reason(others).await;
    assert!(said.contains("no CA that is trusted"), "{said}");
    let elsewhere = options(&format!("mqtts://{}", scene.mqtts));
    let said = reason(scene.trusted(elsewhere)).await;
    assert!(said.contains("not for \"127.0.0.2\""), "{said}");
    let plain = options(&format!("wss://{}", broker.http()));
    let said = reason(scene.trusted(plain)).await;
    assert!(said.contains("no TLS with"), "{said}");
    drop(broker);
    scene.authority.server(&scene.server, Validity::Over);
    let broker = scene.setup().start();
    let said = reason(scene.trusted(scene.wss())).await;
    assert!(said.contains("out of date"), "{said}");
    drop(broker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_that_leads_nowhere_is_named() {
    let scene = Scene::new();
    let broker = scene.setup().start();
    let nobody = ports::free();
    let said = reason(options(&format!("mqtt://{nobody}"))).await;
    let expected = format!("{nobody} cannot be reached");
    assert!(said.contains(&expected), "{said}");
    let socket = scene.text("nobody.sock");
    let said = reason(options(&format!("unix:{socket}"))).await;
    assert!(said.contains(&socket), "{said}");
    let said = reason(options(&format!("ws://{}/elsewhere", broker.http()))).await;
    assert!(
        said.contains("no WebSocket") && said.contains("404"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_shows_its_certificate_and_a_stranger_is_turned_away() {
    let scene = Scene::new();
    let clients = Authority::new("clients");
    clients.write(&scene.path("clients.pem"));
    let files = |name: &str| Files::new(scene.folder.path(), name);
    clients.client("kitchen", &files("kitchen"));
    Authority::new("others").client("stranger", &files("stranger"));
    let setup = scene.setup();
    let broker = setup
        .variable("SYNCLINE__TLS__CLIENT_CA", scene.text("clients.pem"))
        .start();
    let showing = |name: &str| {
        let Files { certificate, key } = files(name);
        let options = scene.trusted(scene.wss());
        options.client_certificate_files(certificate, key).unwrap()
    };
    works(&broker, showing("kitchen"), "kitchen").await;
    for unknown in [showing("stranger"), scene.trusted(scene.wss())] {
        reason(unknown).await;
    }
    let (certificate, key) = (files("kitchen").certificate, files("stranger").key);
    let mixed = scene.wss().client_certificate_files(certificate, key);
    let said = mixed.unwrap_err().to_string();
    assert!(said.contains("cannot be used"), "{said}");
}
