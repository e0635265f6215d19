//! What a collection may be: the table of SCHEMA-1, for the file and for the document alike.

use std::fmt;

use crate::ids::{EventType, is_name};
use crate::value::is_reserved;

/// What a collection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Keys that are in or not.
    Set,
    /// Keys with values.
    Map,
    /// Keys with sums.
    Counter,
    /// Items in an order.
    List,
}

/// How concurrent events on one key are settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflict {
    /// STATE-4.
    LastWriteWins,
    /// STATE-6.
    AddWins,
    /// STATE-7.
    RemoveWins,
    /// STATE-8.
    KeepBoth,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Set, Self::Map, Self::Counter, Self::List];

    /// As a schema writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Map => "map",
            Self::Counter => "counter",
            Self::List => "list",
        }
    }

    const fn policies(self) -> &'static [Conflict] {
        use Conflict::{AddWins, KeepBoth, LastWriteWins, RemoveWins};
        match self {
            Self::Set | Self::List => &[LastWriteWins, AddWins, RemoveWins],
            Self::Map => &[LastWriteWins, AddWins, RemoveWins, KeepBoth],
            Self::Counter => &[],
        }
    }
}

impl Conflict {
    /// As a schema writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LastWriteWins => "last_write_wins",
            Self::AddWins => "add_wins",
            Self::RemoveWins => "remove_wins",
            Self::KeepBoth => "keep_both",
        }
    }
}

/// One collection's definition. Only combinations that SCHEMA-1 allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectionSchema {
    /// What it is.
    pub kind: Kind,
    /// How concurrent events are settled; none for a counter.
    pub conflict: Option<Conflict>,
    /// The name in `event_data` under which the entry's key is.
    pub key: String,
    /// The event type that adds a key.
    pub add: EventType,
    /// The event type that removes one; none for a counter.
    pub remove: Option<EventType>,
    /// The name in `event_data` under which the value is.
    pub value: Option<String>,
    /// The name under which a counter's amount is.
    pub amount: Option<String>,
    /// The name under which stands which list an item is in.
    pub list: Option<String>,
    /// The name under which the neighbour's key is.
    pub after: Option<String>,
    /// How many open values are kept; only with `keep_both`.
    pub open_values_max: Option<usize>,
}

impl CollectionSchema {
    /// `open_values_max` where the schema does not say.
    pub const OPEN_VALUES: usize = 8;
}

/// A definition as it was written, before it was looked at.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) kind: Option<String>,
    pub(super) conflict: Option<String>,
    pub(super) key: Option<String>,
    pub(super) add: Option<String>,
    pub(super) remove: Option<String>,
    pub(super) value: Option<String>,
    pub(super) amount: Option<String>,
    pub(super) list: Option<String>,
    pub(super) after: Option<String>,
    pub(super) open_values_max: Option<i64>,
}

/// What is wrong with the definition of a collection, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaProblem {
    /// The collection's name breaks TOPIC-1.
    #[error(
        "a collection's name is 1 to 64 characters of A-Z a-z 0-9 . _ - and not __proto__, not {0:?}"
    )]
    Name(String),
    /// A name that the kind needs is not there.
    #[error("{what} is missing: a {} needs it{}", kind.as_str(), hint(what, *kind))]
    Missing {
        /// The name.
        what: &'static str,
        /// What the collection is.
        kind: Kind,
    },
    /// `kind` is not there, by which all others are judged.
    #[error("kind is missing: use set, map, counter or list")]
    NoKind,
    /// A name that the kind does not have.
    #[error("a {} has no {what}: take it out, or use another kind", kind.as_str())]
    NotOfKind {
        /// The name.
        what: &'static str,
        /// What the collection is.
        kind: Kind,
    },
    /// A name that only stands beside `keep_both`.
    #[error("open_values_max is only for conflict = \"keep_both\": take it out")]
    OnlyKeepBoth,
    /// A word that is not one of those that can stand here.
    #[error("{what} {given:?} is not known{}; use {}", of_kind(*kind), Known(known))]
    Unknown {
        /// `kind` or `conflict`.
        what: &'static str,
        /// What the collection is, where that decides.
        kind: Option<Kind>,
        /// What is written.
        given: String,
        /// What can stand there.
        known: Vec<&'static str>,
    },
    /// Not an event type, or a name that `event_data` cannot have.
    #[error("{0} is text of 1 to 64 characters, and not __proto__ or $bytes")]
    Text(&'static str),
    /// Out of bounds.
    #[error("open_values_max is an integer from 2 to 64")]
    OpenValues,
    /// An event type that already has a meaning.
    #[error("the event type {event_type:?} is already used {first}: an event type means one thing")]
    Twice {
        /// The type.
        event_type: String,
        /// Where it was named first.
        first: String,
    },
}

struct Known<'a>(&'a [&'static str]);

impl fmt::Display for Known<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [rest @ .., last] if !rest.is_empty() => write!(f, "{} or {last}", rest.join(", ")),
            known => f.write_str(&known.concat()),
        }
    }
}

fn of_kind(kind: Option<Kind>) -> String {
    kind.map_or_else(String::new, |kind| format!(" for a {}", kind.as_str()))
}

fn hint(what: &str, kind: Kind) -> String {
    if what == "conflict" {
        return format!("; use {}", Known(&policies(kind)));
    }
    let meaning = match what {
        "key" => "the name in event_data under which the entry's key is",
        "value" => "the name in event_data under which the value is",
        "after" => "the name in event_data under which the neighbour's key is",
        "add" => "the event type that adds a key",
        _ => "the event type that removes one",
    };
    format!(", {meaning}")
}

