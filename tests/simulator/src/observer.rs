//! A plain MQTT client that watches: it publishes nothing, and checks everything.

use std::collections::BTreeMap;
use std::sync::Arc;

use syncline_protocol::snapshot::Assembler;
use syncline_protocol::{Event, Schema, Seq, Snapshot, State, StreamId};

use crate::link::LinkId;
use crate::session::Session;

/// A state that is asked for (VIEW-7), and what the disk had then.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish {
    pub(crate) seq: Seq,
    pub(crate) horizon: Seq,
    pub(crate) head: Seq,
    /// The true time.
    pub(crate) at: u64,
    pub(crate) json: bool,
}

/// Which view it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    /// `$since/<seq>` of one stream, resumed from where it was.
    Since { json: bool },
    /// `$since/0` of everything.
    Everything,
    /// The events of a group, live, without a view.
    Live,
    /// The states of everything.
    States,
    /// The events of one stream or of everything from their beginning, in a session that is kept.
    Kept { wild: bool },
    /// The state of one stream as of some seq, again and again.
    At,
}

/// See the module.
pub(crate) struct Observer {
    pub(crate) view: View,
    pub(crate) stream: StreamId,
    pub(crate) link: Option<LinkId>,
    pub(crate) receive_maximum: u16,
    /// What it has put together, per stream.
    pub(crate) states: BTreeMap<StreamId, State>,
    /// The last state that it was shown, per stream.
    pub(crate) shown: BTreeMap<StreamId, Snapshot>,
    /// The history that it knows is gone: its next connection begins with nothing.
    pub(crate) begins_anew: bool,
    /// Parts of states that are not whole yet.
    assembling: BTreeMap<StreamId, Assembler>,
    /// Acknowledged everywhere when it subscribed (G8).
    pub(crate) owed: BTreeMap<StreamId, Seq>,
    pub(crate) session: Session,
    /// What it waits for (VIEW-7).
    pub(crate) wish: Option<Wish>,
    schema: Arc<Schema>,
}

impl Observer {
    pub(crate) fn new(view: View, stream: StreamId, schema: Arc<Schema>) -> Self {
        Self {
            view,
            stream,
            link: None,
            receive_maximum: 8,
            states: BTreeMap::new(),
            shown: BTreeMap::new(),
            begins_anew: false,
            assembling: BTreeMap::new(),
            owed: BTreeMap::new(),
            session: Session::default(),
            wish: None,
            schema,
        }
    }

    /// What it subscribes on a new connection.
    pub(crate) fn filters(&self) -> Vec<String> {
        let group = &self.stream.sync_id;
        match self.view {
            View::Since { json } => {
                let prefix = if json { "$json/" } else { "" };
                let seq = self.states.get(&self.stream).map_or(Seq::ZERO, State::seq);
                let topic = syncline_protocol::Topic::Events(self.stream.clone());
                vec![format!("{prefix}$since/{seq}/{topic}")]
            }
            View::Kept { wild: false } => {
                let seq = self.states.get(&self.stream).map_or(Seq::ZERO, State::seq);
                let topic = syncline_protocol::Topic::Events(self.stream.clone());
                vec![format!("$since/{seq}/{topic}")]
            }
            View::At => {
                let topic = syncline_protocol::Topic::State(self.stream.clone());
                let wish = self.wish.iter();
                wish.map(|it| {
                    let prefix = if it.json { "$json/" } else { "" };
                    format!("{prefix}$at/{}/{topic}", it.seq)
                })
                .collect()
            }
            View::Everything | View::Kept { wild: true } => vec![
                "$since/0/sync/+/events".to_owned(),
                "$since/0/sync/+/+/events".to_owned(),
            ],
            View::Live => vec![
                format!("sync/{group}/events"),
                format!("sync/{group}/+/events"),
            ],
            View::States => vec!["sync/+/state".to_owned(), "sync/+/+/state".to_owned()],
        }
    }

    /// What it forgets when it connects anew.
    pub(crate) fn reset(&mut self) {
        self.shown.clear();
        self.assembling.clear();
        let begins_anew = std::mem::take(&mut self.begins_anew);
        let goes_on = matches!(self.view, View::Since { .. } | View::Kept { wild: false });
        if begins_anew || !goes_on {
            self.states.clear();
        }
    }

    /// What it forgets when its session goes on.
    pub(crate) fn resume(&mut self) {
        self.shown.clear();
        self.assembling.clear();
    }

    /// Takes an event into what it puts together; nothing if it did not see the beginning.
    pub(crate) fn apply(&mut self, event: &Event) -> Result<(), String> {
        if self.view == View::Live {
            return Ok(());
        }
        let schema = &self.schema;
        let state = self.states.entry(event.stream.clone());
        let state = state.or_insert_with(|| State::new(Arc::clone(schema)));
        if matches!(self.view, View::Kept { .. }) && event.seq <= state.seq() {
            // It came on an earlier connection, too.
            return Ok(());
        }
        if state.seq() > Seq::ZERO && state.seq().next() == event.seq {
            // A plain client knows of no epochs; a state comes first where they matter.
            state.begin_epoch(event.epoch);
        }
        let applied = state.apply(event);
        applied
            .map(drop)
            .map_err(|error| format!("G3: {}: {error}", event.stream))
    }

    /// Takes a state.
    pub(crate) fn take(&mut self, snapshot: Snapshot) -> Result<(), String> {
        let assembler = self.assembling.entry(snapshot.stream.clone()).or_default();
        let whole = assembler.push(snapshot);
        let Some(snapshot) = whole.map_err(|error| format!("SNAP-8: {error}"))? else {
            return Ok(());
        };
        if self.view == View::Live {
            return Ok(());
        }
        let schema = &self.schema;
        let state = self.states.entry(snapshot.stream.clone());
        let state = state.or_insert_with(|| State::new(Arc::clone(schema)));
        let taken = state.take(&snapshot);
        taken.map_err(|error| format!("G5: {}: {error}", snapshot.stream))?;
        self.shown.insert(snapshot.stream.clone(), snapshot);
        Ok(())
    }
}
