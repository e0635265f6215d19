//! An intent on its way to the sequencer.

use std::sync::Arc;

use syncline_protocol::{DeviceId, Intent, StreamId};

use crate::acl::Principal;

/// An intent that was parsed and whose author may write to the stream. Only the edge makes one.
#[derive(Debug, Clone)]
pub struct Submission {
    stream: StreamId,
    principal: Arc<Principal>,
    author: DeviceId,
    intent: Intent,
}

impl Submission {
    pub(super) fn new(
        stream: StreamId,
        principal: Arc<Principal>,
        author: DeviceId,
        intent: Intent,
    ) -> Self {
        Self {
            stream,
            principal,
            author,
            intent,
        }
    }

    /// Where it goes.
    pub fn stream(&self) -> &StreamId {
        &self.stream
    }

    /// Who sends it.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The device whose event it is: the intent's, or the connection's where it names none.
    pub fn author(&self) -> DeviceId {
        self.author
    }

    /// What it says.
    pub fn intent(&self) -> &Intent {
        &self.intent
    }

    /// Takes it apart: stream, author, intent.
    pub fn into_parts(self) -> (StreamId, DeviceId, Intent) {
        (self.stream, self.author, self.intent)
    }
}

/// A submission for the tests of rooms further on.
#[cfg(test)]
pub(crate) fn submission(stream: StreamId, author: DeviceId, intent: Intent) -> Submission {
    Submission::new(stream, Arc::new(Principal::anonymous()), author, intent)
}
