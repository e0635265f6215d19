//! A small MQTT client, 3.1.1 and 5, that shows every packet as it came and sends what it is told,
//! wrong things too. It shares no code with the broker, and is tested against Mosquitto.
//!
//! Contract: [`Wire::connect`] first; then any calls in any order. [`Wire::receive`] gives packets in
//! the order in which they came; the helpers that wait for one kind keep the others for `receive`.

mod ordinary;
mod packet;
mod socket;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

pub use ordinary::Outgoing;
pub use packet::{Packet, Properties, Publish};

use crate::wait::PATIENCE;
use socket::Socket;

/// A version of MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Protocol level 4.
    V311,
    /// Protocol level 5.
    V5,
}

impl Version {
    /// Both, for tests that hold at either.
    pub const BOTH: [Version; 2] = [Version::V311, Version::V5];
}

/// What a client says of itself. Clean start unless it comes back, keep-alive off.
#[derive(Debug, Clone)]
pub struct Connect {
    version: Version,
    client_id: String,
    properties: Vec<u8>,
    will: Option<Outgoing>,
    clean: bool,
    keep_alive_s: u16,
    credentials: Option<(String, String)>,
}

impl Connect {
    /// A client with this id.
    #[must_use]
    pub fn new(version: Version, client_id: &str) -> Self {
        Self {
            version,
            client_id: client_id.to_owned(),
            properties: Vec::new(),
            will: None,
            clean: true,
            keep_alive_s: 0,
            credentials: None,
        }
    }

    /// A user name and a password.
    #[must_use]
    pub fn credentials(mut self, user: &str, password: &str) -> Self {
        self.credentials = Some((user.to_owned(), password.to_owned()));
        self
    }

    /// A v5 authentication method and its data.
    #[must_use]
    pub fn method(mut self, method: &str, data: &str) -> Self {
        self.properties.extend(method_properties(method, data));
        self
    }

    /// Not a clean start (5), not a clean session (3.1.1).
    #[must_use]
    pub fn back(mut self) -> Self {
        self.clean = false;
        self
    }

    /// A v5 Session Expiry Interval.
    #[must_use]
    pub fn expiry(mut self, seconds: u32) -> Self {
        self.properties.push(0x11);
        self.properties.extend(seconds.to_be_bytes());
        self
    }

    /// A v5 user property, such as `device`.
    #[must_use]
    pub fn user(mut self, name: &str, value: &str) -> Self {
        self.properties.push(0x26);
        push_text(&mut self.properties, name.as_bytes());
        push_text(&mut self.properties, value.as_bytes());
        self
    }

    /// A v5 Receive Maximum.
    #[must_use]
    pub fn receive_maximum(mut self, count: u16) -> Self {
        self.properties.push(0x21);
        self.properties.extend(count.to_be_bytes());
        self
    }

    /// A v5 Maximum Packet Size.
    #[must_use]
    pub fn maximum_packet_size(mut self, bytes: u32) -> Self {
        self.properties.push(0x27);
        self.properties.extend(bytes.to_be_bytes());
        self
    }

    /// A will at QoS 1.
    #[must_use]
    pub fn will(self, topic: &str, payload: &str) -> Self {
        self.will_of(Outgoing::new(topic, payload).qos(1))
    }

    /// This will; its properties may have a Will Delay Interval.
    #[must_use]
    pub fn will_of(mut self, will: Outgoing) -> Self {
        self.will = Some(will);
        self
    }

    /// A Keep Alive.
    #[must_use]
    pub fn keep_alive(mut self, seconds: u16) -> Self {
        self.keep_alive_s = seconds;
        self
    }

    /// Any v5 property, as its bytes.
    #[must_use]
    pub fn property(mut self, bytes: &[u8]) -> Self {
        self.properties.extend(bytes);
        self
    }

    fn encode(&self) -> Vec<u8> {
        let is_v5 = self.version == Version::V5;
        let mut body = Vec::new();
        push_text(&mut body, b"MQTT");
        let will_flags = self.will.as_ref().map_or(0, Outgoing::will_flags);
        let clean = if self.clean { 0b10 } else { 0 };
        let shown = self.credentials.as_ref().map_or(0, |_| 0b1100_0000);
        body.extend([if is_v5 { 5 } else { 4 }, clean | will_flags | shown]);
        body.extend(self.keep_alive_s.to_be_bytes());
        if is_v5 {
            push_length(&mut body, self.properties.len());
            body.extend(&self.properties);
        }
        push_text(&mut body, self.client_id.as_bytes());
        if let Some(will) = &self.will {
            will.push_will(&mut body, self.version);
        }
        for text in self
            .credentials
            .iter()
            .flat_map(|(user, password)| [user, password])
        {
            push_text(&mut body, text.as_bytes());
        }
        frame(0x10, &body)
    }
}

