//! Messages with everything that MQTT lets them have, and QoS 2 step by step.

use std::io;

use super::{Answer, Packet, Publish, Version, Wire, frame, invalid, push_length, push_text};

/// A message to publish. QoS 0 and no flags unless it says so.
#[derive(Debug, Clone)]
pub struct Outgoing {
    topic: String,
    payload: Vec<u8>,
    qos: u8,
    retain: bool,
    dup: bool,
    properties: Vec<u8>,
}

impl Outgoing {
    /// On a topic.
    #[must_use]
    pub fn new(topic: &str, payload: impl AsRef<[u8]>) -> Self {
        Self {
            topic: topic.to_owned(),
            payload: payload.as_ref().to_vec(),
            qos: 0,
            retain: false,
            dup: false,
            properties: Vec::new(),
        }
    }

    /// At this QoS.
    #[must_use]
    pub fn qos(mut self, qos: u8) -> Self {
        self.qos = qos;
        self
    }

    /// With RETAIN.
    #[must_use]
    pub fn retain(mut self) -> Self {
        self.retain = true;
        self
    }

    /// With DUP.
    #[must_use]
    pub fn dup(mut self) -> Self {
        self.dup = true;
        self
    }

    /// A v5 property, as its bytes.
    #[must_use]
    pub fn property(mut self, bytes: &[u8]) -> Self {
        self.properties.extend(bytes);
        self
    }

    /// A v5 Message Expiry Interval.
    #[must_use]
    pub fn expiry(self, seconds: u32) -> Self {
        let [a, b, c, d] = seconds.to_be_bytes();
        self.property(&[0x02, a, b, c, d])
    }

    /// A v5 Will Delay Interval.
    #[must_use]
    pub fn delay(self, seconds: u32) -> Self {
        let [a, b, c, d] = seconds.to_be_bytes();
        self.property(&[0x18, a, b, c, d])
    }

    pub(super) fn will_flags(&self) -> u8 {
        0b100 | (self.qos << 3) | (u8::from(self.retain) << 5)
    }

    pub(super) fn push_will(&self, body: &mut Vec<u8>, version: Version) {
        self.push_properties(body, version);
        push_text(body, self.topic.as_bytes());
        push_text(body, &self.payload);
    }

    fn push_properties(&self, body: &mut Vec<u8>, version: Version) {
        if version == Version::V5 {
            push_length(body, self.properties.len());
            body.extend(&self.properties);
        }
    }

    fn encode(&self, id: u16, version: Version) -> Vec<u8> {
        let mut body = Vec::new();
        push_text(&mut body, self.topic.as_bytes());
        if self.qos > 0 {
            body.extend(id.to_be_bytes());
        }
        self.push_properties(&mut body, version);
        body.extend(&self.payload);
        let flags = (u8::from(self.dup) << 3) | (self.qos << 1) | u8::from(self.retain);
        frame(0x30 | flags, &body)
    }
}

impl Wire {
    /// Publishes and goes through with it: the answer of its PUBACK or PUBREC, a success at QoS 0.
    ///
    /// # Errors
    /// When the connection ends or no answer comes.
    pub fn publish_message(&mut self, message: &Outgoing) -> io::Result<Answer> {
        let id = self.new_id();
        self.publish_as(id, message)?;
        match message.qos {
            0 => Ok(Answer {
                code: 0,
                properties: Default::default(),
            }),
            1 => self.puback(id),
            _ => {
                let answer = self.pubrec(id)?;
                if answer.code < 0x80 {
                    self.send_ack(0x62, id)?;
                    self.pubcomp(id)?;
                }
                Ok(answer)
            }
        }
    }

