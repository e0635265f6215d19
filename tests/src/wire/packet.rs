//! What a broker sends, taken apart.

use std::io;

use super::{Version, invalid};

/// A packet from a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// The answer to a CONNECT.
    ConnAck {
        /// Whether the broker remembers the client.
        session_present: bool,
        /// 0 is success.
        code: u8,
        /// Empty at 3.1.1.
        properties: Properties,
    },
    /// A message.
    Publish(Publish),
    /// The answer to a PUBLISH at QoS 1.
    PubAck {
        /// Of the PUBLISH.
        id: u16,
        /// 0 is success; always 0 at 3.1.1.
        code: u8,
        /// Empty at 3.1.1.
        properties: Properties,
    },
    /// The answer to a PUBLISH at QoS 2.
    PubRec {
        /// Of the PUBLISH.
        id: u16,
        /// 0 is success; always 0 at 3.1.1.
        code: u8,
        /// Empty at 3.1.1.
        properties: Properties,
    },
    /// The broker has heard the PUBREC of a message of its.
    PubRel {
        /// Of its PUBLISH.
        id: u16,
    },
    /// The end of a PUBLISH at QoS 2.
    PubComp {
        /// Of the PUBLISH.
        id: u16,
        /// 0 is success; always 0 at 3.1.1.
        code: u8,
    },
    /// The answer to a SUBSCRIBE.
    SubAck {
        /// Of the SUBSCRIBE.
        id: u16,
        /// One per filter.
        codes: Vec<u8>,
        /// Empty at 3.1.1.
        properties: Properties,
    },
    /// The answer to an UNSUBSCRIBE.
    UnsubAck {
        /// Of the UNSUBSCRIBE.
        id: u16,
        /// One per filter; none at 3.1.1.
        codes: Vec<u8>,
    },
    /// The answer to a PINGREQ.
    PingResp,
    /// The end, from the broker's side (5 only).
    Disconnect {
        /// Why.
        code: u8,
        /// Why, in words.
        properties: Properties,
    },
    /// A step of an extended authentication (5 only).
    Auth {
        /// 0 is success.
        code: u8,
        /// With the method.
        properties: Properties,
    },
    /// Anything else, by its first byte.
    Other(u8),
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Where it was published.
    pub topic: String,
    /// What was.
    pub payload: Vec<u8>,
    /// 0, 1 or 2.
    pub qos: u8,
    /// Whether it answers a SUBSCRIBE.
    pub retain: bool,
    /// Whether it was sent before.
    pub dup: bool,
    /// To acknowledge it with; none at QoS 0.
    pub id: Option<u16>,
    /// Empty at 3.1.1.
    pub properties: Properties,
}

impl Publish {
    /// The payload as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        match serde_json::from_slice(&self.payload) {
            Ok(value) => value,
            Err(error) => panic!("{}: {error}: {:?}", self.topic, self.payload),
        }
    }
}

/// The properties that a test may ask for; the others are only passed over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties {
    /// The reason string.
    pub reason: Option<String>,
    /// User properties in their order.
    pub users: Vec<(String, String)>,
    /// Numbers by their identifier (Receive Maximum is 0x21, Maximum QoS 0x24).
    pub numbers: Vec<(u8, u32)>,
    /// Texts and bytes by their identifier (Content Type is 0x03).
    pub texts: Vec<(u8, Vec<u8>)>,
}

impl Properties {
    /// The value of the first user property of this name.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<&str> {
        self.users
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// The text with this identifier.
    #[must_use]
    pub fn text(&self, identifier: u8) -> Option<&str> {
        let found = self.texts.iter().find(|(known, _)| *known == identifier);
        std::str::from_utf8(&found?.1).ok()
    }

    /// The values of all properties with this identifier.
    #[must_use]
    pub fn all_numbers(&self, identifier: u8) -> Vec<u32> {
        let all = self
            .numbers
            .iter()
            .filter(|(known, _)| *known == identifier);
        all.map(|(_, value)| *value).collect()
    }

    /// The value of the property with this identifier.
    #[must_use]
    pub fn number(&self, identifier: u8) -> Option<u32> {
        self.numbers
            .iter()
            .find(|(known, _)| *known == identifier)
            .map(|(_, value)| *value)
    }
}

impl Packet {
    /// The first packet in `bytes` and its length; none while it is incomplete.
    pub(super) fn decode(bytes: &[u8], version: Version) -> io::Result<Option<(usize, Packet)>> {
        let Some((head, length)) = header(bytes)? else {
            return Ok(None);
        };
        let Some(body) = bytes.get(head..head + length) else {
            return Ok(None);
        };
        let mut body = Body {
            bytes: body,
            is_v5: version == Version::V5,
        };
        Ok(Some((head + length, body.packet(bytes[0])?)))
    }
}

/// The length of the fixed header and of what follows.
fn header(bytes: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let mut length = 0;
    for (at, byte) in bytes.iter().skip(1).take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(Some((at + 2, length)));
        }
    }
    if bytes.len() > 4 {
        Err(invalid("a length of more than four bytes".into()))
    } else {
        Ok(None)
    }
}

