//! Stock clients need nothing of Syncline's own.

use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use rumqttc::v5::mqttbytes::v5::PublishProperties;
use serde_json::Value;
use syncline_tests::broker::Broker;
use syncline_tests::mosquitto::{self, Subscriber};
use syncline_tests::star::Star;
use syncline_tests::wait::PATIENCE;
use syncline_tests::wire::Version;

use crate::scene::{self, number, stars};

fn payload(line: &str) -> Value {
    let (_, text) = line.split_once(' ').expect("a topic and a payload");
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[test]
fn mosquitto_pub_and_sub_at_3_1_1_and_5_star_an_album_and_see_it() {
    let broker = Broker::start();
    for (at, version) in Version::BOTH.into_iter().enumerate() {
        let sub = Subscriber::start(broker.mqtt(), version, "$json/sync/#");
        let album = format!("kind-of-blue-{at}");
        let star = Star::album(&album).json();
        let output = mosquitto::publish(broker.mqtt(), version, "sync/home/events", &star);
        assert!(output.status.success(), "{output:?}");
        // State and event go separate ways, so either may be the first.
        let (mut event, mut state) = (None, None);
        while event.is_none() || state.is_none() {
            let line = sub.message("event and state", |line| line.contains(&album));
            if line.starts_with("sync/home/events {") {
                event = Some(payload(&line));
            } else if line.starts_with("sync/home/state {") {
                state = Some(payload(&line));
            }
        }
        let (event, state) = (event.unwrap(), state.unwrap());
        assert_eq!(event["event_type"], "star_album");
        assert_eq!(number(&event, "seq"), at as u64 + 1);
        assert_eq!(state["collections"]["albums"][&album]["value"], true);
    }
}

#[test]
fn view_3_mosquitto_sub_reads_a_stream_from_its_beginning() {
    let broker = Broker::start();
    stars(&broker, "sync/home", 5);
    for version in Version::BOTH {
        let filter = "$json/$since/0/sync/home/events";
        let sub = Subscriber::start(broker.mqtt(), version, filter);
        let lines = sub.messages(5);
        let seqs: Vec<u64> = lines
            .iter()
            .map(|line| number(&payload(line), "seq"))
            .collect();
        assert_eq!(seqs, [1, 2, 3, 4, 5]);
    }
}

#[test]
fn answer_3_mosquitto_pub_is_told_of_a_refusal() {
    let broker = Broker::start();
    let errors = Subscriber::start(broker.mqtt(), Version::V311, "$json/sync/home/errors/+");
    let refused = Star::of("star_album", serde_json::json!({})).json();
    let arguments = ["-d", "-q", "1", "-t", "sync/home/events", "-m", &refused];
    let output = mosquitto::publish_with(broker.mqtt(), Version::V5, &arguments);
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(
        said.contains("RC:153") || said.to_lowercase().contains("payload format"),
        "{said}"
    );
    let device = [
        "-i",
        scene::PHONE,
        "-q",
        "1",
        "-t",
        "sync/home/events",
        "-m",
        &refused,
    ];
    let output = mosquitto::publish_with(broker.mqtt(), Version::V311, &device);
    assert!(output.status.success(), "{output:?}");
    let line = errors.message("the refusal", |line| line.contains(scene::PHONE));
    assert_eq!(payload(&line)["error"], "bad_data");
}

/// A rumqttc of version 4 (MQTT 3.1.1): its messages, as topic and payload.
fn rumqttc_311(broker: &Broker, id: &str, filter: &str) -> (rumqttc::Client, Receiver<String>) {
    let host = broker.mqtt().ip().to_string();
    let mut options = rumqttc::MqttOptions::new(id, host, broker.mqtt().port());
    options
        .set_max_packet_size(1 << 20, 1 << 20)
        .set_keep_alive(Duration::from_secs(5));
    let (client, mut connection) = rumqttc::Client::new(options, 10);
    client
        .subscribe(filter, rumqttc::QoS::AtLeastOnce)
        .expect("SUBSCRIBE");
    let (sender, messages) = mpsc::channel();
    thread::spawn(move || {
        for event in connection.iter() {
            let text = match event {
                Ok(rumqttc::Event::Incoming(rumqttc::Packet::Publish(publish))) => {
                    format!(
                        "{} {}",
                        publish.topic,
                        String::from_utf8_lossy(&publish.payload)
                    )
                }
                Ok(rumqttc::Event::Incoming(rumqttc::Packet::SubAck(_))) => "SUBACK".to_owned(),
                Ok(rumqttc::Event::Incoming(rumqttc::Packet::PubAck(_))) => "PUBACK".to_owned(),
                Ok(_) => continue,
                Err(_) => return,
            };
            if sender.send(text).is_err() {
                return;
            }
        }
    });
    (client, messages)
}

/// A rumqttc of version 5.
fn rumqttc_5(broker: &Broker, id: &str, filter: &str) -> (rumqttc::v5::Client, Receiver<String>) {
    use rumqttc::v5::mqttbytes::{QoS, v5::Packet};
    let host = broker.mqtt().ip().to_string();
    let mut options = rumqttc::v5::MqttOptions::new(id, host, broker.mqtt().port());
    options
        .set_max_packet_size(Some(1 << 20))
        .set_keep_alive(Duration::from_secs(5));
    let (client, mut connection) = rumqttc::v5::Client::new(options, 10);
    client
        .subscribe(filter, QoS::AtLeastOnce)
        .expect("SUBSCRIBE");
    let (sender, messages) = mpsc::channel();
    thread::spawn(move || {
        for event in connection.iter() {
            let text = match event {
                Ok(rumqttc::v5::Event::Incoming(Packet::Publish(publish))) => {
                    let topic = String::from_utf8_lossy(&publish.topic).into_owned();
                    let users = publish.properties.map_or(0, |p| p.user_properties.len());
                    assert_eq!((users, publish.retain), (0, false), "TOPIC-4: {topic}");
                    format!("{topic} {}", String::from_utf8_lossy(&publish.payload))
                }
                Ok(rumqttc::v5::Event::Incoming(Packet::SubAck(_))) => "SUBACK".to_owned(),
                Ok(rumqttc::v5::Event::Incoming(Packet::PubAck(_))) => "PUBACK".to_owned(),
                Ok(_) => continue,
                Err(_) => return,
            };
            if sender.send(text).is_err() {
                return;
            }
        }
    });
    (client, messages)
}

fn next(messages: &Receiver<String>, start: &str) -> String {
    loop {
        let message = messages
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|e| panic!("{start}: {e}"));
        if message.starts_with(start) {
            return message;
        }
    }
}

