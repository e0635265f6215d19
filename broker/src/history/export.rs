//! Streams as a file of lines: docs/export-format.md.

use std::io::{self, Write};

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};
use syncline_protocol::event::Event;
use syncline_protocol::state::Entry;
use syncline_protocol::{DeviceId, DeviceSeq, Schema, Seq, StreamId, SyncId, UnixMillis};

use super::{HistoryError, READ, StreamName, each_stream};
use crate::store::{Committed, EventStore, Mark, Stop, StoreError, StoredEntry, StreamHead};

/// How often a stream is read again because it was written while it was read.
const ATTEMPTS_MAX: usize = 1_000;

/// The version of the format.
pub(super) const VERSION: u64 = 1;

/// What to write.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExportRequest {
    /// Only this stream: <sync_id> or <sync_id>/<channel>. Everything without it.
    #[arg(long, value_name = "STREAM", conflicts_with = "sync_id")]
    pub stream: Option<StreamName>,
    /// Only this sync group, with all its channels.
    #[arg(long = "sync", value_name = "SYNC_ID")]
    pub sync_id: Option<String>,
}

/// Writes the lines.
pub(super) fn export(
    store: &dyn EventStore,
    schema: &Schema,
    now: UnixMillis,
    request: &ExportRequest,
    stop: &Stop,
    out: &mut dyn Write,
) -> Result<(), HistoryError> {
    let mut lines = Lines::new(out);
    lines.line(&json!({
        "syncline_export": VERSION,
        "exported_at": now.get(),
        "schema": text_to_json(&schema.document())["schema"],
        "schema_hash": schema.hash().to_string(),
        "adopted": adopted(schema),
    }))?;
    let group = request.sync_id.as_deref().map(group).transpose()?;
    let mut streams = 0_u64;
    match &request.stream {
        Some(StreamName(stream)) => {
            streams += 1;
            stream_lines(store, stream, &mut lines)?;
        }
        None => each_stream(store, stop, |stream, _| {
            if group.as_ref().is_none_or(|group| *group == stream.sync_id) {
                streams += 1;
                stream_lines(store, stream, &mut lines)?;
            }
            Ok(())
        })?,
    }
    lines.end(streams)
}

/// Since when each collection is (STATE-12).
fn adopted(schema: &Schema) -> Json {
    let names = schema.collections().keys();
    names
        .map(|name| (name.clone(), Json::from(schema.adopted(name).get())))
        .collect()
}

fn group(text: &str) -> Result<SyncId, HistoryError> {
    let named = |error: syncline_protocol::ids::IdError| {
        HistoryError::Request(format!("--sync {text:?}: {error}"))
    };
    text.parse().map_err(named)
}

fn stream_lines(
    store: &dyn EventStore,
    stream: &StreamId,
    lines: &mut Lines<'_>,
) -> Result<(), HistoryError> {
    let mut entries = Vec::new();
    let base = store.entries(stream, &mut |entry| entries.push(entry))?;
    let (head, marks) = head_and_marks(store, stream)?;
    if head.is_empty() {
        let name = StreamName(stream.clone());
        return Err(HistoryError::Request(format!("{name} has no events")));
    }
    lines.line(&json!({
        "stream": StreamName(stream.clone()),
        "epoch": head.epoch.to_string(),
        "seq": head.seq.get(),
        "horizon": head.horizon.get(),
        "accepted_at": head.accepted_at.get(),
        "timestamp": head.clock.timestamp.get(),
        "counter": head.clock.counter,
        "state_seq": base.seq.get(),
        "removed_floor": base.removed_floor.get(),
    }))?;
    for entry in &entries {
        lines.line(&entry_line(stream, base.seq, entry)?)?;
    }
    marks.iter().try_for_each(|mark| lines.line(mark))?;
    event_lines(store, stream, base.seq, &head, lines)
}

