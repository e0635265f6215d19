//! MQTT 5, by rumqttc.

use bytes::Bytes;
use rumqttc_v5::mqttbytes::QoS;
use rumqttc_v5::mqttbytes::v5::{
    ConnAck, ConnectProperties, ConnectReturnCode, DisconnectReasonCode, PubAck, PubAckReason,
    SubAck, SubscribeReasonCode,
};
use rumqttc_v5::{
    AsyncClient, Broker, ConnectionError, Event, EventLoop, Incoming, MqttOptions, Outgoing,
    PublishOptions, StateError,
};
use syncline_client_core::{Answer, Input, Refusal};
use syncline_protocol::Seq;

use crate::connection::{
    CONNECT_TIMEOUT, Dial, Ending, INFLIGHT_MAX, KEEP_ALIVE_S, PACKET_BYTES_MAX, REQUESTS_MAX,
    SPARE_IDS, Signal, Step, TOKEN_TOPIC, Who,
};
use crate::options::Credentials;
use crate::token::Token;

/// The Authentication Method by which a token is shown (WALL-6).
const METHOD: &str = "token";

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
        let (client, event_loop) = builder.build();
        (Handle(client), Self(event_loop))
    }

    /// As the password it would need a user name beside it, which nobody knows here.
    pub(super) fn show(&mut self, token: &Token) {
        let options = &mut self.0.options;
        options.set_authentication_method(Some(METHOD.to_owned()));
        let data = Bytes::copy_from_slice(token.text.as_bytes());
        options.set_authentication_data(Some(data));
    }

    /// What happens next; it connects if there is no connection.
    pub(super) async fn step(&mut self) -> Step {
        match self.0.poll().await {
            Ok(event) => read(event),
            Err(error) => Step::End(Ending::by_5(&error)),
        }
    }
}

fn mqtt_options(dial: Dial, who: &Who<'_>) -> MqttOptions {
    let device = who.device.to_string();
    // The broker is reached by `dial`, whatever stands here.
    let mut options = MqttOptions::new(device.clone(), Broker::tcp("broker", 1_883));
    options.set_socket_connector(move |_, _| dial.dial());
    if let Some(Credentials { user, password }) = who.credentials {
        options.set_credentials(user.clone(), password.clone().into_bytes());
    }
    options.set_clean_start(true);
    options.set_connect_timeout(CONNECT_TIMEOUT);
    options.set_keep_alive(KEEP_ALIVE_S);
    options.set_outgoing_inflight_upper_limit(INFLIGHT_MAX);
    // One packet a time: at an error rumqttc forgets what it has read and not told yet.
    options.set_read_batch_size(1);
    let mut properties = ConnectProperties::new();
    properties.max_packet_size = Some(PACKET_BYTES_MAX);
    properties.user_properties = vec![("device".to_owned(), device)];
    let name = who.name.map(|name| ("name".to_owned(), name.to_owned()));
    properties.user_properties.extend(name);
    options.set_connect_properties(properties);
    options
}

fn read(event: Event) -> Step {
    Step::Signal(match event {
        Event::Incoming(Incoming::ConnAck(connack)) => Signal::Input(connected(&connack)),
        Event::Incoming(Incoming::Publish(publish)) => Signal::Input(Input::Message {
            topic: String::from_utf8_lossy(&publish.topic).into_owned(),
            payload: publish.payload.to_vec(),
        }),
        Event::Incoming(Incoming::PubAck(puback)) => match answer(&puback) {
            Some(answer) => Signal::Answered(puback.pkid, answer),
            None => return Step::End(Ending::of("an acknowledgement without a seq")),
        },
        Event::Incoming(Incoming::SubAck(suback)) => match subscription_refused(&suback) {
            Some(reason) => return Step::End(Ending::of(reason)),
            None => return Step::Quiet,
        },
        // 0: a token, which is not acknowledged.
        Event::Outgoing(Outgoing::Publish(packet)) if packet != 0 => Signal::Published(packet),
        Event::Outgoing(Outgoing::Disconnect) => return Step::Left,
        _ => return Step::Quiet,
    })
}

fn connected(connack: &ConnAck) -> Input {
    let properties = connack.properties.as_ref();
    let receive_maximum = properties.and_then(|it| it.receive_max).unwrap_or(u16::MAX);
    Input::Connected {
        receive_maximum: receive_maximum
            .min(INFLIGHT_MAX)
            .saturating_sub(SPARE_IDS)
            .max(1),
        maximum_packet_size: properties.and_then(|it| it.max_packet_size),
    }
}

