//! A store in its steady state: events come, the compactor lets old ones go, and the files stay as long as they are.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use syncline_broker::compactor::{self, Compactor, History, Limits, Progress, States, Written};
use syncline_broker::store::{
    Append, EventStore, ReadLimit, Record, RedbOptions, RedbStore, StoreError, StreamHead,
};
use syncline_protocol::ids::IdError;
use syncline_protocol::{Clock, DeviceId, Epoch, Event, Schema, Seq, StreamId, UnixMillis, Value};
use syncline_tests::dice::Dice;
use syncline_tests::wait;

/// The published target.
const RATIO_MAX: f64 = 2.0;

const EPOCH: Epoch = Epoch::new(7);
const SCHEMA: &str = include_str!("../../../../config/schemas/music.toml");

#[derive(Args)]
pub(crate) struct Options {
    /// Megabytes of state and kept history
    #[arg(long, default_value_t = 100)]
    megabytes: u64,
    /// How often that goes through the store
    #[arg(long, default_value_t = 4)]
    turns: u64,
    /// Streams that are written to in turns
    #[arg(long, default_value_t = 50)]
    streams: u64,
    /// The bytes of a value
    #[arg(long, default_value_t = 1_000)]
    value_bytes: u64,
    /// Events that one commit brings
    #[arg(long, default_value_t = 200)]
    batch: u64,
}

/// What an event has beside its value, about.
const EVENT_BYTES: u64 = 250;

impl Options {
    /// How many make the bytes asked for.
    fn events(&self) -> u64 {
        self.megabytes * 1_000_000 / (self.value_bytes + EVENT_BYTES)
    }
}

struct Churn {
    store: Arc<dyn EventStore>,
    compactor: Compactor,
    written: Written,
    streams: Vec<StreamId>,
    keys: u64,
    value_bytes: u64,
    batch: u64,
    dice: Dice,
    now: u64,
}

pub(crate) fn run(options: &Options) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let store = RedbStore::open(folder.path(), &RedbOptions::default())
        .map_err(|error| error.to_string())?;
    let mut churn = Churn::new(options, Arc::new(store))?;
    // Half of it is state, half is history.
    let events = options.events();
    println!(
        "{} streams, values of {} bytes; {} events make {} MB",
        options.streams, options.value_bytes, events, options.megabytes
    );
    let mut worst: f64 = 0.0;
    for turn in 1..=2 * options.turns {
        churn.turn(events / 2)?;
        let (logical, lengths) = (churn.logical()?, files(folder.path())?);
        let files: u64 = lengths.values().sum();
        let ratio = files as f64 / logical as f64;
        println!(
            "  {:>4} MB written: state and history {:>4} MB, files {:>4} MB, ratio {ratio:.2} ({})",
            turn * options.megabytes / 2,
            logical / 1_000_000,
            files / 1_000_000,
            told(&lengths)
        );
        // The first turns fill it.
        if turn > 2 {
            worst = worst.max(ratio);
        }
    }
    let verdict = if worst <= RATIO_MAX { "met" } else { "missed" };
    println!("highest ratio {worst:.2}, target at most {RATIO_MAX}: {verdict}");
    Ok(())
}

impl Churn {
    fn new(options: &Options, store: Arc<dyn EventStore>) -> Result<Self, String> {
        let schema = Arc::new(Schema::parse(SCHEMA).map_err(|error| error.to_string())?);
        let written = Written::default();
        let per_stream = options.events() / 2 / options.streams;
        let states = States::new(Arc::clone(&store), schema, 64 << 20);
        let raises = Arc::clone(&store);
        let compactor = Compactor::new(
            keeping(per_stream),
            Arc::clone(&store),
            Arc::new(states),
            written.clone(),
            Box::new(move |stream, to, done| done(raise(&*raises, &stream, to))),
            Box::new(|error| panic!("{error}")),
        );
        let stream = |n: u64| {
            format!("group-{n}")
                .parse()
                .map_err(|error: IdError| error.to_string())
        };
        let streams: Result<Vec<_>, String> = (0..options.streams).map(stream).collect();
        let streams = streams?.into_iter().map(|sync_id| StreamId {
            sync_id,
            channel: None,
        });
        Ok(Self {
            store,
            compactor,
            written,
            streams: streams.collect(),
            keys: per_stream,
            value_bytes: options.value_bytes,
            batch: options.batch,
            dice: Dice::new(3),
            now: 1_000_000,
        })
    }

