//! The Rust client behind a network that fails, at both versions of MQTT: nothing is lost, nothing doubled, order is kept.

use std::collections::BTreeMap;
use std::time::Duration;

use syncline_client::{Client, Options, Phase, Receipt, map};
use syncline_protocol::Event;
use syncline_tests::broker::Broker;
use syncline_tests::dice::Dice;
use syncline_tests::fault_proxy::{FaultProxy, Weather};
use syncline_tests::wait::PATIENCE;
use tokio::time::timeout;

use crate::scene::watcher;

const DEVICES: usize = 2;
/// A Keep Alive of 15 s, missed once; then connecting anew.
const FOUND_DEAD: Duration = Duration::from_secs(60);

async fn within<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("in time")
}

async fn open(network: &FaultProxy) -> Client {
    let options = Options::new(&format!("mqtt://{}", network.address()), "home").unwrap();
    Client::open(options).await.unwrap()
}

async fn is_online(client: &Client) {
    let mut status = client.status();
    within(status.wait_for(|it| it.phase == Phase::Online))
        .await
        .unwrap();
}

async fn is_saved(client: &Client) {
    let mut status = client.status();
    let saved = status.wait_for(|it| it.phase == Phase::Online && it.pending == 0);
    within(saved).await.unwrap();
}

async fn star(client: &Client, album: &str) -> Receipt {
    let receipt = client.publish("star_album", map([("album_id", album)]));
    within(receipt).await.unwrap()
}

/// The stream from its beginning: by device, its `device_seq`s in their order; and the album at each seq.
fn stream(broker: &Broker, count: usize) -> (BTreeMap<String, Vec<u64>>, BTreeMap<u64, String>) {
    let (mut devices, mut albums) = (BTreeMap::<_, Vec<u64>>::new(), BTreeMap::new());
    let mut watcher = watcher(broker, "$since/0/sync/home/events");
    for _ in 0..count {
        let event = Event::decode(&watcher.message().unwrap().payload).unwrap();
        let data: serde_json::Value = serde_json::from_str(&event.to_json()).unwrap();
        let numbers = devices.entry(event.device.to_string()).or_default();
        numbers.push(event.device_seq.unwrap().get());
        let album = data["event_data"]["album_id"].as_str().unwrap().to_owned();
        albums.insert(data["seq"].as_u64().unwrap(), album);
    }
    (devices, albums)
}

/// One thing that goes wrong, until it has been noticed.
async fn misfortune(network: &FaultProxy, clients: &[Client], dice: &mut Dice) {
    let before = network.seen();
    match dice.below(7) {
        0 => network.cut(),
        1 => {
            network.reset_after(1 + dice.below(400));
            network
                .sees("a reset", |it| it.resets > before.resets)
                .await;
        }
        2 => {
            network.set(Weather::Refusing);
            network.cut();
            wake(clients).await;
            network
                .sees("a refusal", |it| it.refused > before.refused)
                .await;
        }
        3 => {
            network.set(Weather::Slow);
            let passed = before.passed + 200;
            network.sees("a trickle", |it| it.passed > passed).await;
        }
        4 => {
            network.set(Weather::SwallowsRequests);
            network
                .sees("lost requests", |it| it.swallowed > before.swallowed)
                .await;
        }
        5 => {
            network.set(Weather::SwallowsAnswers);
            network
                .sees("lost answers", |it| it.swallowed > before.swallowed)
                .await;
        }
        _ => {
            network.set(Weather::Still);
            network.cut();
        }
    }
}

/// Somebody looks: what waits for its next try tries at once.
async fn wake(clients: &[Client]) {
    for client in clients {
        within(client.set_online(true)).await.unwrap();
    }
}

