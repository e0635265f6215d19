//! Reads a file of lines (docs/export-format.md) into a store. The whole file is checked before anything is changed.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};
use syncline_protocol::event::Event;
use syncline_protocol::state::Entry;
use syncline_protocol::{
    Clock, DeviceId, DeviceSeq, Epoch, IntentHash, Schema, Seq, UnixMillis, Value,
};

use super::adoption::{self, Change, changes};
use super::export::{VERSION, hex};
use super::{HistoryError, StreamName};
use crate::store::{Base, EventStore, Mark, Planted, Recent, Record, StoredEntry, StreamHead};

/// What to read.
#[derive(Debug, Clone, Args)]
pub struct ImportRequest {
    /// The file that `syncline export` wrote.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Makes the streams of a file. None of them may exist. `random` gives bits for epochs.
pub fn import(
    store: &dyn EventStore,
    schema: &Schema,
    request: &ImportRequest,
    random: &mut dyn FnMut() -> u64,
    out: &mut dyn Write,
) -> Result<(), HistoryError> {
    let path = &request.file;
    let (file, newest) = survey(path)?;
    check_schema(schema, &file)?;
    let schema = &adopting(store, schema, &file, newest)?;
    let mut names = BTreeSet::new();
    read(path, &mut |_| Ok(()), &mut |planted| {
        check_stream(store, schema, &file, &planted)?;
        let name = StreamName(planted.stream.clone());
        match names.insert(planted.stream) {
            true => Ok(()),
            false => Err(HistoryError::Request(format!(
                "{name} is in the file twice"
            ))),
        }
    })?;
    adoption::Record::of(schema, store)?.write(store)?;
    let mut streams = 0;
    read(path, &mut |_| Ok(()), &mut |mut planted| {
        planted.head.epoch = Epoch::new(random().max(1));
        let (name, seq) = (StreamName(planted.stream.clone()), planted.head.seq);
        if !store.plant(planted)? {
            return Err(HistoryError::Request(format!("{name} exists already")));
        }
        streams += 1;
        writeln!(out, "{name}: {seq} events")?;
        Ok(())
    })?;
    writeln!(out, "{streams} streams imported; each begins a new epoch")?;
    Ok(())
}

/// The first line, and when the newest event of the file was accepted.
fn survey(path: &Path) -> Result<(Header, UnixMillis), HistoryError> {
    let (mut first, mut newest) = (None, UnixMillis::new(0));
    read(
        path,
        &mut |header| {
            first = Some(header.clone());
            Ok(())
        },
        &mut |planted| {
            newest = newest.max(planted.head.accepted_at);
            Ok(())
        },
    )?;
    let none = || HistoryError::Request(format!("{}: it is empty", path.display()));
    Ok((first.ok_or_else(none)?, newest))
}

/// A store without streams takes over since when the file's collections are; others begin after everything in it (STATE-12).
fn adopting(
    store: &dyn EventStore,
    schema: &Schema,
    file: &Header,
    newest: UnixMillis,
) -> Result<Schema, HistoryError> {
    if !store.streams(None, 1)?.is_empty() {
        return Ok(schema.clone());
    }
    let names = schema.collections().keys();
    let adopted = names.map(|name| {
        let at = file.adopted(name).unwrap_or(newest.plus(1));
        (name.clone(), at)
    });
    Ok(schema.clone().with_adopted(adopted.collect()))
}

/// The entries of a collection mean something only under the definition by which they were made.
fn check_schema(schema: &Schema, header: &Header) -> Result<(), HistoryError> {
    let differs = changes(&header.schema, schema)
        .into_iter()
        .find(|(_, change)| *change != Change::Added);
    let Some((name, _)) = differs else {
        return Ok(());
    };
    Err(HistoryError::Request(format!(
        "the file's schema ({}) defines the collection {name:?} otherwise than this one ({}); import with the file's schema, \
         then `syncline migrate`",
        header.schema.hash(),
        schema.hash()
    )))
}

fn check_stream(
    store: &dyn EventStore,
    schema: &Schema,
    file: &Header,
    planted: &Planted,
) -> Result<(), HistoryError> {
    let name = StreamName(planted.stream.clone());
    if !store.head(&planted.stream)?.is_empty() {
        let sync_id = &planted.stream.sync_id;
        return Err(HistoryError::Request(format!(
            "{name} exists already; erase it first (`syncline erase --sync {sync_id}`) or import into another data directory"
        )));
    }
    check_shape(planted).map_err(|reason| HistoryError::Request(format!("{name}: {reason}")))?;
    let events = planted.events.iter().map(|record| &record.event);
    match events
        .filter_map(|event| counts_otherwise(schema, file, event))
        .next()
    {
        None => Ok(()),
        Some(collection) => Err(HistoryError::Request(format!(
            "{name} has events that count in the collection {collection:?} on one side only, because it was added at another \
             time here than there; import into an empty data directory"
        ))),
    }
}

/// The collection of an event that counts here and not there, or there and not here (STATE-12).
fn counts_otherwise(schema: &Schema, file: &Header, event: &Event) -> Option<String> {
    let operation = schema.operation(&event.event_type, &event.event_data);
    let name = operation.ok().flatten()?.collection;
    let there = file
        .adopted(&name)
        .is_some_and(|at| event.accepted_at >= at);
    let here = event.accepted_at >= schema.adopted(&name);
    (there != here).then_some(name)
}

/// State, horizon and head ascend, and the events go from the one to the other.
fn check_shape(planted: &Planted) -> Result<(), String> {
    let (base, horizon, head) = (planted.base.seq, planted.head.horizon, planted.head.seq);
    if base > horizon || horizon > head {
        return Err(format!(
            "state_seq {base}, horizon {horizon} and seq {head} do not ascend"
        ));
    }
    let last = planted.events.last();
    let last = last.map_or(base, |record| record.event.seq);
    match last == head {
        true => Ok(()),
        false => Err(format!("its events end at {last} and not at {head}")),
    }
}

/// The first line.
#[derive(Debug, Clone)]
struct Header {
    /// With the times since when its collections are.
    schema: Schema,
}

impl Header {
    fn adopted(&self, collection: &str) -> Option<UnixMillis> {
        let is_there = self.schema.collections().contains_key(collection);
        is_there.then(|| self.schema.adopted(collection))
    }
}

/// Reads a file from its first line to its last, stream by stream.
fn read(
    path: &Path,
    header: &mut dyn FnMut(&Header) -> Result<(), HistoryError>,
    stream: &mut dyn FnMut(Planted) -> Result<(), HistoryError>,
) -> Result<(), HistoryError> {
    let failed = |error: &dyn std::fmt::Display| {
        HistoryError::Request(format!("{}: {error}", path.display()))
    };
    let file = File::open(path).map_err(|error| failed(&error))?;
    let mut reader = Reader::new(BufReader::new(file));
    let at = |reader: &Reader<_>, error: BadLine| {
        let line = reader.count;
        failed(&format!("line {line}: {error}"))
    };
    let first = reader.line().map_err(|error| at(&reader, error))?;
    header(&read_header(&first).map_err(|error| at(&reader, error))?)?;
    let mut planted: Option<Planted> = None;
    loop {
        let line = reader.line().map_err(|error| at(&reader, error))?;
        let name = line.as_object().and_then(|map| map.keys().next_back());
        if let Some("end") = kind(&line) {
            reader
                .check_end(&line["end"])
                .map_err(|error| at(&reader, error))?;
            return match planted {
                Some(last) => stream(last),
                None => Ok(()),
            };
        }
        if kind(&line) == Some("stream") {
            let begun = read_stream(&line).map_err(|error| at(&reader, error))?;
            reader.streams += 1;
            if let Some(done) = planted.replace(begun) {
                stream(done)?;
            }
            continue;
        }
        let Some(planted) = planted.as_mut() else {
            let error = BadLine(format!("{name:?} before the first stream"));
            return Err(at(&reader, error));
        };
        read_part(&line, planted).map_err(|error| at(&reader, error))?;
    }
}

/// What a line is about.
fn kind(line: &Json) -> Option<&'static str> {
    ["stream", "entry", "mark", "event", "end"]
        .into_iter()
        .find(|name| line.get(name).is_some())
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct BadLine(String);

impl BadLine {
    fn of(error: &dyn std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

struct Reader<R> {
    lines: R,
    hash: Sha256,
    before: String,
    count: u64,
    streams: u64,
}

impl<R: BufRead> Reader<R> {
    fn new(lines: R) -> Self {
        Self {
            lines,
            hash: Sha256::new(),
            before: String::new(),
            count: 0,
            streams: 0,
        }
    }

    fn line(&mut self) -> Result<Json, BadLine> {
        self.hash.update(&self.before);
        self.before.clear();
        self.count += 1;
        if self
            .lines
            .read_line(&mut self.before)
            .map_err(|error| BadLine::of(&error))?
            == 0
        {
            return Err(BadLine(
                "the file ends without its last line; it was cut off".to_owned(),
            ));
        }
        serde_json::from_str(&self.before).map_err(|error| BadLine::of(&error))
    }

    fn check_end(&mut self, end: &Json) -> Result<(), BadLine> {
        let (lines, streams) = (self.count - 1, self.streams);
        let sha256 = hex(&self.hash.clone().finalize());
        if end["sha256"] != sha256 || end["lines"] != lines || end["streams"] != streams {
            let reason = "what comes before this line was changed after it was written (its SHA-256 differs)";
            return Err(BadLine(reason.to_owned()));
        }
        let mut rest = String::new();
        match self
            .lines
            .read_line(&mut rest)
            .map_err(|error| BadLine::of(&error))?
        {
            0 => Ok(()),
            _ => Err(BadLine("something follows the last line".to_owned())),
        }
    }
}

fn read_header(line: &Json) -> Result<Header, BadLine> {
    match line["syncline_export"].as_u64() {
        Some(VERSION) => {}
        Some(other) => {
            let reason =
                format!("version {other} of the format; this program reads version {VERSION}");
            return Err(BadLine(reason));
        }
        None => {
            return Err(BadLine(
                "not a file that `syncline export` wrote".to_owned(),
            ));
        }
    }
    let schema = value(&line["schema"])?;
    let schema = Schema::from_value(schema).map_err(|error| BadLine::of(&error))?;
    let adopted = line["adopted"]
        .as_object()
        .ok_or_else(|| missing("adopted"))?;
    let adopted = adopted.iter().map(|(name, at)| {
        let at = at.as_u64().ok_or_else(|| missing("adopted"))?;
        Ok((name.clone(), UnixMillis::new(at)))
    });
    let adopted = adopted.collect::<Result<_, BadLine>>()?;
    Ok(Header {
        schema: schema.with_adopted(adopted),
    })
}

fn read_stream(line: &Json) -> Result<Planted, BadLine> {
    let StreamName(stream) = text(line, "stream")?
        .parse()
        .map_err(|error| BadLine::of(&error))?;
    let head = StreamHead {
        epoch: text(line, "epoch")?
            .parse()
            .map_err(|error| BadLine::of(&error))?,
        seq: seq(line, "seq")?,
        accepted_at: UnixMillis::new(number(line, "accepted_at")?),
        clock: clock(line)?,
        horizon: seq(line, "horizon")?,
        position: 0,
    };
    let base = Base {
        epoch: head.epoch,
        seq: seq(line, "state_seq")?,
        removed_floor: seq(line, "removed_floor")?,
        moves: Vec::new(),
    };
    Ok(Planted {
        stream,
        head,
        base,
        entries: Vec::new(),
        marks: Vec::new(),
        events: Vec::new(),
    })
}

fn read_part(line: &Json, planted: &mut Planted) -> Result<(), BadLine> {
    match kind(line) {
        Some("entry") => planted.entries.push(read_entry(&line["entry"])?),
        Some("mark") => planted.marks.push(read_mark(&line["mark"])?),
        Some("event") => {
            let text = line["event"].to_string();
            let event = Event::decode(text.as_bytes()).map_err(|error| BadLine::of(&error))?;
            let last = planted.events.last();
            let before = last.map_or(planted.base.seq, |record| record.event.seq);
            if event.seq != before.next()
                || event.stream != planted.stream
                || event.seq > planted.head.seq
            {
                return Err(BadLine(format!(
                    "the event {} does not follow {before}",
                    event.seq
                )));
            }
            planted.events.push(Record { event, hash: None });
        }
        _ => return Err(BadLine("a line that this version does not know".to_owned())),
    }
    Ok(())
}

fn read_entry(entry: &Json) -> Result<StoredEntry, BadLine> {
    let read = Entry::decode(entry["entry"].to_string().as_bytes())
        .map_err(|error| BadLine::of(&error))?;
    Ok(StoredEntry {
        collection: text(entry, "collection")?.to_owned(),
        key: text(entry, "key")?.to_owned(),
        entry: read.encode().into(),
    })
}

fn read_mark(mark: &Json) -> Result<(DeviceId, Mark), BadLine> {
    let device = text(mark, "device_uuid")?
        .parse()
        .map_err(|error| BadLine::of(&error))?;
    let recent = mark["recent"].as_array().ok_or_else(|| missing("recent"))?;
    let mark = Mark {
        device_seq: mark["device_seq"].as_u64().and_then(DeviceSeq::new),
        base_seq: seq(mark, "base_seq")?,
        clock: clock(mark)?,
        accepted_at: UnixMillis::new(number(mark, "accepted_at")?),
        recent: recent.iter().map(read_recent).collect::<Result<_, _>>()?,
    };
    Ok((device, mark))
}

fn read_recent(recent: &Json) -> Result<Recent, BadLine> {
    let bad = || missing("recent");
    let hash = recent[1].as_str().ok_or_else(bad)?;
    let hash = u128::from_str_radix(hash, 16).map_err(|_| bad())?;
    Ok(Recent {
        device_seq: recent[0]
            .as_u64()
            .and_then(DeviceSeq::new)
            .ok_or_else(bad)?,
        hash: IntentHash(hash.to_be_bytes()),
        seq: recent[2].as_u64().and_then(Seq::new).ok_or_else(bad)?,
    })
}

fn clock(line: &Json) -> Result<Clock, BadLine> {
    let counter = number(line, "counter")?;
    Ok(Clock {
        timestamp: UnixMillis::new(number(line, "timestamp")?),
        counter: u32::try_from(counter).map_err(|_| missing("counter"))?,
    })
}

fn missing(name: &str) -> BadLine {
    BadLine(format!("{name:?} is missing or not as it should be"))
}

fn text<'a>(line: &'a Json, name: &str) -> Result<&'a str, BadLine> {
    line[name].as_str().ok_or_else(|| missing(name))
}

fn number(line: &Json, name: &str) -> Result<u64, BadLine> {
    line[name].as_u64().ok_or_else(|| missing(name))
}

fn seq(line: &Json, name: &str) -> Result<Seq, BadLine> {
    Seq::new(number(line, name)?).ok_or_else(|| missing(name))
}

fn value(json: &Json) -> Result<Value, BadLine> {
    Value::from_json(json.to_string().as_bytes()).map_err(|error| BadLine::of(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_whose_places_do_not_fit_is_refused() {
        let at = |seq, horizon, state_seq| {
            let line = serde_json::json!({
                "stream": "home", "epoch": "0000000000000007", "seq": seq, "horizon": horizon,
                "accepted_at": 1, "timestamp": 1, "counter": 0, "state_seq": state_seq, "removed_floor": 0,
            });
            let schema = Schema::parse("").unwrap();
            let file = Header {
                schema: schema.clone(),
            };
            let store = crate::store::memory::MemoryStore::new(8);
            check_stream(&store, &schema, &file, &read_stream(&line).unwrap()).is_ok()
        };
        assert!(at(5, 5, 5));
        assert!(!at(6, 5, 5), "an event is missing");
        assert!(!at(5, 4, 5), "a state above the horizon");
        assert!(!at(5, 6, 5), "a horizon above the head");
    }
}
