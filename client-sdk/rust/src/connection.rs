//! One MQTT connection, by rumqttc: made fresh each time, so that rumqttc never reconnects by itself.

use std::collections::{HashMap, VecDeque};
use std::future::pending;
use std::time::Duration;

use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, ConnectProperties, ConnectReturnCode, DisconnectReasonCode, PubAck, PubAckReason,
    SubAck, SubscribeReasonCode,
};
use rumqttc::v5::{
    AsyncClient, ConnectionError, Event, EventLoop, Incoming, MqttOptions, StateError,
};
use syncline_client_core::{Answer, Input, IntentId, Refusal};
use syncline_protocol::{DeviceId, Seq};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::options::{Address, Credentials};
use crate::token::Tokens;

/// MQTT's own largest packet. rumqttc's default of 10 KiB would end the connection at the first larger snapshot.
const PACKET_BYTES_MAX: u32 = 268_435_455;
/// A dead connection is noticed within twice this.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a DISCONNECT may take to leave.
const GOODBYE_MAX: Duration = Duration::from_millis(500);
/// Requests that rumqttc has not taken yet: more than the core ever has on its way (64) and a few subscriptions.
const REQUESTS_MAX: usize = 256;
/// Messages that the core has not taken yet; beyond this the socket is not read.
const SIGNALS_MAX: usize = 256;
/// Packet ids kept free of publishes. rumqttc counts ids up to the broker's Receive Maximum and shares them with
/// SUBSCRIBE; a full circle would make a new packet wait for the id of an old one.
const SPARE_IDS: u16 = 8;
/// Room for ids if the broker's Receive Maximum is larger.
const INFLIGHT_MAX: u16 = 128;

/// The Authentication Method by which a token is shown (WALL-6).
const METHOD: &str = "token";
/// Where a fresh token is published (WALL-8).
const TOKEN_TOPIC: &str = "$syncline/token";
/// When to ask again for a token that was not to be had.
const RENEW_AGAIN: Duration = Duration::from_secs(5);

/// What happens on a connection. Packet ids are resolved by [`Connection::input`].
#[derive(Debug)]
pub(crate) enum Signal {
    Input(Input),
    Ended(Ending),
    Published(u16),
    Answered(u16, Answer),
}

/// A connection and what was handed to it.
#[derive(Debug)]
pub(crate) struct Connection {
    client: AsyncClient,
    signals: mpsc::Receiver<Signal>,
    goodbye: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
    /// Handed over, and not yet written: rumqttc says the packet id only then, in this order.
    unwritten: VecDeque<IntentId>,
    by_packet: HashMap<u16, IntentId>,
    needs_auth: bool,
}

impl Connection {
    /// Starts to connect. The device's UUID is the client id, so that a new connection takes over from a dead one.
    pub(crate) fn open(address: &Address, who: &Who<'_>) -> Self {
        let (client, event_loop) = AsyncClient::new(mqtt_options(address, who), REQUESTS_MAX);
        let (sender, signals) = mpsc::channel(SIGNALS_MAX);
        let (goodbye, leave) = oneshot::channel();
        let tokens = who.tokens.cloned();
        let task = tokio::spawn(run(event_loop, client.clone(), tokens, sender, leave));
        let (unwritten, by_packet) = (VecDeque::new(), HashMap::new());
        Self {
            client,
            signals,
            goodbye: Some(goodbye),
            task,
            unwritten,
            by_packet,
            needs_auth: false,
        }
    }

    /// Whether it ended because of who connects.
    pub(crate) fn needs_auth(&self) -> bool {
        self.needs_auth
    }

    /// What happens next. Safe to cancel.
    pub(crate) async fn input(&mut self) -> Input {
        loop {
            let closed = || Signal::Ended(Ending::of("the connection ended"));
            match self.signals.recv().await.unwrap_or_else(closed) {
                Signal::Input(input) => return input,
                Signal::Ended(ending) => {
                    self.needs_auth = ending.needs_auth;
                    return ending.into();
                }
                Signal::Published(packet) => {
                    if let Some(id) = self.unwritten.pop_front() {
                        self.by_packet.insert(packet, id);
                    }
                }
                Signal::Answered(packet, answer) => {
                    if let Some(id) = self.by_packet.remove(&packet) {
                        return Input::Acked { id, answer };
                    }
                }
            }
        }
    }