    /// Only the PUBLISH, with this packet id.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn publish_as(&mut self, id: u16, message: &Outgoing) -> io::Result<()> {
        let bytes = message.encode(id, self.version);
        self.send_bytes(&bytes)
    }

    /// PUBLISHes of the same message, as many as that, in one write; nothing is waited for.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn send_many(&mut self, message: &Outgoing, count: usize) -> io::Result<()> {
        let mut bytes = Vec::new();
        for _ in 0..count {
            let id = self.new_id();
            bytes.extend(message.encode(id, self.version));
        }
        self.send_bytes(&bytes)
    }

    /// SUBSCRIBEs at QoS 0, one per filter, in one write; nothing is waited for.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn send_subscribes(&mut self, filters: &[String]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for filter in filters {
            let id = self.new_id();
            let mut body = self.head(id);
            push_text(&mut body, filter.as_bytes());
            body.push(0);
            bytes.extend(frame(0x82, &body));
        }
        self.send_bytes(&bytes)
    }

    /// Waits for a PUBACK.
    ///
    /// # Errors
    /// When the connection ends or none comes.
    pub fn puback(&mut self, of: u16) -> io::Result<Answer> {
        match self.wait_for(|it| matches!(it, Packet::PubAck { id, .. } if *id == of))? {
            Packet::PubAck {
                code, properties, ..
            } => Ok(Answer { code, properties }),
            other => Err(invalid(format!("{other:?} is no PUBACK"))),
        }
    }

    /// Waits for a PUBREC.
    ///
    /// # Errors
    /// When the connection ends or none comes.
    pub fn pubrec(&mut self, of: u16) -> io::Result<Answer> {
        match self.wait_for(|it| matches!(it, Packet::PubRec { id, .. } if *id == of))? {
            Packet::PubRec {
                code, properties, ..
            } => Ok(Answer { code, properties }),
            other => Err(invalid(format!("{other:?} is no PUBREC"))),
        }
    }

    /// Waits for a PUBREL.
    ///
    /// # Errors
    /// When the connection ends or none comes.
    pub fn pubrel(&mut self, of: u16) -> io::Result<()> {
        self.wait_for(|it| matches!(it, Packet::PubRel { id } if *id == of))
            .map(|_| ())
    }

    /// Waits for a PUBCOMP; its reason code.
    ///
    /// # Errors
    /// When the connection ends or none comes.
    pub fn pubcomp(&mut self, of: u16) -> io::Result<u8> {
        match self.wait_for(|it| matches!(it, Packet::PubComp { id, .. } if *id == of))? {
            Packet::PubComp { code, .. } => Ok(code),
            other => Err(invalid(format!("{other:?} is no PUBCOMP"))),
        }
    }

    /// An acknowledgement by its first byte: PUBACK 0x40, PUBREC 0x50, PUBREL 0x62, PUBCOMP 0x70.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn send_ack(&mut self, first: u8, id: u16) -> io::Result<()> {
        self.send_bytes(&frame(first, &id.to_be_bytes()))
    }

    /// The next message, gone through with at whatever QoS it has.
    ///
    /// # Errors
    /// When the connection ends or nothing comes.
    pub fn take(&mut self) -> io::Result<Publish> {
        let message = self.message_unacknowledged()?;
        match (message.qos, message.id) {
            (1, Some(id)) => self.send_ack(0x40, id)?,
            (2, Some(id)) => {
                self.send_ack(0x50, id)?;
                self.pubrel(id)?;
                self.send_ack(0x70, id)?;
            }
            _ => {}
        }
        Ok(message)
    }

    /// SUBSCRIBE with a Subscription Identifier below 128 (5 only); the codes of the SUBACK.
    ///
    /// # Errors
    /// When the connection ends or no answer comes.
    pub fn subscribe_as(&mut self, identifier: u8, filters: &[(&str, u8)]) -> io::Result<Vec<u8>> {
        let of = self.new_id();
        let mut body = of.to_be_bytes().to_vec();
        body.extend([2, 0x0b, identifier]);
        for (filter, options) in filters {
            push_text(&mut body, filter.as_bytes());
            body.push(*options);
        }
        self.send_bytes(&frame(0x82, &body))?;
        match self.wait_for(|it| matches!(it, Packet::SubAck { id, .. } if *id == of))? {
            Packet::SubAck { codes, .. } => Ok(codes),
            other => Err(invalid(format!("{other:?} is no SUBACK"))),
        }
    }
}
