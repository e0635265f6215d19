//! Logs that nobody chose, with every kind and policy in them, and what they amount to here (STATE-1 … LIST-5).

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value as Json, json};
use syncline_protocol::{Event, Schema, Seq, Snapshot, State};
use syncline_tests::dice::Dice;
use syncline_tests::star::Star;

/// Every kind with every policy that it may have.
const SCHEMA: &str = include_str!("schema.toml");

/// The lists that items are put into; the last stands for a collection without names for them.
const LISTS: [Option<&str>; 3] = [Some("mix"), Some("é"), None];

/// Few, so that the same ones meet again and again.
const KEYS: [&str; 4] = ["a", "b", "é", "𐀀"];

/// So small that most snapshots travel in several parts.
const PART_BYTES: usize = 300;

/// Events at seqs 1, 2, 3 …
pub(super) struct Log {
    schema: Arc<Schema>,
    events: Vec<Event>,
}

/// Makes logs, from the same dice the same ones.
pub(super) struct Logs {
    schema: Arc<Schema>,
    dice: Dice,
}

impl Logs {
    pub(super) fn new(seed: u64) -> Self {
        let schema = Schema::parse(SCHEMA).unwrap();
        Self {
            schema: Arc::new(schema),
            dice: Dice::new(seed),
        }
    }

    /// What has to be said before the logs, and the answer.
    pub(super) fn schema(&self) -> (String, String) {
        let document: Json = serde_json::from_str(&self.schema.document()).unwrap();
        let request = json!({ "schema": document["schema"] });
        (request.to_string(), self.schema.hash().to_string())
    }

    pub(super) fn next(&mut self) -> Log {
        let names: Vec<String> = self.schema.collections().keys().cloned().collect();
        let focus = (0..1 + self.dice.below(3)).map(|_| pick(&mut self.dice, &names).clone());
        let mut author = Author {
            focus: focus.collect(),
            devices: (0..3).map(|_| self.dice.uuid()).collect(),
            seen: HashMap::new(),
            grows: self.dice.below(8) == 0,
        };
        let length = if author.grows {
            120
        } else {
            1 + self.dice.below(50)
        };
        let events = (1..=length).map(|seq| author.event(&mut self.dice, &self.schema, seq));
        Log {
            events: events.collect(),
            schema: Arc::clone(&self.schema),
        }
    }

    /// Two places in a log: where a snapshot is taken, and where a delta brings it.
    pub(super) fn splits(&mut self, log: &Log) -> (usize, usize) {
        let first = self.dice.below(log.events.len() as u64 + 1) as usize;
        let rest = log.events.len() - first;
        (first, first + self.dice.below(rest as u64 + 1) as usize)
    }
}

impl Log {
    /// The request of the other side's script: the log, and a way to the same state over snapshots.
    pub(super) fn request(&self, (first, second): (usize, usize)) -> String {
        let (from, to) = (self.state(first), self.state(second));
        let events: Vec<String> = self.events.iter().map(Event::to_json).collect();
        let snapshots = [parts(&from, Seq::ZERO), parts(&to, from.seq())].concat();
        let snapshots = if second == 0 { Vec::new() } else { snapshots };
        format!(
            r#"{{"lists":{},"snapshots":{},"events":[{}]}}"#,
            json!(LISTS),
            json!(snapshots),
            events.join(",")
        )
    }

    /// The answer that agrees: the whole state, byte by byte, and its lists.
    pub(super) fn expected(&self) -> String {
        let state = self.state(self.events.len());
        let lists = state.schema().collections().keys().flat_map(|name| {
            let list = |list| json!([name, list, keys(&state, name, list)]);
            LISTS.map(list)
        });
        let lists: Vec<Json> = lists.filter(|it| it[2] != json!([])).collect();
        let snapshot = Snapshot::of(&state, self.events[0].stream.clone(), Seq::ZERO);
        format!("{} {}", super::hex(&snapshot.encode()), json!(lists))
    }

    fn state(&self, length: usize) -> State {
        let mut state = State::new(Arc::clone(&self.schema));
        for event in &self.events[..length] {
            state.apply(event).unwrap();
        }
        state
    }

