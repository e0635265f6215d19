//! A listener that speaks just enough MQTT 5 for one client core, around the model.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, ConnAckProperties, ConnectReturnCode, Packet, PubAck, PubAckProperties, PubAckReason,
    Publish, SubAck, SubscribeReasonCode,
};
use rumqttc::v5::mqttbytes::{Error, QoS};
use syncline_client_core::Answer;
use syncline_protocol::{
    DeviceId, Epoch, Seq, Snapshot, Start, StreamId, Subscription, Topic, UnixMillis,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::model::{Broker, How, Next};

/// Small, so that states come in parts.
const PART_BYTES: usize = 2_500;

/// Each stream has a broker of its own.
type Streams = Arc<Mutex<HashMap<StreamId, Broker>>>;

pub(crate) fn stream(channel: Option<&str>) -> StreamId {
    StreamId {
        sync_id: "music".parse().unwrap(),
        channel: channel.map(|channel| channel.parse().unwrap()),
    }
}

fn broker<T>(streams: &Streams, stream: &StreamId, ask: impl FnOnce(&mut Broker) -> T) -> T {
    let mut streams = streams.lock().unwrap();
    let new = || Broker::new(stream.clone());
    ask(streams.entry(stream.clone()).or_insert_with(new))
}

pub(crate) struct Server {
    address: String,
    streams: Streams,
    /// Goes up with every event.
    head: watch::Sender<u64>,
    /// Goes up to end all connections.
    cuts: watch::Sender<u32>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap().to_string(),
            streams: Streams::default(),
            head: watch::Sender::new(0),
            cuts: watch::Sender::new(0),
        };
        let (streams, head, cuts) = (
            server.streams.clone(),
            server.head.clone(),
            server.cuts.clone(),
        );
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let connection = Connection::new(socket, streams.clone(), head.clone());
                let mut cut = cuts.subscribe();
                tokio::spawn(async move {
                    tokio::select! {
                        _ = connection.run() => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        server
    }

    pub(crate) fn address(&self) -> String {
        self.address.clone()
    }

    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|n| *n += 1);
    }

    /// A restart on a disk that forgot everything after `head`.
    pub(crate) fn roll_back(&self, head: usize) {
        self.ask(|broker| broker.roll_back(head));
        self.cut();
    }

    /// The default stream's broker.
    pub(crate) fn ask<T>(&self, ask: impl FnOnce(&mut Broker) -> T) -> T {
        broker(&self.streams, &stream(None), ask)
    }

    /// How many events a stream has.
    pub(crate) fn events(&self, channel: Option<&str>) -> usize {
        broker(&self.streams, &stream(channel), |broker| broker.log.len())
    }

    /// What the broker does by itself reaches whoever is connected.
    pub(crate) fn wake(&self) {
        self.head.send_modify(|n| *n += 1);
    }

    /// How many albums are starred.
    pub(crate) fn live_albums(&self) -> usize {
        self.ask(|broker| {
            let albums = broker.state().entries("albums");
            albums.filter(|(_, entry)| entry.is_live()).count()
        })
    }

    /// The albums that the events name, in their order.
    pub(crate) fn albums(&self) -> Vec<String> {
        let album = |data: &syncline_protocol::Value| {
            let id = &data.as_map().unwrap()["album_id"];
            id.as_text().unwrap().to_owned()
        };
        self.ask(|broker| {
            let log = broker.log.iter();
            log.map(|event| album(&event.event_data)).collect()
        })
    }
}

struct Connection {
    socket: TcpStream,
    read: BytesMut,
    streams: Streams,
    head: watch::Sender<u64>,
    device: Option<DeviceId>,
    cursor: Option<(StreamId, (Seq, Epoch))>,
    packet: u16,
}

impl Connection {
    fn new(socket: TcpStream, streams: Streams, head: watch::Sender<u64>) -> Self {
        Self {
            socket,
            read: BytesMut::new(),
            streams,
            head,
            device: None,
            cursor: None,
            packet: 0,
        }
    }

    async fn run(mut self) -> std::io::Result<()> {
        let mut head = self.head.subscribe();
        loop {
            self.deliver().await?;
            let packet = tokio::select! {
                packet = next_packet(&mut self.socket, &mut self.read) => packet?,
                _ = head.changed() => continue,
            };
            match packet {
                Packet::Connect(connect, ..) => {
                    let properties = connect.properties.unwrap();
                    let named: HashMap<_, _> = properties.user_properties.into_iter().collect();
                    self.device = Some(named["device"].parse().unwrap());
                    assert_eq!(connect.client_id, named["device"]);
                    self.send(Packet::ConnAck(connack())).await?;
                }
                Packet::Subscribe(subscribe) => {
                    let return_codes = vec![SubscribeReasonCode::Success(QoS::AtLeastOnce)];
                    let pkid = subscribe.pkid;
                    self.send(Packet::SubAck(SubAck {
                        pkid,
                        return_codes,
                        properties: None,
                    }))
                    .await?;
                    self.subscribe(&subscribe.filters[0].path).await?;
                }
                Packet::Publish(publish) => self.accept(publish).await?,
                Packet::PingReq(_) => {
                    self.send(Packet::PingResp(rumqttc::v5::mqttbytes::v5::PingResp))
                        .await?;
                }
                Packet::Disconnect(_) => return Ok(()),
                _ => {}
            }
        }
    }

