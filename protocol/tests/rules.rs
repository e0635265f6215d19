//! The worked examples of SPEC.md on state, lists and digests, with the numbers that stand there.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

use std::collections::BTreeMap;
use std::sync::Arc;

use syncline_protocol::schema::Kind;
use syncline_protocol::{
    Clock, DeviceId, Entry, Epoch, Event, Operation, Schema, Seq, State, StreamId, UnixMillis,
    Value,
};

const MUSIC: &str = include_str!("../../config/schemas/music.toml");

/// Tags of two kinds: one where adding wins, one where removing does.
const TAGS: &str = r#"
[collections.tags]
kind = "set"
conflict = "add_wins"
key = "tag"
add = "tag"
remove = "untag"
[collections.members]
kind = "set"
conflict = "remove_wins"
key = "name"
add = "invite"
remove = "expel"
"#;

struct Talk {
    state: State,
}

/// Who acted, when, and up to where they had seen.
#[derive(Clone, Copy)]
struct By(char, u64, u64);

impl Talk {
    fn new(schema: &str) -> Self {
        Self::of(Schema::parse(schema).unwrap())
    }

    fn of(schema: Schema) -> Self {
        let state = State::new(Arc::new(schema));
        Self { state }
    }

    /// The next event; says what it changed.
    fn say(&mut self, by: By, event_type: &str, data: &str) -> Option<Operation> {
        let event = self.event(by, event_type, data);
        self.state.apply(&event).unwrap()
    }

    fn event(&self, By(author, ms, base_seq): By, event_type: &str, data: &str) -> Event {
        let seq = self.state.seq().next();
        Event {
            stream: StreamId {
                sync_id: "demo".parse().unwrap(),
                channel: None,
            },
            epoch: Epoch::new(7),
            seq,
            accepted_at: UnixMillis::new(5_000 + seq.get()),
            event_type: event_type.parse().unwrap(),
            event_data: Value::from_json(data.as_bytes()).unwrap(),
            device: DeviceId::from_bytes([author as u8; 16]),
            device_seq: None,
            clock: Clock::at(UnixMillis::new(ms)),
            base_seq: Seq::new(base_seq).unwrap(),
            extra: BTreeMap::new(),
        }
    }

    fn entry(&self, collection: &str, key: &str) -> &Entry {
        self.state.entry(collection, key).unwrap()
    }

    /// The seqs of the open acts, the shown one first.
    fn open(&self, collection: &str, key: &str) -> Vec<u64> {
        let acts = self.entry(collection, key).acts();
        acts.map(|act| act.seq.get()).collect()
    }

    fn is_live(&self, collection: &str, key: &str) -> bool {
        self.entry(collection, key).is_live()
    }

    fn playlist(&self, list: &str) -> Vec<&str> {
        let items = self.state.list("playlists", Some(list));
        items.into_iter().map(|(key, _)| key).collect()
    }