fn method_properties(method: &str, data: &str) -> Vec<u8> {
    let mut properties = vec![0x15];
    push_text(&mut properties, method.as_bytes());
    properties.push(0x16);
    push_text(&mut properties, data.as_bytes());
    properties
}

/// A connection.
#[derive(Debug)]
pub struct Wire {
    socket: Socket,
    version: Version,
    unread: Vec<u8>,
    kept: VecDeque<Packet>,
    last_id: u16,
}

impl Wire {
    /// Connects and reads the CONNACK, which must be a success.
    ///
    /// # Errors
    /// When the connection fails or is refused.
    pub fn connect(address: SocketAddr, connect: &Connect) -> io::Result<Self> {
        let (wire, answer) = Self::connect_raw(address, connect)?;
        match answer {
            Packet::ConnAck { code: 0, .. } => Ok(wire),
            other => Err(invalid(format!("CONNECT was answered with {other:?}"))),
        }
    }

    /// Connects and returns whatever the answer was.
    ///
    /// # Errors
    /// When the connection fails or nothing comes.
    pub fn connect_raw(address: SocketAddr, connect: &Connect) -> io::Result<(Self, Packet)> {
        let mut wire = Self::open(address, connect.version)?;
        let answer = wire.greet(connect)?;
        Ok((wire, answer))
    }

    /// Connects over a WebSocket of the HTTP port and returns whatever the answer was.
    ///
    /// # Errors
    /// When the connection fails or nothing comes.
    pub fn connect_websocket(http: SocketAddr, connect: &Connect) -> io::Result<(Self, Packet)> {
        let mut wire = Self::open_websocket(http, connect.version)?;
        let answer = wire.greet(connect)?;
        Ok((wire, answer))
    }

    /// Only a WebSocket of the HTTP port.
    ///
    /// # Errors
    /// When it fails.
    pub fn open_websocket(http: SocketAddr, version: Version) -> io::Result<Self> {
        Ok(Self::on(Socket::websocket(http)?, version))
    }

    fn greet(&mut self, connect: &Connect) -> io::Result<Packet> {
        self.send_bytes(&connect.encode())?;
        self.receive()
    }

    /// Only the connection.
    ///
    /// # Errors
    /// When it fails.
    pub fn open(address: SocketAddr, version: Version) -> io::Result<Self> {
        Ok(Self::on(Socket::open(address)?, version))
    }

    fn on(socket: Socket, version: Version) -> Self {
        Self {
            socket,
            version,
            unread: Vec::new(),
            kept: VecDeque::new(),
            last_id: 0,
        }
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.send(bytes)
    }