#[test]
fn rumqttc_at_3_1_1_and_5_publish_and_see_each_other() {
    let broker = Broker::start();
    let filter = "$json/sync/home/events";
    let (old, old_messages) = rumqttc_311(&broker, "old", filter);
    let (new, new_messages) = rumqttc_5(&broker, "new", filter);
    next(&old_messages, "SUBACK");
    next(&new_messages, "SUBACK");

    old.publish(
        "sync/home/events",
        rumqttc::QoS::AtLeastOnce,
        false,
        Star::album("a").json(),
    )
    .expect("PUBLISH");
    let first = next(&new_messages, "sync/home/events");
    assert_eq!(payload(&first)["event_data"]["album_id"], "a");
    assert_eq!(first, next(&old_messages, "sync/home/events"));

    let qos = rumqttc::v5::mqttbytes::QoS::AtLeastOnce;
    new.publish("sync/home/events", qos, false, Star::album("b").json())
        .expect("PUBLISH");
    let second = next(&old_messages, "sync/home/events");
    assert_eq!(number(&payload(&second), "seq"), 2);
    assert_eq!(second, next(&new_messages, "sync/home/events"));
}

#[test]
fn topic_4_what_is_delivered_has_none_of_the_requests_properties_and_no_retain() {
    let broker = Broker::start();
    let (client, messages) = rumqttc_5(&broker, "both", "$json/sync/home/events");
    next(&messages, "SUBACK");
    let properties = PublishProperties {
        user_properties: vec![("secret".to_owned(), "property".to_owned())],
        ..PublishProperties::default()
    };
    let qos = rumqttc::v5::mqttbytes::QoS::AtLeastOnce;
    let star = Star::album("a").json();
    client
        .publish_with_properties("sync/home/events", qos, true, star, properties)
        .expect("PUBLISH");
    let event = next(&messages, "sync/home/events");
    assert!(!event.contains("secret"), "{event}");
}
