//! Taking back what the user did last (UNDO-1 … UNDO-5).

use std::collections::VecDeque;

use syncline_protocol::schema::{Action, After, CannotSay, Kind, Operation};
use syncline_protocol::{Clock, DeviceId, Event, EventType, Intent, UnixMillis, Value};

use crate::core::{Core, Rejected};
use crate::output::Output;
use crate::rows::IntentId;
use crate::view::View;

/// How many steps are remembered (UNDO-1).
const STEPS_MAX: usize = 100;

/// Why nothing was undone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotUndone {
    /// There is no step left.
    #[error("there is nothing to undo")]
    Nothing,
    /// UNDO-3.
    #[error("{key:?} in {collection} was changed by somebody else since")]
    ChangedSince {
        /// The collection.
        collection: String,
        /// The entry.
        key: String,
    },
    /// UNDO-4: the schema has no event for the opposite.
    #[error("the schema cannot say the opposite: {0}")]
    CannotSay(#[from] CannotSay),
    /// The outbox is full.
    #[error(transparent)]
    Rejected(#[from] Rejected),
}

/// Whose act stands for an entry. Who acted and when is of no other act of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Nothing,
    One(DeviceId, Clock),
    Several,
}

/// An own intent and what it stood over.
#[derive(Debug)]
pub(crate) struct Step {
    id: IntentId,
    operation: Operation,
    /// What stands there as long as nobody else does anything.
    after: Standing,
    /// What stood there before.
    over: Standing,
    before: Option<Before>,
}

/// What the app saw of a live entry.
#[derive(Debug)]
struct Before {
    value: Value,
    /// Of a list's item: in which list it stood, and behind what.
    place: Option<(Option<String>, After)>,
}

/// What can be undone, and what can be done again.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    undo: Stack,
    redo: Stack,
}

#[derive(Debug, Default)]
struct Stack(VecDeque<Step>);

impl Stack {
    fn push(&mut self, step: Step) {
        if self.0.len() == STEPS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(step);
    }

    /// A step was taken back by an act of ours: what stood right under it is restored, under that act's name.
    fn restored(&mut self, taken: &Step, by: Standing) {
        let same_entry = |it: &&mut Step| {
            it.operation.collection == taken.operation.collection
                && it.operation.key == taken.operation.key
        };
        let under = self.0.iter_mut().rev().find(same_entry);
        if let Some(under) = under.filter(|it| taken.over == it.after) {
            under.after = by;
        }
    }
}

impl Steps {
    /// UNDO-2.
    pub(crate) fn did(&mut self, step: Step) {
        self.redo.0.clear();
        self.undo.push(step);
    }

    /// An intent that will never be saved.
    pub(crate) fn forget(&mut self, id: IntentId) {
        self.undo.0.retain(|step| step.id != id);
        self.redo.0.retain(|step| step.id != id);
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The broker may have given an own event another clock.
    pub(crate) fn confirmed(&mut self, intent: &Intent, event: &Event) {
        let (Some(device), Some(clock)) = (intent.device, intent.clock) else {
            return;
        };
        let (before, now) = (
            Standing::One(device, clock),
            Standing::One(event.device, event.clock),
        );
        if before == now {
            return;
        }
        for step in self.undo.0.iter_mut().chain(&mut self.redo.0) {
            for standing in [&mut step.after, &mut step.over] {
                if *standing == before {
                    *standing = now;
                }
            }
        }
    }

    fn stack(&mut self, which: Which) -> &mut Stack {
        match which {
            Which::Undo => &mut self.undo,
            Which::Redo => &mut self.redo,
        }
    }
}

/// From which stack.
#[derive(Debug, Clone, Copy)]
enum Which {
    Undo,
    Redo,
}

impl Which {
    fn other(self) -> Self {
        match self {
            Self::Undo => Self::Redo,
            Self::Redo => Self::Undo,
        }
    }
}

impl Step {
    /// Of an intent that is about to be shown.
    pub(crate) fn before(view: &View, operation: &Operation) -> Unfinished {
        let (collection, key) = (&operation.collection, &operation.key);
        let value = view.value(collection, key).cloned();
        Unfinished {
            operation: operation.clone(),
            over: view.standing(collection, key),
            before: value.map(|value| Before {
                value,
                place: view.place(collection, key),
            }),
        }
    }

    /// UNDO-4.
    fn opposite(&self) -> Action {
        match (&self.operation.action, &self.before) {
            (Action::Count(amount), _) => Action::Count(-amount),
            (_, None) => Action::Remove,
            (_, Some(Before { value, place })) => match place.clone() {
                Some((list, after)) => Action::Place {
                    value: value.clone(),
                    list,
                    after,
                },
                None => Action::Put(value.clone()),
            },
        }
    }
}

/// A step whose intent is not shown yet.
#[derive(Debug)]
pub(crate) struct Unfinished {
    operation: Operation,
    over: Standing,
    before: Option<Before>,
}

impl Unfinished {
    pub(crate) fn finish(self, id: IntentId, view: &View) -> Step {
        let after = view.standing(&self.operation.collection, &self.operation.key);
        Step {
            id,
            operation: self.operation,
            after,
            over: self.over,
            before: self.before,
        }
    }
}

impl Core {
    /// Publishes the opposite of what the app published last and has not undone yet (UNDO-2).
    pub fn undo(&mut self, now: UnixMillis) -> Result<(IntentId, Vec<Output>), NotUndone> {
        self.step_back(now, Which::Undo)
    }

    /// Publishes the opposite of the last [`Core::undo`] (UNDO-2).
    pub fn redo(&mut self, now: UnixMillis) -> Result<(IntentId, Vec<Output>), NotUndone> {
        self.step_back(now, Which::Redo)
    }

    /// How many steps can be undone, and how many done again.
    pub fn steps(&self) -> (usize, usize) {
        (self.steps.undo.0.len(), self.steps.redo.0.len())
    }

    fn step_back(
        &mut self,
        now: UnixMillis,
        which: Which,
    ) -> Result<(IntentId, Vec<Output>), NotUndone> {
        let step = self.steps.stack(which).0.pop_back();
        let step = step.ok_or(NotUndone::Nothing)?;
        let (event_type, data) = self.say_opposite(&step)?;
        match self.add(now, event_type, data) {
            Ok((id, done)) => {
                let outputs = self.finish(now);
                if let Some(done) = done.map(|it| it.finish(id, &self.view)) {
                    self.steps.stack(which).restored(&step, done.after);
                    self.steps.stack(which.other()).push(done);
                }
                Ok((id, outputs))
            }
            // It can be undone when there is room again.
            Err(rejected) => {
                self.steps.stack(which).push(step);
                Err(rejected.into())
            }
        }
    }

    fn say_opposite(&self, step: &Step) -> Result<(EventType, Value), NotUndone> {
        let Operation {
            collection, key, ..
        } = &step.operation;
        let definition = self.view.definition(collection);
        let is_counter = definition.is_some_and(|it| it.kind == Kind::Counter);
        if !is_counter && self.view.standing(collection, key) != step.after {
            return Err(NotUndone::ChangedSince {
                collection: collection.clone(),
                key: key.clone(),
            });
        }
        let opposite = Operation {
            collection: collection.clone(),
            key: key.clone(),
            action: step.opposite(),
        };
        let schema = self.view.schema();
        let schema = schema.ok_or_else(|| CannotSay::NoCollection(collection.clone()))?;
        Ok(schema.compose(&opposite)?)
    }
}