    /// So many events, with the compactor after each batch.
    fn turn(&mut self, events: u64) -> Result<(), String> {
        for _ in 0..events / self.batch {
            let stream = self.streams[self.dice.below(self.streams.len() as u64) as usize].clone();
            self.append(&stream).map_err(|error| error.to_string())?;
            self.now += 1_000;
            self.work();
        }
        // What the tables did not have yet.
        wait::until("the compactor to come to rest", || {
            self.now += 1;
            (self.work() == Progress::Idle).then_some(())
        });
        Ok(())
    }

    /// Until it has to wait or has nothing to do.
    fn work(&mut self) -> Progress {
        loop {
            let progress = self.compactor.step(UnixMillis::new(self.now));
            if progress != Progress::Worked {
                return progress;
            }
        }
    }

    fn append(&mut self, stream: &StreamId) -> Result<(), StoreError> {
        let head = self.store.head(stream)?;
        let mut seq = head.seq;
        let records = (0..self.batch).map(|_| {
            let base_seq = seq;
            seq = seq.next();
            let event = self.event(stream, seq, base_seq);
            Record { event, hash: None }
        });
        let records = records.collect();
        let batch = Append::events(stream.clone(), head.seq, EPOCH, records);
        for kept in self.store.append(vec![batch])? {
            let kept = kept.map_err(|_| StoreError::BadAppend("another head"))?;
            self.written.note(&kept.committed);
        }
        Ok(())
    }

    /// A note on a random album.
    fn event(&mut self, stream: &StreamId, seq: Seq, base_seq: Seq) -> Event {
        let album = format!("album-{:06}", self.dice.below(self.keys));
        let text: String = (0..self.value_bytes)
            .map(|_| char::from(b'a' + self.dice.below(26) as u8))
            .collect();
        let data = [
            ("album_id".to_owned(), Value::text(album)),
            ("text".to_owned(), Value::text(text)),
        ];
        Event {
            stream: stream.clone(),
            epoch: EPOCH,
            seq,
            accepted_at: UnixMillis::new(self.now),
            event_type: "write_note".parse().expect("a type"),
            event_data: Value::Map(data.into()),
            device: DeviceId::from_bytes([1; 16]),
            device_seq: None,
            clock: Clock::at(UnixMillis::new(self.now)),
            base_seq,
            extra: Default::default(),
        }
    }

    /// The bytes of all entries and of all kept events.
    fn logical(&self) -> Result<u64, String> {
        let mut bytes = 0;
        for stream in &self.streams {
            let mut each = |it: syncline_broker::store::StoredEntry| {
                bytes += (it.collection.len() + it.key.len() + it.entry.len()) as u64;
            };
            let base = self
                .store
                .entries(stream, &mut each)
                .map_err(|error| error.to_string())?;
            let all = ReadLimit {
                events: usize::MAX,
                bytes: usize::MAX,
            };
            let kept = self
                .store
                .read(stream, base.seq, all)
                .map_err(|error| error.to_string())?;
            bytes += kept.iter().map(|it| it.payload().len() as u64).sum::<u64>();
        }
        Ok(bytes)
    }
}

fn keeping(max_events: u64) -> compactor::Options {
    compactor::Options {
        history: History {
            limits: Limits {
                max_age_ms: 1 << 40,
                max_events,
                max_bytes: 1 << 40,
                min_age_ms: 1,
            },
            channels: Default::default(),
        },
        tombstone_retention_ms: 1 << 40,
        device_retention_ms: 1 << 40,
        interval_ms: 1,
        round_ms: 1 << 30,
    }
}

fn raise(store: &dyn EventStore, stream: &StreamId, to: Seq) -> Result<StreamHead, String> {
    let head = store.head(stream).map_err(|error| error.to_string())?;
    let raise = Append::raise(stream.clone(), head.seq, head.epoch, to);
    store
        .append(vec![raise])
        .map_err(|error| error.to_string())?;
    store.head(stream).map_err(|error| error.to_string())
}

/// Names and lengths.
fn files(folder: &Path) -> Result<BTreeMap<String, u64>, String> {
    let mut lengths = BTreeMap::new();
    for file in fs::read_dir(folder).map_err(|error| error.to_string())? {
        let file = file.map_err(|error| error.to_string())?;
        let length = file.metadata().map_err(|error| error.to_string())?.len();
        lengths.insert(file.file_name().to_string_lossy().into_owned(), length);
    }
    Ok(lengths)
}

fn told(lengths: &BTreeMap<String, u64>) -> String {
    let large = lengths.iter().filter(|(_, length)| **length > 0);
    let told = large.map(|(name, length)| format!("{name} {:.1}", *length as f64 / 1e6));
    told.collect::<Vec<_>>().join(", ")
}
