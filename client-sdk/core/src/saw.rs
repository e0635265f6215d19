//! What the user saw of an entry when acting on it (STORE-5).

use syncline_protocol::{Clock, DeviceId, Entry, Seq, UnixMillis, Value};

/// What the replica had at the entry of an intent. [`Saw::to_value`] is its form in a storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saw {
    /// No entry.
    Nothing,
    /// An entry, known by its last change and its shown act.
    Entry {
        /// The place of its last change.
        changed: Seq,
        /// The author of what it showed.
        device: DeviceId,
        /// When that author acted.
        clock: Clock,
        /// Whether it showed nothing.
        removed: bool,
    },
}

impl Saw {
    pub(crate) fn of(entry: Option<&Entry>) -> Self {
        entry.map_or(Self::Nothing, |entry| Self::Entry {
            changed: entry.changed,
            device: entry.shown.device,
            clock: entry.shown.clock,
            removed: !entry.is_live(),
        })
    }

    /// Whether an entry is still as it was. A removal may have been collected since.
    pub(crate) fn is_as_seen(self, entry: Option<&Entry>) -> bool {
        match (self, entry) {
            (Self::Nothing | Self::Entry { removed: true, .. }, None) => true,
            (_, entry) => Self::of(entry) == self,
        }
    }

    /// A map: empty, or `changed`, `device_uuid` (text), `timestamp`, `counter`, and `removed` if it was.
    pub fn to_value(self) -> Value {
        let Self::Entry {
            changed,
            device,
            clock,
            removed,
        } = self
        else {
            return Value::Map(Default::default());
        };
        let number = |n: u64| Value::number(n as f64).unwrap_or_default();
        let map = [
            ("changed", number(changed.get())),
            ("device_uuid", Value::text(device.to_string())),
            ("timestamp", number(clock.timestamp.get())),
            ("counter", Value::from(clock.counter)),
        ];
        let removed = removed.then_some(("removed", true.into()));
        let map = map.into_iter().chain(removed);
        Value::Map(map.map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// Reads what [`Saw::to_value`] wrote; `None` if it is something else.
    pub fn from_value(value: &Value) -> Option<Self> {
        let map = value.as_map()?;
        if map.is_empty() {
            return Some(Self::Nothing);
        }
        let number = |name: &str| map.get(name)?.as_u64();
        let clock = Clock {
            timestamp: UnixMillis::new(number("timestamp")?),
            counter: u32::try_from(number("counter")?).ok()?,
        };
        Some(Self::Entry {
            changed: Seq::new(number("changed")?)?,
            device: map.get("device_uuid")?.as_text()?.parse().ok()?,
            clock,
            removed: map.contains_key("removed"),
        })
    }
}