    /// Hands over; false if the connection takes no more.
    pub(crate) fn subscribe(&self, filter: String) -> bool {
        self.client.try_subscribe(filter, QoS::AtLeastOnce).is_ok()
    }

    /// Hands over; false if the connection takes no more.
    pub(crate) fn publish(&mut self, id: IntentId, topic: String, payload: Vec<u8>) -> bool {
        self.unwritten.push_back(id);
        self.client
            .try_publish(topic, QoS::AtLeastOnce, false, payload)
            .is_ok()
    }

    /// Says goodbye; the task ends soon, and nothing more of it is heard.
    pub(crate) fn close(mut self) -> JoinHandle<()> {
        if let Some(goodbye) = self.goodbye.take() {
            // If the task is gone already, so is the connection.
            let _ = goodbye.send(());
        }
        self.task
    }
}

/// Who connects.
#[derive(Debug)]
pub(crate) struct Who<'a> {
    pub(crate) device: DeviceId,
    /// For people.
    pub(crate) name: Option<&'a str>,
    pub(crate) credentials: Option<&'a Credentials>,
    pub(crate) tokens: Option<&'a Tokens>,
}

fn mqtt_options(address: &Address, who: &Who<'_>) -> MqttOptions {
    let device = who.device.to_string();
    let mut options = MqttOptions::new(device.clone(), address.host.clone(), address.port);
    if let Some(Credentials { user, password }) = who.credentials {
        options.set_credentials(user.clone(), password.clone());
    }
    options.set_clean_start(true);
    options.set_keep_alive(KEEP_ALIVE);
    options.set_outgoing_inflight_upper_limit(INFLIGHT_MAX);
    let mut network = options.network_options();
    network.set_tcp_nodelay(true);
    options.set_network_options(network);
    let mut properties = ConnectProperties::new();
    properties.max_packet_size = Some(PACKET_BYTES_MAX);
    properties.user_properties = vec![("device".to_owned(), device)];
    let name = who.name.map(|name| ("name".to_owned(), name.to_owned()));
    properties.user_properties.extend(name);
    options.set_connect_properties(properties);
    options
}

async fn run(
    mut event_loop: EventLoop,
    client: AsyncClient,
    tokens: Option<Tokens>,
    signals: mpsc::Sender<Signal>,
    mut leave: oneshot::Receiver<()>,
) {
    let mut connected = false;
    tokio::select! {
        () = talk(&mut event_loop, &client, tokens, &signals, &mut connected) => {}
        _ = &mut leave => {
            // Without a connection, polling would make one.
            if connected {
                say_goodbye(&mut event_loop, &client).await;
            }
        }
    }
}

/// Shows a token, if there are any, and keeps it fresh, until the connection ends.
async fn talk(
    event_loop: &mut EventLoop,
    client: &AsyncClient,
    tokens: Option<Tokens>,
    signals: &mpsc::Sender<Signal>,
    connected: &mut bool,
) {
    let Some(tokens) = tokens else {
        return drive(event_loop, signals, connected).await;
    };
    let token = match tokens.fresh().await {
        Ok(token) => token,
        Err(error) => {
            let ending = Ending {
                needs_auth: true,
                ..Ending::of(format!("no token: {error}"))
            };
            // If nobody listens, the connection was given up.
            let _ = signals.send(Signal::Ended(ending)).await;
            return;
        }
    };
    // As the password it would need a user name beside it, which nobody knows here.
    event_loop
        .options
        .set_authentication_method(Some(METHOD.to_owned()));
    let data = Some(token.text.into_bytes().into());
    event_loop.options.set_authentication_data(data);
    tokio::select! {
        () = drive(event_loop, signals, connected) => {}
        () = renew(&tokens, token.renew_in, client) => {}
    }
}

