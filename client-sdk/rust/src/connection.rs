//! One MQTT connection, by rumqttc: made fresh each time, so that rumqttc never reconnects by itself.

mod five;
mod three;

use std::collections::{HashMap, VecDeque};
use std::future::pending;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use syncline_client_core::{Answer, Input, IntentId};
use syncline_protocol::DeviceId;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::ambient;
use crate::options::Credentials;
use crate::token::{Token, Tokens};
use crate::transport::{Seen, Way, Witness};
use crate::version::{Opened, Version};

/// MQTT's own largest packet. rumqttc's default of 10 KiB would end the connection at the first larger snapshot.
pub(crate) const PACKET_BYTES_MAX: u32 = 268_435_455;
/// A dead connection is noticed within twice this.
const KEEP_ALIVE_S: u16 = 15;
/// From the first packet of TCP to CONNACK, with TLS and WebSocket between.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
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

/// What one look at a connection brings.
enum Step {
    Quiet,
    Signal(Signal),
    /// The DISCONNECT is out.
    Left,
    /// Looking again would connect again.
    End(Ending),
}

/// How rumqttc comes to its stream.
#[derive(Clone)]
struct Dial {
    way: Arc<Way>,
    seen: Arc<Seen>,
}

impl Dial {
    fn dial(&self) -> Pin<Box<dyn Future<Output = io::Result<Witness>> + Send>> {
        let Self { way, seen } = self.clone();
        Box::pin(async move { way.dial(seen).await })
    }
}

/// What is handed to a connection of either version.
#[derive(Debug, Clone)]
enum Handle {
    Five(five::Handle),
    Three(three::Handle),
}

/// A connection of either version.
enum Line {
    Five(Box<five::Line>),
    Three(Box<three::Line>),
}

impl Line {
    fn new(version: Version, dial: Dial, who: &Who<'_>) -> (Handle, Self) {
        match version {
            Version::Five => {
                let (handle, line) = five::Line::new(dial, who);
                (Handle::Five(handle), Self::Five(Box::new(line)))
            }
            Version::ThreeOneOne => {
                let (handle, line) = three::Line::new(dial, who);
                (Handle::Three(handle), Self::Three(Box::new(line)))
            }
        }
    }

    fn show(&mut self, token: &Token) {
        match self {
            Self::Five(line) => line.show(token),
            Self::Three(line) => line.show(token),
        }
    }

    /// Safe to cancel.
    async fn step(&mut self) -> Step {
        match self {
            Self::Five(line) => line.step().await,
            Self::Three(line) => line.step().await,
        }
    }
}

impl Handle {
    fn subscribe(&self, filter: String) -> bool {
        match self {
            Self::Five(handle) => handle.subscribe(filter),
            Self::Three(handle) => handle.subscribe(filter),
        }
    }

    fn publish(&self, topic: String, payload: Vec<u8>) -> bool {
        match self {
            Self::Five(handle) => handle.publish(topic, payload),
            Self::Three(handle) => handle.publish(topic, payload),
        }
    }

    fn renew(&self, token: String) -> bool {
        match self {
            Self::Five(handle) => handle.renew(token),
            Self::Three(handle) => handle.renew(token),
        }
    }

    fn disconnect(&self) -> bool {
        match self {
            Self::Five(handle) => handle.disconnect(),
            Self::Three(handle) => handle.disconnect(),
        }
    }
}

