//! A store with some history, and what people ask about it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use syncline_protocol::event::Event;
use syncline_protocol::{
    Clock, DeviceId, DeviceSeq, Epoch, Intent, Schema, Seq, StreamId, UnixMillis,
};

use super::export::ExportRequest;
use super::*;
use crate::compactor::States;
use crate::store::{Append, Base, Fold, Folded, Record, RedbOptions, RedbStore, StoredEntry};

const MUSIC: &str = include_str!("../../../config/schemas/music.toml");
/// The first event's, in Unix milliseconds; one second apart.
const BEGIN: u64 = 1_700_000_000_000;

/// An empty store in memory, and what a copy of it is.
pub(crate) fn desk_without_data(backup: BackUp) -> Arc<Desk> {
    let store: Arc<dyn EventStore> = Arc::new(crate::store::memory::MemoryStore::new(8));
    let schema = Arc::new(Schema::parse("").unwrap());
    let states = States::new(Arc::clone(&store), schema, 1 << 20);
    let deeds = Deeds {
        backup,
        erase: Box::new(|_| Ok(crate::store::Erased::default())),
        reload: Box::new(|| Ok("nothing".to_owned())),
        now: Box::new(|| UnixMillis::new(1)),
    };
    Arc::new(Desk::new(store, Arc::new(states), deeds))
}

pub(super) fn stream(name: &str) -> StreamId {
    name.parse::<StreamName>().unwrap().0
}

fn seq(number: u64) -> Seq {
    Seq::new(number).unwrap()
}

fn event(stream: &StreamId, number: u64, json: &str) -> Event {
    let intent = Intent::decode(json.as_bytes()).unwrap();
    Event {
        stream: stream.clone(),
        epoch: Epoch::new(7),
        seq: seq(number),
        accepted_at: UnixMillis::new(BEGIN + 1_000 * number),
        event_type: intent.event_type,
        event_data: intent.event_data,
        device: DeviceId::from_bytes([u8::try_from(number % 2).unwrap() + 1; 16]),
        device_seq: DeviceSeq::new(number),
        clock: Clock::at(UnixMillis::new(BEGIN + 1_000 * number)),
        base_seq: seq(number - 1),
        extra: intent.extra,
    }
}