/// Never ends. What the broker does not take, ends the connection in time, and the next one begins with a fresh token.
async fn renew(tokens: &Tokens, mut renew_in: Option<Duration>, client: &AsyncClient) {
    while let Some(after) = renew_in {
        sleep(after).await;
        renew_in = match tokens.fresh().await {
            // Nothing waits for its answer, so it needs no packet id.
            Ok(token) => {
                match client.try_publish(TOKEN_TOPIC, QoS::AtMostOnce, false, token.text) {
                    Ok(()) => token.renew_in,
                    Err(_) => Some(RENEW_AGAIN),
                }
            }
            Err(error) => {
                tracing::debug!(error, "no fresh token");
                Some(RENEW_AGAIN)
            }
        };
    }
    pending::<()>().await;
}

/// Passes on what happens until the connection ends, which it passes on last.
async fn drive(event_loop: &mut EventLoop, signals: &mpsc::Sender<Signal>, connected: &mut bool) {
    loop {
        let end = match event_loop.poll().await {
            Ok(event) => {
                *connected = true;
                pass_on(event, signals).await
            }
            Err(error) => {
                // Acknowledgements that came in the same read as the end still count.
                while let Some(event) = event_loop.state.events.pop_front() {
                    if pass_on(event, signals).await.is_some() {
                        break;
                    }
                }
                Some(Ending::by(&error))
            }
        };
        if let Some(ending) = end {
            // If nobody listens, the connection was given up.
            let _ = signals.send(Signal::Ended(ending)).await;
            return;
        }
    }
}

/// `Some`: why the connection has to end.
async fn pass_on(event: Event, signals: &mpsc::Sender<Signal>) -> Option<Ending> {
    let signal = match event {
        Event::Incoming(Incoming::ConnAck(connack)) => Signal::Input(connected(&connack)),
        Event::Incoming(Incoming::Publish(publish)) => Signal::Input(Input::Message {
            topic: String::from_utf8_lossy(&publish.topic).into_owned(),
            payload: publish.payload.to_vec(),
        }),
        Event::Incoming(Incoming::PubAck(puback)) => match answer(&puback) {
            Some(answer) => Signal::Answered(puback.pkid, answer),
            None => return Some(Ending::of("an acknowledgement without a seq")),
        },
        Event::Incoming(Incoming::SubAck(suback)) => {
            return subscription_refused(&suback).map(Ending::of);
        }
        // 0: a token, which is not acknowledged.
        Event::Outgoing(Outgoing::Publish(packet)) if packet != 0 => Signal::Published(packet),
        _ => return None,
    };
    signals
        .send(signal)
        .await
        .err()
        .map(|_| Ending::of("given up"))
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

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    reason: String,
    taken_over: bool,
    /// The broker did not take the user, the password or the token, or there was none to show.
    needs_auth: bool,
}

impl Ending {
    fn of(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            taken_over: false,
            needs_auth: false,
        }
    }

    fn by(error: &ConnectionError) -> Self {
        let code = match error {
            ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, .. }) => {
                Some(*reason_code)
            }
            _ => None,
        };
        Self {
            reason: why(error),
            taken_over: code == Some(DisconnectReasonCode::SessionTakenOver),
            needs_auth: matches!(
                error,
                ConnectionError::ConnectionRefused(
                    ConnectReturnCode::BadUserNamePassword
                        | ConnectReturnCode::NotAuthorized
                        | ConnectReturnCode::BadAuthenticationMethod
                )
            ),
        }
    }
}

impl From<Ending> for Input {
    fn from(ending: Ending) -> Self {
        let Ending {
            reason, taken_over, ..
        } = ending;
        Self::Disconnected { reason, taken_over }
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
        other => other.to_string(),
    }
}

/// Lets a DISCONNECT leave, if there is a connection to leave by; then the socket is dropped.
async fn say_goodbye(event_loop: &mut EventLoop, client: &AsyncClient) {
    let leave = async {
        loop {
            match event_loop.poll().await {
                Ok(Event::Outgoing(Outgoing::Disconnect)) | Err(_) => return,
                Ok(_) => {}
            }
        }
    };
    if client.try_disconnect().is_ok() && timeout(GOODBYE_MAX, leave).await.is_err() {
        tracing::debug!("the connection was closed without a goodbye");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rumqttc::v5::mqttbytes::v5::PubAckProperties;

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
            Ending::by(&ConnectionError::MqttState(error))
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
