//! What single steps of the log cost: applying an event, the digest with it, a delta and a full snapshot, and a commit.
//! `cargo bench -p syncline-tests`. The comparisons with a plain file and the rest are in `cargo xtask bench log`.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use syncline_broker::store::{Append, EventStore, Record, RedbOptions, RedbStore};
use syncline_protocol::{
    Clock, DeviceId, DeviceSeq, Epoch, Event, Intent, Schema, Seq, Snapshot, State, StreamId,
    UnixMillis,
};

const MUSIC: &str = include_str!("../../config/schemas/music.toml");
const ENTRIES: u64 = 10_000;

fn seq(number: u64) -> Seq {
    Seq::new(number).expect("a small number")
}

fn stream() -> StreamId {
    StreamId {
        sync_id: "bench".parse().expect("a name"),
        channel: None,
    }
}

fn event(number: u64, json: &str) -> Event {
    let intent = Intent::decode(json.as_bytes()).expect("an event");
    Event {
        stream: stream(),
        epoch: Epoch::new(7),
        seq: seq(number),
        accepted_at: UnixMillis::new(1_700_000_000_000 + number),
        event_type: intent.event_type,
        event_data: intent.event_data,
        device: DeviceId::from_bytes([1; 16]),
        device_seq: DeviceSeq::new(number),
        clock: Clock::at(UnixMillis::new(1_700_000_000_000 + number)),
        base_seq: seq(number - 1),
        extra: intent.extra,
    }
}

fn star(number: u64, album: u64) -> Event {
    let json =
        format!(r#"{{"event_type":"star_album","event_data":{{"album_id":"album-{album:05}"}}}}"#);
    event(number, &json)
}

fn put(number: u64, item: u64) -> Event {
    let json = format!(
        r#"{{"event_type":"put_in_playlist","event_data":{{"item_id":"i{item:05}","playlist_id":"p","track_id":"t","after":"i{:05}"}}}}"#,
        item / 2
    );
    event(number, &json)
}

fn filled(make: impl Fn(u64, u64) -> Event) -> State {
    let schema = Schema::parse(MUSIC).expect("the shipped schema");
    let mut state = State::new(Arc::new(schema));
    for number in 1..=ENTRIES {
        state.apply(&make(number, number)).expect("the next event");
    }
    state
}

fn applying(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("apply one event to 10,000 entries");
    for (name, make) in [("set", star as fn(u64, u64) -> Event), ("list", put)] {
        let state = filled(make);
        let next = make(ENTRIES + 1, ENTRIES / 2);
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(
                || state.clone(),
                |state| state.apply(black_box(&next)),
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

fn snapshots(criterion: &mut Criterion) {
    let mut state = filled(star);
    for number in 1..=ENTRIES / 100 {
        let next = star(ENTRIES + number, number);
        state.apply(&next).expect("the next event");
    }
    let mut group = criterion.benchmark_group("encode a state of 10,000 entries");
    for (name, since) in [("full", 0), ("delta of 1 %", ENTRIES)] {
        let encode = || Snapshot::of(&state, stream(), seq(since)).encode();
        group.throughput(Throughput::Bytes(encode().len() as u64));
        group.bench_function(name, |bencher| bencher.iter(|| black_box(encode())));
    }
    group.finish();
}

fn commits(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("commit");
    group.sample_size(20);
    for waiting in [1, 16, 256, 2_048] {
        let folder = tempfile::tempdir().expect("a folder");
        let store = RedbStore::open(folder.path(), &RedbOptions::default()).expect("a store");
        let mut head = 0;
        group.throughput(Throughput::Elements(waiting));
        group.bench_function(waiting.to_string(), |bencher| {
            bencher.iter_batched(
                || {
                    let records = (head + 1..=head + waiting).map(|number| {
                        let event = star(number, number % ENTRIES);
                        Record { event, hash: None }
                    });
                    let append =
                        Append::events(stream(), seq(head), Epoch::new(7), records.collect());
                    head += waiting;
                    append
                },
                |append| store.append(vec![append]).expect("room on the disk"),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, applying, snapshots, commits);
criterion_main!(benches);
