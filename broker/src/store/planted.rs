//! A stream that comes from outside: imported, not accepted event by event.

use syncline_protocol::{DeviceId, StreamId};

use super::{Base, Mark, Record, StoredEntry, StreamHead};

/// Everything of a stream. Its head's position is given to it when it is planted.
#[derive(Debug, Clone)]
pub struct Planted {
    /// Which.
    pub stream: StreamId,
    /// Where it ends.
    pub head: StreamHead,
    /// What stands for the events that are gone.
    pub base: Base,
    /// The base's entries.
    pub entries: Vec<StoredEntry>,
    /// What is remembered of devices.
    pub marks: Vec<(DeviceId, Mark)>,
    /// The events after the base, up to the head, without holes. Their epochs are those that they were accepted in.
    pub events: Vec<Record>,
}
