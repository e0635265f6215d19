//! The state of a stream as of a place.

use std::io::Write;
use std::sync::Arc;

use clap::Args;
use serde::{Deserialize, Serialize};
use syncline_protocol::{Entry, StreamId};

use super::{HistoryError, Moment, StreamName};
use crate::compactor::{EncodedSnapshot, States};
use crate::store::EventStore;

/// Which state.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateRequest {
    /// The stream: <sync_id> or <sync_id>/<channel>.
    #[arg(long, value_name = "STREAM")]
    pub stream: StreamName,
    /// As of this seq or time (2026-11-22T18:30:00Z); the head without it.
    #[arg(long, value_name = "SEQ|TIME")]
    pub at: Option<Moment>,
    /// The `state` message as JSON, as `$json/$at/…/state` delivers it.
    #[arg(long)]
    pub json: bool,
}

/// Reads the state of a stream as of a seq or a time that is still kept: from the horizon to the head.
pub fn state_at(
    store: &dyn EventStore,
    states: &States,
    stream: &StreamId,
    at: Option<Moment>,
) -> Result<Arc<EncodedSnapshot>, HistoryError> {
    let head = store.head(stream)?;
    if head.is_empty() {
        let name = StreamName(stream.clone());
        return Err(HistoryError::Request(format!("{name} has no events")));
    }
    let seq = match at {
        None => head.seq,
        Some(moment) => moment.seq(store, stream, &head)?,
    };
    Ok(states.at(stream, seq)?)
}

/// Writes it: one line per live entry, or the message.
pub(super) fn state(
    store: &dyn EventStore,
    states: &States,
    request: &StateRequest,
    out: &mut dyn Write,
) -> Result<(), HistoryError> {
    let StreamName(stream) = &request.stream;
    let state = state_at(store, states, stream, request.at)?;
    let state = state.snapshot();
    if request.json {
        writeln!(out, "{}", state.to_json())?;
        return Ok(());
    }
    let (seq, epoch, digest) = (state.seq, state.epoch, state.digest);
    writeln!(
        out,
        "# {} at {seq}, epoch {epoch}, digest {digest}",
        request.stream
    )?;
    for (collection, entries) in &state.collections {
        for (key, entry) in entries.iter().filter(|(_, entry)| entry.is_live()) {
            writeln!(out, "{}", line(collection, key, entry))?;
        }
    }
    Ok(())
}

/// `<collection> <key> <value>`; in a list its name and the position; `|` and the other values of an open conflict.
fn line(collection: &str, key: &str, entry: &Entry) -> String {
    let json = |value: Option<&syncline_protocol::Value>| {
        value.map_or_else(|| "removed".to_owned(), syncline_protocol::Value::to_json)
    };
    let mut line = format!("{collection} {key} {}", json(entry.value()));
    if let Some(place) = &entry.shown.place {
        let list = place.list.as_deref().unwrap_or_default();
        line = format!("{line} @ {list}{}", place.position);
    }
    for open in &entry.conflicts {
        line = format!("{line} | {}", json(open.value()));
    }
    line
}
