use std::collections::BTreeMap;

use syncline_protocol::{DeviceId, Intent, Value};
use tokio::io::AsyncWriteExt;

use super::*;
use crate::config::{self, Flags};
use crate::edge::submission;
use crate::sequencer::Lane;
use crate::store::faults::{Faults, FaultyStore};
use crate::store::memory::MemoryStore;
use crate::store::sessions::memory::MemorySessions;
use crate::store::simulated::{Failure, SimDisk};

fn options() -> Options {
    let any_port = || Some("127.0.0.1:0".to_owned());
    let flags = Flags {
        mqtt: any_port(),
        http: any_port(),
        ..Flags::default()
    };
    config::load(&flags, &BTreeMap::new()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_of_a_session_ends_the_broker() {
    let disk = SimDisk::new();
    let options = options();
    let sessions = disk.open_store(&options.store).unwrap();
    let events = MemoryStore::new(options.store.mark_window);
    let mut broker = Broker::start_on(options, Arc::new(events), Arc::new(sessions))
        .await
        .unwrap();
    disk.fail("tables.redb", Failure::Sync);
    let mut client = tokio::net::TcpStream::connect(broker.mqtt_address())
        .await
        .unwrap();
    // CONNECT, 3.1.1, clean session 0, as "a".
    let connect = b"\x10\x0d\x00\x04MQTT\x04\x00\x00\x00\x00\x01a";
    client.write_all(connect).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(10), broker.failed()).await;
    assert!(
        matches!(&ended, Ok(RunError::Disk(why)) if why.contains("tables.redb")),
        "{ended:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_sequencer_ends_the_broker() {
    let options = options();
    let faults = Faults::default();
    let store = FaultyStore::new(MemoryStore::new(options.store.mark_window), faults.clone());
    let mut broker = Broker::start_on(
        options,
        Arc::new(store),
        Arc::new(MemorySessions::default()),
    )
    .await
    .unwrap();
    faults.panic(1);
    let stream = syncline_protocol::StreamId {
        sync_id: "home".parse().unwrap(),
        channel: None,
    };
    let intent = Intent::new("x".parse().unwrap(), Value::Nil);
    let event = submission(stream, DeviceId::from_bytes([1; 16]), intent);
    broker
        .rooms
        .sequencer
        .submit(&Lane::new(), event, Box::new(drop))
        .unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(10), broker.failed()).await;
    assert!(matches!(ended, Ok(RunError::SequencerDied)), "{ended:?}");
}
