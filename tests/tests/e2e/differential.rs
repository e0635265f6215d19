//! The two implementations of the protocol, Rust and TypeScript, on values that nobody chose
//! (VALUE-7, DIGEST-1). Needs Node; the TypeScript side is built on the way.

mod logs;

use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};

use syncline_protocol::{Event, Schema, State, Value};
use syncline_tests::dice::Dice;
use syncline_tests::star::Star;

use logs::{Log, Logs};

const VALUES: usize = 2_000;
const ENTRIES: u64 = 300;
/// How many logs Node is given in one go.
const LOGS_AT_ONCE: usize = 200;

const SCHEMA: &str = include_str!("../../../config/schemas/music.toml");

fn web() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../client-sdk/web")
}

fn npm(arguments: &[&str]) {
    let output = Command::new("npm")
        .args(arguments)
        .current_dir(web())
        .output();
    let output = output.expect("npm is installed (Node 20)");
    assert!(output.status.success(), "npm {arguments:?}: {output:?}");
}

/// Builds the TypeScript side, once for all tests.
fn build() {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        if !web().join("node_modules/.package-lock.json").is_file() {
            npm(&["ci"]);
        }
        npm(&["run", "build"]);
    });
}

/// One line of answer per line of request.
fn ask_node(requests: &[String]) -> Vec<String> {
    build();
    let mut command = Command::new("node");
    command.arg("test/differential.mjs").current_dir(web());
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut node = command.spawn().expect("node is installed");
    let mut input = node.stdin.take().unwrap();
    let text = requests.join("\n") + "\n";
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = node.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<String> = text.lines().map(str::to_owned).collect();
    assert_eq!(answers.len(), requests.len(), "one answer per request");
    answers
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn value_7_node_and_rust_agree_on_the_canonical_form_of_any_value() {
    let mut dice = Dice::new(0x5eed);
    let values: Vec<String> = (0..VALUES).map(|_| any_value(&mut dice, 4)).collect();
    let requests: Vec<String> = values
        .iter()
        .map(|text| format!("{{\"value\":{text}}}"))
        .collect();
    let mut kept = 0;
    for (text, answer) in values.iter().zip(ask_node(&requests)) {
        match Value::from_json(text.as_bytes()) {
            Ok(value) => {
                assert_eq!(hex(&value.to_msgpack()), answer, "{text}");
                kept += 1;
            }
            Err(error) => assert!(
                answer.starts_with("refused"),
                "{text}: {error}, Node: {answer}"
            ),
        }
    }
    assert!(
        kept > VALUES / 2 && kept < VALUES,
        "both kinds occur: {kept} of {VALUES}"
    );
}

#[test]
fn digest_1_node_and_rust_agree_on_the_digest_of_any_entry() {
    let mut dice = Dice::new(0xd16e57);
    let schema = Schema::parse(SCHEMA).unwrap();
    let mut state = State::new(Arc::new(schema));
    let (mut requests, mut expected) = (Vec::new(), Vec::new());
    for seq in 1..=ENTRIES {
        let event = any_star(&mut dice, seq);
        let before = state.digest();
        let operation = state.apply(&event).unwrap().expect("a new key");
        let mut digest = state.digest();
        digest.remove(before);
        expected.push(digest.to_string());
        requests.push(entry_request(&operation.key, &event));
    }
    assert_eq!(ask_node(&requests), expected);
}

#[test]
fn state_1_list_1_g5_node_and_rust_agree_on_what_any_events_amount_to() {
    compare_logs(400);
}

#[test]
#[ignore = "takes a minute: cargo test -p syncline-tests --test e2e -- --ignored ten_thousand_logs"]
fn state_1_list_1_g5_node_and_rust_agree_on_ten_thousand_logs() {
    compare_logs(10_000);
}

/// Both sides apply the same logs, from their beginning and from snapshots in parts, and must come to the same bytes.
fn compare_logs(count: usize) {
    let mut logs = Logs::new(0x57a7e);
    let mut changes: HashMap<String, usize> = HashMap::new();
    for _ in 0..count / LOGS_AT_ONCE {
        let batch: Vec<Log> = (0..LOGS_AT_ONCE).map(|_| logs.next()).collect();
        let (schema, hash) = logs.schema();
        let mut requests = vec![schema];
        requests.extend(batch.iter().map(|log| log.request(logs.splits(log))));
        let answers = ask_node(&requests);
        assert_eq!(answers[0], hash);
        for (log, (request, answer)) in batch.iter().zip(requests.iter().zip(answers).skip(1)) {
            assert!(log.expected() == answer, "{request}\nNode: {answer}");
            for (collection, times) in log.changes() {
                *changes.entry(collection).or_default() += times;
            }
        }
    }
    assert!(
        changes.len() == 15 && changes.values().all(|times| *times > count / 4),
        "every collection is changed often: {changes:?}"
    );
}

/// STATE-3 as a request of the other side's script.
fn entry_request(key: &str, event: &Event) -> String {
    let number = |n: u64| Value::integer(n as i64).unwrap();
    let entry = [
        ("value", Value::Bool(true)),
        ("seq", number(event.seq.get())),
        ("device_uuid", Value::text(event.device.to_string())),
        ("timestamp", number(event.clock.timestamp.get())),
        ("counter", number(u64::from(event.clock.counter))),
        ("conflicts", Value::Array(Vec::new())),
    ];
    let entry = Value::Map(
        entry
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    );
    let request = [
        ("collection", Value::text("albums")),
        ("key", Value::text(key)),
        ("entry", entry),
    ];
    Value::Map(
        request
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    )
    .to_json()
}

/// An event whose key nobody else has.
fn any_star(dice: &mut Dice, seq: u64) -> Event {
    let key = format!("{seq}{}", any_text(dice));
    let star = Star::album(&key).at(dice.below(1 << 53), dice.below(1 << 32));
    stored(star.with("base_seq", 0.into()), seq, &dice.uuid())
}

fn stored(star: Star, seq: u64, device: &str) -> Event {
    let star = star
        .with("sync_id", "home".into())
        .with("epoch", "00000000000000aa".into())
        .with("seq", seq.into())
        .with("accepted_at", 1.into())
        .with("device_uuid", device.into());
    Event::decode(star.json().as_bytes()).unwrap()
}

/// JSON text, mostly sound.
fn any_value(dice: &mut Dice, depth: u32) -> String {
    match dice.below(if depth == 0 { 6 } else { 9 }) {
        0 => ["null", "true", "false"][dice.below(3) as usize].to_owned(),
        1 => any_integer(dice),
        2 => f64::from_bits(dice.next_u64())
            .to_string()
            .replace("inf", "1")
            .replace("NaN", "0.5"),
        3 => any_number_text(dice),
        4 => quoted(&any_text(dice)),
        5 => Value::Bytes(
            (0..any_length(dice))
                .map(|_| dice.next_u64() as u8)
                .collect(),
        )
        .to_json(),
        6 | 7 => {
            let items: Vec<_> = (0..dice.below(20))
                .map(|_| any_value(dice, depth - 1))
                .collect();
            format!("[{}]", items.join(","))
        }
        _ => {
            let item = |dice: &mut Dice| {
                format!("{}:{}", quoted(&any_text(dice)), any_value(dice, depth - 1))
            };
            let items: Vec<_> = (0..dice.below(20)).map(|_| item(dice)).collect();
            format!("{{{}}}", items.join(","))
        }
    }
}

fn any_integer(dice: &mut Dice) -> String {
    let edges = [
        0u64,
        127,
        128,
        255,
        256,
        65_535,
        65_536,
        1 << 31,
        1 << 32,
        (1 << 53) - 1,
        1 << 53,
    ];
    let edge = edges[dice.below(edges.len() as u64) as usize];
    let number = (edge + dice.below(3)).saturating_sub(1);
    if dice.below(2) == 0 {
        number.to_string()
    } else {
        format!("-{number}")
    }
}

/// Spellings that must not make a difference, or must.
fn any_number_text(dice: &mut Dice) -> String {
    let texts = [
        "-0",
        "-0.0",
        "1.0",
        "1e3",
        "1E+3",
        "1e-3",
        "0.1",
        "9007199254740991.0",
        "9007199254740992.0",
        "9007199254740993",
        "1e308",
        "1e309",
        "5e-324",
        "4e-324",
        "123456789012345678901234567890",
        "0.30000000000000004",
        "2.2250738585072011e-308",
        "-1e21",
        "1e21",
    ];
    texts[dice.below(texts.len() as u64) as usize].to_owned()
}

/// Lengths at which a head of MessagePack grows.
fn any_length(dice: &mut Dice) -> u64 {
    let lengths = [0, 1, 5, 31, 32, 255, 256, 300];
    lengths[dice.below(lengths.len() as u64) as usize]
}

fn any_text(dice: &mut Dice) -> String {
    let letters = [
        'a', 'Z', '0', ' ', '"', '\\', '\n', '\u{0}', 'é', '\u{301}', '日', '\u{ffff}', '🎵',
        '\u{e000}',
    ];
    let pick = |dice: &mut Dice| letters[dice.below(letters.len() as u64) as usize];
    match dice.below(40) {
        0 => "__proto__".to_owned(),
        1 => "constructor".to_owned(),
        2..6 => (0..any_length(dice)).map(|_| pick(dice)).collect(),
        _ => (0..dice.below(8)).map(|_| pick(dice)).collect(),
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
