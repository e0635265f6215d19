//! The example of a sensor: what it measures while it is offline waits on disk and not in memory, and arrives once, in order.

#[path = "../../../client-sdk/rust/examples/sensor/sensor.rs"]
mod device;
#[path = "../../../client-sdk/rust/examples/sensor/spool.rs"]
mod spool;

use std::fs;
use std::path::Path;

use syncline_client::{Client, Options, Store, Value};
use syncline_protocol::Event;
use syncline_tests::broker::Setup;
use syncline_tests::ports;
use syncline_tests::wait::PATIENCE;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::scene::watcher;
use device::{MEMORY_BYTES_MAX, PENDING_BYTES_MAX, Sensor};
use spool::{READING_BYTES_MAX, Spool};

const READINGS: u64 = 300;
const BYTES: usize = 1_000;

async fn client(address: &str, folder: &Path) -> Client {
    let options = Options::new(address, "home").unwrap();
    let file = Store::File(folder.join("outbox.redb"));
    Client::open(options.store(file)).await.unwrap()
}

async fn sensor(address: &str, folder: &Path) -> Sensor {
    let spool = Spool::open(&folder.join("spool")).unwrap();
    Sensor::new(client(address, folder).await, spool)
        .await
        .unwrap()
}

/// What the readings cost that the client of this folder holds, as that says itself.
async fn bytes_in_client(address: &str, folder: &Path) -> usize {
    let client = client(address, folder).await;
    let mut bytes = 0;
    for it in client.pending_events().await.unwrap() {
        match it.intent.event_data.as_map().unwrap().get("reading") {
            Some(Value::Bytes(reading)) => bytes += spool::cost(reading),
            other => panic!("{other:?} is no reading"),
        }
    }
    client.close().await;
    bytes
}

async fn until_all_is_sent(sensor: &mut Sensor) {
    let mut status = sensor.status();
    loop {
        sensor.hand_over().await.unwrap();
        assert!(sensor.bytes_held() <= PENDING_BYTES_MAX);
        if sensor.bytes_held() == 0 && sensor.spooled().unwrap() == 0 {
            return;
        }
        status.changed().await.unwrap();
    }
}

#[test]
fn g11_a_sensor_that_is_offline_for_long_holds_64_kb_and_sends_everything_once_in_order() {
    let folder = tempfile::TempDir::new().unwrap();
    let address = ports::free().to_string();
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let mut sensor = sensor(&address, folder.path()).await;
        for number in 1..=READINGS {
            assert_eq!(sensor.record(&[7; BYTES]).unwrap(), number);
        }
        sensor.close().await;
    });
    let spooled = folder.path().join("spool");
    let before = fs::read(&spooled).unwrap();
    runtime.block_on(async {
        let mut sensor = sensor(&address, folder.path()).await;
        sensor.hand_over().await.unwrap();
        assert!(
            sensor.spooled().unwrap() > READINGS / 2,
            "most of it waits on disk"
        );
        sensor.close().await;
        let held = bytes_in_client(&address, folder.path()).await;
        assert!(
            held + spool::cost(&[7; BYTES]) > PENDING_BYTES_MAX,
            "{held}: what there is room for"
        );
        assert!(held <= PENDING_BYTES_MAX && PENDING_BYTES_MAX < MEMORY_BYTES_MAX);
    });
    // As if the process had died before anything that it handed over was taken out of the spool.
    fs::write(&spooled, before).unwrap();

    let broker = Setup::new().mqtt(&address).start();
    runtime.block_on(async {
        let mut sensor = sensor(&address, folder.path()).await;
        let all = until_all_is_sent(&mut sensor);
        timeout(PATIENCE, all)
            .await
            .expect("the broker takes everything");
        sensor.close().await;
    });
    let mut watcher = watcher(&broker, "$since/0/sync/home/events");
    for number in 1..=READINGS {
        let event = Event::decode(&watcher.message().unwrap().payload).unwrap();
        let data = event.event_data.as_map().unwrap();
        assert_eq!(data["number"].as_text(), Some(number.to_string().as_str()));
    }
    let state = watcher_of_state(&broker);
    assert_eq!(state["head"], READINGS, "nothing came twice");
}

fn watcher_of_state(broker: &syncline_tests::broker::Broker) -> serde_json::Value {
    let state = watcher(broker, "$json/sync/home/state").message().unwrap();
    state.json()
}

#[test]
fn a_reading_that_is_too_large_is_refused_with_the_remedy() {
    let folder = tempfile::TempDir::new().unwrap();
    let spool = Spool::open(&folder.path().join("spool")).unwrap();
    let error = spool.put(&[0; READING_BYTES_MAX + 1]).unwrap_err();
    assert!(error.to_string().contains("send it in parts"), "{error}");
    assert_eq!(
        spool.put(&[0; READING_BYTES_MAX]).unwrap(),
        1,
        "no number is lost"
    );
}
