//! The application with a device outside of it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use syncline_client::{Client, Label, Options, Set};
use syncline_example_axum::{App, GROUP};
use syncline_tests::http::{self, Answer};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

const ALBUMS: Set = Set::new("albums");
const PATIENCE: Duration = Duration::from_secs(20);

async fn start(data: &Path) -> (App, SocketAddr, JoinHandle<()>) {
    let app = App::start(data, ["127.0.0.1:0"; 2], "open sesame")
        .await
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = app.routes();
    let serving = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    (app, address, serving)
}

async fn ask(address: SocketAddr, method: &'static str, path: &'static str, body: &str) -> Answer {
    let text = format!(
        "{method} {path} HTTP/1.1\r\nHost: house\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    spawn_blocking(move || http::request(address, &text).unwrap())
        .await
        .unwrap()
}

fn device(app: &App, word: &str) -> Options {
    Options::new(&app.mqtt_address().to_string(), GROUP)
        .unwrap()
        .credentials("ana", word)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_logged_in_syncs_with_the_application_until_it_is_signed_out() {
    let data = tempfile::TempDir::new().unwrap();
    let (app, address, serving) = start(data.path()).await;
    assert_eq!(
        ask(address, "POST", "/login/ana", "guess").await.status,
        403
    );
    let word = ask(address, "POST", "/login/ana", "open sesame").await.body;

    let phone = Client::open(device(&app, &word)).await.unwrap();
    let mut status = phone.status();
    let met = status.wait_for(|it| it.label() == Label::Saved);
    timeout(PATIENCE, met).await.unwrap().unwrap();
    ALBUMS
        .of(&phone)
        .add("a")
        .await
        .unwrap()
        .saved()
        .await
        .unwrap();
    let answer = ask(address, "POST", "/stars/b", "").await;
    assert_eq!(answer.body, "event 2", "the broker orders both");
    let mut changes = phone.changes();
    let both_are_here = async {
        while ALBUMS.of(&phone).keys().await.unwrap() != ["a", "b"] {
            changes.recv().await.unwrap();
        }
    };
    timeout(PATIENCE, both_are_here).await.unwrap();
    assert_eq!(ask(address, "GET", "/stars", "").await.body, "a\nb");
    assert!(
        ask(address, "GET", "/events", "")
            .await
            .body
            .contains("2 star_album")
    );

    app.sign_out("ana");
    let mut needs_auth = phone.needs_auth();
    timeout(PATIENCE, needs_auth.wait_for(|it| *it))
        .await
        .unwrap()
        .unwrap();
    ALBUMS.of(&phone).add("c").await.unwrap();
    assert_ne!(phone.status().borrow().label(), Label::Saved);
    assert_eq!(ask(address, "GET", "/stars", "").await.body, "a\nb");
    phone.close().await;
    serving.abort();
    let _ = serving.await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_application_starred_is_there_after_its_restart() {
    let data = tempfile::TempDir::new().unwrap();
    for expected in ["event 1", "event 2"] {
        let (app, address, serving) = start(data.path()).await;
        let path = if expected == "event 1" {
            "/stars/a"
        } else {
            "/stars/b"
        };
        assert_eq!(ask(address, "POST", path, "").await.body, expected);
        serving.abort();
        let _ = serving.await;
        app.stop().await;
    }
}
