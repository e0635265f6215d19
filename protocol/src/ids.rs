//! Ids and places, a newtype each. All integers stay within 2^53-1, so that JavaScript reads them exactly.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use uuid::Uuid;

/// The largest integer on the wire: 2^53 - 1.
pub const INTEGER_MAX: u64 = (1 << 53) - 1;

/// Names that have a meaning behind `sync/<sync_id>/`, so no channel has them (TOPIC-2).
/// The last one cannot be a key of a map (VALUE-3), and channels are keys of a presence (PRESENCE-1).
const RESERVED_CHANNELS: [&str; 5] = ["events", "state", "presence", "errors", "__proto__"];

/// Why a text or number is not the id that it was read as.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not a name (TOPIC-1).
    #[error("a {what} is 1 to 64 characters of A-Z a-z 0-9 . _ -")]
    Name {
        /// Which kind of name.
        what: &'static str,
    },
    /// A channel with the name of something else (TOPIC-2).
    #[error("a channel is not named events, state, presence, errors or __proto__")]
    ReservedChannel,
    /// Not a UUID of 16 bytes or 36 characters.
    #[error("a device is a UUID: 16 bytes, or text of 36 characters")]
    Device,
    /// Not 16 hex digits.
    #[error("an epoch is 16 hex digits")]
    Epoch,
    /// Not 1 to 64 characters.
    #[error("an event_type is text of 1 to 64 characters")]
    EventType,
}

/// The name of a sync group: all devices that share it share its data.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SyncId(Box<str>);

impl SyncId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SyncId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let what = "sync_id";
        if is_name(text) {
            Ok(Self(text.into()))
        } else {
            Err(IdError::Name { what })
        }
    }
}

impl fmt::Display for SyncId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of one of a group's streams; the default stream has none.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Channel(Box<str>);

impl Channel {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Channel {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if !is_name(text) {
            return Err(IdError::Name { what: "channel" });
        }
        if RESERVED_CHANNELS.contains(&text) {
            return Err(IdError::ReservedChannel);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether `text` is a name by TOPIC-1.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// One stream: a group and one of its channels. Displays as its topic prefix, `sync/<sync_id>[/<channel>]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId {
    /// The group.
    pub sync_id: SyncId,
    /// The channel; `None` is the default one.
    pub channel: Option<Channel>,
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sync/{}", self.sync_id)?;
        self.channel
            .iter()
            .try_for_each(|channel| write!(f, "/{channel}"))
    }
}

/// A device: one outbox and one replica. Compares by its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceId(Uuid);

/// The namespace of the UUIDs that are given to connections without one (EVENT-4).
const CONNECTION_NAMESPACE: Uuid = Uuid::from_u128(0x5bd0cd4e_9c2e_5b5c_8d5c_0f6f2f1f7a01);

impl DeviceId {
    /// From a UUID.
    pub fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// From its 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The device of a connection that names none: made of who it is and its client id (EVENT-4).
    pub fn of_client_id(principal: &str, client_id: &str) -> Self {
        let name = [principal.as_bytes(), &[0], client_id.as_bytes()].concat();
        Self(Uuid::new_v5(&CONNECTION_NAMESPACE, &name))
    }

    /// The 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl FromStr for DeviceId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.len() != 36 {
            return Err(IdError::Device);
        }
        Uuid::try_parse(text).map(Self).map_err(|_| IdError::Device)
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.hyphenated())
    }
}

/// The incarnation of a stream's history. Displays as 16 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Epoch(u64);

impl Epoch {
    /// No history yet: an empty stream's.
    pub const NONE: Self = Self(0);

    /// From its 64 bits.
    pub const fn new(bits: u64) -> Self {
        Self(bits)
    }

    /// The 64 bits.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl FromStr for Epoch {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.len() != 16 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(IdError::Epoch);
        }
        u64::from_str_radix(text, 16)
            .map(Self)
            .map_err(|_| IdError::Epoch)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A place in a stream: 1, 2, 3 … ; `ZERO` is before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Seq(u64);

impl Seq {
    /// Before the first event.
    pub const ZERO: Self = Self(0);

    /// The place `n`; `None` above 2^53-1.
    pub const fn new(n: u64) -> Option<Self> {
        if n <= INTEGER_MAX {
            Some(Self(n))
        } else {
            None
        }
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The place after this one. A stream at one event a microsecond reaches the last after 285 years.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The place before this one; that of `ZERO` is `ZERO`.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A device's own numbering of its events in a stream: 1, 2, 3 …
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceSeq(NonZeroU64);

impl DeviceSeq {
    /// The first.
    pub const FIRST: Self = Self(NonZeroU64::MIN);

    /// The number `n`; `None` for 0 and above 2^53-1.
    pub const fn new(n: u64) -> Option<Self> {
        match NonZeroU64::new(n) {
            Some(n) if n.get() <= INTEGER_MAX => Some(Self(n)),
            _ => None,
        }
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0.get()
    }

    /// The next one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for DeviceSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Milliseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct UnixMillis(u64);

impl UnixMillis {
    /// `ms` milliseconds; more than 2^53-1 become that.
    pub const fn new(ms: u64) -> Self {
        Self(if ms <= INTEGER_MAX { ms } else { INTEGER_MAX })
    }

    /// The number of milliseconds.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// This moment and `ms` more.
    #[must_use]
    pub const fn plus(self, ms: u64) -> Self {
        Self::new(self.0.saturating_add(ms))
    }
}

impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What kind of intent an event is: 1 to 64 characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventType(Box<str>);

impl EventType {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EventType {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let length = text.chars().take(65).count();
        if (1..=64).contains(&length) {
            Ok(Self(text.into()))
        } else {
            Err(IdError::EventType)
        }
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_1_names_are_short_plain_text() {
        assert!("a.B_9-".parse::<SyncId>().is_ok());
        assert!("events".parse::<SyncId>().is_ok());
        for bad in ["", "a/b", "ü", "a b", "+", "#", &"x".repeat(65)] {
            assert!(bad.parse::<SyncId>().is_err(), "{bad:?}");
            assert!(bad.parse::<Channel>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn topic_2_a_channel_has_no_reserved_name() {
        for reserved in RESERVED_CHANNELS {
            assert_eq!(reserved.parse::<Channel>(), Err(IdError::ReservedChannel));
        }
    }

    #[test]
    fn a_device_is_read_in_its_36_character_form_only() {
        let text = "6a3b0c52-8d64-4d5e-9f39-2f1f2a3b4c5d";
        assert_eq!(text.parse::<DeviceId>().unwrap().to_string(), text);
        assert!(text.replace('-', "").parse::<DeviceId>().is_err());
        assert!(
            "{6a3b0c52-8d64-4d5e-9f39-2f1f2a3b4c5"
                .parse::<DeviceId>()
                .is_err()
        );
    }

    #[test]
    fn an_epoch_is_sixteen_digits() {
        assert_eq!("00000000000000ff".parse::<Epoch>(), Ok(Epoch::new(255)));
        assert_eq!(Epoch::new(255).to_string(), "00000000000000ff");
        assert!("+0000000000000ff".parse::<Epoch>().is_err());
        assert!("ff".parse::<Epoch>().is_err());
    }

    #[test]
    fn an_event_type_is_counted_in_characters() {
        assert!("ü".repeat(64).parse::<EventType>().is_ok());
        assert!("ü".repeat(65).parse::<EventType>().is_err());
        assert!("".parse::<EventType>().is_err());
    }
}