pub(super) struct Fixture {
    pub(super) store: Arc<RedbStore>,
    folder: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(RedbStore::open(folder.path(), &RedbOptions::default()).unwrap());
        Self { store, folder }
    }

    /// Stars, plays, a rating and a note, in two streams.
    pub(super) fn with_history() -> Self {
        let fixture = Self::new();
        fixture.fill();
        fixture
    }

    fn fill(&self) {
        let home = [
            r#"{"event_type":"star_album","event_data":{"album_id":"a"}}"#,
            r#"{"event_type":"play_track","event_data":{"track_id":"t"}}"#,
            r#"{"event_type":"unstar_album","event_data":{"album_id":"a"}}"#,
            r#"{"event_type":"star_album","event_data":{"album_id":"b"}}"#,
            r#"{"event_type":"write_note","event_data":{"album_id":"b","text":"loud"}}"#,
        ];
        self.append(&stream("home"), &home);
        let room = [r#"{"event_type":"rate_track","event_data":{"track_id":"t","rating":4}}"#];
        self.append(&stream("home/room"), &room);
    }

    fn append(&self, stream: &StreamId, events: &[&str]) {
        let head = self.store.head(stream).unwrap();
        let records = events
            .iter()
            .zip(head.seq.get() + 1..)
            .map(|(json, number)| {
                let event = event(stream, number, json);
                let hash = Intent::decode(json.as_bytes()).unwrap().hash(event.device);
                let hash = Some(hash);
                Record { event, hash }
            });
        let append = Append {
            stream: stream.clone(),
            expected_head: head.seq,
            epoch: Epoch::new(7),
            begins: false,
            horizon: None,
            records: records.collect(),
        };
        self.store.append(vec![append]).unwrap().remove(0).unwrap();
    }

    /// Folds the first events away.
    fn fold(&self, stream: &StreamId, to: u64) {
        let schema = Arc::new(Schema::parse(MUSIC).unwrap());
        let head = self.store.head(stream).unwrap();
        let append = Append::raise(stream.clone(), head.seq, head.epoch, seq(to));
        self.store.append(vec![append]).unwrap().remove(0).unwrap();
        let state = self.states(&schema).at(stream, seq(to)).unwrap();
        let mut puts = Vec::new();
        for (collection, entries) in &state.snapshot().collections {
            puts.extend(entries.iter().map(|(key, entry)| StoredEntry {
                collection: collection.clone(),
                key: key.clone(),
                entry: entry.encode().into(),
            }));
        }
        let fold = Fold {
            stream: stream.clone(),
            from: Seq::ZERO,
            base: Base {
                epoch: head.epoch,
                seq: seq(to),
                removed_floor: Seq::ZERO,
                moves: Vec::new(),
            },
            puts,
            removes: Vec::new(),
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.store.fold(fold.clone()).unwrap() != Folded::Done {
            assert!(Instant::now() < deadline, "the tables do not catch up");
        }
    }

    fn store(&self) -> Arc<dyn EventStore> {
        Arc::<RedbStore>::clone(&self.store)
    }

    fn states(&self, schema: &Arc<Schema>) -> Arc<States> {
        Arc::new(States::new(self.store(), Arc::clone(schema), 1 << 20))
    }

    fn desk(&self) -> Desk {
        let schema = Arc::new(Schema::parse(MUSIC).unwrap());
        let (backed_up, erased) = (Arc::clone(&self.store), Arc::clone(&self.store));
        let deeds = Deeds {
            backup: Box::new(move |file, stop| {
                let backed_up = backed_up.backup(file, stop);
                backed_up.map_err(|error| error.to_string())
            }),
            erase: Box::new(move |id| erased.erase(id).map_err(|error| error.to_string())),
            reload: Box::new(|| Ok("nothing".to_owned())),
            now: Box::new(|| UnixMillis::new(BEGIN)),
        };
        Desk::new(self.store(), self.states(&schema), deeds)
    }

    fn ask(&self, request: &Request) -> Result<String, String> {
        let mut out = Vec::new();
        let answered = self.desk().answer(request, &Stop::default(), &mut out);
        let text = String::from_utf8(out).unwrap();
        answered.map(|()| text).map_err(|error| error.to_string())
    }
}

fn log(change: impl FnOnce(&mut LogRequest)) -> Request {
    let mut request = LogRequest::default();
    change(&mut request);
    Request::Log(request)
}

fn state(name: &str, at: Option<&str>) -> Request {
    Request::State(StateRequest {
        stream: name.parse().unwrap(),
        at: at.map(|at| at.parse().unwrap()),
        json: false,
    })
}

#[test]
fn the_log_lists_what_matches() {
    let fixture = Fixture::with_history();
    let lines = |request: &Request| fixture.ask(request).unwrap().lines().count();
    assert_eq!(lines(&log(|_| {})), 6);
    let home = |it: &mut LogRequest| it.stream = "home".parse().ok();
    assert_eq!(lines(&log(home)), 5);
    assert_eq!(
        lines(&log(|it| it.event_type = vec!["star_album".to_owned()])),
        2
    );
    assert_eq!(lines(&log(|it| it.limit = Some(3))), 3);
    let since = |it: &mut LogRequest| {
        home(it);
        it.since = "2".parse().ok();
        it.until = "2023-11-14T22:13:24Z".parse().ok();
    };
    let listed = fixture.ask(&log(since)).unwrap();
    assert_eq!(listed.lines().count(), 2, "{listed}");
    assert!(
        listed.starts_with("home 3 2023-11-14T22:13:23.000Z 0202"),
        "{listed}"
    );
    let device = DeviceId::from_bytes([1; 16]).to_string();
    assert_eq!(lines(&log(|it| it.device = Some(device))), 2);
    let json = fixture.ask(&log(|it| it.json = true)).unwrap();
    assert!(
        json.lines()
            .all(|line| Event::decode(line.as_bytes()).is_ok()),
        "{json}"
    );
    let error = fixture
        .ask(&log(|it| it.device = Some("me".to_owned())))
        .unwrap_err();
    assert!(error.contains("\"me\""), "{error}");
}

#[test]
fn a_state_is_read_as_of_a_seq_or_a_time() {
    let fixture = Fixture::with_history();
    let now = fixture.ask(&state("home", None)).unwrap();
    assert!(
        now.starts_with("# home at 5, epoch 0000000000000007"),
        "{now}"
    );
    assert!(
        now.contains("albums b true\n") && now.contains("notes b \"loud\"\n"),
        "{now}"
    );
    assert!(!now.contains("albums a"), "{now}");
    for at in ["2", "2023-11-14T22:13:22Z", "2023-11-14T22:13:22.999Z"] {
        let then = fixture.ask(&state("home", Some(at))).unwrap();
        assert!(
            then.starts_with("# home at 2,") && then.contains("albums a true\n"),
            "{at}: {then}"
        );
        assert!(then.contains("plays t 1\n"), "{then}");
    }
    let error = fixture.ask(&state("nobody", None)).unwrap_err();
    assert_eq!(error, "nobody has no events");
    let error = fixture.ask(&state("home", Some("9"))).unwrap_err();
    assert!(error.contains('5'), "{error}");
}

#[test]
fn below_the_horizon_there_is_no_state_and_no_event() {
    let fixture = Fixture::with_history();
    fixture.fold(&stream("home"), 3);
    let listed = fixture
        .ask(&log(|it| it.stream = "home".parse().ok()))
        .unwrap();
    assert_eq!(listed.lines().count(), 2, "{listed}");
    let error = fixture.ask(&state("home", Some("2"))).unwrap_err();
    assert!(error.contains('3') && error.contains('5'), "{error}");
    let then = fixture.ask(&state("home", Some("3"))).unwrap();
    assert!(then.contains("plays t 1\n"), "{then}");
}

#[test]
fn what_was_exported_is_imported_into_a_new_epoch() {
    let fixture = Fixture::with_history();
    fixture.fold(&stream("home"), 3);
    let text = fixture
        .ask(&Request::Export(ExportRequest::default()))
        .unwrap();
    let file = fixture.folder.path().join("export.jsonl");
    std::fs::write(&file, &text).unwrap();
    let copy = Fixture::new();
    let schema = Schema::parse(MUSIC).unwrap();
    let request = ImportRequest { file: file.clone() };
    let mut out = Vec::new();
    import(&*copy.store, &schema, &request, &mut || 9, &mut out).unwrap();
    for (name, at) in [("home", None), ("home", Some("4")), ("home/room", None)] {
        let [there, here] = [&fixture, &copy].map(|it| it.ask(&state(name, at)).unwrap());
        let rest = |text: &str| text.split_once("digest").unwrap().1.to_owned();
        assert_eq!(rest(&there), rest(&here));
    }
    let home = stream("home");
    assert_eq!(copy.store.head(&home).unwrap().epoch, Epoch::new(9));
    let device = DeviceId::from_bytes([1; 16]);
    assert_eq!(
        copy.store.mark(&home, device).unwrap(),
        fixture.store.mark(&home, device).unwrap()
    );
    assert_eq!(
        copy.ask(&log(|_| {})).unwrap(),
        fixture.ask(&log(|_| {})).unwrap()
    );
    copy.ask(&Request::Verify(VerifyRequest::default()))
        .unwrap();
    let error = import(&*copy.store, &schema, &request, &mut || 9, &mut out).unwrap_err();
    assert!(error.to_string().contains("exists already"), "{error}");
}

#[test]
fn a_file_that_was_cut_or_changed_is_refused_whole() {
    let fixture = Fixture::with_history();
    let text = fixture
        .ask(&Request::Export(ExportRequest::default()))
        .unwrap();
    let schema = Schema::parse(MUSIC).unwrap();
    let cut = text.lines().take(4).collect::<Vec<_>>().join("\n") + "\n";
    let cases = [
        (cut, "cut off"),
        (
            text.replace("\"album_id\":\"b\"", "\"album_id\":\"c\""),
            "SHA-256",
        ),
        (
            text.replace("\"syncline_export\":1", "\"syncline_export\":2"),
            "version 2",
        ),
        (format!("{text}{{}}\n"), "follows"),
        ("hello\n".to_owned(), "line 1"),
    ];
    for (text, reason) in cases {
        let copy = Fixture::new();
        let file = copy.folder.path().join("export.jsonl");
        std::fs::write(&file, text).unwrap();
        let request = ImportRequest { file };
        let refused = import(&*copy.store, &schema, &request, &mut || 9, &mut Vec::new());
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains(reason), "{refused}");
        assert!(copy.store.streams(None, 1).unwrap().is_empty());
    }
}

