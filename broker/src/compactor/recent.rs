//! The last events of a state: what they weigh, and what the digests were before each. So a client that is a little
//! behind can be opened at its own seq (SNAP-7) without making the state of that seq.

use std::collections::{BTreeMap, VecDeque};

use syncline_protocol::{Digest, Operation, Seq, State};

/// Events remembered per state; 48 bytes each.
const EVENTS_MAX: usize = 256;

/// What a message costs beside its payload: packet, topic, properties. Roughly.
const MESSAGE_BYTES: usize = 64;

/// Of one state, up to its seq.
#[derive(Debug)]
pub(super) struct Recent {
    /// The collections with their digests as they are now.
    digests: Vec<(String, Digest)>,
    steps: VecDeque<Step>,
}

#[derive(Debug)]
struct Step {
    bytes: usize,
    /// The collection that changed, and its digest before.
    changed: Option<(usize, Digest)>,
}

impl Recent {
    pub(super) fn of(state: &State) -> Recent {
        Recent {
            digests: state.digests().into_iter().collect(),
            steps: VecDeque::new(),
        }
    }

    /// The state took an event of so many bytes.
    pub(super) fn push(&mut self, state: &State, bytes: usize, operation: Option<&Operation>) {
        if self.steps.len() == EVENTS_MAX {
            self.steps.pop_front();
        }
        let changed = operation.and_then(|operation| self.change(state, &operation.collection));
        self.steps.push_back(Step { bytes, changed });
    }

    fn change(&mut self, state: &State, collection: &str) -> Option<(usize, Digest)> {
        let place = self
            .digests
            .iter()
            .position(|(name, _)| name == collection)?;
        let digest = &mut self.digests[place].1;
        let before = std::mem::replace(digest, state.digest_of(collection));
        Some((place, before))
    }

    /// What the events after a seq weigh as messages, if that is remembered of a state at `head`.
    pub(super) fn bytes_after(&self, seq: Seq, head: Seq) -> Option<usize> {
        let steps = self.after(seq, head)?;
        Some(steps.map(|step| step.bytes + MESSAGE_BYTES).sum())
    }

    /// The digests as of a seq, by collection, if they are remembered of a state at `head`.
    pub(super) fn digests_at(&self, seq: Seq, head: Seq) -> Option<BTreeMap<String, Digest>> {
        let mut digests = self.digests.clone();
        for step in self.after(seq, head)?.rev() {
            if let Some((place, before)) = step.changed {
                digests[place].1 = before;
            }
        }
        Some(digests.into_iter().collect())
    }

    fn after(&self, seq: Seq, head: Seq) -> Option<impl DoubleEndedIterator<Item = &Step>> {
        let count = usize::try_from(head.get().checked_sub(seq.get())?).ok()?;
        let from = self.steps.len().checked_sub(count)?;
        Some(self.steps.range(from..))
    }

    /// What it takes in memory.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Step>() * self.steps.capacity()
            + size_of::<(String, Digest)>() * self.digests.len()
    }
}