async fn storm(is_old: bool, seed: u64, rounds: u64) {
    println!("seed {seed}");
    let (broker, mut dice) = (Broker::start(), Dice::new(seed));
    let network = FaultProxy::start(broker.mqtt(), is_old).await;
    let mut clients = Vec::new();
    for _ in 0..DEVICES {
        clients.push(open(&network).await);
    }
    for client in &clients {
        is_online(client).await;
    }
    let mut receipts = BTreeMap::new();
    for round in 0..rounds {
        // What is said while it happens is what makes it happen.
        let saying = async {
            for n in 0..3 {
                for (device, client) in clients.iter().enumerate() {
                    let album = format!("album-{device}-{round}-{n}");
                    receipts.insert(album.clone(), star(client, &album).await);
                }
            }
        };
        tokio::join!(saying, misfortune(&network, &clients, &mut dice));
        network.set(Weather::Fair);
        wake(&clients).await;
        for client in &clients {
            is_online(client).await;
        }
    }
    assert_kept(&broker, &clients, receipts, rounds * 3).await;
    for client in clients {
        client.close().await;
    }
}

/// Each device's changes are in the stream once and in their order, where they were said to be, and everybody holds them all.
async fn assert_kept(
    broker: &Broker,
    clients: &[Client],
    receipts: BTreeMap<String, Receipt>,
    each: u64,
) {
    for client in clients {
        is_saved(client).await;
    }
    let (devices, albums) = stream(broker, receipts.len());
    let expected: Vec<u64> = (1..=each).collect();
    assert_eq!(
        devices.len(),
        DEVICES,
        "no device became another one: {devices:?}"
    );
    assert!(
        devices.values().all(|it| *it == expected),
        "once, in order: {devices:?}"
    );
    for (album, receipt) in receipts {
        let saved = within(receipt.saved()).await.unwrap();
        if let Some(seq) = saved.seq {
            assert_eq!(
                albums.get(&seq.get()),
                Some(&album),
                "where it was said to be"
            );
        }
    }
    let mut all: Vec<_> = albums.into_values().collect();
    all.sort();
    for client in clients {
        let mut changes = client.changes();
        while within(client.entries("albums")).await.unwrap().len() < all.len() {
            let _ = within(changes.recv()).await;
        }
        let held: Vec<_> = client
            .entries("albums")
            .await
            .unwrap()
            .into_keys()
            .collect();
        assert_eq!(held, all);
        assert!(client.all_set_aside().await.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn g4_g11_a_network_that_fails_loses_and_doubles_nothing_at_version_5() {
    for seed in 1..=3 {
        storm(false, seed, 24).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn g4_g11_a_network_that_fails_loses_and_doubles_nothing_at_version_3_1_1() {
    // A client of 3.1.1 gives way more and more where its connections are short (FORK-5).
    storm(true, 11, 6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g4_an_acknowledgement_that_is_lost_leads_to_a_repeat_and_to_no_second_effect() {
    let broker = Broker::start();
    let network = FaultProxy::start(broker.mqtt(), false).await;
    let client = open(&network).await;
    is_online(&client).await;
    let mut all = watcher(&broker, "sync/home/events");
    network.set(Weather::SwallowsAnswers);
    let receipt = star(&client, "album-1").await;
    let event = Event::decode(&all.message().unwrap().payload).unwrap();
    assert_eq!(
        event.device_seq.unwrap().get(),
        1,
        "it is on the broker's disk"
    );
    network.sees("the lost answer", |it| it.swallowed > 0).await;
    network.set(Weather::Fair);
    let saved = within(receipt.saved()).await.unwrap();
    assert_eq!(saved.seq.unwrap().get(), 1);
    is_saved(&client).await;
    let next = star(&client, "album-2").await;
    assert_eq!(
        within(next.saved()).await.unwrap().seq.unwrap().get(),
        2,
        "there is no other one"
    );
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_died_without_a_word_is_found_and_replaced() {
    let broker = Broker::start();
    let network = FaultProxy::start(broker.mqtt(), false).await;
    let client = open(&network).await;
    is_online(&client).await;
    network.strike_dead();
    let receipt = star(&client, "album-1").await;
    let saved = timeout(FOUND_DEAD, receipt.saved()).await;
    assert_eq!(saved.expect("in time").unwrap().seq.unwrap().get(), 1);
    assert_eq!(network.seen().connections, 2);
    client.close().await;
}