    async fn subscribe(&mut self, filter: &str) -> std::io::Result<()> {
        let subscription: Subscription = filter.parse().unwrap();
        match (subscription.filter.exact(), subscription.start) {
            (Some(Topic::Schema), _) => {
                let schema = |broker: &mut Broker| broker.schema.document();
                let document = broker(&self.streams, &stream(None), schema);
                self.message(&Topic::Schema, document.into_bytes()).await
            }
            (Some(Topic::Events(stream)), Start::Resume { seq, epoch }) => {
                let device = self.device.unwrap();
                let opening = broker(&self.streams, &stream, |broker| {
                    broker.opening(device, (seq, epoch), How::Delta)
                });
                self.cursor = Some((stream, (opening.seq, opening.epoch)));
                self.state(opening).await
            }
            _ => Ok(()),
        }
    }

    async fn state(&mut self, snapshot: Snapshot) -> std::io::Result<()> {
        let topic = Topic::State(snapshot.stream.clone());
        for part in snapshot.parts(PART_BYTES) {
            self.message(&topic, part.encode()).await?;
        }
        Ok(())
    }

    async fn accept(&mut self, publish: Publish) -> std::io::Result<()> {
        let now = UnixMillis::new(1_700_000_000_000);
        let topic: Topic = std::str::from_utf8(&publish.topic)
            .unwrap()
            .parse()
            .unwrap();
        let Topic::Events(stream) = topic else {
            panic!("{topic} takes no events")
        };
        let answer = broker(&self.streams, &stream, |broker| {
            broker.submit(now, &publish.payload)
        });
        self.head.send_modify(|n| *n += 1);
        let mut puback = PubAck::new(publish.pkid, None);
        let mut properties = PubAckProperties {
            reason_string: None,
            user_properties: Vec::new(),
        };
        match answer {
            Answer::Saved(seq) => properties
                .user_properties
                .push(("seq".into(), seq.to_string())),
            Answer::Repeat(seq) => {
                properties
                    .user_properties
                    .push(("repeat".into(), seq.to_string()));
            }
            Answer::Taken => unreachable!("an answer of MQTT 3.1.1"),
            Answer::Refused(refusal) => {
                puback.reason = PubAckReason::NotAuthorized;
                properties.reason_string = Some(format!("{}: {}", refusal.name, refusal.reason));
            }
        }
        puback.properties = Some(properties);
        self.send(Packet::PubAck(puback)).await
    }

    async fn deliver(&mut self) -> std::io::Result<()> {
        while let Some((stream, cursor)) = self.cursor.clone() {
            match broker(&self.streams, &stream, |broker| broker.next_after(cursor)) {
                Next::Nothing => return Ok(()),
                Next::Event(event) => {
                    let topic = Topic::Events(stream.clone());
                    self.cursor = Some((stream, (event.seq, event.epoch)));
                    self.message(&topic, event.encode()).await?;
                }
                Next::Bridge(bridge) => {
                    self.cursor = Some((stream, (bridge.seq, bridge.epoch)));
                    self.state(*bridge).await?;
                }
            }
        }
        Ok(())
    }

    async fn message(&mut self, topic: &Topic, payload: Vec<u8>) -> std::io::Result<()> {
        self.packet = self.packet % 60_000 + 1;
        let mut publish = Publish::new(topic.to_string(), QoS::AtLeastOnce, payload, None);
        publish.pkid = self.packet;
        self.send(Packet::Publish(publish)).await
    }

    async fn send(&mut self, packet: Packet) -> std::io::Result<()> {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, None).unwrap();
        self.socket.write_all(&bytes).await
    }
}

async fn next_packet(socket: &mut TcpStream, read: &mut BytesMut) -> std::io::Result<Packet> {
    loop {
        match Packet::read(read, None) {
            Ok(packet) => return Ok(packet),
            Err(Error::InsufficientBytes(_)) => {}
            Err(error) => return Err(std::io::Error::other(format!("{error:?}"))),
        }
        if socket.read_buf(read).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn connack() -> ConnAck {
    let properties = ConnAckProperties {
        session_expiry_interval: None,
        receive_max: Some(40),
        max_qos: Some(1),
        retain_available: None,
        max_packet_size: None,
        assigned_client_identifier: None,
        topic_alias_max: None,
        reason_string: None,
        user_properties: Vec::new(),
        wildcard_subscription_available: None,
        subscription_identifiers_available: None,
        shared_subscription_available: None,
        server_keep_alive: None,
        response_information: None,
        server_reference: None,
        authentication_method: None,
        authentication_data: None,
    };
    ConnAck {
        session_present: false,
        code: ConnectReturnCode::Success,
        properties: Some(properties),
    }
}
