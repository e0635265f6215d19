//! MQTT 3.1.1, by rumqttc, for a broker or a proxy that knows no better: who the device is says the client id, and a success
//! does not say where (ANSWER-3: a refusal comes as a message, and before its PUBACK).

use rumqttc_v4::mqttbytes::QoS;
use rumqttc_v4::mqttbytes::v4::{ConnectReturnCode, SubAck, SubscribeReasonCode};
use rumqttc_v4::{
    AsyncClient, Broker, ConnectionError, Event, EventLoop, Incoming, MqttOptions, Outgoing,
    PublishOptions, StateError,
};
use syncline_client_core::{Answer, Input};

use crate::connection::{
    CONNECT_TIMEOUT, Dial, Ending, INFLIGHT_MAX, KEEP_ALIVE_S, PACKET_BYTES_MAX, REQUESTS_MAX,
    SPARE_IDS, Signal, Step, TOKEN_TOPIC, Who,
};
use crate::options::Credentials;
use crate::token::Token;

/// What is handed to a connection.
#[derive(Debug, Clone)]
pub(super) struct Handle(AsyncClient);

impl Handle {
    pub(super) fn subscribe(&self, filter: String) -> bool {
        self.0.try_subscribe(filter, QoS::AtLeastOnce).is_ok()
    }

    pub(super) fn publish(&self, topic: String, payload: Vec<u8>) -> bool {
        let options = PublishOptions::at_least_once();
        self.0.try_publish(topic, payload, options).is_ok()
    }

    /// Nothing waits for its answer, so it needs no packet id.
    pub(super) fn renew(&self, token: String) -> bool {
        let options = PublishOptions::at_most_once();
        self.0.try_publish(TOKEN_TOPIC, token, options).is_ok()
    }

    pub(super) fn disconnect(&self) -> bool {
        self.0.try_disconnect().is_ok()
    }
}

pub(super) struct Line(EventLoop);

impl Line {
    pub(super) fn new(dial: Dial, who: &Who<'_>) -> (Handle, Self) {
        let builder = AsyncClient::builder(mqtt_options(dial, who)).capacity(REQUESTS_MAX);
        let (client, mut event_loop) = builder.build();
        let timeout_s = CONNECT_TIMEOUT.as_secs();
        event_loop.network_options.set_connection_timeout(timeout_s);
        (Handle(client), Self(event_loop))
    }

    /// A token is a password without a user name (WALL-6).
    pub(super) fn show(&mut self, token: &Token) {
        let token = token.text.clone().into_bytes();
        self.0.mqtt_options.set_credentials("", token);
    }

    /// What happens next; it connects if there is no connection.
    pub(super) async fn step(&mut self) -> Step {
        match self.0.poll().await {
            Ok(event) => read(event),
            Err(error) => Step::End(Ending::by_3(&error)),
        }
    }
}

fn mqtt_options(dial: Dial, who: &Who<'_>) -> MqttOptions {
    // The broker is reached by `dial`, whatever stands here.
    let broker = Broker::tcp("broker", 1_883);
    let mut options = MqttOptions::new(who.device.to_string(), broker);
    options.set_socket_connector(move |_, _| dial.dial());
    if let Some(Credentials { user, password }) = who.credentials {
        options.set_credentials(user.clone(), password.clone().into_bytes());
    }
    options.set_clean_session(true);
    options.set_keep_alive(KEEP_ALIVE_S);
    options.set_inflight(INFLIGHT_MAX);
    let largest = usize::try_from(PACKET_BYTES_MAX).unwrap_or(usize::MAX);
    options.set_max_packet_size(largest, largest);
    // One packet a time: at an error rumqttc forgets what it has read and not told yet.
    options.set_read_batch_size(1);
    options
}

fn read(event: Event) -> Step {
    Step::Signal(match event {
        Event::Incoming(Incoming::ConnAck(_)) => Signal::Input(Input::Connected {
            receive_maximum: INFLIGHT_MAX - SPARE_IDS,
            // It is not told.
            maximum_packet_size: None,
        }),
        Event::Incoming(Incoming::Publish(publish)) => Signal::Input(Input::Message {
            topic: String::from_utf8_lossy(&publish.topic).into_owned(),
            payload: publish.payload.to_vec(),
        }),
        Event::Incoming(Incoming::PubAck(puback)) => Signal::Answered(puback.pkid, Answer::Taken),
        Event::Incoming(Incoming::SubAck(suback)) => match is_granted(&suback) {
            true => return Step::Quiet,
            false => return Step::End(Ending::of("a subscription was refused")),
        },
        // 0: a token, which is not acknowledged.
        Event::Outgoing(Outgoing::Publish(packet)) if packet != 0 => Signal::Published(packet),
        Event::Outgoing(Outgoing::Disconnect) => return Step::Left,
        _ => return Step::Quiet,
    })
}

fn is_granted(suback: &SubAck) -> bool {
    let is_granted = |code: &SubscribeReasonCode| matches!(code, SubscribeReasonCode::Success(_));
    suback.return_codes.iter().all(is_granted)
}

impl Ending {
    fn by_3(error: &ConnectionError) -> Self {
        use ConnectReturnCode as Code;
        let refused = match error {
            ConnectionError::ConnectionRefused(code) => Some(*code),
            _ => None,
        };
        Self {
            reason: why(error),
            // 3.1.1 has no word for it.
            taken_over: false,
            needs_auth: matches!(
                refused,
                Some(Code::BadUserNamePassword | Code::NotAuthorized)
            ),
            has_no_token: false,
            refuses_version: refused == Some(Code::RefusedProtocolVersion),
        }
    }
}

fn why(error: &ConnectionError) -> String {
    match error {
        ConnectionError::MqttState(StateError::ConnectionAborted) => {
            "the connection ended".to_owned()
        }
        ConnectionError::ConnectionRefused(code) => format!("the broker refused: {code:?}"),
        ConnectionError::NetworkTimeout => "no answer".to_owned(),
        ConnectionError::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}