/// A connection and what was handed to it.
#[derive(Debug)]
pub(crate) struct Connection {
    handle: Handle,
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
    pub(crate) fn open(way: &Arc<Way>, who: &Who<'_>) -> Self {
        let version = way.versions().choose(ambient::steady());
        let (way, seen) = (way.clone(), Arc::new(Seen::default()));
        let dial = Dial { way, seen };
        let (handle, line) = Line::new(version, dial.clone(), who);
        let (sender, signals) = mpsc::channel(SIGNALS_MAX);
        let (goodbye, leave) = oneshot::channel();
        let talk = Talk {
            line,
            handle: handle.clone(),
            tokens: who.tokens.cloned(),
            signals: sender,
            version,
            dial,
            is_connected: false,
        };
        let task = tokio::spawn(talk.run(leave));
        let (unwritten, by_packet) = (VecDeque::new(), HashMap::new());
        Self {
            handle,
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
        self.handle.subscribe(filter)
    }

    /// Hands over; false if the connection takes no more.
    pub(crate) fn publish(&mut self, id: IntentId, topic: String, payload: Vec<u8>) -> bool {
        // Sent again after a refusal by message, its earlier PUBACK may still come, and is no answer to this.
        self.by_packet.retain(|_, it| *it != id);
        self.unwritten.push_back(id);
        self.handle.publish(topic, payload)
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

/// What the task of a connection has.
struct Talk {
    line: Line,
    handle: Handle,
    tokens: Option<Tokens>,
    signals: mpsc::Sender<Signal>,
    version: Version,
    dial: Dial,
    is_connected: bool,
}

impl Talk {
    async fn run(mut self, mut leave: oneshot::Receiver<()>) {
        tokio::select! {
            () = self.talk() => {}
            _ = &mut leave => {
                // Without a connection, looking for a way to say goodbye would make one.
                if self.is_connected {
                    self.say_goodbye().await;
                }
            }
        }
    }

    /// Passes on what happens until the connection ends, which it passes on last.
    async fn talk(&mut self) {
        // Without chance the longest pause is the kindest.
        let random = ambient::random().unwrap_or(0.999);
        let pause = self.dial.way.versions().pause(self.version, random);
        if !pause.is_zero() {
            sleep(pause).await;
        }
        let mut ending = self.connect().await;
        if ending.needs_auth && self.tokens.is_some() && !self.is_connected && !ending.has_no_token
        {
            // The token may have been withdrawn; whoever gives them may know by now.
            ending = self.connect().await;
        }
        if self.is_connected && self.tokens.is_some() {
            // The next connection shows a fresh one.
            ending.needs_auth = false;
        }
        let ending = self.learn_from(ending);
        // If nobody listens, the connection was given up.
        let _ = self.signals.send(Signal::Ended(ending)).await;
    }

    /// Shows a token, if there are any, and keeps it fresh, until the connection ends.
    async fn connect(&mut self) -> Ending {
        let Some(tokens) = self.tokens.clone() else {
            return self.drive().await;
        };
        let token = match tokens.fresh().await {
            Ok(token) => token,
            Err(error) => return Ending::without_token(&error),
        };
        self.line.show(&token);
        let handle = self.handle.clone();
        tokio::select! {
            ending = self.drive() => ending,
            ending = renew(&tokens, token.renew_in, &handle) => ending,
        }
    }

    async fn drive(&mut self) -> Ending {
        loop {
            let signal = match self.line.step().await {
                Step::Quiet | Step::Left => continue,
                Step::Signal(signal) => signal,
                Step::End(ending) => return ending,
            };
            if matches!(signal, Signal::Input(Input::Connected { .. })) {
                self.is_connected = true;
                self.learn(Opened::Stands);
            }
            if self.signals.send(signal).await.is_err() {
                return Ending::of("given up");
            }
        }
    }

    fn learn_from(&self, ending: Ending) -> Ending {
        if self.is_connected {
            self.dial.way.versions().ended(ambient::steady());
            return ending;
        }
        if !ending.refuses_version && !self.dial.seen.is_refusal_of_version() {
            let opened = match self.dial.seen.is_closed_silently() {
                true => Opened::Closed,
                false => Opened::Otherwise,
            };
            self.learn(opened);
            return ending;
        }
        self.learn(Opened::VersionRefused);
        let (this, next) = match self.version {
            Version::Five => ("5", "3.1.1"),
            Version::ThreeOneOne => ("3.1.1", "5"),
        };
        Ending {
            reason: format!("the broker refused MQTT {this}; {next} is next"),
            ..ending
        }
    }

    fn learn(&self, opened: Opened) {
        let now = ambient::steady();
        self.dial.way.versions().learn(self.version, opened, now);
    }

    /// Lets a DISCONNECT leave, if there is a connection to leave by; then the socket is dropped.
    async fn say_goodbye(&mut self) {
        if !self.handle.disconnect() {
            return;
        }
        let leave = async { while let Step::Quiet | Step::Signal(_) = self.line.step().await {} };
        if timeout(GOODBYE_MAX, leave).await.is_err() {
            tracing::debug!("the connection was closed without a goodbye");
        }
    }
}

/// Never ends. What the broker does not take, ends the connection in time, and the next one begins with a fresh token.
async fn renew(tokens: &Tokens, mut renew_in: Option<Duration>, handle: &Handle) -> Ending {
    while let Some(after) = renew_in {
        sleep(after).await;
        renew_in = match tokens.fresh().await {
            Ok(token) => match handle.renew(token.text) {
                true => token.renew_in,
                false => Some(RENEW_AGAIN),
            },
            Err(error) => {
                tracing::debug!(error, "no fresh token");
                Some(RENEW_AGAIN)
            }
        };
    }
    pending().await
}

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    reason: String,
    taken_over: bool,
    /// The broker did not take the user, the password or the token, or there was none to show.
    needs_auth: bool,
    /// There was none to show.
    has_no_token: bool,
    /// The broker does not speak this version of MQTT.
    refuses_version: bool,
}

impl Ending {
    fn of(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            taken_over: false,
            needs_auth: false,
            has_no_token: false,
            refuses_version: false,
        }
    }

    fn without_token(error: &str) -> Self {
        Self {
            needs_auth: true,
            has_no_token: true,
            ..Self::of(format!("no token: {error}"))
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

#[cfg(test)]
mod tests;