#[test]
fn what_does_not_add_up_is_found() {
    let fixture = Fixture::with_history();
    let verified = fixture
        .ask(&Request::Verify(VerifyRequest::default()))
        .unwrap();
    assert!(verified.contains("2 streams, 6 kept events"), "{verified}");
    // Two events of one device with one number.
    let home = stream("home");
    let twice = r#"{"event_type":"star_album","event_data":{"album_id":"c"}}"#;
    let mut event = event(&home, 6, twice);
    event.device_seq = DeviceSeq::new(1);
    let append = Append {
        stream: home,
        expected_head: seq(5),
        epoch: Epoch::new(7),
        begins: false,
        horizon: None,
        records: vec![Record { event, hash: None }],
    };
    fixture
        .store
        .append(vec![append])
        .unwrap()
        .remove(0)
        .unwrap();
    let mut out = Vec::new();
    let request = Request::Verify(VerifyRequest::default());
    fixture
        .desk()
        .answer(&request, &Stop::default(), &mut out)
        .unwrap_err();
    let found = String::from_utf8(out).unwrap();
    assert!(
        found.contains("home: device_seq 1") && found.contains("1 findings"),
        "{found}"
    );
}

#[test]
fn what_writes_nothing_for_long_stops_when_it_is_ordered_to() {
    let fixture = Fixture::with_history();
    let stop = Stop::default();
    stop.order();
    let nobody = log(|it| it.device = Some("00000000-0000-0000-0000-000000000009".to_owned()));
    let one = Request::Verify(VerifyRequest {
        stream: Some("home".parse().unwrap()),
    });
    let all = Request::Verify(VerifyRequest::default());
    let dry = Request::Erase(EraseRequest {
        sync_id: "nobody".to_owned(),
        yes: false,
    });
    for request in [nobody, one, all, dry] {
        let mut out = Vec::new();
        let stopped = fixture.desk().answer(&request, &stop, &mut out);
        let stopped = stopped.unwrap_err().to_string();
        assert!(stopped.contains("shutting down"), "{stopped}");
        assert!(out.is_empty(), "{request:?}");
    }
}