    /// PUBLISH at QoS 1 without waiting; returns the packet id.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn send(&mut self, topic: &str, payload: impl AsRef<[u8]>) -> io::Result<u16> {
        let id = self.new_id();
        let bytes = self.encode_publish(0b0010, topic, Some(id), payload.as_ref());
        self.send_bytes(&bytes)?;
        Ok(id)
    }

    /// AUTH that begins to authenticate anew (5 only), without waiting.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn authenticate(&mut self, method: &str, data: &str) -> io::Result<()> {
        let mut body = vec![0x19];
        let properties = method_properties(method, data);
        push_length(&mut body, properties.len());
        body.extend(properties);
        self.send_bytes(&frame(0xf0, &body))
    }

    /// PUBLISH at QoS 0.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn send_qos0(&mut self, topic: &str, payload: impl AsRef<[u8]>) -> io::Result<()> {
        let bytes = self.encode_publish(0, topic, None, payload.as_ref());
        self.send_bytes(&bytes)
    }

    /// PUBLISH at QoS 2, of which nothing more is done.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn send_qos2(&mut self, topic: &str, payload: impl AsRef<[u8]>) -> io::Result<u16> {
        let id = self.new_id();
        let bytes = self.encode_publish(0b0100, topic, Some(id), payload.as_ref());
        self.send_bytes(&bytes)?;
        Ok(id)
    }

    fn encode_publish(&self, flags: u8, topic: &str, id: Option<u16>, payload: &[u8]) -> Vec<u8> {
        let mut body = Vec::with_capacity(topic.len() + payload.len() + 8);
        push_text(&mut body, topic.as_bytes());
        body.extend(id.into_iter().flat_map(u16::to_be_bytes));
        if self.version == Version::V5 {
            body.push(0);
        }
        body.extend(payload);
        frame(0x30 | flags, &body)
    }

    /// PUBLISH at QoS 1 and the PUBACK that answers it.
    ///
    /// # Errors
    /// When the connection ends or no answer comes.
    pub fn publish(&mut self, topic: &str, payload: impl AsRef<[u8]>) -> io::Result<Answer> {
        let id = self.send(topic, payload)?;
        let answer = self.wait_for(
            |packet| matches!(packet, Packet::PubAck { id: answered, .. } if *answered == id),
        )?;
        match answer {
            Packet::PubAck {
                code, properties, ..
            } => Ok(Answer { code, properties }),
            other => Err(invalid(format!("{other:?} is no PUBACK"))),
        }
    }

    /// SUBSCRIBE at QoS 1 to one filter; the code of the SUBACK.
    ///
    /// # Errors
    /// When the connection ends or no answer comes.
    pub fn subscribe(&mut self, filter: &str) -> io::Result<u8> {
        Ok(self.subscribe_all(&[(filter, 1)])?[0])
    }

    /// SUBSCRIBE to filters with their options byte; the codes of the SUBACK.
    ///
    /// # Errors
    /// When the connection ends or no answer comes.
    pub fn subscribe_all(&mut self, filters: &[(&str, u8)]) -> io::Result<Vec<u8>> {
        Ok(self.subscribe_told(filters)?.0)
    }

    /// The same, and the reason string of the SUBACK, if it has one.
    ///
    /// # Errors
    /// When the connection ends or no answer comes.
    pub fn subscribe_told(
        &mut self,
        filters: &[(&str, u8)],
    ) -> io::Result<(Vec<u8>, Option<String>)> {
        let id = self.new_id();
        let mut body = self.head(id);
        for (filter, options) in filters {
            push_text(&mut body, filter.as_bytes());
            body.push(*options);
        }
        self.send_bytes(&frame(0x82, &body))?;
        match self.wait_for(|p| matches!(p, Packet::SubAck { id: a, .. } if *a == id))? {
            Packet::SubAck {
                codes, properties, ..
            } if codes.len() == filters.len() => Ok((codes, properties.reason)),
            other => Err(invalid(format!("{other:?} does not answer {filters:?}"))),
        }
    }

    /// UNSUBSCRIBE and its UNSUBACK.
    ///
    /// # Errors
    /// When the connection ends or no answer comes.
    pub fn unsubscribe(&mut self, filter: &str) -> io::Result<()> {
        let id = self.new_id();
        let mut body = self.head(id);
        push_text(&mut body, filter.as_bytes());
        self.send_bytes(&frame(0xa2, &body))?;
        self.wait_for(|p| matches!(p, Packet::UnsubAck { id: a, .. } if *a == id))
            .map(|_| ())
    }

    /// PINGREQ and PINGRESP: everything that the broker sent before has been read afterwards.
    ///
    /// # Errors
    /// When the connection ends or no answer comes.
    pub fn ping(&mut self) -> io::Result<()> {
        self.send_bytes(&[0xc0, 0])?;
        self.wait_for(|packet| matches!(packet, Packet::PingResp))
            .map(|_| ())
    }

    /// PUBACK of a message that was delivered.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn acknowledge(&mut self, id: u16) -> io::Result<()> {
        self.send_bytes(&frame(0x40, &id.to_be_bytes()))
    }

    /// A clean DISCONNECT.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn disconnect(mut self) -> io::Result<()> {
        self.send_bytes(&[0xe0, 0])
    }

    /// A DISCONNECT that changes the Session Expiry Interval (5 only).
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn disconnect_with_expiry(mut self, seconds: u32) -> io::Result<()> {
        let mut body = vec![0, 5, 0x11];
        body.extend(seconds.to_be_bytes());
        self.send_bytes(&frame(0xe0, &body))
    }

    /// The next message without a PUBACK; other packets are kept.
    ///
    /// # Errors
    /// When the connection ends or nothing comes.
    pub fn message_unacknowledged(&mut self) -> io::Result<Publish> {
        match self.wait_for(|packet| matches!(packet, Packet::Publish(_)))? {
            Packet::Publish(publish) => Ok(publish),
            other => Err(invalid(format!("{other:?} is no PUBLISH"))),
        }
    }

    /// The next message, acknowledged if it asks for that; other packets are kept.
    ///
    /// # Errors
    /// When the connection ends or nothing comes.
    pub fn message(&mut self) -> io::Result<Publish> {
        match self.wait_for(|packet| matches!(packet, Packet::Publish(_)))? {
            Packet::Publish(publish) => {
                if let Some(id) = publish.id {
                    self.acknowledge(id)?;
                }
                Ok(publish)
            }
            other => Err(invalid(format!("{other:?} is no PUBLISH"))),
        }
    }

    /// The next message on `topic`; others are passed over.
    ///
    /// # Errors
    /// When the connection ends or none comes.
    pub fn message_on(&mut self, topic: &str) -> io::Result<Publish> {
        loop {
            let message = self.message()?;
            if message.topic == topic {
                return Ok(message);
            }
        }
    }

    /// The next packet, the kept ones first.
    ///
    /// # Errors
    /// `UnexpectedEof` when the broker closed the connection, `TimedOut` when nothing came.
    pub fn receive(&mut self) -> io::Result<Packet> {
        match self.kept.pop_front() {
            Some(packet) => Ok(packet),
            None => self.read(Instant::now() + PATIENCE),
        }
    }

    /// How many messages were read on the way to something else and not asked for yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let messages = self
            .kept
            .iter()
            .filter(|packet| matches!(packet, Packet::Publish(_)));
        messages.count()
    }

    /// The packets until the broker closes the connection.
    ///
    /// # Errors
    /// When it does not close.
    pub fn until_closed(&mut self) -> io::Result<Vec<Packet>> {
        let mut packets = Vec::new();
        loop {
            match self.receive() {
                Ok(packet) => packets.push(packet),
                Err(error) if is_closed(&error) => return Ok(packets),
                Err(error) => return Err(error),
            }
        }
    }

    /// A second handle on the same connection that only sends.
    ///
    /// # Errors
    /// When the system gives none.
    pub fn sender(&self) -> io::Result<Self> {
        let mut sender = Self::on(self.socket.sender()?, self.version);
        sender.last_id = self.last_id;
        Ok(sender)
    }

    fn wait_for(&mut self, wanted: impl Fn(&Packet) -> bool) -> io::Result<Packet> {
        if let Some(at) = self.kept.iter().position(&wanted) {
            return self
                .kept
                .remove(at)
                .ok_or_else(|| invalid("kept packets changed".into()));
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let packet = self.read(deadline)?;
            if wanted(&packet) {
                return Ok(packet);
            }
            self.kept.push_back(packet);
        }
    }

    fn read(&mut self, deadline: Instant) -> io::Result<Packet> {
        loop {
            if let Some((length, packet)) = Packet::decode(&self.unread, self.version)? {
                self.unread.drain(..length);
                return Ok(packet);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "no packet came"));
            }
            self.unread.extend(self.socket.receive(left)?);
        }
    }

    fn head(&self, id: u16) -> Vec<u8> {
        let mut body = id.to_be_bytes().to_vec();
        if self.version == Version::V5 {
            body.push(0);
        }
        body
    }

    fn new_id(&mut self) -> u16 {
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        self.last_id
    }
}

