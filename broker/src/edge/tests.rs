//! The edge with the real sequencer and the real bus, over byte streams in memory.

mod closing;
mod flooding;
mod keeping;
mod overload;
mod walls;
mod websocket;

use super::*;

use std::sync::Mutex;
use std::time::Instant;

use bytes::BytesMut;
use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::Event as Heard;
use mqtt_protocol_core::mqtt::packet::{GenericPacketTrait, Packet, Qos, SubEntry, SubOpts};
use mqtt_protocol_core::mqtt::packet::{v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::{Connection, Version, role};
use syncline_protocol::{Event, Intent, Notice, Presence, Snapshot, UnixMillis, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::timeout;

use crate::router::{Router, RouterOptions, RouterProbe};
use crate::sequencer::{FoundingOptions, Hooks, Options, StreamOptions};
use crate::store::memory::MemoryStore;
use crate::store::sessions::QueueLimit;
use crate::store::sessions::memory::MemorySessions;

const SCHEMA: &str = include_str!("../../../config/schemas/music.toml");
const PHONE: &str = "6a3b0c52-8d64-4d5e-9f39-2f1f2a3b4c5d";
const BOTH: [Version; 2] = [Version::V3_1_1, Version::V5_0];

/// A broker without sockets.
struct Broker {
    edge: Edge,
    sequencer: Arc<Sequencer>,
    probe: RouterProbe,
}

fn edge_options() -> EdgeOptions {
    EdgeOptions {
        connections_max: 64,
        connect_timeout: Duration::from_secs(30),
        packet_bytes_max: 1 << 20,
        event_bytes_max: 64 << 10,
        receive_maximum: 64,
        inflight_max: 64,
        subscriptions_max: 32,
        tail_events_max: 64,
        tail_bytes_max: 1 << 20,
        state_bytes_per_s: 1 << 20,
        state_part_bytes: 1 << 20,
        active_streams_max: 1_000,
        sessions: SessionsOptions {
            sessions_max: 4,
            expiry_max: Duration::from_secs(3_600),
            save_interval: Duration::from_millis(20),
            queue: QueueLimit {
                messages_max: 10,
                bytes_max: 1_000,
            },
        },
        presence_retention: Duration::from_secs(60),
        presence_devices_max: 1_000,
        device_retention: Duration::from_secs(3_600),
        crowd: CrowdOptions::default(),
        publish: PublishOptions::default(),
        ports: Ports::new(),
        load_lag_max: Duration::ZERO,
        ordinary: OrdinaryOptions::default(),
    }
}

fn router_options() -> RouterOptions {
    RouterOptions {
        outstanding_max: 512,
        outstanding_bytes_max: 1 << 20,
        intake_max: 4_096,
        intake_bytes_max: 1 << 24,
        canary_interval: Duration::from_millis(50),
        canary_timeout: Duration::from_secs(20),
    }
}

fn wall_clock() -> WallClock {
    let start = Instant::now();
    Arc::new(move || UnixMillis::new(1_700_000_000_000).plus(start.elapsed().as_millis() as u64))
}

impl Broker {
    fn start() -> Self {
        Self::with(edge_options())
    }

    fn with(options: EdgeOptions) -> Self {
        Self::on(options, Arc::new(MemoryStore::new(64)), Arc::default())
    }

    /// A broker on what an earlier one left.
    fn on(options: EdgeOptions, store: Arc<dyn EventStore>, sessions: Arc<MemorySessions>) -> Self {
        Self::behind(options, store, sessions, |prepared| prepared)
    }

    fn behind(
        options: EdgeOptions,
        store: Arc<dyn EventStore>,
        sessions: Arc<MemorySessions>,
        guarded: impl FnOnce(Prepared) -> Prepared,
    ) -> Self {
        let schema = Arc::new(Schema::parse(SCHEMA).unwrap());
        let prepared = Edge::prepare(options, Arc::clone(&store), sessions, &schema).unwrap();
        let prepared = guarded(prepared);
        let router = Router::start(router_options(), prepared.consumer()).unwrap();
        let probe = router.probe();
        let router = Mutex::new(router);
        let hooks = Hooks {
            now: wall_clock(),
            random: Box::new(|| 7),
            sink: Box::new(move |events| router.lock().unwrap().publish(events)),
            on_fatal: Box::new(|error| panic!("{error}")),
            counter: Box::new(|_, _, _| Ok(0)),
            farthest_counter: Box::new(|_| Ok(0)),
            state: Box::new(|_, _| Err("nobody is to ask".to_owned())),
            full: Box::new(|_| ()),
        };
        let limits = Options {
            queue_len_max: 1_024,
            batch_events_max: 64,
            batch_bytes_max: 1 << 20,
            receive_maximum: 64,
            max_clock_skew_ms: 60_000,
            active_streams_max: 64,
            device_retention_ms: 3_600_000,
            founding: FoundingOptions::default(),
            stream: StreamOptions::default(),
        };
        let sequencer =
            Sequencer::start(&limits, Arc::clone(&store), Arc::clone(&schema), hooks).unwrap();
        let sequencer = Arc::new(sequencer);
        let states = Arc::new(States::new(store, schema, 1 << 20));
        let edge = prepared
            .start(Arc::clone(&sequencer), states, wall_clock())
            .unwrap();
        Self {
            edge,
            sequencer,
            probe,
        }
    }

    async fn client(&self, version: Version, id: &str) -> Client {
        self.client_with(version, id, None).await
    }

    async fn client_with(&self, version: Version, id: &str, will: Option<&str>) -> Client {
        self.client_saying(version, connect(version, id, will))
            .await
    }

    async fn client_saying(&self, version: Version, connect: Packet) -> Client {
        self.client_and_connack(version, connect).await.0
    }

    async fn client_and_connack(&self, version: Version, connect: Packet) -> (Client, Packet) {
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        let place = self.edge.shared.place().expect("a place");
        let shared = Arc::clone(&self.edge.shared);
        tokio::spawn(async move {
            connection::serve(shared, theirs, Caller::default(), None).await;
            drop(place);
        });
        let mqtt = Connection::new(version);
        let mut client = Client {
            io: ours,
            mqtt,
            version,
            input: BytesMut::new(),
        };
        client.send(connect).await;
        let connack = client.next().await;
        assert!(
            matches!(connack, Packet::V3_1_1Connack(_) | Packet::V5_0Connack(_)),
            "{connack}"
        );
        (client, connack)
    }
}

/// A client at one of the versions.
struct Client {
    io: DuplexStream,
    mqtt: Connection<role::Client>,
    version: Version,
    input: BytesMut,
}

/// A PUBLISH that a client got.
#[derive(Debug, Clone, PartialEq)]
struct Got {
    topic: String,
    payload: Vec<u8>,
    retain: bool,
}

fn connect(version: Version, id: &str, will: Option<&str>) -> Packet {
    let payload = star(None, "will");
    if version == Version::V5_0 {
        let mut builder = v5_0::Connect::builder()
            .client_id(id)
            .unwrap()
            .clean_start(true);
        if let Some(topic) = will {
            builder = builder
                .will_message(topic, payload, Qos::AtLeastOnce, false)
                .unwrap();
        }
        return builder.build().unwrap().into();
    }
    let mut builder = v3_1_1::Connect::builder()
        .client_id(id)
        .unwrap()
        .clean_session(true);
    if let Some(topic) = will {
        builder = builder
            .will_message(topic, payload, Qos::AtLeastOnce, false)
            .unwrap();
    }
    builder.build().unwrap().into()
}

fn star(device: Option<&str>, album: &str) -> Vec<u8> {
    let data = Value::from_json(format!("{{\"album_id\":\"{album}\"}}").as_bytes()).unwrap();
    let mut intent = Intent::new("star_album".parse().unwrap(), data);
    intent.device = device.map(|text| text.parse().unwrap());
    intent.encode()
}

impl Client {
    async fn send(&mut self, packet: Packet) {
        for event in self.mqtt.send(packet) {
            if let Heard::RequestSendPacket { packet, .. } = event {
                self.io
                    .write_all(&packet.to_continuous_buffer())
                    .await
                    .unwrap();
            }
        }
    }

    /// The next packet; `None` at the end of the connection.
    async fn heard(&mut self) -> Option<Packet> {
        loop {
            let mut cursor = Cursor::new(&self.input[..]);
            let events = self.mqtt.recv(&mut cursor);
            let used = cursor.position() as usize;
            drop(self.input.split_to(used));
            for event in events {
                match event {
                    Heard::NotifyPacketReceived(packet) => return Some(packet),
                    Heard::NotifyError(error) => panic!("{error}"),
                    _ => {}
                }
            }
            if self.input.is_empty() {
                let read = timeout(Duration::from_secs(20), self.io.read_buf(&mut self.input));
                if read.await.expect("a packet in time").unwrap() == 0 {
                    return None;
                }
            }
        }
    }

    async fn next(&mut self) -> Packet {
        self.heard().await.expect("the connection lives")
    }

    async fn publish(&mut self, topic: &str, payload: &[u8]) -> u16 {
        let id = self.mqtt.acquire_packet_id().unwrap();
        let packet = if self.version == Version::V5_0 {
            let builder = v5_0::Publish::builder().topic_name(topic).unwrap();
            let builder = builder.qos(Qos::AtLeastOnce).packet_id(id).payload(payload);
            builder.build().unwrap().into()
        } else {
            let builder = v3_1_1::Publish::builder().topic_name(topic).unwrap();
            let builder = builder.qos(Qos::AtLeastOnce).packet_id(id).payload(payload);
            builder.build().unwrap().into()
        };
        self.send(packet).await;
        id
    }

    /// Publishes and waits for the PUBACK.
    async fn save(&mut self, topic: &str, payload: &[u8]) {
        let id = self.publish(topic, payload).await;
        match self.next().await {
            Packet::V3_1_1Puback(it) => assert_eq!(it.packet_id(), id),
            Packet::V5_0Puback(it) => {
                assert_eq!(it.packet_id(), id);
                assert!(
                    it.reason_code().is_none_or(|code| code.is_success()),
                    "{it}"
                );
            }
            other => panic!("{other}"),
        }
    }

    async fn subscribe(&mut self, filter: &str) {
        let opts = SubOpts::new().set_qos(Qos::AtLeastOnce);
        let entries = vec![SubEntry::new(filter, opts).unwrap()];
        let id = self.mqtt.acquire_packet_id().unwrap();
        let packet: Packet = if self.version == Version::V5_0 {
            v5_0::Subscribe::builder()
                .packet_id(id)
                .entries(entries)
                .build()
                .unwrap()
                .into()
        } else {
            v3_1_1::Subscribe::builder()
                .packet_id(id)
                .entries(entries)
                .build()
                .unwrap()
                .into()
        };
        self.send(packet).await;
        match self.next().await {
            Packet::V3_1_1Suback(it) => assert!(it.return_codes()[0].is_success()),
            Packet::V5_0Suback(it) => assert!(it.reason_codes()[0].is_success()),
            other => panic!("{other}"),
        }
    }

    /// The next PUBLISH, acknowledged.
    async fn got(&mut self) -> Got {
        let (got, id) = self.got_and_id().await;
        if let Some(id) = id {
            let [high, low] = id.to_be_bytes();
            self.io.write_all(&[0x40, 2, high, low]).await.unwrap();
        }
        got
    }

    async fn got_without_puback(&mut self) -> Got {
        self.got_and_id().await.0
    }

    async fn got_and_id(&mut self) -> (Got, Option<u16>) {
        let packet = self.next().await;
        let (got, id) = match &packet {
            Packet::V3_1_1Publish(it) => (
                Got {
                    topic: it.topic_name().to_owned(),
                    payload: it.payload().as_slice().to_vec(),
                    retain: it.retain(),
                },
                it.packet_id(),
            ),
            Packet::V5_0Publish(it) => (
                Got {
                    topic: it.topic_name().to_owned(),
                    payload: it.payload().as_slice().to_vec(),
                    retain: it.retain(),
                },
                it.packet_id(),
            ),
            other => panic!("{other}"),
        };
        (got, id)
    }

    async fn event(&mut self) -> Event {
        let got = self.got().await;
        Event::decode(&got.payload).unwrap_or_else(|error| panic!("{error}: {got:?}"))
    }

    /// Whether nothing comes for a while that many other things need.
    async fn hears_nothing(&mut self) -> bool {
        assert!(self.input.is_empty());
        let read = self.io.read_buf(&mut self.input);
        timeout(Duration::from_millis(150), read).await.is_err()
    }
}

const WORKERS: usize = 2;

fn run(test: impl Future<Output = ()>) {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .unwrap()
        .block_on(test);
}

#[test]
fn an_event_reaches_every_subscriber_at_both_versions_whatever_others_name() {
    run(async {
        let broker = Broker::start();
        for version in BOTH {
            let group = format!("sync/g{}/events", version as u8);
            let mut strange = broker.client(version, "ünlike").await;
            strange.subscribe("ünsync/#").await;
            strange.publish("ünsync/a/events", b"x").await;
            let mut watcher = broker.client(version, "watcher").await;
            watcher.subscribe(&group).await;
            let mut json = broker.client(Version::V5_0, "json").await;
            json.subscribe(&format!("$json/{group}")).await;
            let mut author = broker.client(version, PHONE).await;
            for album in ["one", "two"] {
                author.save(&group, &star(Some(PHONE), album)).await;
            }
            for n in 1..=2 {
                let event = watcher.event().await;
                assert_eq!(event.seq.get(), n);
                assert_eq!(event.device.to_string(), PHONE);
                assert_eq!(json.got().await.payload[0], b'{');
            }
        }
    });
}

#[test]
fn while_the_bus_is_held_pubacks_go_on_and_deliveries_wait() {
    run(async {
        let broker = Broker::start();
        let mut watcher = broker.client(Version::V5_0, "watcher").await;
        watcher.subscribe("sync/+/events").await;
        let mut author = broker.client(Version::V3_1_1, PHONE).await;
        author.save("sync/a/events", &star(None, "one")).await;
        assert_eq!(watcher.event().await.seq.get(), 1);
        broker.probe.hold();
        for album in ["two", "three"] {
            author.save("sync/a/events", &star(None, album)).await;
        }
        assert!(watcher.hears_nothing().await);
        broker.probe.release();
        assert_eq!(watcher.event().await.seq.get(), 2);
        assert_eq!(watcher.event().await.seq.get(), 3);
    });
}

#[test]
fn answer_3_a_3_1_1_client_reads_the_refusal_before_its_puback() {
    run(async {
        let broker = Broker::start();
        let mut other = broker.client(Version::V5_0, "other").await;
        other.subscribe("sync/a/errors/+").await;
        let mut author = broker.client(Version::V3_1_1, PHONE).await;
        author.subscribe(&format!("sync/a/errors/{PHONE}")).await;
        let id = author.publish("sync/a/events", b"?").await;
        let notice = Notice::decode(&author.got().await.payload).unwrap();
        assert_eq!(notice.error, "not_an_event");
        assert!(matches!(author.next().await, Packet::V3_1_1Puback(it) if it.packet_id() == id));
        assert_eq!(Notice::decode(&other.got().await.payload).unwrap(), notice);
    });
}

#[test]
fn a_takeover_ends_the_older_connection_and_sends_its_will() {
    run(async {
        let broker = Broker::start();
        let mut watcher = broker.client(Version::V5_0, "watcher").await;
        watcher.subscribe("sync/a/events").await;
        let mut older = broker
            .client_with(Version::V5_0, "same", Some("sync/a/events"))
            .await;
        let mut newer = broker.client(Version::V5_0, "same").await;
        let last = older.next().await;
        assert!(
            matches!(&last, Packet::V5_0Disconnect(it)
            if it.reason_code().is_some_and(|code| code as u8 == 0x8e)),
            "{last}"
        );
        assert!(older.heard().await.is_none());
        assert_eq!(watcher.event().await.seq.get(), 1);
        newer.save("sync/a/events", &star(None, "two")).await;
    });
}

#[test]
fn g8_a_state_on_subscribe_has_everything_acknowledged_before() {
    run(async {
        let broker = Broker::start();
        let mut author = broker.client(Version::V5_0, PHONE).await;
        broker.probe.hold();
        for album in ["one", "two"] {
            author.save("sync/a/events", &star(None, album)).await;
        }
        author.subscribe("sync/+/state").await;
        let got = author.got().await;
        assert!(got.retain);
        let snapshot = Snapshot::decode(&got.payload).unwrap();
        assert_eq!((snapshot.seq.get(), snapshot.mark), (2, None));
        author.subscribe("$since/0-0/sync/a/events").await;
        let got = author.got().await;
        assert_eq!(got.topic, "sync/a/state");
        assert_eq!(Snapshot::decode(&got.payload).unwrap().mark, Some(None));
        broker.probe.release();
        author.publish("sync/a/events", &star(None, "three")).await;
        let mut acked = false;
        let mut seen = Vec::new();
        while !acked || seen.len() < 2 {
            match author.next().await {
                Packet::V5_0Puback(_) => acked = true,
                Packet::V5_0Publish(it) => seen.push(it.topic_name().to_owned()),
                other => panic!("{other}"),
            }
        }
        assert!(seen.contains(&"sync/a/events".to_owned()), "{seen:?}");
    });
}

#[test]
fn view_3_a_replay_goes_on_live_without_a_gap() {
    run(async {
        let broker = Broker::start();
        let mut author = broker.client(Version::V5_0, PHONE).await;
        for n in 0..150 {
            author
                .save("sync/a/events", &star(None, &n.to_string()))
                .await;
        }
        for version in BOTH {
            let mut reader = broker.client(version, "reader").await;
            reader.subscribe("$since/0/sync/#").await;
            let mut next = 1;
            while next <= 150 {
                let got = reader.got().await;
                if got.topic.ends_with("/events") {
                    assert_eq!(Event::decode(&got.payload).unwrap().seq.get(), next);
                    next += 1;
                }
            }
        }
    });
}

#[test]
fn presence_2_who_gave_a_uuid_is_here_until_it_leaves() {
    run(async {
        let broker = Broker::start();
        let mut watcher = broker.client(Version::V5_0, "watcher").await;
        watcher.subscribe("sync/a/presence/+").await;
        watcher.subscribe("sync/a/events").await;
        let mut phone = broker.client(Version::V5_0, PHONE).await;
        phone.subscribe("sync/a/events").await;
        let came = Presence::decode(&watcher.got().await.payload).unwrap();
        assert!(came.online && came.device.to_string() == PHONE);
        let mut late = broker.client(Version::V3_1_1, "late").await;
        late.subscribe("sync/a/presence/+").await;
        assert!(late.got().await.retain);
        drop(phone);
        let left = Presence::decode(&watcher.got().await.payload).unwrap();
        assert!(!left.online);
    });
}

#[test]
fn schema_3_the_schema_is_retained() {
    run(async {
        let broker = Broker::start();
        let mut client = broker.client(Version::V5_0, "").await;
        client.subscribe("$SYS/broker/schema").await;
        let got = client.got().await;
        assert!(got.retain && got.payload.starts_with(b"{\"hash\":"));
    });
}

#[test]
fn a_drain_says_goodbye_to_everybody() {
    run(async {
        let broker = Broker::start();
        let mut five = broker.client(Version::V5_0, "five").await;
        let mut three = broker.client(Version::V3_1_1, "three").await;
        five.publish("sync/a/events", &star(None, "one")).await;
        assert!(matches!(five.next().await, Packet::V5_0Puback(_)));
        assert!(broker.edge.drain(Duration::from_secs(20)).await);
        assert!(matches!(five.next().await, Packet::V5_0Disconnect(it)
            if it.reason_code().is_some_and(|code| code as u8 == 0x8b)));
        assert!(three.heard().await.is_none());
        broker.sequencer.drain();
    });
}

#[test]
fn g10_a_subscriber_that_does_not_read_holds_nobody_up_and_misses_nothing() {
    run(async {
        let broker = Broker::start();
        let mut slow = broker.client(Version::V3_1_1, "slow").await;
        slow.subscribe("sync/a/events").await;
        let mut author = broker.client(Version::V5_0, PHONE).await;
        for n in 0..300 {
            author
                .save(
                    "sync/a/events",
                    &star(None, &format!("{n}-{}", "x".repeat(900))),
                )
                .await;
        }
        for n in 1..=300 {
            assert_eq!(slow.event().await.seq.get(), n);
        }
    });
}

#[test]
fn connections_beyond_the_limit_have_no_place() {
    run(async {
        let broker = Broker::with(EdgeOptions {
            connections_max: 1,
            ..edge_options()
        });
        let client = broker.client(Version::V5_0, "one").await;
        assert!(broker.edge.shared.place().is_none());
        assert_eq!(broker.edge.connections(), 1);
        drop(client);
        broker.edge.shared.empty().await;
    });
}