#[test]
fn erasing_says_what_it_would_do_before_it_does_it() {
    let fixture = Fixture::with_history();
    fixture.append(&stream("other"), &[r#"{"event_type":"x"}"#]);
    let erase = |yes| {
        let sync_id = "home".to_owned();
        fixture
            .ask(&Request::Erase(EraseRequest { sync_id, yes }))
            .unwrap()
    };
    assert!(erase(false).contains("2 streams; nothing was erased"));
    assert_eq!(fixture.ask(&log(|_| {})).unwrap().lines().count(), 7);
    assert!(erase(true).contains("2 streams, 6 kept events"));
    assert_eq!(fixture.ask(&log(|_| {})).unwrap().lines().count(), 1);
}

mod schemas {
    use super::*;

    fn adopted(fixture: &Fixture, toml: &str, now: u64) -> Result<Schema, String> {
        let schema = Schema::parse(toml).unwrap();
        adopt(&*fixture.store, schema, UnixMillis::new(now)).map_err(|error| error.to_string())
    }

    fn migrated(fixture: &Fixture, toml: &str, name: Option<&str>) -> String {
        let (schema, mut out) = (Schema::parse(toml).unwrap(), Vec::new());
        let request = MigrateRequest {
            name: name.map(str::to_owned),
            yes: name.is_some(),
        };
        let now = UnixMillis::new(BEGIN + 1_000_000);
        migrate(
            &fixture.store(),
            &schema,
            &request,
            now,
            &mut || 11,
            &mut out,
        )
        .unwrap();
        String::from_utf8(out).unwrap()
    }

    fn only_sets() -> String {
        MUSIC.split("# One rating").next().unwrap().to_owned()
    }

    #[test]
    fn schema_4_events_from_before_a_collection_touch_it_never() {
        let fixture = Fixture::new();
        adopted(&fixture, &only_sets(), BEGIN).unwrap();
        let home = stream("home");
        let play = r#"{"event_type":"play_track","event_data":{"track_id":"t"}}"#;
        fixture.append(&home, &[play]);
        let schema = adopted(&fixture, MUSIC, BEGIN + 1_500).unwrap();
        assert_eq!(schema.adopted("plays"), UnixMillis::new(BEGIN + 1_500));
        fixture.append(&home, &[play]);
        let states = fixture.states(&Arc::new(schema));
        let state = state_at(&*fixture.store, &states, &home, None).unwrap();
        let play = &state.snapshot().collections["plays"]["t"];
        assert_eq!(play.value(), Some(&1.into()));
        // It stays so at the next start.
        let schema = adopted(&fixture, MUSIC, BEGIN + 9_000).unwrap();
        assert_eq!(schema.adopted("plays"), UnixMillis::new(BEGIN + 1_500));
    }

    #[test]
    fn state_12_a_clock_that_went_back_lets_no_old_event_into_a_new_collection() {
        let fixture = Fixture::new();
        adopted(&fixture, &only_sets(), BEGIN).unwrap();
        let play = r#"{"event_type":"play_track","event_data":{"track_id":"t"}}"#;
        fixture.append(&stream("home"), &[play]);
        let schema = adopted(&fixture, MUSIC, BEGIN).unwrap();
        assert_eq!(schema.adopted("plays"), UnixMillis::new(BEGIN + 1_001));
        let states = fixture.states(&Arc::new(schema));
        let state = state_at(&*fixture.store, &states, &stream("home"), None).unwrap();
        assert!(state.snapshot().collections["plays"].is_empty());
    }

    #[test]
    fn schema_4_a_redefined_collection_takes_no_event_from_before() {
        let fixture = Fixture::new();
        adopted(&fixture, MUSIC, BEGIN).unwrap();
        let like = r#"{"event_type":"like_album","event_data":{"album_id":"a"}}"#;
        fixture.append(&stream("home"), &[like]);
        let renamed = MUSIC.replace("star_album", "like_album");
        migrated(&fixture, &renamed, Some("likes"));
        let schema = adopted(&fixture, &renamed, BEGIN + 2_000_000).unwrap();
        let states = fixture.states(&Arc::new(schema));
        let state = state_at(&*fixture.store, &states, &stream("home"), None).unwrap();
        assert!(state.snapshot().collections["albums"].is_empty());
    }

    #[test]
    fn schema_4_an_import_takes_over_what_counts() {
        let fixture = Fixture::new();
        adopted(&fixture, &only_sets(), BEGIN).unwrap();
        let home = stream("home");
        let play = r#"{"event_type":"play_track","event_data":{"track_id":"t"}}"#;
        fixture.append(&home, &[play]);
        let schema = Arc::new(adopted(&fixture, MUSIC, BEGIN + 1_500).unwrap());
        fixture.append(&home, &[play]);
        let mut text = Vec::new();
        let request = ExportRequest::default();
        export::export(
            &*fixture.store,
            &schema,
            UnixMillis::new(1),
            &request,
            &Stop::default(),
            &mut text,
        )
        .unwrap();
        let copy = Fixture::new();
        let file = copy.folder.path().join("export.jsonl");
        std::fs::write(&file, text).unwrap();
        let schema = adopted(&copy, MUSIC, 0).unwrap();
        let request = ImportRequest { file };
        import(&*copy.store, &schema, &request, &mut || 9, &mut Vec::new()).unwrap();
        let schema = Arc::new(adopted(&copy, MUSIC, BEGIN + 9_000).unwrap());
        let state = state_at(&*copy.store, &copy.states(&schema), &home, None).unwrap();
        assert_eq!(
            state.snapshot().collections["plays"]["t"].value(),
            Some(&1.into())
        );
    }

    #[test]
    fn schema_6_a_redefined_collection_needs_a_migration() {
        let fixture = Fixture::with_history();
        adopted(&fixture, MUSIC, 0).unwrap();
        let changed = MUSIC.replacen("last_write_wins", "add_wins", 1);
        let error = adopted(&fixture, &changed, BEGIN).unwrap_err();
        assert!(
            error.contains("\"albums\"") && error.contains("syncline migrate"),
            "{error}"
        );
        let dropped = adopted(&fixture, &only_sets(), BEGIN).unwrap_err();
        assert!(dropped.contains("drops"), "{dropped}");
    }

    #[test]
    fn schema_6_a_migration_says_what_it_does_and_then_does_it() {
        let fixture = Fixture::new();
        adopted(&fixture, MUSIC, 0).unwrap();
        fixture.fill();
        let changed = MUSIC.replacen("last_write_wins", "add_wins", 1);
        let changed = changed.replace(
            "kind = \"counter\"",
            "kind = \"set\"\nconflict = \"add_wins\"\nremove = \"unplay\"",
        );
        let changed = changed.replace("amount = \"times\"\n", "");
        let plan = migrated(&fixture, &changed, None);
        assert!(
            plan.contains("albums is redefined: 1 live entries go on"),
            "{plan}"
        );
        assert!(
            plan.contains("plays is redefined and begins empty: 1 live"),
            "{plan}"
        );
        assert!(plan.contains("nothing was changed"), "{plan}");
        let home = stream("home");
        assert_eq!(fixture.store.head(&home).unwrap().epoch, Epoch::new(7));
        migrated(&fixture, &changed, Some("albums-add-wins"));
        let head = fixture.store.head(&home).unwrap();
        assert_eq!((head.epoch, head.horizon), (Epoch::new(11), seq(5)));
        let schema = Arc::new(adopted(&fixture, &changed, BEGIN).unwrap());
        let state = state_at(&*fixture.store, &fixture.states(&schema), &home, None).unwrap();
        let collections = &state.snapshot().collections;
        assert!(collections["albums"]["b"].is_live());
        assert!(collections["plays"].is_empty());
        assert!(collections["notes"].contains_key("b"));
        let mut added_up = syncline_protocol::State::new(schema);
        added_up.take(state.snapshot()).unwrap();
    }

    #[test]
    fn schema_6_a_migration_that_was_cut_goes_on_under_its_name() {
        let fixture = Fixture::with_history();
        adopted(&fixture, MUSIC, 0).unwrap();
        let changed = MUSIC.replacen("last_write_wins", "add_wins", 1);
        let mut record = adoption::Record::read(&*fixture.store).unwrap().unwrap();
        record.under_way = Some(adoption::Migration {
            name: "one".to_owned(),
            from: record.schema().unwrap().hash().to_string(),
            to: Schema::parse(&changed).unwrap().hash().to_string(),
            at: 1,
        });
        record.write(&*fixture.store).unwrap();
        let error = adopted(&fixture, MUSIC, 0).unwrap_err();
        assert!(
            error.contains("\"one\"") && error.contains("not finished"),
            "{error}"
        );
        let (schema, mut out) = (Schema::parse(&changed).unwrap(), Vec::new());
        let other = MigrateRequest {
            name: Some("two".to_owned()),
            yes: true,
        };
        let now = UnixMillis::new(1);
        let refused = migrate(&fixture.store(), &schema, &other, now, &mut || 11, &mut out);
        assert!(refused.unwrap_err().to_string().contains("finished first"));
        migrated(&fixture, &changed, Some("one"));
        adopted(&fixture, &changed, BEGIN).unwrap();
    }
}