/// Of one moment: a mark that knew of an event beyond the head would tell its device a repeat that is none.
fn head_and_marks(
    store: &dyn EventStore,
    stream: &StreamId,
) -> Result<(StreamHead, Vec<Json>), HistoryError> {
    for _ in 0..ATTEMPTS_MAX {
        let head = store.head(stream)?;
        let mut marks = Vec::new();
        store.marks(stream, &mut |device, mark| {
            marks.push(mark_line(device, &mark));
        })?;
        if store.head(stream)?.seq == head.seq {
            return Ok((head, marks));
        }
    }
    let name = StreamName(stream.clone());
    let reason = format!("{name} is written faster than it can be read; try again");
    Err(HistoryError::Request(reason))
}

fn entry_line(
    stream: &StreamId,
    seq: Seq,
    StoredEntry {
        collection,
        key,
        entry,
    }: &StoredEntry,
) -> Result<Json, HistoryError> {
    let entry = Entry::decode(entry).map_err(|error| HistoryError::damaged(stream, seq, &error))?;
    let entry = text_to_json(&entry.to_json());
    Ok(json!({ "entry": { "collection": collection, "key": key, "entry": entry } }))
}

fn mark_line(device: DeviceId, mark: &Mark) -> Json {
    let recent = mark.recent.iter().map(|recent| {
        let hash = hex(&recent.hash.0);
        json!([recent.device_seq.get(), hash, recent.seq.get()])
    });
    json!({ "mark": {
        "device_uuid": device.to_string(),
        "device_seq": mark.device_seq.map(DeviceSeq::get),
        "base_seq": mark.base_seq.get(),
        "timestamp": mark.clock.timestamp.get(),
        "counter": mark.clock.counter,
        "accepted_at": mark.accepted_at.get(),
        "recent": recent.collect::<Vec<_>>(),
    } })
}

fn event_lines(
    store: &dyn EventStore,
    stream: &StreamId,
    after: Seq,
    head: &StreamHead,
    lines: &mut Lines<'_>,
) -> Result<(), HistoryError> {
    let mut after = after;
    while after < head.seq {
        let events = match store.read(stream, after, READ) {
            Err(StoreError::Folded { .. }) => {
                let name = StreamName(stream.clone());
                let reason = format!("the history of {name} was compacted meanwhile; export again");
                return Err(HistoryError::Request(reason));
            }
            other => other?,
        };
        if events.is_empty() {
            return Err(HistoryError::damaged(stream, after.next(), "it is missing"));
        }
        for event in events.iter().take_while(|event| event.seq() <= head.seq) {
            let read = Event::decode(event.payload())
                .map_err(|error| HistoryError::damaged(stream, event.seq(), &error))?;
            lines.line(&json!({ "event": text_to_json(&read.to_json()) }))?;
        }
        after = events.last().map_or(head.seq, Committed::seq);
    }
    Ok(())
}

/// Our own JSON text as a part of a line. It is always well-formed.
fn text_to_json(text: &str) -> Json {
    serde_json::from_str(text).unwrap_or(Json::Null)
}

/// Counts and hashes what is written.
struct Lines<'a> {
    out: &'a mut dyn Write,
    hash: Sha256,
    count: u64,
}

impl<'a> Lines<'a> {
    fn new(out: &'a mut dyn Write) -> Self {
        Self {
            out,
            hash: Sha256::new(),
            count: 0,
        }
    }

    fn line(&mut self, line: &Json) -> Result<(), HistoryError> {
        let mut text = line.to_string();
        text.push('\n');
        self.hash.update(&text);
        self.count += 1;
        self.out.write_all(text.as_bytes())?;
        Ok(())
    }

    fn end(self, streams: u64) -> Result<(), HistoryError> {
        let sha256 = hex(&self.hash.finalize());
        let end = json!({ "end": { "lines": self.count, "streams": streams, "sha256": sha256 } });
        writeln!(self.out, "{end}").map_err(io::Error::into)
    }
}

/// Lowercase hex digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