struct Body<'a> {
    bytes: &'a [u8],
    is_v5: bool,
}

impl<'a> Body<'a> {
    fn packet(&mut self, first: u8) -> io::Result<Packet> {
        match first >> 4 {
            2 => {
                let session_present = self.byte()? == 1;
                let code = self.byte()?;
                Ok(Packet::ConnAck {
                    session_present,
                    code,
                    properties: self.properties()?,
                })
            }
            3 => self.publish(first),
            4 => {
                let id = self.short()?;
                let (code, properties) = self.reason()?;
                Ok(Packet::PubAck {
                    id,
                    code,
                    properties,
                })
            }
            5 => {
                let id = self.short()?;
                let (code, properties) = self.reason()?;
                Ok(Packet::PubRec {
                    id,
                    code,
                    properties,
                })
            }
            6 => Ok(Packet::PubRel { id: self.short()? }),
            7 => {
                let id = self.short()?;
                let code = self.reason()?.0;
                Ok(Packet::PubComp { id, code })
            }
            9 => {
                let id = self.short()?;
                let properties = self.properties()?;
                Ok(Packet::SubAck {
                    id,
                    codes: self.bytes.to_vec(),
                    properties,
                })
            }
            11 => {
                let id = self.short()?;
                self.properties()?;
                let codes = self.bytes.to_vec();
                Ok(Packet::UnsubAck { id, codes })
            }
            13 => Ok(Packet::PingResp),
            14 => {
                let (code, properties) = self.reason()?;
                Ok(Packet::Disconnect { code, properties })
            }
            15 => {
                let (code, properties) = self.reason()?;
                Ok(Packet::Auth { code, properties })
            }
            _ => Ok(Packet::Other(first)),
        }
    }

    fn publish(&mut self, first: u8) -> io::Result<Packet> {
        let topic = self.text()?;
        let qos = (first >> 1) & 3;
        let id = if qos > 0 { Some(self.short()?) } else { None };
        let properties = self.properties()?;
        let (retain, dup) = (first & 1 == 1, first & 8 == 8);
        let payload = self.bytes.to_vec();
        Ok(Packet::Publish(Publish {
            topic,
            payload,
            qos,
            retain,
            dup,
            id,
            properties,
        }))
    }

    /// A reason code and properties, either of which may be left out when there is nothing to say.
    fn reason(&mut self) -> io::Result<(u8, Properties)> {
        if self.bytes.is_empty() {
            return Ok((0, Properties::default()));
        }
        let code = self.byte()?;
        let properties = if self.bytes.is_empty() {
            Properties::default()
        } else {
            self.properties()?
        };
        Ok((code, properties))
    }

    fn properties(&mut self) -> io::Result<Properties> {
        let mut found = Properties::default();
        if !self.is_v5 {
            return Ok(found);
        }
        let length = self.variable()?;
        let mut inner = Body {
            bytes: self.take(length)?,
            is_v5: true,
        };
        while !inner.bytes.is_empty() {
            inner.property(&mut found)?;
        }
        Ok(found)
    }

    fn property(&mut self, found: &mut Properties) -> io::Result<()> {
        let identifier = self.byte()?;
        let number = match identifier {
            0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28..=0x2a => u32::from(self.byte()?),
            0x13 | 0x21..=0x23 => u32::from(self.short()?),
            0x02 | 0x11 | 0x18 | 0x27 => {
                (u32::from(self.short()?) << 16) | u32::from(self.short()?)
            }
            0x0b => self.variable()? as u32,
            0x26 => {
                found.users.push((self.text()?, self.text()?));
                return Ok(());
            }
            0x1f => {
                found.reason = Some(self.text()?);
                return Ok(());
            }
            0x03 | 0x08 | 0x09 | 0x12 | 0x15 | 0x16 | 0x1a | 0x1c => {
                let length = self.short()?;
                let text = self.take(usize::from(length))?.to_vec();
                found.texts.push((identifier, text));
                return Ok(());
            }
            other => return Err(invalid(format!("unknown property {other:#x}"))),
        };
        found.numbers.push((identifier, number));
        Ok(())
    }

    fn take(&mut self, length: usize) -> io::Result<&'a [u8]> {
        let split = self.bytes.split_at_checked(length);
        let (taken, rest) = split.ok_or_else(|| invalid("a packet is too short".into()))?;
        self.bytes = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> io::Result<u8> {
        Ok(self.take(1)?[0])
    }

    fn short(&mut self) -> io::Result<u16> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn text(&mut self) -> io::Result<String> {
        let length = self.short()?;
        let bytes = self.take(usize::from(length))?;
        String::from_utf8(bytes.to_vec()).map_err(|_| invalid("a text that is not UTF-8".into()))
    }

    fn variable(&mut self) -> io::Result<usize> {
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(invalid("a number of more than four bytes".into()))
    }
}
