//! A store that was copied, as a backup of a phone is onto a second one: two installations with one UUID (FORK).

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use syncline_client::{Client, DeviceId, Options, Phase, Status, Store, map};
use syncline_protocol::Event;
use syncline_tests::broker::Broker;
use syncline_tests::wait::PATIENCE;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::scene::watcher;

async fn within<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it takes too long")
}

fn options(broker: &Broker, store: PathBuf) -> Options {
    let options = Options::new(&broker.mqtt().to_string(), "home").unwrap();
    options.store(Store::File(store))
}

async fn saved(client: &Client) {
    let mut status = client.status();
    let saved = status.wait_for(|it| it.phase == Phase::Online && it.pending == 0);
    within(saved).await.unwrap();
}

async fn star(client: &Client, album: &str) {
    let data = map([("album_id", album)]);
    client.publish("star_album", data).await.unwrap();
}

/// Until both are online at once and the broker has everything, as two devices.
async fn apart([one, other]: &[Client; 2]) -> [DeviceId; 2] {
    let (mut this, mut that) = (one.status(), other.status());
    let come_apart = async {
        loop {
            let has_all = |it: &Status| it.phase == Phase::Online && it.pending == 0;
            let at_rest = has_all(&this.borrow_and_update()) && has_all(&that.borrow_and_update());
            let devices = [one.device().await.unwrap(), other.device().await.unwrap()];
            if at_rest && devices[0] != devices[1] {
                return devices;
            }
            tokio::select! {
                _ = this.changed() => {}
                _ = that.changed() => {}
            }
        }
    };
    within(come_apart).await
}

/// A client did something, and its store was copied since; both are opened.
async fn two_copies(broker: &Broker, folder: &TempDir, online: bool) -> [Client; 2] {
    let store = |name: &str| folder.path().join(name);
    let client = Client::open(options(broker, store("phone"))).await.unwrap();
    star(&client, "before").await;
    saved(&client).await;
    client.close().await;
    fs::copy(store("phone"), store("copy")).unwrap();
    let open = |name| Client::open(options(broker, store(name)).online(online));
    [open("phone").await.unwrap(), open("copy").await.unwrap()]
}

/// How often each album was starred.
fn stars(broker: &Broker, count: usize) -> BTreeMap<String, usize> {
    let mut watcher = watcher(broker, "$since/0/sync/home/events");
    let mut stars = BTreeMap::new();
    for _ in 0..count {
        let event = Event::decode(&watcher.message().unwrap().payload).unwrap();
        let album = event.event_data.as_map().unwrap()["album_id"].as_text();
        *stars.entry(album.unwrap().to_owned()).or_default() += 1;
    }
    stars
}

#[tokio::test(flavor = "multi_thread")]
async fn fork_5_two_idle_copies_come_to_rest_as_two_devices() {
    let (broker, folder) = (Broker::start(), TempDir::new().unwrap());
    let copies = two_copies(&broker, &folder, true).await;
    let devices = apart(&copies).await;
    for (copy, album) in copies.iter().zip(["one", "two"]) {
        star(copy, album).await;
        saved(copy).await;
    }
    let expected = ["before", "one", "two"].map(|album| (album.to_owned(), 1));
    assert_eq!(stars(&broker, 3), BTreeMap::from(expected));
    assert_eq!(apart(&copies).await, devices, "nobody forks again");
}

#[tokio::test(flavor = "multi_thread")]
async fn fork_5_copies_that_throw_each_other_out_lose_nothing_of_what_they_did_offline() {
    let (broker, folder) = (Broker::start(), TempDir::new().unwrap());
    let copies = two_copies(&broker, &folder, false).await;
    let mut expected = BTreeMap::from([("before".to_owned(), 1)]);
    for at in 0..100 {
        for (copy, name) in copies.iter().zip(["one", "two"]) {
            let album = format!("{name}-{at}");
            star(copy, &album).await;
            expected.insert(album, 1);
        }
    }
    for copy in &copies {
        copy.set_online(true).await.unwrap();
    }
    apart(&copies).await;
    assert_eq!(stars(&broker, 201), expected);
    let head = watcher(&broker, "$json/sync/home/state").message().unwrap();
    assert_eq!(head.json()["head"], 201, "nothing came twice");
}
