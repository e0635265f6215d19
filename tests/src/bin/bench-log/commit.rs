//! Commits of one to many waiting publishers: the store, a plain file with the same bytes, and a table keyed by stream and seq.

use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use redb::{Database, TableDefinition};
use syncline_broker::store::{Append, EventStore, Record, RedbOptions, RedbStore};
use syncline_protocol::event::Event;
use syncline_protocol::{
    Clock, DeviceId, DeviceSeq, Epoch, Intent, Seq, StreamId, UnixMillis, Value,
};
use tempfile::TempDir;

use crate::figures::{median, percentile};

/// Publishers that wait for one commit.
const WAITING: [u64; 4] = [1, 16, 256, 2_048];
/// Streams that they publish in.
const STREAMS: u64 = 64;
/// Events per round, and commits at least.
const EVENTS: u64 = 16_384;
const COMMITS_MIN: u64 = 64;
const COMMITS_MAX: u64 = 1_024;

const NAIVE: TableDefinition<'_, (&str, u64), &[u8]> = TableDefinition::new("events");

/// One contender's rounds at one number of waiting publishers.
#[derive(Default)]
struct Rounds {
    events_per_s: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
}

impl Rounds {
    fn add(&mut self, events: u64, taken: &[Duration]) {
        let total: Duration = taken.iter().sum();
        self.events_per_s.push(events as f64 / total.as_secs_f64());
        self.p50.push(percentile(taken, 50) as f64);
        self.p99.push(percentile(taken, 99) as f64);
    }
}

pub(crate) fn run(rounds: usize) -> Result<(), Box<dyn Error>> {
    println!("commits, medians of {rounds} rounds that take turns, {STREAMS} streams:");
    println!(
        "  waiting  what              events/s    p50 us    p99 us   of the plain file's rate"
    );
    for waiting in WAITING {
        let mut contenders = [Rounds::default(), Rounds::default(), Rounds::default()];
        for _ in 0..rounds {
            let folder = TempDir::with_prefix("syncline-bench-")?;
            measure(folder.path(), waiting, &mut contenders)?;
        }
        let [store, plain, naive] = contenders;
        let base = median(plain.events_per_s.clone());
        for (name, rounds) in [
            ("store", store),
            ("append+fdatasync", plain),
            ("(stream, seq) redb", naive),
        ] {
            let rate = median(rounds.events_per_s);
            println!(
                "  {waiting:>7}  {name:<18}{rate:>8.0}  {:>8.0}  {:>8.0}   {:.2}",
                median(rounds.p50),
                median(rounds.p99),
                rate / base
            );
        }
    }
    Ok(())
}

fn measure(
    folder: &Path,
    waiting: u64,
    [store, plain, naive]: &mut [Rounds; 3],
) -> Result<(), Box<dyn Error>> {
    let commits = (EVENTS / waiting).clamp(COMMITS_MIN, COMMITS_MAX);
    let batches = batches(waiting, commits);
    let events = waiting * commits;
    store.add(events, &store_commits(folder, &batches)?);
    plain.add(events, &plain_commits(folder, &batches)?);
    naive.add(events, &naive_commits(folder, &batches)?);
    Ok(())
}

/// Per commit, per stream.
type Batches = Vec<Vec<Append>>;

fn batches(waiting: u64, commits: u64) -> Batches {
    let streams = STREAMS.min(waiting);
    let mut heads = vec![0_u64; STREAMS as usize];
    let mut device_seq = 0;
    let commit = |commit: u64| {
        let mut appends = Vec::new();
        for stream in 0..streams {
            // One waiting publisher is in another stream every time.
            let stream = (stream + commit) % STREAMS;
            let head = &mut heads[stream as usize];
            let expected_head = seq(*head);
            let mut records = Vec::new();
            for _ in 0..waiting / streams {
                *head += 1;
                device_seq += 1;
                records.push(record(stream, *head, device_seq));
            }
            appends.push(Append {
                stream: stream_id(stream),
                expected_head,
                epoch: Epoch::new(1),
                begins: false,
                horizon: None,
                records,
            });
        }
        appends
    };
    (0..commits).map(commit).collect()
}

pub(crate) fn seq(number: u64) -> Seq {
    Seq::new(number).unwrap_or(Seq::ZERO)
}

pub(crate) fn stream_id(number: u64) -> StreamId {
    let name = format!("group-{number:06}");
    StreamId {
        sync_id: name.parse().expect("a name of allowed characters"),
        channel: None,
    }
}

/// A star of a device per stream.
pub(crate) fn record(stream: u64, number: u64, device_seq: u64) -> Record {
    let device = DeviceId::from_bytes((u128::from(stream) + 1).to_be_bytes());
    let album = Value::text(format!("album-{:05}", device_seq % 10_000));
    let data = Value::Map([("album_id".to_owned(), album)].into());
    let mut intent = Intent::new("star_album".parse().expect("a type"), data);
    intent.device = Some(device);
    intent.device_seq = DeviceSeq::new(device_seq);
    let hash = intent.hash(device);
    let event = Event {
        stream: stream_id(stream),
        epoch: Epoch::new(1),
        seq: seq(number),
        accepted_at: UnixMillis::new(1_700_000_000_000 + device_seq),
        event_type: intent.event_type,
        event_data: intent.event_data,
        device,
        device_seq: intent.device_seq,
        clock: Clock::at(UnixMillis::new(1_700_000_000_000 + device_seq)),
        base_seq: seq(number - 1),
        extra: intent.extra,
    };
    Record {
        event,
        hash: Some(hash),
    }
}

fn store_commits(folder: &Path, batches: &Batches) -> Result<Vec<Duration>, Box<dyn Error>> {
    let folder = folder.join("store");
    std::fs::create_dir(&folder)?;
    let store = RedbStore::open(&folder, &RedbOptions::default())?;
    let mut taken = Vec::with_capacity(batches.len());
    for batch in batches {
        let batch = batch.clone();
        let begin = Instant::now();
        let kept = store.append(batch)?;
        taken.push(begin.elapsed());
        if kept.iter().any(Result::is_err) {
            return Err("a batch was not kept".into());
        }
    }
    Ok(taken)
}

fn plain_commits(folder: &Path, batches: &Batches) -> Result<Vec<Duration>, Box<dyn Error>> {
    let mut file = File::create(folder.join("plain"))?;
    let mut taken = Vec::with_capacity(batches.len());
    for batch in batches {
        let begin = Instant::now();
        let records = batch.iter().flat_map(|append| &append.records);
        let bytes: Vec<u8> = records.flat_map(|record| record.event.encode()).collect();
        file.write_all(&bytes)?;
        file.sync_data()?;
        taken.push(begin.elapsed());
    }
    Ok(taken)
}

fn naive_commits(folder: &Path, batches: &Batches) -> Result<Vec<Duration>, Box<dyn Error>> {
    let database = Database::create(folder.join("naive.redb"))?;
    let mut taken = Vec::with_capacity(batches.len());
    for batch in batches {
        let begin = Instant::now();
        let transaction = database.begin_write()?;
        {
            let mut table = transaction.open_table(NAIVE)?;
            for record in batch.iter().flat_map(|append| &append.records) {
                let stream = record.event.stream.to_string();
                let key = (stream.as_str(), record.event.seq.get());
                table.insert(key, record.event.encode().as_slice())?;
            }
        }
        transaction.commit()?;
        taken.push(begin.elapsed());
    }
    Ok(taken)
}
