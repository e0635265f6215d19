//! What the users of a run do: every kind and policy, few keys, so that they meet.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use syncline_protocol::{EventType, Value};

use crate::dice::Dice;

/// How concurrent acts on a key of a collection are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    LastWriteWins,
    AddWins,
    RemoveWins,
    KeepBoth,
    /// Of a counter.
    Sum,
}

/// What a collection holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Set,
    Map,
    Counter,
    List,
}

/// A collection of the schema, as the simulator understands it by itself.
#[derive(Debug)]
pub(crate) struct Collection {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) policy: Policy,
    pub(crate) add: &'static str,
    pub(crate) remove: Option<&'static str>,
}

/// Most open values of a `keep_both` entry.
pub(crate) const OPEN_VALUES_MAX: usize = 3;

/// Where an event says its key, value, amount, list and neighbour.
const KEY: &str = "id";
const VALUE: &str = "value";
const AMOUNT: &str = "times";
const LIST: &str = "list";
const AFTER: &str = "after";
/// What makes every intent one of its kind.
const SAID: &str = "said";

/// A type that the schema does not name.
const UNNAMED: &str = "looked_at";

/// All collections.
pub(crate) const COLLECTIONS: &[Collection] = &[
    of(
        "albums",
        Kind::Set,
        Policy::LastWriteWins,
        "star_album",
        Some("unstar_album"),
    ),
    of(
        "tags",
        Kind::Set,
        Policy::AddWins,
        "add_tag",
        Some("remove_tag"),
    ),
    of(
        "bans",
        Kind::Set,
        Policy::RemoveWins,
        "lift_ban",
        Some("ban"),
    ),
    of(
        "ratings",
        Kind::Map,
        Policy::LastWriteWins,
        "rate_track",
        Some("unrate_track"),
    ),
    of(
        "covers",
        Kind::Map,
        Policy::AddWins,
        "set_cover",
        Some("drop_cover"),
    ),
    of(
        "colors",
        Kind::Map,
        Policy::RemoveWins,
        "set_color",
        Some("drop_color"),
    ),
    of(
        "notes",
        Kind::Map,
        Policy::KeepBoth,
        "write_note",
        Some("delete_note"),
    ),
    of("plays", Kind::Counter, Policy::Sum, "play_track", None),
    of(
        "queue",
        Kind::List,
        Policy::LastWriteWins,
        "put_in_queue",
        Some("take_from_queue"),
    ),
    of(
        "mix",
        Kind::List,
        Policy::AddWins,
        "put_in_mix",
        Some("take_from_mix"),
    ),
    of(
        "party",
        Kind::List,
        Policy::RemoveWins,
        "put_in_party",
        Some("take_from_party"),
    ),
];

const fn of(
    name: &'static str,
    kind: Kind,
    policy: Policy,
    add: &'static str,
    remove: Option<&'static str>,
) -> Collection {
    Collection {
        name,
        kind,
        policy,
        add,
        remove,
    }
}

/// The schema as a broker reads it.
pub(crate) fn schema_toml() -> String {
    let mut text = String::new();
    for it in COLLECTIONS {
        let written = write!(text, "{}", it.toml());
        written.expect("a String takes everything");
    }
    text
}

impl Collection {
    fn toml(&self) -> String {
        let mut lines = vec![format!("[collections.{}]", self.name)];
        lines.push(format!("kind = \"{}\"", self.kind_name()));
        lines.extend(
            self.policy_name()
                .map(|name| format!("conflict = \"{name}\"")),
        );
        lines.push(format!("key = \"{KEY}\""));
        lines.push(format!("add = \"{}\"", self.add));
        lines.extend(self.remove.map(|remove| format!("remove = \"{remove}\"")));
        match self.kind {
            Kind::Set => {}
            Kind::Map => lines.push(format!("value = \"{VALUE}\"")),
            Kind::Counter => lines.push(format!("amount = \"{AMOUNT}\"")),
            Kind::List => {
                lines.push(format!("value = \"{VALUE}\""));
                lines.push(format!("list = \"{LIST}\""));
                lines.push(format!("after = \"{AFTER}\""));
            }
        }
        if self.policy == Policy::KeepBoth {
            lines.push(format!("open_values_max = {OPEN_VALUES_MAX}"));
        }
        lines.join("\n") + "\n\n"
    }