    /// Of all events, what each did: which collections were changed how often.
    pub(super) fn changes(&self) -> HashMap<String, usize> {
        let mut changes = HashMap::new();
        let mut state = State::new(Arc::clone(&self.schema));
        for event in &self.events {
            if let Some(operation) = state.apply(event).unwrap() {
                *changes.entry(operation.collection).or_default() += 1;
            }
        }
        changes
    }
}

fn keys(state: &State, collection: &str, list: Option<&str>) -> Vec<String> {
    let items = state.list(collection, list);
    items.into_iter().map(|(key, _)| key.to_owned()).collect()
}

/// The parts of a full snapshot or a delta, as they travel.
fn parts(state: &State, since: Seq) -> Vec<String> {
    let stream = "sync/home/events"
        .parse::<syncline_protocol::Topic>()
        .unwrap();
    let syncline_protocol::Topic::Events(stream) = stream else {
        unreachable!("it is an events topic")
    };
    let snapshot = Snapshot::of(state, stream, since);
    let parts = snapshot.parts(PART_BYTES);
    parts
        .iter()
        .map(|part| super::hex(&part.encode()))
        .collect()
}

/// Who writes one log.
struct Author {
    /// The collections that it is about.
    focus: Vec<String>,
    devices: Vec<String>,
    /// What each device had seen when it last said something.
    seen: HashMap<String, u64>,
    /// Whether items go in between others all the time, so that positions grow long.
    grows: bool,
}

impl Author {
    fn event(&mut self, dice: &mut Dice, schema: &Schema, seq: u64) -> Event {
        let name = pick(dice, &self.focus).clone();
        let definition = &schema.collections()[&name];
        let removes = definition
            .remove
            .as_ref()
            .filter(|_| dice.below(4) == 0 && !self.grows);
        let event_type = removes.unwrap_or(&definition.add).to_string();
        let event_type = if dice.below(30) == 0 {
            "other".to_owned()
        } else {
            event_type
        };
        let data = self.data(dice, seq);
        let device = pick(dice, &self.devices).clone();
        let base_seq = self.base_seq(dice, &device, seq);
        let said = Star::of(&event_type, data)
            .at(1_000 + dice.below(5), dice.below(2))
            .with("base_seq", base_seq.into());
        super::stored(said, seq, &device)
    }

    /// EVENT-6: never less than its author had seen before.
    fn base_seq(&mut self, dice: &mut Dice, device: &str, seq: u64) -> u64 {
        let given = if dice.below(3) == 0 {
            seq - 1
        } else {
            dice.below(seq)
        };
        let seen = self.seen.entry(device.to_owned()).or_default();
        *seen = given.max(*seen);
        *seen
    }

    /// Under names that all collections share; now and then something is missing or of a wrong type.
    fn data(&self, dice: &mut Dice, seq: u64) -> Json {
        let key = if self.grows {
            format!("i{seq}")
        } else {
            pick(dice, &KEYS).to_string()
        };
        let mut data = json!({ "key": key, "list": pick(dice, &["mix", "mix", "mix", "é"]) });
        if dice.below(15) > 0 {
            data["value"] = any_value(dice, seq);
        }
        if dice.below(3) > 0 {
            data["amount"] = any_amount(dice);
        }
        if dice.below(4) > 0 || self.grows {
            data["after"] = self.after(dice, seq);
        }
        if dice.below(40) == 0 {
            let name = pick(dice, &["key", "list", "after", "amount"]);
            data[*name] = json!(7.5);
        }
        data
    }

    fn after(&self, dice: &mut Dice, seq: u64) -> Json {
        match dice.below(6) {
            _ if self.grows => json!(format!("i{}", seq.saturating_sub(1 + dice.below(3)))),
            0 => Json::Null,
            1 => json!("nobody"),
            _ => json!(pick(dice, &KEYS)),
        }
    }
}

fn any_value(dice: &mut Dice, seq: u64) -> Json {
    match dice.below(6) {
        0 => Json::Null,
        1 => json!({ "b": [seq], "a": "é" }),
        2 => json!(0.5),
        _ => json!(seq),
    }
}

fn any_amount(dice: &mut Dice) -> Json {
    match dice.below(12) {
        0 => json!((1u64 << 53) - 1),
        1 => json!(1 - (1i64 << 53)),
        2 => json!(0.5),
        n => json!(n as i64 - 6),
    }
}

fn pick<'a, T>(dice: &mut Dice, from: &'a [T]) -> &'a T {
    &from[dice.below(from.len() as u64) as usize]
}
