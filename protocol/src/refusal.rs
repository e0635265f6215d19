//! Why the broker does not take an event: the one table of names (ANSWER-3, ANSWER-4).

use std::fmt;

/// A permanent refusal: sending the same again gets the same answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {reason}")]
pub struct Refused {
    /// Which one.
    pub name: RefusalName,
    /// A sentence for people.
    pub reason: String,
}

impl Refused {
    /// A refusal with its sentence.
    pub fn new(name: RefusalName, reason: impl Into<String>) -> Self {
        Self {
            name,
            reason: reason.into(),
        }
    }
}

macro_rules! names {
    ($(#[$doc:meta])* $type:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal, $code:literal;)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $type { $($(#[$variant_doc])* $variant,)* }

        impl $type {
            /// All of them, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The MQTT 5 reason code.
            pub const fn reason_code(self) -> u8 {
                match self { $(Self::$variant => $code,)* }
            }

            /// The one with this name.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|it| it.as_str() == name)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

names! {
    /// The permanent refusals. The codes are those of a v5 PUBACK.
    RefusalName {
        /// Nothing can be published on this topic.
        BadTopic = "bad_topic", 0x90;
        /// Not a map, or a name is missing or of a wrong type.
        NotAnEvent = "not_an_event", 0x99;
        /// A value breaks VALUE-1 … VALUE-6.
        BadValue = "bad_value", 0x99;
        /// `event_data` is not what the schema asks for (STATE-11).
        BadData = "bad_data", 0x99;
        /// EVENT-3 or EVENT-8.
        BadDeviceSeq = "bad_device_seq", 0x99;
        /// Larger than the limit.
        TooLarge = "too_large", 0x97;
        /// It would begin a stream, and there are as many as may be.
        QuotaExceeded = "quota_exceeded", 0x97;
        /// The principal may not write here.
        NotAllowed = "not_allowed", 0x87;
        /// Another device's event.
        NotYourDevice = "not_your_device", 0x87;
        /// A strict schema does not name the type.
        UnknownType = "unknown_type", 0x83;
        /// `base_seq` is of another epoch.
        WrongEpoch = "wrong_epoch", 0x83;
        /// This `device_seq` was another event's.
        DeviceForked = "device_forked", 0x83;
        /// `base_seq` is below the horizon.
        Overtaken = "overtaken", 0x83;
        /// The device was forgotten and `base_seq` is below the horizon.
        Expired = "expired", 0x83;
        /// A counter would leave the integers of VALUE-1.
        Overflow = "overflow", 0x83;
    }
}

names! {
    /// The transient failures. The codes are those of a v5 DISCONNECT.
    TransientName {
        /// The event could not be committed; whether it was is not known.
        StorageFailed = "storage_failed", 0x83;
        /// The sequencer's queue is full.
        Busy = "busy", 0x89;
        /// The broker is shutting down.
        Draining = "draining", 0x8b;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_3_and_4_the_table_of_the_spec_is_the_table_of_the_code() {
        let spec = include_str!("../SPEC.md");
        let row = |name: &str, code: u8| format!("| `{name}` | 0x{code:02X} |");
        for name in RefusalName::ALL {
            assert!(
                spec.contains(&row(name.as_str(), name.reason_code())),
                "{name}"
            );
            assert_eq!(RefusalName::from_name(name.as_str()), Some(*name));
        }
        for name in TransientName::ALL {
            assert!(
                spec.contains(&row(name.as_str(), name.reason_code())),
                "{name}"
            );
        }
        let rows = spec
            .lines()
            .filter(|line| line.starts_with("| `") && line.contains("| 0x"))
            .count();
        assert_eq!(rows, RefusalName::ALL.len() + TransientName::ALL.len());
    }
}