    fn kind_name(&self) -> &'static str {
        match self.kind {
            Kind::Set => "set",
            Kind::Map => "map",
            Kind::Counter => "counter",
            Kind::List => "list",
        }
    }

    fn policy_name(&self) -> Option<&'static str> {
        match self.policy {
            Policy::LastWriteWins => Some("last_write_wins"),
            Policy::AddWins => Some("add_wins"),
            Policy::RemoveWins => Some("remove_wins"),
            Policy::KeepBoth => Some("keep_both"),
            Policy::Sum => None,
        }
    }
}

/// What a user does next.
pub(crate) fn act(dice: &mut Dice, said: u64) -> (EventType, Value) {
    let mut data = BTreeMap::from([(SAID.to_owned(), number(said))]);
    let which = dice.below(COLLECTIONS.len() as u64 * 8 + 3) as usize;
    let Some(it) = COLLECTIONS
        .get(which % (COLLECTIONS.len() + 1))
        .filter(|_| which > 2)
    else {
        return (event_type(UNNAMED), Value::Map(data));
    };
    data.insert(KEY.to_owned(), Value::text(key(dice)));
    let removes = it.remove.filter(|_| dice.below(5) < 2);
    if removes.is_none() {
        add_details(it, dice, &mut data);
    }
    (event_type(removes.unwrap_or(it.add)), Value::Map(data))
}

fn add_details(it: &Collection, dice: &mut Dice, data: &mut BTreeMap<String, Value>) {
    match it.kind {
        Kind::Set => {}
        Kind::Map => drop(data.insert(VALUE.to_owned(), number(dice.below(100)))),
        Kind::Counter => {
            if dice.below(4) > 0 {
                data.insert(AMOUNT.to_owned(), number(dice.below(9)));
            }
        }
        Kind::List => {
            data.insert(VALUE.to_owned(), number(dice.below(100)));
            let list = format!("l{}", dice.below(2));
            data.insert(LIST.to_owned(), Value::text(list));
            match dice.below(4) {
                0 => drop(data.insert(AFTER.to_owned(), Value::Nil)),
                1 => {}
                _ => drop(data.insert(AFTER.to_owned(), Value::text(key(dice)))),
            }
        }
    }
}

fn key(dice: &mut Dice) -> String {
    // A few that everybody touches, and many that rest.
    match dice.below(3) {
        0 => format!("k{}", dice.below(40)),
        _ => format!("k{}", dice.below(5)),
    }
}

fn event_type(name: &str) -> EventType {
    name.parse().expect("the table's names are short")
}

fn number(n: u64) -> Value {
    let small = i64::try_from(n).unwrap_or_default();
    Value::integer(small).expect("numbers of a run are small")
}

/// Which intent an event is.
pub(crate) fn said(data: &Value) -> Option<u64> {
    data.as_map()?.get(SAID)?.as_u64()
}

/// What an event does to which key, read without the protocol's help.
pub(crate) struct Deed<'a> {
    pub(crate) collection: &'static Collection,
    pub(crate) key: &'a str,
    pub(crate) what: What,
}

/// The act itself.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum What {
    Put(Value),
    Remove,
    Count(i64),
}

/// Reads an event.
pub(crate) fn deed<'a>(event_type: &EventType, data: &'a Value) -> Option<Deed<'a>> {
    let map = data.as_map()?;
    let name = event_type.as_str();
    let collection = COLLECTIONS
        .iter()
        .find(|it| it.add == name || it.remove == Some(name))?;
    let key = map.get(KEY)?.as_text()?;
    let what = match collection.kind {
        _ if collection.remove == Some(name) => What::Remove,
        Kind::Set => What::Put(Value::Bool(true)),
        Kind::Map | Kind::List => What::Put(map.get(VALUE)?.clone()),
        Kind::Counter => What::Count(match map.get(AMOUNT) {
            Some(amount) => i64::try_from(amount.as_u64()?).ok()?,
            None => 1,
        }),
    };
    Some(Deed {
        collection,
        key,
        what,
    })
}
