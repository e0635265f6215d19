//! A snapshot and its encodings, each made once however many subscribers get it.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use syncline_protocol::{DeviceSeq, Epoch, Seq, Snapshot};

/// How much of the state somebody needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// All of it.
    Full,
    /// What changed after `seq`, if `epoch` is still the stream's and `seq` not beyond its head; else all of it (SNAP-7).
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
}

impl EncodedSnapshot {
    pub(super) fn new(snapshot: Snapshot) -> Self {
        Self {
            snapshot,
            msgpack: OnceLock::new(),
            json: OnceLock::new(),
        }
    }

    /// What it says.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// As a `state` message.
    pub fn msgpack(&self) -> Bytes {
        self.msgpack
            .get_or_init(|| self.snapshot.encode().into())
            .clone()
    }

    /// As a `state` message in the `$json` view.
    pub fn json(&self) -> Bytes {
        self.json
            .get_or_init(|| self.snapshot.to_json().into())
            .clone()
    }

    /// SNAP-8: the same in parts of at most `bytes_max`, or of one entry where that alone is larger.
    pub fn msgpack_parts(&self, bytes_max: usize) -> Arc<[Bytes]> {
        if self.msgpack().len() <= bytes_max {
            return Arc::from([self.msgpack()]);
        }
        let parts = self.snapshot.clone().parts(bytes_max);
        parts.iter().map(|part| part.encode().into()).collect()
    }

    /// SNAP-8 in the `$json` view.
    pub fn json_parts(&self, bytes_max: usize) -> Arc<[Bytes]> {
        if self.json().len() <= bytes_max {
            return Arc::from([self.json()]);
        }
        let parts = self.snapshot.clone().json_parts(bytes_max);
        parts.iter().map(|part| part.to_json().into()).collect()
    }

    /// The opening of a VIEW-4 subscription: the same with the mark of the connection's device.
    #[must_use]
    pub fn opening(&self, mark: Option<DeviceSeq>) -> Self {
        Self::new(Snapshot {
            mark: Some(mark),
            ..self.snapshot.clone()
        })
    }
}