fn policies(kind: Kind) -> Vec<&'static str> {
    kind.policies().iter().map(|it| it.as_str()).collect()
}

/// Which name is at fault, and what is wrong.
pub(super) type Fault = (&'static str, SchemaProblem);

/// TOPIC-1, and a collection is a key of a snapshot's maps (VALUE-3).
pub(super) fn check_name(name: &str) -> Result<(), SchemaProblem> {
    if is_name(name) && !is_reserved(name) {
        Ok(())
    } else {
        Err(SchemaProblem::Name(name.to_owned()))
    }
}

impl Draft {
    /// The definition, if SCHEMA-1 allows it.
    pub(super) fn check(self) -> Result<CollectionSchema, Fault> {
        let kind = self.kind()?;
        let conflict = self.policy(kind)?;
        let reader = Reader { kind };
        Ok(CollectionSchema {
            kind,
            conflict,
            open_values_max: open_values(kind, conflict, self.open_values_max)?,
            key: reader.required("key", self.key)?,
            add: reader.event_type("add", self.add)?,
            remove: match reader.needs("remove", self.remove)? {
                None => None,
                given => Some(reader.event_type("remove", given)?),
            },
            value: reader.name("value", self.value)?,
            amount: reader.name("amount", self.amount)?,
            list: reader.name("list", self.list)?,
            after: reader.name("after", self.after)?,
        })
    }

    fn kind(&self) -> Result<Kind, Fault> {
        let given = self
            .kind
            .as_deref()
            .ok_or(("kind", SchemaProblem::NoKind))?;
        let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == given);
        kind.ok_or_else(|| {
            let problem = SchemaProblem::Unknown {
                what: "kind",
                kind: None,
                given: given.to_owned(),
                known: Kind::ALL.iter().map(|kind| kind.as_str()).collect(),
            };
            ("kind", problem)
        })
    }

    fn policy(&self, kind: Kind) -> Result<Option<Conflict>, Fault> {
        let what = "conflict";
        let given = match (&self.conflict, kind) {
            (None, Kind::Counter) => return Ok(None),
            (None, _) => return Err((what, SchemaProblem::Missing { what, kind })),
            (Some(_), Kind::Counter) => {
                return Err((what, SchemaProblem::NotOfKind { what, kind }));
            }
            (Some(given), _) => given,
        };
        let mut known = kind.policies().iter().copied();
        match known.find(|policy| policy.as_str() == given) {
            Some(policy) => Ok(Some(policy)),
            None => {
                let problem = SchemaProblem::Unknown {
                    what,
                    kind: Some(kind),
                    given: given.clone(),
                    known: policies(kind),
                };
                Err((what, problem))
            }
        }
    }
}

fn open_values(
    kind: Kind,
    conflict: Option<Conflict>,
    given: Option<i64>,
) -> Result<Option<usize>, Fault> {
    let what = "open_values_max";
    match (given, conflict) {
        (None, Some(Conflict::KeepBoth)) => Ok(Some(CollectionSchema::OPEN_VALUES)),
        (None, _) => Ok(None),
        (Some(n), Some(Conflict::KeepBoth)) => {
            let n = usize::try_from(n).ok().filter(|n| (2..=64).contains(n));
            n.map(Some).ok_or((what, SchemaProblem::OpenValues))
        }
        (Some(_), _) if kind == Kind::Map => Err((what, SchemaProblem::OnlyKeepBoth)),
        (Some(_), _) => Err((what, SchemaProblem::NotOfKind { what, kind })),
    }
}

/// The table of SCHEMA-1 for the names that not every kind has.
fn need(what: &str, kind: Kind) -> Need {
    match (what, kind) {
        ("remove", Kind::Counter) => Need::Never,
        ("remove", _) | ("value", Kind::Map) | ("after", Kind::List) => Need::Always,
        ("value" | "list", Kind::List) | ("amount", Kind::Counter) => Need::MayBe,
        _ => Need::Never,
    }
}

enum Need {
    Always,
    MayBe,
    Never,
}

struct Reader {
    kind: Kind,
}

impl Reader {
    fn needs(&self, what: &'static str, given: Option<String>) -> Result<Option<String>, Fault> {
        let kind = self.kind;
        match (need(what, kind), given) {
            (Need::Always, None) => Err((what, SchemaProblem::Missing { what, kind })),
            (Need::Never, Some(_)) => Err((what, SchemaProblem::NotOfKind { what, kind })),
            (_, given) => Ok(given),
        }
    }

    fn name(&self, what: &'static str, given: Option<String>) -> Result<Option<String>, Fault> {
        match self.needs(what, given)? {
            None => Ok(None),
            given => self.required(what, given).map(Some),
        }
    }

    fn required(&self, what: &'static str, given: Option<String>) -> Result<String, Fault> {
        let kind = self.kind;
        let text = given.ok_or((what, SchemaProblem::Missing { what, kind }))?;
        let is_name = text.parse::<EventType>().is_ok() && !is_reserved(&text);
        is_name
            .then_some(text)
            .ok_or((what, SchemaProblem::Text(what)))
    }

    fn event_type(&self, what: &'static str, given: Option<String>) -> Result<EventType, Fault> {
        let kind = self.kind;
        let text = given.ok_or((what, SchemaProblem::Missing { what, kind }))?;
        text.parse().map_err(|_| (what, SchemaProblem::Text(what)))
    }
}