    fn put(&mut self, by: By, item: &str, behind: &str) {
        let after = match behind {
            "" => String::new(),
            "null" => r#","after":null"#.to_owned(),
            item => format!(r#","after":"{item}""#),
        };
        let data = format!(r#"{{"item_id":"{item}","playlist_id":"p","track_id":"t"{after}}}"#);
        self.say(by, "put_in_playlist", &data);
    }

    fn take(&mut self, by: By, item: &str) {
        self.say(
            by,
            "take_from_playlist",
            &format!(r#"{{"item_id":"{item}"}}"#),
        );
    }

    fn position(&self, item: &str) -> Vec<i64> {
        let place = self.entry("playlists", item).shown.place.as_ref();
        place.unwrap().position.elements().collect()
    }
}

#[test]
fn state_3_an_entry_is_written_as_in_the_example() {
    let mut talk = Talk::new(MUSIC);
    talk.say(
        By('A', 1_000, 0),
        "write_note",
        r#"{"album_id":"a1","text":"loud"}"#,
    );
    talk.say(
        By('B', 1_100, 0),
        "write_note",
        r#"{"album_id":"a1","text":"quiet"}"#,
    );
    talk.say(
        By('A', 1_050, 0),
        "write_note",
        r#"{"album_id":"a1","text":"louder"}"#,
    );
    let snapshot = syncline_protocol::Snapshot::of(
        &talk.state,
        talk.event(By('A', 0, 0), "x", "null").stream,
        Seq::ZERO,
    );
    let json = snapshot.to_json();
    let a = "41414141-4141-4141-4141-414141414141";
    let b = "42424242-4242-4242-4242-424242424242";
    let entry = format!(
        r#"{{"changed":3,"conflicts":[{{"counter":0,"device_uuid":"{a}","seq":3,"timestamp":1050,"value":"louder"}}],"counter":0,"device_uuid":"{b}","seq":2,"timestamp":1100,"value":"quiet"}}"#
    );
    assert!(json.contains(&entry), "{json}");
}

#[test]
fn state_2_an_author_saw_what_is_below_its_base_seq_and_its_own() {
    let mut talk = Talk::new(MUSIC);
    for (author, ms) in [('A', 30), ('B', 20), ('B', 10)] {
        let before = talk.state.seq().get();
        talk.say(
            By(author, ms, 0),
            "write_note",
            r#"{"album_id":"n","text":1}"#,
        );
        assert_eq!(talk.state.seq().get(), before + 1);
    }
    // The second of B replaced the first, whatever its clock; A's was not seen by either.
    assert_eq!(talk.open("notes", "n"), [1, 3]);
    talk.say(By('C', 1, 1), "write_note", r#"{"album_id":"n","text":2}"#);
    assert_eq!(talk.open("notes", "n"), [3, 4]);
}

#[test]
fn state_6_add_wins_against_a_removal_that_did_not_see_it() {
    for (seen, open, is_live) in [(1, vec![2], true), (2, vec![3], false)] {
        let mut talk = Talk::new(TAGS);
        talk.say(By('A', 10, 0), "tag", r#"{"tag":"x"}"#);
        talk.say(By('B', 20, 0), "tag", r#"{"tag":"x"}"#);
        talk.say(By('C', 30, seen), "untag", r#"{"tag":"x"}"#);
        assert_eq!(
            (talk.open("tags", "x"), talk.is_live("tags", "x")),
            (open, is_live)
        );
    }
}

#[test]
fn state_6_what_is_not_there_cannot_be_removed() {
    let mut talk = Talk::new(TAGS);
    assert_eq!(talk.say(By('A', 10, 0), "untag", r#"{"tag":"x"}"#), None);
    assert_eq!(talk.state.entry("tags", "x"), None);
}

#[test]
fn state_7_remove_wins_until_somebody_who_saw_it_adds() {
    let mut talk = Talk::new(TAGS);
    let name = r#"{"name":"Kim"}"#;
    talk.say(By('A', 10, 0), "invite", name);
    talk.say(By('B', 20, 1), "expel", name);
    talk.say(By('C', 30, 1), "expel", name);
    assert_eq!(talk.open("members", "Kim"), [3, 2]);
    talk.say(By('A', 40, 2), "invite", name);
    assert_eq!(
        (talk.open("members", "Kim"), talk.is_live("members", "Kim")),
        (vec![3], false)
    );
    assert_eq!(talk.entry("members", "Kim").changed.get(), 4);
    talk.say(By('A', 50, 4), "invite", name);
    assert_eq!(
        (talk.open("members", "Kim"), talk.is_live("members", "Kim")),
        (vec![5], true)
    );
}

#[test]
fn state_8_keep_both_until_somebody_settles() {
    let mut talk = Talk::new(MUSIC);
    let note = |text: &str| format!(r#"{{"album_id":"a1","text":"{text}"}}"#);
    talk.say(By('A', 1_000, 0), "write_note", &note("loud"));
    talk.say(By('B', 1_100, 0), "write_note", &note("quiet"));
    assert_eq!(talk.entry("notes", "a1").value(), Some(&"quiet".into()));
    assert_eq!(talk.open("notes", "a1"), [2, 1]);
    talk.say(By('C', 1_200, 0), "delete_note", &note(""));
    // A removal is a value, but what is live is shown.
    assert_eq!(talk.open("notes", "a1"), [2, 3, 1]);
    talk.say(By('A', 1_050, 3), "write_note", &note("both"));
    assert_eq!(talk.open("notes", "a1"), [4]);
}

#[test]
fn state_8_above_the_bound_the_lowest_goes() {
    let mut talk = Talk::new(MUSIC);
    for n in 0..10u8 {
        let author = char::from(b'A' + n);
        let data = format!(r#"{{"album_id":"a1","text":{n}}}"#);
        talk.say(By(author, 100 + u64::from(n % 5), 0), "write_note", &data);
    }
    // The lowest two clocks were those of seq 1 and 6.
    assert_eq!(talk.open("notes", "a1"), [10, 5, 9, 4, 8, 3, 7, 2]);
}

#[test]
fn state_9_the_value_of_a_map_is_any_value_but_must_be_there() {
    let mut talk = Talk::new(MUSIC);
    talk.say(
        By('A', 1, 0),
        "rate_track",
        r#"{"track_id":"t","rating":5}"#,
    );
    assert_eq!(
        talk.entry("ratings", "t").value(),
        Value::integer(5).as_ref()
    );
    talk.say(
        By('A', 2, 1),
        "rate_track",
        r#"{"track_id":"t","rating":null}"#,
    );
    assert_eq!(talk.entry("ratings", "t").value(), Some(&Value::Nil));
    let unrated = talk.state.schema().operation(
        &"rate_track".parse().unwrap(),
        &Value::from_json(br#"{"track_id":"t"}"#).unwrap(),
    );
    assert!(
        unrated
            .unwrap_err()
            .to_string()
            .contains("rate_track needs a value")
    );
}

#[test]
fn state_10_every_add_counts_whoever_saw_what() {
    let mut talk = Talk::new(MUSIC);
    talk.say(
        By('A', 1_000, 0),
        "play_track",
        r#"{"track_id":"t","times":2}"#,
    );
    talk.say(By('B', 1, 0), "play_track", r#"{"track_id":"t"}"#);
    talk.say(
        By('C', 1, 0),
        "play_track",
        r#"{"track_id":"t","times":-1}"#,
    );
    assert_eq!(talk.entry("plays", "t").value(), Value::integer(2).as_ref());
    assert_eq!(talk.open("plays", "t"), [3]);
}

#[test]
fn state_10_a_sum_beyond_the_integers_is_refused_and_changes_nothing() {
    let mut talk = Talk::new(MUSIC);
    let times = |n: i64| format!(r#"{{"track_id":"t","times":{n}}}"#);
    talk.say(By('A', 1, 0), "play_track", &times((1 << 53) - 1));
    let one_more = talk.event(By('B', 1, 0), "play_track", &times(1));
    let schema = Arc::clone(talk.state.schema());
    let operation = |event: &Event| {
        schema
            .operation(&event.event_type, &event.event_data)
            .unwrap()
            .unwrap()
    };
    assert!(talk.state.would_overflow(&operation(&one_more)));
    assert_eq!(talk.state.apply(&one_more), Ok(None));
    assert_eq!(talk.open("plays", "t"), [1]);
    let one_less = talk.event(By('B', 1, 0), "play_track", &times(-1));
    assert!(!talk.state.would_overflow(&operation(&one_less)));
}

#[test]
fn state_11_what_breaks_the_schema_changes_nothing() {
    let mut talk = Talk::new(MUSIC);
    for (event_type, data) in [
        ("star_album", r#"{"album_id":7}"#),
        ("rate_track", r#"{"track_id":"t"}"#),
        ("play_track", r#"{"track_id":"t","times":"many"}"#),
        ("play_track", r#"{"track_id":"t","times":null}"#),
        ("put_in_playlist", r#"{"item_id":"i","track_id":"t"}"#),
        ("put_in_playlist", r#"{"item_id":"i","playlist_id":"p"}"#),
        (
            "put_in_playlist",
            r#"{"item_id":"i","playlist_id":"p","track_id":"t","after":4}"#,
        ),
    ] {
        let event = talk.event(By('A', 1, 0), event_type, data);
        let operation = talk
            .state
            .schema()
            .operation(&event.event_type, &event.event_data);
        assert!(operation.is_err(), "{data}");
        assert_eq!(talk.state.apply(&event), Ok(None), "{data}");
    }
    assert_eq!((talk.state.seq().get(), talk.state.entry_count()), (7, 0));
}

/// SCHEMA-4: not even a later schema that names the type changes what it meant.
#[test]
fn state_12_schema_4_events_from_before_a_collection_do_not_touch_it() {
    let since = BTreeMap::from([("ratings".to_owned(), UnixMillis::new(5_002))]);
    let schema = Schema::parse(MUSIC).unwrap();
    let hash = schema.hash();
    let schema = schema.with_adopted(since);
    assert_eq!(schema.hash(), hash);
    let mut talk = Talk::of(schema);
    for track in ["t1", "t2"] {
        let data = format!(r#"{{"track_id":"{track}","rating":5}}"#);
        talk.say(By('A', 1, 0), "rate_track", &data);
    }
    assert_eq!(talk.state.entry("ratings", "t1"), None);
    assert!(talk.is_live("ratings", "t2"));
}

#[test]
fn horizon_2_schema_4_counters_and_unnamed_types_are_known_by_their_kind() {
    let schema = Schema::parse(MUSIC).unwrap();
    let kind = |name: &str| schema.kind_of(&name.parse().unwrap());
    assert_eq!(kind("play_track"), Some(Kind::Counter));
    assert_eq!(kind("take_from_playlist"), Some(Kind::List));
    assert_eq!(kind("played"), None);
}

#[test]
fn epoch_2_a_new_epoch_goes_on_with_the_same_entries() {
    let mut talk = Talk::new(MUSIC);
    talk.say(By('A', 1, 0), "star_album", r#"{"album_id":"a1"}"#);
    let digest = talk.state.digest();
    talk.state.begin_epoch(Epoch::new(8));
    let mut next = talk.event(By('A', 2, 1), "star_album", r#"{"album_id":"a2"}"#);
    assert!(talk.state.apply(&next).is_err());
    next.epoch = Epoch::new(8);
    assert_eq!((talk.state.digest(), talk.state.seq().get()), (digest, 1));
    assert!(talk.state.apply(&next).unwrap().is_some());
}

#[test]
fn list_2_items_go_behind_others_to_the_end_or_to_the_beginning() {
    let mut talk = Talk::new(MUSIC);
    talk.put(By('A', 1, 0), "x", "");
    talk.put(By('A', 2, 1), "y", "");
    talk.put(By('A', 3, 2), "z", "x");
    talk.put(By('A', 4, 3), "first", "null");
    assert_eq!(talk.playlist("p"), ["first", "x", "z", "y"]);
    assert_eq!(
        ["first", "x", "z", "y"].map(|it| talk.position(it)),
        [vec![-1], vec![0], vec![0, 0], vec![1]]
    );
    // A move.
    talk.put(By('A', 5, 4), "first", "y");
    assert_eq!(talk.playlist("p"), ["x", "z", "y", "first"]);
    assert_eq!(talk.playlist("other"), [""; 0]);
}

#[test]
fn list_3_concurrent_insertions_behind_one_item_all_survive() {
    let mut talk = Talk::new(MUSIC);
    talk.put(By('A', 1, 0), "x", "");
    talk.put(By('A', 2, 1), "y", "");
    talk.put(By('B', 3, 2), "b", "x");
    talk.put(By('C', 3, 2), "c", "x");
    assert_eq!(talk.playlist("p"), ["x", "c", "b", "y"]);
    assert_eq!(
        (talk.position("b"), talk.position("c")),
        (vec![0, 0], vec![0, -1])
    );
}

#[test]
fn list_3_list_4_a_neighbour_that_was_removed_unseen_still_marks_its_place() {
    for (seen, order) in [(3, ["x", "new", "z"]), (4, ["x", "z", "new"])] {
        let mut talk = Talk::new(MUSIC);
        talk.put(By('A', 1, 0), "x", "");
        talk.put(By('A', 2, 1), "y", "");
        talk.put(By('A', 3, 2), "z", "");
        talk.take(By('B', 4, 3), "y");
        assert_eq!(talk.position("y"), [1]);
        talk.put(By('C', 5, seen), "new", "y");
        assert_eq!(talk.playlist("p"), order);
    }
}

#[test]
fn list_4_a_removal_of_what_it_knew_as_removed_has_no_place() {
    let mut talk = Talk::new(MUSIC);
    talk.put(By('A', 1, 0), "x", "");
    talk.take(By('B', 2, 1), "x");
    talk.take(By('C', 3, 1), "x");
    assert_eq!(talk.position("x"), [0]);
    talk.take(By('A', 4, 3), "x");
    assert_eq!(talk.entry("playlists", "x").shown.place, None);
    talk.take(By('A', 5, 4), "never");
    assert_eq!(talk.entry("playlists", "never").shown.place, None);
}

/// HORIZON-4 and HORIZON-5, as the example says it.
#[test]
fn horizon_4_and_5_a_tombstone_goes_only_with_all_its_acts() {
    let mut talk = Talk::new(TAGS);
    let name = r#"{"name":"Kim"}"#;
    talk.say(By('A', 10, 0), "invite", name);
    talk.say(By('B', 20, 1), "expel", name);
    talk.say(By('C', 30, 1), "expel", name);
    let seq = |n| Seq::new(n).unwrap();
    assert_eq!(talk.state.collect(seq(2)), []);
    let gone = talk.state.collect(seq(3));
    assert_eq!(gone, [("members".to_owned(), "Kim".to_owned(), seq(3))]);
    assert_eq!(talk.state.entry_count(), 0);
}

#[test]
fn every_rule_of_the_spec_has_an_example() {
    let spec = include_str!("../SPEC.md");
    let rules: Vec<&str> = spec.split("\n- **").skip(1).collect();
    let without = rules
        .iter()
        .filter(|rule| !rule.to_lowercase().contains("example:"));
    let ids: Vec<&str> = without.filter_map(|rule| rule.split("**").next()).collect();
    assert!(ids.is_empty() && rules.len() > 80, "{ids:?}");
}