impl Ending {
    fn by_5(error: &ConnectionError) -> Self {
        use ConnectReturnCode as Code;
        let closed_by = match error {
            ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, .. }) => {
                Some(*reason_code)
            }
            _ => None,
        };
        let refused = match error {
            ConnectionError::ConnectionRefused(code) => Some(*code),
            _ => None,
        };
        Self {
            reason: why(error),
            taken_over: closed_by == Some(DisconnectReasonCode::SessionTakenOver),
            needs_auth: closed_by == Some(DisconnectReasonCode::NotAuthorized)
                || matches!(
                    refused,
                    Some(
                        Code::BadUserNamePassword
                            | Code::NotAuthorized
                            | Code::BadAuthenticationMethod
                    )
                ),
            has_no_token: false,
            refuses_version: refused == Some(Code::UnsupportedProtocolVersion),
        }
    }
}

/// ANSWER-1, ANSWER-3. `None`: a success that does not say where.
fn answer(puback: &PubAck) -> Option<Answer> {
    let properties = puback.properties.as_ref();
    if !matches!(
        puback.reason,
        PubAckReason::Success | PubAckReason::NoMatchingSubscribers
    ) {
        let text = properties
            .and_then(|it| it.reason_string.as_deref())
            .unwrap_or_default();
        let (name, reason) = text.split_once(": ").unwrap_or((text, ""));
        return Some(Answer::Refused(match name {
            "" => Refusal::new("refused", format!("{:?}", puback.reason)),
            name => Refusal::new(name, reason),
        }));
    }
    let place = |name: &str| {
        let (_, value) = properties?
            .user_properties
            .iter()
            .find(|(key, _)| key == name)?;
        value.parse().ok().and_then(Seq::new)
    };
    place("seq")
        .map(Answer::Saved)
        .or_else(|| place("repeat").map(Answer::Repeat))
}

fn subscription_refused(suback: &SubAck) -> Option<String> {
    let granted = |code: &SubscribeReasonCode| matches!(code, SubscribeReasonCode::Success(_));
    let refused = suback.return_codes.iter().find(|code| !granted(code))?;
    let text = suback
        .properties
        .as_ref()
        .and_then(|it| it.reason_string.clone());
    Some(format!(
        "a subscription was refused: {}",
        text.unwrap_or_else(|| format!("{refused:?}"))
    ))
}

fn why(error: &ConnectionError) -> String {
    match error {
        ConnectionError::MqttState(StateError::ServerDisconnect {
            reason_code,
            reason_string,
        }) => reason_string
            .clone()
            .unwrap_or_else(|| format!("the broker says {reason_code:?}")),
        ConnectionError::MqttState(StateError::ConnectionAborted) => {
            "the connection ended".to_owned()
        }
        ConnectionError::ConnectionRefused(code) => format!("the broker refused: {code:?}"),
        ConnectionError::Timeout(_) => "no answer".to_owned(),
        ConnectionError::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rumqttc_v5::mqttbytes::v5::PubAckProperties;

    fn puback(reason: PubAckReason, text: Option<&str>, property: (&str, &str)) -> PubAck {
        let user_properties = vec![(property.0.to_owned(), property.1.to_owned())];
        let reason_string = text.map(str::to_owned);
        let properties = Some(PubAckProperties {
            reason_string,
            user_properties,
        });
        PubAck {
            pkid: 1,
            reason,
            properties,
        }
    }

    #[test]
    fn answer_1_success_says_where() {
        let seq = |n| Seq::new(n).unwrap();
        let saved = puback(PubAckReason::Success, None, ("seq", "7"));
        assert_eq!(answer(&saved), Some(Answer::Saved(seq(7))));
        let repeat = puback(PubAckReason::Success, None, ("repeat", "3"));
        assert_eq!(answer(&repeat), Some(Answer::Repeat(seq(3))));
        assert_eq!(
            answer(&puback(PubAckReason::Success, None, ("seq", "x"))),
            None
        );
    }

    #[test]
    fn fork_5_a_session_that_is_taken_over_is_no_common_end() {
        let closed = |reason_code| {
            let reason_string = Some("closed".to_owned());
            let error = StateError::ServerDisconnect {
                reason_code,
                reason_string,
            };
            Ending::by_5(&ConnectionError::MqttState(error))
        };
        let taken_over = Ending {
            taken_over: true,
            ..Ending::of("closed")
        };
        assert_eq!(closed(DisconnectReasonCode::SessionTakenOver), taken_over);
        let shut_down = closed(DisconnectReasonCode::ServerShuttingDown);
        assert_eq!(shut_down, Ending::of("closed"));
    }

    #[test]
    fn answer_3_a_refusal_has_its_name_before_the_colon() {
        let refused = |text| answer(&puback(PubAckReason::NotAuthorized, text, ("", "")));
        let named = Refusal::new("not_allowed", "you: may not");
        assert_eq!(
            refused(Some("not_allowed: you: may not")),
            Some(Answer::Refused(named))
        );
        let unnamed = Refusal::new("refused", "NotAuthorized");
        assert_eq!(refused(None), Some(Answer::Refused(unnamed)));
    }
}