/// What a PUBACK said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// 0 is success; always 0 at 3.1.1.
    pub code: u8,
    /// Empty at 3.1.1.
    pub properties: Properties,
}

impl Answer {
    /// The number in the user property `seq`.
    #[must_use]
    pub fn seq(&self) -> Option<u64> {
        self.properties.user("seq")?.parse().ok()
    }

    /// The number in the user property `repeat`.
    #[must_use]
    pub fn repeat(&self) -> Option<u64> {
        self.properties.user("repeat")?.parse().ok()
    }

    /// The name before the colon of the reason string.
    #[must_use]
    pub fn refusal(&self) -> Option<&str> {
        self.properties.reason.as_deref()?.split(':').next()
    }
}

/// Set in the environment of a test run, it has clients go by WebSocket wherever the broker's HTTP address is known.
pub const BY_WEBSOCKET: &str = socket::BY_WEBSOCKET;

/// The broker that listens for MQTT here listens for WebSockets there.
pub(crate) fn note_websocket(mqtt: SocketAddr, http: SocketAddr) {
    socket::note_websocket(mqtt, http);
}

/// Whether the other side ended the connection.
#[must_use]
pub fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(
        error.kind(),
        UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe
    )
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

pub(crate) fn frame(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    push_length(&mut bytes, body.len());
    bytes.extend(body);
    bytes
}

pub(crate) fn push_text(bytes: &mut Vec<u8>, text: &[u8]) {
    bytes.extend((text.len() as u16).to_be_bytes());
    bytes.extend(text);
}

pub(crate) fn push_length(bytes: &mut Vec<u8>, mut length: usize) {
    loop {
        let low = (length % 128) as u8;
        length /= 128;
        bytes.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            return;
        }
    }
}
