//! A snapshot and its encodings, each made once however many subscribers get it.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use syncline_protocol::{DeviceSeq, Epoch, Seq, Snapshot};

/// Sizes of parts that are remembered of one snapshot; few clients have a limit of their own.
const SIZES_MAX: usize = 4;

/// How much of the state somebody needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// All of it.
    Full,
    /// The opening of somebody who has everything up to `seq` (SNAP-7): nothing, and then the events; what changed since;
    /// or all of it. What costs fewer bytes, of what is possible.
    Since {
        /// Up to where everything is known.
        seq: Seq,
        /// Of which history.
        epoch: Epoch,
    },
}

/// A snapshot with its encodings.
#[derive(Debug)]
pub struct EncodedSnapshot {
    snapshot: Snapshot,
    msgpack: OnceLock<Bytes>,
    json: OnceLock<Bytes>,
    parts: Mutex<Vec<Parts>>,
}

/// The messages of a snapshot that is too large for one.
#[derive(Debug, Clone)]
struct Parts {
    encoding: Encoding,
    bytes_max: usize,
    messages: Arc<[Bytes]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    MessagePack,
    Json,
}

impl EncodedSnapshot {
    pub(super) fn new(snapshot: Snapshot) -> Self {
        Self {
            snapshot,
            msgpack: OnceLock::new(),
            json: OnceLock::new(),
            parts: Mutex::default(),
        }
    }

    /// What it says.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// As one `state` message.
    pub fn msgpack(&self) -> Bytes {
        self.msgpack
            .get_or_init(|| self.snapshot.encode().into())
            .clone()
    }

    /// As one `state` message in the `$json` view.
    pub fn json(&self) -> Bytes {
        self.json
            .get_or_init(|| self.snapshot.to_json().into())
            .clone()
    }

    /// As `state` messages of at most so many bytes each, in their order (SNAP-8). One can be larger only if it holds a
    /// single entry, or none.
    pub fn msgpack_parts(&self, bytes_max: usize) -> Arc<[Bytes]> {
        self.messages(Encoding::MessagePack, bytes_max)
    }

    /// The same in the `$json` view.
    pub fn json_parts(&self, bytes_max: usize) -> Arc<[Bytes]> {
        self.messages(Encoding::Json, bytes_max)
    }

    fn messages(&self, encoding: Encoding, bytes_max: usize) -> Arc<[Bytes]> {
        let whole = match encoding {
            Encoding::MessagePack => self.msgpack(),
            Encoding::Json => self.json(),
        };
        if whole.len() <= bytes_max {
            return Arc::from([whole]);
        }
        // Under the lock, so that of many who ask at once one makes them.
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let known = parts
            .iter()
            .find(|it| (it.encoding, it.bytes_max) == (encoding, bytes_max));
        if let Some(known) = known {
            return Arc::clone(&known.messages);
        }
        let made = Parts::make(&self.snapshot, encoding, bytes_max);
        let messages = Arc::clone(&made.messages);
        if parts.len() == SIZES_MAX {
            parts.remove(0);
        }
        parts.push(made);
        messages
    }

    /// The opening of a VIEW-4 subscription: the same with the mark of the connection's device.
    #[must_use]
    pub fn opening(&self, mark: Option<DeviceSeq>) -> Self {
        Self::new(Snapshot {
            mark: Some(mark),
            ..self.snapshot.clone()
        })
    }

    /// Bytes of the encodings that were made.
    pub(super) fn encoded_bytes(&self) -> usize {
        let whole = [&self.msgpack, &self.json].map(|it| it.get().map_or(0, Bytes::len));
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let parts = parts.iter().flat_map(|parts| parts.messages.iter());
        whole.iter().sum::<usize>() + parts.map(Bytes::len).sum::<usize>()
    }
}

impl Parts {
    fn make(snapshot: &Snapshot, encoding: Encoding, bytes_max: usize) -> Parts {
        let snapshot = snapshot.clone();
        let messages: Vec<Bytes> = match encoding {
            Encoding::MessagePack => {
                let parts = snapshot.parts(bytes_max).into_iter();
                parts.map(|part| part.encode().into()).collect()
            }
            Encoding::Json => {
                let parts = snapshot.json_parts(bytes_max).into_iter();
                parts.map(|part| part.to_json().into()).collect()
            }
        };
        Parts {
            encoding,
            bytes_max,
            messages: messages.into(),
        }
    }
}
