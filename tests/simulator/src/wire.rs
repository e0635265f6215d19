//! MQTT 5 as a client speaks it: what it sends, and what it is sent taken apart.

use std::io;

#[allow(dead_code, unreachable_pub)] // the end-to-end tests use more of it
#[path = "../../src/wire/packet.rs"]
mod packet;

pub(crate) use packet::{Packet, Properties, Publish};

/// What [`packet`] can tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V5,
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// What a client says of itself. Keep-alive is off: the simulator decides when an end notices the other's silence.
#[derive(Debug, Clone)]
pub(crate) struct Connect {
    pub(crate) client_id: String,
    pub(crate) device: Option<String>,
    pub(crate) clean_start: bool,
    /// Seconds that the session outlives the connection.
    pub(crate) session_expiry_s: u32,
    pub(crate) receive_maximum: u16,
    pub(crate) maximum_packet_size: Option<u32>,
}

impl Connect {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut properties = vec![0x11];
        properties.extend(self.session_expiry_s.to_be_bytes());
        properties.push(0x21);
        properties.extend(self.receive_maximum.to_be_bytes());
        if let Some(bytes) = self.maximum_packet_size {
            properties.push(0x27);
            properties.extend(bytes.to_be_bytes());
        }
        if let Some(device) = &self.device {
            properties.push(0x26);
            push_text(&mut properties, b"device");
            push_text(&mut properties, device.as_bytes());
        }
        let mut body = Vec::new();
        push_text(&mut body, b"MQTT");
        body.extend([5, u8::from(self.clean_start) << 1, 0, 0]);
        push_length(&mut body, properties.len());
        body.extend(properties);
        push_text(&mut body, self.client_id.as_bytes());
        frame(0x10, &body)
    }
}

/// A SUBSCRIBE of one filter at QoS 1.
pub(crate) fn subscribe(id: u16, filter: &str) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    body.push(0);
    push_text(&mut body, filter.as_bytes());
    body.push(1);
    frame(0x82, &body)
}

/// A PUBLISH at QoS 1.
pub(crate) fn publish(id: u16, topic: &str, payload: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(payload.len() + topic.len() + 5);
    push_text(&mut body, topic.as_bytes());
    body.extend(id.to_be_bytes());
    body.push(0);
    body.extend(payload);
    frame(0x32, &body)
}

/// The acknowledgement of a delivery.
pub(crate) fn puback(id: u16) -> Vec<u8> {
    frame(0x40, &id.to_be_bytes())
}

/// A goodbye.
pub(crate) fn disconnect() -> Vec<u8> {
    frame(0xe0, &[])
}

/// Takes apart what comes in pieces.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    unread: Vec<u8>,
}

impl Decoder {
    /// The packets that are complete with these bytes.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Packet>, String> {
        self.unread.extend_from_slice(bytes);
        let mut packets = Vec::new();
        let mut read = 0;
        while let Some((length, packet)) =
            Packet::decode(&self.unread[read..], Version::V5).map_err(|error| error.to_string())?
        {
            read += length;
            packets.push(packet);
        }
        self.unread.drain(..read);
        Ok(packets)
    }
}

fn frame(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    push_length(&mut bytes, body.len());
    bytes.extend(body);
    bytes
}

fn push_text(bytes: &mut Vec<u8>, text: &[u8]) {
    bytes.extend((text.len() as u16).to_be_bytes());
    bytes.extend(text);
}

fn push_length(bytes: &mut Vec<u8>, mut length: usize) {
    loop {
        let low = (length % 128) as u8;
        length /= 128;
        bytes.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            return;
        }
    }
}
